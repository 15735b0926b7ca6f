// Credits and identities under gradient descent on two losses, side by side, moving.
"use strict";
ciaBook.kinds.loose ??= (root, data) => {
  const { make, draw, number, stepper, AGENTS, INK, FAINT } = ciaBook;
  const SIZE = 260, PAD = 30, last = data.steps.length - 1;
  const values = data.panels.flatMap((p) => [p.credits, p.identities]).flat(3);
  const low = Math.min(...values), span = Math.max(...values) - low;
  const scale = (SIZE - 2 * PAD) / span;
  const x = (v) => PAD + scale * (v - low), y = (v) => SIZE - PAD - scale * (v - low);
  const line = (path, k, t, more) => draw("polyline", { fill: "none", stroke: AGENTS[k],
    "stroke-width": 2, ...more,
    points: path.slice(0, t + 1).map((at) => `${x(at[k][0])},${y(at[k][1])}`).join(" ") });
  const word = (text, more) => draw("text", { fill: INK, "font-size": 13, ...more }, text);
  const panels = data.panels.map((panel) => {
    const svg = draw("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img",
      "aria-label": `credits and identities under gradient descent on ${panel.name}` });
    const told = make("span", {});
    const node = make("div", { class: "cia-loop" },
      make("strong", {}, `${panel.name} loss`), svg, told);
    return { panel, svg, told, node };
  });
  const show = (t) => panels.forEach(({ panel, svg, told }) => {
    const parts = [draw("rect", { x: PAD, y: PAD, width: SIZE - 2 * PAD,
      height: SIZE - 2 * PAD, fill: "none", stroke: FAINT }),
      word("step 1", { x: SIZE / 2, y: SIZE - 8, "text-anchor": "middle" }),
      word("step 2", { x: PAD, y: PAD - 9 })];
    [0, 1].forEach((k) => {
      const credit = panel.credits[t][k], identity = panel.identities[t][k];
      parts.push(line(panel.credits, k, t, {}),
        line(panel.identities, k, t, { "stroke-dasharray": "5 4" }),
        draw("circle", { cx: x(credit[0]), cy: y(credit[1]), r: 7, fill: AGENTS[k] }),
        draw("rect", { x: x(identity[0]) - 5, y: y(identity[1]) - 5, width: 10, height: 10,
          fill: AGENTS[k] }));
    });
    svg.replaceChildren(...parts);
    told.textContent = `after ${data.steps[t]} steps: loss ${number(panel.losses[t])}`;
  });
  const { bar, go, play } = stepper(root, last, show);
  const swatch = (k) => make("span", { class: "cia-swatch",
    style: `background: ${AGENTS[k]}` });
  root.append(bar, make("div", { class: "cia-charts" }, ...panels.map((each) => each.node)),
    make("p", {}, swatch(0), "agent 0, ", swatch(1),
      "agent 1; discs and solid lines: credits; squares and dashes: identities"));
  go(0);
  // it starts by itself once it is seen, where motion is welcome
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const seen = new IntersectionObserver((entries) => {
    if (!entries.at(-1).isIntersecting) return;
    seen.disconnect();
    if (root.dataset.step === "0") play();
  });
  seen.observe(root);
};
