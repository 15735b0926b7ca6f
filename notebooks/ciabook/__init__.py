"""What notebooks share in addition to the library.

In it are checked parameters, a progress bar, figures, statistics, studies, scripted
players and rechecks.
"""

from ciacore import __version__  # first of all: it refuses Windows in one sentence

__all__ = ["__version__"]
