"""What every game refuses in the same words."""

from __future__ import annotations

import torch
from torch import Tensor

from ciacore.types import Spec, refuse


def check_n_games(n_games: int) -> None:
    """Refuses anything but a whole number of at least 1."""
    if isinstance(n_games, bool) or not isinstance(n_games, int) or n_games < 1:
        refuse("n_games", "a whole number of at least 1", n_games, "Play at least one game.")


def check_actions(actions: Tensor, n_games: int, spec: Spec) -> None:
    """Refuses actions that are not int64 [N, K] with values from 0 to A - 1."""
    expected = (n_games, spec.n_agents)
    if actions.shape != expected or actions.dtype != torch.int64:
        got = f"{list(actions.shape)} of {actions.dtype}"
        refuse("actions", f"shape {list(expected)} of torch.int64", got, "Pass one action index per agent.")
    low, high = actions.aminmax()
    if low < 0 or high >= spec.n_actions:
        got = f"values from {low} to {high}"
        refuse("actions", f"values from 0 to {spec.n_actions - 1}", got, "The game's docstring tells what each does.")
