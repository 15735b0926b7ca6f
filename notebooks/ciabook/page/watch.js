// Plays the frames of an animation: a button or the space bar plays and pauses, arrow
// keys step. Everything it shows travels with the page.
function ciaWatch(name) {
  const root = document.getElementById(name);
  const data = JSON.parse(document.getElementById(name + "-data").textContent);
  const image = root.querySelector("img");
  const slider = root.querySelector("input");
  const text = root.querySelector("span");
  const button = (what) => root.querySelector(`[data-do="${what}"]`);
  const last = data.images.length - 1;
  let step = 0;
  let timer = null;

  function show(to) {
    step = Math.max(0, Math.min(last, to));
    image.src = "data:image/png;base64," + data.images[step];
    image.alt = data.captions[step];
    text.textContent = data.captions[step];
    slider.value = step;
  }
  function pause() {
    clearInterval(timer);
    timer = null;
    button("play").textContent = "play";
  }
  function play() {
    if (step === last) show(0);
    button("play").textContent = "pause";
    timer = setInterval(() => (step < last ? show(step + 1) : pause()), 250);
  }
  function go(by) {
    pause();
    show(step + by);
  }
  button("play").onclick = () => (timer === null ? play() : pause());
  button("back").onclick = () => go(-1);
  button("next").onclick = () => go(1);
  slider.oninput = () => go(Number(slider.value) - step);
  root.onkeydown = (event) => {
    if (event.target !== root) return;
    const keys = { ArrowLeft: () => go(-1), ArrowRight: () => go(1) };
    keys[" "] = button("play").onclick;
    if (!(event.key in keys)) return;
    keys[event.key]();
    event.preventDefault();
  };
}
