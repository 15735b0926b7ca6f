"""One update: a batch of episodes in, better networks out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.credits import mixing_at
from ciacore.fast.steps import AllSteps, RealSteps, Steps, computed_steps
from ciacore.learning.auxiliary import Auxiliary
from ciacore.losses import greedy_actions, mixer_states, td_targets, utilities_of
from ciacore.types import (
    Batch,
    Episodes,
    Explorer,
    Forward,
    Generator,
    PaddedSteps,
    Term,
)


class Parts(NamedTuple):
    """The parts of a method, one for each slot of Config."""

    agent: nn.Module
    mixer: nn.Module
    objective: nn.Module  # Config calls this slot `backbone`
    terms: dict[str, nn.Module]
    explorer: Explorer
    auxiliaries: dict[str, Auxiliary]

    def networks(self) -> nn.ModuleDict:
        """All networks, under the names that their weights are stored under."""
        return nn.ModuleDict(
            {
                "agent": self.agent,
                "mixer": self.mixer,
                "backbone": self.objective,
                "terms": nn.ModuleDict(self.terms),
                "auxiliaries": nn.ModuleDict(self.auxiliaries),
            }
        )

    def to(self, device: torch.device | str) -> Parts:
        """Moves all networks to a device, and returns the parts."""
        self.networks().to(device)
        return self


class Learner:
    """Value decomposition by temporal differences.

    (Liu et al. 2023, Eq. 1 and 7; PyMARL's learner.) Holds the online networks (agent,
    mixer, objective, loss terms), target copies of the first three, one optimizer over
    all of these, and the auxiliaries with optimizers of their own.
    """

    def __init__(self, parts: Parts, config: Config) -> None:
        """Takes over the networks where they lie.

        Args:
            parts: of the method, as `ciacore.methods.assemble` makes them.
            config: the optimizer's settings, the clip and double Q are read here.
        """
        self.config = config
        self.explorer = parts.explorer
        networks = parts.networks()
        self.auxiliaries = networks.pop("auxiliaries")
        self.online = networks
        copied = {name: networks[name] for name in ("agent", "mixer", "backbone")}
        self.target = copy.deepcopy(nn.ModuleDict(copied)).requires_grad_(False)
        in_one_piece(self.target)
        self.parameters = list(self.online.parameters())
        self.optimizer = make_optimizer(self.parameters, config)
        for part in parts.auxiliaries.values():
            part.make_optimizers()
        device = self.parameters[0].device
        if device.type == "cuda":
            without_tf32()
        self.env_steps = torch.zeros((), device=device)  # of training so far

    def update(
        self,
        episodes: Episodes,
        rng: Generator | None = None,
        ends_early: bool = True,
    ) -> dict[str, Tensor]:
        """One gradient step on the objective's losses and the weighted terms.

        Then the auxiliaries learn.

        Args:
            episodes: the batch.
            rng: for what is random in learning; torch's own by default.
            ends_early: False where no episode has padding, so that none is looked for.

        Returns:
            The losses and the gradient norm, by name.
        """
        record, losses = self.losses(episodes, rng, ends_early)
        self.optimizer.zero_grad()
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        losses = {name: value.detach() for name, value in losses.items()}
        for name, part in self.auxiliaries.items():
            for key, value in part.learn(record, rng).items():
                losses[f"{name}_{key}"] = value
        losses["gradient_norm"] = norm
        return losses

    def losses(
        self,
        episodes: Episodes,
        rng: Generator | None = None,
        ends_early: bool = True,
    ) -> tuple[Forward, dict[str, Tensor]]:
        """What a gradient step is made of.

        Args:
            episodes: the batch.
            rng: as for `update`.
            ends_early: as for `update`.

        Returns:
            The online pass, and the losses by name, of which `loss` is minimised.
        """
        for part in self.auxiliaries.values():
            part.before_update(self.online["mixer"], self.target["mixer"], rng)
        steps = self.steps_to_compute(episodes) if ends_early else AllSteps()
        record = self.forward(episodes, rng, steps)
        losses = self.online["backbone"](record)
        loss = sum(losses.values())
        for name, term in self.online["terms"].items():
            losses[name] = term(record)
            loss = loss + coefficient_of(term, self.env_steps) * losses[name]
        return record, {**losses, "loss": loss}

    def forward(
        self,
        episodes: Episodes,
        rng: Generator | None = None,
        steps: Steps | None = None,
    ) -> Forward:
        """The online pass over a batch, with its targets.

        Args:
            episodes: the batch.
            rng: handed on to the loss terms.
            steps: which steps are computed; all of them by default.
        """
        steps = steps or AllSteps()
        agent, mixer = self.online["agent"], self.online["mixer"]
        batch = Batch(
            episodes=episodes,
            steps=steps,
            inputs=agent.inputs(episodes, steps),
            states=mixer_states(episodes, steps),
            available=steps.of_slots(episodes.available),
        )

        # What the online networks say of the actions taken, at t = 0 .. T-1.
        action_values, hidden = agent.unroll(episodes, batch.inputs)
        utilities = utilities_of(
            steps.before(action_values),
            steps.of_steps(episodes.actions),
            steps.before(batch.available),
        )
        states = steps.before(batch.states)
        mixing = mixing_at(mixer, states)
        q_tot, penalty = mixing(utilities)

        # What they should say: reward, and what the target networks say of the next
        # step.
        with torch.no_grad():
            choosing = action_values  # double Q: the online agents choose the action
            if not self.config.double_q:  # else the target agents, who also judge it
                choosing, _ = self.target["agent"].unroll(episodes, batch.inputs)
            greedy = greedy_actions(choosing, batch.available)
            greedy_values = self.target["backbone"].greedy_values(
                self.target["agent"], self.target["mixer"], batch, greedy
            )
            rewards = episodes.rewards
            for part in self.auxiliaries.values():
                rewards = rewards + part.reward(
                    episodes,
                    steps.slots_by_episode(action_values),
                    steps.slots_by_episode(hidden),
                    self.env_steps,
                )
            targets = td_targets(
                steps.of_steps(rewards),
                steps.of_steps(episodes.discounts),
                steps.after(greedy_values),
            )
        padding: tuple[PaddedSteps, ...] = ()
        if isinstance(steps, RealSteps) and self.looks_at_padding():
            padding = self.padded_steps(steps, batch, action_values, hidden)
        return Forward(
            episodes=episodes,
            steps=steps,
            action_values=action_values,
            hidden=hidden,
            available=batch.available,
            greedy=greedy,
            utilities=utilities,
            states=states,
            mixing=mixing,
            q_tot=q_tot,
            penalty=penalty,
            greedy_values=greedy_values,
            targets=targets,
            weights=steps.of_steps(episodes.weights),
            padding=padding,
            mixer=mixer,
            env_steps=self.env_steps,
            rng=rng,
        )

    def steps_to_compute(self, episodes: Episodes) -> Steps:
        """Which steps of a batch an update computes.

        All of them where a gradient reaches the agents through padding: that is, where
        a loss looks at padding and its credits are not detached.
        """
        if self.looks_at_padding() and not self.config.credit_detach:
            return AllSteps()
        return computed_steps(episodes)

    def looks_at_padding(self) -> bool:
        """Whether a loss looks at steps after an episode's end, as published."""
        parts = [self.online["mixer"], *self.online["terms"].values()]
        return any(getattr(part, "looks_at_padding", False) for part in parts)

    def padded_steps(
        self,
        steps: RealSteps,
        batch: Batch,
        action_values: Float[Tensor, "S K A"],
        hidden: Float[Tensor, "S K H"],
    ) -> tuple[PaddedSteps, PaddedSteps]:
        """What the online networks say of padding, up to the longest episode's end.

        First come the steps right after the ends, where the last state is still there
        to be seen; then those where nothing is.

        Args:
            steps: which are real.
            batch: the episodes, as the networks read them.
            action_values: of the online agents at the real slots.
            hidden: their recurrent states there.
        """
        agent, ends = self.online["agent"], steps.slot_at_end
        actions = batch.episodes.actions.flatten(0, 1)[steps.step_at_end]
        with torch.no_grad():
            values = action_values[ends]
            later, index = agent.without_input(
                hidden[ends], actions, steps.padded_at.tolist()
            )
        no_action = actions.new_zeros(later.shape[:-1])
        nothing = batch.states.new_zeros(1, batch.states.shape[-1])
        nothing = nothing.expand(len(later), -1)

        def put_later(computed: Tensor) -> Tensor:
            return steps.put_later(computed.index_select(0, index))

        return (
            self.padded(values, actions, batch.states[ends], steps.put_at_ends),
            self.padded(later, no_action, nothing, put_later),
        )

    def padded(
        self,
        values: Float[Tensor, "P K A"],
        actions: Int[Tensor, "P K"],
        states: Float[Tensor, "P SZ"],
        by_episode: Callable[[Tensor], Tensor],
    ) -> PaddedSteps:
        """What the online mixer says of some padded steps.

        Args:
            values: of the agents' actions.
            actions: recorded at these steps.
            states: what the mixer reads.
            by_episode: puts what is computed of these steps in its place.
        """
        nothing = torch.zeros_like(values, dtype=torch.bool)
        utilities = utilities_of(values, actions, available=nothing)
        mixer = self.online["mixer"]
        mixing = mixing_at(mixer, states)
        penalty = weights = values.new_zeros(len(values))
        if getattr(mixer, "looks_at_padding", False):
            penalty = mixing(utilities).penalty
        return PaddedSteps(utilities, mixing, penalty, weights, by_episode)

    def on_episodes(self, episodes: Episodes, rng: Generator | None = None) -> None:
        """Shows the auxiliaries episodes that were played to learn from.

        Args:
            episodes: as they were played.
            rng: for what is random in learning.
        """
        for part in self.auxiliaries.values():
            part.on_episodes(episodes, rng)

    def copy_target(self) -> None:
        """Makes the target networks equal to the online ones."""
        with torch.no_grad():
            for name, module in self.target.items():
                online = self.online[name]
                for copied, value in zip(
                    [*module.parameters(), *module.buffers()],
                    [*online.parameters(), *online.buffers()],
                    strict=True,
                ):
                    copied.copy_(value)
        for part in self.auxiliaries.values():
            part.copy_target()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """All optimizers, by name."""
        found = {"learner": self.optimizer}
        for name, part in self.auxiliaries.items():
            for key, optimizer in part.optimizers.items():
                found[f"{name}/{key}"] = optimizer
        return found


