// Turn to play: the reader is one agent and sees nine cells.
"use strict";
ciaBook.kinds.play ??= (root, data) => {
  const { make, draw, number, options, button, typing, stepper, painted, turn, INK, FAINT,
    AGENTS } = ciaBook;
  const PLACES = ["up left", "up", "up right", "left", "here", "right", "down left", "down",
    "down right"];
  // key -> action, of the reader and of a second one
  const KEYS = [{ ArrowUp: 0, ArrowDown: 1, ArrowLeft: 2, ArrowRight: 3, e: 4, s: 5 },
    { i: 0, k: 1, j: 2, l: 3, o: 4, u: 5 }];
  const agent = options("which agent you are", ["you are agent 0", "you are agent 1"]);
  const mate = options("who plays the other agent",
    ["mate: sweeps in its turns", "mate: a second reader"]);
  const start = options("apples", data.apples.map((_, k) => `apples no. ${k}`));
  const blind = make("input", { type: "checkbox", onchange: () => show() });
  const said = make("p", { role: "status" }), rule = make("p", {});
  const field = make("div", { class: "cia-row cia-top" }), after = make("div", {});
  let game; // all that happens between two clicks on "new game"

  function fresh() {
    const corner = data.size - 1;
    const state = { positions: [[0, 0], [corner, corner]], apple: data.apples[start.value][0],
      free: 0 };
    const you = Number(agent.value), second = mate.value === "1";
    game = { you, second, state, states: [state], scores: [0], chosen: [null, null],
      actions: [], apples: 0, fines: [0, 0], over: false,
      sweeps: second ? null : turn.sweeper(data.size, 1 - you) };
    after.replaceChildren();
    show();
  }
  function choose(k, action) {
    if (game.over || (k !== game.you && !game.second)) return;
    game.chosen[k] = action;
    if (game.sweeps) game.chosen[1 - k] = game.sweeps(game.state);
    if (!game.chosen.includes(null)) step();
    show();
  }
  function step() {
    const t = game.actions.length + 1, apple = data.apples[start.value][t];
    const done = turn.advance(data.size, game.state, game.chosen, apple);
    game.actions.push(game.chosen);
    game.state = done.state;
    game.states.push(done.state);
    game.scores.push(game.scores.at(-1) + done.reward);
    game.apples += done.eaten;
    game.fines = game.fines.map((fine, k) => fine + done.fines[k]);
    game.chosen = [null, null];
    if (t === data.horizon) end();
  }
  const windows = (k) => [turn.seen(game.state.positions[k], game.state.positions[1 - k]),
    turn.seen(game.state.positions[k], game.state.apple)];

  // nine cells, and the six actions as buttons
  function seat(k) {
    const [other, apple] = windows(k), svg = turn.canvas(3), colour = AGENTS[k];
    svg.append(...turn.view(k, other, apple));
    const where = (cells) => (cells.includes(1) ? PLACES[cells.indexOf(1)] : "out of sight");
    const text = `agent ${1 - k} ${where(other)}, apple ${where(apple)}`;
    svg.setAttribute("aria-label", `agent ${k} sees: ${text}`);
    svg.style.maxWidth = "11rem";
    svg.style.borderTop = `4px solid ${colour}`;
    const keys = Object.keys(KEYS[game.second ? k : 0]);
    const short = (key) => key.replace("Arrow", "").toLowerCase();
    const press = (action, sign) => button(sign, () => choose(k, action),
      { "aria-label": `agent ${k}: ${turn.ACTIONS[action]}`, "data-agent": k,
        "data-action": action, title: `key ${short(keys[action])}`,
        ...(game.over ? { disabled: "" } : {}) });
    const pad = make("div", { class: "cia-pad" },
      make("span"), press(0, "\u2191 up"), make("span"), press(2, "\u2190 left"),
      press(4, "eat"), press(3, "right \u2192"), make("span"), press(1, "\u2193 down"),
      press(5, "stay"));
    return make("div", { class: "cia-side" },
      make("p", {}, `Agent ${k}: keys ${keys.slice(0, 4).map(short).join(", ")}, `
        + `${keys[4]} eats, ${keys[5]} stays`), svg, make("p", {}, `You see ${text}.`), pad);
  }
  // the score so far, below the levels at which teams end
  const levels = [...data.levels].sort((a, b) => a.value - b.value);
  const { svg: meter, again } = painted(230, "your score, and what teams return", (W, H) => {
    const scores = blind.checked && !game.over ? [] : game.scores;
    const low = Math.min(-20, ...scores) - 5, high = Math.max(240, ...scores) + 10;
    const y = (v) => H - 8 - (H - 26) * (v - low) / (high - low);
    const right = W - Math.min(190, 0.52 * W), x = (t) => 6 + (right - 6) * t / data.horizon;
    const parts = [draw("text", { x: 6, y: 13, fill: INK, "font-size": 12 },
      "your score; lines: what teams return")];
    let lowest = Infinity;
    levels.forEach(({ name, value }) => {
      lowest = Math.min(y(value), lowest - 14);
      parts.push(draw("path", { d: `M6 ${y(value)}H${right}L${right + 8} ${lowest}`,
        stroke: FAINT, fill: "none", "stroke-dasharray": "4 3" }),
        draw("text", { x: right + 11, y: lowest + 4, fill: INK, "font-size": 11 },
          `${name}: ${number(value, 0)}`));
    });
    parts.push(draw("polyline", { fill: "none", stroke: INK, "stroke-width": 2.5,
      points: scores.map((v, t) => `${x(t)},${y(v)}`).join(" ") }));
    if (scores.length) parts.push(draw("circle", { cx: x(scores.length - 1),
      cy: y(scores.at(-1)), r: 4, fill: INK }));
    return parts;
  });
  function show() {
    const { you, second, actions, scores } = game, score = scores.at(-1);
    const focused = root.contains(document.activeElement)
      ? [document.activeElement.dataset.agent, document.activeElement.dataset.action] : [];
    const seats = second ? [0, 1] : [you];
    field.replaceChildren(...seats.map(seat),
      make("div", { class: "cia-side" }, meter));
    if (focused[1] !== undefined) // the buttons are new ones
      field.querySelector(`[data-agent="${focused[0]}"][data-action="${focused[1]}"]`)?.focus();
    root.dataset.step = actions.length;
    root.dataset.score = score;
    root.dataset.seen = [0, 1].map((k) => windows(k).flat().join("")).join(" ");
    root.dataset.over = game.over;
    const passed = levels.filter(({ value }) => score >= value).at(-1);
    const points = `score ${number(score, 0)}`
      + (passed ? `, level with ${passed.name} (${number(passed.value, 0)}) or above` : "");
    const last = actions.length
      ? `you chose ${turn.ACTIONS[actions.at(-1)[you]]}; ` : "";
    const waiting = game.chosen.findIndex((action) => action !== null);
    said.textContent = `step ${actions.length} of ${data.horizon}: ${second ? "" : last}`
      + (blind.checked && !game.over ? "score hidden" : points)
      + (waiting >= 0 ? `; waiting for agent ${1 - waiting}` : "");
    rule.textContent = second ? "A step is played once both have chosen."
      : "Your mate is told whose turn it is. In its turns it walks round the board until "
        + "its nine cells show the apple, goes there and eats; else it stays.";
    again();
  }
  function end() {
    game.over = true;
    const { states, actions, scores, apples, fines } = game;
    const board = turn.canvas(data.size), told = make("p", {});
    const player = make("div", { tabindex: 0, role: "group",
      "aria-label": "your game on the whole board, step by step; arrow keys step" });
    const { bar, go } = stepper(player, actions.length, (t) => {
      board.replaceChildren(...turn.board(data.size, states[t], true));
      const chose = t < actions.length
        ? `; agents choose ${actions[t].map((a) => turn.ACTIONS[a]).join(" and ")}` : "";
      told.textContent = `agent ${states[t].free} is free; score ${number(scores[t], 0)}${chose}`;
      board.setAttribute("aria-label", `board: ${told.textContent}`);
    });
    player.append(bar, make("div", { class: "cia-row cia-top" }, board, told));
    after.replaceChildren(make("p", {}, `The whole board, revealed: ${apples} apples, `
      + `${fines[0]} points lost by agent 0, ${fines[1]} by agent 1. Step through it: `
      + `when were you free, and when did you notice?`), player);
    go(0);
  }
  root.addEventListener("keydown", (event) => {
    if (typing(event) || after.contains(event.target) || game.over) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const seats = game.second ? [0, 1] : [game.you];
    seats.forEach((k, place) => {
      const action = KEYS[place][event.key];
      if (action === undefined) return;
      event.preventDefault();
      choose(k, action);
    });
  });
  [agent, mate, start].forEach((each) => each.addEventListener("change", fresh));
  root.append(make("div", { class: "cia-row cia-bar" }, agent, mate, start,
    button("new game", fresh), button("stop and reveal", () => {
      if (!game.over) { end(); show(); }
    }), make("label", {}, blind, " hide the score, which no agent sees")),
  rule, said, field, after);
  fresh();
};
