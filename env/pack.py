"""Packs into .gpu/ and .gpu.tar what a GPU machine without network lacks.

    python env/pack.py HAS.txt [--python 3.12]

HAS.txt lists the packages that are there, torch and JAX for CUDA among them, one per
line, as `pip freeze` prints them. Packed are wheels of what experiments, notebooks and
tests need beside those (not what renders pages), and a git repository that knows the
commit and holds no file. The archive .gpu.tar holds the work tree with .gpu/, and
without the published runs: at most 60 MiB. Unpack it there and run `PY=python3 sh
env/gpu.sh`, or anything else with .gpu/site on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
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
)
ROOTS += (
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

MOST = 60 * 2**20  # bytes that are carried there


def pins() -> dict[str, str]:
    """Name -> version of the locks of book, tests and battles."""
    text = "".join(
        (ENV / f"requirements{name}.txt").read_text() for name in ("", "-battles")
    )
    return {
        canonicalize_name(name): pin
        for name, pin in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    }


def lacking(has: set[str], pinned: dict[str, str], python: str) -> list[str]:
    """Pinned packages that ROOTS need and the machine has not.

    What a package needs is what the one that is installed here asks for.

    Args:
        has: the packages that are on the machine.
        pinned: package -> version.
        python: the version of Python on the machine.

    Returns:
        Lines `name==version`, sorted.
    """
    found, todo = set(), [canonicalize_name(name) for name in ROOTS]
    while todo:
        name = todo.pop()
        if name in found or name in has or name not in pinned:
            continue
        found.add(name)
        try:
            asked = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            sys.exit(f"pack: {name} is not installed here; run make battles first.")
        where = {
            "python_version": python,
            "python_full_version": f"{python}.0",
            "extra": "",
        }
        todo += [
            canonicalize_name(each.name)
            for each in asked
            if each.marker is None or each.marker.evaluate(where)
        ]
    return sorted(f"{name}=={pinned[name]}" for name in found)


def pack_commit(repository: Path, target: Path) -> None:
    """Writes a git folder with the last commit and its trees, but no files.

    That is enough to name the commit, and the files that differ from it.

    Args:
        repository: the folder to take the commit from.
        target: the git folder to write.
    """
    clone = ["git", "clone", "--quiet", "--bare", "--depth=1", "--filter=blob:none"]
    clone += ["--upload-pack=git -c uploadpack.allowFilter=true upload-pack"]
    subprocess.run([*clone, repository.resolve().as_uri(), target], check=True)
    subprocess.run(
        ["git", "config", "--file", target / "config", "core.bare", "false"], check=True
    )


def carried(repository: Path) -> list[str]:
    """The tracked files of a work tree, without those of published runs.

    Args:
        repository: its folder.

    Returns:
        Their paths in it, sorted.
    """
    command = ["git", "ls-files", "-z", "--cached"]
    done = subprocess.run(
        command, cwd=repository, check=True, capture_output=True, text=True
    )
    tracked = sorted(set(done.stdout.split("\0")) - {""})
    return [
        path
        for path in tracked
        if not is_published_run(path) and (repository / path).exists()
    ]


def is_published_run(path: str) -> bool:
    """Whether a file lies in a run's folder under book/results.

    Args:
        path: in the repository.
    """
    parts = Path(path).parts
    return parts[:2] == ("book", "results") and any(
        part.startswith("seed_") for part in parts[2:-1]
    )


def pack_tree(repository: Path, packed: Path, target: Path) -> int:
    """Writes an archive of a work tree and of what was packed.

    Args:
        repository: the folder of the tree.
        packed: the folder that is `.gpu/` there.
        target: the archive; there is none where it would be too large.

    Returns:
        Its size in bytes.

    Raises:
        SystemExit: it has over `MOST` bytes.
    """
    with tarfile.open(target, "w") as archive:
        for path in carried(repository):
            archive.add(repository / path, path)
        archive.add(packed, ".gpu")
    size = target.stat().st_size
    if size > MOST:
        target.unlink()
        sys.exit(
            f"pack: expected at most {MOST / 2**20:.0f} MiB, "
            f"got {size / 2**20:.1f} MiB. Leave out what is not needed there."
        )
    return size


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("has", type=Path, metavar="HAS.txt")
    parser.add_argument(
        "--python", default="3.12", help="the version there (%(default)s)"
    )
    options = parser.parse_args()
    has = {
        canonicalize_name(re.split(r"[=@ ]", line.strip())[0])
        for line in options.has.read_text().splitlines()
        if line
    }
    wanted = lacking(has, pins(), options.python)
    place, part = ROOT / ".gpu", ROOT / ".gpu.part"
    shutil.rmtree(part, ignore_errors=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-qq",
        "--no-deps",
        "--only-binary=:all:",
    ]
    pip += [
        "--python-version",
        options.python,
        "--implementation",
        "cp",
        *(f"--platform={name}" for name in PLATFORMS),
    ]
    subprocess.run([*pip, "--dest", part / "wheels", *wanted], check=True)
    pack_commit(ROOT, part / "git")
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    archive = ROOT / ".gpu.tar"
    size = pack_tree(ROOT, place, archive)
    print(
        f"{archive}: the tree without published runs, {len(wanted)} wheels and the "
        f"commit, {size / 2**20:.0f} MiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
