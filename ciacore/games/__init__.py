"""The games, each pure rules on N games at once. Nothing here knows about learning."""

from functools import partial
from typing import Any

from ciacore.contract import check_game
from ciacore.games.adapters.names import is_adapted
from ciacore.games.matrix import MatrixGame
from ciacore.games.turn import Turn
from ciacore.types import Game, known_name, refuse

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


def make_game(name: str, **arguments: Any) -> Game:
    """The game of a name, wherever one is given: in notebooks, studies and runs.

    `pettingzoo:mpe2.simple_spread_v3` and `gymnasium:lbforaging:Foraging-8x8-2p-2f-v3`
    name environments of other packages (`ciacore.games.adapters`).

    Args:
        name: a key of GAMES, or the name of an environment.
        arguments: of the environment and of its adapter.

    Raises:
        InvalidInputError: no such game, or arguments for a game that takes none.
    """
    if is_adapted(name):
        from ciacore.games.adapters.environment import adapted

        return adapted(name, **arguments)
    found = GAMES[known_name(name, GAMES, "game")]
    if arguments:
        cure = "A game with other rules needs a name of its own."
        refuse("game_arguments", f"none for {name}", arguments, cure)
    return found()


def game_name(name: str, **arguments: Any) -> str:
    """The name that `make_game(name, **arguments)` has, without making it.

    A study names its games so; `make_game` makes the same game from it.

    Args:
        name: as for `make_game`.
        arguments: as for `make_game`.
    """
    if is_adapted(name):
        from ciacore.games.adapters.environment import named
        from ciacore.games.adapters.names import format_name

        return format_name(named(name, **arguments))
    return known_name(name, GAMES, "game")


__all__ = [
    "GAMES",
    "SCENARIOS",
    "MatrixGame",
    "Turn",
    "check_game",
    "game_name",
    "make_game",
]
