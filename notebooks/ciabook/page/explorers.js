// The book's explorers: plain JavaScript and SVG, no library, no network. Python (ciabook/page/explorers.py) gives the data.
"use strict";
window.ciaExplorers ??= (() => {
  const INK = "var(--pst-color-text-base, #222)", FAINT = "var(--pst-color-border, #999)";
  const AGENTS = ["#0072b2", "#d55e00"], RED = "#882255";
  const STYLE = `
    .cia-explorer { border: 1px solid ${FAINT}; border-radius: 6px; padding: 0.7rem; color: ${INK}; max-width: 100%; }
    .cia-explorer:focus-visible { outline: 3px solid #0072b2; outline-offset: -3px; } /* inside: outputs clip what is outside */
    .cia-explorer .cia-row { display: flex; flex-wrap: wrap; gap: 0.7rem; align-items: center; }
    .cia-explorer .cia-bar { margin-bottom: 0.6rem; }
    .cia-explorer svg { width: 100%; height: auto; max-width: 26rem; }
    .cia-explorer .cia-drag { touch-action: none; } /* a swipe elsewhere scrolls the page */
    .cia-explorer .cia-row > svg { flex: 1 1 14rem; min-width: 0; }
    .cia-explorer .cia-side { flex: 1 1 14rem; min-width: 0; }
    .cia-explorer button, .cia-explorer select, .cia-explorer input[type=number] {
      font: inherit; color: inherit; background: var(--pst-color-surface, #f5f5f5); border: 1px solid ${FAINT};
      border-radius: 4px; padding: 0.15rem 0.5rem; min-height: 2rem; }
    .cia-explorer input[type=number] { width: 4rem; }
    .cia-explorer input[type=range] { flex: 1 1 8rem; min-width: 6rem; }
    .cia-explorer table { border-collapse: collapse; margin: 0.2rem 0; display: table; width: auto; }
    .cia-explorer th, .cia-explorer td { white-space: nowrap; border: 1px solid ${FAINT}; padding: 0.15rem 0.5rem; text-align: right;
      font-variant-numeric: tabular-nums; background: transparent; color: inherit; }
    .cia-explorer td.best { outline: 3px solid #d55e00; outline-offset: -3px; font-weight: bold; }
    .cia-explorer p { margin: 0.3rem 0; }`;

  const make = (name, attributes = {}, ...children) => build(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) =>
    build(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
  function build(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }
  const number = (value, digits = 2) => value.toFixed(digits).replace(/^-(?=0\.?0*$)/, "").replace("-", "\u2212");
  function table(caption, columns, rows) {
    const head = make("tr", {}, make("td"), ...columns.map((name) => make("th", { scope: "col" }, name)));
    const body = rows.map(([name, ...cells]) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell))));
    return make("table", {}, make("caption", {}, caption), head, ...body);
  }

  // Buttons, a slider and keys that step through t = 0 ... last.
  function stepper(root, last, show) {
    let t = 0, timer = null;
    const slider = make("input", { type: "range", min: 0, max: last, value: 0, "aria-label": "step" });
    const label = make("output", { "aria-live": "polite" });
    const go = (to) => {
      t = Math.min(last, Math.max(0, to));
      slider.value = t;
      label.textContent = `step ${t} of ${last}`;
      root.dataset.step = t;
      show(t);
    };
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "play"; };
    const play = make("button", { type: "button", onclick: () => {
      if (timer) return stop();
      play.textContent = "pause";
      timer = setInterval(() => (t < last ? go(t + 1) : stop()), 350);
    } }, "play");
    const button = (text, name, to) =>
      make("button", { type: "button", "aria-label": name, onclick: () => { stop(); go(to()); } }, text);
    slider.addEventListener("input", () => { stop(); go(Number(slider.value)); });
    root.addEventListener("keydown", (event) => {
      if (event.target === slider) return;
      const keys = { ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: last };
      if (event.key in keys) { event.preventDefault(); stop(); go(keys[event.key]); }
      if (event.key === " " && event.target === root) { event.preventDefault(); play.click(); }
    });
    const bar = make("div", { class: "cia-row cia-bar" }, button("|\u25c0", "first step", () => 0),
      button("\u25c0", "step back", () => t - 1), play, button("\u25b6", "step forward", () => t + 1),
      button("\u25b6|", "last step", () => last), slider, label);
    return { bar, go };
  }

  // A small chart of lines [agent][t] with a cursor.
  function chart(title, lines, colours) {
    const W = 300, H = 90, all = lines.flat(), low = Math.min(0, ...all), high = Math.max(...all, low + 1e-6);
    const last = lines[0].length - 1, x = (t) => 6 + (W - 12) * t / Math.max(1, last);
    const y = (v) => H - 6 - (H - 24) * (v - low) / (high - low);
    const cursor = draw("line", { y1: 18, y2: H - 4, stroke: INK, "stroke-dasharray": "3 3" });
    const paths = lines.map((line, k) => draw("polyline", { fill: "none", stroke: colours[k % colours.length],
      "stroke-width": 1.5, points: line.map((v, t) => `${x(t)},${y(v)}`).join(" ") }));
    const text = draw("text", { x: 6, y: 13, fill: INK, "font-size": 11 }, `${title}, up to ${number(high)}`);
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title }, text, ...paths, cursor);
    return { svg, at: (t) => { const place = x(Math.min(t, last)); cursor.setAttribute("x1", place); cursor.setAttribute("x2", place); } };
  }

  // ---------------------------------------------------------------- an episode of Turn
  const ACTIONS = ["up", "down", "left", "right", "eat", "stay"];
  function turn(root, data) {
    const cell = 40, board = draw("svg", { viewBox: `0 0 ${cell * data.size} ${cell * data.size}`, role: "img" });
    board.style.maxWidth = "15rem";
    const charts = data.teams.map((team) =>
      chart(`credits, ${team.name}`, [0, 1].map((k) => team.credits.map((row) => row[k])), AGENTS));
    const facts = make("div", { class: "cia-side" }), side = make("div", { class: "cia-side" }, ...charts.map((c) => c.svg));
    // who is free is hidden until it was guessed, where the box is ticked
    const asking = make("input", { type: "checkbox", onchange: () => go(now) });
    const guesses = new Map(), score = make("output", { "aria-live": "polite" });
    let now = 0;
    const guess = (k) => make("button", { type: "button", onclick: () => {
      if (!guesses.has(now)) guesses.set(now, k);
      go(now);
    } }, `agent ${k}`);
    const ask = make("div", { class: "cia-row cia-bar" }, make("label", {}, asking, " ask me who is free"), guess(0), guess(1), score);
    const { bar, go } = stepper(root, data.rewards.length - 1, (t) => {
      now = t;
      const hidden = asking.checked && !guesses.has(t);
      const right = [...guesses].filter(([at, k]) => data.free[at] === k).length;
      score.textContent = asking.checked ? `${right} of ${guesses.size} right` : "";
      [...ask.querySelectorAll("button")].forEach((button) => { button.disabled = !hidden; });
      side.style.visibility = hidden ? "hidden" : "";
      board.replaceChildren();
      for (let i = 0; i < data.size ** 2; i++) board.append(draw("rect", { x: cell * (i % data.size),
        y: cell * Math.floor(i / data.size), width: cell, height: cell, fill: "white", stroke: "#999" }));
      const [row, column] = data.apple[t];
      const apple = draw("rect", { x: -7, y: -7, width: 14, height: 14, fill: "#009e73",
        transform: `translate(${cell * (column + 0.75)} ${cell * (row + 0.25)}) rotate(45)` });
      data.positions[t].forEach(([r, c], k) => {
        const together = String(data.positions[t][0]) === String(data.positions[t][1]);
        const x = cell * (c + (together ? 0.3 + 0.4 * k : 0.5)), y = cell * (r + 0.55);
        if (!hidden && k !== data.free[t]) board.append(draw("rect", { x: cell * c + 3, y: cell * r + 3, width: cell - 6,
          height: cell - 6, fill: "none", stroke: "#333", "stroke-width": 2, "stroke-dasharray": "4 3" }));
        board.append(draw("circle", { cx: x, cy: y, r: 12, fill: AGENTS[k] }),
          draw("text", { x, y: y + 5, fill: "white", "text-anchor": "middle", "font-size": 14 }, String(k)));
      });
      board.append(apple);
      const choose = `agents choose ${data.actions[t].map((a) => ACTIONS[a]).join(" and ")}; `
        + `reward ${number(data.rewards[t], 0)}`;
      const told = hidden ? "who is free?" : `agent ${data.free[t]} is free; ${choose}`;
      board.setAttribute("aria-label", `board: ${told}`);
      charts.forEach((c) => c.at(t));
      facts.replaceChildren(make("p", {}, told));
      if (!hidden) facts.append(table("this step", ["credit 0", "credit 1", "Q 0", "Q 1"],
        data.teams.map((team) => [team.name, ...team.credits[t].map((v) => number(v)), ...team.utilities[t].map((v) => number(v, 1))])));
    });
    root.append(bar, ask, make("div", { class: "cia-row" }, board, facts, side));
    go(0);
  }

  // ---------------------------------------------------------------- a battle
  function battle(root, data) {
    const S = data.walkable.length, K = data.n_agents;
    const along = [0, 1].map((d) => data.positions.flat().map((spot) => spot[d])), low = along.map((v) => Math.max(0, Math.min(...v) - 2));
    const wide = Math.max(...along.map((v, d) => Math.min(S, Math.max(...v) + 2) - low[d])); // the ground that is fought on
    const field = draw("svg", { viewBox: `${10 * low[0]} ${10 * (S - low[1] - wide)} ${10 * wide} ${10 * wide}`, role: "img" });
    const ground = [draw("rect", { x: -10 * S, y: -10 * S, width: 30 * S, height: 30 * S, fill: "#9a9a9a" })];
    data.walkable.forEach((row, y) => [...row].forEach((open, x) => {
      if (open === "0") ground.push(draw("rect", { x: 10 * x, y: 10 * (S - 1 - y), width: 10, height: 10, fill: "#404040" }));
    }));
    const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#117733", "#999933", "#332288", "#aa4499"];
    const credits = data.credits.length ? chart("credits, in the colours of the agents",
      Array.from({ length: K }, (_, k) => data.credits.map((row) => row[k])), palette) : null;
    const facts = make("div", { class: "cia-side" });
    const { bar, go } = stepper(root, data.positions.length - 1, (t) => {
      const spot = (u) => [10 * data.positions[t][u][0], 10 * (S - data.positions[t][u][1])];
      const parts = [...ground], living = data.health[t].map((h) => h > 0);
      data.targets[t].forEach((target, u) => {
        if (target < 0 || !living[u]) return;
        const [[x1, y1], [x2, y2]] = [spot(u), spot(target)];
        parts.push(draw("line", { x1, y1, x2, y2, stroke: u < K ? "white" : "#f2c6d8", "stroke-width": u < K ? 1.6 : 0.8 }));
      });
      living.forEach((lives, u) => {
        if (!lives) return;
        const [x, y] = spot(u), share = data.health[t][u] / data.health[0][u];
        parts.push(u < K ? draw("circle", { cx: x, cy: y, r: 5, fill: palette[u % palette.length], stroke: "white" })
          : draw("rect", { x: x - 4, y: y - 4, width: 8, height: 8, fill: RED, stroke: "white" }));
        parts.push(draw("rect", { x: x - 6, y: y - 9, width: 12 * share, height: 2, fill: "white" }));
        parts.push(draw("text", { x, y: y + 3, fill: "white", "font-size": 7, "text-anchor": "middle" }, String(u < K ? u : u - K)));
      });
      field.replaceChildren(...parts);
      const count = (from, to) => living.slice(from, to).filter(Boolean).length;
      const told = `${count(0, K)} agents against ${count(K)} foes, return so far ${number(data.returns[t])}`;
      field.setAttribute("aria-label", told);
      credits?.at(t);
      const rows = living.slice(0, K).map((lives, k) => [`agent ${k}`, lives ? number(data.health[t][k], 0) : "dead",
        data.targets[t][k] < 0 ? "" : `foe ${data.targets[t][k] - K}`,
        lives && data.credits.length ? number(data.credits[Math.min(t, data.credits.length - 1)][k]) : ""]);
      facts.replaceChildren(make("p", {}, told), table("this step", ["health", "attacks", "credit"], rows));
    });
    root.append(bar, make("div", { class: "cia-row" }, field, make("div", { class: "cia-side" }, facts, ...(credits ? [credits.svg] : []))));
    go(0);
  }

  // ---------------------------------------------------------------- matrix games
  function vdn(payoff) { // the best sum in the squared sense: row mean + column mean - grand mean
    const n = payoff.length, mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
    const rows = payoff.map(mean), columns = payoff[0].map((_, j) => mean(payoff.map((row) => row[j]))), grand = mean(rows);
    const best = (values) => values.indexOf(Math.max(...values));
    return { table: rows.map((r) => columns.map((c) => r + c - grand)), greedy: [best(rows), best(columns)] };
  }
  function generator(seed) { // mulberry32
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let z = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
      return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
    };
  }
  // QMIX at one state: q_tot = sum_e |w2_e| ELU(|w1_0e| q_0 + |w1_1e| q_1 + b_e) + v, fitted by Adam on all cells.
  function qmix(payoff, seed, steps = 1500, E = 8) {
    const n = payoff.length, random = generator(seed), size = 2 * n + 4 * E + 1;
    const p = Array.from({ length: size }, (_, i) => (i < 2 * n ? 0.2 : 1.4) * (random() - 0.5));
    const m = new Float64Array(size), v = new Float64Array(size), g = new Float64Array(size);
    const W = 2 * n, B = W + 2 * E, O = B + E, V = O + E, scale = Math.max(1, ...payoff.flat().map(Math.abs));
    const forward = (i, j) => {
      let total = p[V];
      const z = [];
      for (let e = 0; e < E; e++) {
        z[e] = Math.abs(p[W + e]) * p[i] + Math.abs(p[W + E + e]) * p[n + j] + p[B + e];
        total += Math.abs(p[O + e]) * (z[e] > 0 ? z[e] : Math.expm1(z[e]));
      }
      return [total, z];
    };
    for (let step = 1; step <= steps; step++) {
      g.fill(0);
      for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) {
        const [total, z] = forward(i, j), slope = 2 * (total - payoff[i][j] / scale) / n ** 2;
        g[V] += slope;
        for (let e = 0; e < E; e++) {
          const elu = z[e] > 0 ? z[e] : Math.expm1(z[e]), inner = slope * Math.abs(p[O + e]) * (z[e] > 0 ? 1 : Math.exp(z[e]));
          g[O + e] += slope * elu * Math.sign(p[O + e]);
          g[B + e] += inner;
          g[W + e] += inner * p[i] * Math.sign(p[W + e]);
          g[W + E + e] += inner * p[n + j] * Math.sign(p[W + E + e]);
          g[i] += inner * Math.abs(p[W + e]);
          g[n + j] += inner * Math.abs(p[W + E + e]);
        }
      }
      for (let k = 0; k < size; k++) {
        m[k] = 0.9 * m[k] + 0.1 * g[k];
        v[k] = 0.999 * v[k] + 0.001 * g[k] ** 2;
        p[k] -= 0.03 * (m[k] / (1 - 0.9 ** step)) / (Math.sqrt(v[k] / (1 - 0.999 ** step)) + 1e-8);
      }
    }
    const best = (from) => { const q = p.slice(from, from + n); return q.indexOf(Math.max(...q)); };
    const fitted = payoff.map((row, i) => row.map((_, j) => scale * forward(i, j)[0]));
    return { table: fitted, greedy: [best(0), best(n)] };
  }
  const errorOf = (payoff, fitted) =>
    payoff.flat().reduce((sum, value, k) => sum + (value - fitted.flat()[k]) ** 2, 0) / payoff.length ** 2;
  function matrix(root, data) {
    let payoff = data.presets[0].payoff.map((row) => [...row]), chosen = data.presets[0], timer = null;
    const results = make("div", { class: "cia-row", "aria-live": "polite" }), inputs = make("div", {});
    const select = make("select", { "aria-label": "preset" },
      ...data.presets.map((preset, k) => make("option", { value: k }, preset.name)));
    const size = make("select", { "aria-label": "size" }, make("option", { value: 2 }, "2 \u00d7 2"), make("option", { value: 3 }, "3 \u00d7 3"));
    function shown(name, fit) {
      const n = payoff.length, top = Math.max(...payoff.flat()), error = errorOf(payoff, fit.table);
      const rows = fit.table.map((row, i) => make("tr", {}, ...row.map((value, j) =>
        make("td", i === fit.greedy[0] && j === fit.greedy[1] ? { class: "best" } : {}, number(value, 1)))));
      const earned = payoff[fit.greedy[0]][fit.greedy[1]];
      return make("div", { "data-method": name, "data-error": error },
        make("table", {}, make("caption", {}, `${name}: error ${number(error)}`), ...rows),
        make("p", {}, `greedy agents earn ${number(earned, 1)}${earned === top ? ", the most" : ` of ${number(top, 1)}`}`));
    }
    const penalty = make("input", { type: "range", min: -12, max: 0, step: 1, "aria-label": "penalty, all the lowest payoffs" });
    const told = make("output", {}), goal = make("p", { "aria-live": "polite" });
    let lowest = [];
    penalty.addEventListener("input", () => {
      lowest.forEach(([i, j]) => { payoff[i][j] = Number(penalty.value); });
      chosen = null;
      fill(false);
      clearTimeout(timer);
      timer = setTimeout(solve, 200);
    });
    function solve() {
      const fits = [0, 1, 2, 3, 4].map((seed) => qmix(payoff, seed + 1));
      const best = fits.reduce((a, b) => (errorOf(payoff, a.table) <= errorOf(payoff, b.table) ? a : b));
      const most = Math.max(...payoff.flat()), sum = vdn(payoff), earns = (fit) => payoff[fit.greedy[0]][fit.greedy[1]] === most;
      const reached = earns(sum) && !earns(best);
      root.dataset.goal = reached;
      goal.textContent = `goal: a table that VDN decides rightly and QMIX wrongly${reached ? " \u2713 reached" : ""}`;
      results.replaceChildren(shown("VDN", sum), shown("QMIX", best),
        ...(chosen ? chosen.fits.map((fit) => shown(fit.name, fit)) : []));
      if (!chosen) results.append(make("p", {}, "QPLEX and QTRAN are known for the presets only."));
    }
    function fill(fresh = true) {
      const n = payoff.length;
      if (fresh) { // the slider moves what is lowest now, if that is a penalty
        const low = Math.min(...payoff.flat());
        lowest = low < 0 ? payoff.flatMap((row, i) => row.flatMap((value, j) => (value === low ? [[i, j]] : []))) : [];
        penalty.disabled = !lowest.length;
        penalty.value = lowest.length ? low : 0;
      }
      told.textContent = lowest.length ? `penalty ${number(Number(penalty.value), 0)}` : "no penalty";
      size.value = n;
      inputs.replaceChildren(make("table", {}, make("caption", {}, "payoff"), ...payoff.map((row, i) => make("tr", {},
        ...row.map((value, j) => make("td", {}, make("input", { type: "number", value, step: "any",
          "aria-label": `payoff of actions ${i} and ${j}`, oninput: (event) => {
            const typed = Number(event.target.value);
            if (event.target.value === "" || !Number.isFinite(typed)) return;
            payoff[i][j] = typed;
            chosen = null;
            clearTimeout(timer);
            timer = setTimeout(solve, 200);
          } })))))));
    }
    select.addEventListener("change", () => {
      chosen = data.presets[select.value];
      payoff = chosen.payoff.map((row) => [...row]);
      fill();
      solve();
    });
    size.addEventListener("change", () => {
      const n = Number(size.value);
      payoff = Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => payoff[i]?.[j] ?? 0));
      chosen = null;
      fill();
      solve();
    });
    root.append(make("div", { class: "cia-row cia-bar" }, select, size, penalty, told), goal,
      make("div", { class: "cia-row" }, inputs, results));
    fill();
    solve();
  }

  // ---------------------------------------------------------------- credits and losses
  const softmax = (values) => {
    const top = Math.max(...values), e = values.map((v) => Math.exp(v - top)), sum = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / sum);
  };
  // G[k][j] = w_k . x_j; CIA: softmax over j, whose credits; CC: over k, which identity. Gradients of both at x and w.
  function losses(x, w) {
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1], K = x.length;
    const G = w.map((identity) => x.map((credit) => dot(identity, credit)));
    const P = G.map(softmax), columns = G[0].map((_, j) => softmax(G.map((row) => row[j])));
    const C = G.map((row, k) => row.map((_, j) => columns[j][k]));
    const result = {};
    for (const [name, p] of [["CIA", P], ["CC", C]]) {
      const one = (k, j) => (k === j ? 1 : 0);
      result[name] = {
        loss: -p.reduce((sum, row, k) => sum + Math.log(row[k]), 0) / K, p,
        x: x.map((_, j) => [0, 1].map((d) => w.reduce((sum, wk, k) => sum + (p[k][j] - one(k, j)) * wk[d], 0) / K)),
        w: w.map((_, k) => [0, 1].map((d) => x.reduce((sum, xj, j) => sum + (p[k][j] - one(k, j)) * xj[d], 0) / K)),
      };
    }
    return { G, ...result };
  }
  function sandbox(root, data) {
    const points = [...data.credits, ...data.identities].map((p) => [...p]), names = ["x0", "x1", "w0", "w1"];
    const S = 320, R = 3.2, to = ([a, b]) => [S / 2 + S / 2 * a / R, S / 2 - S / 2 * b / R];
    const plane = draw("svg", { viewBox: `0 0 ${S} ${S}`, role: "img", class: "cia-drag",
      "aria-label": "credits and identities in the plane" });
    const facts = make("div", { class: "cia-side", "aria-live": "polite" });
    let held = 0;
    const choose = make("select", { "aria-label": "point that the arrow keys move" },
      ...["credits of agent 0", "credits of agent 1", "identity 0", "identity 1"].map((n, k) => make("option", { value: k }, n)));
    const which = make("select", { "aria-label": "loss whose gradient is drawn" }, make("option", {}, "CIA"), make("option", {}, "CC"));
    const clip = (v) => Math.min(R, Math.max(-R, v));
    function show() {
      const [x, w] = [points.slice(0, 2), points.slice(2)], all = losses(x, w), now = all[which.value];
      const parts = [draw("rect", { width: S, height: S, fill: "white", stroke: "#999" }),
        draw("path", { d: `M0 ${S / 2}H${S}M${S / 2} 0V${S}`, stroke: "#bbb" }),
        draw("text", { x: S - 4, y: S / 2 + 13, "text-anchor": "end", "font-size": 11, fill: "#444" }, "at step 1"),
        draw("text", { x: S / 2 + 4, y: 12, "font-size": 11, fill: "#444" }, "at step 2")];
      [-3, -2, -1, 1, 2, 3].forEach((v) => parts.push(
        draw("text", { x: to([v, 0])[0], y: S / 2 + 13, "text-anchor": "middle", "font-size": 9, fill: "#666" }, number(v, 0)),
        draw("text", { x: S / 2 - 4, y: to([0, v])[1] + 3, "text-anchor": "end", "font-size": 9, fill: "#666" }, number(v, 0))));
      [2, 3, 0, 1].forEach((k) => {
        const point = points[k], gradient = [...now.x, ...now.w][k], [a, b] = to(point), [c, d] = to([point[0] - 2 * gradient[0], point[1] - 2 * gradient[1]]);
        const turned = Math.atan2(d - b, c - a) * 180 / Math.PI;
        parts.push(draw("line", { x1: a, y1: b, x2: c, y2: d, stroke: "#333", "stroke-width": 2 }),
          draw("path", { d: "M5 0L-4 4V-4Z", fill: "#333", transform: `translate(${c} ${d}) rotate(${turned})` }));
        const colour = AGENTS[k % 2];
        parts.push(k < 2 ? draw("circle", { cx: a, cy: b, r: 10, fill: colour, stroke: "white", "data-point": k })
          : draw("rect", { x: a - 15, y: b - 15, width: 30, height: 30, fill: "white", stroke: colour, "stroke-width": 3, "data-point": k }));
        parts.push(draw("text", { x: a, y: b + (k < 2 ? 4 : 28), "text-anchor": "middle", "font-size": 11, fill: k < 2 ? "white" : "#222", "data-point": k }, names[k]));
      });
      plane.replaceChildren(...parts);
      root.dataset.cia = all.CIA.loss;
      root.dataset.cc = all.CC.loss;
      const grid = (values) => values.map((row, k) => [`w${k}`, ...row.map((v) => number(v))]);
      facts.replaceChildren(make("p", {}, `CIA loss ${number(all.CIA.loss, 3)}, CC loss ${number(all.CC.loss, 3)}, `
        + `log K \u2212 CIA loss ${number(Math.log(2) - all.CIA.loss, 3)}`),
        table("similarities G", ["x0", "x1"], grid(all.G)),
        table(`${which.value}: softmax over ${which.value === "CIA" ? "agents (rows add up to 1)" : "identities (columns add up to 1)"}`, ["x0", "x1"], grid(now.p)));
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
      move(held, R * (2 * (event.clientX - box.left) / box.width - 1), -R * (2 * (event.clientY - box.top) / box.height - 1));
    });
    root.addEventListener("keydown", (event) => {
      const ways = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (!(event.key in ways) || event.target.tagName === "SELECT") return;
      event.preventDefault();
      move(held, points[held][0] + ways[event.key][0], points[held][1] + ways[event.key][1]);
    });
    choose.addEventListener("change", () => { held = Number(choose.value); });
    which.addEventListener("change", show);
    const descend = make("button", { type: "button", onclick: () => {
      const now = losses(points.slice(0, 2), points.slice(2))[which.value];
      [...now.x, ...now.w].forEach((g, k) => { points[k] = [clip(points[k][0] - 0.5 * g[0]), clip(points[k][1] - 0.5 * g[1])]; });
      show();
    } }, "one step downhill");
    const again = make("button", { type: "button", onclick: () => {
      [...data.credits, ...data.identities].forEach((p, k) => { points[k] = [...p]; });
      show();
    } }, "start again");
    root.append(make("div", { class: "cia-row cia-bar" }, choose, which, descend, again), make("div", { class: "cia-row" }, plane, facts));
    show();
  }

  const kinds = { turn, battle, matrix, sandbox };
  const start = (id) => {
    if (!document.getElementById("cia-explorer-style")) document.head.append(make("style", { id: "cia-explorer-style" }, STYLE));
    const root = document.getElementById(id);
    root.querySelector(".no-script")?.remove();
    kinds[root.dataset.explorer](root, JSON.parse(document.getElementById(`${id}-data`).textContent));
  };
  return Object.assign(start, { kinds, make, number, stepper, chart }); // for explorers in files of their own
})();
