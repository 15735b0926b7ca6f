"""A reader's runs: fresh seeds, students' folders, and agreement with the book."""

import shutil
from pathlib import Path

import pytest
from ciabook.evidence.wake_outcome import NAMES, judged
from ciabook.evidence.wake_replication import (
    PAIR,
    REPLICATION,
    one_test,
    own_outcome,
    side_by_side,
)
from ciabook.page import replicate as module
from ciabook.page.replicate import (
    AGREES,
    DISAGREES,
    DRAWN,
    TOO_FEW,
    Plan,
    Replication,
    agreement,
    drawn,
    handed_in,
    replicate,
)
from ciabook.studies.runs import Entry
from ciabook.studies.seal import seal
from ciabook.studies.wake import WAKE
from support.faults import refused
from support.toys import SMALL
from support.wake import seal_arm

from ciacore.methods import METHODS
from ciacore.runtime.store import Run, load_run, run_folder, write_run

TWO = {arm: METHODS[arm].but(**SMALL, method=f"{arm}_small") for arm in ("qmix", "vdn")}
WHAT = Replication("turn", {"class": Plan(TWO, 3), "full": Plan(TWO, 4)}, used={1, 2})


def hand_in(place: Path, arm: str, seed: int, **changes) -> Path:
    config = TWO[arm].but(**changes)
    metrics = {"env_steps": [20], "episode_return": [[float(seed)]]}
    run = Run(config, "turn", seed, metrics, {}, {"commit": "abc"})
    return write_run(run_folder(place, "turn", TWO[arm].method, seed), run)


def test_look_trains_and_reads_nothing(tmp_path: Path):
    own = replicate(WHAT, "look", place=tmp_path / "made")
    assert own == ({}, []) and own.seeds == [] and not (tmp_path / "made").exists()


def test_class_trains_every_arm_with_the_same_fresh_seeds(tmp_path: Path, monkeypatch):
    calls = []

    def train(config, game, seeds, **options):
        calls.append((config.method, game.name, list(seeds), options))
        return [Run(config, "turn", seed, {}, {}, {}) for seed in seeds]

    monkeypatch.setattr(module, "train", train)
    said = []
    own = replicate(WHAT, "class", place=tmp_path, told=said.append)
    assert [method for method, *_ in calls] == ["qmix_small", "vdn_small"]
    assert calls[0][2] == calls[1][2] == own.seeds and len(set(own.seeds)) == 3
    assert str(own.seeds) in said[0]
    replicate(WHAT, "full", [7, 8], place=tmp_path, told=said.append)
    assert calls[-1][2] == [7, 8] and calls[-1][3]["results"] == tmp_path


def test_drawn_seeds_are_fresh():
    seeds = drawn(5, used=set(DRAWN) - {*range(2_000, 2_006)})
    assert len(seeds) == 5 and set(seeds) < {*range(2_000, 2_006)}


def test_old_seeds_and_unknown_budgets_are_refused(tmp_path: Path):
    refused(lambda: replicate(WHAT, "class", [5, 2]), "seeds", "did not use", "[2]")
    refused(lambda: replicate(WHAT, "glance"), "budget", "look")
    refused(lambda: replicate(WHAT, "look", runs=str(tmp_path / "no")), "runs", "no")


def test_a_class_hands_in_folders(tmp_path: Path):
    """Two students; one seed twice, one alone, one of another Config, one damaged."""
    for student, seeds in (("ada", (11, 12)), ("bob", (12, 13, 14))):
        for seed in seeds:
            for arm in TWO:
                if (seed, arm) != (13, "vdn"):
                    hand_in(tmp_path / student, arm, seed)
    hand_in(tmp_path / "ada", "qmix", 15, gamma=0.5)
    hand_in(tmp_path / "ada", "qmix", 2)
    damaged = run_folder(tmp_path / "bob", "turn", "vdn_small", 14) / "metrics.json"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    said = []
    own = replicate(WHAT, "look", runs=str(tmp_path), told=said.append)
    assert own.seeds == [11, 12]
    assert [run.seed for run in own.runs["vdn"]] == [11, 12]
    why = "\n".join(own.left_out)
    assert len(said) == len(own.left_out) == 7
    assert why.count("read before") == 2 and "another Config" in why
    assert "the book used this seed" in why and str(damaged) in why
    assert "seed 13 of qmix: another arm lacks it" in why
    assert "seed 14 of qmix: another arm lacks it" in why
    # some of them alone, and a student's own folder
    assert replicate(WHAT, "look", [12], str(tmp_path), told=said.append).seeds == [12]
    assert handed_in(WHAT, WHAT.plans["class"], tmp_path / "ada").seeds == [11, 12]


