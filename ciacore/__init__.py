"""ciacore: value decomposition with contrastive identity-aware credits.

(Liu et al. 2023.) The files of this folder and `mixers/` are the paper; `training` is
its loop, `methods` its methods as values, and the other folders are what makes them
run.
"""

import sys

if sys.platform == "win32":
    raise ImportError(
        "ciacore: expected Linux or macOS, got Windows. "
        "Install WSL (wsl --install) and work in its Linux."
    )

from ciacore.config import Config
from ciacore.methods import METHODS, MIXERS
from ciacore.runtime.evaluation import evaluate
from ciacore.runtime.experiment import train, train_methods
from ciacore.runtime.store import Run, load_run, read_run, read_runs
from ciacore.runtime.tables import to_csv

__version__ = "0.1.0"
__all__ = [
    "METHODS",
    "MIXERS",
    "Config",
    "Run",
    "__version__",
    "evaluate",
    "load_run",
    "read_run",
    "read_runs",
    "to_csv",
    "train",
    "train_methods",
]
