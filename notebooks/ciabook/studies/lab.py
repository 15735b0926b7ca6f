"""Runs a study, or says how it stands. The library knows what is missing; Snakemake only schedules it.

python -m ciabook.studies.lab run STUDY        trains what is missing, several runs at
once, then says how the study stands python -m ciabook.studies.lab status STUDY     a
table; exit code 0: all done, 1: something failed or is damaged, 3: missing python -m
ciabook.studies.lab missing STUDY    the keys of what is missing, for the Snakefile
python -m ciabook.studies.lab exec STUDY KEY   one of them: executes
notebooks/train.ipynb, and checks what it left
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import papermill

from ciabook.studies.study import (
    STUDIES,
    Entry,
    Standing,
    difference,
    failure_file,
    find,
    standing,
    strangers,
    survey,
)
from ciacore.config import Config
from ciacore.runtime.store import run_folder
from ciacore.types import InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
RESULTS = ROOT / "book" / "results" / "study"
SNAKEMAKE = ROOT / ".venv-study" / "bin" / "snakemake"
FAILED, MISSING = 1, 3  # exit codes


def key(*entries: Entry) -> str:
    """The name of a run for Snakemake, or of several seeds of one method: `<game>~<method>~<seed>+<seed>`."""
    return f"{entries[0].game}~{entries[0].config.method}~{'+'.join(str(entry.seed) for entry in entries)}"


def named(study: str, wanted: str) -> list[Entry]:
    """The runs of a study with this key.

    Raises:
        InvalidInputError: the study has none.
    """
    start, _, seeds = wanted.rpartition("~")
    known = {key(entry): entry for entry in find(study)}
    keys = [f"{start}~{seed}" for seed in seeds.split("+")]
    if not set(keys) <= set(known):
        refuse(
            "key",
            f"a run of the study {study}, as `lab missing {study}` prints them",
            wanted,
            "Correct it.",
        )
    return [known[each] for each in keys]


def status(study: str, results: Path) -> int:
    """Prints a table of a study's runs, and returns the exit code."""
    found = survey(find(study), results)
    width = max(len(key(each.entry)) for each in found)
    for each in found:
        print(f"{key(each.entry):{width}}  {each.state:8} {each.detail}".rstrip())
    for path in strangers(find(study), results):
        print(
            f"{path}: belongs to no study; train under its own results folder, or move it away"
        )
    counts = {
        state: sum(each.state == state for each in found)
        for state in dict.fromkeys(s.state for s in found)
    }
    print(
        f"{study}: "
        + ", ".join(f"{count} {state}" for state, count in counts.items())
        + f" of {len(found)}"
    )
    return exit_code(found)


def exit_code(found: Sequence[Standing]) -> int:
    """0 where everything is done."""
    states = {each.state for each in found}
    if states & {"failed", "damaged"}:
        return FAILED
    return 0 if states <= {"done"} else MISSING


def missing(study: str, results: Path, device: str = "cpu") -> list[str]:
    """The keys of all runs that are neither done nor damaged, those of the first seeds first.

    On a GPU all seeds of a method are one key: they advance together, as one CUDA
    graph.
    """
    lacking = [
        each.entry
        for each in survey(find(study), results)
        if each.state not in ("done", "damaged")
    ]
    if device == "cpu":
        return [key(entry) for entry in lacking]
    groups: dict[tuple[str, Config], list[Entry]] = {}
    for entry in lacking:
        groups.setdefault((entry.game, entry.config), []).append(entry)
    return [key(*group) for group in groups.values()]


