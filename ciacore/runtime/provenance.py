"""Where a number came from: commit, versions, device, times."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]  # the repository, when run from one
LOCK = ROOT / "env" / "requirements.txt"
NUMERICS = 4  # raised whenever the arithmetic or the random numbers of training change
PACKAGES = ("torch", "numpy", "jaxtyping", "safetensors", "jax", "jaxmarl", "ciacore")


def provenance(device: torch.device | str) -> dict[str, Any]:
    """Everything about this machine and code that a run's numbers may depend on."""
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": dirty(),
        "numerics": NUMERICS,
        "lock_sha256": hashlib.sha256(LOCK.read_bytes()).hexdigest()
        if LOCK.is_file()
        else None,
        "versions": {name: installed_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git(*arguments: str) -> str | None:
    """What git says about the repository this file lies in.

    Args:
        arguments: of the command.

    Returns:
        What it prints; None where there is no repository or no git.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def dirty() -> list[str] | None:
    """Files of library, training notebook and env/ that differ from the commit.

    None where there is no repository.
    """
    options = ("status", "--porcelain", "--untracked-files=all", "--")
    status = git(*options, "ciacore", "notebooks/train.ipynb", "env")
    if status is None:
        return None
    return [line[2:].strip() for line in status.splitlines()]


def installed_version(name: str) -> str | None:
    """The version of an installed package; None where it is used without an install."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name, as exactly as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    facts = dict(
        reversed(
            [
                [part.strip() for part in line.split(":", 1)]
                for line in lines
                if ":" in line
            ]
        )
    )
    named = [
        facts[key] for key in ("model name", "cpu family", "model") if key in facts
    ]
    return " / ".join(named) or platform.processor() or platform.machine()
