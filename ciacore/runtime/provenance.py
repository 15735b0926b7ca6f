"""Where a number came from: commit, versions, device, times."""

from __future__ import annotations

import hashlib
import os
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
    """Everything about this machine and code that a run's numbers may depend on.

    Args:
        device: where the run's training lies, which was made before.
    """
    on_gpu = torch.device(device).type == "cuda"
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": dirty(),
        "numerics": NUMERICS,
        "fast": os.environ.get("CIACORE_FAST", "1") != "0",
        "lock_sha256": hashlib.sha256(LOCK.read_bytes()).hexdigest()
        if LOCK.is_file()
        else None,
        "versions": {name: installed_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "cpu": cpu_model(),
        "gpu": gpu_model(device),
        # the floating-point format of cuDNN's recurrences: "ieee" is float32
        "recurrences": torch.backends.cudnn.rnn.fp32_precision if on_gpu else None,
        "threads": torch.get_num_threads(),
    }


def legs_of(seal: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a run was made: its beginning, and every machine that it was resumed on.

    A run of before 2026-12 names one machine, that of its last leg; of its earlier legs
    only the commit is known.

    Args:
        seal: the provenance of a run.

    Returns:
        For every leg the `env_steps` at which it begins, its commit, and as much of
        what `provenance` says as was recorded.
    """
    begun = {key: value for key, value in seal.items() if key != "resumed"}
    legs = [{**begun, "env_steps": 0}, *seal.get("resumed", ())]
    older = [number for number, leg in enumerate(legs) if "versions" not in leg]
    for number in range(older[-1] if older else 0):
        legs[number] = {key: legs[number].get(key) for key in ("env_steps", "commit")}
    for number in older[-1:]:
        legs[number] = {**begun, **legs[number]}
    return legs


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git(*arguments: str) -> str | None:
    """What git says about the repository this file lies in.

    Another repository that this one was installed in is not asked, nor one that the
    environment names, as it does while a hook runs. Whose files they are plays no part.

    Args:
        arguments: of the command.

    Returns:
        What it prints; None where there is no repository or no git.
    """
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    environment = {
        name: value for name, value in os.environ.items() if name[:4] != "GIT_"
    }
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=10,
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


def gpu_model(device: torch.device | str) -> str | None:
    """The GPU's name: that of the device, or of the first where the device is a CPU.

    Args:
        device: where a run's training lies.

    Returns:
        None where there is no GPU.
    """
    if not torch.cuda.is_available():
        return None
    on_gpu = torch.device(device).type == "cuda"
    return torch.cuda.get_device_name(device if on_gpu else None)


def cpu_model() -> str:
    """The processor's name, as exactly as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text("utf-8", "replace") if cpuinfo.is_file() else ""
    lines = text.splitlines()
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
