// The two-step game, fitted by VDN and QMIX; Python (ciabook/page/two_step_explorer.py) gives the data.
"use strict";
ciaBook.kinds["two-step"] ??= (() => {
  const { make, number, stepper, chart } = ciaBook;
  const PLACES = ["first step", "safe table", "risky table"], COLOURS = ["#0072b2", "#d55e00"];

  // One joint table; what greedy agents take is marked in bold, by an outline, and in words for who cannot see either.
  function joint(title, values, greedy, digits) {
    const head = make("tr", {}, make("td"), ...[0, 1].map((v) => make("th", { scope: "col" }, `1 plays ${v}`)));
    const rows = values.map((row, u) => make("tr", {}, make("th", { scope: "row" }, `0 plays ${u}`),
      ...row.map((value, v) => {
        const taken = greedy && greedy[0] === u && greedy[1] === v;
        return make("td", taken ? { class: "best", "aria-label": `${number(value, digits)}, taken` } : {}, number(value, digits));
      })));
    return make("table", {}, make("caption", {}, title), head, ...rows);
  }

  return function twoStep(root, data) {
    let game = data.games[0];
    const last = game.fits[0].earns.length - 1;
    const select = make("select", { "aria-label": "what the safe table pays", onchange: () => {
      game = data.games[select.value];
      fresh();
    } }, ...data.games.map((each, k) => make("option", { value: k }, `safe table pays ${each.safe}`)));
    const pays = make("div", { class: "cia-row" }), body = make("div", { class: "cia-row" });
    const said = make("p", { "aria-live": "polite" });
    let charts = [], now = 0;
    const { bar, go } = stepper(root, last, (t) => {
      now = t;
      said.textContent = `after ${t * data.every} gradient steps: `
        + game.fits.map((fit) => `${fit.name} earns ${number(fit.earns[t], 0)}`).join(", ");
      body.replaceChildren(...game.fits.map((fit, k) => {
        charts[k].at(t);
        return make("div", { class: "cia-side", "data-method": fit.name, "data-earns": fit.earns[t] },
          make("p", {}, `${fit.name}: Q_tot`), ...PLACES.map((name, place) => joint(name, fit.tables[t][place], fit.greedy[t][place], 1)), charts[k].svg);
      }));
    });
    function fresh() {
      pays.replaceChildren(...PLACES.map((name, place) => joint(`${name} pays`, game.payoffs[place], null, 0)));
      charts = game.fits.map((fit) => {
        const best = (place) => fit.tables.map((tables) => Math.max(...tables[place].flat()));
        return chart(`best of safe (blue) and risky (orange), ${fit.name}`, [best(1), best(2)], COLOURS);
      });
      go(now);
    }
    root.append(make("div", { class: "cia-row cia-bar" }, select), bar, said, pays, body);
    fresh();
  };
})();