def run(
    study: str, results: Path, jobs: int, device: str, options: Sequence[str]
) -> int:
    """Trains what is missing, and goes on where it was interrupted. Returns the exit code of `status`."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / f".{study}.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(
                "study",
                "a study that no other `lab run` is at work on",
                study,
                "Wait for it, or look at its status.",
            )
        if missing(study, results, device):
            told = {
                "study": study,
                "results": str(results),
                "python": sys.executable,
                "device": device,
            }
            if not SNAKEMAKE.exists():
                refuse(
                    "study",
                    f"Snakemake in {SNAKEMAKE}",
                    "none there",
                    f"Use `make study STUDY={study}`.",
                )
            command = [
                SNAKEMAKE,
                "--snakefile",
                ROOT / "Snakefile",
                "--directory",
                results / ".snakemake-work",
            ]
            command += [
                "--config",
                *(f"{name}={value}" for name, value in told.items()),
            ]
            command += [
                "--nolock",
                "--rerun-incomplete",
                "--keep-going",
                "--forcerun",
                "all",
                "--quiet",
                "all",
            ]
            command += [*options] if options else ["--cores", str(jobs)]
            # Killed, not asked: on SIGTERM Snakemake 9 waits for its jobs, or for ever
            # if it is just choosing the next.
            with subprocess.Popen(
                command, cwd=ROOT, preexec_fn=partial(die_with_parent, signal.SIGKILL)
            ) as scheduler:
                try:
                    scheduler.wait()
                except KeyboardInterrupt:
                    scheduler.send_signal(signal.SIGINT)
                    scheduler.wait()
                    raise
    return status(study, results)


def execute(entries: Sequence[Entry], results: Path, device: str) -> int:
    """A papermill execution of the training notebook for seeds of one method; nothing where all are done.

    Whether a run succeeded is judged by its folder alone. Returns the exit code.
    """
    if all(standing(entry, results).state == "done" for entry in entries):
        return 0
    if "SLURM_JOB_ID" not in os.environ:
        die_with_parent()
    config, game = entries[0].config, entries[0].game
    folders = [
        run_folder(results, game, config.method, entry.seed) for entry in entries
    ]
    folders[0].parent.mkdir(parents=True, exist_ok=True)
    # as it runs; it goes when the runs are complete
    page = folders[0].with_name(f".{folders[0].name}.ipynb")
    method, overrides = difference(config)
    parameters = {
        "method": method,
        "game": game,
        "seeds": [entry.seed for entry in entries],
    }
    parameters |= {
        "env_steps": config.env_steps,
        "overrides": overrides,
        "results": str(results),
    }
    parameters |= {"device": device, "processes": 1}
    for folder in folders:
        failure_file(folder).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        told = papermill.inspect_notebook(str(NOTEBOOK))
        if not set(parameters) <= set(told):
            refuse(
                "parameters",
                f"those of {NOTEBOOK.name}, {', '.join(told)}",
                sorted(parameters),
                "Update both.",
            )
        with errors_to(page.with_suffix(".log")):
            papermill.execute_notebook(
                str(NOTEBOOK),
                str(page),
                parameters,
                cwd=str(NOTEBOOK.parent),
                progress_bar=False,
                kernel_name="python3",
            )
    except Exception as error:  # whatever stops a notebook: the reason is written down
        reason = str(getattr(error, "evalue", "") or error).strip().splitlines() or [
            type(error).__name__
        ]
        kind = getattr(error, "ename", "") or type(error).__name__
        for entry, folder in zip(entries, folders, strict=True):
            if standing(entry, results).state == "missing":
                write(failure_file(folder), f"{kind}: {reason[-1]}")
    found = survey(entries, results)
    if exit_code(found) == 0:
        for leftover in (page, page.with_suffix(".log")):
            leftover.unlink(missing_ok=True)
    for each in found:
        print(f"{key(each.entry)}: {each.state} {each.detail}".rstrip())
    return 0 if exit_code(found) == 0 else FAILED


def interrupt(number: int, frame: Any) -> NoReturn:
    """Ends a notebook as Ctrl-C does: the training in it keeps a checkpoint."""
    raise KeyboardInterrupt


@contextmanager
def errors_to(path: Path) -> Iterator[None]:
    """Sends what this process and its children print as errors to a file."""
    kept = os.dup(2)
    with open(path, "wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text + "\n")
    os.replace(part, path)


def die_with_parent(by: int = signal.SIGTERM) -> None:
    """On Linux: this process gets a signal when its parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, by)  # PR_SET_PDEATHSIG


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "status", "missing", "exec"):
        sub = verbs.add_parser(verb)
        sub.add_argument("study", help=f"one of {', '.join(STUDIES)}")
        sub.add_argument("--results", type=Path, default=RESULTS)
        if verb == "exec":
            sub.add_argument("key")
        if verb != "status":
            sub.add_argument("--device", default="cpu")
        if verb == "run":
            sub.add_argument(
                "--jobs",
                type=int,
                default=os.cpu_count() or 1,
                help="runs at once on this machine",
            )
            sub.add_argument(
                "--snakemake",
                default="",
                help='more for Snakemake, e.g. "--profile env/slurm"',
            )
    options = parser.parse_args(arguments)
    results = options.results.resolve()
    try:
        if options.verb == "run":
            return run(
                options.study,
                results,
                options.jobs,
                options.device,
                options.snakemake.split(),
            )
        if options.verb == "exec":
            return execute(named(options.study, options.key), results, options.device)
        if options.verb == "missing":
            print(json.dumps(missing(options.study, results, options.device)))
            return 0
        return status(options.study, results)
    except InvalidInputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
