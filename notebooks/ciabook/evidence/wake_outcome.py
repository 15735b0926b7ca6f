"""What the arms of *What wakes a team?* show, by the rule, and in sentences.

Nothing is read of an arm before its manipulation check is committed, nor before all of
its forty seeds are there. While arms are missing their tests count with p = 1, so that
no verdict of *beats* is ever taken back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from ciabook.evidence import wake
from ciabook.evidence.statistics import holm, mcnemar_exact
from ciabook.evidence.wake import (
    AGAINST_QMIX,
    CIA_AGAINST,
    EXPLORATION_OR_OPTIMISATION,
    LATE,
    LEVEL,
    MARGIN,
    UNCLEAR,
    WITHOUT_IDENTITY,
    Comparison,
)
from ciabook.evidence.wake_checks import ARMS, FILE, runs_of
from ciabook.studies.wake import WAKE, WAKE_SEEDS
from ciacore.runtime.sealed import is_kept
from ciacore.runtime.store import Run, run_folder

# no verdict yet, or none to come
WAITS = "waits"
FALLEN = ("uninformative", "unclear")
# as a table and a sentence call an arm
NAMES = {
    "qmix": "QMIX",
    "cia": "QMIX(CIA)",
    "cc": "QMIX(CC)",
    "rs": "QMIX(RS)",
    "vdn": "VDN",
    "gre": "GRE",
    "permuted": "permuted identities",
    "frozen": "frozen identities",
    "equaliser": "equaliser",
    "scale": "scale of credits",
    "noise": "noise",
    "one_layer": "one-layer hypernetworks",
    "epsilon_end": "epsilon ends at 0.1",
    "adam": "Adam",
    "optimistic": "optimistic start",
    "cia_early": "CIA to 60,000",
    "qmix_late": "QMIX at 350,000",
    "epsilon_200k": "epsilon over 200,000",
    "cia_late": "CIA from 100,000",
}


class Arm(NamedTuple):
    """An arm of the experiment."""

    name: str
    # "read", or "waits for the checks", "waits for its check", "waits for runs"
    state: str
    seeds: int  # how many of the forty are there
    runs: list[Run]  # none unless it is read
    asleep: Bool[np.ndarray, "seeds"]
    unclear: Bool[np.ndarray, "seeds"]

    @property
    def kinds(self) -> list[str]:
        """What each seed's team is, "asleep", "awake" or "unclear"."""
        found = []
        for sleeps, is_unclear in zip(self.asleep, self.unclear, strict=True):
            kind = "asleep" if sleeps else "awake"
            found.append("unclear" if is_unclear else kind)
        return found


class Outcome(NamedTuple):
    """What the experiment shows so far."""

    checked: bool  # whether any check is committed; otherwise nothing was read
    arms: dict[str, Arm]
    fallen: dict[str, str]  # arm -> why it gets no verdict: one of FALLEN
    comparisons: dict[tuple[str, str], Comparison]
    corrected: dict[str, float]  # the family's p-values by Holm
    # (our arm, their arm) -> "beats", "is beaten", "equal", "undecided", one of FALLEN,
    # or WAITS
    verdicts: dict[tuple[str, str], str]

    @property
    def waiting(self) -> list[str]:
        """The arms that were not read."""
        return [name for name, arm in self.arms.items() if arm.state != "read"]


def committed_checks(file: Path | None = None) -> dict[str, Any]:
    """The manipulation checks by arm; none where the file is not there.

    Args:
        file: where they are committed; the book's by default.
    """
    file = file or FILE
    return json.loads(file.read_text()) if file.is_file() else {}


