"""What every game refuses in the same words."""

from __future__ import annotations

from typing import Any

from ciacore.types import Array, Generator, Spec, Step, refuse


class Checked:
    """The `step` of a game, from its `advance`."""

    def step(self, state: Any, actions: Array, rng: Generator) -> Step:
        """Plays one joint action in every game: `advance`, after a look at the actions.

        Raises:
            InvalidInputError: actions of the wrong shape or type, or outside 0..A-1.
        """
        check_actions(actions, len(state.t), self.spec)
        return self.advance(state, actions, rng)


def check_n_games(n_games: int) -> None:
    """Refuses anything but a whole number of at least 1."""
    if isinstance(n_games, bool) or not isinstance(n_games, int) or n_games < 1:
        refuse(
            "n_games",
            "a whole number of at least 1",
            n_games,
            "Play at least one game.",
        )


def check_actions(actions: Array, n_games: int, spec: Spec) -> None:
    """Refuses actions that are not int64 [N, K] with values from 0 to A - 1."""
    expected = (n_games, spec.n_agents)
    if tuple(actions.shape) != expected or not str(actions.dtype).endswith("int64"):
        got = f"{list(actions.shape)} of {actions.dtype}"
        refuse(
            "actions",
            f"shape {list(expected)} of int64",
            got,
            "Pass one action index per agent.",
        )
    low, high = actions.min(), actions.max()
    if low < 0 or high >= spec.n_actions:
        got = f"values from {low} to {high}"
        refuse(
            "actions",
            f"values from 0 to {spec.n_actions - 1}",
            got,
            "The game's docstring tells what each does.",
        )
