"""Small games, settings and random records that several tests share."""

from typing import NamedTuple

import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.learning.learner import Learner
from ciacore.learning.rollout import pad
from ciacore.methods import METHODS, assemble
from ciacore.types import Episodes, Spec, Step, Utilities

CIA = {"method": "qmix_cia", "mixer": "qmix", "terms": ("cia",), "cia_coefficient": 0.5}
SMALL = {
    "batch": 4,
    "buffer": 16,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "target_interval": 5,
    "env_steps": 60,
    "evaluation_interval": 20,
    "evaluation_games": 3,
    "epsilon_steps": 40,
}

# changes of a Config, for what is played and learned with hardly any arithmetic
TINY = {
    "batch": 4,
    "buffer": 8,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "central_size": 8,
    "evaluation_games": 3,
}


def small(**fields) -> Config:
    """A Config that trains in a moment."""
    return Config(**{**SMALL, **fields})


def rng(seed: int = 0) -> torch.Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def random_utilities(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Utilities:
    """Chosen utilities with a standard deviation of 2.

    So QMIX's hidden units are on both sides of 0.
    """
    chosen = 2 * torch.randn(*shape, generator=rng(seed), dtype=dtype)
    return Utilities(chosen, chosen, torch.zeros(*shape, 1, dtype=dtype))


class StrollState(NamedTuple):
    t: Tensor  # [N]
    length: Tensor  # [N], the step after which the episode ends


class Stroll:
    """Two agents, 3 actions; every step pays 1; an episode ends after 1..horizon steps.

    Whatever it shows or pays after its end is nonsense on purpose: nothing of it may
    reach the learner. Action 2 is available at even times only.
    """

    name = "stroll"

    def __init__(self, horizon: int = 6) -> None:
        self.spec = Spec(
            2, 3, observation_size=4, state_size=5, unit_size=0, horizon=horizon
        )

    def reset(self, n_games, rng) -> StrollState:
        length = torch.randint(1, self.spec.horizon + 1, (n_games,), generator=rng)
        return StrollState(torch.zeros(n_games, dtype=torch.int64), length)

    def advance(self, state, actions, rng) -> Step:
        after = state._replace(t=state.t + 1)
        ended = after.t == state.length  # a single flash; later steps look alive again
        rewards = torch.where(after.t <= state.length, 1.0, 777.0)
        return Step(
            after,
            rewards,
            ended,
            after.t >= self.spec.horizon,
            {"valid": after.t <= state.length},
        )

    def observe(self, state):
        return (1.0 + state.t)[:, None, None].expand(-1, 2, 4).contiguous()

    def global_state(self, state):
        return torch.cat(
            [state.length[:, None].float(), (1.0 + state.t)[:, None].expand(-1, 4)],
            dim=1,
        )

    def available(self, state):
        allowed = torch.ones(len(state.t), 2, 3, dtype=torch.bool)
        allowed[..., 2] = (state.t % 2 == 0)[:, None]
        return allowed


SPEC = Spec(
    n_agents=2, n_actions=3, observation_size=4, state_size=5, unit_size=0, horizon=8
)


def random_episodes(
    lengths: list[int],
    spec: Spec = SPEC,
    seed: int = 0,
    gamma: float = 0.99,
    latents: int = 0,
) -> Episodes:
    """Random episodes, padded to the longest of them.

    Args:
        lengths: How many steps each has.
        spec: The sizes of the game.
        seed: Of all that is random.
        gamma: The discount of a step.
        latents: How many latents there are; each episode has one of them.
    """
    generator = rng(seed)
    batch, steps = len(lengths), max(lengths)
    shape = (batch, steps + 1, spec.n_agents)
    ended = torch.arange(steps) == torch.tensor(lengths).unsqueeze(1) - 1
    available = torch.rand(*shape, spec.n_actions, generator=generator) < 0.7
    actions = torch.randint(
        spec.n_actions, (batch, steps, spec.n_agents), generator=generator
    )
    available[:, :-1].scatter_(-1, actions.unsqueeze(-1), True)
    available[..., 0] |= ~available.any(-1)
    context = None
    observations = torch.randn(*shape, spec.observation_size, generator=generator)
    states = torch.randn(batch, steps + 1, spec.state_size, generator=generator)
    rewards = torch.randn(batch, steps, generator=generator)
    if latents:
        drawn = torch.randint(latents, (batch,), generator=generator)
        context = torch.eye(latents)[drawn]
    return pad(
        observations=observations,
        states=states,
        actions=actions,
        available=available,
        rewards=rewards,
        ended=ended,
        gamma=gamma,
        context=context,
    )


def learner(
    config: Config, spec: Spec = SPEC, seed: int = 0, device: str = "cpu"
) -> Learner:
    """A learner with networks fixed by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = assemble(spec, config)
    return Learner(parts.to(device), config)


LENGTHS = [8, 3, 5, 1]
SIZES = {
    "batch": 4,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "central_size": 8,
}


def made(method: str, **fields) -> Learner:
    """A small learner of a published method."""
    return learner(METHODS[method].but(**{**SIZES, **fields}))


def gradients(module: torch.nn.Module) -> dict[str, float | None]:
    """Largest absolute entry of each parameter's gradient; None where none arrived."""
    found = {}
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        found[name] = None if gradient is None else float(gradient.abs().max())
    return found


def reached(loss: Tensor, ours: Learner) -> set[str]:
    """The online networks and auxiliaries that a loss sends a gradient to, by name."""
    auxiliaries = ours.auxiliaries.named_parameters(prefix="auxiliaries")
    named = dict(ours.online.named_parameters()) | dict(auxiliaries)
    names = [name for name, parameter in named.items() if parameter.requires_grad]
    found = torch.autograd.grad(
        loss, [named[name] for name in names], retain_graph=True, allow_unused=True
    )
    moved = set()
    for name, gradient in zip(names, found, strict=True):
        if gradient is not None and gradient.abs().max() > 0:
            moved.add(name)
    return moved


def size_of(*modules: torch.nn.Module) -> int:
    """The number of parameters of all modules together."""
    total = 0
    for module in modules:
        for parameter in module.parameters():
            total += parameter.numel()
    return total


def under(names: set[str], *parts: str) -> bool:
    """Whether each name lies under one of the parts, and each part has a name."""
    if not all(name.startswith(parts) for name in names):
        return False
    return all(any(name.startswith(part) for name in names) for part in parts)
