"""Builds the book: trains two methods live, executes the notebooks, renders the pages.

    python book/build.py

It writes only below <output>/_build: `live` (the runs trained just now), `stage` (pages
and executed notebooks), `unfinished` (notebooks that still run or have failed) and
`html` (the book). A notebook that fails, runs out of time, or is given a parameter it
does not declare stops the build, and never reaches the book.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import papermill
from slides import write_slides
from tidy import tidy

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"  # the working folder of every notebook
TRAIN = "notebooks/train"
# trained side by side, on one core each; the page notebooks/train shows the last
LIVE_METHODS = ("qmix", "qmix_cia")
# not among the published seeds, so that the book never repeats a run it shows beside it
LIVE_SEED = 101
JUPYTER_BOOK = [
    sys.executable,
    "-c",
    "from jupyter_book.cli.main import main; main()",
    "build",
]
STRICT = ["-W", "-n", "--keep-going", "--all", "-q"]


def page_parameters(live: Path, device: str) -> dict[str, dict[str, Any]]:
    """What the book gives its notebooks; other parameters keep their defaults.

    Args:
        live: the folder of the runs trained just now.
        device: where the book's trainings run.

    Returns:
        Page -> parameter -> value. Paths start at notebooks/.
    """
    return {
        "notebooks/first_experiment": {"device": device},
        "notebooks/your_own_run": {"runs": os.path.relpath(live, NOTEBOOKS)},
        "notebooks/recheck": {
            "run": "../book/results/turn/qmix_cia/seed_1",
            "evaluations": 2,
        },
    }


class BuildError(Exception):
    """The book cannot be built; the message says why and names the file."""


class Job(NamedTuple):
    """One notebook to execute."""

    source: Path
    target: Path  # appears only when every cell has succeeded
    parameters: dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 when the book is ready."""
    options = parse_arguments(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # two notebooks run at once
    ours = str(ROOT), str(NOTEBOOKS)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [*ours, os.environ.get("PYTHONPATH")])
    )
    try:
        made = build(options)
    except BuildError as error:
        print(f"\nThe book was not built. {error}", file=sys.stderr)
        return 1
    print(
        f"The notebooks are executed, in {made}"
        if options.execute_only
        else f"The book is ready. Open {made}"
    )
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument(
        "--env-steps",
        type=int,
        default=60_000,
        help="length of each live training (%(default)s)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="where the book's trainings run: cpu (the default), or cuda",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        help="reuse the `live` folder of an earlier build instead of training",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT,
        help="build in OUTPUT/_build (default: the repository)",
    )
    parser.add_argument(
        "--execute-only",
        action="store_true",
        help="train and execute the notebooks, render no pages",
    )
    parser.add_argument(
        "--without-solutions",
        action="store_true",
        help="a copy for students: no answer key",
    )
    parser.add_argument(
        "--timeout",
        type=int,
        default=900,
        help="seconds one cell may take (%(default)s)",
    )
    return parser.parse_args(arguments)


def build(options: argparse.Namespace) -> Path:
    """Builds the book.

    Args:
        options: what `parse_arguments` returns.

    Returns:
        The path of the book's first page, or of the executed notebooks where no pages
        are wanted.

    Raises:
        BuildError: a page is missing, a notebook failed, or Jupyter Book warned.
    """
    folder = options.output.resolve() / "_build"
    live = options.runs.resolve() if options.runs else folder / "live"
    stage, unfinished = folder / "stage", folder / "unfinished"
    pages = read_toc()
    training = (
        [] if options.runs else training_jobs(live, options.env_steps, options.device)
    )
    others = page_jobs(pages, stage, page_parameters(live, options.device))
    check_parameters(training + others)
    for old in (stage, unfinished, *([] if options.runs else [live])):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    run = partial(execute, unfinished=unfinished, timeout=options.timeout)
    if training:
        names = " and ".join(LIVE_METHODS)
        with phase(f"Training {names}, {options.env_steps} environment steps each"):
            execute_all(training, run)
    stage_pages(stage, live / f"{LIVE_METHODS[-1]}.ipynb")
    with phase(f"Executing {len(others)} notebooks"):
        execute_all(others, run)
    if options.execute_only:
        return stage
    if options.without_solutions:
        withhold_solutions(stage)
    for page in [page for page in pages if page.startswith("notebooks/")]:
        tidy(stage, page)
    with phase(f"Rendering {len(pages)} pages"):
        render(folder)
    return folder / "html" / "index.html"


