// Episodes of Turn side by side, which play by themselves and can be paused.
"use strict";
ciaBook.kinds.loop ??= (root, data) => {
  const { make, number, button, turn } = ciaBook;
  const shown = data.teams.map((team) => {
    const board = turn.canvas(data.size), earned = make("span", {});
    const figure = make("div", { class: "cia-loop" }, make("strong", {}, team.name), board,
      earned);
    board.setAttribute("aria-label", `a board of Turn, played by: ${team.name}`);
    return { team, board, earned, figure };
  });
  const last = data.teams[0].positions.length - 1, hold = 6; // ticks at the end
  let t = 0, timer = null, waiting = 0;
  const show = () => {
    root.dataset.step = t;
    shown.forEach(({ team, board, earned }) => {
      board.replaceChildren(...turn.board(data.size, { positions: team.positions[t],
        apple: team.apple[t], free: team.free[t] }));
      earned.textContent = `step ${t}: ${number(team.returns[t], 0)} points`;
    });
  };
  const tick = () => {
    if (t === last && waiting < hold) { waiting += 1; return; }
    waiting = 0;
    t = t === last ? 0 : t + 1;
    show();
  };
  const stop = () => { clearInterval(timer); timer = null; };
  const start = () => { stop(); timer = setInterval(tick, data.milliseconds); };
  let wanted = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const toggle = button("", () => { wanted = !wanted; update(); });
  const update = (visible = true) => {
    toggle.textContent = wanted ? "pause" : "play";
    root.dataset.playing = wanted;
    if (wanted && visible) start(); else stop();
  };
  root.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target !== root) return;
    event.preventDefault();
    toggle.click();
  });
  root.append(make("div", { class: "cia-charts cia-loops" },
    ...shown.map((each) => each.figure)), make("div", { class: "cia-row" }, toggle,
    make("span", {}, data.caption)));
  show();
  update();
  // nothing moves that nobody sees
  new IntersectionObserver((seen) => update(seen.at(-1).isIntersecting)).observe(root);
};
