"""The quiz: every key that a solution names is the one that its cell computes."""

from __future__ import annotations

import json
import re
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CELLS = json.loads((NOTEBOOKS / "quiz.ipynb").read_text(encoding="utf-8"))["cells"]
SOLUTION = re.compile(r"\{solution\} ex-quiz-(\d+)\n.*?\*\*Key:\*\* (\S+)\n", re.DOTALL)


def test_every_key_is_the_computed_one(monkeypatch):
    monkeypatch.chdir(NOTEBOOKS)
    text = "\n".join("".join(cell["source"]) for cell in CELLS)
    written = {int(number): key for number, key in SOLUTION.findall(text)}
    assert sorted(written) == list(range(1, 11))
    names: dict = {}
    for cell in CELLS:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "launch" not in tags:
            source = "".join(cell["source"])
            exec(compile(source, "quiz.ipynb", "exec", dont_inherit=True), names)
    assert names["keys"] == written


def test_keys_are_withheld_with_their_solutions():
    """What computes a key is a hide-cell, which the copy without solutions lacks."""
    for cell in CELLS:
        if cell["cell_type"] == "code" and "solve(" in "".join(cell["source"]):
            tags = cell["metadata"]["tags"]
            assert "hide-cell" in tags or "def solve" in "".join(cell["source"])
