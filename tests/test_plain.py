"""The wing of speed switched off: the mathematics gives the same results without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def passed_without_speed(*arguments: str) -> int:
    """How many tests pass with CIACORE_FAST=0; all of those that run must."""
    quiet = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts="]
    environment = {**os.environ, "CIACORE_FAST": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *quiet, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    summary = done.stdout.strip().splitlines()[-1]
    return int(summary.split(" passed")[0].split()[-1])


def test_recorded_updates_are_met_without_speed() -> None:
    """Three updates of QMIX and QMIX(CIA), within the golden tolerances."""
    file = "tests/test_golden.py"
    assert passed_without_speed(file, "-k", "qmix_train_step") == 4


@pytest.mark.long
@pytest.mark.parametrize(
    "file",
    [
        "test_controls.py",
        "test_golden.py",
        "test_golden_methods.py",
        "test_learner.py",
        "test_resume.py",
    ],
)
def test_everything_holds_without_speed(file: str) -> None:
    assert passed_without_speed(f"tests/{file}") > 10
