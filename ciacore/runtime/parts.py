"""What the parts of a method promise, tried once before training: `check_parts`.

A few made-up steps are played, mixed and learned from, and the weights are put into a
file's form. What does not fit fails here and by name, not after the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import save as format_weights
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.contract import no_randomness_used
from ciacore.learning.learner import Learner, coefficient_of
from ciacore.losses import mixer_states
from ciacore.methods import assemble
from ciacore.types import Episodes, Forward, InvalidInputError, Spec, Utilities, refuse

EPISODES, STEPS = 2, 3  # that are made up; fewer steps where the horizon is shorter
CONTRACT = "The page Contributing says what each part must do."


def check_parts(config: Config, spec: Spec, device: torch.device | str) -> None:
    """Makes the parts that a Config names, and tries each of them.

    No random number of anybody else is used up, and nothing is kept.

    Args:
        config: the method.
        spec: the sizes of the game.
        device: where they will learn.

    Raises:
        InvalidInputError: an unknown name, parts that do not go together, a part that
            breaks its contract, or one whose weights cannot be saved.
    """
    with no_randomness_used():
        torch.manual_seed(0)
        rng = torch.Generator(device).manual_seed(0)
        with tried("method", config.method):
            parts = assemble(spec, config)
        check_registered(parts.networks())
        check_savable(parts.networks())
        with tried("method", config.method):
            learner = Learner(parts.to(device), config)
        episodes = made_up(spec, config, rng)
        check_agent(learner, spec, config, episodes)
        check_mixer(learner, episodes)
        check_losses(learner, episodes, rng)
        check_explorer(learner, spec, rng)
        with tried("auxiliaries", config.auxiliaries):
            learner.on_episodes(episodes, rng)
            learner.update(episodes, rng)
            learner.copy_target()
        check_savable(parts.networks())


@contextmanager
def tried(slot: str, names: Any) -> Iterator[None]:
    """Turns whatever a part raises into an error that names the part.

    Args:
        slot: the field of Config.
        names: what stands there.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:  # of somebody else's part: it may be any
        got = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        refuse(slot, f"parts that work on this game ({names})", got, CONTRACT)


def made_up(spec: Spec, config: Config, rng: torch.Generator) -> Episodes:
    """Episodes of zeros and ones, in which every action is available.

    Args:
        spec: the sizes of the game.
        config: `latent_size` and `gamma` are read here.
        rng: draws the numbers.
    """
    steps = min(spec.horizon, STEPS)
    shape = (EPISODES, steps + 1, spec.n_agents)

    def drawn(high: int, *sizes: int) -> Tensor:
        return torch.randint(high, sizes, generator=rng, device=rng.device)

    weights = torch.ones(EPISODES, steps, device=rng.device)
    discounts = config.gamma * weights
    discounts[:, -1] = 0
    context = torch.zeros(EPISODES, config.latent_size, device=rng.device)
    context[:, :1] = 1
    return Episodes(
        observations=drawn(2, *shape, spec.observation_size).to(spec.dtype),
        states=drawn(2, EPISODES, steps + 1, spec.state_size).to(spec.dtype),
        actions=drawn(spec.n_actions, EPISODES, steps, spec.n_agents),
        available=drawn(1, *shape, spec.n_actions) == 0,
        rewards=drawn(2, EPISODES, steps).float(),
        discounts=discounts,
        weights=weights,
        context=context,
        won=weights[:, 0] == 0,
    )


def check_registered(networks: nn.ModuleDict) -> None:
    """Refuses networks in plain lists, which would neither be trained nor saved.

    Args:
        networks: all parts, under the fields of Config.
    """
    for slot, part in networks.items():
        for module in part.modules():
            for name, value in vars(module).items():
                held = value.values() if isinstance(value, dict) else value
                if name.startswith("_") or not isinstance(value, list | tuple | dict):
                    continue
                if any(isinstance(item, nn.Module | nn.Parameter) for item in held):
                    got = f"networks in a {type(value).__name__}, {name}"
                    cure = "Use nn.ModuleList, nn.ModuleDict or nn.ParameterList."
                    refuse(slot, "networks that torch knows", got, cure)


