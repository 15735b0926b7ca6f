"""The experiment on the cause: what was measured belongs to committed runs."""

import json
from collections import Counter
from pathlib import Path

from ciabook.evidence.credits_and_diversity import ARMS, RESULT, main

from ciacore.runtime.store import read_runs

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def test_every_measured_network_is_that_of_a_committed_run():
    rows = json.loads(RESULT.read_text())["rows"]
    assert Counter(row["method"] for row in rows) == dict.fromkeys(ARMS, 20)
    sealed = {}
    for method, group in read_runs(RESULTS / "study", "turn", ARMS).items():
        for run in group:
            sealed[method, run.seed] = run.provenance["weights_dropped"]
    assert {(row["method"], row["seed"]): row["weights"] for row in rows} == sealed


def test_the_values_are_shares():
    for row in json.loads(RESULT.read_text())["rows"]:
        for key in ("told apart", "identified", "divergence", "disagreement"):
            assert 0 <= row[key] <= 1, row


def test_runs_without_weights_cannot_be_measured(tmp_path, capsys):
    out = tmp_path / "cause.json"
    assert main([str(RESULTS / "study"), "--out", str(out)]) == 2
    assert "expected a run with weights" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_without_the_runs_is_refused(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "cause.json")]) == 2
    assert "qmix_rs_rest" in capsys.readouterr().err
