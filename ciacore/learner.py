"""One update: a batch of episodes in, better networks out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.credits import mixing_at
from ciacore.losses import greedy_actions, td_loss, td_targets, utilities_of
from ciacore.types import Episodes, Forward


class Learner:
    """Value decomposition by temporal differences (Liu et al. 2023, Eq. 1 and 7; PyMARL's learner).

    Holds the online networks (agent, mixer, loss terms), their target copies and one optimizer over all parameters.
    """

    def __init__(self, agent: nn.Module, mixer: nn.Module, terms: dict[str, nn.Module], config: Config) -> None:
        self.config = config
        self.online = nn.ModuleDict({"agent": agent, "mixer": mixer, "terms": nn.ModuleDict(terms)})
        self.target = copy.deepcopy(nn.ModuleDict({"agent": agent, "mixer": mixer})).requires_grad_(False)
        self.parameters = list(self.online.parameters())
        self.optimizer = make_optimizer(self.parameters, config)

    def forward(self, episodes: Episodes) -> Forward:
        """The online pass over a batch, with its targets."""
        agent, mixer = self.online["agent"], self.online["mixer"]
        action_values, hidden = agent.unroll(episodes)
        available, states = episodes.available, episodes.states[:, :-1].float()
        utilities = utilities_of(action_values[:, :-1], episodes.actions, available[:, :-1])
        mixing = mixing_at(mixer, states)
        q_tot, penalty = mixing(utilities)
        return Forward(
            action_values=action_values,
            hidden=hidden,
            utilities=utilities,
            states=states,
            mixing=mixing,
            q_tot=q_tot,
            penalty=penalty,
            targets=self.targets(episodes, action_values),
            weights=episodes.weights,
        )

    @torch.no_grad()
    def targets(self, episodes: Episodes, action_values: Tensor) -> Tensor:
        """y = r + discount · target mixture of the target agents' values at the greedy actions (double Q)."""
        target_values, _ = self.target["agent"].unroll(episodes)
        target_values, available = target_values[:, 1:], episodes.available[:, 1:]
        judge = action_values[:, 1:] if self.config.double_q else target_values
        utilities = utilities_of(target_values, greedy_actions(judge, available), available)
        next_values = self.target["mixer"](utilities, episodes.states[:, 1:].float()).q_tot
        return td_targets(episodes.rewards, episodes.discounts, next_values)

    def update(self, episodes: Episodes) -> dict[str, Tensor]:
        """One gradient step on L_TD + penalty + sum of coefficient · term; returns the losses and the gradient norm."""
        record = self.forward(episodes)
        losses = {"td_loss": td_loss(record.q_tot, record.targets, record.weights), "penalty": record.penalty}
        loss = losses["td_loss"] + losses["penalty"]
        for name, term in self.online["terms"].items():
            losses[name] = term(record)
            loss = loss + term.coefficient * losses[name]
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        return {name: value.detach() for name, value in losses.items()} | {"loss": loss.detach(), "gradient_norm": norm}

    def copy_target(self) -> None:
        """Makes the target networks equal to the online ones."""
        with torch.no_grad():
            for name, module in self.target.items():
                for copied, value in zip(module.parameters(), self.online[name].parameters(), strict=True):
                    copied.copy_(value)


def make_optimizer(parameters: list[nn.Parameter], config: Config) -> torch.optim.Optimizer:
    """RMSprop as published, or Adam with torch's defaults (published for 6h_vs_8z and corridor).

    All parameters are stepped together; on CUDA the step may be captured in a graph.
    """
    how = {"lr": config.learning_rate, "foreach": True, "capturable": any(p.is_cuda for p in parameters)}
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **how)
    return torch.optim.RMSprop(parameters, alpha=config.rmsprop_smoothing, eps=config.rmsprop_epsilon, **how)
