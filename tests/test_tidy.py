"""A page of an executed notebook: without its plumbing, and with what it needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book"))
from tidy import is_plumbing, run_this_page, tidy


def code(tags: list[str], outputs: int = 0) -> dict:
    return {
        "cell_type": "code",
        "metadata": {"tags": tags},
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "1"}] * outputs,
    }


@pytest.mark.parametrize(
    ("cell", "goes"),
    [
        (code(["parameters"]), True),
        (code(["injected-parameters"]), True),
        (code(["hide-input"]), True),
        (code(["hide-input"], outputs=1), False),
        (code([]), False),
        ({"cell_type": "markdown", "metadata": {}}, False),
    ],
)
def test_what_shows_nothing_and_is_folded_goes(cell, goes):
    assert is_plumbing(cell) == goes


def test_parameters_are_named_at_the_end():
    found = {"results": {"default": '"a|b"', "help": "runs: <method>/\n seeds"}}
    box = run_this_page("notebooks/turn", found)
    assert '| `results` | `"a\\|b"` | runs: &lt;method>/ seeds |' in box
    assert ".venv/bin/papermill notebooks/turn.ipynb my_turn.ipynb" in box
    assert "changes a parameter" not in run_this_page("notebooks/turn", {})


def test_a_staged_notebook_is_tidied(tmp_path):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "page.ipynb"
    parameters = {
        **code(["parameters"]),
        "id": "one",
        "execution_count": 1,
        "source": "seeds: int = 3  # how many",
    }
    notebook = {
        "cells": [parameters],
        "metadata": {"kernelspec": {"name": "python3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook))
    tidy(tmp_path, "notebooks/page")
    first, last = json.loads(path.read_text())["cells"]
    assert first["metadata"]["tags"] == ["parameters", "remove-cell"]
    assert "| `seeds` | `3` | how many |" in last["source"]
