"""A progress bar where somebody watches: in a terminal or a live notebook.

It is silent anywhere else.
"""

from __future__ import annotations

import sys
from types import TracebackType


class Progress:
    """Shows env-steps, env-steps/s, return, epsilon and the time left.

    Use it as `with Progress() as progress`, and pass `progress` to `train`.
    """

    def __init__(self) -> None:
        """No bar yet: the first call opens it."""
        self.bar = None

    def __call__(self, env_steps: int, total: int, **facts: float) -> None:
        """Moves the bar and shows the facts beside it.

        Args:
            env_steps: done so far.
            total: env steps of the whole training.
            facts: name -> number.
        """
        if self.bar is None:
            self.bar = open_bar(total)
        if self.bar is not None:
            shown = {name: f"{value:.3g}" for name, value in facts.items()}
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(min(env_steps, total) - self.bar.n)

    def close(self) -> None:
        """Ends the bar; the next call starts a new one."""
        if self.bar is not None:
            self.bar.close()
        self.bar = None

    def __enter__(self) -> Progress:
        """The bar itself."""
        return self

    def __exit__(
        self,
        kind: type | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the bar, whatever has happened.

        Args:
            kind: of the error, if there was one.
            value: the error.
            trace: where it came from.
        """
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
    """Whether a person runs this notebook.

    Only then can the front end be asked for input; papermill refuses.
    """
    if "IPython" not in sys.modules:
        return False
    kernel = getattr(sys.modules["IPython"].get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))
