"""What QMIX decides before battles are compared: the protocol, and the difficulty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ciabook.battles import calibration, protocol
from ciabook.battles.calibration import Tried, best, crossing, next_value, tried_with
from ciabook.battles.protocol import chosen, last_quarter
from ciabook.studies import battles
from ciabook.studies.battles import budget, in_battle, within
from ciabook.studies.study import STUDIES

from ciacore import METHODS
from ciacore.runtime.store import Run, load_run, run_folder, write_run
from ciacore.types import InvalidInputError

PROTOCOL = {
    "rates": {
        name: {"1": 300.4, "8": 1500.0} for name in ("10m_vs_11m", "3s5z_vs_3s6z")
    },
    "foe_damage": {"10m_vs_11m": 0.8, "3s5z_vs_3s6z": 1.2},
}


@pytest.fixture
def tuning(tmp_path, monkeypatch):
    """Folders of its own for what is written, with a protocol that was frozen."""
    monkeypatch.setattr(battles, "DATA", tmp_path)
    monkeypatch.setattr(protocol, "DATA", tmp_path)
    monkeypatch.setattr(calibration, "DATA", tmp_path)
    monkeypatch.setattr(calibration, "RESULTS", tmp_path)
    (tmp_path / "battle_protocol.json").write_text(json.dumps(PROTOCOL))
    return tmp_path


def run_of(entry, won: list[float], returns: list[float] | None = None) -> Run:
    """A run that was evaluated eight times, evenly, in two episodes each."""
    steps = [entry.config.env_steps * (i + 1) // len(won) for i in range(len(won))]
    metrics = {
        "env_steps": steps,
        "won": [[rate, rate] for rate in won],
        "episode_return": [[value, value] for value in returns or won],
    }
    return Run(entry.config, entry.game, entry.seed, metrics, {}, {})


def keep(results: Path, run: Run) -> None:
    write_run(run_folder(results, run.game, run.config.method, run.seed), run)


def test_a_budget_is_what_fifteen_minutes_of_a_core_give():
    assert budget(321.3) == 289_000
    config = within(METHODS["qmix"], budget(100.0))
    assert (config.env_steps, config.epsilon_steps) == (90_000, 9_000)


def test_the_protocol_has_eight_runs_of_equal_time(tuning):
    runs = battles.protocol_runs()
    assert len(runs) == 8 and {run.seed for run in runs} == {901, 902}
    assert {run.game for run in runs} == {
        "clash_10m_vs_11m_at_0.8",
        "clash_3s5z_vs_3s6z_at_1.2",
    }
    steps = {run.config.n_games: run.config.env_steps for run in runs}
    assert steps == {1: 270_000, 8: 1_350_000}
    published = in_battle(METHODS["qmix"], "3s5z_vs_3s6z")
    assert runs[-1].config == within(published, 1_350_000).but(
        method="qmix_8_games", n_games=8
    )


def test_rates_are_multiples_of_one_that_was_timed(tuning, monkeypatch):
    monkeypatch.setattr(protocol, "BENCH", tuning)
    monkeypatch.setattr(protocol, "RESULTS", tuning)
    timed = {"scenarios": {"10m_vs_11m": {"qmix": {"ours_per_s": 300.0}}}}
    multiples = {"10m_vs_11m": {"1": 1.0, "8": 5.0}, "3s5z_vs_3s6z": {"1": 2.0}}
    measured = {"multiples": multiples, "of": {"scenario": "10m_vs_11m"}}
    guesses = {"10m_vs_11m": {"foe_damage": 0.8}, "3s5z_vs_3s6z": {"foe_damage": 2.0}}
    (tuning / "battle_training.json").write_text(json.dumps(timed))
    (tuning / "battle_rates.json").write_text(json.dumps(measured))
    (tuning / "first_guess.json").write_text(json.dumps({"scenarios": guesses}))
    assert protocol.main(["freeze"]) == 0
    facts = json.loads((tuning / "battle_protocol.json").read_text())
    assert facts["rates"] == {
        "10m_vs_11m": {"1": 300.0, "8": 1500.0},
        "3s5z_vs_3s6z": {"1": 600.0},
    }
    assert facts["foe_damage"] == {"10m_vs_11m": 0.8, "3s5z_vs_3s6z": 2.0}


def test_no_protocol_no_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(battles, "DATA", tmp_path)
    assert battles.protocol_runs() == [] and battles.calibration_runs() == []


def test_tuning_seeds_are_in_no_other_study():
    tuning = ("battle_protocol", "battle_calibration")
    for name, entries in STUDIES.items():
        if name not in tuning and not name.endswith(("_calibration", "_previews")):
            assert not {entry.seed for entry in entries} & set(battles.TUNING_SEEDS)


def test_the_last_quarter_is_averaged(tuning):
    run = run_of(battles.protocol_runs()[0], [0, 0, 0, 0, 0, 9, 0.25, 0.75])
    assert last_quarter(run, "won") == 0.5


@pytest.mark.parametrize(
    ("one", "eight", "games"),
    [([10.0, 12.0], [12.0, 14.0], 8), ([10.0], [10.4], 1), ([9.0], [8.0], 1)],
)
def test_half_a_point_decides(one, eight, games):
    assert chosen({1: one, 8: eight}) == games


def test_qmix_decides_from_its_runs(tuning, capsys):
    with pytest.raises(InvalidInputError):
        protocol.decide(tuning)
    for entry in battles.protocol_runs():
        won = [0.0] * 6 + [0.1 * entry.config.n_games] * 2
        keep(tuning, run_of(entry, won, [20 * rate for rate in won]))
    assert protocol.main(["decide", str(tuning)]) == 0
    facts = json.loads((tuning / "battle_protocol.json").read_text())
    assert facts["games_per_update"] == 8
    assert facts["runs"][1]["mean_return"] == 16.0
    assert facts["budgets"] == dict.fromkeys(PROTOCOL["rates"], 1_350_000)
    assert facts["rates"] == PROTOCOL["rates"]  # nothing that was frozen moved
    assert "16.0" in capsys.readouterr().out


def test_what_a_value_gave():
    config = METHODS["qmix"].but(env_steps=1_200)
    metrics = {
        "env_steps": [100 * (i + 1) for i in range(12)],
        "won": [[0.0, 0.0]] * 8 + [[0.2, 0.4]] * 2 + [[0.4, 0.6]] * 2,
    }
    found = tried_with([Run(config, "clash", 901, metrics, {}, {})] * 2)
    assert found == pytest.approx(Tried((0.3 + 0.5 + 0.5) / 3, 0.2))
    assert not found.passes()
    assert Tried(0.45, 0.15).passes()
    assert not Tried(0.61, 0.0).passes() and not Tried(0.29, 0.0).passes()


def test_values_follow_the_line():
    easy, hard = Tried(0.9, 0.0), Tried(0.1, 0.0)
    assert next_value(8, {}) == 8
    assert next_value(8, {8: easy}) == 10
    assert next_value(8, {8: hard}) == 6
    assert crossing({8: 0.9, 10: 0.1}) == pytest.approx(9.125)
    assert next_value(8, {8: easy, 10: hard}) == 9
    # a line that does not fall is not followed
    assert next_value(8, {8: hard, 6: Tried(0.05, 0.0)}) == 5  # 6 is taken
    assert next_value(8, {8: Tried(0.5, 0.0)}) is None
    assert next_value(8, {value: hard for value in range(1, 10)}) is None
    # the grid ends at 0.1
    assert next_value(1, {1: hard}) == 2


def test_one_that_passes_is_taken_else_the_nearest():
    assert best({8: Tried(0.44, 0.3), 9: Tried(0.35, 0.0)}) == 9
    assert best({8: Tried(0.9, 0.0), 9: Tried(0.2, 0.0)}) == 9


def test_calibration_goes_on_where_it_stands(tuning, monkeypatch):
    budgets = dict.fromkeys(battles.MAPS, 1_000)
    facts = {**PROTOCOL, "games_per_update": 8, "budgets": budgets}
    (tuning / "battle_protocol.json").write_text(json.dumps(facts))
    guesses = {"scenarios": {name: {"foe_damage": 0.8} for name in battles.MAPS}}
    (tuning / "first_guess.json").write_text(json.dumps(guesses))
    results = tuning / "runs"
    trained = []

    def train(config, game, seeds, results, processes):
        rate = {"0.8": 0.95, "1": 0.5}[game.rpartition("_")[2]]
        entry = battles.Entry(config, game, seeds[0])
        trained.append((game, seeds[0]))
        keep(results, run_of(entry, [rate] * 8))

    monkeypatch.setattr(calibration, "train", train)
    monkeypatch.setattr(calibration, "make_game", lambda name: name)
    calibration.main(["train", str(results), "7sz"])
    calibration.main(["train", str(results), "7sz"])
    # the first seed is plainly too easy at 0.8
    assert trained == [
        ("clash_7sz_at_0.8", 901),
        ("clash_7sz_at_1", 901),
        ("clash_7sz_at_1", 902),
    ]
    assert calibration.main(["write", str(results)]) == 0
    row = json.loads((tuning / "battle_calibration.json").read_text())
    assert row["games_per_update"] == 8
    assert row["scenarios"] == {
        "7sz": {
            "tried": {
                "0.8": {"win_rate": 0.95, "rise": 0.0, "seeds": 1},
                "1": {"win_rate": 0.5, "rise": 0.0, "seeds": 2},
            },
            "foe_damage": 1.0,
            "calibrated": True,
        }
    }
    assert len(battles.calibration_runs()) == 3


def test_a_wrong_call_says_how(capsys):
    assert protocol.main([]) == 2 and calibration.main(["train"]) == 2
    assert "RESULTS" in capsys.readouterr().out


def test_the_comparison_waits_for_every_map(tuning):
    assert battles.clashes() == []
    facts = {
        **PROTOCOL,
        "games_per_update": 8,
        "budgets": dict.fromkeys(battles.MAPS, 100_000),
    }
    (tuning / "battle_protocol.json").write_text(json.dumps(facts))
    rows = {name: {"foe_damage": 0.9, "tried": {}} for name in battles.MAPS}
    undecided = {**rows, "7sz": {"foe_damage": None, "tried": {}}}
    calibrated = tuning / "battle_calibration.json"
    calibrated.write_text(json.dumps({"scenarios": undecided}))
    assert battles.clashes() == []

    calibrated.write_text(json.dumps({"scenarios": rows}))
    runs = battles.clashes()
    # tier 1: four methods on six maps, CC on four, RS on two
    assert len(runs) == 5 * (24 + 4 + 2) + 2 * 42
    assert [run.seed for run in runs[:91]] == [1] * 30 + [2] * 30 + [3] * 30 + [4]
    assert not {run.seed for run in runs} & set(battles.TUNING_SEEDS)
    assert {run.config.n_games for run in runs} == {8}
    assert {run.config.env_steps for run in runs} == {100_000}
    first = runs[1]
    assert (first.config.method, first.game) == ("qmix_cia", "clash_10m_vs_11m_at_0.9")
    assert first.config.cia_coefficient == 0.02


def test_the_committed_protocol_is_what_its_runs_and_the_pages_say():
    root = Path(__file__).resolve().parents[1]
    facts = json.loads((root / "book/data/battle_protocol.json").read_text())
    means = {1: [], 8: []}
    for config, game, seed in battles.protocol_runs():
        folder = root / "book/results/battle_tuning" / game / config.method
        run = load_run(folder / f"seed_{seed}")
        assert run.config == config
        means[config.n_games].append(last_quarter(run, "episode_return"))
    assert facts["games_per_update"] == chosen(means)
    gain = sum(means[8]) / 4 - sum(means[1]) / 4
    pages = (root / "notebooks/deviations.ipynb", root / "CHANGELOG.md")
    for page in pages:
        said = page.read_text().replace("\n", " ").replace("  ", " ")
        assert f"earn {gain:.2f} of return more".replace("0.", ".") in said
