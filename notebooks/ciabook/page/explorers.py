"""Things to play with in a page: Turn, a battle, matrix games, and the losses.

Each is data made here and drawn by explorers.js, which travels with it: it works in a
book on a USB stick and in live Jupyter alike.
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
from ciabook.evidence.representable import GAMES, fit
from ciacore.games import MatrixGame
from ciacore.types import Episodes, refuse

SCRIPT = Path(__file__).with_name("explorers.js")
# methods that are fitted here for the presets: name, label, and how many times as many
# gradient steps they take
FITTED_HERE = (("qplex", "QPLEX", 1), ("qtran", "QTRAN", 5))
# the first one is decided rightly by all methods
PRESETS = {"gentle climb": [[8, -4, -4], [-4, 0, 0], [-4, 0, 0]], **GAMES}
PAGE = """\
<div id="{name}" class="cia-explorer follows-theme" data-explorer="{kind}" \
tabindex="0" role="group" aria-label="{title}">\
<p class="no-script">This needs JavaScript.</p></div>\
<script type="application/json" id="{name}-data">{data}</script>\
<script>{script}
ciaExplorers("{name}");</script>"""


class Explorer(NamedTuple):
    """What a notebook cell shows; the same data has the same name in every build."""

    kind: str  # turn, battle, matrix, sandbox, or what `script` adds
    title: str  # what a screen reader says of it
    data: dict[str, Any]
    script: Path | None = None  # one that adds a kind of its own

    def __repr__(self) -> str:
        """What shows where no HTML is drawn."""
        return f"<{self.title}>"

    def _repr_html_(self) -> str:
        data = json.dumps(self.data, separators=(",", ":"), allow_nan=False)
        data = data.replace("<", "\\u003c")
        digest = hashlib.sha256(data.encode()).hexdigest()[:8]
        scripts = [SCRIPT] if self.script is None else [SCRIPT, self.script]
        return PAGE.format(
            name=f"cia-{self.kind}-{digest}",
            kind=self.kind,
            title=self.title,
            data=data,
            script="\n".join(file.read_text(encoding="utf-8") for file in scripts),
        )


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
    names: Sequence[str] = ("gentle climb", "climb", "penalty", "match"),
    steps: int = 600,
    seeds: Sequence[int] = (0, 1),
) -> Explorer:
    """Payoff tables to edit, and what each method makes of them.

    VDN and QMIX are fitted in the page, for any table. QPLEX and QTRAN are fitted here,
    for the presets alone.

    Args:
        names: presets, keys of PRESETS; the first is shown first.
        steps: gradient steps of a fit.
        seeds: of the random starts; the best fit is shown.
    """
    presets = [{"name": name, "payoff": PRESETS[name], "fits": []} for name in names]
    for size in sorted({len(preset["payoff"]) for preset in presets}):
        alike = [preset for preset in presets if len(preset["payoff"]) == size]
        games = [MatrixGame(preset["payoff"]) for preset in alike]
        for method, label, times in FITTED_HERE:
            found = fit(method, games, seeds, times * steps)
            for preset, fits in zip(alike, found, strict=True):
                best = min(fits, key=lambda each: each.error)
                table = rounded(best.table, 3)
                shown = {"name": label, "table": table, "greedy": list(best.greedy)}
                preset["fits"].append(shown)
    title = "a matrix game to edit, and what each method makes of it"
    return Explorer("matrix", title, {"presets": presets})


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
