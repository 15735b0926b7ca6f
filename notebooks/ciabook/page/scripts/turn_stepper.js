// An episode of Turn, step by step: who is free? First a vote, then the answer.
"use strict";
ciaBook.kinds.turn ??= (root, data) => {
  const { make, number, button, table, stepper, chart, AGENTS, turn } = ciaBook;
  const board = turn.canvas(data.size), facts = make("div", { class: "cia-side" });
  const charts = data.teams.map((team) => chart(`credits, ${team.name}`,
    [0, 1].map((k) => team.credits.map((row) => row[k])), AGENTS, ["0", "1"]));
  const below = make("div", { class: "cia-charts" }, ...charts.map((each) => each.svg));
  const tally = make("p", {}), score = make("output", { "aria-live": "polite" });
  const asking = make("input", { type: "checkbox", onchange: () => go(now) });
  asking.checked = true;
  const answers = new Map(); // step -> agent voted for, or null: revealed without a vote
  let now = 0;
  const answer = (k) => {
    if (!answers.has(now)) answers.set(now, k);
    go(now);
  };
  const votes = [0, 1].map((k) => button(`agent ${k}`, () => answer(k)));
  const reveal = button("reveal", () => answer(null));
  const ask = make("div", { class: "cia-row cia-bar" },
    make("span", {}, "Who is free?"), ...votes, reveal,
    make("label", {}, asking, " ask me"), score);
  const larger = (team, t) => {
    const free = data.free[t];
    return team.credits[t][free] > team.credits[t][1 - free];
  };
  const { bar, go } = stepper(root, data.rewards.length - 1, (t) => {
    now = t;
    const hidden = asking.checked && !answers.has(t);
    const given = [...answers].filter(([, k]) => k !== null);
    const right = given.filter(([at, k]) => data.free[at] === k).length;
    const verdict = answers.has(t) && answers.get(t) !== null && asking.checked
      ? (answers.get(t) === data.free[t] ? "right, " : "wrong, ") : "";
    score.textContent = asking.checked && given.length
      ? `${verdict}score ${right} of ${given.length}` : "";
    [...votes, reveal].forEach((each) => { each.disabled = !hidden; });
    below.style.visibility = hidden ? "hidden" : "";
    root.dataset.hidden = hidden;
    board.replaceChildren(...turn.board(data.size, { positions: data.positions[t],
      apple: data.apple[t], free: hidden ? null : data.free[t] }, true));
    const choose = data.actions[t].map((action) => turn.ACTIONS[action]).join(" and ");
    const told = hidden ? "Who is free? Vote, or reveal."
      : `agent ${data.free[t]} is free; agents choose ${choose}; `
        + `reward ${number(data.rewards[t], 0)}`;
    board.setAttribute("aria-label", `board: ${told}`);
    charts.forEach((each) => each.at(t, hidden ? [] : data.free.slice(0, t + 1)));
    const counts = data.teams.map((team) => `${team.name} `
      + `${given.filter(([at]) => larger(team, at)).length}`);
    tally.textContent = given.length
      ? `On the steps you voted on, the free agent held the larger credit: `
        + `${counts.join(", ")} of ${given.length}.`
      : "Once you vote, the networks are scored on the same steps.";
    facts.replaceChildren(make("p", {}, told), tally);
    if (!hidden) facts.append(make("div", { class: "cia-wide" }, table("this step",
      ["credit 0", "credit 1", "Q 0", "Q 1"], data.teams.map((team) => [team.name,
        ...team.credits[t].map((v) => number(v)),
        ...team.utilities[t].map((v) => number(v, 1))]))));
  });
  const key = make("p", {}, "Dashed: what each agent sees. Bars: the fence. "
    + "Charts: the colour behind a step is that of the free agent.");
  root.append(bar, ask, make("div", { class: "cia-row cia-top" }, board, facts), below, key);
  go(0);
};
