// A recorded battle, step by step, on the ground that is fought on.
"use strict";
ciaBook.kinds.battle ??= (root, data) => {
  const { make, draw, number, table, stepper, chart, AGENTS, FOE } = ciaBook;
  const S = data.walkable.length, K = data.n_agents;
  const colour = (u) => (u < K ? AGENTS[u % AGENTS.length] : FOE);
  // the ground that is fought on: from `low`, `wide` cells in both directions
  const along = [0, 1].map((d) => data.positions.flat().map((spot) => spot[d]));
  const low = along.map((values) => Math.max(0, Math.min(...values) - 2));
  const wide = Math.max(...along.map((values, d) =>
    Math.min(S, Math.max(...values) + 2) - low[d]));
  const unit = wide / 32; // marks keep their size, however far the field is zoomed
  const spot = (t, u) => [data.positions[t][u][0], S - data.positions[t][u][1]];
  const field = draw("svg", { role: "img",
    viewBox: `${low[0]} ${S - low[1] - wide} ${wide} ${wide}` });
  const ground = [draw("rect", { x: -S, y: -S, width: 3 * S, height: 3 * S,
    fill: "#8a8a8a" })];
  data.walkable.forEach((row, y) => [...row].forEach((open, x) => {
    if (open === "0") ground.push(draw("rect", { x, y: S - 1 - y, width: 1, height: 1,
      fill: "#404040" }));
  }));
  function mark(t, u) {
    const [x, y] = spot(t, u), share = data.health[t][u] / data.health[0][u];
    const r = 1.05 * unit, edge = { fill: colour(u), stroke: "white",
      "stroke-width": 0.15 * unit };
    return [u < K ? draw("circle", { cx: x, cy: y, r, ...edge })
      : draw("rect", { x: x - r, y: y - r, width: 2 * r, height: 2 * r, ...edge }),
    draw("rect", { x: x - r, y: y - 1.7 * unit, width: 2 * r * share, height: 0.4 * unit,
      fill: "white" }),
    draw("text", { x, y: y + 0.42 * unit, fill: "white", "font-size": 1.25 * unit,
      "text-anchor": "middle" }, String(u < K ? u : u - K))];
  }
  const credits = data.credits.length ? chart("credits of the agents",
    Array.from({ length: K }, (_, k) => data.credits.map((row) => row[k])), AGENTS,
    Array.from({ length: K }, (_, k) => String(k))) : null;
  const swatch = (u, name) => {
    const dot = make("span", { class: `cia-swatch${u < K ? "" : " foe"}` });
    dot.style.background = colour(u);
    return make("span", {}, dot, name);
  };
  const legend = make("p", { class: "cia-row" },
    ...Array.from({ length: K }, (_, k) => swatch(k, `agent ${k}`)), swatch(K, "foes"),
    make("span", {}, "white line: attack of an agent; pink: of a foe; bar: health"));
  const told = make("p", {}), facts = make("div", { class: "cia-wide" });
  const { bar, go } = stepper(root, data.positions.length - 1, (t) => {
    const parts = [...ground], living = data.health[t].map((health) => health > 0);
    data.targets[t].forEach((target, u) => {
      if (target < 0 || !living[u]) return;
      const [[x1, y1], [x2, y2]] = [spot(t, u), spot(t, target)];
      parts.push(draw("line", { x1, y1, x2, y2, stroke: u < K ? "white" : "#f2c6d8",
        "stroke-width": (u < K ? 0.3 : 0.16) * unit }));
    });
    living.forEach((lives, u) => { if (lives) parts.push(...mark(t, u)); });
    field.replaceChildren(...parts);
    const count = (from, to) => living.slice(from, to).filter(Boolean).length;
    told.textContent = `${count(0, K)} agents against ${count(K)} foes, `
      + `return so far ${number(data.returns[t])}`;
    field.setAttribute("aria-label", told.textContent);
    credits?.at(t);
    const at = Math.min(t, data.credits.length - 1);
    facts.replaceChildren(table("this step", ["health", "attacks", "credit"],
      living.slice(0, K).map((lives, k) => [swatch(k, `agent ${k}`),
        lives ? number(data.health[t][k], 0) : "dead",
        data.targets[t][k] < 0 ? "" : `foe ${data.targets[t][k] - K}`,
        lives && data.credits.length ? number(data.credits[at][k]) : ""])));
  });
  root.append(bar, told, make("div", { class: "cia-row cia-top" }, field,
    make("div", { class: "cia-side" }, facts)), legend, ...(credits ? [credits.svg] : []));
  go(0);
};
