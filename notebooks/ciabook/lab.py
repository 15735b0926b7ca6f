"""Runs a study, or says how it stands. The library knows what is missing; Snakemake only schedules it.

python -m ciabook.lab run STUDY        trains what is missing, several runs at once, then says how the study stands
python -m ciabook.lab status STUDY     a table; exit code 0: all done, 1: something failed or is damaged, 3: missing
python -m ciabook.lab missing STUDY    the keys of what is missing, for the Snakefile
python -m ciabook.lab exec STUDY KEY   one of them: executes notebooks/train.ipynb, and checks what it left
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
from pathlib import Path
from types import FrameType
from typing import NoReturn

import papermill

from ciabook.study import STUDIES, Entry, Standing, difference, failure_file, find, standing, strangers, survey
from ciacore.store import run_folder
from ciacore.types import InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
RESULTS = ROOT / "book" / "results" / "study"
SNAKEMAKE = ROOT / ".venv-study" / "bin" / "snakemake"
FAILED, MISSING = 1, 3  # exit codes


def key(entry: Entry) -> str:
    """A run's name for Snakemake: `<game>~<method>~<seed>`."""
    return f"{entry.game}~{entry.config.method}~{entry.seed}"


def named(study: str, wanted: str) -> Entry:
    """The run of a study with this key.

    Raises:
        InvalidInputError: the study has none.
    """
    for entry in find(study):
        if key(entry) == wanted:
            return entry
    refuse("key", f"a run of the study {study}, as `lab missing {study}` prints them", wanted, "Correct it.")


def status(study: str, results: Path) -> int:
    """Prints a table of a study's runs, and returns the exit code."""
    found = survey(find(study), results)
    width = max(len(key(each.entry)) for each in found)
    for each in found:
        print(f"{key(each.entry):{width}}  {each.state:8} {each.detail}".rstrip())
    for path in strangers(find(study), results):
        print(f"{path}: belongs to no study; train under its own results folder, or move it away")
    counts = {state: sum(each.state == state for each in found) for state in dict.fromkeys(s.state for s in found)}
    print(f"{study}: " + ", ".join(f"{count} {state}" for state, count in counts.items()) + f" of {len(found)}")
    return exit_code(found)


def exit_code(found: Sequence[Standing]) -> int:
    """0 where everything is done."""
    states = {each.state for each in found}
    if states & {"failed", "damaged"}:
        return FAILED
    return 0 if states <= {"done"} else MISSING


def missing(study: str, results: Path) -> list[str]:
    """The keys of all runs that are neither done nor damaged, those of the first seeds first."""
    return [key(each.entry) for each in survey(find(study), results) if each.state not in ("done", "damaged")]


def run(study: str, results: Path, jobs: int, device: str, options: Sequence[str]) -> int:
    """Trains what is missing, and goes on where it was interrupted. Returns the exit code of `status`."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / f".{study}.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(
                "study", "a study that no other `lab run` is at work on", study, "Wait for it, or look at its status."
            )
        if missing(study, results):
            told = {"study": study, "results": str(results), "python": sys.executable, "device": device}
            if not SNAKEMAKE.exists():
                refuse("study", f"Snakemake in {SNAKEMAKE}", "none there", f"Use `make study STUDY={study}`.")
            command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", results / ".snakemake-work"]
            command += ["--config", *(f"{name}={value}" for name, value in told.items())]
            command += ["--nolock", "--rerun-incomplete", "--keep-going", "--forcerun", "all", "--quiet", "all"]
            command += [*options] if options else ["--cores", str(jobs)]
            with subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent) as scheduler:
                try:
                    scheduler.wait()
                except KeyboardInterrupt:
                    scheduler.send_signal(signal.SIGINT)
                    scheduler.wait()
                    raise
    return status(study, results)


def execute(entry: Entry, results: Path, device: str) -> int:
    """One run: nothing where it is done, else a papermill execution of the training notebook. Returns the exit code.

    Whether it succeeded is judged by the run folder alone.
    """
    if standing(entry, results).state == "done":
        return 0
    if "SLURM_JOB_ID" not in os.environ:
        die_with_parent()
    folder = run_folder(results, entry.game, entry.config.method, entry.seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    page = folder.with_name(f".{folder.name}.ipynb")  # as it runs; it goes when the run is complete
    method, overrides = difference(entry.config)
    parameters = {"method": method, "game": entry.game, "seeds": [entry.seed], "env_steps": entry.config.env_steps}
    parameters |= {"overrides": overrides, "results": str(results), "device": device, "processes": 1}
    failure_file(folder).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        told = papermill.inspect_notebook(str(NOTEBOOK))
        if not set(parameters) <= set(told):
            refuse("parameters", f"those of {NOTEBOOK.name}, {', '.join(told)}", sorted(parameters), "Update both.")
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
        reason = str(getattr(error, "evalue", "") or error).strip().splitlines() or [type(error).__name__]
        kind = getattr(error, "ename", "") or type(error).__name__
        if standing(entry, results).state == "missing":
            write(failure_file(folder), f"{kind}: {reason[-1]}")
    found = standing(entry, results)
    if found.state == "done":
        for leftover in (page, page.with_suffix(".log")):
            leftover.unlink(missing_ok=True)
    print(f"{key(entry)}: {found.state} {found.detail}".rstrip())
    return 0 if found.state == "done" else FAILED


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
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


def die_with_parent() -> None:
    """On Linux: this process is ended when its parent is gone, however it went."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


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
        if verb in ("run", "exec"):
            sub.add_argument("--device", default="cpu")
        if verb == "run":
            sub.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once on this machine")
            sub.add_argument("--snakemake", default="", help='more for Snakemake, e.g. "--profile env/slurm"')
    options = parser.parse_args(arguments)
    results = options.results.resolve()
    try:
        if options.verb == "run":
            return run(options.study, results, options.jobs, options.device, options.snakemake.split())
        if options.verb == "exec":
            return execute(named(options.study, options.key), results, options.device)
        if options.verb == "missing":
            print(json.dumps(missing(options.study, results)))
            return 0
        return status(options.study, results)
    except InvalidInputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
