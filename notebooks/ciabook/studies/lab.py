"""Runs a study, or says how it stands.

The library knows what is missing; Snakemake only schedules it.

    python -m ciabook.studies.lab run STUDY
        trains what is missing, several runs at once, then says how the study stands
    python -m ciabook.studies.lab status STUDY
        a table; exit code 0: all done, 1: something failed or is damaged, 3: missing
    python -m ciabook.studies.lab missing STUDY
        the keys of what is missing
    python -m ciabook.studies.lab memory STUDY
        the memory that a run asks for, by game and method
    python -m ciabook.studies.lab exec STUDY KEY
        one of them: executes notebooks/train.ipynb, and checks what it left

STUDY is a name, or the path of a file with a study of one's own, which is executed.

A key is `<game>~<method>~<seed>`, of one run. With `--device cuda` the keys are fewer,
since a GPU computes together what counts alike (`ciacore.train_methods`):
`<game>~<method>~<seed>+<seed>` are seeds of one method, and
`<game>~like:<method>~<seed>+<seed>` those of all methods of the study that count like
it. Such a key does not list its methods: there may be too many for a file name. Of what
it names, `exec` trains what is missing then.

All of a key are trained by one execution of one notebook, which is told the other
methods as `beside`: several notebooks could not share a graph, and a second notebook
for it would say the same again.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import papermill
import torch

from ciabook.page.kernel import own_kernel
from ciabook.studies.own import is_own
from ciabook.studies.runs import Entry
from ciabook.studies.study import (
    STUDIES,
    Standing,
    difference,
    failure_file,
    find,
    folder_of,
    game_of,
    place_of,
    strangers,
    survey,
)
from ciacore.config import Config
from ciacore.methods import assemble
from ciacore.runtime.cuda_graphs import capturable
from ciacore.runtime.files import write_whole
from ciacore.runtime.memory import run_megabytes
from ciacore.runtime.one_core import cores
from ciacore.training import schedule_of
from ciacore.types import InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
SNAKEMAKE = ROOT / ".venv-study" / "bin" / "snakemake"
# what the scheduler is always asked for: only what is missing is done, whatever stamps
# an earlier run has left
ALWAYS = (
    "--nolock",
    "--rerun-incomplete",
    "--keep-going",
    "--forcerun",
    "all",
    "--quiet",
    "host",
    "progress",
    "rules",
    "reason",
)
# in a key, before the method that others count like; no method's name has a colon
LIKE = "like:"
LAST_LINES = 8  # of what Snakemake said before it failed
# exit codes
FAILED = 1
MISSING = 3
# of a run, after which SLURM ends it; the next try goes on from its checkpoint
MINUTES = 240


def key(*entries: Entry) -> str:
    """The name of a run for Snakemake, or of several that are trained together.

    Args:
        entries: runs of one game that count alike.
    """
    first = entries[0]
    methods = {entry.config.method for entry in entries}
    like = LIKE if len(methods) > 1 else ""
    seeds = dict.fromkeys(str(entry.seed) for entry in entries)
    return f"{first.game}~{like}{first.config.method}~{'+'.join(seeds)}"


def named(study: str, wanted: str) -> list[Entry]:
    """The runs of a study with a key.

    Args:
        study: as `find` takes it.
        wanted: the key.

    Returns:
        In the order of the key; where it names methods that count alike, in that of the
        study.

    Raises:
        InvalidInputError: the study has none.
    """
    start, _, last = wanted.rpartition("~")
    game, _, method = start.rpartition("~")
    entries, seeds = find(study), last.split("+")
    known = {key(entry): entry for entry in entries}
    keys = [f"{game}~{method.removeprefix(LIKE)}~{seed}" for seed in seeds]
    found = [known[each] for each in keys if each in known]
    if method.startswith(LIKE):
        of_these = {alike(entry) for entry in found}
        found = [
            entry
            for entry in entries
            if alike(entry) in of_these and str(entry.seed) in seeds
        ]
    if {str(entry.seed) for entry in found} != set(seeds):
        refuse(
            "key",
            f"a run of the study {study}, as `lab missing {study}` prints them",
            wanted,
            "Correct it.",
        )
    return found


def alike(entry: Entry) -> Hashable:
    """What the runs have in common that one CUDA graph can hold: game and schedule.

    Args:
        entry: a run.
    """
    return entry.game, schedule_of(entry.config)


def status(study: str, results: Path) -> int:
    """Prints a table of a study's runs, and returns the exit code.

    Args:
        study: as `find` takes it.
        results: the folder of all runs.
    """
    entries = find(study)
    found = survey(entries, results)
    width = max(len(key(each.entry)) for each in found)
    counts: dict[str, int] = {}
    for each in found:
        print(f"{key(each.entry):{width}}  {each.state:8} {each.detail}".rstrip())
        counts[each.state] = counts.get(each.state, 0) + 1
    for path in strangers(entries, results):
        print(
            f"{path}: belongs to no study; train under its own results folder, or move "
            "it away"
        )
    parts = [f"{count} {state}" for state, count in counts.items()]
    print(f"{short(study)}: {', '.join(parts)} of {len(found)}")
    return exit_code(found)


def short(study: str) -> str:
    """What a study is called: the path of a file without folder and ending."""
    return Path(study).stem if is_own(study) else study


def exit_code(found: Sequence[Standing]) -> int:
    """0 where everything is done."""
    states = {each.state for each in found}
    if states & {"failed", "damaged"}:
        return FAILED
    return 0 if states <= {"done"} else MISSING


def missing(study: str, results: Path, device: str = "cpu") -> list[str]:
    """The keys of all runs that are neither done nor damaged, first seeds first.

    On a GPU all runs of a game that count alike are one key: they advance together, as
    one CUDA graph.

    Args:
        study: as `find` takes it.
        results: the folder of all runs.
        device: "cpu" or "cuda".
    """
    return [key(*group) for group in groups(study, results, device)]


def groups(study: str, results: Path, device: str) -> list[list[Entry]]:
    """What is missing, as `missing` has it: the entries of every key.

    Args:
        study: as `find` takes it.
        results: the folder of all runs.
        device: "cpu" or "cuda".
    """
    lacking = []
    for each in survey(find(study), results):
        if each.state not in ("done", "damaged"):
            lacking.append(each.entry)
    if device == "cpu":
        return [[entry] for entry in lacking]
    gpu = torch.device("cuda")
    in_graphs = {
        name: capturable(game_of(name), gpu)
        for name in dict.fromkeys(entry.game for entry in lacking)
    }
    found: dict[Hashable, list[Entry]] = {}
    for entry in lacking:
        # What ends early is trained one seed after the other, by method.
        by = alike(entry) if in_graphs[entry.game] else (entry.game, entry.config)
        found.setdefault(by, []).append(entry)
    return list(found.values())


def megabytes(entries: Sequence[Entry]) -> dict[tuple[str, Config], int]:
    """The memory of one run of every game and method, in MiB.

    Every game and method is made once for it, so that a study that cannot be trained
    here says so before anything is.

    Args:
        entries: the runs.

    Raises:
        InvalidInputError: a game that is not installed here, a name in a Config that
            nothing has, or parts that do not go together.
    """
    found = {}
    games = {name: game_of(name) for name in {entry.game for entry in entries}}
    for entry in entries:
        if (entry.game, entry.config) not in found:
            spec = games[entry.game].spec
            assemble(spec, entry.config)
            found[entry.game, entry.config] = run_megabytes(spec, entry.config)
    return found


def memory(study: str) -> int:
    """Prints what a run of every game and method asks for, and returns 0."""
    found = megabytes(find(study))
    width = max(len(f"{game}~{config.method}") for game, config in found)
    for (game, config), needed in found.items():
        print(f"{f'{game}~{config.method}':{width}}  {needed:6} MiB")
    return 0


def run(
    study: str, results: Path, jobs: int, device: str, options: Sequence[str]
) -> int:
    """Trains what is missing, and goes on where it was interrupted.

    Args:
        study: as `find` takes it.
        results: the folder of all runs; it is made.
        jobs: runs at once.
        device: "cpu" or "cuda".
        options: for Snakemake; where there are any, `jobs` does not count.

    Returns:
        The exit code of `status`.

    Raises:
        InvalidInputError: another process runs the study, or there is no Snakemake.
    """
    if jobs < 1:
        refuse("jobs", "a whole number of at least 1", jobs, "Write e.g. JOBS=2.")
    try:
        results.mkdir(parents=True, exist_ok=True)
        lock = open(results / f".{short(study)}.lock", "a")
    except OSError as error:
        got = f"{results} ({error.strerror})"
        refuse("results", "a folder that can be written", got, "Choose another folder.")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse(
                "study",
                "a study that no other `lab run` is at work on",
                study,
                "Wait for it, or look at its status.",
            )
        except OSError as error:
            got = f"{results} ({error.strerror})"
            cure = "Choose a folder on another file system."
            refuse("results", "a folder whose files can be locked", got, cure)
        lacking = groups(study, results, device)
        if lacking:
            if not SNAKEMAKE.exists():
                refuse(
                    "study",
                    f"Snakemake in {SNAKEMAKE}",
                    "none there",
                    f"Use `make study STUDY={study}`.",
                )
            schedule(study, results, lacking, jobs, device, options)
    return status(study, results)


def schedule(
    study: str,
    results: Path,
    lacking: Sequence[Sequence[Entry]],
    jobs: int,
    device: str,
    options: Sequence[str],
) -> None:
    """Lets Snakemake run what is missing; arguments as for `run`.

    Where it fails and no run says why, the last that it said is shown.

    Args:
        study: as `find` takes it.
        results: the folder of all runs.
        lacking: the entries of every key that is missing.
        jobs: runs at once.
        device: "cpu" or "cuda".
        options: for Snakemake; where there are any, `jobs` does not count.
    """
    needed = megabytes([entry for group in lacking for entry in group])
    plan = {
        key(*group): {
            "mem_mb": sum(needed[entry.game, entry.config] for entry in group)
        }
        for group in lacking
    }
    work = results / ".snakemake-work"
    work.mkdir(exist_ok=True)
    file, log = work / f"{short(study)}.json", work / f"{short(study)}.log"
    told = {"study": study, "results": str(results), "device": device}
    told |= {"python": sys.executable, "minutes": MINUTES, "plan": plan}
    write_whole(file, json.dumps(told))
    command = [
        SNAKEMAKE,
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        work,
        "--configfile",
        file,
        *ALWAYS,
    ]
    command += options if options else ["--cores", str(jobs)]
    # Killed, not asked: on SIGTERM Snakemake 9 waits for its jobs, or for ever if it is
    # just choosing the next.
    killed_with_us = partial(die_with_parent, signal.SIGKILL)
    with (
        open(log, "wb") as errors,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_in(work),
            stderr=errors,
            preexec_fn=killed_with_us,
        ) as scheduler,
    ):
        try:
            code = scheduler.wait()
        except KeyboardInterrupt:
            scheduler.send_signal(signal.SIGINT)
            scheduler.wait()
            raise
    entries = [entry for group in lacking for entry in group]
    silent = any(each.state == "missing" for each in survey(entries, results))
    if code != 0 and silent:
        said = log.read_text("utf-8", "replace").strip().splitlines()
        print(f"lab: Snakemake ended with exit code {code}; {log} ends:")
        print("\n".join(f"    {line}" for line in said[-LAST_LINES:]))


def environment_in(work: Path) -> dict[str, str]:
    """This process's environment, with a cache folder that can be written.

    Snakemake does not start without one. Where the home folder has none, it lies in
    `work`.
    """
    home = os.path.expanduser("~")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path(home) / ".cache")
    try:
        if not cache.is_absolute():  # nobody's home, or not as XDG has it
            raise FileNotFoundError(cache)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return dict(os.environ)
    except OSError:
        return {**os.environ, "XDG_CACHE_HOME": str(work / "cache")}


def execute(
    entries: Sequence[Entry], results: Path, device: str, code: str = ""
) -> int:
    """Trains what is missing of some runs, and says what has become of them.

    Nothing is done where all of them are done. Whether a run succeeded is judged by its
    folder alone.

    Args:
        entries: runs of one game that count alike.
        results: the folder of all runs.
        device: "cpu" or "cuda".
        code: a file that the notebook executes first; "" where there is none.

    Returns:
        The exit code, which is 0 where all of them are done.
    """
    found = survey(entries, results)
    if all(each.state == "done" for each in found):
        return 0
    if "SLURM_JOB_ID" not in os.environ:
        die_with_parent()
    lacking = [each.entry for each in found if each.state not in ("done", "damaged")]
    left = through_papermill(lacking, results, device, code) if lacking else []
    found = survey(entries, results)
    for each in found:
        print(f"{key(each.entry)}: {each.state} {each.detail}".rstrip())
    if exit_code(found) != 0:
        return FAILED
    for file in left:
        file.unlink(missing_ok=True)
    return 0


def through_papermill(
    entries: Sequence[Entry], results: Path, device: str, code: str
) -> list[Path]:
    """An execution of the training notebook; why it failed is written down.

    Args:
        entries: runs of one game that count alike, none of them done or damaged.
        results: the folder of all runs.
        device: "cpu" or "cuda".
        code: a file that the notebook executes first; "" where there is none.

    Returns:
        The notebook as it ran, and what was printed as errors.
    """
    folders = [folder_of(entry, results) for entry in entries]
    folders[0].parent.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        failure_file(folder).unlink(missing_ok=True)
    page = folders[0].with_name(f".{folders[0].name}.ipynb")
    log = page.with_suffix(".log")
    signal.signal(signal.SIGTERM, interrupt)
    try:
        parameters = notebook_parameters(entries, results, device)
        if code:
            parameters["code"] = code
        check_declared(parameters)
        with errors_to(log), own_kernel() as kernel:
            papermill.execute_notebook(
                str(NOTEBOOK),
                str(page),
                parameters,
                cwd=str(NOTEBOOK.parent),
                progress_bar=False,
                kernel_name=kernel,
            )
    except Exception as error:  # whatever stops a notebook: the reason is written down
        failed = [
            each.entry for each in survey(entries, results) if each.state == "missing"
        ]
        reason = last_line(error)
        if len(failed) > 1:  # the notebook tells the first error alone
            reason += f" (the first error of {len(failed)} runs that failed together)"
        for entry in failed:
            write_whole(failure_file(folder_of(entry, results)), reason + "\n")
    return [page, log]


def notebook_parameters(
    entries: Sequence[Entry], results: Path, device: str
) -> dict[str, Any]:
    """The parameters of the training notebook for runs that it trains together.

    The first method is told as one that is trained alone; others stand in `beside`.

    Args:
        entries: runs of one game that count alike.
        results: the folder of all runs.
        device: "cpu" or "cuda".
    """
    seeds: dict[Config, list[int]] = {}
    for entry in entries:
        seeds.setdefault(entry.config, []).append(entry.seed)
    told = []
    for config, of_method in seeds.items():
        method, overrides = difference(config)
        told.append({"method": method, "seeds": of_method, "overrides": overrides})
    first, *others = told
    return {
        **first,
        **({"beside": others} if others else {}),
        "game": entries[0].game,
        "env_steps": entries[0].config.env_steps,
        "results": str(results),
        "device": device,
        "processes": 1,
    }


def check_declared(parameters: dict[str, Any]) -> None:
    """Refuses parameters that the training notebook does not declare.

    Raises:
        InvalidInputError: there are some; papermill would only warn.
    """
    declared = papermill.inspect_notebook(str(NOTEBOOK))
    if not set(parameters) <= set(declared):
        refuse(
            "parameters",
            f"those of {NOTEBOOK.name}, {', '.join(declared)}",
            sorted(parameters),
            "Update both.",
        )


def last_line(error: Exception) -> str:
    """The kind of an error and the last line of its message, in one line.

    An error inside a notebook carries its own kind and message.
    """
    kind = getattr(error, "ename", "") or type(error).__name__
    message = str(getattr(error, "evalue", "") or error).strip()
    lines = message.splitlines() or [type(error).__name__]
    return f"{kind}: {lines[-1]}"


def interrupt(number: int, frame: Any) -> NoReturn:
    """Ends a notebook as Ctrl-C does: the training in it keeps a checkpoint.

    Args:
        number: of the signal.
        frame: where it came.

    Raises:
        KeyboardInterrupt: always.
    """
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


def die_with_parent(by: int = signal.SIGTERM) -> None:
    """On Linux: this process gets a signal when its parent is gone, however it went.

    Args:
        by: the signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, by)  # PR_SET_PDEATHSIG


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "status", "missing", "memory", "exec"):
        sub = verbs.add_parser(verb)
        known = ", ".join(STUDIES)
        sub.add_argument("study", help=f"one of {known}, or a file of your own")
        sub.add_argument(
            "--results", type=Path, help="by default where the study has its runs"
        )
        if verb == "exec":
            sub.add_argument("key")
        if verb != "status":
            sub.add_argument("--device", default="cpu")
        if verb == "run":
            sub.add_argument(
                "--jobs",
                type=int,
                default=cores(),
                help="runs at once on this machine",
            )
            sub.add_argument(
                "--snakemake",
                default="",
                help='more for Snakemake, e.g. "--profile env/slurm"',
            )
    options = parser.parse_args(arguments)
    study = options.study
    if is_own(study):
        study = str(Path(study).resolve())
    results = (options.results or place_of(study)).resolve()
    try:
        if options.verb == "run":
            more = shlex.split(options.snakemake)
            return run(study, results, options.jobs, options.device, more)
        if options.verb == "exec":
            code = study if is_own(study) else ""
            entries = named(study, options.key)
            return execute(entries, results, options.device, code)
        if options.verb == "memory":
            return memory(study)
        if options.verb == "missing":
            print(json.dumps(missing(study, results, options.device)))
            return 0
        return status(study, results)
    except InvalidInputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