def coefficient_of(
    term: Term, env_steps: Float[Tensor, ""]
) -> float | Float[Tensor, ""]:
    """The weight of a loss term now.

    Args:
        term: its `coefficient` is a number, or a function of the env steps.
        env_steps: of training so far.
    """
    if callable(term.coefficient):
        return term.coefficient(env_steps)
    return term.coefficient


def in_one_piece(networks: nn.Module) -> None:
    """Puts the weights of each recurrence side by side in memory, where cuDNN wants it.

    A copy of a network has every weight in a place of its own; cuDNN would warn, and
    gather them anew at every call. On a CPU nothing happens.

    Args:
        networks: that were copied.
    """
    for module in networks.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def without_tf32() -> None:
    """Has cuDNN compute recurrences in float32, in the whole process.

    By default it rounds factors to 10 bits there (TF32), and an agent would learn from
    other values than those it plays by.
    """
    torch.backends.cudnn.rnn.fp32_precision = "ieee"


def make_optimizer(parameters: list[Tensor], config: Config) -> torch.optim.Optimizer:
    """RMSprop as published, or Adam with torch's defaults.

    (Adam is published for 6h_vs_8z and corridor.) All parameters are stepped together;
    on CUDA the step may be captured in a graph.

    Args:
        parameters: of all online networks.
        config: names the optimizer, its learning rate and RMSprop's settings.
    """
    settings = {
        "lr": config.learning_rate,
        "foreach": True,
        "capturable": any(parameter.is_cuda for parameter in parameters),
    }
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **settings)
    smoothing, epsilon = config.rmsprop_smoothing, config.rmsprop_epsilon
    return torch.optim.RMSprop(parameters, alpha=smoothing, eps=epsilon, **settings)