@contextmanager
def phase(title: str) -> Iterator[None]:
    """Says what starts, and at the end how long it took."""
    print(f"{title} ...", flush=True)
    start = time.monotonic()
    yield
    print(f"{title}: {time.monotonic() - start:.0f} s", flush=True)


def source_of(page: str) -> Path:
    return ROOT / f"{page}{'.ipynb' if page.startswith('notebooks/') else '.md'}"


def name_of(job: Job) -> str:
    return os.path.relpath(job.source, ROOT)


def read_toc() -> list[str]:
    """The pages of the book, in order. Raises BuildError if one has no file."""
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    pages = re.findall(r"^\s*(?:- file|root): (\S+)", toc, re.MULTILINE)
    missing = [page for page in pages if not source_of(page).is_file()]
    if missing:
        raise BuildError(
            f"book/_toc.yml names pages that do not exist: {', '.join(missing)}."
        )
    return pages


def training_jobs(live: Path, env_steps: int, device: str) -> list[Job]:
    """One execution of the training notebook per live method.

    Args:
        live: the folder that receives runs and executed notebooks.
        env_steps: length of each training, in environment steps.
        device: where the trainings run.
    """
    shared = {
        "game": "turn",
        "seeds": [LIVE_SEED],
        "env_steps": env_steps,
        "overrides": {},
        "processes": 1,
    }
    shared["device"] = device
    shared["results"] = os.path.relpath(live, NOTEBOOKS)
    return [
        Job(source_of(TRAIN), live / f"{name}.ipynb", {"method": name} | shared)
        for name in LIVE_METHODS
    ]


def page_jobs(
    pages: list[str], stage: Path, parameters: dict[str, dict[str, Any]]
) -> list[Job]:
    """One execution per notebook of the book, but not of the training notebook.

    Args:
        pages: the pages of the book, without suffix.
        stage: the folder that receives the executed notebooks.
        parameters: page -> parameter -> value.
    """
    notebooks = [
        page for page in pages if page.startswith("notebooks/") and page != TRAIN
    ]
    return [
        Job(source_of(page), stage / f"{page}.ipynb", parameters.get(page, {}))
        for page in notebooks
    ]


def check_parameters(jobs: list[Job]) -> None:
    """Refuses a parameter that its notebook does not declare; papermill only warns.

    Raises:
        BuildError: there is such a parameter.
    """
    for job in jobs:
        declared = papermill.inspect_notebook(str(job.source)) if job.parameters else {}
        unknown = sorted(set(job.parameters) - set(declared))
        if unknown:
            none = "none (it has no cell tagged `parameters`)"
            raise BuildError(
                f"{name_of(job)} does not declare {', '.join(unknown)}."
                f" It declares: {', '.join(declared) or none}."
            )


def execute_all(jobs: list[Job], run: partial[str]) -> None:
    """Executes notebooks, two at a time.

    Args:
        jobs: the notebooks to execute.
        run: `execute`, with all arguments but the job.

    Raises:
        BuildError: notebooks failed; one line for each.
    """
    # threads do not survive a fork
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        outcomes = zip(jobs, pool.map(run, jobs), strict=True)
        failures = [
            f"\n  {name_of(job)}: {reason}" for job, reason in outcomes if reason
        ]
    if failures:
        raise BuildError(
            f"{len(failures)} of {len(jobs)} notebooks failed:{''.join(failures)}"
        )


