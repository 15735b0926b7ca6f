"""Calibration and manipulation checks of the controls, on records made by hand."""

import json

import numpy as np
import pytest
from ciabook.evidence import wake_checks
from ciabook.evidence.wake_calibration import (
    FILE,
    course,
    loss_means,
    mean_over_first,
    over,
    over_course,
    relative_differences,
    rounded,
    weight_for,
)
from ciabook.evidence.wake_checks import (
    equaliser_check,
    expected,
    noise_check,
    runs_of,
    scale_check,
)
from ciabook.studies.runs import Entry
from ciabook.studies.study import find
from ciabook.studies.wake import (
    CALIBRATED,
    EQUALISER_STRONG,
    EQUALISER_TRIED,
    QMIX_LOGGED,
    WAKE,
)
from support.faults import refused

from ciacore.config import Config
from ciacore.methods import METHODS
from ciacore.runtime.store import Run, write_run

LENGTH = 100  # env steps of an episode


def made(
    config: Config, updates: list[int], seed: int = 1, **losses: list[float | None]
) -> Run:
    """A run that nobody trained: an evaluation per entry, of equally long episodes.

    Args:
        config: of the run.
        updates: made until each evaluation.
        seed: of the run.
        losses: by name, a mean per evaluation.
    """
    interval = config.evaluation_interval // LENGTH
    episodes = [1 + interval * entry for entry in range(len(updates))]
    rows, done = [], 0
    for entry, count in enumerate(updates):
        row = {name: values[entry] for name, values in losses.items()}
        rows.append(row if count > done else None)
        done = count
    metrics = {
        "env_steps": [LENGTH * number for number in episodes],
        "episodes": episodes,
        "updates": updates,
        "losses": rows,
    }
    return Run(config, "turn", seed, metrics, weights={}, provenance={})


# -------------------------------------------------------------------------- calibration


def test_a_course_by_hand():
    """Two runs; an interval has two evaluations, and the first has no update.

    Weighted by updates: (1 · 10 + 4 · 20) / 30 = 3 and 6; (2 · 10 + 2 · 20) / 30 = 2
    and 4.
    """
    config = Config(evaluation_interval=1_000)
    updates = [0, 0, 0, 10, 30, 40, 50]
    one = made(config, updates, x=[0, 0, 0, 1.0, 4.0, 5.0, 7.0])
    two = made(config, updates, x=[0, 0, 0, 2.0, 2.0, 3.0, 5.0])
    assert course([one], "x", 2_000, 6_000) == [3, 3, 6]
    assert course([one, two], "x", 2_000, 6_000) == [2.5, 2.5, 5]
    assert course([one, two], "x", 2_000, 4_000) == [2.5, 2.5]
    refused(lambda: course([one], "x", 2_000, 8_000), "at least 8000", "got 6000")
    refused(lambda: course([one], "y", 2_000, 6_000), "runs that logged y")


def test_means_over_the_first_updates_by_hand():
    one = made(Config(), [0, 10, 30, 40], x=[None, 1.0, 4.0, 100.0])
    two = made(Config(), [0, 10, 30, 40], x=[None, 2.0, 2.0, 100.0])
    assert mean_over_first([one, two], "x", 30) == 2.5
    refused(lambda: mean_over_first([one], "x", 35), "after 35 updates", "got 30")
    means, counts = loss_means(one, "x")
    assert means.tolist() == [0, 1, 4, 100] and counts.tolist() == [0, 10, 20, 10]


def test_the_weight_of_a_norm():
    assert weight_for(wanted=0.044, tried=0.03, norm=0.04) == 0.033
    refused(lambda: weight_for(0.06, 0.03, 0.04), "tried", "Try 0.045")
    assert rounded(0.0123456) == 0.01235 and rounded(123456.0, 2) == 120000


def test_the_committed_calibration_is_whole():
    kept = json.loads(FILE.read_text())
    assert kept == CALIBRATED
    assert len(kept["scale"]["course"]) == 6 and len(kept["noise"]["course"]) == 150
    equaliser = kept["equaliser"]
    assert equaliser["weight tried"] == EQUALISER_TRIED
    found = EQUALISER_TRIED * equaliser["norm of CIA"] / equaliser["norm tried"]
    assert equaliser["weight"] == pytest.approx(found, rel=2e-3)
    seeds = [str(seed) for seed in range(901, 911)]
    assert len(kept["runs"]) == 5
    for name, runs in kept["runs"].items():
        two = name in ("equaliser_strong", "scale")
        assert [*runs["metrics"]] == (["901", "904"] if two else seeds)
        assert len(runs["commits"]) > 0