def check_savable(networks: nn.ModuleDict) -> None:
    """Refuses weights that a run folder or a checkpoint could not hold.

    Args:
        networks: all parts, under the fields of Config.
    """
    for slot, part in networks.items():
        owners: dict[int, str] = {}
        weights = part.state_dict()
        for name, value in weights.items():
            if not isinstance(value, Tensor):
                cure = "Keep it in a buffer, or leave it out of the state."
                refuse(slot, "weights that are tensors", name, cure)
            if nn.parameter.is_lazy(value):
                cure = "Give the layer its size: the spec says it."
                refuse(slot, "weights of a known size", name, cure)
            if value.layout != torch.strided:
                cure = "Keep it dense."
                refuse(slot, "dense weights", f"{name}, which is sparse", cure)
            place = value.data_ptr()
            if place and owners.setdefault(place, name) != name:
                got = f"{owners[place]} and {name} in one place"
                cure = "Keep it under one name, and use it twice."
                refuse(slot, "weights of their own", got, cure)
        try:
            format_weights(
                {name: value.cpu().contiguous() for name, value in weights.items()}
            )
        except Exception as error:  # safetensors has several
            got = str(error).splitlines()[0]
            refuse(slot, "weights that safetensors can hold", got, CONTRACT)


def check_agent(
    learner: Learner, spec: Spec, config: Config, episodes: Episodes
) -> None:
    """Refuses an agent whose values or hidden states have other shapes.

    Args:
        learner: with the agent.
        spec: the sizes of the game.
        config: names the agent.
        episodes: that it looks at.
    """
    agent = learner.online["agent"]
    batch, slots = episodes.states.shape[:2]
    shape = (spec.n_agents, spec.n_actions)
    with tried("agent", config.agent), torch.no_grad():
        values, hidden = agent.unroll(episodes, agent.inputs(episodes))
        memory, last_actions = agent.initial(batch)
        context = episodes.context
        observations = episodes.observations[:, 0].float()
        once, _ = agent.step(observations, last_actions, memory, context)
    check_shape("agent", "values", values, (batch, slots, *shape))
    check_shape("agent", "values", once, (batch, *shape))
    expected = (batch, slots, spec.n_agents)
    check_shape("agent", "hidden states", hidden[..., 0], expected)


def check_mixer(learner: Learner, episodes: Episodes) -> None:
    """Refuses a mixer that returns something else than one value per step.

    Args:
        learner: with the mixer.
        episodes: whose states it reads.
    """
    mixer, name = learner.online["mixer"], learner.config.mixer
    states = mixer_states(episodes)[:, :-1]
    batch, steps, n_agents = episodes.actions.shape
    chosen = torch.ones(batch, steps, n_agents, device=states.device).requires_grad_()
    n_actions = episodes.available.shape[-1]
    actions = nn.functional.one_hot(episodes.actions, n_actions).float()
    with tried("mixer", name):
        mixed = mixer(Utilities(chosen, chosen.detach() + 1, actions), states)
        q_tot, penalty = mixed.q_tot, mixed.penalty
    check_shape("mixer", "joint values", q_tot, (batch, steps))
    if not isinstance(penalty, Tensor) or penalty.shape not in ((), q_tot.shape):
        got = getattr(penalty, "shape", penalty)
        cure = "Return q_tot.new_zeros(()) where there is none."
        refuse("mixer", f"a penalty of shape [] or {[batch, steps]}", got, cure)
    gradient = None
    if q_tot.requires_grad:
        (gradient,) = torch.autograd.grad(q_tot.sum(), chosen, allow_unused=True)
    if gradient is None:
        cure = "Compute q_tot from utilities.chosen, without detach."
        got = "one that does not depend on them"
        refuse("mixer", "a joint value of the agents' utilities", got, cure)


