// Payoff tables with a penalty to move, and what each method makes of them.
"use strict";
ciaBook.kinds.matrix ??= (root, data) => {
  const { make, number, options, goal } = ciaBook;
  const best = (values) => values.indexOf(Math.max(...values));
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  // The best sum in the squared sense: row mean + column mean - grand mean.
  function vdn(payoff) {
    const rows = payoff.map(mean);
    const columns = payoff[0].map((_, j) => mean(payoff.map((row) => row[j])));
    const grand = mean(rows);
    const top = (all) => all.flatMap((v, i) => (v > Math.max(...all) - 1e-9 ? [i] : []));
    const chosen = top(rows).flatMap((i) => top(columns).map((j) => payoff[i][j]));
    return { table: rows.map((r) => columns.map((c) => r + c - grand)),
      greedy: [best(rows), best(columns)], chosen };
  }
  function generator(seed) { // mulberry32
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let z = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
      return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
    };
  }
  // QMIX at one state: q_tot = sum_e |w2_e| ELU(|w1_0e| q_0 + |w1_1e| q_1 + b_e) + v,
  // fitted by Adam on all cells.
  function qmix(payoff, seed, steps = 1500, E = 8) {
    const n = payoff.length, random = generator(seed), size = 2 * n + 4 * E + 1;
    const p = Array.from({ length: size },
      (_, i) => (i < 2 * n ? 0.2 : 1.4) * (random() - 0.5));
    const m = new Float64Array(size), v = new Float64Array(size);
    const g = new Float64Array(size), W = 2 * n, B = W + 2 * E, O = B + E, V = O + E;
    const scale = Math.max(1, ...payoff.flat().map(Math.abs));
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
        const [total, z] = forward(i, j);
        const slope = 2 * (total - payoff[i][j] / scale) / n ** 2;
        g[V] += slope;
        for (let e = 0; e < E; e++) {
          const elu = z[e] > 0 ? z[e] : Math.expm1(z[e]);
          const inner = slope * Math.abs(p[O + e]) * (z[e] > 0 ? 1 : Math.exp(z[e]));
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
        p[k] -= 0.03 * (m[k] / (1 - 0.9 ** step))
          / (Math.sqrt(v[k] / (1 - 0.999 ** step)) + 1e-8);
      }
    }
    return { table: payoff.map((row, i) => row.map((_, j) => scale * forward(i, j)[0])),
      greedy: [best(p.slice(0, n)), best(p.slice(n, 2 * n))] };
  }
  const errorOf = (payoff, fitted) => payoff.flat().reduce((sum, value, k) =>
    sum + (value - fitted.flat()[k]) ** 2, 0) / payoff.length ** 2;

  const STARTS = [1, 2, 3, 4, 5], LOW = -12;
  const steps = Array.from({ length: 1 - LOW }, (_, k) => LOW + k); // of the slider
  const climb = (penalty) => [[8, penalty, penalty], [penalty, 0, 0], [penalty, 0, 0]];
  const METHODS = ["VDN", "QMIX", "QPLEX", "QTRAN"];
  const visited = new Map(); // penalty -> method -> what the strip says
  let payoff, penalty = -4, chosen, timer = null; // penalty: null for another table
  const results = make("div", { class: "cia-row cia-top" }), inputs = make("div", {});
  const told = make("output", {}), strip = make("div", { class: "cia-wide" });
  const slider = make("input", { type: "range", min: LOW, max: 0, step: 1,
    value: penalty, "aria-label": "penalty for climbing alone" });
  const preset = options("table", ["climb, with the penalty above",
    ...data.presets.map((each) => each.name), "edited"]);
  const goals = [
    goal("find two neighbouring penalties between which QMIX tips"),
    goal("find a penalty at which VDN and QMIX are wrong and another method is right, "
      + "from some start at least")];

  const most = () => Math.max(...payoff.flat());
  const earned = (fit) => payoff[fit.greedy[0]][fit.greedy[1]];
  const verdict = (right, of) => (right === of ? "\u2713" : right ? `${right} of ${of}`
    : "\u2717");
  function shown(name, fit, says) {
    const n = payoff.length, error = errorOf(payoff, fit.table);
    const head = make("tr", {}, make("td"), ...Array.from({ length: n }, (_, j) =>
      make("th", { scope: "col" }, String(j))));
    const rows = fit.table.map((row, i) => make("tr", {},
      make("th", { scope: "row" }, String(i)), ...row.map((value, j) => make("td",
        i === fit.greedy[0] && j === fit.greedy[1] ? { class: "best" } : {},
        number(value, 1)))));
    const words = { "\u2713": "right from every start", "\u2717": "wrong from every start",
      tie: "a tie: a coin decides" };
    return make("div", { "data-method": name, "data-error": error, "data-says": says },
      make("table", {}, make("caption", {}, `${name}: error ${number(error)}`), head,
        ...rows), make("p", {}, `framed: earns ${number(earned(fit), 1)} of `
        + `${number(most(), 1)}`), make("p", {}, words[says] ?? `right from ${says} starts`));
  }
  function solve() {
    const fits = STARTS.map((seed) => qmix(payoff, seed)), sum = vdn(payoff);
    const closest = fits.reduce((a, b) =>
      (errorOf(payoff, a.table) <= errorOf(payoff, b.table) ? a : b));
    const isRight = (fit) => earned(fit) === most();
    const lucky = sum.chosen.filter((earns) => earns === most()).length;
    const isTie = lucky > 0 && lucky < sum.chosen.length;
    const says = { VDN: isTie ? "tie" : verdict(Number(lucky > 0), 1),
      QMIX: verdict(fits.filter(isRight).length, STARTS.length) };
    const known = chosen?.fits ?? [];
    known.forEach((fit) => { says[fit.name] = verdict(fit.right, fit.of); });
    results.replaceChildren(shown("VDN", sum, says.VDN), shown("QMIX", closest, says.QMIX),
      ...known.map((fit) => shown(fit.name, fit, says[fit.name])));
    if (!known.length) results.append(make("p", {},
      `QPLEX and QTRAN were trained for the penalties ${data.climbs.map((each) =>
        number(each.penalty, 0)).join(", ")} and the other tables of the list only.`));
    if (penalty !== null) visited.set(penalty, says);
    const qmixAt = (at) => visited.get(at)?.QMIX;
    goals[0].reached(steps.some((at) => qmixAt(at) === "\u2713" && qmixAt(at - 1)
      && qmixAt(at - 1) !== "\u2713"));
    goals[1].reached(penalty !== null && says.VDN === "\u2717" && says.QMIX === "\u2717"
      && known.some((fit) => fit.right > 0));
    paintStrip();
    root.dataset.solved = JSON.stringify(payoff);
  }
  function paintStrip() {
    const head = make("tr", {}, make("td", {}, "penalty"), ...steps.map((at) => make("th",
      at === penalty ? { scope: "col", class: "here" } : { scope: "col" }, number(at, 0))));
    strip.replaceChildren(make("table", {},
      make("caption", {}, "who decides rightly, where you have been"), head,
      ...METHODS.map((method) => make("tr", {}, make("th", { scope: "row" }, method),
        ...steps.map((at) => make("td", { "data-at": `${method} ${at}` },
          visited.has(at) ? visited.get(at)[method] ?? "\u00b7" : "?"))))));
  }
  function fill() {
    const n = payoff.length;
    told.textContent = penalty === null ? "another table" : `penalty ${number(penalty, 0)}`;
    const cell = (value, i, j) => make("td", {}, make("input", { type: "number", value,
      step: "any", "aria-label": `payoff of actions ${i} and ${j}`, oninput: (event) => {
        const typed = Number(event.target.value);
        if (event.target.value === "" || !Number.isFinite(typed)) return;
        payoff[i][j] = typed;
        penalty = chosen = null;
        preset.value = data.presets.length + 1;
        told.textContent = "another table";
        later();
      } }));
    inputs.replaceChildren(make("table", {},
      make("caption", {}, "payoff: agent 0 chooses the row, agent 1 the column"),
      make("tr", {}, make("td"), ...payoff.map((_, j) => make("th", { scope: "col" },
        `action ${j}`))), ...payoff.map((row, i) => make("tr", {},
        make("th", { scope: "row" }, `action ${i}`),
        ...row.map((value, j) => cell(value, i, j))))));
  }
  const later = () => { clearTimeout(timer); timer = setTimeout(solve, 200); };
  function climbing(at) {
    penalty = at;
    payoff = climb(at);
    chosen = data.climbs.find((each) => each.penalty === at) ?? null;
    preset.value = 0;
    fill();
  }
  slider.addEventListener("input", () => { climbing(Number(slider.value)); later(); });
  preset.addEventListener("change", () => {
    const k = Number(preset.value) - 1;
    if (k < 0) climbing(Number(slider.value));
    else if (k < data.presets.length) {
      penalty = null;
      chosen = data.presets[k];
      payoff = chosen.payoff.map((row) => [...row]);
      fill();
    }
    later();
  });
  root.append(...goals.map((each) => each.node), make("div", { class: "cia-row cia-bar" },
    make("label", {}, "penalty "), slider, told), strip,
  make("div", { class: "cia-row cia-bar" }, preset), inputs, results);
  climbing(penalty);
  solve();
};
