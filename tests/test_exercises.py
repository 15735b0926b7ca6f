"""Exercises with a fault: checks fail on the broken and pass on the repaired file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLACE = Path(__file__).resolve().parents[1] / "book" / "exercises"
NAMES = sorted(path.stem for path in (PLACE / "broken").glob("*.py"))


def checked(name: str, folder: str) -> subprocess.CompletedProcess[str]:
    """The checks of an exercise on a folder's version, as the page runs them."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(PLACE / "checks" / f"test_{name}.py"),
    ]
    environment = os.environ | {"PYTHONPATH": str(PLACE / folder), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        command, env=environment, cwd=PLACE, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_broken_fails_and_repaired_passes(name):
    broken = checked(name, "broken")
    assert broken.returncode == 1, broken.stdout
    assert re.search(r"\d failed", broken.stdout), broken.stdout
    repaired = checked(name, "repaired")
    assert repaired.returncode == 0, repaired.stdout
    assert "failed" not in repaired.stdout


def test_every_exercise_has_its_three_files():
    repaired = {path.stem for path in (PLACE / "repaired").glob("*.py")}
    checks = {path.stem for path in (PLACE / "checks").glob("*.py")}
    assert repaired == set(NAMES)
    assert checks == {f"test_{name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_broken_and_repaired_differ_in_the_fault_alone(name):
    """Students repair and do not rewrite: the files differ in at most three lines."""
    broken = (PLACE / "broken" / f"{name}.py").read_text().splitlines()[1:]
    repaired = (PLACE / "repaired" / f"{name}.py").read_text().splitlines()[1:]
    assert sum(a != b for a, b in zip(broken, repaired, strict=True)) <= 3
