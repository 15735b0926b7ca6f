"""The battles compared: verdicts, agreement of orders, last networks, the page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ciabook.battles import last_networks
from ciabook.battles.last_networks import asked, drop_read, is_drawn
from ciabook.evidence import clashes as rule
from ciabook.evidence.paired import Paired, differences_of, paired
from ciabook.evidence.statistics import sign_flips
from ciabook.page.plots import LABELS
from ciabook.studies.runs import Entry

from ciacore import METHODS, train
from ciacore.games import clash_name, make_game, scenario_of
from ciacore.runtime.store import Run, load_run, run_folder, write_run

CLASH = clash_name("6h_vs_8z", 0.7)


def a_run(method: str, seed: int, won: list[float], game: str = CLASH) -> Run:
    """A run of eight evaluations of four battles; `won` are the last two shares."""
    config = METHODS[method].but(env_steps=80_000)
    shares = [0.0] * 6 + won
    metrics = {
        "env_steps": [10_000 * (number + 1) for number in range(8)],
        "episode_return": [[20 * share] * 4 for share in shares],
        "won": [[index < 4 * share for index in range(4)] for share in shares],
    }
    return Run(config, game, seed, metrics, weights={}, provenance={})


def rates_of(**methods: list[float]) -> rule.WinRates:
    """One map, seeds from 1."""
    seeds = {name: dict(enumerate(values, 1)) for name, values in methods.items()}
    return {"6h_vs_8z": seeds}


def test_scenarios_of_games():
    assert scenario_of("smax_corridor") == "corridor"
    assert scenario_of(clash_name("10m_vs_11m", 1.0)) == "10m_vs_11m"
    assert scenario_of("turn") is None and scenario_of("smax_elsewhere") is None


def test_pairs_are_of_the_same_seed():
    assert differences_of({1: 0.5, 2: 0.75, 4: 1.0}, {2: 0.25, 1: 0.5, 3: 0.0}) == [
        0.0,
        0.5,
    ]
    assert paired({"a": [], "b": []}) is None
    found = paired({"a": [0.1, 0.3], "b": [0.2]})
    assert found.value == pytest.approx(0.2)
    assert found.p_value == sign_flips(np.array([0.1, 0.3, 0.2]))


def test_the_primary_measure_is_of_the_last_quarter(tmp_path: Path):
    runs = {"6h_vs_8z": {"qmix": [a_run("qmix", 1, [0.5, 1.0])]}}
    assert rule.win_rates(runs) == {"6h_vs_8z": {"qmix": {1: 0.75}}}


def test_runs_are_found_by_map(tmp_path: Path):
    """Of two methods one has a run; the other is no method of the map yet."""
    entries = [
        Entry(METHODS[name].but(env_steps=80_000), CLASH, 1)
        for name in ("qmix", "qmix_cia")
    ]
    run = a_run("qmix", 1, [0.5, 1.0])
    write_run(run_folder(tmp_path, CLASH, "qmix", 1), run)
    found = rule.stored(entries, tmp_path)
    assert list(found) == ["6h_vs_8z"] and list(found["6h_vs_8z"]) == ["qmix"]


@pytest.mark.parametrize(
    ("value", "low", "high", "coverage", "p", "word"),
    [
        (0.2, 0.1, 0.3, 0.96, 0.01, "better"),
        (-0.2, -0.3, -0.1, 0.96, 0.01, "worse"),
        (0.01, -0.04, 0.04, 0.96, 0.5, "equal"),
        (0.01, -0.04, 0.04, 0.90, 0.5, "undecided"),  # too few pairs for an interval
        (0.01, -0.06, 0.04, 0.96, 0.5, "undecided"),
    ],
)
def test_verdicts(
    value: float, low: float, high: float, coverage: float, p: float, word: str
):
    assert rule.verdict(Paired({}, value, low, high, coverage, p), p) == word


def test_both_decisions_are_corrected_together():
    """Only QMIX has pairs; QPLEX keeps its place in Holm's family."""
    ones = [1.0] * 8
    rates = rates_of(qmix=[0.0] * 8, qmix_cia=ones)
    found = rule.decisions(rates)
    assert list(found) == ["qmix"] and found["qmix"].value == 1.0
    assert rule.corrected(found)["qmix"] == pytest.approx(2 * found["qmix"].p_value)
    said = rule.answer(rates, 18, LABELS)
    assert said[0] == "QMIX wins more battles with CIA than without."
    assert said[1].startswith("This is provisional: 8 pairs of QMIX and 0 pairs of QP")
    assert rule.answer(rates_of(qmix=ones), 18, LABELS) == ["It waits for its runs."]


