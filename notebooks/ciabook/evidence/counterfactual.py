"""Counterfactual advantages: what an agent's action was worth to its team.

A_k = Q(h, u) - mean over a of Q(h, (a, u_others)). The actions of the others stay, the
mean is over the actions that agent k could have taken, and Q is the discounted return
under the team's own greedy policy afterwards. The baseline is that of COMA (Foerster et
al. 2018), with equal weights in the place of the policy's.

`enumerated` is exact: it follows every outcome of chance. `sampled` plays copies of the
same step on, and says how uncertain it is. In both a policy with a memory goes on from
the history that it really had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciacore.games.turn import Turn
from ciacore.losses import greedy_actions
from ciacore.types import Game, Player, Step, refuse

MOST_FUTURES = 1_000_000  # that are enumerated side by side


class Nodes(NamedTuple):
    """N games before a step, and what the agents remember of them."""

    state: Any  # the game's own: a named tuple of tensors [N, ...]
    last_actions: Float[Tensor, "N K A"]  # one-hot; zeros at the start
    hidden: Tensor  # [N K, H]


class Sampled(NamedTuple):
    """Advantages of N steps, estimated from copies."""

    copies: Float[Tensor, "N M K"]  # the advantages in each of M futures

    @property
    def mean(self) -> Float[Tensor, "N K"]:
        """The estimate."""
        return self.copies.mean(1)

    @property
    def error(self) -> Float[Tensor, "N K"]:
        """Its standard error."""
        return self.copies.std(1) / self.copies.shape[1] ** 0.5


# What may follow a step: (game, step) -> which of the N games each outcome follows [R],
# how likely it is there [R], and the game's state in it.
Outcomes = Callable[[Any, Step], tuple[Tensor, Tensor, Any]]
# How chance is drawn for games that are played side by side: (step) -> their state.
Draw = Callable[[Step], Any]


def start(game: Game, player: Player, n_games: int, rng: torch.Generator) -> Nodes:
    """N games before their first step.

    Args:
        game: the rules, in torch.
        player: the agents.
        n_games: N.
        rng: draws the starts.
    """
    hidden, last_actions = player.initial(n_games)
    return Nodes(game.reset(n_games, rng), last_actions, hidden)


def rows(nodes: Nodes, index: Int[Tensor, "R"]) -> Nodes:
    """Some of the games, each as often as it is asked for.

    Args:
        nodes: N games.
        index: which, 0 to N - 1.
    """
    games_and_agents = nodes.last_actions.shape[:2]
    state = type(nodes.state)(*(field[index] for field in nodes.state))
    hidden = nodes.hidden.unflatten(0, games_and_agents)[index]
    return Nodes(state, nodes.last_actions[index], hidden.flatten(0, 1))


def joined(parts: Sequence[Nodes]) -> Nodes:
    """The games of several groups as one group."""
    states = [part.state for part in parts]
    state = type(states[0])(*map(torch.cat, zip(*states, strict=True)))
    memories = [part[1:] for part in parts]
    return Nodes(state, *map(torch.cat, zip(*memories, strict=True)))


def think(
    game: Game, player: Player, nodes: Nodes
) -> tuple[Float[Tensor, "N K A"], Tensor]:
    """Action values and memory of agents that look at their games.

    Args:
        game: the rules.
        player: the agents.
        nodes: N games.
    """
    observations = game.observe(nodes.state)
    return player.step(observations, nodes.last_actions, nodes.hidden)


def alternatives(actions: Int[Tensor, "N K"], n_actions: int) -> Int[Tensor, "N KA K"]:
    """The joint actions in which one agent does something else, or the same.

    Args:
        actions: what was done.
        n_actions: A.

    Returns:
        Of each agent in turn, all of its actions.
    """
    n_agents = actions.shape[1]
    found = actions[:, None].repeat(1, n_agents * n_actions, 1)
    for agent in range(n_agents):
        own = slice(agent * n_actions, (agent + 1) * n_actions)
        found[:, own, agent] = torch.arange(n_actions)
    return found


def advantages(
    values: Float[Tensor, "... K A"],
    actions: Int[Tensor, "... K"],
    available: Bool[Tensor, "... K A"],
) -> Float[Tensor, "... K"]:
    """The value of the action taken minus the mean over the agent's available ones.

    Args:
        values: Q(h, (a, u_others)) of every agent k and each of its actions a.
        actions: u.
        available: the actions that agent k could have taken.
    """
    taken = values.gather(-1, actions[..., None])[..., 0]
    could = values.masked_fill(~available, 0)
    return taken - could.sum(-1) / available.sum(-1)


# --------------------------------------------------------------------------------
# exact: every future


def certain(game: Any, step: Step) -> tuple[Tensor, Tensor, Any]:
    """The outcomes of a game without chance: one of each step.

    Args:
        game: the rules.
        step: of N games.
    """
    n_games = len(step.rewards)
    return torch.arange(n_games), torch.ones(n_games).double(), step.state


def every_apple(game: Turn, step: Step) -> tuple[Tensor, Tensor, Any]:
    """The outcomes of Turn: after a meal the next apple may lie in any cell.

    Args:
        game: the rules.
        step: of N boards.
    """
    n_cells = game.size**2
    counts = torch.where(step.info["eaten"], n_cells, 1)
    parents = torch.arange(len(counts)).repeat_interleave(counts)
    first = (counts.cumsum(0) - counts)[parents]
    nth = torch.arange(len(parents)) - first
    state = type(step.state)(*(field[parents] for field in step.state))
    apple = torch.where(step.info["eaten"][parents], nth, state.apple)
    return parents, 1 / counts[parents].double(), state._replace(apple=apple)


@torch.no_grad()
def enumerated(
    game: Game,
    player: Player,
    node: Nodes,
    actions: Int[Tensor, "1 K"],
    gamma: float,
    outcomes: Outcomes = certain,
    window: int | None = None,
    most: int = MOST_FUTURES,
) -> Float[Tensor, "K A"]:
    """Q(h, (a, u_others)) of every agent and action, over every outcome of chance.

    Args:
        game: the rules, in torch.
        player: the agents, which are greedy after the first step.
        node: one game.
        actions: u, what all agents do in the first step.
        gamma: discount per step.
        outcomes: what may follow a step.
        window: steps that count, the first one included; None: to the episode's end.
        most: futures that may be followed side by side.

    Returns:
        Values, also of actions that are not available, where they mean nothing.

    Raises:
        InvalidInputError: there are more futures.
    """
    n_agents, n_actions = game.spec.n_agents, game.spec.n_actions
    joint = alternatives(actions, n_actions)[0]  # [KA, K]
    origin = torch.arange(len(joint))  # which alternative a future belongs to
    nodes = rows(node, torch.zeros_like(origin))
    weights = torch.ones(len(joint)).double()  # chance and discount
    values = torch.zeros(len(joint)).double()
    rng = torch.Generator().manual_seed(0)  # what it draws is replaced by `outcomes`
    for index in range(window or game.spec.horizon):
        seen, hidden = think(game, player, nodes)
        if index > 0:
            joint = greedy_actions(seen, game.available(nodes.state))
        step = game.advance(nodes.state, joint, rng)
        values.index_add_(0, origin, weights * step.rewards)
        parents, chances, state = outcomes(game, step)
        goes_on = ~(step.terminated | step.truncated)[parents]
        parents, chances = parents[goes_on], chances[goes_on]
        if len(parents) == 0:
            break
        if len(parents) > most:
            cure = "Shorten the window, or estimate: `sampled`."
            refuse("window", f"at most {most} futures", len(parents), cure)
        memory = rows(Nodes(step.state, player.one_hot(joint), hidden), parents)
        state = type(state)(*(field[goes_on] for field in state))
        nodes = memory._replace(state=state)
        origin, weights = origin[parents], gamma * weights[parents] * chances
    return values.view(n_agents, n_actions)


# --------------------------------------------------------------------------------
# estimated: copies of the same step


def by_step(game: Game, n_rows: int, seed: int) -> Draw:
    """Chance as the game draws it: the same numbers in the same step.

    Args:
        game: the rules.
        n_rows: games side by side.
        seed: of nothing here.
    """
    return lambda step: step.state


def by_meal(game: Turn, n_rows: int, seed: int) -> Draw:
    """Chance in Turn: the n-th meal is followed by the n-th apple of the board's own.

    So a future in which a meal comes a step later is the same future a step later. The
    apples are as uniform and as independent as those that the game draws.

    Args:
        game: the rules.
        n_rows: boards side by side.
        seed: of the apples.
    """
    rng = torch.Generator().manual_seed(seed)
    boards = torch.arange(n_rows)
    apples = torch.randint(game.size**2, (n_rows, game.spec.horizon + 1), generator=rng)
    meals = torch.zeros(n_rows, dtype=torch.int64)

    def draw(step: Step) -> Any:
        eaten = step.info["eaten"]
        apple = torch.where(eaten, apples[boards, meals], step.state.apple)
        meals.add_(eaten)
        return step.state._replace(apple=apple)

    return draw


@torch.no_grad()
def sampled(
    game: Game,
    player: Player,
    nodes: Nodes,
    actions: Int[Tensor, "N K"],
    gamma: float,
    copies: int,
    seed: int,
    window: int | None = None,
    chance: Callable[[Any, int, int], Draw] = by_step,
) -> Sampled:
    """Advantages estimated from copies of each step, played on with each alternative.

    All alternatives of a copy share their chance, so that most of it cancels.

    Args:
        game: the rules, in torch.
        player: the agents, which are greedy after the first step.
        nodes: N games.
        actions: u, what all agents do in the first step.
        gamma: discount per step.
        copies: M, of each game.
        seed: of the random numbers.
        window: steps that count, the first one included; None: to the episode's end.
        chance: what the alternatives share.
    """
    n_games, n_agents = actions.shape
    n_actions = game.spec.n_actions
    index = torch.arange(n_games).repeat_interleave(copies)
    copied, u = rows(nodes, index), actions[index]  # NM games
    _, hidden = think(game, player, nodes)
    thought = rows(nodes._replace(hidden=hidden), index).hidden
    length = window or game.spec.horizon

    def played(joint: Int[Tensor, "NM K"]) -> Float[Tensor, "NM"]:
        rng = torch.Generator().manual_seed(seed)
        draw = chance(game, len(joint), seed)
        state, memory = copied.state, thought
        returns = torch.zeros(len(joint))
        weight = torch.ones(len(joint))
        for ahead in range(length):
            step = game.advance(state, joint, rng)
            returns = returns + weight * step.rewards
            weight = weight * gamma * ~(step.terminated | step.truncated)
            if ahead == length - 1 or not weight.any():
                break
            state = draw(step)
            now = Nodes(state, player.one_hot(joint), memory)
            values, memory = think(game, player, now)
            joint = greedy_actions(values, game.available(state))
        return returns

    factual = played(u)
    values = factual[:, None, None].repeat(1, n_agents, n_actions)
    available = game.available(copied.state)
    for agent in range(n_agents):
        for action in range(n_actions):
            other = (u[:, agent] != action) & available[:, agent, action]
            if other.any():
                joint = u.clone()
                joint[:, agent] = torch.where(other, action, u[:, agent])
                values[:, agent, action] = played(joint)
    found = advantages(values, u, available)
    return Sampled(found.view(n_games, copies, n_agents))


# --------------------------------------------------------------------------------
# agents that can be written down


class Written(NamedTuple):
    """Agents without a memory, whose action values are linear in what they see.

    With one-hot observations the weights are a table of values.
    """

    weights: Float[Tensor, "K O A"]

    def initial(self, n_games: int) -> tuple[Tensor, Float[Tensor, "N K A"]]:
        """No memory, and no last action."""
        n_agents, _, n_actions = self.weights.shape
        return (
            torch.zeros(n_games * n_agents, 0),
            torch.zeros(n_games, n_agents, n_actions),
        )

    def step(
        self,
        observations: Float[Tensor, "N K O"],
        last_actions: Float[Tensor, "N K A"],
        hidden: Tensor,
        context: Tensor | None = None,
    ) -> tuple[Float[Tensor, "N K A"], Tensor]:
        """The values of what is seen.

        Args:
            observations: of every agent.
            last_actions: not looked at.
            hidden: handed on as it is.
            context: not looked at.
        """
        values = torch.einsum("nko,koa->nka", observations, self.weights)
        return values, hidden

    def one_hot(self, actions: Int[Tensor, "N K"]) -> Float[Tensor, "N K A"]:
        """The actions taken, as a network would read them.

        Args:
            actions: 0 to A - 1.
        """
        return F.one_hot(actions, self.weights.shape[-1]).float()
