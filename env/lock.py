"""Writes the lock files of this folder from pyproject.toml: `make lock`.

pip resolves (`--dry-run --report`), nothing is installed. The packages torch brings for
CUDA are left out: they belong to one build of torch, which pins them itself, and a
CPU-only machine does not want them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

ENV = Path(__file__).resolve().parent
PROJECT = tomllib.loads((ENV.parent / "pyproject.toml").read_text())["project"]
# packages come from PyPI, whatever this machine is set to: its torch is for CUDA
PYPI = "https://pypi.org/simple"
CUDA = re.compile(r"(nvidia|cuda)-|triton$")
HEADER = """\
# {what}
# Made by `make lock` on {today}, with Python {python}, from pyproject.toml and \
env/held.txt. Do not edit by hand.
"""


def canonical(name: str) -> str:
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(
    requirements: list[str], constraints: Path | None, cuda: bool = False
) -> dict[str, str]:
    """What pip would install for some requirements in an empty environment.

    Args:
        requirements: as pip takes them.
        constraints: a file of pins to keep to.
        cuda: take PyPI's packages, and keep those that torch brings for CUDA.

    Returns:
        Name -> version.
    """
    command = [sys.executable, "-m", "pip"]
    command += ["--isolated", "install", "--index-url", PYPI] if cuda else ["install"]
    command += ["--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    if constraints:
        command += ["-c", str(constraints)]
    command += requirements
    report = subprocess.run(command, check=True, capture_output=True, text=True)
    pins = {}
    for entry in json.loads(report.stdout)["install"]:
        name = canonical(entry["metadata"]["name"])
        if cuda or not CUDA.match(name):
            pins[name] = entry["metadata"]["version"].split("+")[0]
    return pins


def write_lock(path: Path, what: str, pins: dict[str, str]) -> None:
    """Writes one `name==version` per line, sorted.

    Args:
        path: the file.
        what: says what it locks.
        pins: name -> version.
    """
    python = sys.version.split()[0]
    header = HEADER.format(what=what, today=date.today(), python=python)
    lines = [f"{name}=={pins[name]}\n" for name in sorted(pins)]
    path.write_text(header + "".join(lines))
    print(f"{path.name}: {len(pins)} pins")


def only_new(pins: dict[str, str], known: dict[str, str]) -> dict[str, str]:
    """Pins of packages that another lock does not have.

    Args:
        pins: name -> version.
        known: the other lock.
    """
    return {name: version for name, version in pins.items() if name not in known}


def main() -> None:
    """Locks core + book + tests first, then what battles adds to exactly those pins."""
    extras = PROJECT["optional-dependencies"]
    # `pip install --no-build-isolation -e .` needs them
    build = ["setuptools", "wheel"]
    lock = ENV / "requirements.txt"
    pins = resolve(
        [*PROJECT["dependencies"], *extras["book"], *extras["tests"], *build],
        ENV / "held.txt",
    )
    write_lock(
        lock,
        "Library, book and tests, every package pinned; for Python 3.11 and 3.12.",
        pins,
    )
    battles = resolve([*PROJECT["dependencies"], *extras["battles"]], lock)
    gpu = resolve([f"torch=={pins['torch']}"], lock, cuda=True)
    write_lock(
        ENV / "requirements-gpu.txt",
        "What PyPI's build of torch for CUDA adds to requirements.txt.",
        only_new(gpu, pins),
    )
    write_lock(
        ENV / "requirements-study.txt",
        "Snakemake with SLURM, for .venv-study.",
        resolve(extras["study"], None),
    )
    write_lock(
        ENV / "requirements-browser.txt",
        "What the browser extra adds to requirements.txt.",
        only_new(resolve(extras["browser"], lock), pins),
    )
    write_lock(
        ENV / "requirements-battles.txt",
        "What the battles extra adds to requirements.txt.",
        only_new(battles, pins),
    )


if __name__ == "__main__":
    main()
