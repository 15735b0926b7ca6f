"""CIA in games of other packages (book/rules/other_games.md)."""

from __future__ import annotations

from collections.abc import Iterable

from ciabook.studies.runs import SEEDS, Entry
from ciacore.games import game_name
from ciacore.methods import METHODS

# label -> the name of the game, and for how many env steps every method trains
FORAGING = {"reward": "sum", "limit_is_truncation": True}
OTHER_GAMES = {
    "Foraging-8x8-2p-2f-coop": (
        game_name("gymnasium:lbforaging:Foraging-8x8-2p-2f-coop-v3", **FORAGING),
        400_000,
    ),
    "Foraging-10x10-3p-3f": (
        game_name("gymnasium:lbforaging:Foraging-10x10-3p-3f-v3", **FORAGING),
        250_000,
    ),
    "simple_spread": (
        game_name("pettingzoo:mpe2.simple_spread_v3", reward="sum", N=3),
        100_000,
    ),
}
IN_OTHER_GAMES = ("vdn", "qmix", "qmix_cia", "qmix_rs")


def in_other_games(seeds: Iterable[int]) -> list[Entry]:
    """Every game and method with the first seed, then with the second, and so on.

    Args:
        seeds: of every method in every game.
    """
    return [
        Entry(METHODS[method].but(env_steps=env_steps), game, seed)
        for seed in seeds
        for game, env_steps in OTHER_GAMES.values()
        for method in IN_OTHER_GAMES
    ]


STUDIES: dict[str, list[Entry]] = {
    "other_games": in_other_games(SEEDS),
}
