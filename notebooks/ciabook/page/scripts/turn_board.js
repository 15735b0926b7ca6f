// The game of Turn: its rules, as ciacore.games.turn has them, and its board.
"use strict";
ciaBook.turn ??= (() => {
  const { draw, AGENTS, APPLE } = ciaBook;
  const ACTIONS = ["up", "down", "left", "right", "eat", "stay"];
  const EAT = 4, STAY = 5, MOVES = [[-1, 0], [1, 0], [0, -1], [0, 1]];
  const WINDOW = [-1, 0, 1].flatMap((down) => [-1, 0, 1].map((right) => [down, right]));
  const same = (a, b) => a[0] === b[0] && a[1] === b[1];

  // What one agent's action does: where it is then, whether it bites, its fine.
  function act(size, place, action, free) {
    if (action === STAY) return { place, bites: false, fine: 0 };
    if (!free) return { place, bites: false, fine: 1 };
    if (action === EAT) return { place, bites: true, fine: 0 };
    const next = place.map((at, d) => at + MOVES[action][d]);
    if (next.some((at) => at < 0 || at >= size)) return { place, bites: false, fine: 1 };
    return { place: next, bites: false, fine: 0 };
  }

  // One step of the team: the next state, the reward, and both fines.
  function advance(size, state, actions, apple) {
    const outcomes = state.positions.map((place, k) =>
      act(size, place, actions[k], k === state.free));
    const fines = outcomes.map((each) => each.fine);
    const eaten = outcomes.some((each, k) =>
      each.bites && same(state.positions[k], state.apple));
    return {
      state: { positions: outcomes.map((each) => each.place),
        apple: eaten ? apple : state.apple, free: (state.free + eaten) % 2 },
      reward: 10 * eaten - fines[0] - fines[1], fines, eaten,
    };
  }

  // The 3 x 3 window around a place, row by row: 1 where the thing is.
  const seen = (place, thing) =>
    WINDOW.map(([down, right]) => Number(same([place[0] + down, place[1] + right], thing)));

  // The next action on a shortest walk, rows before columns.
  function towards(here, there, arrived) {
    const [down, right] = there.map((at, d) => at - here[d]);
    if (down) return down < 0 ? 0 : 1;
    return right ? (right < 0 ? 2 : 3) : arrived;
  }

  // A searcher that knows whose turn it is: way-points until it sees the apple.
  function sweeper(size, agent) {
    const lines = [];
    for (let line = 1; line <= size; line += 3)
      lines.push(Math.min(line, Math.max(size - 2, 0)));
    const points = lines.flatMap((row, k) =>
      (k % 2 ? [...lines].reverse() : lines).map((column) => [row, column]));
    const walk = (a, b) => Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]);
    let goal = null; // none while the agent is trapped
    return (state) => {
      if (state.free !== agent) { goal = null; return STAY; }
      const here = state.positions[agent];
      if (goal === null) {
        const walks = points.map((point) => walk(point, here));
        goal = walks.indexOf(Math.min(...walks));
      }
      if (same(here, points[goal])) goal = (goal + 1) % points.length;
      const visible = state.apple.every((at, d) => Math.abs(at - here[d]) <= 1);
      return visible ? towards(here, state.apple, EAT) : towards(here, points[goal], STAY);
    };
  }

  const CELL = 40;
  const square = (row, column, size, more) => draw("rect", { x: CELL * column,
    y: CELL * row, width: CELL * size, height: CELL * size, ...more });
  function disc(k, x, y) {
    return [draw("circle", { cx: x, cy: y, r: 12, fill: AGENTS[k] }),
      draw("text", { x, y: y + 6, fill: "white", "text-anchor": "middle",
        "font-size": 18 }, String(k))];
  }
  const diamond = (x, y) => draw("rect", { x: -7, y: -7, width: 14, height: 14,
    fill: APPLE, transform: `translate(${x} ${y}) rotate(45)` });
  function fence(row, column) {
    const x = CELL * column + 3, y = CELL * row + 3, wide = CELL - 6, bars = [];
    for (let bar = 1; bar < 5; bar++)
      bars.push(`M${x + bar * wide / 5} ${y}v${wide}`);
    return draw("path", { d: `M${x} ${y}h${wide}v${wide}h${-wide}z${bars.join("")}`,
      fill: "none", stroke: "#333", "stroke-width": 1.5 });
  }
  const cells = (n) => Array.from({ length: n * n }, (_, i) => square(Math.floor(i / n),
    i % n, 1, { fill: "white", stroke: "#999" }));

  // The board as in the book's figures; free: null draws no fence.
  function board(size, { positions, apple, free }, windows = false) {
    const parts = cells(size);
    if (windows) positions.forEach(([row, column], k) => parts.push(square(row - 0.96,
      column - 0.96, 2.92, { fill: "none", stroke: AGENTS[k], "stroke-width": 2,
        "stroke-dasharray": "6 4" })));
    const together = same(positions[0], positions[1]);
    positions.forEach(([row, column], k) => {
      if (free !== null && k !== free) parts.push(fence(row, column));
    });
    positions.forEach(([row, column], k) => parts.push(...disc(k,
      CELL * (column + (together ? 0.3 + 0.4 * k : 0.5)), CELL * (row + 0.5))));
    const corner = positions.some((place) => same(place, apple)) ? 0.2 : 0.5;
    parts.push(diamond(CELL * (apple[1] + corner + (corner < 0.5 ? 0.6 : 0)),
      CELL * (apple[0] + corner)));
    return parts;
  }
  // What an agent sees: nine cells with it in the middle.
  function view(agent, other, apple) {
    const parts = cells(3), at = (seenAt) => [seenAt % 3, Math.floor(seenAt / 3)];
    const [mate, food] = [other.indexOf(1), apple.indexOf(1)];
    parts.push(...disc(agent, CELL * (mate === 4 ? 1.3 : 1.5), CELL * 1.5));
    if (mate >= 0) {
      const [x, y] = at(mate);
      parts.push(...disc(1 - agent, CELL * (x + (mate === 4 ? 0.7 : 0.5)), CELL * (y + 0.5)));
    }
    if (food >= 0) {
      const [x, y] = at(food), corner = food === 4 || food === mate;
      parts.push(diamond(CELL * (x + (corner ? 0.8 : 0.5)), CELL * (y + (corner ? 0.2 : 0.5))));
    }
    return parts;
  }
  const canvas = (n) => draw("svg", { viewBox: `-1 -1 ${CELL * n + 2} ${CELL * n + 2}`,
    role: "img", class: "cia-board" });
  return { ACTIONS, STAY, CELL, advance, seen, sweeper, board, view, canvas };
})();
