// Credits and identities to drag, while both losses and their gradients follow.
"use strict";
ciaBook.kinds.sandbox ??= (root, data) => {
  const { make, draw, number, options, button, typing, table, goal, AGENTS } = ciaBook;
  const softmax = (values) => {
    const top = Math.max(...values), e = values.map((v) => Math.exp(v - top));
    const sum = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / sum);
  };
  // G[k][j] = w_k . x_j; CIA: softmax over j, whose credits; CC: over k, which identity.
  // Gradients of both at x and w.
  function losses(x, w) {
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1], K = x.length;
    const G = w.map((identity) => x.map((credit) => dot(identity, credit)));
    const P = G.map(softmax);
    const columns = G[0].map((_, j) => softmax(G.map((row) => row[j])));
    const C = G.map((row, k) => row.map((_, j) => columns[j][k]));
    const result = {};
    for (const [name, p] of [["CIA", P], ["CC", C]]) {
      const off = (k, j) => p[k][j] - (k === j ? 1 : 0);
      result[name] = {
        loss: -p.reduce((sum, row, k) => sum + Math.log(row[k]), 0) / K, p,
        x: x.map((_, j) => [0, 1].map((d) =>
          w.reduce((sum, wk, k) => sum + off(k, j) * wk[d], 0) / K)),
        w: w.map((_, k) => [0, 1].map((d) =>
          x.reduce((sum, xj, j) => sum + off(k, j) * xj[d], 0) / K)),
      };
    }
    return { G, ...result };
  }
  const points = [...data.credits, ...data.identities].map((p) => [...p]);
  const names = ["x0", "x1", "w0", "w1"];
  const S = 320, R = 3.2, to = ([a, b]) => [S / 2 + S / 2 * a / R, S / 2 - S / 2 * b / R];
  const plane = draw("svg", { viewBox: `0 0 ${S} ${S}`, role: "img", class: "cia-drag",
    "aria-label": "credits and identities in the plane" });
  const facts = make("div", { class: "cia-side" });
  let held = 0;
  const choose = options("point that the arrow keys move",
    ["credits of agent 0", "credits of agent 1", "identity 0", "identity 1"]);
  const which = options("loss whose gradient is drawn", ["CIA", "CC"]);
  const goals = [goal("make the CIA loss log 2 = 0.69, within 0.005: CIA sees no difference"),
    goal("CIA below 0.1 while CC is above 0.6: only one of them is content")];
  const clip = (v) => Math.min(R, Math.max(-R, v));
  const label = (x, y, text, more) =>
    draw("text", { x, y, "font-size": 11, fill: "#444", ...more }, text);

  // the losses as bars from 0 to 2, with a mark at log 2
  function meters(all) {
    const parts = [], x = (v) => 40 + 180 * Math.min(2, v) / 2;
    ["CIA", "CC"].forEach((name, k) => {
      const y = 6 + 24 * k;
      parts.push(draw("text", { x: 0, y: y + 13, "font-size": 13, fill: "currentColor" },
        name), draw("rect", { x: 40, y, width: 180, height: 16, fill: "none",
        stroke: "currentColor" }), draw("rect", { x: 40, y, width: x(all[name].loss) - 40,
        height: 16, fill: "currentColor", "fill-opacity": 0.55 }), draw("text", { x: 226,
        y: y + 13, "font-size": 13, fill: "currentColor" }, number(all[name].loss, 3)));
    });
    parts.push(draw("path", { d: `M${x(Math.log(2))} 2V56`, stroke: "currentColor",
      "stroke-width": 2 }), draw("text", { x: x(Math.log(2)), y: 68, "font-size": 11,
      "text-anchor": "middle", fill: "currentColor" }, "log 2"));
    return draw("svg", { viewBox: "0 0 270 72", role: "img", "aria-label":
      `CIA loss ${number(all.CIA.loss, 3)}, CC loss ${number(all.CC.loss, 3)}` }, ...parts);
  }
  function show() {
    const all = losses(points.slice(0, 2), points.slice(2));
    const name = ["CIA", "CC"][which.value], now = all[name];
    const parts = [draw("rect", { width: S, height: S, fill: "white", stroke: "#999" }),
      draw("path", { d: `M0 ${S / 2}H${S}M${S / 2} 0V${S}`, stroke: "#bbb" }),
      label(S - 4, S / 2 - 5, "credit at step 1", { "text-anchor": "end" }),
      label(S / 2 + 5, 13, "credit at step 2")];
    [-3, -2, -1, 1, 2, 3].forEach((v) => parts.push(
      label(to([v, 0])[0], S / 2 + 13, number(v, 0), { "text-anchor": "middle" }),
      label(S / 2 - 4, to([0, v])[1] + 3, number(v, 0), { "text-anchor": "end" })));
    [2, 3, 0, 1].forEach((k) => {
      const gradient = [...now.x, ...now.w][k], [a, b] = to(points[k]);
      const [c, d] = to(points[k].map((at, axis) => at - 2 * gradient[axis]));
      const turned = Math.atan2(d - b, c - a) * 180 / Math.PI, far = Math.hypot(c - a, d - b);
      const colour = AGENTS[k % 2];
      if (far > 2) parts.push(
        draw("line", { x1: a, y1: b, x2: c, y2: d, stroke: "#333", "stroke-width": 2 }),
        draw("path", { d: "M5 0L-4 4V-4Z", fill: "#333",
          transform: `translate(${c} ${d}) rotate(${turned})` }));
      parts.push(k < 2
        ? draw("circle", { cx: a, cy: b, r: 10, fill: colour, stroke: "white", "data-point": k })
        : draw("rect", { x: a - 14, y: b - 14, width: 28, height: 28, fill: "white",
          "fill-opacity": 0.6, stroke: colour, "stroke-width": 3, "data-point": k }));
      parts.push(label(a, b + (k < 2 ? 4 : 27), names[k], { "text-anchor": "middle",
        fill: k < 2 ? "white" : "#222", "data-point": k }));
    });
    plane.replaceChildren(...parts);
    root.dataset.cia = all.CIA.loss;
    root.dataset.cc = all.CC.loss;
    goals[0].reached(Math.abs(all.CIA.loss - Math.log(2)) < 0.005);
    goals[1].reached(all.CIA.loss < 0.1 && all.CC.loss > 0.6);
    const grid = (values) =>
      values.map((row, k) => [`w${k}`, ...row.map((v) => number(v))]);
    const over = name === "CIA" ? "agents (rows add up to 1)"
      : "identities (columns add up to 1)";
    facts.replaceChildren(meters(all), make("p", {},
      `log K \u2212 CIA loss: ${number(Math.log(2) - all.CIA.loss, 3)}`),
    table("similarities G", ["x0", "x1"], grid(all.G)),
    table(`${name}: softmax over ${over}`, ["x0", "x1"], grid(now.p)));
  }
  const move = (k, a, b) => { points[k] = [clip(a), clip(b)]; show(); };
  plane.addEventListener("pointerdown", (event) => {
    if (event.target.dataset.point === undefined) return;
    held = Number(event.target.dataset.point);
    choose.value = held;
    plane.setPointerCapture(event.pointerId);
  });
  plane.addEventListener("pointermove", (event) => {
    if (!plane.hasPointerCapture(event.pointerId)) return;
    const box = plane.getBoundingClientRect();
    move(held, R * (2 * (event.clientX - box.left) / box.width - 1),
      -R * (2 * (event.clientY - box.top) / box.height - 1));
  });
  root.addEventListener("keydown", (event) => {
    const ways = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1],
      ArrowDown: [0, -0.1] };
    if (!(event.key in ways) || typing(event)) return;
    event.preventDefault();
    move(held, ...points[held].map((at, axis) => at + ways[event.key][axis]));
  });
  choose.addEventListener("change", () => { held = Number(choose.value); });
  which.addEventListener("change", show);
  const descend = button("one step downhill", () => {
    const now = losses(points.slice(0, 2), points.slice(2))[["CIA", "CC"][which.value]];
    [...now.x, ...now.w].forEach((gradient, k) => {
      points[k] = points[k].map((at, axis) => clip(at - 0.5 * gradient[axis]));
    });
    show();
  });
  const again = button("start again", () => {
    [...data.credits, ...data.identities].forEach((p, k) => { points[k] = [...p]; });
    show();
  });
  root.append(...goals.map((each) => each.node), make("div", { class: "cia-row cia-bar" },
    choose, which, descend, again), make("div", { class: "cia-row cia-top" }, plane, facts));
  show();
};
