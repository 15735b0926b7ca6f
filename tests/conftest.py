"""Checks annotations while the tests run, and skips tests whose needs are not met here.

There are no other skips; `-ra` lists these with their reasons.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import pytest
import torch
from jaxtyping import install_import_hook

# of the processes that tests start: they share the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# shapes and types in signatures; before anything imports ciacore
install_import_hook(["ciacore", "ciabook"], "beartype.beartype")
pytest.register_assert_rewrite("support")

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


# what a test marked gpu("imaginary") needs
IMAGINARY = ("no NVIDIA GPU, and no g++ to imagine one", lambda: shutil.which("g++"))

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
    for marker, needed in NEEDS.items():
        found = item.get_closest_marker(marker)
        imaginary = found is not None and found.args == ("imaginary",)
        reason, present = IMAGINARY if imaginary else needed
        if found and not present():
            pytest.skip(reason)


@pytest.fixture
def as_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the type checks of this file: the library itself must refuse."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for CUDA: a graph is the function it was made from.

    Returns:
        The log, in which each replay of a graph leaves an entry.
    """
    from support.no_cuda import torch_without_cuda

    from ciacore.runtime import cuda_graphs

    log: list[str] = []

    class Again:
        def __init__(self, work, rngs) -> None:
            self.work = work

        def launch(self) -> None:
            log.append("launch")
            self.work()

    monkeypatch.setattr(cuda_graphs, "torch", torch_without_cuda())
    monkeypatch.setattr(cuda_graphs, "CapturedGraph", Again)
    return log
