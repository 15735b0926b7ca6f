"""A progress bar where somebody watches: in a terminal or a live notebook, and silent anywhere else."""

from __future__ import annotations

import sys
from types import TracebackType


class Progress:
    """Shows env-steps, env-steps/s, return, epsilon and the time left; use it as `with Progress() as progress`."""

    def __init__(self) -> None:
        self.bar = None

    def __call__(self, env_steps: int, total: int, **facts: float) -> None:
        """Moves the bar to `env_steps` of `total` and shows the facts beside it."""
        if self.bar is None:
            self.bar = open_bar(total)
        if self.bar is not None:
            self.bar.set_postfix(
                {name: f"{value:.3g}" for name, value in facts.items()}, refresh=False
            )
            self.bar.update(min(env_steps, total) - self.bar.n)

    def close(self) -> None:
        """Ends the bar; the next call starts a new one."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_bar(total: int):
    """A tqdm bar, or None where nobody watches or tqdm is not installed."""
    if not (sys.stderr.isatty() or live_notebook()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit=" env-steps", unit_scale=True, file=sys.stderr)


def live_notebook() -> bool:
    """Whether a person runs this notebook: only then can the front end be asked for input (papermill refuses)."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))