def check_losses(learner: Learner, episodes: Episodes, rng: torch.Generator) -> None:
    """Refuses an objective or a term that returns something else than one number.

    Args:
        learner: with the objective and the terms.
        episodes: that they look at.
        rng: for what is random in them.
    """
    config = learner.config
    for part in learner.auxiliaries.values():
        with tried("auxiliaries", config.auxiliaries):
            part.before_update(learner.online["mixer"], learner.target["mixer"], rng)
    with tried("backbone", config.backbone):
        record = learner.forward(episodes, rng)
        losses = learner.online["backbone"](record)
    if not isinstance(losses, dict) or not losses:
        cure = "Return them by name."
        refuse("backbone", "a dictionary of losses", type(losses).__name__, cure)
    for name, loss in losses.items():
        check_loss("backbone", name, loss)
    for name, term in learner.online["terms"].items():
        check_term(name, term, learner, record)


def check_term(name: str, term: Any, learner: Learner, record: Forward) -> None:
    """Refuses a term without a weight, or whose loss is not one number.

    Args:
        name: of the term.
        term: what is tried.
        learner: counts the env steps that its weight may follow.
        record: that it looks at.
    """
    for attribute in ("coefficient", "needs_closed_form"):
        if not hasattr(term, attribute):
            cure = "ciacore.types.Term says what it is."
            refuse("terms", f"{name} with a {attribute}", "none", cure)
    with tried("terms", name):
        loss = term(record)
        weight = torch.as_tensor(coefficient_of(term, learner.env_steps))
    check_loss("terms", name, loss)
    if weight.shape != () or not weight.isfinite():
        cure = "Let coefficient be a number, or return one."
        refuse("terms", f"one number as the weight of {name}", weight.tolist(), cure)


def check_loss(slot: str, name: str, loss: Any) -> None:
    """Refuses a loss that is not one finite number.

    Args:
        slot: the field of Config.
        name: of the loss.
        loss: what came.
    """
    check_shape(slot, f"loss {name}", loss, ())
    if not loss.isfinite():
        cure = "Look at how it is computed: zeros and ones went in."
        refuse(slot, f"a finite loss {name}", loss.item(), cure)


def check_explorer(learner: Learner, spec: Spec, rng: torch.Generator) -> None:
    """Refuses an explorer whose policies choose something else than actions.

    Args:
        learner: with explorer and agent.
        spec: the sizes of the game.
        rng: for what is random in them.
    """
    name, agent = learner.config.explorer, learner.online["agent"]
    shape = (EPISODES, spec.n_agents)
    ones = torch.ones(*shape, spec.observation_size, device=rng.device)
    states = torch.ones(EPISODES, spec.state_size, device=rng.device)
    available = torch.zeros(*shape, spec.n_actions, device=rng.device) == 0
    with tried("explorer", name), torch.no_grad():
        policies = (
            learner.explorer.learning(agent, 0.5),
            learner.explorer.evaluating(agent),
        )
        chosen = []
        for policy in policies:
            memory = policy.start(ones, states, rng)
            chosen.append(policy.act(ones, available, memory, rng)[0])
    for actions in chosen:
        check_shape("explorer", "actions", actions, shape)
        if actions.dtype != torch.int64:
            cure = "Return the index of an action per agent."
            refuse("explorer", "actions of int64", str(actions.dtype), cure)


def check_shape(slot: str, what: str, found: Any, shape: tuple[int, ...]) -> None:
    """Refuses anything but a tensor of this shape.

    Args:
        slot: the field of Config.
        what: a part's result, in words.
        found: what it returned.
        shape: that it must have.
    """
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        expected = f"{what} of shape {list(shape)}"
        refuse(slot, expected, got, CONTRACT)
