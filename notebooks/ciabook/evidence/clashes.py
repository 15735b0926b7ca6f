"""The battles compared: the rule of book/rules/battles.md, as code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ciabook.battles.protocol import last_quarter
from ciabook.evidence.paired import Paired, differences_of, paired
from ciabook.evidence.statistics import holm, spearman
from ciabook.studies.battles import MAPS
from ciabook.studies.runs import Entry
from ciacore.games import scenario_of
from ciacore.runtime.store import Run, read_runs

WITH_CIA = {"qmix": "qmix_cia", "qplex": "qplex_cia"}  # base -> the same with CIA
LEVEL = 0.05  # of both decisions together
MARGIN = 0.05  # a difference of win rates that counts as none

# scenario -> method -> seed -> win rate
WinRates = dict[str, dict[str, dict[int, float]]]


def stored(entries: Sequence[Entry], results: Path) -> dict[str, dict[str, list[Run]]]:
    """The runs of the study that are there: scenario -> method -> runs.

    Args:
        entries: of the study.
        results: the folder of all runs.

    Raises:
        InvalidInputError: a run is damaged or another's.
    """
    found = {}
    for game in dict.fromkeys(entry.game for entry in entries):
        methods = dict.fromkeys(
            entry.config.method for entry in entries if entry.game == game
        )
        there = [
            name for name in methods if any((results / game / name).glob("seed_*"))
        ]
        found[str(scenario_of(game))] = read_runs(results, game, there)
    return found


def win_rates(runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> WinRates:
    """The primary measure of every run: the mean win rate over the last quarter.

    Args:
        runs: scenario -> method -> runs.
    """
    return {
        scenario: {
            method: {run.seed: last_quarter(run, "won") for run in group}
            for method, group in methods.items()
        }
        for scenario, methods in runs.items()
    }


def last_win_rates(rows: Sequence[Mapping[str, Any]]) -> WinRates:
    """The secondary measure: the share of battles that every last network wins.

    Args:
        rows: of book/results/clashes/networks.json.
    """
    found: WinRates = {}
    for row in rows:
        for method, won in row["won"].items():
            seeds = found.setdefault(row["scenario"], {}).setdefault(method, {})
            seeds[row["seed"]] = won / row["battles"]
    return found


def differences(rates: WinRates, base: str) -> dict[str, list[float]]:
    """CIA minus its base, by scenario, seed after seed.

    Args:
        rates: of every run.
        base: "qmix" or "qplex".
    """
    return {
        scenario: differences_of(methods.get(WITH_CIA[base], {}), methods.get(base, {}))
        for scenario, methods in rates.items()
    }


def decisions(rates: WinRates) -> dict[str, Paired]:
    """Both decisions, as far as there are pairs of runs: base -> the comparison.

    Args:
        rates: of every run.
    """
    found = {base: paired(differences(rates, base)) for base in WITH_CIA}
    return {base: each for base, each in found.items() if each is not None}


def corrected(found: Mapping[str, Paired]) -> dict[str, float]:
    """The p-values, corrected by Holm; a decision without runs keeps its place.

    Args:
        found: as `decisions` returns it.
    """
    return holm(
        {base: found[base].p_value if base in found else 1.0 for base in WITH_CIA}
    )


def verdict(comparison: Paired, p_value: float) -> str:
    """What a comparison shows of CIA.

    Args:
        comparison: of CIA with its base.
        p_value: corrected for both decisions.

    Returns:
        "better", "worse", "equal" or "undecided".
    """
    if p_value <= LEVEL:
        return "better" if comparison.value > 0 else "worse"
    inside = -MARGIN < comparison.low and comparison.high < MARGIN
    return "equal" if inside and comparison.coverage >= 1 - LEVEL else "undecided"


SAID = {
    "better": "{} wins more battles with CIA than without.",
    "worse": "{} wins fewer battles with CIA than without.",
    "equal": "{} wins as many battles with CIA as without.",
    "undecided": "Whether CIA changes {} stays undecided.",
}


def answer(rates: WinRates, pairs_wanted: int, names: Mapping[str, str]) -> list[str]:
    """The answer to the question of the study, in sentences.

    Args:
        rates: of every run that is there.
        pairs_wanted: of each decision, when the study is complete.
        names: method -> what it is called.
    """
    found = decisions(rates)
    if not found:
        return ["It waits for its runs."]
    p_values = corrected(found)
    said = []
    for base, each in found.items():
        said.append(SAID[verdict(each, p_values[base])].format(names[base]))
    pairs = {
        base: sum(map(len, differences(rates, base).values())) for base in WITH_CIA
    }
    if min(pairs.values()) < pairs_wanted:
        told = " and ".join(
            f"{pairs[base]} pairs of {names[base]}" for base in WITH_CIA
        )
        said.append(
            f"This is provisional: {told} are there, of {pairs_wanted} pairs each."
        )
    return said


class Agreement(NamedTuple):
    """How far the order of methods agrees with the paper's on one map."""

    methods: int
    value: float  # Spearman's rank correlation of the mean win rates
    low: float  # of a bootstrap interval over our seeds, 95 %
    high: float


def agreement(
    ours: Mapping[str, Mapping[int, float]],
    theirs: Mapping[str, float],
    draws: int = 2_000,
) -> Agreement | None:
    """The rank correlation of our methods' order with the paper's, on a map.

    Args:
        ours: method -> seed -> win rate.
        theirs: method -> the paper's mean win rate.
        draws: of the bootstrap.

    Returns:
        None for fewer than three methods, or where all of a side are equal.
    """
    methods = [name for name in ours if name in theirs and ours[name]]
    if len(methods) < 3:
        return None
    paper = np.array([theirs[name] for name in methods])
    seeds = [np.array(list(ours[name].values())) for name in methods]
    value = spearman(np.array([group.mean() for group in seeds]), paper)
    if value is None:
        return None
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(draws):
        means = [rng.choice(group, len(group)).mean() for group in seeds]
        again = spearman(np.array(means), paper)
        if again is not None:
            drawn.append(again)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Agreement(len(methods), value, float(low), float(high))


def cells(rates: WinRates, method: str) -> dict[str, str]:
    """A row of our table: mean, deviation and seeds on every map, or a dash.

    Args:
        rates: of every run.
        method: which row.
    """
    row = {}
    for scenario in MAPS:
        values = list(rates.get(scenario, {}).get(method, {}).values())
        row[scenario] = "-"
        if values:
            spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
            row[scenario] = f"{np.mean(values):.2f}{spread} (n = {len(values)})"
    return row
