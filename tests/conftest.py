"""Checks annotations while the tests run, and skips the tests that need what this machine lacks.

There are no other skips; `-ra` lists these with their reasons.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# of the processes that tests start: they share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
install_import_hook(
    ["ciacore", "ciabook"], "beartype.beartype"
)  # shapes and types in signatures; before anything imports ciacore

NEEDS = {
    "gpu": ("no NVIDIA GPU", torch.cuda.is_available),
    "sc2": (
        "no SMAC (github.com/oxwhirl/smac): see env/starcraft2/README.md",
        lambda: smac_installed(),
    ),
    "slurm": ("no SLURM: sbatch is not on the PATH", lambda: shutil.which("sbatch")),
    "browser": (
        "no Chromium: chromium is not on the PATH",
        lambda: shutil.which("chromium"),
    ),
}


# what takes longest, so that nothing waits for it at the end
FIRST = ("test_book.py", "test_study.py", "test_smax.py")


def smac_installed() -> bool:
    """Whether SMAC's environment is here, and not SMAC3."""
    found = find_spec("smac")
    return found is not None and any(
        (Path(place) / "env").is_dir()
        for place in found.submodule_search_locations or ()
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files of `FIRST` first, the others stay in order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips by marker; one thread, whatever the test before has left."""
    torch.set_num_threads(1)
    for marker, (reason, present) in NEEDS.items():
        if item.get_closest_marker(marker) and not present():
            pytest.skip(reason)
