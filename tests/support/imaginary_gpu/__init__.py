"""A GPU that is not there: tensors on *cuda* that have shapes but no values.

torch's build for CPUs refuses to touch such tensors before it looks at their shapes.
`guard.cpp` answers in the place of a driver; compiled, it must be loaded before torch,
so that whatever runs on this GPU has a process of its own (`checks.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def torch_folder() -> Path:
    """Where torch is installed; it is not imported."""
    return Path(find_spec("torch").origin).parent


def build(folder: Path) -> Path:
    """Compiles the stand-in for a driver.

    Args:
        folder: Where the library is put.

    Returns:
        The library.
    """
    library = folder / "guard.so"
    options = ["-std=c++20", "-O0", "-shared", "-fPIC", "-w"]
    include = f"-I{torch_folder() / 'include'}"
    command = ["g++", *options, include, str(HERE / "guard.cpp"), "-o", str(library)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


def on_imaginary_gpu(library: Path, *arguments: str) -> list[dict[str, Any]]:
    """Runs `checks.py`.

    Args:
        library: Of `build`.
        arguments: Of `checks.py`.

    Returns:
        What it reports, a value per line.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    module = "support.imaginary_gpu.checks"
    done = subprocess.run(
        [sys.executable, "-m", module, str(library), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
