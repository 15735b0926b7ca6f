"""Notebooks run from top to bottom with small parameters, and their asserts hold."""

import os
import re
import subprocess
import sys
from pathlib import Path

import papermill
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}

# Small parameters, where the defaults take long or need what `make book` writes; paths
# start at notebooks/. What is not named here is executed by the book's build, with its
# defaults.
SMOKE = {
    "train": {"env_steps": 1_000, "results": "../runs"},
    "first_experiment": {"env_steps": 4_000},
    "your_own_run": {"runs": "../book/results"},
    "recheck": {"evaluations": 1},
    "your_own_game": {"env_steps": 1_000, "package_steps": 200},
    "turn": {},  # one that is executed here with its defaults, too
}


def prepare(name: str, folder: Path) -> Path:
    """The notebook with its small parameters, beside a link to book/."""
    parameters = SMOKE.get(name, {})
    if parameters:
        declared = papermill.inspect_notebook(str(NOTEBOOKS[name]))
        assert set(parameters) <= set(declared), (
            f"SMOKE[{name!r}] names a parameter that the notebook does not declare"
        )
    prepared = folder / "notebooks" / f"{name}.ipynb"
    prepared.parent.mkdir()
    (folder / "book").symlink_to(ROOT / "book")
    papermill.execute_notebook(
        str(NOTEBOOKS[name]),
        str(prepared),
        parameters,
        prepare_only=True,
        progress_bar=False,
    )
    return prepared


def test_every_notebook_runs_somewhere():
    """Here, or with its defaults in the build of `tests/test_book.py`."""
    pages = re.findall(
        r"- file: notebooks/(\S+)", (ROOT / "book" / "_toc.yml").read_text()
    )
    assert set(NOTEBOOKS) == set(SMOKE) | set(pages)


@pytest.mark.parametrize("name", SMOKE)
def test_notebook_runs(name: str, tmp_path: Path):
    prepared = prepare(name, tmp_path)
    nbval = [
        "--nbval-lax",
        "--nbval-current-env",
        "--nbval-cell-timeout=300",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}",
        "PYTEST_ADDOPTS": "",
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *nbval, prepared.name],
        cwd=prepared.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, (
        f"notebooks/{name}.ipynb fails:\n{result.stdout[-6000:]}"
    )


def test_every_smoke_entry_has_its_notebook():
    assert set(SMOKE) <= set(NOTEBOOKS)
