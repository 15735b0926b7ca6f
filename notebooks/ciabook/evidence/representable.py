"""What a method can represent, on games of one step.

Utilities and mixer are free parameters, fitted to every cell of a payoff table with the
losses of the library; each cell counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ciacore import METHODS
from ciacore.config import Config
from ciacore.credits import mixing_at
from ciacore.fast.steps import AllSteps
from ciacore.games import MatrixGame
from ciacore.learning.agent import RecurrentAgent
from ciacore.losses import greedy_actions, mixer_states, utilities_of
from ciacore.methods import MIXERS, OBJECTIVES
from ciacore.types import Batch, Episodes, Forward, Spec, refuse

GAMES = {
    "climb": [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]],  # Son et al. (2019)
    "both": [[0, 0], [0, 1]],
    "either": [[0, 1], [1, 1]],
    "match": [[1, 0], [0, 1]],
    "penalty": [[10, 0, -10], [0, 2, 0], [-10, 0, 10]],  # Claus & Boutilier (1998)
}


def every_joint_action(game: MatrixGame) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All cells of a payoff table.

    Args:
        game: of one step, with K agents and A actions.

    Returns:
        All joint actions [A^K, K], their payoffs [A^K], a constant state [A^K, 1], and
        full availability [A^K, K, A].
    """
    n_agents = game.spec.n_agents
    n_actions = game.spec.n_actions
    joint = torch.cartesian_prod(*[torch.arange(n_actions)] * n_agents)
    state = torch.ones(len(joint), 1)
    available = torch.ones(len(joint), n_agents, n_actions, dtype=torch.bool)
    return joint, game.payoff[joint.unbind(-1)], state, available


def every_episode(
    joint: Int[Tensor, "J K"],
    payoff: Float[Tensor, "J"],
    state: Float[Tensor, "J 1"],
    available: Tensor,
) -> Episodes:
    """An episode of one step for every joint action; arguments from the function above.

    Args:
        joint: [J, K], the actions taken.
        payoff: [J], the rewards.
        state: [J, 1], all that mixers and agents may see.
        available: [J, K, A] bool.
    """
    slots = state[:, None].expand(-1, 2, -1)
    return Episodes(
        observations=slots[:, :, None].expand(-1, -1, joint.shape[1], -1),
        states=slots,
        actions=joint[:, None],
        available=available[:, None].expand(-1, 2, -1, -1),
        rewards=payoff[:, None],
        discounts=torch.zeros(len(joint), 1),
        weights=torch.ones(len(joint), 1),
        context=torch.zeros(len(joint), 0),
        won=torch.zeros(len(joint), dtype=torch.bool),
    )


class TableAgent(nn.Module):
    """Agents that see nothing: Q_k(u) is a table of free parameters."""

    def __init__(self, spec: Spec, config: Config) -> None:
        """A random table.

        Args:
            spec: the sizes of the game.
            config: `hidden_size` is the length of the recurrent state, always zero.
        """
        super().__init__()
        self.hidden_size = config.hidden_size
        self.values = nn.Parameter(0.1 * torch.randn(spec.n_agents, spec.n_actions))

    def inputs(self, episodes: Episodes, steps: Any = None) -> None:
        """Nothing: a table reads nothing.

        Args:
            episodes: not looked at.
            steps: not looked at.
        """

    def unroll(
        self, episodes: Episodes, inputs: Any = None
    ) -> tuple[Float[Tensor, "B slots K A"], Float[Tensor, "B slots K H"]]:
        """The same values and zeros as recurrent states, in every slot.

        Args:
            episodes: B episodes; only their number and length count.
            inputs: not looked at.
        """
        batch, slots = episodes.available.shape[:2]
        in_every_episode = self.values.expand(batch, -1, -1)
        values = in_every_episode[:, None].expand(-1, slots, -1, -1)
        hidden = torch.zeros(batch, slots, len(self.values), self.hidden_size)
        return values, hidden

    def without_input(
        self,
        hidden: Float[Tensor, "E K H"],
        actions: Int[Tensor, "E K"],
        counts: list[int],
    ) -> tuple[Float[Tensor, "U K A"], Int[Tensor, "P"]]:
        """The same values at every further slot.

        Args:
            hidden: not looked at.
            actions: not looked at.
            counts: how many episodes go on at each further slot.
        """
        return self.values[None], torch.zeros(sum(counts), dtype=torch.int64)