def test_what_the_previews_say():
    """The equaliser that is as gentle as CIA would fail its check; a strong one not.

    The scale would pass.
    """
    previews = CALIBRATED["previews"]
    apart = previews["relative difference"]
    assert apart["equaliser"] > 0.5 * apart["qmix"] > apart["equaliser_strong"]
    ratios = previews["mean credit over course"]
    assert len(ratios) == 15 and 0.9 < min(ratios) <= max(ratios) < 1.1


def test_calibration_seeds_are_in_no_comparison():
    used = {entry.seed for entry in find("wake_calibration")}
    assert used == {*range(901, 911)}
    assert {entry.seed for entry in find("wake_previews")} <= used
    for study in ("wake", "wake_logged", "wake_strong", "wake_alpha", "wake_long"):
        assert not used & {entry.seed for entry in find(study)}


def test_calibrated_runs_are_those_of_the_arms_but_for_what_is_logged():
    """What an evaluation is, and how long a run is, has no effect on training."""
    entries = find("wake_calibration") + find("wake_previews")
    configs = {entry.config.method: entry.config for entry in entries}
    apart = {
        "method": "x",
        "env_steps": 1,
        "evaluation_interval": 1,
        "evaluation_games": 1,
        "terms": ("mean_credit",),
    }
    arms = {**WAKE, "equaliser_strong": EQUALISER_STRONG}
    for name, config in configs.items():
        arm = arms[name.removesuffix("_calibration")]
        arm = arm.but(control_coefficient=config.control_coefficient)
        assert config.but(**apart) == arm.but(**apart)


# --------------------------------------------------------------------------- the checks


def at_sixty(difference: float, seed: int) -> Run:
    """A run whose relative difference from 50,000 to 60,000 steps is this."""
    updates = [0, *range(70, 671, 100)]
    values = [0, 9.0, 9.0, 9.0, 9.0, 9.0, difference, 9.0]
    return made(Config(), updates, seed, relative_difference=values)


def test_the_equaliser_must_halve_the_relative_difference():
    qmix = [at_sixty(1.0, 1), at_sixty(1.5, 2)]
    passes = equaliser_check([at_sixty(0.5, 1), at_sixty(0.75, 2)], qmix)
    assert passes.passed and passes.shown == {"equaliser": 0.625, "qmix": 1.25}
    assert not equaliser_check([at_sixty(0.5, 1), at_sixty(0.76, 2)], qmix).passed
    others = [at_sixty(0.1, 1), at_sixty(0.1, 3)]
    refused(lambda: equaliser_check(others, qmix), "the seeds [1, 3]", "got [1, 2]")


def test_over_weighs_by_updates():
    run = made(
        Config(evaluation_interval=5_000),
        [0, 10, 30, 40],
        x=[0, 1.0, 4.0, 8.0],
    )
    assert over(run, "x", 0, 10_000) == 3 and over(run, "x", 10_000, 15_000) == 8
    refused(lambda: over(run, "x", 0, 20_000), "due at 0 and 20000")


def test_previews_by_hand():
    runs = [at_sixty(1.0, 1), at_sixty(2.0, 2)]
    names = ("qmix", "cia", "equaliser", "equaliser_strong")
    assert relative_differences({name: runs for name in names}) == {
        name: 1.5 for name in names
    }
    of_scale = [2.0, 4.0]
    found = over_course([scaled([1.0, 0.5, *[1.5] * 13])], of_scale)
    assert found == [1.0, 0.5, *[1.5] * 13]


COURSE = Config(control_course=[2.0, 4.0], terms=("scale",))


def scaled(factors: list[float], seed: int = 1) -> Run:
    """A run of 150,000 steps whose mean credit is this many times the course.

    The course is 2 for 10,000 steps, and 4 from there on.
    """
    updates = [0, *range(70, 1_471, 100)]
    targets = [2.0, *[4.0] * 14]
    credits = [0, *np.multiply(factors, targets)]
    apart = [0.5] * 16
    return made(COURSE, updates, seed, mean_credit=credits, relative_difference=apart)


