"""Studies as data: each is a list of runs, and what has become of a run is read from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ciacore.config import Config, known_name
from ciacore.methods import METHODS
from ciacore.runtime.checkpoint import held, work_folder
from ciacore.runtime.session import finished
from ciacore.runtime.store import run_folder
from ciacore.types import InvalidInputError

SEEDS = (1, 2, 3, 4, 5)
ALPHAS = (0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.5, 1.0)  # the paper's grid
SLOW = {"env_steps": 5_050_000, "epsilon_steps": 500_000}
MAPS: dict[
    str, dict[str, Any]
] = {  # what a battle changes in every method, and CIA's coefficient with QMIX, with QPLEX
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


class Entry(NamedTuple):
    """One run of a study."""

    config: Config
    game: str  # key in ciacore.games.GAMES
    seed: int


class Standing(NamedTuple):
    """What has become of a run."""

    entry: Entry
    state: str  # "done", "running", "failed", "damaged", or "missing"
    detail: str = ""


def grid(
    configs: Iterable[Config], game: str, seeds: Iterable[int] = SEEDS
) -> list[Entry]:
    """Every config's first seed, then every config's second, and so on."""
    configs = list(configs)
    return [Entry(config, game, seed) for seed in seeds for config in configs]


def in_battle(config: Config, name: str) -> Config:
    """A method with the hyper-parameters published for a battle; QPLEX weighs by Qatten there (Liu et al. 2023)."""
    changes = dict(MAPS[name]["shared"])
    if config.mixer == "qplex":
        changes["qplex_weights"] = "qatten"
    if config.cia_coefficient > 0:
        changes["cia_coefficient"] = MAPS[name]["cia"][config.mixer == "qplex"]
    return config.but(**changes)


def proof(method: str, name: str) -> Config:
    """A method in a battle for 300,000 steps, exploring as long as in the maps that train for 2.05 million."""
    return in_battle(METHODS[method], name).but(
        method=f"{method}_300k", env_steps=300_000, epsilon_steps=50_000
    )


CIA = METHODS["qmix_cia"]
WAKE_SEEDS = range(101, 141)  # fresh: no run of the book used them before


def wake(arm: str, method: str, env_steps: int = 150_000, **changes: Any) -> Config:
    """An arm of the experiment on what wakes a team (book/rules/what_wakes_a_team.md)."""
    return METHODS[method].but(method=f"{arm}_wake", env_steps=env_steps, **changes)


# arm: its Config. The arms that need terms of their own follow when the terms are
# there.
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
}
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
    "alpha": grid(
        [
            CIA
            if a == CIA.cia_coefficient
            else CIA.but(method=f"qmix_cia_{a}", cia_coefficient=a)
            for a in ALPHAS
        ],
        "turn",
        SEEDS[:3],
    ),
    # how often a team learns to stay is decided early: many short runs say more than a
    # few long ones
    "rest": grid(
        [
            METHODS[name].but(method=f"{name}_rest", env_steps=250_000)
            for name in ("qmix", "qmix_cc", "qmix_cia")
        ],
        "turn",
        range(1, 21),
    ),
    # one backbone, and three things done to its credits: made alike, left alone, made
    # to differ
    "cause": grid(
        [
            METHODS[name].but(method=f"{name}_rest", env_steps=250_000)
            for name in ("qmix_rs", "qmix", "qmix_cia")
        ],
        "turn",
        range(1, 21),
    ),
    # E1: arm after arm
    "wake": [
        Entry(config, "turn", seed) for config in WAKE.values() for seed in WAKE_SEEDS
    ],
    "wake_alpha": [  # E3: the dose of CIA
        Entry(wake(f"cia_{alpha}", "qmix_cia", cia_coefficient=alpha), "turn", seed)
        for alpha in WAKE_ALPHAS
        for seed in WAKE_SEEDS
    ],
    # E2: full length, in a results folder of its own; the rule says what is known of
    # these seeds
    "wake_long": [
        Entry(METHODS[method], "turn", seed)
        for seed in range(6, 16)
        for method in ("qmix", "qmix_cia")
    ],
    "battles": [
        entry
        for name in MAPS
        for entry in grid(
            [in_battle(config, name) for config in COMPARED], f"smax_{name}"
        )
    ],
    "battles_cc": [
        entry
        for name in FOUR
        for entry in grid(
            [in_battle(METHODS[method], name) for method in ("qmix_cia", "qmix_cc")],
            f"smax_{name}",
        )
    ],
    "battles_rs": [  # Fig. 2, with `battles`
        entry
        for name in ("2c_vs_64zg", "3s5z_vs_3s6z")
        for entry in grid([in_battle(METHODS["qmix_rs"], name)], f"smax_{name}")
    ],
    "battles_proof": [  # what a machine without a GPU can show: that teams learn
        entry
        for name in ("10m_vs_11m", "6h_vs_8z")
        for entry in grid(
            [proof(method, name) for method in ("qmix", "qmix_cia")],
            f"smax_{name}",
            (1, 2),
        )
    ],
}


def find(study: str) -> list[Entry]:
    """The runs of a study.

    Raises:
        InvalidInputError: an unknown name.
    """
    return STUDIES[known_name(study, STUDIES, "study")]


def difference(config: Config) -> tuple[str, dict[str, Any]]:
    """The method a config is nearest to, and the fields in which it differs: what notebooks/train.ipynb is told."""
    fields, found = config.to_dict(), []
    for name, base in METHODS.items():
        changed = {
            key: value for key, value in fields.items() if base.to_dict()[key] != value
        }
        found.append((len(changed), name, changed))
    _, name, changed = min(found, key=lambda each: each[0])
    return name, changed


def failure_file(folder: Path) -> Path:
    """Where the failure of a run is written down: `.seed_<k>.failed` beside `seed_<k>`."""
    return folder.with_name(f".{folder.name}.failed")


def standing(entry: Entry, results: str | Path) -> Standing:
    """What has become of a run, told from its folder, its lock, and the failure that was written down."""
    folder = run_folder(results, entry.game, entry.config.method, entry.seed)
    if folder.exists():
        try:
            finished(folder, entry.config, entry.game, entry.seed)
        except InvalidInputError as error:
            return Standing(entry, "damaged", str(error))
        return Standing(entry, "done")
    if held(folder):
        return Standing(entry, "running")
    if failure_file(folder).exists():
        lines = failure_file(folder).read_text(errors="replace").strip().splitlines()
        return Standing(
            entry, "failed", lines[-1] if lines else "no reason was written down"
        )
    return Standing(
        entry,
        "missing",
        "has a checkpoint" if (work_folder(folder) / "checkpoint").exists() else "",
    )


def survey(entries: Sequence[Entry], results: str | Path) -> list[Standing]:
    """What has become of each run."""
    return [standing(entry, results) for entry in entries]


def strangers(entries: Sequence[Entry], results: str | Path) -> list[Path]:
    """Run folders in the games of a study that are not among its runs, nor among those of any other study."""
    games = {entry.game for entry in entries}
    known = {
        run_folder(results, e.game, e.config.method, e.seed)
        for study in STUDIES.values()
        for e in study
    }
    known |= {run_folder(results, e.game, e.config.method, e.seed) for e in entries}
    return sorted(
        path
        for game in games
        for path in (Path(results) / game).glob("*/*")
        if path not in known and not path.name.startswith(".")
    )
