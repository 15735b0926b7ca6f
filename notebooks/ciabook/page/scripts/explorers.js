// What all explorers of the book share: plain JavaScript and SVG, no library, no network.
// ciabook/page/explorers.py gives the data; each kind of explorer has a file of its own.
"use strict";
window.ciaBook ??= (() => {
  const INK = "var(--pst-color-text-base, #222)", FAINT = "var(--pst-color-border, #999)";
  const SURFACE = "var(--pst-color-surface, #f5f5f5)";
  // agent 0, agent 1, ... (Okabe & Ito, then Tol), the apple, foes
  const AGENTS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    "#117733", "#999933", "#7a6ad0", "#aa4499"];
  const APPLE = "#009e73", FOE = "#882255";
  const STYLE = `
    .cia-explorer { border: 1px solid ${FAINT}; border-radius: 6px; padding: 0.7rem;
      color: ${INK}; max-width: 100%; margin-bottom: 1rem; }
    /* inside: outputs clip what is outside */
    .cia-explorer:focus-visible { outline: 3px solid currentColor; outline-offset: -3px; }
    .cia-explorer :focus-visible { outline: 3px solid currentColor; outline-offset: 1px; }
    .cia-explorer .cia-row { display: flex; flex-wrap: wrap; gap: 0.7rem;
      align-items: center; }
    .cia-explorer .cia-bar { margin-bottom: 0.6rem; }
    .cia-explorer .cia-top { align-items: flex-start; }
    .cia-explorer .cia-charts { display: grid; gap: 0.7rem;
      grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); }
    .cia-explorer .cia-loops { grid-template-columns:
      repeat(auto-fit, minmax(6rem, 1fr)); }
    .cia-explorer .cia-loop { display: flex; flex-direction: column; gap: 0.3rem; }
    .cia-explorer svg { width: 100%; height: auto; max-width: 26rem; }
    .cia-explorer svg.cia-chart { display: block; max-width: none; overflow: hidden; }
    .cia-explorer svg.cia-board { max-width: 15rem; }
    .cia-explorer .cia-drag { touch-action: none; } /* a swipe elsewhere scrolls */
    .cia-explorer .cia-row > svg { flex: 1 1 14rem; min-width: 0; }
    .cia-explorer .cia-side { flex: 1 1 14rem; min-width: 0; }
    .cia-explorer button, .cia-explorer select, .cia-explorer input[type=number] {
      font: inherit; color: inherit; background: ${SURFACE}; border: 1px solid ${FAINT};
      border-radius: 4px; padding: 0.15rem 0.5rem; min-height: 2rem; }
    .cia-explorer button:disabled { opacity: 0.6; }
    .cia-explorer .cia-pad { display: grid; gap: 0.25rem;
      grid-template-columns: repeat(3, minmax(3.2rem, auto)); justify-content: start; }
    .cia-explorer .cia-pad button { min-height: 2.8rem; }
    .cia-explorer input[type=number] { width: 4rem; }
    .cia-explorer input[type=range] { flex: 1 1 8rem; min-width: 6rem; }
    .cia-explorer table { border-collapse: collapse; margin: 0.2rem 0; display: table;
      width: auto; }
    .cia-explorer th, .cia-explorer td { white-space: nowrap; border: 1px solid ${FAINT};
      padding: 0.15rem 0.5rem; text-align: right; font-variant-numeric: tabular-nums;
      background: transparent; color: inherit; }
    .cia-explorer .cia-wide { overflow-x: auto; max-width: 100%; }
    .cia-explorer .cia-wide td, .cia-explorer .cia-wide th { padding: 0.15rem 0.3rem;
      text-align: center; }
    .cia-explorer td.best, .cia-explorer th.here, .cia-explorer td.here {
      outline: 3px solid #d55e00; outline-offset: -3px; font-weight: bold; }
    .cia-explorer .cia-goal { font-weight: bold; }
    .cia-explorer .cia-swatch { display: inline-block; width: 0.8em; height: 0.8em;
      margin: 0 0.3em 0 0; border-radius: 50%; }
    .cia-explorer .cia-swatch.foe { border-radius: 0; }
    .cia-explorer p { margin: 0.3rem 0; }`;

  const make = (name, attributes = {}, ...children) =>
    build(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) =>
    build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes,
      children);
  function build(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }
  const number = (value, digits = 2) =>
    value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "\u2212");
  const options = (name, labels) => make("select", { "aria-label": name },
    ...labels.map((label, k) => make("option", { value: k }, label)));
  const button = (text, onclick, more = {}) =>
    make("button", { type: "button", onclick, ...more }, text);
  // whether a key that was pressed belongs to a form field, not to the explorer
  const typing = (event) => ["SELECT", "INPUT"].includes(event.target.tagName);

  function table(caption, columns, rows) {
    const head = make("tr", {}, make("td"),
      ...columns.map((name) => make("th", { scope: "col" }, name)));
    const body = rows.map(([name, ...cells]) => make("tr", {},
      make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell))));
    return make("table", {}, make("caption", {}, caption), head, ...body);
  }

  // A goal in words, which gets a tick once it is reached, and keeps it.
  function goal(text) {
    const mark = make("span", {}, "\u2610 "), node = make("p", { class: "cia-goal" },
      mark, make("span", {}, text));
    node.setAttribute("role", "status");
    node.dataset.reached = false;
    return { node, reached: (now) => {
      if (!now || node.dataset.reached === "true") return;
      node.dataset.reached = true;
      mark.textContent = "\u2713 reached: ";
    } };
  }

  // Buttons, a slider, a speed and keys that step through t = 0 ... last.
  const SPEEDS = [0.5, 1, 2, 4];
  function stepper(root, last, show) {
    let t = 0, timer = null;
    const slider = make("input",
      { type: "range", min: 0, max: last, value: 0, "aria-label": "step" });
    const label = make("output", {});
    const speed = options("speed", SPEEDS.map((times) => `${times} \u00d7`));
    speed.value = 1;
    const go = (to) => {
      t = Math.min(last, Math.max(0, to));
      slider.value = t;
      label.textContent = `step ${t} of ${last}`;
      root.dataset.step = t;
      show(t);
    };
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "play"; };
    const start = () => {
      play.textContent = "pause";
      timer = setInterval(() => (t < last ? go(t + 1) : stop()),
        350 / SPEEDS[speed.value]);
    };
    const play = button("play", () => (timer ? stop() : start()));
    speed.addEventListener("change", () => { if (timer) { stop(); start(); } });
    const to = (text, name, where) =>
      button(text, () => { stop(); go(where()); }, { "aria-label": name });
    slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
    root.addEventListener("keydown", (event) => {
      if (typing(event)) return;
      const keys = { ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: last };
      if (event.key in keys) { event.preventDefault(); stop(); go(keys[event.key]); }
      if (event.key === " " && event.target === root) {
        event.preventDefault();
        play.click();
      }
    });
    const bar = make("div", { class: "cia-row cia-bar" },
      to("|\u25c0", "first step", () => 0), to("\u25c0", "step back", () => t - 1), play,
      to("\u25b6", "step forward", () => t + 1), to("\u25b6|", "last step", () => last),
      slider, speed, label);
    return { bar, go, stop, play: start };
  }

  // A picture that is painted anew for every width, so that its text keeps its size.
  function painted(height, title, paint) {
    const svg = draw("svg", { role: "img", "aria-label": title, class: "cia-chart",
      height });
    svg.style.height = `${height}px`;
    const again = () => {
      const width = Math.max(160, svg.clientWidth || 300);
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.replaceChildren(...paint(width, height));
    };
    new ResizeObserver(again).observe(svg);
    return { svg, again };
  }

  // Lines [agent][t] with a cursor; behind them, who was marked at each step.
  function chart(title, lines, colours, names = []) {
    const values = lines.flat(), low = Math.min(0, ...values);
    const high = Math.max(...values, low + 1e-6), last = lines[0].length - 1;
    let now = 0, marks = []; // marks[t]: whose colour lies behind step t
    const { svg, again } = painted(120, title, (W, H) => {
      const right = W - (names.length ? 22 : 6), x = (t) => 6 + (right - 6) * t
        / Math.max(1, last), y = (v) => H - 8 - (H - 32) * (v - low) / (high - low);
      const parts = marks.map((k, t) => draw("rect", { x: x(t - 0.5), y: 22,
        width: x(t + 0.5) - x(t - 0.5) + 0.3, height: H - 26, fill: colours[k],
        "fill-opacity": 0.3 }));
      lines.forEach((line, k) => parts.push(draw("polyline", { fill: "none",
        stroke: colours[k % colours.length], "stroke-width": 2,
        points: line.map((v, t) => `${x(t)},${y(v)}`).join(" ") })));
      let above = Infinity; // labels at the ends, lowest first, that do not overlap
      names.map((name, k) => [y(lines[k][last]), name, k]).sort((a, b) => b[0] - a[0])
        .forEach(([at, name, k]) => {
          above = Math.min(at, above - 11);
          parts.push(draw("text", { x: right + 4, y: above + 4, "font-size": 11,
            fill: INK }, name));
        });
      parts.push(draw("line", { x1: x(Math.min(now, last)), x2: x(Math.min(now, last)),
        y1: 22, y2: H - 4, stroke: INK, "stroke-dasharray": "3 3" }));
      parts.push(draw("text", { x: 6, y: 14, fill: INK, "font-size": 12 },
        `${title}, from ${number(low)} to ${number(high)}`));
      return parts;
    });
    return { svg, at: (t, behind = []) => { now = t; marks = behind; again(); } };
  }

  const kinds = {};
  function open(id) {
    if (!document.getElementById("cia-explorer-style"))
      document.head.append(make("style", { id: "cia-explorer-style" }, STYLE));
    const root = document.getElementById(id);
    root.querySelector(".no-script")?.remove();
    kinds[root.dataset.explorer](root,
      JSON.parse(document.getElementById(`${id}-data`).textContent));
  }
  return { INK, FAINT, AGENTS, APPLE, FOE, make, draw, number, options, button, typing,
    table, goal, stepper, painted, chart, kinds, open };
})();
