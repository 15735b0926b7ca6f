"""What teams learned in the two-step game: Q_tot of every joint action, place by place.

Networks are dropped when runs are published; the tables stay.

    python -m ciabook.evidence.two_step_tables RESULTS
        writes book/data/two_step_tables.json; RESULTS is the folder of the runs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ciabook.studies.study import ROOT, find, folder_of
from ciacore.credits import mixing_at
from ciacore.games import TwoStep
from ciacore.games.two_step import FIRST, RISKY, SAFE
from ciacore.losses import mixer_states, utilities_of
from ciacore.runtime.evaluation import Team, team
from ciacore.runtime.files import write_whole
from ciacore.runtime.store import WEIGHTS, load_run
from ciacore.types import Episodes

FILE = ROOT / "book" / "data" / "two_step_tables.json"
PLACES = (FIRST, SAFE, RISKY)
DIGITS = 3  # after the point, of what is written down


def every_episode(game: TwoStep) -> Episodes:
    """All 16 episodes of the two-step game: both agents' actions in both steps.

    Args:
        game: the rules.
    """
    joint = torch.tensor(list(product(range(2), repeat=4))).view(-1, 2, 2)
    rng = torch.Generator()
    state = game.reset(len(joint), rng)
    seen = [(game.observe(state), game.global_state(state), game.available(state))]
    rewards = []
    for t in range(2):
        step = game.step(state, joint[:, t], rng)
        state = step.state
        rewards.append(step.rewards)
        seen.append(
            (game.observe(state), game.global_state(state), game.available(state))
        )
    observations, states, available = (
        torch.stack(parts, 1) for parts in zip(*seen, strict=True)
    )
    discounts = torch.ones(len(joint), 2)
    discounts[:, 1] = 0.0  # nothing follows the second step
    return Episodes(
        observations=observations,
        states=states,
        actions=joint,
        available=available,
        rewards=torch.stack(rewards, 1),
        discounts=discounts,
        weights=torch.ones(len(joint), 2),
        context=torch.zeros(len(joint), 0),
        won=torch.zeros(len(joint), dtype=torch.bool),
    )


def learned_tables(learned: Team, game: TwoStep) -> Float[Tensor, "3 2 2"]:
    """Q_tot of a team: [place, action of agent 0, action of agent 1].

    Agents remember their first action, so that the value of a joint action in the
    second step is the mean over the two ways that lead to it.

    Args:
        learned: the team, without a latent.
        game: the rules.
    """
    episodes = every_episode(game)
    parts = learned.parts
    with torch.no_grad():
        action_values, _ = parts.agent.unroll(episodes)
        utilities = utilities_of(
            action_values[:, :-1], episodes.actions, episodes.available[:, :-1]
        )
        states = mixer_states(episodes)[:, :-1]
        q_tot = mixing_at(parts.mixer, states)(utilities).q_tot  # [16, 2]
    place = episodes.states[:, :-1].argmax(-1)  # [16, 2]
    first, second = episodes.actions.unbind(-1)
    tables = torch.zeros(len(PLACES), 2, 2)
    for where, u, v in product(PLACES, range(2), range(2)):
        tables[where, u, v] = q_tot[
            (place == where) & (first == u) & (second == v)
        ].mean()
    return tables


def measured(results: str | Path) -> list[dict[str, Any]]:
    """The tables of all runs of the two-step game, each with the sha256 of its weights.

    Args:
        results: the folder of all runs, which still have their weights.

    Raises:
        InvalidInputError: a run is missing, damaged, or without weights.
    """
    game, found = TwoStep(), []
    for entry in find("showcases_tiny"):
        if entry.game != game.name:
            continue
        run = load_run(folder_of(entry, results))
        tables = learned_tables(team(run, game), game)
        found.append(
            {
                "method": entry.config.method,
                "seed": entry.seed,
                "weights": run.provenance["sha256"][WEIGHTS],
                "tables": torch.round(tables.double(), decimals=DIGITS).tolist(),
            }
        )
    return found


def main(arguments: Sequence[str]) -> int:
    """Writes the tables of the runs in a folder; returns the exit code.

    Args:
        arguments: RESULTS.
    """
    (results,) = arguments
    write_whole(FILE, json.dumps(measured(results), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
