"""What every game refuses in the same words."""

from __future__ import annotations

from typing import Any

from ciacore.types import Array, Generator, Spec, Step, refuse


class Checked:
    """The `step` of a game, from its `advance`."""

    def step(self, state: Any, actions: Array, rng: Generator) -> Step:
        """Plays one joint action in every game: `advance`, after a look at the actions.

        Args:
            state: N games, as `reset` or the last step returned them.
            actions: int64 [N, K], each from 0 to A - 1.
            rng: the source of all randomness in the step.

        Returns:
            The games one step later, the team rewards and the ends.

        Raises:
            InvalidInputError: actions of the wrong shape or type, or outside 0..A-1.
        """
        check_actions(actions, len(state.t), self.spec)
        return self.advance(state, actions, rng)


def check_n_games(n_games: int) -> None:
    """Refuses anything but a whole number of at least 1.

    Args:
        n_games: the number of games that was asked for.

    Raises:
        InvalidInputError: it is not a whole number of at least 1.
    """
    is_whole = isinstance(n_games, int) and not isinstance(n_games, bool)
    if not is_whole or n_games < 1:
        refuse(
            "n_games",
            "a whole number of at least 1",
            n_games,
            "Play at least one game.",
        )


def check_actions(actions: Array, n_games: int, spec: Spec) -> None:
    """Refuses actions that are not int64 [N, K] with values from 0 to A - 1.

    Args:
        actions: what is to be checked.
        n_games: N.
        spec: the game's sizes, among them K and A.

    Raises:
        InvalidInputError: another shape, type or value.
    """
    expected_shape = (n_games, spec.n_agents)
    has_shape = tuple(actions.shape) == expected_shape
    is_int64 = str(actions.dtype).endswith("int64")  # of torch or of numpy
    if not has_shape or not is_int64:
        refuse(
            "actions",
            f"shape {list(expected_shape)} of int64",
            f"{list(actions.shape)} of {actions.dtype}",
            "Pass one action index per agent.",
        )
    low, high = actions.min(), actions.max()
    if low < 0 or high >= spec.n_actions:
        refuse(
            "actions",
            f"values from 0 to {spec.n_actions - 1}",
            f"values from {low} to {high}",
            "The game's docstring says what each action does.",
        )
