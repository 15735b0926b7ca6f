"""Things to play with in a page: an episode of Turn, a battle, matrix games, and the losses on credits.

Each is data made here and drawn by explorers.js, which travels with it: it works in a
book on a USB stick and in live Jupyter alike.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ciabook.battles.recording import Recording
from ciabook.evidence.analysis import Team, along
from ciabook.evidence.representable import GAMES, fit
from ciacore.games import MatrixGame
from ciacore.types import Episodes, refuse

SCRIPT = Path(__file__).with_name("explorers.js")


class Explorer(NamedTuple):
    """What a notebook cell shows; the same data has the same name in every build."""

    kind: str  # turn, battle, matrix or sandbox
    title: str  # what a screen reader says of it
    data: dict[str, Any]

    def __repr__(self) -> str:
        return f"<{self.title}>"

    def _repr_html_(self) -> str:
        data = json.dumps(self.data, separators=(",", ":"), allow_nan=False).replace(
            "<", "\\u003c"
        )
        name = f"cia-{self.kind}-{hashlib.sha256(data.encode()).hexdigest()[:8]}"
        return (
            f'<div id="{name}" class="cia-explorer follows-theme" data-explorer="{self.kind}" tabindex="0" '
            f'role="group" aria-label="{self.title}"><p class="no-script">This needs JavaScript.</p></div>'
            f'<script type="application/json" id="{name}-data">{data}</script>'
            f'<script>{SCRIPT.read_text(encoding="utf-8")}\nciaExplorers("{name}");</script>'
        )


def rounded(values: Tensor, digits: int) -> list:
    """Nested lists of short numbers."""
    return torch.round(values.double(), decimals=digits).tolist()


def turn_explorer(
    episodes: Episodes, row: int, teams: Mapping[str, Team], size: int = 5
) -> Explorer:
    """An episode of Turn, with the credits and utilities of several teams along it.

    Args:
        episodes: recorded ones, with the plain state of Turn (`units=False`).
        row: which of them.
        teams: label -> team; all see what was seen in the episode, and are told what
            was done.

    Raises:
        InvalidInputError: states of another size.
    """
    episode = Episodes(*(field[row : row + 1] for field in episodes))
    states, cells = episode.states[0].float(), size * size
    if states.shape[-1] != 3 * cells + 2:
        refuse(
            "episodes",
            f"states of {3 * cells + 2} numbers",
            states.shape[-1],
            "Play Turn() without units.",
        )
    places = torch.stack(
        [states[:, i * cells : (i + 1) * cells].argmax(-1) for i in range(3)], 1
    )
    # [T+1, apple and agents, row and column]
    places = torch.stack([places // size, places % size], -1)
    steps, shown = int(episode.weights.sum()), []
    for label, team in teams.items():
        found = along(team, episode)
        credits, utilities = (
            rounded(found.credits[0, :steps], 3),
            rounded(found.utilities.chosen[0, :steps], 2),
        )
        shown.append({"name": label, "credits": credits, "utilities": utilities})
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
    """A recorded battle."""
    steps = int(recording.lengths[battle])
    rewards = torch.from_numpy(recording.rewards[battle, :steps].astype(float))
    returns = torch.cat([torch.zeros(1, dtype=torch.float64), rewards.cumsum(0)])
    until = slice(0, steps + 1)
    data = {
        "n_agents": recording.n_agents,
        "walkable": [
            "".join(str(int(cell)) for cell in row) for row in recording.walkable
        ],
        "positions": rounded(
            torch.from_numpy(recording.positions[battle, until].astype(float)), 2
        ),
        "health": rounded(
            torch.from_numpy(recording.health[battle, until].astype(float)), 1
        ),
        "targets": [
            *recording.targets[battle, 1 : steps + 1].tolist(),
            [-1] * recording.health.shape[-1],
        ],
        "returns": rounded(returns, 2),
        "credits": rounded(
            torch.from_numpy(recording.credits[battle, :steps].astype(float)), 3
        )
        if recording.credits.shape[-1]
        else [],
    }
    return Explorer(
        "battle",
        f"a battle of {recording.facts['scenario']}, step by step; arrow keys step",
        data,
    )


def matrix_explorer(
    names: Sequence[str] = ("climb", "penalty", "match"),
    steps: int = 600,
    seeds: Sequence[int] = (0, 1),
) -> Explorer:
    """Payoff tables to edit: VDN and QMIX are fitted in the page, QPLEX and QTRAN here, for the presets."""
    presets = [{"name": name, "payoff": GAMES[name], "fits": []} for name in names]
    for size in sorted({len(preset["payoff"]) for preset in presets}):
        alike = [preset for preset in presets if len(preset["payoff"]) == size]
        games = [MatrixGame(preset["payoff"]) for preset in alike]
        for method, label, times in (("qplex", "QPLEX", 1), ("qtran", "QTRAN", 5)):
            for preset, fits in zip(
                alike, fit(method, games, seeds, times * steps), strict=True
            ):
                best = min(fits, key=lambda each: each.error)
                preset["fits"].append(
                    {
                        "name": label,
                        "table": rounded(best.table, 3),
                        "greedy": list(best.greedy),
                    }
                )
    return Explorer(
        "matrix",
        "a matrix game to edit, and what each method makes of it",
        {"presets": presets},
    )


def sandbox(
    credits: Sequence[Sequence[float]], identities: Sequence[Sequence[float]]
) -> Explorer:
    """Credits and identities of two agents over two steps, as points to drag; both losses and their gradients."""
    data = {
        "credits": [list(map(float, p)) for p in credits],
        "identities": [list(map(float, p)) for p in identities],
    }
    return Explorer(
        "sandbox", "credits and identities to drag, with the CIA and CC losses", data
    )
