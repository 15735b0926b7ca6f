"""The cell that fetches the book where a notebook came alone.

It runs in an environment that has neither book nor library.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def test_a_notebook_alone_fetches_its_book(tmp_path: Path) -> None:
    """A new virtual environment sees our packages, but not our editable install.

    The source is this repository.
    """
    notebook = nbformat.read(ROOT / "notebooks" / "your_own_run.ipynb", as_version=4)
    (launch,) = [
        cell.source
        for cell in notebook.cells
        if "launch" in cell.metadata.get("tags", [])
    ]
    then = """
import ciabook
import ciacore
print(ciacore.__file__, os.getcwd(), os.path.isdir("../book/results"))
"""
    venv.create(tmp_path / "clean", with_pip=True)
    python = tmp_path / "clean" / "bin" / "python"
    (tmp_path / "elsewhere").mkdir()
    # .pth files, and so editable installs, do not count on PYTHONPATH
    packages = sysconfig.get_paths()["purelib"]
    environment = os.environ | {
        "PYTHONPATH": packages,
        "CIA_BOOK": str(ROOT),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    alone = subprocess.run(
        [python, "-c", "import ciabook"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "No module named 'ciabook'" in alone.stderr
    done = subprocess.run(
        [python, "-c", f"{launch}\n{then}"],
        env=environment,
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where, cwd, results = done.stdout.split()
    assert str(tmp_path / "clean") in where
    assert cwd == str(tmp_path / "elsewhere" / "cia-book" / "notebooks")
    assert results == "True"
