"""The words of a study: an entry is one run, a grid is methods times seeds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

from ciacore.config import Config
from ciacore.types import refuse

SEEDS = (1, 2, 3, 4, 5)


class Entry(NamedTuple):
    """One run of a study."""

    config: Config
    game: str  # what ciacore.games.game_name returns: a key of GAMES, or longer
    seed: int


def grid(
    configs: Iterable[Config], game: str, seeds: Iterable[int] = SEEDS
) -> list[Entry]:
    """Every config's first seed, then every config's second, and so on.

    Args:
        configs: the methods.
        game: what ciacore.games.game_name returns: a key of GAMES, or longer.
        seeds: of every method.
    """
    configs = list(configs)
    return [Entry(config, game, seed) for seed in seeds for config in configs]


def sweep(config: Config, **values: Iterable[Any]) -> list[Config]:
    """A Config for every combination of some fields' values, each under a name.

    `sweep(METHODS["qmix"], batch=[16, 32], gamma=[0.9, 0.99])` gives four, from
    `qmix_batch_16_gamma_0.9` to `qmix_batch_32_gamma_0.99`. The last field changes
    fastest.

    Args:
        config: what the others are made from.
        values: for every field, a list of what it is to be.

    Raises:
        InvalidInputError: no field, a field that Config lacks, a value that it cannot
            have or that is not in a list, the same value twice.
    """
    if not values or "method" in values:
        cure = 'Write e.g. sweep(METHODS["qmix"], learning_rate=[1e-3, 5e-4]).'
        refuse("sweep", "fields of Config but `method`", sorted(values), cure)
    for name, choices in values.items():
        if isinstance(choices, str) or not isinstance(choices, Iterable):
            refuse(name, "a list of values", choices, f"Write {name}=[{choices!r}].")
    choices = {name: list(some) for name, some in values.items()}
    for name, some in choices.items():
        if not some:
            refuse(name, "at least one value", some, "Leave the field out.")
    found = {}
    for chosen in product(*choices.values()):
        changes = dict(zip(choices, chosen, strict=True))
        method = "_".join([config.method, *map(in_words, changes.items())])
        if method in found:
            cure = "Name every value once."
            refuse("sweep", "different values", method, cure)
        found[method] = config.but(method=method, **changes)
    return list(found.values())


def in_words(change: tuple[str, Any]) -> str:
    """A field and its value as a part of a name."""
    name, value = change
    if isinstance(value, list | tuple):
        return "_".join([name, *map(str, value)])
    return f"{name}_{value}"
