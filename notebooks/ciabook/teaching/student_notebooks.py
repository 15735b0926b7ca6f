"""Student notebooks with gaps and hidden tests, made from the book's own chapters.

    python -m ciabook.teaching.student_notebooks OUT

In a chapter two tags say what becomes of a cell:

`solution`: the bodies of its functions are for students to write.
`hidden-test`: the cell tests what they wrote, is worth one mark, and is not shown.

Every chapter that has such tests becomes one assignment. OUT/source holds it with
answers and tests, OUT/release without both. The marks in the source are nbgrader's, so
`make grade` needs nothing else. Written solutions, and the hidden cells that check
them, are left out of both.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ciacore.runtime.files import write_whole
from ciacore.types import refuse

NOTEBOOKS = Path(__file__).resolve().parents[2]
SOLUTION, HIDDEN_TEST = "solution", "hidden-test"
# cells with these tags check the book's own text, which students do not need
CHECKS = ("hide-cell", "remove-cell")
KEPT = ("launch", SOLUTION, HIDDEN_TEST)
# what nbgrader puts where it takes something out
STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")
TESTED = "# Hidden tests: one mark."
REGION = re.compile(
    r"^( *)### BEGIN (SOLUTION|HIDDEN TESTS)\n.*?^ *### END \2\n?",
    re.MULTILINE | re.DOTALL,
)
ANSWER = re.compile(r"^(`{3,})\{solution\}.*?^\1\n?", re.MULTILINE | re.DOTALL)


def outermost_functions(source: str) -> list[ast.FunctionDef]:
    """Functions and methods of a cell, without those inside of a function.

    Args:
        source: the code of the cell.
    """
    found: list[ast.FunctionDef] = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if isinstance(child, ast.FunctionDef):
                found.append(child)
            elif isinstance(child, ast.ClassDef):
                waiting.append(child)
    return sorted(found, key=lambda function: function.lineno)


def with_regions(source: str) -> str:
    """A cell with every function's body, save its docstring, marked as a solution.

    Args:
        source: the code of a cell tagged `solution`.

    Raises:
        InvalidInputError: the cell has no function, or one that is a docstring alone.
    """
    functions = outermost_functions(source)
    if not functions:
        cure = f"Take the tag `{SOLUTION}` off the cell."
        refuse("source", "a cell with a function to write", source, cure)
    lines = source.splitlines()
    for function in reversed(functions):
        documented = ast.get_docstring(function) is not None
        body = function.body[1:] if documented else function.body
        if not body:
            refuse("source", "a function with a body", function.name, "Write one.")
        first, last = body[0].lineno - 1, body[-1].end_lineno
        indent = " " * body[0].col_offset
        lines[last:last] = [f"{indent}### END SOLUTION"]
        lines[first:first] = [f"{indent}### BEGIN SOLUTION"]
    return "\n".join(lines)


def without_regions(source: str) -> str:
    """A cell as students get it: a stub for every solution, nothing for tests.

    Args:
        source: the code of a cell with marked regions.
    """

    def stub(found: re.Match[str]) -> str:
        if found[2] != "SOLUTION":
            return ""
        return "".join(f"{found[1]}{line}\n" for line in STUB)

    return REGION.sub(stub, source + "\n").rstrip("\n")


def assignment(chapter: dict[str, Any]) -> dict[str, Any]:
    """A chapter as an assignment with answers, in nbgrader's marks.

    Args:
        chapter: a notebook, as JSON holds it.

    Returns:
        The notebook, with one mark for every hidden test.
    """
    cells = []
    for cell in chapter["cells"]:
        tags = cell["metadata"].get("tags", [])
        if any(tag in CHECKS for tag in tags) and not any(tag in KEPT for tag in tags):
            continue
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cells.append({**cell, "source": ANSWER.sub("", source)})
            continue
        marks = {
            "schema_version": 3,
            "grade_id": cell["id"],
            "grade": False,
            "solution": False,
            "locked": True,
            "task": False,
        }
        if SOLUTION in tags:
            source = with_regions(source)
            marks |= {"solution": True, "locked": False}
        if HIDDEN_TEST in tags:
            hidden = [TESTED, "### BEGIN HIDDEN TESTS", source, "### END HIDDEN TESTS"]
            source = "\n".join(hidden)
            marks |= {"grade": True, "points": 1}
        kept = [tag for tag in tags if tag not in CHECKS]
        metadata = {**cell["metadata"], "tags": kept, "nbgrader": marks}
        cells.append({**cell, "source": source, "metadata": metadata})
    return {**chapter, "cells": cells}


def release(source: dict[str, Any]) -> dict[str, Any]:
    """An assignment as students get it.

    Args:
        source: the assignment with answers.
    """
    cells = [
        {**cell, "source": without_regions(cell["source"])}
        if cell["cell_type"] == "code"
        else cell
        for cell in source["cells"]
    ]
    return {**source, "cells": cells}


def chapters(folder: Path | None = None) -> list[Path]:
    """The notebooks with hidden tests.

    Args:
        folder: of the notebooks; the book's by default.
    """
    found = []
    for path in sorted((folder or NOTEBOOKS).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if any(HIDDEN_TEST in cell["metadata"].get("tags", []) for cell in cells):
            found.append(path)
    return found


def write_student_notebooks(out: Path, folder: Path | None = None) -> list[str]:
    """Writes OUT/source and OUT/release, an assignment for every chapter.

    Args:
        out: the folder that receives them.
        folder: of the chapters; the book's by default.

    Returns:
        The names of the assignments.
    """
    names = []
    for path in chapters(folder):
        whole = assignment(json.loads(path.read_text(encoding="utf-8")))
        for kind, notebook in (("source", whole), ("release", release(whole))):
            place = out / kind / path.stem / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
            write_whole(place, text.encode())
        names.append(path.stem)
    return names


def main(arguments: Sequence[str]) -> int:
    """Writes the notebooks, and says where.

    Args:
        arguments: the folder that receives them.

    Returns:
        The exit code.
    """
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    out = Path(arguments[0])
    for name in write_student_notebooks(out):
        print(f"{out / 'release' / name / name}.ipynb, for students")
        print(f"{out / 'source' / name / name}.ipynb, with answers and tests")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
