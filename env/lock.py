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
# whatever this machine is set to: its torch is for CUDA
PYPI = ["--isolated", "--index-url", "https://pypi.org/simple"]
CUDA = re.compile(r"(nvidia|cuda)-|triton$")
HEADER = (
    "# {what}\n"
    "# Made by `make lock` on {today}, with Python {python}, "
    "from pyproject.toml and env/held.txt. Do not edit by hand.\n"
)


def canonical(name: str) -> str:
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(
    requirements: list[str], constraints: list[Path], cuda: bool = False
) -> dict[str, str]:
    """What pip would install for these requirements in an empty environment.

    Args:
        requirements: as pip understands them.
        constraints: files of versions that pip must keep to.
        cuda: whether to take PyPI's build of torch, and keep its CUDA packages.

    Returns:
        Package -> version.
    """
    pip = [sys.executable, "-m", "pip", *(PYPI[:1] if cuda else [])]
    command = [
        *pip,
        "install",
        *(PYPI[1:] if cuda else []),
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
    ]
    report = subprocess.run(
        [*command, *(f"--constraint={path}" for path in constraints), *requirements],
        check=True,
        capture_output=True,
        text=True,
    )
    found = [entry["metadata"] for entry in json.loads(report.stdout)["install"]]
    pins = {
        canonical(package["name"]): package["version"].split("+")[0]
        for package in found
    }
    return {
        name: version for name, version in pins.items() if cuda or not CUDA.match(name)
    }


def write_lock(path: Path, what: str, pins: dict[str, str]) -> None:
    """Writes one `name==version` per line, sorted.

    Args:
        path: the lock file.
        what: its first line, which says what it is for.
        pins: package -> version.
    """
    header = HEADER.format(what=what, today=date.today(), python=sys.version.split()[0])
    path.write_text(
        header + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins))
    )
    print(f"{path.name}: {len(pins)} pins")


def main() -> None:
    """Locks core + book + tests first, then what battles adds to exactly those pins."""
    extras = PROJECT["optional-dependencies"]
    # `pip install --no-build-isolation -e .` needs them
    build = ["setuptools", "wheel"]
    lock = ENV / "requirements.txt"
    pins = resolve(
        [*PROJECT["dependencies"], *extras["book"], *extras["tests"], *build],
        [ENV / "held.txt"],
    )
    write_lock(
        lock,
        "Library, book and tests, every package pinned; for Python 3.11 to 3.14.",
        pins,
    )
    battles = resolve([*PROJECT["dependencies"], *extras["battles"]], [lock])
    gpu = resolve([f"torch=={pins['torch']}"], [lock], cuda=True)
    gpu = {name: version for name, version in gpu.items() if name not in pins}
    write_lock(
        ENV / "requirements-gpu.txt",
        "What PyPI's build of torch for CUDA adds to requirements.txt.",
        gpu,
    )
    write_lock(
        ENV / "requirements-study.txt",
        "Snakemake with SLURM, for .venv-study.",
        resolve(extras["study"], []),
    )
    write_lock(
        ENV / "requirements-grading.txt",
        "nbgrader, for .venv-grading.",
        resolve(extras["grading"], []),
    )
    write_lock(
        ENV / "requirements-serve.txt",
        "What the serve extra adds to requirements.txt.",
        resolve(extras["serve"], [lock]),
    )
    browser = resolve(extras["browser"], [lock])
    browser = {name: version for name, version in browser.items() if name not in pins}
    write_lock(
        ENV / "requirements-browser.txt",
        "What the browser extra adds to requirements.txt.",
        browser,
    )
    environments = resolve(extras["environments"], lock)
    environments = {
        name: version for name, version in environments.items() if name not in pins
    }
    write_lock(
        ENV / "requirements-environments.txt",
        "What the environments extra adds to requirements.txt.",
        environments,
    )
    added = {name: version for name, version in battles.items() if name not in pins}
    battles_lock = ENV / "requirements-battles.txt"
    write_lock(
        battles_lock,
        "What the battles extra adds to requirements.txt.",
        added,
    )
    # both extras may be in one environment
    logging = resolve(extras["tensorboard"], [lock, battles_lock])
    logging = {name: version for name, version in logging.items() if name not in pins}
    write_lock(
        ENV / "requirements-tensorboard.txt",
        "What the tensorboard extra adds to requirements.txt.",
        logging,
    )


if __name__ == "__main__":
    main()
