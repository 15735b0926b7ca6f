"""Studies as data: each is a list of runs.

What has become of a run is read from its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ciabook.studies.own import is_own, own_study
from ciabook.studies.runs import SEEDS, Entry, grid
from ciacore.config import Config, known_name
from ciacore.games import make_game
from ciacore.methods import METHODS
from ciacore.runtime.checkpoint import held, work_folder
from ciacore.runtime.metrics import read_lines
from ciacore.runtime.session import finished
from ciacore.runtime.store import run_folder
from ciacore.types import Game, InvalidInputError, refuse

ROOT = Path(__file__).resolve().parents[3]
# what controls follow: `ciabook.evidence.wake_calibration` wrote it
CALIBRATED = json.loads((ROOT / "book" / "data" / "wake_calibration.json").read_text())
ALPHAS = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.5, 1.0)  # the paper's grid
SLOW = {"env_steps": 5_050_000, "epsilon_steps": 500_000}
# what a battle changes in every method, and CIA's coefficient with QMIX, with QPLEX
MAPS: dict[str, dict[str, Any]] = {
    "10m_vs_11m": {"shared": {}, "cia": (0.02, 0.1)},
    "2c_vs_64zg": {"shared": {"eoi_steps": 0.2}, "cia": (0.02, 0.02)},
    "7sz": {"shared": {}, "cia": (0.005, 0.02)},
    "6h_vs_8z": {
        "shared": {**SLOW, "optimizer": "adam", "scds_beta1": 2.0, "scds_beta2": 1.0},
        "cia": (0.005, 0.1),
    },
    "corridor": {
        "shared": {**SLOW, "optimizer": "adam", "scds_anneal": 5.0},
        "cia": (0.02, 0.02),
    },
    "3s5z_vs_3s6z": {
        "shared": {**SLOW, "scds_beta": 0.03, "scds_beta1": 2.0, "scds_beta2": 1.0},
        "cia": (0.1, 0.04),
    },
}


class Standing(NamedTuple):
    """What has become of a run."""

    entry: Entry
    state: str  # "done", "running", "failed", "damaged", or "missing"
    detail: str = ""


def in_battle(config: Config, name: str) -> Config:
    """A method with the hyper-parameters published for a battle (Liu et al. 2023).

    QPLEX weighs by Qatten there.

    Args:
        config: the method as on Turn.
        name: of the battle, a key of MAPS.
    """
    published = MAPS[name]
    with_qmix, with_qplex = published["cia"]
    changes = dict(published["shared"])
    is_qplex = config.mixer == "qplex"
    if is_qplex:
        changes["qplex_weights"] = "qatten"
    if config.cia_coefficient > 0:
        changes["cia_coefficient"] = with_qplex if is_qplex else with_qmix
    return config.but(**changes)


def proof(method: str, name: str) -> Config:
    """A method in a battle for 300,000 steps.

    It explores as long as in the maps that train for 2.05 million.

    Args:
        method: a name in METHODS.
        name: of the battle, a key of MAPS.
    """
    return in_battle(METHODS[method], name).but(
        method=f"{method}_300k", env_steps=300_000, epsilon_steps=50_000
    )


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


def battles(
    names: Iterable[str], methods: Iterable[Config], seeds: Iterable[int] = SEEDS
) -> list[Entry]:
    """Methods in some battles, battle after battle.

    Args:
        names: of the battles, keys of MAPS.
        methods: as on Turn; each is changed as published for the battle.
        seeds: of every method.
    """
    methods = list(methods)
    seeds = list(seeds)
    entries = []
    for name in names:
        configs = [in_battle(config, name) for config in methods]
        entries += grid(configs, f"smax_{name}", seeds)
    return entries


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
# what credits are judged on (book/rules/right_credits.md): its seeds are in no other
# study, and its runs are trained by `ciabook.evidence.right_credits`, which scores them
RIGHT_STEPS, RIGHT_LONG = 200_000, 1_000_000
IN_TURN = ("vdn", "qmix", "qmix_rs", "qmix_cia")
IN_PREDATOR_PREY = ("vdn", "qmix", "qmix_cia", "qplex", "qplex_cia")
# 0 and 0.02 are the arms qmix and cia
WAKE_ALPHAS = (0.001, 0.005, 0.01, 0.04, 0.1, 0.5, 1.0)
# Table 1
COMPARED = [
    config
    for name, config in METHODS.items()
    if name not in ("vdn", "qmix_rs", "qmix_cc")
]
FOUR = ("10m_vs_11m", "2c_vs_64zg", "corridor", "3s5z_vs_3s6z")  # Fig. 6

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
    "right_credits_turn": [
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_3", range(204, 211)),
        *grid(trained(IN_TURN, RIGHT_STEPS), "turn_6", range(201, 211)),
    ],
    "right_credits_long": grid(trained(IN_TURN, RIGHT_LONG), "turn_3", range(201, 204)),
    "right_credits_prey": grid(
        trained(IN_PREDATOR_PREY, RIGHT_STEPS), "predator_prey_0", range(201, 204)
    ),
    "battles": battles(MAPS, COMPARED),
    "battles_cc": battles(FOUR, [METHODS["qmix_cia"], METHODS["qmix_cc"]]),
    # Fig. 2, with `battles`
    "battles_rs": battles(("2c_vs_64zg", "3s5z_vs_3s6z"), [METHODS["qmix_rs"]]),
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
    "wake": "book/results/wake",
    "wake_logged": "book/results/wake",
    "wake_strong": "book/results/wake",
    "wake_calibration": "book/results/wake_calibration",
    "wake_previews": "book/results/wake_calibration",
    "wake_alpha": "book/results/wake",
    "wake_long": "book/results/wake_long",
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
    if folder.exists():
        try:
            run = finished(folder, entry.config, entry.game, entry.seed)
        except InvalidInputError as error:
            return Standing(entry, "damaged", str(error))
        if run is not None:
            return Standing(entry, "done")
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
    """Run folders in the games of a study that belong to no study.

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
    return sorted(found)