def test_a_folder_without_a_whole_seed_is_refused(tmp_path: Path):
    hand_in(tmp_path, "qmix", 11)
    refused(
        lambda: handed_in(WHAT, WHAT.plans["class"], tmp_path),
        "runs",
        "qmix_small, vdn_small",
        "another arm lacks it",
    )


def test_sealed_runs_are_handed_in_like_folders(tmp_path: Path):
    for arm, config in TWO.items():
        hand_in(tmp_path, arm, 11)
        seal([Entry(config, "turn", 11)], tmp_path, tmp_path)
        shutil.rmtree(tmp_path / "turn" / config.method)
    assert handed_in(WHAT, WHAT.plans["class"], tmp_path).seeds == [11]
    file = tmp_path / "turn" / "vdn_small.sealed"
    file.write_bytes(file.read_bytes()[:-4])
    refused(lambda: handed_in(WHAT, WHAT.plans["class"], tmp_path), "runs", str(file))


@pytest.mark.parametrize(
    ("book", "own", "word"),
    [
        ("beats", "beats", AGREES),
        ("beats", "equal", DISAGREES),
        ("beats", "undecided", TOO_FEW),
        ("waits", "beats", TOO_FEW),
        ("undecided", "undecided", TOO_FEW),
    ],
)
def test_agreement(book: str, own: str, word: str):
    assert agreement(book, own, ("beats", "is beaten", "equal")) == word


# ------------------------------------------------------------- of what wakes a team


def teams(place: Path, count: int, **sleepers: int) -> dict[str, list[Run]]:
    """The reader's runs of two arms, of which the first so many seeds sleep."""
    seeds = range(5_001, 5_001 + count)
    for arm in PAIR:
        seal_arm(place, WAKE[arm], list(seeds)[: sleepers[arm]], seeds)
    found = {}
    for arm in PAIR:
        method = WAKE[arm].method
        folders = [run_folder(place, "turn", method, seed) for seed in seeds]
        found[arm] = [load_run(folder) for folder in folders]
    return found


def book(tmp_path: Path):
    """The book's arms as a reader's runs of forty seeds, CIA far ahead."""
    return own_outcome(teams(tmp_path / "book", 40, qmix=20, cia=2))


def test_a_reader_agrees_disagrees_or_has_too_few(tmp_path: Path):
    theirs = book(tmp_path)
    theirs = theirs._replace(verdicts={**theirs.verdicts, ("cia", "qmix"): "beats"})
    ask = "CIA against QMIX"
    for number, (count, qmix, cia, word) in enumerate(
        ((10, 7, 0, AGREES), (10, 5, 0, TOO_FEW), (10, 0, 7, DISAGREES))
    ):
        own = own_outcome(teams(tmp_path / str(number), count, qmix=qmix, cia=cia))
        row = side_by_side(theirs, own)[ask]
        assert row["the book"] == "beats" and row["together"] == word
    # one test, corrected for none: 6 to 0 has p = 0.03
    own = own_outcome(teams(tmp_path / "six", 10, qmix=6, cia=0))
    assert one_test(own) == "beats" and own.verdicts["cia", "qmix"] == "undecided"


def test_where_the_book_waits_nobody_agrees(tmp_path: Path):
    own = own_outcome(teams(tmp_path, 10, qmix=9, cia=0))
    arms = {name: own.arms["vdn"]._replace(name=name) for name in NAMES}
    row = side_by_side(judged(arms, {}), own)["CIA against QMIX"]
    assert row == {"the book": "waits", "your runs": "beats", "together": TOO_FEW}


def test_the_class_trains_two_arms_of_the_study_with_seeds_of_its_own():
    plan = REPLICATION.plans["class"]
    assert plan.configs == {"qmix": WAKE["qmix"], "cia": WAKE["cia"]}
    assert plan.seeds * len(plan.configs) * 80 / 2 <= 15 * 60  # seconds on two cores
    assert {101, 140, 901, 910, 20} <= set(REPLICATION.used)
    assert set(WAKE) < set(REPLICATION.plans["full"].configs)
