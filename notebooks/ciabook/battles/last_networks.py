"""What the networks of the comparison do, asked once, before their weights go.

Each plays 1,024 battles. The credits of teams with the same seed are compared on the
same battles, those of QMIX and QMIX(CIA). On the maps of the paper's Figures 8 to 10
tactics are counted.

    python -m ciabook.battles.last_networks RESULTS [--drop]
        asks the finished runs of the study `battles` that were not asked yet, and
        writes book/results/clashes/networks.json; --drop: then drops all weights that
        no figure reads
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ciabook.battles.recording import record_trained, write_recording
from ciabook.battles.tactics import TACTICS, tactics
from ciabook.evidence.analysis import (
    concatenated,
    credit_distribution,
    evaluate_on,
    first_episodes,
    greedy_episodes,
    identified,
    kl_matrix,
    relative_difference,
    retrieval_accuracy,
    team,
)
from ciabook.studies.drop_weights import drop_weights
from ciabook.studies.runs import Entry
from ciabook.studies.study import find, standing
from ciacore.games import make_game, scenario_of
from ciacore.runtime.evaluation import evaluate
from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import WEIGHTS, Run, load_run, run_folder

CLASHES = Path(__file__).resolve().parents[3] / "book" / "results" / "clashes"
FILE = "networks.json"
BATTLES = 1_024  # that every last network plays
SHARED = 8  # greedy battles of each of two teams, on which credits are compared
POOLED = ("qmix", "qmix_cia")  # whose battles these are
WITH_CREDITS = ("qmix", "qmix_rs", "qmix_cc", "qmix_cia", "qplex", "qplex_cia")
SHUFFLED = ("qmix", "qmix_rs", "qmix_cia")  # Fig. 2
SEEN = ("6h_vs_8z", "corridor", "3s5z_vs_3s6z")  # Fig. 8 to 10
RECORDED = 32  # battles in which tactics are counted
# Fig. 2 and 8 to 10 draw the teams of the first seed
DRAWN_SEED = 1
DRAWN_MAPS = ("2c_vs_64zg", *SEEN)


def is_drawn(run: Run) -> bool:
    """Whether a figure reads the weights of a run.

    Args:
        run: of the study.
    """
    by_figure = run.config.method in SHUFFLED and scenario_of(run.game) in DRAWN_MAPS
    return by_figure and run.seed == DRAWN_SEED


def last_wins(run: Run, battles: int) -> int:
    """How many battles the last network of a run wins, acting greedily.

    Args:
        run: with weights.
        battles: how many it plays.
    """
    won = evaluate(run, make_game(run.game), episodes=battles, seed=run.seed).won
    return int(won.sum())


def credits_compared(runs: Mapping[str, Run], shared: int) -> dict[str, Any]:
    """How far teams tell agents apart by their credits, all on the same battles.

    Steps after a battle's end do not count.

    Args:
        runs: method -> a run of the same map and seed, those of POOLED among them.
        shared: battles of each of the two.

    Returns:
        `measures`, method -> name -> number, and `kl`, the matrix of Liu et al. (2023),
        Eq. 10, of the methods of `kl_methods`.
    """
    game = make_game(runs[POOLED[0]].game)
    teams = {name: team(run, game) for name, run in runs.items()}
    played = [
        greedy_episodes(teams[name], game, shared, seed=runs[name].seed)
        for name in POOLED
    ]
    pool = concatenated([first_episodes(batch, shared) for batch in played])
    real = pool.weights
    measures, distributions = {}, {}
    for name in runs:
        if name not in WITH_CREDITS:
            continue
        credits = evaluate_on(teams[name], pool).credits
        distributions[name] = credit_distribution(credits)
        kept = credits * real[..., None]
        measures[name] = {
            "told_apart": retrieval_accuracy(kept),
            "identified": identified(kept),
            "relative_difference": relative_difference(credits, real),
        }
    shown = [name for name in SHUFFLED if name in distributions]
    matrix = kl_matrix([distributions[name] for name in shown], real)
    return {"measures": measures, "kl_methods": shown, "kl": matrix.tolist()}


def tactics_of(folder: Path, battles: int, kept: Path | None) -> dict[str, list[int]]:
    """How often each tactic occurs in every battle of a run's team.

    Args:
        folder: of the run.
        battles: how many are recorded.
        kept: where the recording is written; None: nowhere.
    """
    recording = record_trained(folder, battles, seed=1)
    if kept is not None:
        write_recording(kept, recording)
    counted = Counter((found.name, found.battle) for found in tactics(recording))
    names = [find.__name__.replace("_", " ") for find in TACTICS]
    return {name: [counted[name, one] for one in range(battles)] for name in names}


def grouped(entries: Iterable[Entry]) -> dict[tuple[str, int], list[Entry]]:
    """The runs of a study by game and seed.

    Args:
        entries: its runs.
    """
    found: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        found.setdefault((entry.game, entry.seed), []).append(entry)
    return found


def asked(
    entries: Sequence[Entry],
    results: Path,
    before: Sequence[Mapping[str, Any]] = (),
    recordings: Path | None = None,
    battles: int = BATTLES,
    shared: int = SHARED,
    recorded: int = RECORDED,
) -> list[dict[str, Any]]:
    """A row per map and seed, of all runs that are done.

    A network that was asked before is not asked again. Credits are compared when all
    runs of a map and seed that have any are done.

    Args:
        entries: of the study.
        results: the folder of all runs.
        before: rows that were made before.
        recordings: the folder of the recordings that are drawn; None: none are kept.
        battles: that each last network plays.
        shared: battles of each of POOLED.
        recorded: battles in which tactics are counted.
    """
    old = {(row["game"], row["seed"]): row for row in before}
    rows = []
    for (game, seed), group in grouped(entries).items():
        new = {"game": game, "scenario": scenario_of(game), "seed": seed}
        new |= {"networks": {}, "battles": battles, "won": {}, "tactics": {}}
        row = old.get((game, seed), new)
        methods = [entry.config.method for entry in group]
        folders = {name: run_folder(results, game, name, seed) for name in methods}
        runs = {
            entry.config.method: load_run(folders[entry.config.method])
            for entry in group
            if standing(entry, results).state == "done"
        }
        for name, run in runs.items():
            if name in row["networks"] or not run.weights:
                continue
            row["networks"][name] = run.provenance["sha256"][WEIGHTS]
            row["won"][name] = last_wins(run, battles)
            if name in POOLED and row["scenario"] in SEEN:
                kept = kept_at(recordings, run)
                row["tactics"][name] = tactics_of(folders[name], recorded, kept)
        compared = [name for name in methods if name in WITH_CREDITS]
        held = {name: runs[name] for name in compared if name in runs}
        all_there = len(held) == len(compared) and all(
            run.weights for run in held.values()
        )
        if "kl" not in row and compared and all_there:
            row |= credits_compared(held, shared)
        if row["networks"]:
            rows.append(row)
    return rows


def kept_at(recordings: Path | None, run: Run) -> Path | None:
    """Where the recording of a run is kept, None where no figure draws it.

    Args:
        recordings: the folder of those that are.
        run: of the study.
    """
    if recordings is None or not is_drawn(run):
        return None
    return recordings / f"{scenario_of(run.game)}~{run.config.method}.npz"


def drop_read(rows: Sequence[Mapping[str, Any]], results: Path) -> None:
    """Drops the weights of networks that were asked and that no figure reads.

    Where credits were not compared yet, they are kept.

    Args:
        rows: as `asked` makes them.
        results: the folder of all runs.
    """
    for row in rows:
        for name in row["networks"]:
            folder = run_folder(results, row["game"], name, row["seed"])
            waits = name in WITH_CREDITS and "kl" not in row
            if folder.is_dir() and not waits and not is_drawn(load_run(folder)):
                drop_weights(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks the networks and writes the file; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="last_networks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("results", type=Path, help="the folder of all runs")
    parser.add_argument("--drop", action="store_true", help="weights no figure reads")
    parser.add_argument("--out", type=Path, default=CLASHES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    entries = find("battles")
    path = options.out / FILE
    before = json.loads(path.read_text())["rows"] if path.is_file() else []
    rows = asked(entries, options.results, before, options.out / "recordings")
    made = {**provenance("cpu"), "finished": now()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({"rows": rows, "provenance": made}, indent=1) + "\n")
    print(f"{path}: {sum(len(row['networks']) for row in rows)} networks")
    if options.drop:
        drop_read(rows, options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