def test_the_scale_must_stay_within_a_tenth_of_its_course_at_every_evaluation():
    good, high, low = [1.0] * 15, [1.0] * 14 + [1.11], [0.89] + [1.0] * 14
    found = scale_check([scaled(good)])
    assert found.passed and found.shown["mean credit over course"] == good
    assert found.shown["env_steps"] == [*range(10_000, 150_001, 10_000)]
    assert found.shown["relative difference"] == [0.5] * 15
    assert not scale_check([scaled(high)]).passed
    assert not scale_check([scaled(low)]).passed
    # the mean over seeds counts
    assert scale_check([scaled(high, 1), scaled(good, 2)]).passed
    short = made(COURSE, [0, 70], mean_credit=[0, 2.0], relative_difference=[0, 0])
    refused(lambda: scale_check([short]), "at least 150000", "got 10000")


def test_what_a_course_should_be_over_the_updates_of_an_evaluation():
    """The first update sees 3,100 steps: 18 updates at 1 to 4,800, and then at 3."""
    config = Config(control_course=[7.0, 1.0, 3.0], control_interval=2_400)
    run = made(config.but(evaluation_interval=5_000), [0, 20, 70], noise=[0, 1.0, 1.0])
    found = expected(run)
    assert np.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([(18 * 1 + 2 * 3) / 20, 3.0])


def test_noise_must_be_as_large_as_its_course():
    config = Config(control_course=[2.0, 4.0], terms=("noise",))
    updates = [0, 70, 170]

    def check(first: float, second: float) -> bool:
        run = made(config, updates, noise=[0, 2 * first, 4 * second])
        found = noise_check([run])
        assert found.shown["env_steps"] == [10_000, 20_000]
        assert found.shown["norm over course"] == pytest.approx([first, second])
        return found.passed

    assert check(1.0, 0.951) and check(1.049, 1.0)
    assert not check(1.06, 1.0) and not check(1.0, 0.94)


def test_checks_read_whole_arms_only(tmp_path):
    config = QMIX_LOGGED
    run = made(config, [0, 70], seed=101, relative_difference=[0, 1.0])
    write_run(tmp_path / "turn" / config.method / "seed_101", run)
    (found,) = runs_of(tmp_path, config, [101])
    assert found.metrics["losses"] == [None, {"relative_difference": 1.0}]
    refused(lambda: runs_of(tmp_path, config, [101, 102]), "a run folder", "seed_102")
    other = config.but(epsilon_end=0.1)
    refused(lambda: runs_of(tmp_path, other, [101]), "the Config of qmix_logged_wake")


def test_the_command_checks_one_arm_and_keeps_the_others(tmp_path, monkeypatch, capsys):
    file = tmp_path / "checks.json"
    file.write_text('{"scale": "as it was"}')
    monkeypatch.setattr(wake_checks, "FILE", file)
    monkeypatch.setattr(wake_checks, "WAKE_SEEDS", range(101, 103))
    updates, config = [0, *range(70, 1_471, 100)], WAKE["noise"]
    for seed in (101, 102):
        norms = expected(made(config, updates, seed, noise=[0.0] * 16)).tolist()
        run = made(config, updates, seed, noise=[None, *norms[1:]])
        write_run(tmp_path / "turn" / "noise_wake" / f"seed_{seed}", run)
    assert wake_checks.main([str(tmp_path), "noise"]) == 0
    assert capsys.readouterr().out == "noise: passed\n"
    found = json.loads(file.read_text())
    assert found["scale"] == "as it was" and found["noise"]["passed"]
    before = file.read_text()
    assert wake_checks.main([str(tmp_path), "noise", "frozen"]) == 2
    told = capsys.readouterr().err
    assert "arm" in told and "equaliser, scale, noise, equaliser_strong" in told
    assert file.read_text() == before


def test_entries_of_the_calibration_are_methods_of_the_paper():
    """No other part than QMIX's and CIA's, so that what is measured is theirs."""
    for entry in find("wake_calibration"):
        assert isinstance(entry, Entry)
        mixer, agent = METHODS["qmix"].mixer, METHODS["qmix"].agent
        assert (entry.config.mixer, entry.config.agent) == (mixer, agent)
