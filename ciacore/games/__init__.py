"""The games, each pure rules on N games at once. Nothing in here knows about learning."""

from functools import partial

from ciacore.games.matrix import MatrixGame
from ciacore.games.turn import Turn

GAMES = {
    "turn": Turn,
    "turn_units": partial(Turn, units=True),  # for Qatten: features per agent in the state
}

__all__ = ["GAMES", "MatrixGame", "Turn"]
