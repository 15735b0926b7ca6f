"""The experiment on the cause: what was measured belongs to committed runs, and needs
their weights."""

import json
from collections import Counter
from pathlib import Path

from ciabook.evidence import credits_and_diversity

from ciacore.runtime.store import read_runs

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"


def test_every_measured_network_is_that_of_a_committed_run():
    rows = json.loads(credits_and_diversity.RESULT.read_text())["rows"]
    assert Counter(row["method"] for row in rows) == dict.fromkeys(
        credits_and_diversity.ARMS, 20
    )
    runs = [
        run
        for group in read_runs(
            RESULTS / "study", "turn", credits_and_diversity.ARMS
        ).values()
        for run in group
    ]
    sealed = {
        (run.config.method, run.seed): run.provenance["weights_dropped"] for run in runs
    }
    assert {(row["method"], row["seed"]): row["weights"] for row in rows} == sealed


def test_the_values_are_shares():
    for row in json.loads(credits_and_diversity.RESULT.read_text())["rows"]:
        assert all(
            0 <= row[key] <= 1
            for key in ("told apart", "identified", "divergence", "disagreement")
        ), row


def test_runs_without_weights_cannot_be_measured(tmp_path, capsys):
    out = tmp_path / "cause.json"
    assert credits_and_diversity.main([str(RESULTS / "study"), "--out", str(out)]) == 2
    assert "expected a run with weights" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_without_the_runs_is_refused(tmp_path, capsys):
    assert (
        credits_and_diversity.main(
            [str(tmp_path), "--out", str(tmp_path / "cause.json")]
        )
        == 2
    )
    assert "qmix_rs_rest" in capsys.readouterr().err
