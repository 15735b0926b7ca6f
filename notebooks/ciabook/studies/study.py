"""Studies as data: each is a list of runs.

What has become of a run is read from its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ciabook.studies import (
    battles,
    maven,
    other_games,
    own_turn,
    right_credits,
    showcases,
    turn,
    wake,
)
from ciabook.studies.own import is_own, own_study
from ciabook.studies.runs import Entry
from ciacore.config import Config, known_name
from ciacore.games import make_game
from ciacore.methods import METHODS
from ciacore.runtime.checkpoint import held, work_folder
from ciacore.runtime.metrics import read_lines
from ciacore.runtime.sealed import ENDING, is_kept
from ciacore.runtime.session import finished
from ciacore.runtime.store import run_folder
from ciacore.types import Game, InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[3]


class Standing(NamedTuple):
    """What has become of a run."""

    entry: Entry
    state: str  # "done", "running", "failed", "damaged", or "missing"
    detail: str = ""


STUDIES: dict[str, list[Entry]] = {
    **turn.STUDIES,
    **wake.STUDIES,
    **maven.STUDIES,
    **battles.STUDIES,
    **showcases.STUDIES,
    **right_credits.STUDIES,
    **other_games.STUDIES,
    **own_turn.STUDIES,
}


# Where the runs of a study lie, below the repository; `book/results/study` where
# nothing is said. Runs that only try the machinery never lie beside published ones,
# whose names they share.
PLACES = {
    "smoke": "runs/smoke",
    "minute": "runs/minute",
    "battles_proof": "book/results/battles",
    "battles": "book/results/clashes",
    "battle_protocol": "book/results/battle_tuning",
    "battle_calibration": "book/results/battle_tuning",
    "other_games": "book/results/other_games",
    "wake": "book/results/wake",
    "wake_logged": "book/results/wake",
    "wake_strong": "book/results/wake",
    "wake_calibration": "book/results/wake_calibration",
    "own_turn_calibration": "book/results/wake_calibration",
    "own_turn_previews": "book/results/wake_calibration",
    "own_turn": "book/results/own_turn",
    "own_turn_raised": "book/results/own_turn",
    "own_turn_early": "runs/own_turn_early",
    "wake_previews": "book/results/wake_calibration",
    "wake_alpha": "book/results/wake",
    "wake_long": "book/results/wake_long",
    "maven_fair": "book/results/maven_fair",
    "showcases_tiny": "book/results/showcases",
    "showcases_prey": "book/results/showcases",
    "showcases_trace": "book/results/showcases_trace",
    "right_credits_turn": "book/results/right_credits",
    "right_credits_long": "book/results/right_credits",
    "right_credits_prey": "book/results/right_credits",
}


def find(study: str) -> list[Entry]:
    """The runs of a study.

    Args:
        study: a name in STUDIES, or the path of a file with one of your own
            (`ciabook.studies.own`), which is executed.

    Raises:
        InvalidInputError: an unknown name, a file that holds no study, or a study whose
            runs depend on others that have not decided yet.
    """
    if is_own(study):
        return own_study(Path(study))
    entries = STUDIES[known_name(study, STUDIES, "study")]
    if not entries:
        refuse("study", "one whose runs are settled", study, battles.WAITS_FOR[study])
    return entries


def place_of(study: str) -> Path:
    """The folder of a study's runs, where no other is asked for.

    Args:
        study: a name in STUDIES, or the path of a file: `runs/<its name>` beside it.
    """
    if is_own(study):
        return Path(study).resolve().parent / "runs" / Path(study).stem
    return ROOT / PLACES.get(study, "book/results/study")


def game_of(name: str) -> Game:
    """The game that a run is played in.

    Args:
        name: what `ciacore.games.game_name` returns: a key of GAMES, or longer.

    Raises:
        InvalidInputError: an unknown name, a game that is not installed here, or one
            that calls itself otherwise, so that its runs would not be found.
    """
    game = make_game(name)
    if game.name != name:
        cure = "Enter it in GAMES under its own name."
        refuse("game", f"a game whose name is {name}", game.name, cure)
    return game


def difference(config: Config) -> tuple[str, dict[str, Any]]:
    """What notebooks/train.ipynb is given to train a config.

    Returns:
        The method it is nearest to, and the fields in which it differs.
    """
    fields = config.to_dict()
    nearest = None
    for name, base in METHODS.items():
        of_base = base.to_dict()
        changed = {key: fields[key] for key in fields if of_base[key] != fields[key]}
        if nearest is None or len(changed) < len(nearest[1]):
            nearest = name, changed
    return nearest


def failure_file(folder: Path) -> Path:
    """Where the failure of a run is written down: `.seed_<k>.failed` beside it."""
    return folder.with_name(f".{folder.name}.failed")


def folder_of(entry: Entry, results: str | Path) -> Path:
    """The folder of a run.

    Args:
        entry: the run.
        results: the folder of all runs.
    """
    return run_folder(results, entry.game, entry.config.method, entry.seed)


def standing(entry: Entry, results: str | Path) -> Standing:
    """What has become of a run.

    It is told from the run's folder, its lock, and the failure that was written down.

    Args:
        entry: the run.
        results: the folder of all runs.
    """
    folder = folder_of(entry, results)
    try:
        if is_kept(folder):
            run = finished(folder, entry.config, entry.game, entry.seed)
            if run is not None:
                return Standing(entry, "done")
    except InvalidInputError as error:
        return Standing(entry, "damaged", str(error))
    if held(folder):
        return Standing(entry, "running", latest(entry, folder))
    failure = failure_file(folder)
    if failure.exists():
        lines = failure.read_text(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "no reason was written down"
        return Standing(entry, "failed", reason)
    if folder.exists() or (work_folder(folder) / "checkpoint").exists():
        return Standing(entry, "missing", "has a checkpoint")
    return Standing(entry, "missing")


def latest(entry: Entry, folder: Path) -> str:
    """The last evaluation of a run that is being trained, in words.

    Args:
        entry: the run.
        folder: where it will lie.
    """
    lines = read_lines(folder)
    if not lines:
        return "no evaluation yet"
    last = lines[-1]
    parts = [f"{last['env_steps']:,} of {entry.config.env_steps:,} env steps"]
    parts.append(f"return {last['mean_return']:.1f}")
    if "win_rate" in last:
        parts.append(f"won {last['win_rate']:.0%}")
    if "steps_per_second" in last:
        parts.append(f"{last['steps_per_second']:,.0f} steps/s")
        parts.append(f"{last['memory_mib']:,.0f} MiB")
    return ", ".join(parts)


def survey(entries: Sequence[Entry], results: str | Path) -> list[Standing]:
    """What has become of each run.

    Args:
        entries: the runs.
        results: the folder of all runs.
    """
    return [standing(entry, results) for entry in entries]


def strangers(entries: Sequence[Entry], results: str | Path) -> list[Path]:
    """Run folders and sealed files in the games of a study that belong to no study.

    Args:
        entries: the runs of the study.
        results: the folder of all runs.
    """
    known = {folder_of(entry, results) for entry in entries}
    for study in STUDIES.values():
        known |= {folder_of(entry, results) for entry in study}
    found = []
    for game in {entry.game for entry in entries}:
        for path in (Path(results) / game).glob("*/*"):
            if path not in known and not path.name.startswith("."):
                found.append(path)
        for path in (Path(results) / game).glob(f"*{ENDING}"):
            if path.with_suffix("") not in {folder.parent for folder in known}:
                found.append(path)
    return sorted(found)
