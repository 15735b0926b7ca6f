"""Grades student notebooks with nbgrader: `make grade SUBMISSIONS=FOLDER`.

    .venv-grading/bin/python env/grade.py SUBMISSIONS [--course COURSE]

SUBMISSIONS holds a folder per student with their notebooks, such as
`ada/value_decomposition.ipynb`. nbgrader lives in .venv-grading. What students wrote is
executed by the book's own environment. Nothing confines it: grade in a container, or
as a user who can lose nothing.

COURSE (_build/grading, if not named) receives the assignments, the graded notebooks
and marks.csv. An earlier one is replaced.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / ".venv" / "bin" / "python"
KERNEL = "ciabook_students"
SECONDS = 600  # for one cell
COLUMNS = ("student", "chapter", "test", "marks", "of")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path, help="a folder for every student")
    parser.add_argument("--course", type=Path, default=ROOT / "_build" / "grading")
    options = parser.parse_args(arguments)
    if not options.submissions.is_dir():
        parser.error(
            f"SUBMISSIONS: expected a folder, got {options.submissions}. "
            "Make one, with a folder of notebooks for every student."
        )
    course = options.course.resolve()
    shutil.rmtree(course, ignore_errors=True)
    make_course(course)
    chapters = sorted(path.name for path in (course / "source").iterdir())
    handed_in = take_in(options.submissions, course, chapters)
    if not handed_in:
        parser.error(
            f"SUBMISSIONS: expected STUDENT/CHAPTER.ipynb in {options.submissions}, "
            f"got none. The chapters are {', '.join(chapters)}."
        )
    failures = grade(course, handed_in)
    rows = list(marks(course, handed_in))
    with open(course / "marks.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *rows])
    for student, chapter in handed_in:
        mine = [row for row in rows if row[:2] == (student, chapter)]
        total, of = (sum(row[place] for row in mine) for place in (3, 4))
        print(f"{student}, {chapter}: {total:g} of {of:g}")
        for _, _, test, got, _ in mine:
            if not got:
                print(f"  failed: {test}")
    for line in failures:
        print(f"Not graded: {line}", file=sys.stderr)
    print(f"Every test: {course / 'marks.csv'}")
    return 1 if failures else 0


def make_course(course: Path) -> None:
    """Writes the assignments, and a kernel that is the book's environment."""
    course.mkdir(parents=True)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "notebooks")])
    subprocess.run(
        [BOOK, "-m", "ciabook.teaching.student_notebooks", course],
        env=os.environ | {"PYTHONPATH": paths},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(course / "release")  # nbgrader writes its own
    kernel = course / "jupyter" / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    launch = [str(BOOK), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    launch.append("--log-level=50")  # ipykernel warns about the transport
    said = {
        "argv": launch,
        "display_name": "CIA book",
        "language": "python",
        "env": {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    }
    (kernel / "kernel.json").write_text(json.dumps(said, indent=1))


def take_in(
    submissions: Path, course: Path, chapters: list[str]
) -> list[tuple[str, str]]:
    """Copies what was handed in to where nbgrader looks; (student, chapter) each."""
    found = []
    for student in sorted(path for path in submissions.iterdir() if path.is_dir()):
        for chapter in chapters:
            for path in sorted(student.rglob(f"{chapter}.ipynb"))[:1]:
                place = course / "submitted" / student.name / chapter
                place.mkdir(parents=True)
                shutil.copy(path, place)
                found.append((student.name, chapter))
    return found


def grade(course: Path, handed_in: list[tuple[str, str]]) -> list[str]:
    """Runs nbgrader; returns a line for every notebook that it could not grade."""
    warnings.filterwarnings("ignore", module="nbgrader")
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    os.environ["JUPYTER_PATH"] = str(course / "jupyter")
    # nbgrader calls a program of its environment by its name
    own = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([own, os.environ["PATH"]])
    config = Config()
    config.CourseDirectory.root = str(course)
    config.Execute.kernel_name = KERNEL
    config.Execute.timeout = SECONDS
    config.Application.log_level = "ERROR"
    api = NbGraderAPI(config=config)
    failures = []
    for chapter in sorted({chapter for _, chapter in handed_in}):
        made = api.generate_assignment(chapter)
        if not made["success"]:
            raise SystemExit(f"nbgrader refuses the chapter {chapter}:\n{made['log']}")
    for student, chapter in handed_in:
        graded = api.autograde(chapter, student)
        if not graded["success"]:
            last = graded["log"].strip().splitlines()[-1:]
            failures.append(f"{student}, {chapter}: {' '.join(last)}")
    return failures


def marks(
    course: Path, handed_in: list[tuple[str, str]]
) -> Iterator[tuple[str, str, str, float, float]]:
    """A row of COLUMNS for every hidden test."""
    from nbgrader.api import Gradebook, MissingEntry

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for student, chapter in handed_in:
            try:
                submission = book.find_submission(chapter, student)
            except MissingEntry:
                continue
            for notebook in submission.notebooks:
                for each in sorted(notebook.grades, key=lambda each: each.name):
                    got = each.score or 0.0
                    yield student, chapter, each.name, got, each.max_score


if __name__ == "__main__":
    sys.exit(main())