def test_the_order_of_methods_beside_the_papers():
    paper = {"qmix": 0.1, "qplex": 0.2, "qmix_cia": 0.3}
    ours = rates_of(qmix=[0.2, 0.2], qplex=[0.3, 0.3], qmix_cia=[0.5, 0.5])["6h_vs_8z"]
    assert rule.agreement(ours, paper) == (3, 1.0, 1.0, 1.0)
    assert rule.agreement({"qmix": {1: 0.5}}, paper) is None
    mixed = rates_of(qmix=[0.2, 0.6], qplex=[0.3, 0.3], qmix_cia=[0.5, 0.5])
    found = rule.agreement(mixed["6h_vs_8z"], paper)
    assert found.low < found.value == 0.5 <= found.high


def test_cells_name_their_seeds():
    rates = rates_of(qmix=[0.25, 0.75], qplex=[0.5])
    assert rule.cells(rates, "qmix")["6h_vs_8z"] == "0.50 ± 0.35 (n = 2)"
    assert rule.cells(rates, "qplex")["6h_vs_8z"] == "0.50 (n = 1)"
    assert rule.cells(rates, "qplex")["7sz"] == "-"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Entry]]:
    """Two trainings of one battle or two, with weights."""
    results = tmp_path_factory.mktemp("clashes")
    entries = []
    for method in ("qmix", "qmix_cia"):
        config = METHODS[method].but(env_steps=60, evaluation_games=4, batch=1)
        entries.append(Entry(config, CLASH, 1))
        train(config, make_game(CLASH), seeds=[1], results=results, processes=1)
    return results, entries


@pytest.mark.long
def test_last_networks_are_asked_once(
    tiny: tuple[Path, list[Entry]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Wins, tactics and credits of two teams; then nothing is asked again.

    Weights that a figure reads stay, the others go.
    """
    results, entries = tiny
    few = {"battles": 4, "shared": 2, "recorded": 2}
    (row,) = asked(entries, results, recordings=tmp_path, **few)
    assert set(row["networks"]) == set(row["won"]) == {"qmix", "qmix_cia"}
    assert all(0 <= won <= 4 for won in row["won"].values())
    assert set(row["tactics"]["qmix"]) >= {"focus fire", "kiting", "encircling"}
    assert len(row["tactics"]["qmix"]["kiting"]) == 2
    assert set(row["measures"]) == {"qmix", "qmix_cia"}
    assert np.shape(row["kl"]) == (2, 2) and row["kl_methods"] == ["qmix", "qmix_cia"]
    assert json.loads(json.dumps(row)) == row
    assert {path.name for path in tmp_path.glob("*.npz")} == {
        "6h_vs_8z~qmix.npz",
        "6h_vs_8z~qmix_cia.npz",
    }

    def never(*_: Any) -> int:
        raise AssertionError("asked again")

    monkeypatch.setattr(last_networks, "last_wins", never)
    assert asked(entries, results, [row], **few) == [row]
    drop_read([row], results)
    folder = run_folder(results, CLASH, "qmix", 1)
    assert is_drawn(load_run(folder)) and load_run(folder).weights
    monkeypatch.setattr(last_networks, "DRAWN_MAPS", ())
    drop_read([row], results)
    assert not load_run(folder).weights
    assert asked(entries, results, [row], **few) == [row]
