"""Packs into .gpu/ what a GPU machine without network lacks.

    python env/pack.py HAS.txt [--python 3.12]

HAS.txt lists the packages that are there, torch and JAX for CUDA among them, one per
line, as `pip freeze` prints them. Packed are wheels of what experiments, notebooks and
tests need beside those (not what renders pages), and a git repository that knows the
commit and holds no file. Copy the work tree with .gpu/ there and run `PY=python3 sh
env/gpu.sh`, or anything else with .gpu/site on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ENV = Path(__file__).resolve().parent
ROOT = ENV.parent
ROOTS = (
    "papermill",
    "ipykernel",
    "matplotlib",
    "seaborn",
    "pandas",
    "tqdm",
    "pettingzoo",
    "jaxtyping",
    "safetensors",
    "pytest",
    "pytest-xdist",
    "nbval",
    "nbformat",
    "beartype",
    "pyyaml",
    "jaxmarl",
    "six",
    "mdit-py-plugins",
)
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_5_x86_64",
)


def pins() -> dict[str, str]:
    """Name -> version of the locks of book, tests and battles."""
    found = {}
    for file in ("requirements.txt", "requirements-battles.txt"):
        text = (ENV / file).read_text()
        for name, pin in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
            found[canonicalize_name(name)] = pin
    return found


def lacking(has: set[str], pinned: dict[str, str], python: str) -> list[str]:
    """Pinned packages that ROOTS need and the machine has not.

    What a package needs is read off the one that is installed here.

    Args:
        has: names of the packages that are there.
        pinned: name -> version.
        python: the version there, e.g. "3.12".

    Returns:
        `name==version` of each, sorted.
    """
    where = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "extra": "",
    }
    found = set()
    todo = [canonicalize_name(name) for name in ROOTS]
    while todo:
        name = todo.pop()
        if name in found or name in has or name not in pinned:
            continue
        found.add(name)
        try:
            asked = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            sys.exit(f"pack: {name} is not installed here; run make battles first.")
        for each in asked:
            if each.marker is None or each.marker.evaluate(where):
                todo.append(canonicalize_name(each.name))
    return sorted(f"{name}=={pinned[name]}" for name in found)


def pack_commit(repository: Path, target: Path) -> None:
    """A git folder with the last commit and its trees, without files.

    That is enough to name the commit, and what differs from it.

    Args:
        repository: that is cloned.
        target: the new git folder.
    """
    clone = ["git", "clone", "--quiet", "--bare", "--depth=1", "--filter=blob:none"]
    clone += ["--upload-pack=git -c uploadpack.allowFilter=true upload-pack"]
    subprocess.run([*clone, repository.resolve().as_uri(), target], check=True)
    subprocess.run(
        ["git", "config", "--file", target / "config", "core.bare", "false"], check=True
    )


def main() -> int:
    """Packs what HAS.txt does not list; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("has", type=Path, metavar="HAS.txt")
    parser.add_argument(
        "--python", default="3.12", help="the version there (%(default)s)"
    )
    options = parser.parse_args()
    has = set()
    for line in options.has.read_text().splitlines():
        if line:
            name, *_ = re.split(r"[=@ ]", line.strip())
            has.add(canonicalize_name(name))
    wanted = lacking(has, pins(), options.python)
    place = ROOT / ".gpu"
    part = ROOT / ".gpu.part"
    shutil.rmtree(part, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", options.python]
    command += [f"--platform={name}" for name in PLATFORMS]
    command += ["--dest", str(part / "wheels"), *wanted]
    subprocess.run(command, check=True)
    pack_commit(ROOT, part / "git")
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{place}: {len(wanted)} wheels and the commit, {size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
