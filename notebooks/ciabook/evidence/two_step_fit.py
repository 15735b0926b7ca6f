"""A mixer fits the two-step game, gradient step by gradient step.

Utilities are free numbers, one for each place, agent and action. Every joint action of
every place counts the same, as under full exploration, and the first step is worth what
greedy agents earn next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore import METHODS
from ciacore.games import TwoStep
from ciacore.games.two_step import FIRST, NEXT, PAYOFFS, SAFE
from ciacore.methods import MIXERS
from ciacore.types import Utilities, refuse

PLACES = 3  # the first step, the safe table, the risky one


class Snapshot(NamedTuple):
    """A fit on its way."""

    step: int  # gradient steps taken
    tables: Float[Tensor, "3 2 2"]  # Q_tot: [place, agent 0, agent 1]
    greedy: Int[Tensor, "3 2"]  # what each agent prefers in each place
    earns: float  # the return of greedy agents


class PlaceTables(nn.Module):
    """A method whose utilities are free numbers in each place."""

    def __init__(self, method: str) -> None:
        """Random numbers.

        Args:
            method: a name in METHODS, whose mixer is used.
        """
        super().__init__()
        config = METHODS[method]
        self.values = nn.Parameter(0.1 * torch.randn(PLACES, 2, 2))
        self.mixer = MIXERS[config.mixer](TwoStep().spec, config)

    def forward(self) -> Float[Tensor, "3 2 2"]:
        """Q_tot of every joint action in every place."""
        place, first, second = torch.meshgrid(
            torch.arange(PLACES), torch.arange(2), torch.arange(2), indexing="ij"
        )
        place = place.flatten()  # [12]
        actions = torch.stack([first.flatten(), second.flatten()], -1)  # [12, 2]
        utilities = Utilities(
            chosen=self.values[place].gather(-1, actions[..., None])[..., 0],
            greedy=self.values[place].amax(-1),
            actions=torch.eye(2)[actions],
        )
        mixed = self.mixer(utilities, torch.eye(PLACES)[place])
        return mixed.q_tot.view(PLACES, 2, 2)


def payoffs(safe: float) -> Float[Tensor, "3 2 2"]:
    """What each place pays, with another payoff in the safe table.

    Args:
        safe: what the safe table pays; 7 in the paper.
    """
    found = torch.tensor([PAYOFFS[place] for place in range(PLACES)]).float()
    found[SAFE] = safe
    return found


def watch(
    method: str, safe: float = 7.0, seed: int = 0, steps: int = 400, every: int = 10
) -> list[Snapshot]:
    """Fits a method to the two-step game, by Adam on all joint actions at once.

    Args:
        method: a name in METHODS; its objective is plain squared error here.
        safe: what the safe table pays.
        seed: of the random start.
        steps: gradient steps.
        every: how many of them lie between two snapshots.

    Returns:
        A snapshot before the first step and after every `every` steps.

    Raises:
        InvalidInputError: steps is not a multiple of every.
    """
    if steps % every:
        cure = "Then the last step is shown, too."
        refuse("steps", f"a multiple of {every}", steps, cure)
    torch.manual_seed(seed)
    fitted, rewards = PlaceTables(method), payoffs(safe)
    optimizer = torch.optim.Adam(fitted.parameters(), 0.03)
    found = []
    for step in range(steps + 1):
        tables = fitted()
        if step % every == 0:
            found.append(snapshot(step, tables.detach(), fitted.values, rewards))
        ahead = targets(tables.detach(), fitted.values, rewards)
        loss = (tables - ahead).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


def watch_best(
    method: str, safe: float, seeds: Sequence[int], steps: int, every: int
) -> list[Snapshot]:
    """The fit that ends with the greatest return, of several random starts.

    QMIX may earn 7 for long: its table of the first step is flat at times, and says
    little to agent 0 while it is.

    Args:
        method: as for `watch`.
        safe: as for `watch`.
        seeds: of the random starts; of equal ones the first counts.
        steps: as for `watch`.
        every: as for `watch`.
    """
    fits = [watch(method, safe, seed, steps, every) for seed in seeds]
    return max(fits, key=lambda fit: fit[-1].earns)


def targets(
    tables: Float[Tensor, "3 2 2"],
    values: Float[Tensor, "3 2 2"],
    rewards: Float[Tensor, "3 2 2"],
) -> Float[Tensor, "3 2 2"]:
    """Payoffs, and in the first step what greedy agents are told to expect next.

    Args:
        tables: Q_tot of every joint action in every place.
        values: [place, agent, action], the utilities.
        rewards: what each place pays.
    """
    greedy = values.argmax(-1)  # [3, 2]
    places = torch.arange(PLACES)
    worth = tables[places, greedy[:, 0], greedy[:, 1]]  # [3]
    gamma = METHODS["qmix"].gamma
    ahead = rewards.clone()
    ahead[FIRST] += gamma * worth[torch.tensor(NEXT[FIRST])][:, None]
    return ahead


def snapshot(
    step: int,
    tables: Float[Tensor, "3 2 2"],
    values: Float[Tensor, "3 2 2"],
    rewards: Float[Tensor, "3 2 2"],
) -> Snapshot:
    """How far a fit is.

    Args:
        step: gradient steps taken.
        tables: Q_tot of every joint action in every place.
        values: [place, agent, action], the utilities.
        rewards: what each place pays.
    """
    greedy = values.detach().argmax(-1)
    second = NEXT[FIRST][greedy[FIRST, 0]]
    earns = rewards[FIRST, greedy[FIRST, 0], greedy[FIRST, 1]]
    earns = earns + rewards[second, greedy[second, 0], greedy[second, 1]]
    return Snapshot(step, tables.clone(), greedy, float(earns))
