"""The games, each pure rules on N games at once. Nothing in here knows about learning."""

from ciacore.games.matrix import MatrixGame
from ciacore.games.turn import Turn

GAMES = {"turn": Turn}

__all__ = ["GAMES", "MatrixGame", "Turn"]
