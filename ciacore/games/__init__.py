"""The games, each pure rules on N games at once. Nothing here knows about learning."""

from functools import partial

from ciacore.contract import check_game
from ciacore.games.matrix import MatrixGame
from ciacore.games.turn import Turn
from ciacore.types import Game

# the paper's battles
SCENARIOS = ("10m_vs_11m", "2c_vs_64zg", "7sz", "6h_vs_8z", "corridor", "3s5z_vs_3s6z")


def smax(scenario: str) -> Game:
    """A battle simulated by SMAX; JAX is loaded when the first is made."""
    from ciacore.games.battles.smax import Smax

    return Smax(scenario)


def smac(scenario: str) -> Game:
    """A battle on StarCraft II, where it and SMAC are installed."""
    from ciacore.games.battles.smac import Smac

    return Smac(scenario)


# name -> what makes the game
GAMES = {
    "turn": Turn,
    # for Qatten: features per agent in the state
    "turn_units": partial(Turn, units=True),
}
GAMES |= {f"smax_{scenario}": partial(smax, scenario) for scenario in SCENARIOS}
GAMES |= {f"smac_{scenario}": partial(smac, scenario) for scenario in SCENARIOS}

__all__ = ["GAMES", "SCENARIOS", "MatrixGame", "Turn", "check_game"]
