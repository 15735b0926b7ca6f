"""Studies as data: each is a list of runs.

What has become of a run is read from its folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ciabook.studies.battles import (
    COMPARED,
    FOUR,
    MAPS,
    battles,
    calibration_runs,
    clashes,
    proof,
    protocol_runs,
)
from ciabook.studies.own import is_own, own_study
from ciabook.studies.runs import SEEDS, Entry, grid
from ciacore.config import Config, known_name
from ciacore.games import game_name, make_game
from ciacore.methods import METHODS
from ciacore.runtime.checkpoint import held, work_folder
from ciacore.runtime.metrics import read_lines
from ciacore.runtime.sealed import ENDING, is_kept
from ciacore.runtime.session import finished
from ciacore.runtime.store import run_folder
from ciacore.types import Game, InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[3]
# what controls follow: `ciabook.evidence.wake_calibration` wrote it
CALIBRATED = json.loads((ROOT / "book" / "data" / "wake_calibration.json").read_text())
ALPHAS = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.5, 1.0)  # the paper's grid


class Standing(NamedTuple):
    """What has become of a run."""

    entry: Entry
    state: str  # "done", "running", "failed", "damaged", or "missing"
    detail: str = ""


CIA = METHODS["qmix_cia"]
WAKE_SEEDS = range(101, 141)  # fresh: no run of the book used them before
LOGGED = ("mean_credit", "relative_difference")  # terms without any effect
# chosen on seeds 901 and 904: with it the scale passes its manipulation check
SCALE_WEIGHT = 1.0
# no arm of the rule: an equaliser that more than halves the relative difference of
# credits on seeds 901 and 904, which one as gentle as CIA does not
STRONG_WEIGHT = 0.3


def wake(arm: str, method: str, env_steps: int = 150_000, **changes: Any) -> Config:
    """An arm of the experiment on what wakes a team (book/rules/what_wakes_a_team.md).

    Args:
        arm: its name.
        method: a name in METHODS.
        env_steps: how long it trains.
        changes: fields of its Config that differ from those of the method.
    """
    return METHODS[method].but(method=f"{arm}_wake", env_steps=env_steps, **changes)


def with_alpha(alpha: float) -> Config:
    """QMIX(CIA) with a coefficient; the published one keeps its name."""
    if alpha == CIA.cia_coefficient:
        return CIA
    return CIA.but(method=f"qmix_cia_{alpha}", cia_coefficient=alpha)


def trained(methods: Sequence[str], env_steps: int) -> list[Config]:
    """Methods with another length of training.

    Args:
        methods: names in METHODS.
        env_steps: how long they train.
    """
    return [METHODS[name].but(env_steps=env_steps) for name in methods]


def short_runs(methods: Sequence[str]) -> list[Entry]:
    """Many short runs of some methods on Turn.

    How often a team learns to stay is decided early: many short runs say more than a
    few long ones.
    """
    configs = []
    for name in methods:
        changes = {"method": f"{name}_rest", "env_steps": 250_000}
        configs.append(METHODS[name].but(**changes))
    return grid(configs, "turn", range(1, 21))


# arm: its Config
WAKE = {
    "qmix": wake("qmix", "qmix"),
    "cia": wake("cia", "qmix_cia"),
    "rs": wake("rs", "qmix_rs"),
    "cc": wake("cc", "qmix_cc"),
    "vdn": wake("vdn", "vdn"),
    "one_layer": wake("one_layer", "qmix", hypernetwork_size=0),
    "epsilon_end": wake("epsilon_end", "qmix", epsilon_end=0.1),
    "adam": wake("adam", "qmix", optimizer="adam"),
    "gre": wake("gre", "gre"),
    "epsilon_200k": wake(
        "epsilon_200k", "qmix", env_steps=350_000, epsilon_steps=200_000
    ),
    "qmix_late": wake("qmix_late", "qmix", env_steps=350_000),
    # arms with terms of their own, which also log credits
    "permuted": wake("permuted", "qmix_cia", terms=("cia_permuted", *LOGGED)),
    "frozen": wake("frozen", "qmix_cia", terms=("cia_frozen", *LOGGED)),
    "equaliser": wake(
        "equaliser",
        "qmix",
        terms=("equaliser", *LOGGED),
        control_coefficient=CALIBRATED["equaliser"]["weight"],
    ),
    "scale": wake(
        "scale",
        "qmix",
        terms=("scale", *LOGGED),
        control_coefficient=SCALE_WEIGHT,
        control_course=CALIBRATED["scale"]["course"],
        control_interval=CALIBRATED["scale"]["interval"],
    ),
    "noise": wake(
        "noise",
        "qmix",
        terms=("noise", *LOGGED),
        control_course=CALIBRATED["noise"]["course"],
        control_interval=CALIBRATED["noise"]["interval"],
    ),
    "optimistic": wake("optimistic", "qmix", agent="optimistic", terms=LOGGED),
    "cia_early": wake(
        "cia_early", "qmix_cia", terms=("cia_timed", *LOGGED), control_stop=60_000
    ),
    "cia_late": wake(
        "cia_late",
        "qmix_cia",
        env_steps=350_000,
        terms=("cia_timed", *LOGGED),
        control_start=100_000,
    ),
}
# what the equaliser is held against in its manipulation check: the arm `qmix` again,
# as long as the check looks at it, with its credits logged
QMIX_LOGGED = wake("qmix_logged", "qmix", env_steps=60_000, terms=LOGGED)
EQUALISER_STRONG = WAKE["equaliser"].but(
    method="equaliser_strong_wake", control_coefficient=STRONG_WEIGHT
)
CALIBRATION_SEEDS = range(901, 911)  # in no comparison
EQUALISER_TRIED = 0.02  # a weight near the one that is looked for


def calibration(
    name: str, method: str, env_steps: int, terms: Sequence[str] = (), **changes: Any
) -> Config:
    """Runs that say what a control of the experiment has to follow.

    Means are written down every 1,000 env steps, with a single greedy episode. When a
    team is evaluated has no effect on its training.

    Args:
        name: of the runs.
        method: a name in METHODS.
        env_steps: how long they train.
        terms: besides those that log credits.
        changes: fields of the Config that differ from those of the method.
    """
    return METHODS[method].but(
        method=f"{name}_calibration",
        env_steps=env_steps,
        evaluation_interval=1_000,
        evaluation_games=1,
        terms=(*terms, *LOGGED),
        **changes,
    )


WAKE_CALIBRATION = [
    calibration("cia", "qmix_cia", 150_000, ["cia_measured"]),
    calibration("qmix", "qmix", 60_000),
    calibration(
        "equaliser",
        "qmix",
        103_000,  # ends after a thousand updates
        ["equaliser_measured"],
        control_coefficient=EQUALISER_TRIED,
    ),
]
# weights that were chosen, tried on two of the calibration seeds
PREVIEW_SEEDS = (901, 904)
WAKE_PREVIEWS = [
    calibration(
        "equaliser_strong",
        "qmix",
        60_000,
        ["equaliser"],
        control_coefficient=STRONG_WEIGHT,
    ),
    calibration(
        "scale",
        "qmix",
        150_000,
        ["scale"],
        control_coefficient=SCALE_WEIGHT,
        control_course=CALIBRATED["scale"]["course"],
        control_interval=CALIBRATED["scale"]["interval"],
    ),
]
# What is MAVEN without its latents, and with latents that stay in play? The rule is
# book/rules/maven.md.
MILLION = 1_000_000
MAVEN_FAIR = {
    "maven": METHODS["maven"].but(method="maven_1m", env_steps=MILLION),
    "maven_entropy": METHODS["maven"].but(
        method="maven_entropy_1m", env_steps=MILLION, maven_entropy_weight=1.0
    ),
    "qmix_maven_hypernetworks": METHODS["qmix"].but(
        method="qmix_maven_hypernetworks_1m", env_steps=MILLION, hypernetwork_size=0
    ),
}
MAVEN_SEEDS = (211, 212, 213)  # fresh
# what credits are judged on (book/rules/right_credits.md): its seeds are in no other
# study, and its runs are trained by `ciabook.evidence.right_credits`, which scores them
RIGHT_STEPS, RIGHT_LONG = 200_000, 1_000_000
IN_TURN = ("vdn", "qmix", "qmix_rs", "qmix_cia")
IN_PREDATOR_PREY = ("vdn", "qmix", "qmix_cia", "qplex", "qplex_cia")
# 0 and 0.02 are the arms qmix and cia
WAKE_ALPHAS = (0.001, 0.005, 0.01, 0.04, 0.1, 0.5, 1.0)
# Games of other packages (book/rules/other_games.md): label -> the name of the game,
# and for how many env steps every method trains
FORAGING = {"reward": "sum", "limit_is_truncation": True}
OTHER_GAMES = {
    "Foraging-8x8-2p-2f-coop": (
        game_name("gymnasium:lbforaging:Foraging-8x8-2p-2f-coop-v3", **FORAGING),
        400_000,
    ),
    "Foraging-10x10-3p-3f": (
        game_name("gymnasium:lbforaging:Foraging-10x10-3p-3f-v3", **FORAGING),
        250_000,
    ),
    "simple_spread": (
        game_name("pettingzoo:mpe2.simple_spread_v3", reward="sum", N=3),
        100_000,
    ),
}
IN_OTHER_GAMES = ("vdn", "qmix", "qmix_cia", "qmix_rs")


def in_other_games(seeds: Iterable[int]) -> list[Entry]:
    """Every game and method with the first seed, then with the second, and so on.

    Args:
        seeds: of every method in every game.
    """
    return [
        Entry(METHODS[method].but(env_steps=env_steps), game, seed)
        for seed in seeds
        for game, env_steps in OTHER_GAMES.values()
        for method in IN_OTHER_GAMES
    ]


def showcase(method: str, **changes: Any) -> Config:
    """A method in the test of its own paper (book/rules/showcases.md).

    Args:
        method: a name in METHODS.
        changes: fields of its Config that differ from those of the method.
    """
    return METHODS[method].but(method=f"{method}_showcase", **changes)


SHOWCASE_SEEDS = range(301, 306)  # fresh: no run of the book used them before
# a small replay, and steps of the optimizer four times as long
BRISK: dict[str, Any] = {
    "buffer": 500,
    "target_interval": 100,
    "learning_rate": 2e-3,
}
TWO_STEP: dict[str, Any] = {
    **BRISK,
    "env_steps": 5_000,
    "n_games": 4,
    "epsilon_end": 1.0,  # every action is random, as in the paper
    "evaluation_interval": 500,
}
M_STEP: dict[str, Any] = {
    **BRISK,
    "env_steps": 20_000,
    "n_games": 8,
    "epsilon_steps": 10_000,
    "evaluation_interval": 1_000,
}
PREY: dict[str, Any] = {
    "env_steps": 400_000,
    "n_games": 2,
    "batch": 16,
    "target_interval": 100,
    "learning_rate": 1e-3,
    "epsilon_steps": 50_000,
}
PREY_METHODS = ("vdn", "qmix", "qtran", "qplex", "ow_qmix", "cw_qmix")

STUDIES: dict[str, list[Entry]] = {
    "smoke": grid(
        [METHODS[name].but(env_steps=2_000) for name in ("qmix", "qmix_cia")],
        "turn",
        (1, 2),
    ),
    # what a cluster is tried with
    "minute": grid([METHODS["qmix_cia"].but(env_steps=150_000)], "turn", (1, 2)),
    "turn": grid(METHODS.values(), "turn"),
    "departures": grid(
        [
            CIA,
            CIA.but(method="qmix_cia_exact", credit_derivative="exact"),
            CIA.but(
                method="qmix_cia_attached",
                credit_derivative="exact",
                credit_detach=False,
            ),
            METHODS["qmix_cc"],
        ],
        "turn",
    ),
    "alpha": grid([with_alpha(alpha) for alpha in ALPHAS], "turn", SEEDS[:3]),
    "rest": short_runs(("qmix", "qmix_cc", "qmix_cia")),
    # one backbone, and three things done to its credits: made alike, left alone, made
    # to differ
    "cause": short_runs(("qmix_rs", "qmix", "qmix_cia")),
    # E1: arm after arm
    "wake": [
        Entry(config, "turn", seed) for config in WAKE.values() for seed in WAKE_SEEDS
    ],
    "wake_logged": [Entry(QMIX_LOGGED, "turn", seed) for seed in WAKE_SEEDS],
    "wake_strong": [Entry(EQUALISER_STRONG, "turn", seed) for seed in WAKE_SEEDS],
    "wake_calibration": grid(WAKE_CALIBRATION, "turn", CALIBRATION_SEEDS),
    "wake_previews": grid(WAKE_PREVIEWS, "turn", PREVIEW_SEEDS),
    # E3: the dose of CIA
    "wake_alpha": [
        Entry(wake(f"cia_{alpha}", "qmix_cia", cia_coefficient=alpha), "turn", seed)
        for alpha in WAKE_ALPHAS
        for seed in WAKE_SEEDS
    ],
    # E2: full length, in a results folder of its own; the rule says what is known of
    # these seeds
    "wake_long": grid(
        [METHODS[method] for method in ("qmix", "qmix_cia")], "turn", range(6, 16)
    ),
    "maven_fair": grid(MAVEN_FAIR.values(), "turn", MAVEN_SEEDS),
    "battles_full": battles(MAPS, COMPARED),
    "battles_full_cc": battles(FOUR, [METHODS["qmix_cia"], METHODS["qmix_cc"]]),
    # Fig. 2, with `battles_full`
    "battles_full_rs": battles(("2c_vs_64zg", "3s5z_vs_3s6z"), [METHODS["qmix_rs"]]),
    # the comparison at a reduced budget, on calibrated maps
    "battles": clashes(),
    # QMIX alone: how battles are trained, and how hard foes hit
    "battle_protocol": protocol_runs(),
    "battle_calibration": calibration_runs(),
    "other_games": in_other_games(SEEDS),
    # each method in its own paper's test
    "showcases_tiny": [
        *grid(
            [showcase(name, **TWO_STEP) for name in ("vdn", "qmix")],
            "two_step",
            SHOWCASE_SEEDS,
        ),
        *grid(
            [showcase(name, **M_STEP) for name in ("qmix", "maven")],
            "m_step",
            SHOWCASE_SEEDS,
        ),
    ],
    "showcases_prey": grid(
        [showcase(name, **PREY) for name in PREY_METHODS],
        "predator_prey",
        SHOWCASE_SEEDS[:3],
    ),
    "right_credits_turn": [
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_3", range(204, 211)),
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_6", range(201, 211)),
    ],
    "right_credits_long": grid(trained(IN_TURN, RIGHT_LONG), "turn_3", range(201, 204)),
    "right_credits_prey": grid(
        trained(IN_PREDATOR_PREY, RIGHT_STEPS), "predator_prey_0", range(201, 204)
    ),
    # what a machine without a GPU can show: that teams learn
    "battles_proof": [
        entry
        for name in ("10m_vs_11m", "6h_vs_8z")
        for entry in grid(
            [proof("qmix", name), proof("qmix_cia", name)], f"smax_{name}", (1, 2)
        )
    ],
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
    "wake_previews": "book/results/wake_calibration",
    "wake_alpha": "book/results/wake",
    "wake_long": "book/results/wake_long",
    "maven_fair": "book/results/maven_fair",
    "showcases_tiny": "book/results/showcases",
    "showcases_prey": "book/results/showcases",
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
        InvalidInputError: an unknown name, or a file that holds no study.
    """
    if is_own(study):
        return own_study(Path(study))
    return STUDIES[known_name(study, STUDIES, "study")]


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
