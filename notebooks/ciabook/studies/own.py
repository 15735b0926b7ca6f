"""A study of one's own: a Python file with a list, given by its path.

    from ciacore import METHODS

    STUDY = [METHODS["qmix"], METHODS["qmix"].but(method="qmix_slow", gamma=0.999)]
    GAME = "turn"
    SEEDS = [1, 2, 3]

`STUDY` holds a Config for each method, which GAME and SEEDS go with, or an Entry for
each run (`ciabook.studies.runs`). The file is its owner's code, and it is executed: by
the command that schedules, and by the notebook that trains. So a game that it enters
in GAMES, or a mixer in MIXERS, is there for both.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from ciabook.studies.runs import SEEDS, Entry, grid
from ciacore.config import Config
from ciacore.runtime.experiment import check_seeds
from ciacore.runtime.store import run_folder
from ciacore.types import refuse

EXAMPLE = 'Write e.g. STUDY = [METHODS["qmix"], METHODS["qmix_cia"]].'


def is_own(study: str) -> bool:
    """Whether a study is named by the path of a file."""
    return study.endswith(".py") or "/" in study


def own_study(file: Path) -> list[Entry]:
    """The runs that a file names. It is executed.

    Args:
        file: with a list `STUDY`, and `GAME` and `SEEDS` where that holds Configs.

    Raises:
        InvalidInputError: no such file, one that fails, or one without a study; two
            runs that would lie in one folder.
    """
    names = executed(file)
    study = names.get("STUDY")
    if not isinstance(study, list | tuple) or not study:
        refuse("study", f"a list STUDY in {file}", study, EXAMPLE)
    seeds = names.get("SEEDS", SEEDS)
    check_seeds(list(seeds) if isinstance(seeds, range) else seeds)
    game = names.get("GAME", "turn")
    if not isinstance(game, str):
        refuse("GAME", "the name of a game", game, 'Write e.g. GAME = "turn".')
    if all(isinstance(item, Config) for item in study):
        study = grid(study, game, seeds)
    for item in study:
        if not isinstance(item, Entry):
            cure = "Let STUDY hold Configs, or Entries, and nothing else."
            refuse("STUDY", "a list of Configs or of Entries", item, cure)
    check_places(study)
    return list(study)


def executed(file: Path) -> dict[str, Any]:
    """The names in a file after it was executed.

    It may import what lies beside it. What it prints goes to standard error.

    Args:
        file: of Python.

    Raises:
        InvalidInputError: there is no such file, or it fails.
    """
    if not file.is_file():
        refuse("study", "a file of Python", str(file), "Correct the path.")
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with redirect_stdout(sys.stderr):
            return runpy.run_path(str(file))
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(file)
        ]
        where = f" in line {lines[-1]}" if lines else ""
        got = f"{type(error).__name__}: {error}{where}"
        refuse("study", f"a file that runs, {file}", got, "Correct it.")


def check_places(entries: list[Entry]) -> None:
    """Refuses two runs that would lie in one folder."""
    seen: set[Path] = set()
    for entry in entries:
        place = run_folder("", entry.game, entry.config.method, entry.seed)
        if place in seen:
            cure = 'Give each a name of its own: config.but(method="its name", ...).'
            refuse("STUDY", "runs with folders of their own", f"{place} twice", cure)
        seen.add(place)