def read_arm(name: str, results: Path, checks: Mapping[str, Any]) -> Arm:
    """An arm: its teams, or why they are not looked at.

    Args:
        name: a key of WAKE.
        results: the folder of all runs.
        checks: by arm, as committed.

    Raises:
        InvalidInputError: a run is damaged, or has another Config.
    """
    config = WAKE[name]
    folders = [run_folder(results, "turn", config.method, seed) for seed in WAKE_SEEDS]
    seeds = sum(is_kept(folder) for folder in folders)
    if not checks:
        return no_teams(name, "waits for the checks", seeds)
    if name in ARMS and name not in checks:
        return no_teams(name, "waits for its check", seeds)
    if seeds < len(folders):
        return no_teams(name, "waits for runs", seeds)
    runs = runs_of(results, config, WAKE_SEEDS)
    return Arm(name, "read", seeds, runs, wake.asleep(runs), wake.unclear(runs))


def no_teams(name: str, state: str, seeds: int) -> Arm:
    """An arm that was not read.

    Args:
        name: a key of WAKE.
        state: why not.
        seeds: how many are there.
    """
    none = np.zeros(0, dtype=bool)
    return Arm(name, state, seeds, [], none, none)


def outcome(results: Path, checks: Mapping[str, Any]) -> Outcome:
    """Everything that the rule says of the arms that may be read.

    Args:
        results: the folder of all runs.
        checks: by arm, as committed; where there are none, nothing is read.

    Raises:
        InvalidInputError: a run is damaged, or has another Config.
    """
    return judged({name: read_arm(name, results, checks) for name in NAMES}, checks)


def judged(arms: Mapping[str, Arm], checks: Mapping[str, Any]) -> Outcome:
    """The verdicts on some arms.

    Args:
        arms: all of them, by name.
        checks: by arm, as committed.
    """
    fallen = {}
    for name, arm in arms.items():
        if name in ARMS and name in checks and not checks[name]["passed"]:
            fallen[name] = "uninformative"
        elif arm.state == "read" and arm.unclear.mean() > UNCLEAR:
            fallen[name] = "unclear"
    shown = {name: arm.asleep for name, arm in arms.items() if arm.state == "read"}
    comparisons = wake.family(shown)
    corrected = holm(whole_family(comparisons, fallen))
    verdicts = {}
    for ours, theirs in pairs():
        verdicts[ours, theirs] = verdict_of(
            ours, theirs, comparisons.get((ours, theirs)), corrected, fallen
        )
    return Outcome(bool(checks), dict(arms), fallen, comparisons, corrected, verdicts)


def base_of(arm: str) -> str:
    """The arm of QMIX that an arm is compared with."""
    return "qmix_late" if arm in LATE else "qmix"


def pairs() -> list[tuple[str, str]]:
    """Every comparison of the rule: our arm, their arm."""
    found = [(arm, base_of(arm)) for arm in AGAINST_QMIX]
    found += [("cia", control) for controls in CIA_AGAINST for control in controls]
    # whether they do as well as CIA, and what is foretold of timing
    found += [("cia", arm) for arm in EXPLORATION_OR_OPTIMISATION]
    return found


def name_of_test(ours: str, theirs: str) -> str | None:
    """The test of the family that a comparison belongs to; None where to none.

    Args:
        ours: our arm.
        theirs: their arm.
    """
    if theirs == base_of(ours):
        return ours
    for controls in CIA_AGAINST:
        if ours == "cia" and theirs in controls:
            return "cia against " + " and ".join(controls)
    return None


def whole_family(
    comparisons: Mapping[tuple[str, str], Comparison], fallen: Mapping[str, str]
) -> dict[str, float]:
    """The p-values of all 21 tests; 1 where a test has fallen away or still waits.

    Args:
        comparisons: of the arms that were read.
        fallen: arm -> why it gets no verdict.
    """
    found = {name: 1.0 for pair in pairs() if (name := name_of_test(*pair)) is not None}
    found |= wake.family_p_values(comparisons, fallen)
    for ours, theirs in pairs():
        name = name_of_test(ours, theirs)
        waits = (ours, theirs) not in comparisons and theirs not in fallen
        base_fell = theirs == base_of(ours) and theirs in fallen
        if name is not None and (waits or base_fell or ours in fallen):
            found[name] = 1.0
    return found


