"""Things to play with in a page: Turn, a battle, matrix games, and the losses.

Each is data made here and drawn by the scripts beside this file, which travel with it:
it works in a book on a USB stick and in live Jupyter alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ciabook.battles.recording import Recording
from ciabook.evidence.analysis import Team, evaluate_on
from ciabook.evidence.held_fits import PENALTIES, climb, fits
from ciabook.evidence.representable import GAMES
from ciabook.turn.scripted_players import Trace
from ciacore.games import MatrixGame, Turn
from ciacore.games.turn import EAT, STAY
from ciacore.types import Episodes, refuse

SCRIPTS = Path(__file__).with_name("scripts")
# kind of explorer -> its scripts, after the one that all share
NEEDED = {
    "turn": ("turn_board.js", "turn_stepper.js"),
    "play": ("turn_board.js", "turn_play.js"),
    "loop": ("turn_board.js", "turn_loop.js"),
    "battle": ("battle.js",),
    "matrix": ("matrix.js",),
    "sandbox": ("sandbox.js",),
    "loose": ("loose.js",),
    "two-step": ("two_step.js",),
}
# methods whose fits come with the page, for the presets: name, label, and how many
# times as many gradient steps they take
FITTED = (("qplex", "QPLEX", 1), ("qtran", "QTRAN", 5))
PAGE = """\
<div id="{name}" class="cia-explorer follows-theme" data-explorer="{kind}" \
tabindex="0" role="group" aria-label="{title}">\
<p class="no-script">This needs JavaScript.</p></div>\
<script type="application/json" id="{name}-data">{data}</script>\
<script>{script}
ciaBook.open("{name}");</script>"""


class Explorer(NamedTuple):
    """What a notebook cell shows; the same data has the same name in every build."""

    kind: str  # a key of NEEDED
    title: str  # what a screen reader says of it
    data: dict[str, Any]

    def __repr__(self) -> str:
        """What shows where no HTML is drawn."""
        return f"<{self.title}>"

    def _repr_html_(self) -> str:
        data = json.dumps(self.data, separators=(",", ":"), allow_nan=False)
        data = data.replace("<", "\\u003c")
        digest = hashlib.sha256(data.encode()).hexdigest()[:8]
        return PAGE.format(
            name=f"cia-{self.kind}-{digest}",
            kind=self.kind,
            title=self.title,
            data=data,
            script=script_of(self.kind),
        )


def script_of(kind: str) -> str:
    """All that draws one kind of explorer."""
    files = ["explorers.js", *NEEDED[kind]]
    return "".join((SCRIPTS / file).read_text(encoding="utf-8") for file in files)


def rounded(values: Tensor | np.ndarray, digits: int) -> list:
    """Nested lists of short numbers.

    Args:
        values: numbers of any shape.
        digits: how many to keep after the point.
    """
    numbers = torch.as_tensor(values).double()
    return torch.round(numbers, decimals=digits).tolist()


def turn_explorer(
    episodes: Episodes, row: int, teams: Mapping[str, Team], size: int = 5
) -> Explorer:
    """An episode of Turn, with the credits and utilities of several teams along it.

    Args:
        episodes: recorded ones, with the plain state of Turn (`units=False`).
        row: which of them.
        teams: label -> team; all of them get the observations and actions of the
            episode.
        size: cells along an edge of the board.

    Raises:
        InvalidInputError: states of another size.
    """
    only = {name: field[row : row + 1] for name, field in episodes._asdict().items()}
    episode = Episodes(**only)
    cells = size * size
    states = episode.states[0].float()  # [T+1, S]
    if states.shape[-1] != 3 * cells + 2:
        refuse(
            "episodes",
            f"states of {3 * cells + 2} numbers",
            states.shape[-1],
            "Play Turn() without units.",
        )
    # apple, then agents: [T+1, 3, row and column]
    boards = [states[:, i * cells : (i + 1) * cells].argmax(-1) for i in range(3)]
    index = torch.stack(boards, 1)
    places = torch.stack([index // size, index % size], -1)
    steps = int(episode.weights.sum())
    shown = []
    for label, team in teams.items():
        found = evaluate_on(team, episode)
        shown.append(
            {
                "name": label,
                "credits": rounded(found.credits[0, :steps], 3),
                "utilities": rounded(found.utilities.chosen[0, :steps], 2),
            }
        )
    data = {
        "size": size,
        "apple": places[:steps, 0].tolist(),
        "positions": places[:steps, 1:].tolist(),
        "free": states[:steps, 3 * cells :].argmax(-1).tolist(),
        "actions": episode.actions[0, :steps].tolist(),
        "rewards": rounded(episode.rewards[0, :steps], 2),
        "teams": shown,
    }
    return Explorer("turn", "an episode of Turn, step by step; arrow keys step", data)


def apples(game: Turn, seed: int) -> list[list[int]]:
    """Row and column of every apple that a game with this seed may show.

    Args:
        game: the board.
        seed: of a torch generator, as `reset` and then every step draw from it.

    Returns:
        One place more than there are steps; the one at t is for a meal of step t - 1.
    """
    rng = torch.Generator().manual_seed(seed)
    state = game.reset(1, rng)
    places = [game.places(state)[1][0].tolist()]
    for _ in range(game.spec.horizon):
        # whoever is free eats here, so that the new apple is the one just drawn
        state = state._replace(apple=state.positions[:, 0], free=torch.zeros(1).long())
        state = game.advance(state, torch.tensor([[EAT, STAY]]), rng).state
        places.append(game.places(state)[1][0].tolist())
    return places


def play_turn(levels: Mapping[str, float], boards: int = 8, size: int = 5) -> Explorer:
    """Turn to play: the reader is one agent, sees nine cells, and has a score.

    Args:
        levels: name of a team -> its mean return, lines that the score may cross.
        boards: how many; number b has the apples of `Turn(size)` with the seed b.
        size: cells along an edge of the board.
    """
    game = Turn(size)
    data = {
        "size": size,
        "horizon": game.spec.horizon,
        "apples": [apples(game, seed) for seed in range(boards)],
        "levels": [
            {"name": name, "value": round(float(value), 2)}
            for name, value in levels.items()
        ],
    }
    title = "Turn to play: arrow keys move, E eats, S stays"
    return Explorer("play", title, data)


def turn_loop(
    traces: Mapping[str, Trace], caption: str, steps: int = 100, size: int = 5
) -> Explorer:
    """Episodes of Turn that play by themselves, side by side, and can be paused.

    Args:
        traces: name of a team -> its recorded episodes, the first of which is shown.
        caption: what is said below them.
        steps: how many are shown.
        size: cells along an edge of the board.
    """
    game = Turn(size)
    teams = []
    for name, recorded in traces.items():
        states = recorded.states[: steps + 1]
        places = [game.places(state) for state in states]
        earned = np.cumsum([0.0, *recorded.rewards[0, :steps].tolist()])
        team = {
            "name": name,
            "positions": [positions[0].tolist() for positions, _ in places],
            "apple": [apple[0].tolist() for _, apple in places],
            "free": [int(state.free[0]) for state in states],
            "returns": rounded(earned, 0),
        }
        teams.append(team)
    data = {"size": size, "milliseconds": 400, "caption": caption, "teams": teams}
    return Explorer("loop", "Turn, played by itself; the space bar pauses", data)


def battle_explorer(recording: Recording, battle: int) -> Explorer:
    """A recorded battle, step by step.

    Args:
        recording: B battles.
        battle: which of them.
    """
    steps = int(recording.lengths[battle])
    slots = slice(0, steps + 1)
    n_units = recording.health.shape[-1]
    rewards = recording.rewards[battle, :steps].astype(float)
    returns = np.concatenate([[0.0], rewards.cumsum()])
    targets = recording.targets[battle, 1 : steps + 1].tolist()
    credits = []
    if recording.credits.shape[-1] > 0:
        credits = rounded(recording.credits[battle, :steps].astype(float), 3)
    data = {
        "n_agents": recording.n_agents,
        "walkable": [
            "".join(str(int(cell)) for cell in row) for row in recording.walkable
        ],
        "positions": rounded(recording.positions[battle, slots].astype(float), 2),
        "health": rounded(recording.health[battle, slots].astype(float), 1),
        "targets": [*targets, [-1] * n_units],
        "returns": rounded(returns, 2),
        "credits": credits,
    }
    scenario = recording.facts["scenario"]
    title = f"a battle of {scenario}, step by step; arrow keys step"
    return Explorer("battle", title, data)


def matrix_explorer(
    names: Sequence[str] = ("penalty", "match"),
    steps: int = 600,
    seeds: Sequence[int] = (0, 1),
) -> Explorer:
    """The game "climb" with a penalty to move, and other payoff tables to edit.

    VDN and QMIX are fitted in the page, for any table. The fits of QPLEX and QTRAN come
    with it, for some penalties and the other tables.

    Args:
        names: the other tables, keys of `GAMES`.
        steps: gradient steps of a fit.
        seeds: of the random starts; the best fit is shown.
    """
    climbs = [{"penalty": p, "payoff": climb(p), "fits": []} for p in PENALTIES]
    presets = [{"name": name, "payoff": GAMES[name], "fits": []} for name in names]
    every = [*climbs, *presets]
    for size in sorted({len(shown["payoff"]) for shown in every}):
        alike = [shown for shown in every if len(shown["payoff"]) == size]
        games = [MatrixGame(shown["payoff"]) for shown in alike]
        for method, label, times in FITTED:
            found = fits(method, games, seeds, times * steps)
            for shown, starts in zip(alike, found, strict=True):
                best = min(starts, key=lambda each: each.error)
                told = {
                    "name": label,
                    "table": rounded(best.table, 3),
                    "greedy": list(best.greedy),
                    "right": sum(each.right for each in starts),
                    "of": len(starts),
                }
                shown["fits"].append(told)
    title = "a matrix game to edit, and what each method makes of it"
    return Explorer("matrix", title, {"climbs": climbs, "presets": presets})


def sandbox(
    credits: Sequence[Sequence[float]], identities: Sequence[Sequence[float]]
) -> Explorer:
    """Credits and identities as points to drag, with both losses and their gradients.

    Args:
        credits: [2, 2], of two agents over two steps.
        identities: [2, 2], of the same agents.
    """
    data = {
        "credits": [[float(number) for number in point] for point in credits],
        "identities": [[float(number) for number in point] for point in identities],
    }
    title = "credits and identities to drag, with the CIA and CC losses"
    return Explorer("sandbox", title, data)


def losses_let_loose(
    paths: Mapping[str, tuple[Tensor, Tensor, Sequence[float]]], frames: int = 60
) -> Explorer:
    """Gradient descent on credits and identities, which plays by itself.

    Args:
        paths: name of a loss -> the path of the credits [S, K, 2], that of the
            identities [S, K, 2], and S losses, one per gradient step.
        frames: how many steps are shown, from the first to the last; they are close
            together at the start, where most happens.

    Raises:
        InvalidInputError: paths of different lengths, or fewer steps than frames.
    """
    lengths = {len(losses) for _, _, losses in paths.values()}
    if len(lengths) != 1 or min(lengths) < frames:
        cure = "Descend as long on every loss, or show fewer frames."
        refuse("paths", f"one length, of {frames} steps or more", lengths, cure)
    share = np.linspace(0, 1, frames) ** 2
    steps = np.unique(np.rint(share * (min(lengths) - 1)).astype(int)).tolist()
    panels = []
    for name, (credits, identities, losses) in paths.items():
        panel = {
            "name": name,
            "credits": rounded(credits[steps], 3),
            "identities": rounded(identities[steps], 3),
            "losses": rounded(np.array(losses)[steps], 3),
        }
        panels.append(panel)
    title = "two losses let loose on credits and identities; arrow keys step"
    return Explorer("loose", title, {"steps": steps, "panels": panels})
