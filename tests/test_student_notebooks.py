"""Student notebooks: gaps and hidden tests of the book's chapters, and their marks."""

from __future__ import annotations

import csv
import json
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from ciabook.teaching.student_notebooks import (
    STUB,
    TESTED,
    assignment,
    chapters,
    main,
    release,
    with_regions,
    without_regions,
    write_student_notebooks,
)

from ciacore.games import MatrixGame
from ciacore.types import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = {"contrastive_identity": 3, "value_decomposition": 4}  # hidden tests of each
ANSWER = '''def double(x):
    """Twice x."""
    y = x + x
    return y


class Team:
    """Two of them."""

    def act(self):
        return [self, self]


assert double(2) == 4'''


def cells_of(path: Path) -> dict[str, dict]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: cell for cell in cells}


def test_a_body_becomes_a_gap_and_the_rest_stays():
    marked = with_regions(ANSWER)
    kept = [line for line in marked.splitlines() if "### " not in line]
    assert kept == ANSWER.splitlines()
    gap = without_regions(marked)
    assert "y = x" not in gap and "[self, self]" not in gap
    assert '"""Twice x."""' in gap and gap.endswith("assert double(2) == 4")
    assert gap.count(STUB[0]) == 2
    names: dict = {}
    exec(gap.removesuffix("assert double(2) == 4"), names)
    for call in (lambda: names["double"](2), lambda: names["Team"]().act()):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize("source", ["x = 1", 'def f():\n    """Nothing."""'])
def test_what_has_no_body_to_write_is_refused(source, as_users_run_it):
    with pytest.raises(InvalidInputError, match="source: expected"):
        with_regions(source)


def test_the_books_chapters_make_assignments(tmp_path):
    assert {path.stem for path in chapters()} == set(CHAPTERS)
    assert write_student_notebooks(tmp_path) == sorted(CHAPTERS)
    left_out = []
    for name, tests in CHAPTERS.items():
        book = cells_of(ROOT / "notebooks" / f"{name}.ipynb")
        answers = cells_of(tmp_path / "source" / name / f"{name}.ipynb")
        given = cells_of(tmp_path / "release" / name / f"{name}.ipynb")
        assert list(given) == list(answers)
        marked = [cell for cell in given.values() if cell["cell_type"] == "code"]
        points = [cell["metadata"]["nbgrader"].get("points", 0) for cell in marked]
        assert sum(points) == tests
        for key, cell in given.items():
            tags = book[key]["metadata"].get("tags", [])
            source = "".join(book[key]["source"])
            if "hidden-test" in tags:
                assert cell["source"] == TESTED and source in answers[key]["source"]
            elif "solution" in tags:
                assert STUB[1] in cell["source"] and "###" not in cell["source"]
            elif cell["cell_type"] == "code":
                assert cell["source"] == source
                assert cell["metadata"]["nbgrader"]["locked"]
            else:
                assert "{solution}" not in cell["source"]
        left_out += [book[key]["metadata"]["tags"] for key in set(book) - set(given)]
    assert left_out
    assert all({"hide-cell", "remove-cell"} & {*tags} for tags in left_out)


def test_the_command_says_where_and_asks_for_a_folder(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert "release/value_decomposition/" in capsys.readouterr().out
    assert main([]) == 2


def handed_in(name: str, changed: dict[str, tuple[str, str]]) -> dict:
    """A solved notebook; `changed` names cells, and what is replaced by what there."""
    chapter = ROOT / "notebooks" / f"{name}.ipynb"
    whole = assignment(json.loads(chapter.read_text(encoding="utf-8")))
    answers = {cell["id"]: cell for cell in whole["cells"]}
    notebook = release(whole)
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = answers[cell["id"]]["source"]
        if cell["id"] in changed:
            old, new = changed[cell["id"]]
            assert old in cell["source"]
            cell["source"] = cell["source"].replace(old, new)
    return notebook


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("", "", None),
        ("- table.mean()", "", AssertionError),
        (
            "### BEGIN",
            "raise NotImplementedError()\n    ### BEGIN",
            NotImplementedError,
        ),
    ],
    ids=["right", "wrong", "left out"],
)
def test_a_hidden_test_tells_right_from_wrong(old, new, error):
    """One gap, its answers and its test, without nbgrader."""
    chapter = ROOT / "notebooks" / "value_decomposition.ipynb"
    whole = assignment(json.loads(chapter.read_text(encoding="utf-8")))
    cells = {cell["id"]: cell["source"] for cell in whole["cells"]}
    names = {"torch": torch, "games": {"both": MatrixGame([[0, 0], [0, 1]])}}
    expected = pytest.raises(error) if error else nullcontext()
    with expected:
        exec(cells["value-decomposition-11"].replace(old, new), names)
        exec(cells["value-decomposition-33"], names)


@pytest.mark.long
def test_right_and_wrong_submissions_are_graded(tmp_path):
    """The right one has every mark; the wrong one loses those of its mistakes.

    Wrong are an answer, a gap that was left, and a test that was made to say nothing.
    """
    mistakes = {
        "value-decomposition-11": ("- table.mean()", ""),
        "value-decomposition-19": (
            "    ### BEGIN SOLUTION\n",
            "    raise NotImplementedError()\n    ### BEGIN SOLUTION\n",
        ),
        "value-decomposition-33": (TESTED, "pass"),
    }
    submissions = tmp_path / "submissions"
    for student, changed in (("ada", {}), ("bob", mistakes)):
        place = submissions / student / "value_decomposition.ipynb"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(handed_in("value_decomposition", changed)))
    place = submissions / "ada" / "week_2" / "contrastive_identity.ipynb"
    place.parent.mkdir()
    place.write_text(json.dumps(handed_in("contrastive_identity", {})))
    graders = ROOT / ".venv-grading" / "bin" / "python"
    command = [graders, "env/grade.py", submissions, "--course", tmp_path / "course"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "ada, value_decomposition: 4 of 4" in result.stdout
    assert "ada, contrastive_identity: 3 of 3" in result.stdout
    assert "bob, value_decomposition: 2 of 4" in result.stdout
    with open(tmp_path / "course" / "marks.csv") as file:
        rows = list(csv.DictReader(file))
    failed = {row["test"] for row in rows if float(row["marks"]) == 0}
    assert failed == {"value-decomposition-33", "value-decomposition-35"}
    assert {row["student"] for row in rows if float(row["marks"]) == 0} == {"bob"}
