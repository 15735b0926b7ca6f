"""Pages that replicate: a reader's or a class's own runs, judged by the page's rule.

A page of evidence takes three parameters. `budget` is "look" (the committed runs
alone), "class" (fresh seeds, in a quarter of an hour on two cores) or "full" (the whole
study with fresh seeds). `seeds` are those of the reader; where there are none they are
drawn and printed, so that a page that was interrupted can go on. `runs` is a folder of
runs that are there already, say those that students handed in.

The page says once what it trains (`Replication`), asks `replicate` for the reader's
runs, draws them over its own, and applies its own rule to them. `agreement` compares
the two verdicts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ciacore.config import Config
from ciacore.games import make_game
from ciacore.runtime.experiment import check_seeds, train
from ciacore.runtime.sealed import is_kept, sealed_seeds
from ciacore.runtime.store import Run, load_run, run_folder
from ciacore.types import InvalidInputError, known_name, refuse

LOOK, CLASS, FULL = BUDGETS = ("look", "class", "full")
AGREES, DISAGREES, TOO_FEW = "agrees", "disagrees", "too few to tell"
DRAWN = range(1_000, 1_000_000)  # where seeds are drawn from


class Plan(NamedTuple):
    """What a budget trains."""

    configs: Mapping[str, Config]  # arm -> its Config
    seeds: int  # how many, where the reader names none
    # arm -> its game, where that is not the page's
    games: Mapping[str, str] = MappingProxyType({})


class Replication(NamedTuple):
    """What a page trains to be replicated."""

    game: str  # as `ciacore.games.make_game` takes it
    plans: Mapping[str, Plan]  # of "class" and of "full"
    used: Collection[int]  # the book's own seeds: trained again they show nothing new

    def game_of(self, plan: Plan, arm: str) -> str:
        """The name of the game that an arm is trained in.

        Args:
            plan: that has the arm.
            arm: its name.
        """
        return plan.games.get(arm, self.game)


class Own(NamedTuple):
    """The reader's runs."""

    runs: dict[str, list[Run]]  # arm -> its runs, over the same seeds in every arm
    left_out: list[str]  # what was found and not used, and why

    @property
    def seeds(self) -> list[int]:
        """Of every arm; none where there are no runs."""
        return [run.seed for run in next(iter(self.runs.values()), [])]

    @property
    def flat(self) -> list[Run]:
        """All runs, arm after arm."""
        return [run for group in self.runs.values() for run in group]

    def by_arm(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        """What was found of each run, arm by arm.

        Args:
            values: in the order of `flat`.
        """
        left = iter(values)
        return {arm: [next(left) for _ in runs] for arm, runs in self.runs.items()}


def replicate(
    what: Replication,
    budget: str,
    seeds: Sequence[int] = (),
    runs: str = "",
    place: str | Path = "../runs/replicate",
    processes: int | None = None,
    told: Callable[[str], None] = print,
) -> Own:
    """The reader's runs: read from a folder, or trained now.

    Args:
        what: the page trains.
        budget: one of BUDGETS. "look" trains nothing.
        seeds: of the reader; where there are none, some are drawn. With `runs`, only
            these are read.
        runs: a folder with `<game>/<method>/seed_<k>/`, or with several such folders,
            one for every student; "" where there is none. It is read, and nothing is
            trained.
        place: the folder that receives what is trained; what is there is not trained
            again.
        processes: as for `train`.
        told: is given a sentence on what is done.

    Returns:
        The runs by arm; none with "look" and no folder.

    Raises:
        InvalidInputError: an unknown budget, a seed that cannot be or that the book
            used, a folder that is not there or holds no run of the page.
    """
    known_name(budget, BUDGETS, "budget")
    check_fresh(seeds, what.used)
    if runs:
        plan = what.plans[FULL if budget == FULL else CLASS]
        own = handed_in(what, plan, Path(runs), seeds)
        for line in own.left_out:
            told(f"Left out: {line}")
        return own
    if budget == LOOK:
        return Own({}, [])
    plan = what.plans[budget]
    if not seeds:
        seeds = drawn(plan.seeds, what.used)
        told(f"No seeds were named. Drawn: seeds = {seeds}")
    told(f"Training {len(plan.configs)} arms with {len(seeds)} seeds each.")
    found = {}
    for arm, config in plan.configs.items():
        game = make_game(what.game_of(plan, arm))
        found[arm] = train(config, game, seeds, results=place, processes=processes)
    return Own(found, [])


def check_fresh(seeds: Sequence[int], used: Collection[int]) -> None:
    """Refuses seeds that cannot be, and those of the book.

    Args:
        seeds: of the reader; there may be none.
        used: the book's own.

    Raises:
        InvalidInputError: there are such.
    """
    if not seeds:
        return
    check_seeds(seeds)
    old = sorted(set(seeds) & set(used))
    if old:
        cure = "Trained again they give the book's own runs: choose others."
        refuse("seeds", "seeds that the book did not use", old, cure)


def drawn(count: int, used: Collection[int]) -> list[int]:
    """Fresh seeds, other ones for every reader.

    Args:
        count: how many.
        used: the book's own, which are not drawn.
    """
    left = sorted(set(DRAWN) - set(used))
    return sorted(random.SystemRandom().sample(left, count))


def handed_in(
    what: Replication, plan: Plan, folder: Path, seeds: Sequence[int] = ()
) -> Own:
    """The runs in a folder of the reader's or of a class.

    A seed counts if every arm of the plan has it. One that several students trained
    counts once.

    Args:
        what: the page trains.
        plan: whose arms are looked for.
        folder: of runs, or of folders of runs.
        seeds: only these; all where there are none.

    Raises:
        InvalidInputError: there is no such folder, or it has no seed in every arm.
    """
    if not folder.is_dir():
        cure = "Correct the path."
        refuse("runs", "a folder of runs", str(folder), cure)
    within = sorted(path for path in folder.iterdir() if path.is_dir())
    arms = plan.configs
    found: dict[str, dict[int, Run]] = {arm: {} for arm in arms}
    left_out = []
    for arm, config in arms.items():
        game = what.game_of(plan, arm)
        for place in (folder, *within):
            try:
                there = seeds_of(place, game, config.method)
            except InvalidInputError as error:  # a damaged sealed file
                left_out.append(str(error))
                continue
            for seed in there:
                if seeds and seed not in seeds:
                    continue
                where = run_folder(place, game, config.method, seed)
                why = unusable(where, config, game, what.used)
                if seed in found[arm]:
                    why = "this seed was read before"
                if why:
                    left_out.append(f"{where}: {why}")
                else:
                    found[arm][seed] = load_run(where)
    shared = sorted(set.intersection(*(set(runs) for runs in found.values())))
    for arm, runs in found.items():
        for seed in sorted(set(runs) - set(shared)):
            left_out.append(f"seed {seed} of {arm}: another arm lacks it")
    if not shared:
        methods = ", ".join(config.method for config in arms.values())
        games = dict.fromkeys(what.game_of(plan, arm) for arm in arms)
        expected = f"runs on {', '.join(games)} of {methods}, over the same seeds"
        got = "; ".join(left_out) or f"none in {folder}"
        refuse("runs", expected, got, 'Train them with budget="class".')
    return Own({arm: [found[arm][seed] for seed in shared] for arm in arms}, left_out)


def seeds_of(place: Path, game: str, method: str) -> list[int]:
    """The seeds of a method in a folder of runs.

    Args:
        place: the folder.
        game: its name.
        method: its name.

    Raises:
        InvalidInputError: a sealed file is damaged.
    """
    folder = run_folder(place, game, method, 0).parent
    found = {*sealed_seeds(folder)}
    for path in folder.glob("seed_*"):
        if path.name[5:].isdecimal():
            found.add(int(path.name[5:]))
    return sorted(found)


def unusable(folder: Path, config: Config, game: str, used: Collection[int]) -> str:
    """Why a run does not count; "" where it does.

    Args:
        folder: of the run.
        config: that it must have.
        game: that it must be of.
        used: the book's own seeds.
    """
    try:
        run = load_run(folder) if is_kept(folder) else None
    except InvalidInputError as error:
        return str(error)
    if run is None:
        return "is not there"
    if (run.config, run.game) != (config, game):
        return f"it has another Config than {config.method} of this page"
    if run.seed in used:
        return "the book used this seed"
    return ""


def agreement(book: str, own: str, decided: Collection[str]) -> str:
    """Whether the reader's runs say what the book's do.

    Args:
        book: the verdict on the book's runs.
        own: the verdict of the same rule on the reader's.
        decided: the verdicts that say something; others are "undecided" and the like.

    Returns:
        AGREES where both say the same, DISAGREES where they say different things,
        TOO_FEW where either says nothing.
    """
    if book not in decided or own not in decided:
        return TOO_FEW
    return AGREES if book == own else DISAGREES
