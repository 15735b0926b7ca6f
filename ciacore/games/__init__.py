"""The games, each pure rules on N games at once. Nothing here knows about learning."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from ciacore.contract import check_game
from ciacore.games.adapters.names import is_adapted
from ciacore.games.m_step import MStep
from ciacore.games.matrix import MatrixGame
from ciacore.games.predator_prey import PredatorPrey
from ciacore.games.turn import Turn
from ciacore.games.two_step import TwoStep
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


def clash(scenario: str, foe_damage: float) -> Game:
    """A battle of SMAX with one rule for all foes, as hard as `foe_damage` makes it.

    Foes walk to the nearest agent on every map, and allies lose `foe_damage` times what
    they would lose; all else is that of `smax_<scenario>`.

    Args:
        scenario: one of SCENARIOS.
        foe_damage: above 0; 1 changes nothing.
    """
    from ciacore.games.battles import smax

    return smax.clash(scenario, foe_damage, clash_name(scenario, foe_damage))


def clash_name(scenario: str, foe_damage: float) -> str:
    """The name of a clash: `clash_10m_vs_11m_at_0.8`.

    Args:
        scenario: one of SCENARIOS.
        foe_damage: the factor on what allies lose.
    """
    return f"clash_{scenario}_at_{foe_damage:g}"


# name -> what makes the game
GAMES = {
    "turn": Turn,
    # for Qatten: features per agent in the state
    "turn_units": partial(Turn, units=True),
    # the turn goes round in a ring
    "turn_3": partial(Turn, n_agents=3),
    "turn_4": partial(Turn, n_agents=4),
    "turn_6": partial(Turn, n_agents=6),
    "two_step": TwoStep,
    "m_step": MStep,
    "predator_prey": PredatorPrey,
    "predator_prey_0": partial(PredatorPrey, penalty=0.0),
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
    found = GAMES.get(name) or clash_of(name)
    if found is None:
        known_name(name, GAMES, "game")
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
    return name if clash_of(name) else known_name(name, GAMES, "game")


def scenario_of(name: str) -> str | None:
    """The scenario of a battle on SMAX, None where the name is of another game.

    Args:
        name: of a game, e.g. `smax_corridor` or `clash_corridor_at_0.8`.
    """
    found = re.fullmatch(r"smax_(.+)", name) or re.fullmatch(r"clash_(.+)_at_.+", name)
    return found[1] if found and found[1] in SCENARIOS else None


def clash_of(name: str) -> Callable[[], Game] | None:
    """What makes the clash of that name, None where it is not the name of one."""
    found = re.fullmatch(r"clash_(.+)_at_(\d+(?:\.\d+)?)", name)
    if found is None or found[1] not in SCENARIOS or float(found[2]) == 0:
        return None
    if clash_name(found[1], float(found[2])) != name:
        return None
    return partial(clash, found[1], float(found[2]))


__all__ = [
    "GAMES",
    "SCENARIOS",
    "MStep",
    "MatrixGame",
    "PredatorPrey",
    "Turn",
    "TwoStep",
    "check_game",
    "clash",
    "clash_name",
    "game_name",
    "make_game",
    "scenario_of",
]
