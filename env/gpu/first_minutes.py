"""The first six minutes on a GPU: what decides the design, then every method.

    python env/gpu/first_minutes.py [--out FILE]
    python env/gpu/first_minutes.py --ask
    python env/gpu/first_minutes.py --stand-in --out FILE

Every part is a process of its own with a limit of its own, and one that fails or hangs
stops no other: what it said last takes its place in the results, which are JSON with
their provenance. `--ask` only says whether there is a GPU. `--stand-in` is a dry run
without one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ciacore import METHODS
from ciacore.runtime.cuda_graphs import WARM_UP
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.stacked_seeds import not_stackable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "book" / "results" / "bench" / "gpu_first_minutes.json"
NO_GPU = "This machine has no NVIDIA GPU that torch can use; speed on a CPU: make bench"
AT_ONCE = 4  # processes that only look whether a method works
LAST_WORDS = 6  # lines kept of a part that failed


class Part(NamedTuple):
    """A process."""

    name: str
    command: tuple[str, ...]  # a file of this folder, and its arguments
    seconds: int  # after which it is ended
    environment: dict[str, str] = {}  # noqa: RUF012  (never changed)
    beside: bool = False  # may run beside others: its times say little


def parts() -> list[Part]:
    """All of them, the most important ones first."""
    eight = {"CUDA_DEVICE_MAX_CONNECTIONS": "8"}  # CUDA's default
    found = [
        Part("graphs", ("graphs.py",), 60),
        Part("graphs, 8 connections", ("graphs.py",), 60, eight),
        Part("qmix_cia", ("method.py", "qmix_cia", "1"), 60),
    ]
    for method in METHODS:
        if method != "qmix_cia":
            command = ("method.py", method, "1")
            found.append(Part(method, command, 90, beside=True))
    for method in METHODS:
        if method != "qmix_cia" and not not_stackable(METHODS[method]):
            command = ("method.py", method, "2")
            found.append(Part(f"{method}, 2 seeds", command, 90, beside=True))
    for seeds in (5, 16, 32, 70):
        command = ("method.py", "qmix_cia", str(seeds))
        found.append(Part(f"qmix_cia, {seeds} seeds", command, 120))
    for seeds in (5, 16):
        command = ("method.py", "qmix_cia", str(seeds), "--branches")
        found.append(Part(f"qmix_cia, {seeds} branches", command, 120))
    found.append(Part("all methods, 5 seeds", ("methods.py", "5"), 240))
    quickly = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}
    found.append(Part("battle", ("battle.py",), 150, quickly))
    return found


def run(part: Part, stand_in: bool) -> dict[str, Any]:
    """What a part prints last, or how it failed.

    Args:
        part: the process.
        stand_in: whether it is a dry run.
    """
    patience = 10 if stand_in else 1  # a busy core is no GPU
    script, *arguments = part.command
    command = [sys.executable, str(HERE / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    if stand_in:
        command.append("--stand-in")
    else:
        environment |= part.environment
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patience * part.seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": [f"not done after {part.seconds} s"]}
    if done.returncode:
        lines = (done.stderr or done.stdout).splitlines()[-LAST_WORDS:]
        return {"error": [f"exit code {done.returncode}", *lines]}
    return {**json.loads(done.stdout.splitlines()[-1]), "beside": part.beside}


def run_all(listed: list[Part], stand_in: bool) -> dict[str, dict[str, Any]]:
    """What every part found, by name; it is also shown as it comes.

    Args:
        listed: the parts, in their order; those that may run beside others do.
        stand_in: whether it is a dry run.
    """
    found = {}

    def note(part: Part) -> None:
        found[part.name] = run(part, stand_in)
        print(part.name, json.dumps(found[part.name]), sep=": ", flush=True)

    for beside, group in groupby(listed, lambda part: part.beside):
        with ThreadPoolExecutor(AT_ONCE if beside else 1) as pool:
            list(pool.map(note, group))
    return {part.name: found[part.name] for part in listed}


def main() -> int:
    """Runs everything and writes the results, whole or not at all.

    Returns:
        The exit code: 1 where a part failed, 2 where there is no GPU.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ask", action="store_true")
    parser.add_argument("--stand-in", action="store_true")
    names = [part.name for part in parts()]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.stand_in and options.out == RESULTS:
        parser.error("--stand-in: say --out FILE; what a dry run measures is no result")
    if not options.stand_in and not torch.cuda.is_available():
        print(f"gpu: {NO_GPU}", file=sys.stderr)
        return 2
    if options.ask:
        return 0
    began = now()
    listed = [part for part in parts() if part.name in options.only]
    found = run_all(listed, options.stand_in)
    facts = provenance("cpu" if options.stand_in else "cuda")
    facts |= {"started": began, "finished": now(), "warm_up": WARM_UP}
    facts["recurrences"] = found.get("qmix_cia", {}).get("recurrences")
    whole = {"parts": found, "stand_in": options.stand_in, "provenance": facts}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, json.dumps(whole, indent=1).encode() + b"\n")
    return int(any("error" in part for part in found.values()))


if __name__ == "__main__":
    sys.exit(main())
