"""A kernel that is this interpreter, whatever else is called python3 here."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "python3"  # as all notebooks of the book call their kernel


@contextmanager
def own_kernel() -> Iterator[str]:
    """Lets notebooks run in this interpreter, and write nothing to the home folder.

    Jupyter takes the first kernel of a name, and JUPYTER_PATH or the home folder may
    hold one of another environment.

    Yields:
        The name of the kernel.
    """
    with tempfile.TemporaryDirectory(prefix="ciabook-") as place:
        spec = Path(place) / "kernels" / NAME / "kernel.json"
        spec.parent.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel = {"argv": start, "display_name": "Python 3", "language": "python"}
        spec.write_text(json.dumps(kernel), encoding="utf-8")
        more = os.environ.get("JUPYTER_PATH")
        changes = {
            "JUPYTER_PATH": f"{place}{os.pathsep}{more}" if more else place,
            "JUPYTER_RUNTIME_DIR": str(Path(place) / "runtime"),
            "IPYTHONDIR": str(Path(place) / "ipython"),
        }
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield NAME
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