def verdict_of(
    ours: str,
    theirs: str,
    comparison: Comparison | None,
    corrected: Mapping[str, float],
    fallen: Mapping[str, str],
) -> str:
    """The word for a comparison.

    Args:
        ours: our arm.
        theirs: their arm.
        comparison: of the two; None where one was not read.
        corrected: the family's p-values by Holm.
        fallen: arm -> why it gets no verdict.
    """
    for name in (ours, theirs):
        if name in fallen:
            return fallen[name]
    if comparison is None:
        return WAITS
    test = name_of_test(ours, theirs)
    # an arm that is only asked whether it does as well as CIA has no test
    return wake.verdict(comparison, 1.0 if test is None else corrected[test])


def identity(found: Outcome) -> str:
    """Whether it matters: "matters", "does not matter", "open" or WAITS."""
    words = {control: found.verdicts["cia", control] for control in WITHOUT_IDENTITY}
    noise = found.verdicts["cia", "noise"]
    if WAITS in (noise, *words.values()):
        return WAITS
    # of a pair of which one has fallen, the other stands alone
    left = [word for word in words.values() if word not in FALLEN]
    if not left or noise in FALLEN:
        return "open"
    if noise == "beats" and all(word == "beats" for word in left):
        return "matters"
    as_well = ("equal", "is beaten")
    if noise in as_well and any(word in as_well for word in left):
        return "does not matter"
    return "open"


def as_well_as_cia(found: Outcome) -> tuple[list[str], list[str]]:
    """The arms of exploration or optimisation that equal CIA, and those that wait."""
    words = {arm: found.verdicts["cia", arm] for arm in EXPLORATION_OR_OPTIMISATION}
    equal = [arm for arm, word in words.items() if word == "equal"]
    return equal, [arm for arm, word in words.items() if word == WAITS]


def foretold(found: Outcome) -> dict[str, bool | None]:
    """The two predictions on timing: whether each came true; None where it waits."""
    arms = found.arms
    shown = {name: arm.asleep for name, arm in arms.items() if arm.state == "read"}
    came = {}
    for name, ours, theirs in (
        ("CIA to 60,000 steps does as well as CIA", "cia", "cia_early"),
        ("CIA from 100,000 steps on wakes hardly anybody", "cia_late", "qmix_late"),
    ):
        came[name] = None
        if ours in shown and theirs in shown:
            bound = wake.compare(shown[ours], shown[theirs]).bound
            came[name] = bound < MARGIN
    return came


def listed(names: Sequence[str]) -> str:
    """Arms in a sentence."""
    words = [NAMES[name] for name in names]
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else words[0]


def counted(found: Outcome, name: str) -> str:
    """How many teams of an arm sleep, in words.

    Args:
        found: the outcome.
        name: of an arm that was read.
    """
    arm = found.arms[name]
    return f"{arm.asleep.sum()} of {len(arm.asleep)} teams of {NAMES[name]}"


def answer(found: Outcome) -> list[str]:
    """The answer in four sentences, or why there is none, from verdicts alone.

    The first is how many sleep, the second whether the size of credits does as well,
    the third whether identity matters, the last whether exploration or optimisation
    does as well.
    """
    if not found.checked:
        return [
            "The answer waits for its checks.",
            "The rule holds back a control until its manipulation check is committed, "
            "and this page every arm until a first check is.",
            "Until then this page shows what was known before, and how it will be "
            "judged.",
        ]
    return [
        how_many(found),
        of_size(found),
        of_identity(found),
        of_exploration(found),
    ]


