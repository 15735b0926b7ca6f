"""One update: a batch of episodes in, better networks out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.credits import mixing_at
from ciacore.learning.auxiliary import Auxiliary
from ciacore.losses import greedy_actions, mixer_states, td_targets, utilities_of
from ciacore.types import Batch, Episodes, Forward


class Learner:
    """Value decomposition by temporal differences (Liu et al. 2023, Eq. 1 and 7; PyMARL's learner).

    Holds the online networks (agent, mixer, backbone, loss terms), target copies of the
    first three, one optimizer over all of these, and the auxiliaries with optimizers of
    their own.
    """

    def __init__(
        self,
        agent: nn.Module,
        mixer: nn.Module,
        backbone: nn.Module,
        terms: dict[str, nn.Module],
        auxiliaries: dict[str, Auxiliary],
        config: Config,
    ) -> None:
        self.config = config
        networks = {"agent": agent, "mixer": mixer, "backbone": backbone}
        self.online = nn.ModuleDict({**networks, "terms": nn.ModuleDict(terms)})
        self.target = copy.deepcopy(nn.ModuleDict(networks)).requires_grad_(False)
        self.parameters = list(self.online.parameters())
        self.optimizer = make_optimizer(self.parameters, config)
        self.auxiliaries = nn.ModuleDict(auxiliaries)
        for part in auxiliaries.values():
            part.prepare()
        # of training so far
        self.env_steps = torch.zeros((), device=self.parameters[0].device)

    def forward(self, episodes: Episodes) -> Forward:
        """The online pass over a batch, with its targets."""
        agent, mixer = self.online["agent"], self.online["mixer"]
        batch = Batch(episodes, agent.inputs(episodes), mixer_states(episodes))
        action_values, hidden = agent.unroll(episodes, batch.inputs)
        utilities = utilities_of(
            action_values[:, :-1], episodes.actions, episodes.available[:, :-1]
        )
        states = batch.states[:, :-1]
        mixing = mixing_at(mixer, states)
        q_tot, penalty = mixing(utilities)
        with torch.no_grad():
            backbone, target_agent, target_mixer = (
                self.target[name] for name in ("backbone", "agent", "mixer")
            )
            # the online agents choose; else the target agents do, who also judge
            double_q = self.config.double_q
            choosing = (
                action_values
                if double_q
                else target_agent.unroll(episodes, batch.inputs)[0]
            )
            greedy = greedy_actions(choosing, episodes.available)
            greedy_values = backbone.greedy_values(
                target_agent, target_mixer, batch, greedy
            )
            rewards = episodes.rewards
            for part in self.auxiliaries.values():
                rewards = rewards + part.reward(
                    episodes, action_values, hidden, self.env_steps
                )
        return Forward(
            episodes=episodes,
            action_values=action_values,
            hidden=hidden,
            greedy=greedy,
            utilities=utilities,
            states=states,
            mixing=mixing,
            q_tot=q_tot,
            penalty=penalty,
            greedy_values=greedy_values,
            targets=td_targets(rewards, episodes.discounts, greedy_values[:, 1:]),
            weights=episodes.weights,
        )

    def update(
        self, episodes: Episodes, rng: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """One gradient step on the backbone's losses + sum of coefficient · term; then the auxiliaries learn.

        Args:
            rng: for what is random in learning; torch's own by default.

        Returns:
            The losses and the gradient norm.
        """
        for part in self.auxiliaries.values():
            part.begin(self.online["mixer"], self.target["mixer"], rng)
        record = self.forward(episodes)
        losses = self.online["backbone"](record)
        loss = sum(losses.values())
        for name, term in self.online["terms"].items():
            losses[name] = term(record)
            loss = loss + term.coefficient * losses[name]
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        losses = {name: value.detach() for name, value in losses.items()} | {
            "loss": loss.detach()
        }
        for name, part in self.auxiliaries.items():
            losses |= {
                f"{name}_{key}": value for key, value in part.learn(record, rng).items()
            }
        return losses | {"gradient_norm": norm}

    def played(self, episodes: Episodes, rng: torch.Generator | None = None) -> None:
        """Tells the auxiliaries of episodes that were played to learn from."""
        for part in self.auxiliaries.values():
            part.played(episodes, rng)

    def copy_target(self) -> None:
        """Makes the target networks equal to the online ones."""
        with torch.no_grad():
            for name, module in self.target.items():
                for copied, value in zip(
                    module.parameters(), self.online[name].parameters(), strict=True
                ):
                    copied.copy_(value)
        for part in self.auxiliaries.values():
            part.copy_target()

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """All optimizers, by name."""
        own = {
            f"{name}/{key}": one
            for name, part in self.auxiliaries.items()
            for key, one in part.optimizers.items()
        }
        return {"learner": self.optimizer, **own}


def make_optimizer(
    parameters: list[nn.Parameter], config: Config
) -> torch.optim.Optimizer:
    """RMSprop as published, or Adam with torch's defaults (published for 6h_vs_8z and corridor).

    All parameters are stepped together; on CUDA the step may be captured in a graph.
    """
    how = {
        "lr": config.learning_rate,
        "foreach": True,
        "capturable": any(p.is_cuda for p in parameters),
    }
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **how)
    return torch.optim.RMSprop(
        parameters, alpha=config.rmsprop_smoothing, eps=config.rmsprop_epsilon, **how
    )