def execute(job: Job, unfinished: Path, timeout: int) -> str:
    """Executes one notebook.

    Args:
        job: the notebook, where it goes, and its parameters.
        unfinished: the folder it lies in until every cell has succeeded.
        timeout: seconds one cell may take.

    Returns:
        Why it failed, or the empty string.
    """
    draft = unfinished / job.target.name
    try:
        papermill.execute_notebook(
            str(job.source),
            str(draft),
            job.parameters,
            cwd=str(NOTEBOOKS),
            kernel_name="python3",
            execution_timeout=timeout,
            progress_bar=False,
            # ipykernel warns about the transport of every kernel
            extra_arguments=["--log-level=50"],
        )
    except papermill.PapermillExecutionError as error:
        reason = f"cell [{error.exec_count}] raised {error.ename}: {error.evalue}"
        return f"{reason}\n    See {draft}"
    # a cell out of time, a kernel that died, a notebook that cannot be read
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        return f"{reason}\n    See {draft}"
    draft.write_text(
        json.dumps(without_root(json.loads(draft.read_text("utf-8"))), indent=1),
        "utf-8",
    )
    draft.replace(job.target)
    return ""


def without_root(value: Any) -> Any:
    """The same notebook with every path below the repository made relative to it."""
    if isinstance(value, str):
        return re.sub(rf"(?<![\w/]){re.escape(str(ROOT))}(?:/|(?![\w.-]))", "", value)
    if isinstance(value, list):
        return [without_root(item) for item in value]
    if isinstance(value, dict):
        return {key: without_root(item) for key, item in value.items()}
    return value


def stage_pages(stage: Path, training: Path) -> None:
    """Copies the pages and the executed training; papermill adds the other notebooks.

    Args:
        stage: the folder that receives them.
        training: the executed training notebook.

    Raises:
        BuildError: the training notebook is not there.
    """
    if not training.is_file():
        raise BuildError(
            f"{training.parent} has no {training.name}."
            " Give --runs the `live` folder of a build."
        )
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "book", stage / "book", ignore=ignore)
    # pages quote it
    shutil.copytree(ROOT / "ciacore", stage / "ciacore", ignore=ignore)
    shutil.copy(ROOT / "CHANGELOG.md", stage)
    shutil.copytree(ROOT / "env" / "starcraft2", stage / "env" / "starcraft2")
    (stage / "notebooks").mkdir()
    shutil.copy(training, stage / f"{TRAIN}.ipynb")


def withhold_solutions(stage: Path) -> None:
    """Takes solutions out of staged pages, and the hide-cell cells that check them."""
    solution = re.compile(r"^(`{3,})\{solution\}.*?^\1\n", re.MULTILINE | re.DOTALL)
    for path in stage.glob("*/**/*.md"):
        path.write_text(
            solution.sub("", path.read_text(encoding="utf-8")), encoding="utf-8"
        )
    for path in stage.glob("notebooks/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            cell
            for cell in notebook["cells"]
            if "hide-cell" not in cell["metadata"].get("tags", [])
        ]
        for cell in cells:
            if cell["cell_type"] == "markdown":
                cell["source"] = solution.sub("", "".join(cell["source"]) + "\n")
        path.write_text(json.dumps({**notebook, "cells": cells}), encoding="utf-8")


def render(folder: Path) -> None:
    """Runs Jupyter Book on the stage.

    Raises:
        BuildError: Jupyter Book warned; files are named as in the repository.
    """
    shutil.rmtree(folder / "html", ignore_errors=True)
    stage = folder / "stage"
    command = [*JUPYTER_BOOK, str(stage), "--path-output", str(folder.parent), *STRICT]
    command += [
        "--config",
        str(stage / "book" / "_config.yml"),
        "--toc",
        str(stage / "book" / "_toc.yml"),
    ]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    if result.returncode:
        report = re.sub(r"\x1b\[[\d;]*m", "", result.stdout)
        raise BuildError(
            f"Jupyter Book reports:\n{report.replace(f'{stage}{os.sep}', '')}"
        )
    try:
        write_slides(ROOT / "book" / "slides.md", stage, folder / "html")
    except KeyError as error:
        raise BuildError(
            f"book/slides.md names {error}, which no page of the book has."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