def how_many(found: Outcome) -> str:
    """How many teams sleep in QMIX and QMIX(CIA), and what that shows."""
    missing = [name for name in ("cia", "qmix") if name in found.waiting]
    if missing:
        return f"How many teams CIA wakes waits for the runs of {listed(missing)}."
    told = {
        "beats": "CIA wakes teams",
        "is beaten": "CIA puts teams to sleep",
        "equal": f"CIA wakes hardly anybody{so_far(found)}",
        "undecided": f"whether CIA wakes teams is undecided{so_far(found)}",
        "unclear": "too many teams are neither asleep nor awake for a verdict",
    }[found.verdicts["cia", "qmix"]]
    return f"{counted(found, 'qmix')} sleep and {counted(found, 'cia')}: {told}."


def of_size(found: Outcome) -> str:
    """Whether credits as large as CIA's do as well, whoever they belong to."""
    word = found.verdicts["cia", "scale"]
    if word == WAITS:
        return "Whether the size of credits does as well waits for its control."
    told = {
        "equal": "does as well as CIA",
        "is beaten": "does better than CIA",
        "beats": "does not do as well",
    }.get(word)
    if told is None:
        return f"Whether the size of credits does as well is {word}."
    words = f"The size of credits alone {told}: {counted(found, 'scale')} sleep"
    if "noise" not in found.waiting and "noise" not in found.fallen:
        words += f", and {counted(found, 'noise')}"
    return f"{words}."


def of_identity(found: Outcome) -> str:
    """Whether identity is what wakes them."""
    kind = identity(found)
    needed = [*WITHOUT_IDENTITY, "noise"]
    if kind == WAITS:
        missing = [name for name in ("cia", *needed) if name in found.waiting]
        return f"Whether identity matters waits for {listed(missing)}."
    gone = [name for name in ("cia", *needed) if name in found.fallen]
    without = f" ({listed(gone)} without a verdict)" if gone else ""
    if kind == "matters":
        beaten = [name for name in needed if found.verdicts["cia", name] == "beats"]
        return (
            f"By the rule identity matters: CIA beats {listed(beaten)}{without}. It "
            "does not follow that agents must be told apart to wake."
        )
    tail = f"{without}{so_far(found)}."
    if kind == "does not matter":
        level = [
            name
            for name in needed
            if found.verdicts["cia", name] in ("equal", "is beaten")
        ]
        return f"Identity does not matter: {listed(level)} do as well as CIA{tail}"
    return f"Whether identity matters stays open{tail}"


def of_exploration(found: Outcome) -> str:
    """Whether exploration or optimisation does as well."""
    equal, waiting = as_well_as_cia(found)
    if len(equal) >= 2:
        return f"Exploration or optimisation does as well: {listed(equal)} equal CIA."
    if waiting:
        missing = [name for name in ("cia", *waiting) if name in found.waiting]
        return f"Whether exploration does as well waits for {listed(missing)}."
    alone = f"only {listed(equal)} equals CIA" if equal else "no arm equals CIA"
    return f"That exploration or optimisation does as well is not shown: {alone}."


def so_far(found: Outcome) -> str:
    """A hedge for verdicts that may change while arms of the family wait.

    One of "beats" or "is beaten" never does.
    """
    if not found.waiting:
        return ""
    return f" so far, with {len(found.waiting)} of {len(found.arms)} arms still waiting"


def chance_to_tell(pairs: int, ours: float, theirs: float) -> float:
    """How often McNemar's test of so many seeds finds ours to sleep less.

    The two arms are taken to be independent; it is summed over all outcomes.

    Args:
        pairs: seeds.
        ours: the share asleep in our arm.
        theirs: the same in theirs.
    """
    only_ours, only_theirs = ours * (1 - theirs), theirs * (1 - ours)
    neither = 1 - only_ours - only_theirs
    total = 0.0
    for i in range(pairs + 1):
        for j in range(i + 1, pairs - i + 1):
            if mcnemar_exact(i, j) <= LEVEL:
                ways = comb(pairs, i) * comb(pairs - i, j)
                rest = neither ** (pairs - i - j)
                total += ways * only_ours**i * only_theirs**j * rest
    return total
