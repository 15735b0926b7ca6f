"""Contrastive identity-aware learning: the paper on one page (Liu et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ciacore.config import Config
from ciacore.credits import credits_at
from ciacore.losses import in_batch
from ciacore.types import Forward, PaddedSteps, Spec, refuse


def similarities(
    credits: Float[Tensor, "B T K"], identities: Float[Tensor, "K N"]
) -> Float[Tensor, "B K K"]:
    """G[b, k, j] = w_k · x^j, row: identity, column: whose credits.

    (Liu et al. 2023, Eq. 3 and the similarity matrix below Eq. 6.)

    Args:
        credits: [B, T, K] of every step; they are padded here with zeros from T to N.
        identities: [K, N] W, one row per agent.

    Raises:
        InvalidInputError: T exceeds N, or the number of agents differs.
    """
    n_agents, horizon = identities.shape
    fits = credits.dim() == 3 and credits.shape[2] == n_agents
    if not fits or credits.shape[1] > horizon:
        expected = f"shape [B, T, {n_agents}] with T at most {horizon}"
        cure = "Identities must be [K, N] with N the longest episode."
        refuse("credits", expected, list(credits.shape), cure)
    x = F.pad(credits, (0, 0, 0, horizon - credits.shape[1]))  # [B, N, K]
    return identities @ x


def cia_loss(
    credits: Float[Tensor, "B T K"], identities: Float[Tensor, "K N"]
) -> Float[Tensor, ""]:
    """L_CL = -mean over b, k of log softmax_j(w_k · x^j)[k].

    Which agent's credits belong to identity k? (Liu et al. 2023, Eq. 6.) The softmax
    runs over agents, so a bias of the identity layer would cancel. log K - L_CL says
    how well one episode's credits can be handed back to their owners. It is the paper's
    lower bound on the mutual information (Eq. 5) only where the other agents' credits
    are independent draws.

    Args:
        credits: [B, T, K].
        identities: [K, N].
    """
    logits = similarities(credits, identities)
    log_p = logits.log_softmax(dim=2)  # over the columns: whose credits
    return -log_p.diagonal(dim1=1, dim2=2).mean()


def cc_loss(
    credits: Float[Tensor, "B T K"],
    identities: Float[Tensor, "K N"],
    bias: Float[Tensor, "K"] | None = None,
) -> Float[Tensor, ""]:
    """The classification ablation: which identity do agent k's credits belong to?

    (Liu et al. 2023, Ablation Study; Algorithm 1 without the transpose of line 25.) The
    softmax runs over identities.

    Args:
        credits: [B, T, K].
        identities: [K, N].
        bias: [K] of the identity layer; none by default.
    """
    logits = similarities(credits, identities)
    if bias is not None:
        logits = logits + bias.unsqueeze(-1)
    log_p = logits.log_softmax(dim=1)  # over the rows: which identity
    return -log_p.diagonal(dim1=1, dim2=2).mean()


def temporal_credits(record: Forward, config: Config) -> Float[Tensor, "B T K"]:
    """The credits of whole episodes, as the losses look at them.

    Args:
        record: the online pass.
        config: names the derivative, the gradient path and the padding.
    """
    weights = record.steps.by_episode(record.weights)
    if config.credit_padding == "masked":
        credits = record.steps.by_episode(credits_of(record, config))
        return credits * weights.unsqueeze(-1)
    credits = record.every_step(lambda steps: credits_of(steps, config))
    return credits * in_batch(weights).unsqueeze(-1)


def credits_of(record: Forward | PaddedSteps, config: Config) -> Float[Tensor, "... K"]:
    """The credits of single steps.

    Args:
        record: the online pass, or what was left out of it.
        config: names the derivative and the gradient path.
    """
    utilities = record.utilities
    if config.credit_detach:
        utilities = utilities.with_chosen(utilities.chosen.detach())
    if config.credit_derivative == "published":
        return record.mixing.credits(utilities, derivative="published")
    return credits_at(record.mixing, utilities, create_graph=True)


def uniform_parameter(spec: Spec, *shape: int) -> nn.Parameter:
    """A parameter drawn as torch.nn.Linear(N, K) draws its own: U(-1, 1) / sqrt(N).

    Args:
        spec: of the game; its horizon is N.
        shape: of the parameter.
    """
    bound = spec.horizon**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


class CIA(nn.Module):
    """L_CL with its learnable identities W [K, N] (Liu et al. 2023, Eq. 6 and 7).

    The published layer also has a bias, which cancels in this loss and is left out.
    """

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.coefficient = config.cia_coefficient
        self.looks_at_padding = config.credit_padding == "published"
        self.identities = uniform_parameter(spec, spec.n_agents, spec.horizon)

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """L_CL of the record's credits."""
        return cia_loss(temporal_credits(record, self.config), self.identities)


class CC(nn.Module):
    """L_CC with the same identities, and the bias, which matters here.

    (Liu et al. 2023, Ablation Study.)
    """

    needs_closed_form = False

    def __init__(self, spec: Spec, config: Config) -> None:
        super().__init__()
        self.config = config
        self.coefficient = config.cia_coefficient
        self.looks_at_padding = config.credit_padding == "published"
        self.identities = uniform_parameter(spec, spec.n_agents, spec.horizon)
        self.bias = uniform_parameter(spec, spec.n_agents)

    def forward(self, record: Forward) -> Float[Tensor, ""]:
        """L_CC of the record's credits."""
        credits = temporal_credits(record, self.config)
        return cc_loss(credits, self.identities, self.bias)