class Fitted(nn.Module):
    """A method whose agents are tables, on a game of one step."""

    def __init__(self, config: Config, spec: Spec) -> None:
        """Random parameters.

        Args:
            config: the method.
            spec: the sizes of the game.
        """
        super().__init__()
        self.agent = TableAgent(spec, config)
        self.mixer = MIXERS[config.mixer](spec, config)
        before = torch.get_rng_state()
        self.objective = OBJECTIVES[config.backbone](spec, config)
        self._put_tables(spec, config, before)

    def _put_tables(self, spec: Spec, config: Config, before: Tensor) -> None:
        """Replaces agents inside the objective by tables.

        Its parts draw their numbers again, from the state of before, as if the agents
        had been tables from the start: a fit must not depend on what is thrown away.
        """
        torch.set_rng_state(before)
        for name, part in self.objective.named_children():
            if isinstance(part, RecurrentAgent):
                setattr(self.objective, name, TableAgent(spec, config))
                continue
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()

    def forward(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """The method's loss, and the table that greedy agents maximise.

        Args:
            episodes: J of one step, one per joint action.

        Returns:
            A scalar, and Q_tot [J].
        """
        record = self.look(episodes)
        losses = self.objective(record)
        return sum(losses.values()), record.q_tot[:, 0]

    def look(self, episodes: Episodes) -> Forward:
        """The record that losses look at; payoffs are the targets: nothing follows."""
        states = mixer_states(episodes)
        action_values, hidden = self.agent.unroll(episodes)
        utilities = utilities_of(
            action_values[:, :-1], episodes.actions, episodes.available[:, :-1]
        )
        mixing = mixing_at(self.mixer, states[:, :-1])
        mixed = mixing(utilities)
        with torch.no_grad():
            greedy = greedy_actions(action_values, episodes.available)
            # worth of the greedy actions in the one step; nothing is asked after it
            start = episodes._replace(available=episodes.available[:, :1])
            batch = Batch(start, AllSteps(), None, states[:, :1], start.available)
            greedy_values = self.objective.greedy_values(
                self.agent, self.mixer, batch, greedy[:, :1]
            ).expand(-1, 2)
        return Forward(
            episodes=episodes,
            steps=AllSteps(),
            action_values=action_values,
            hidden=hidden,
            available=episodes.available,
            greedy=greedy,
            utilities=utilities,
            states=states[:, :-1],
            mixing=mixing,
            q_tot=mixed.q_tot,
            penalty=mixed.penalty,
            greedy_values=greedy_values,
            targets=episodes.rewards,
            weights=episodes.weights,
        )


class Fit(NamedTuple):
    """What a method made of a game."""

    error: float  # mean squared, of q_tot
    right: bool  # whether greedy agents earn the most
    table: Float[Tensor, "A A"]  # q_tot
    greedy: tuple[int, ...]  # what each agent's utilities prefer


def fit(
    method: str, games: Sequence[MatrixGame], seeds: Sequence[int], steps: int
) -> list[list[Fit]]:
    """Fits a method to games of one size, from one random start per game and seed.

    All fits are independent of each other; they advance side by side, by Adam on all
    cells at once.

    Args:
        method: a name in METHODS.
        games: two agents each, all of one size.
        seeds: of the random starts.
        steps: gradient steps.

    Returns:
        For every game a list with one fit per seed.

    Raises:
        InvalidInputError: games of different sizes.
    """
    shapes = sorted({tuple(game.payoff.shape) for game in games})
    if len(shapes) != 1:
        refuse(
            "games",
            "games of one size",
            shapes,
            "Fit games of different sizes one after the other.",
        )
    config = METHODS[method].but(hypernetwork_size=0, hidden_size=16)
    starts = []
    payoffs = []
    for game in games:
        for seed in seeds:
            torch.manual_seed(seed)
            starts.append(Fitted(config, game.spec))
            payoffs.append(every_joint_action(game)[1])
    parameters, buffers = stack_module_state(starts)
    joint, _, state, available = every_joint_action(games[0])

    def one_fit(own: Any, held: Any, payoff: Tensor) -> tuple[Tensor, Tensor]:
        episodes = every_episode(joint, payoff, state, available)
        return functional_call(starts[0], (own, held), (episodes,))

    every_fit = vmap(one_fit)
    targets = torch.stack(payoffs)  # [games · seeds, J]
    optimizer = torch.optim.Adam(parameters.values(), 0.03, fused=True)
    for _ in range(steps):
        losses, _ = every_fit(parameters, buffers, targets)  # [games · seeds]
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    with torch.no_grad():
        _, tables = every_fit(parameters, buffers, targets)  # [games · seeds, J]
    values = parameters["agent.values"]
    found = []
    for number, game in enumerate(games):
        fits = []
        for index in range(len(seeds)):
            place = number * len(seeds) + index
            table = tables[place].view(shapes[0])
            fits.append(outcome(values[place], table, game.payoff))
        found.append(fits)
    return found


def outcome(
    values: Float[Tensor, "K A"],
    table: Float[Tensor, "A A"],
    payoff: Float[Tensor, "A A"],
) -> Fit:
    """What fitted utilities and the table of their joint values are worth.

    Args:
        values: [K, A], the utilities.
        table: [A, A], Q_tot of every joint action.
        payoff: [A, A], what it should be.
    """
    greedy = tuple(values.argmax(-1).tolist())
    return Fit(
        error=float(((table - payoff) ** 2).mean()),
        right=bool(payoff[greedy] == payoff.max()),
        table=table,
        greedy=greedy,
    )
