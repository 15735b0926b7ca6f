"""Studies of battles: published hyper-parameters, lengths of training, difficulty."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ciabook.studies.runs import SEEDS, Entry, grid
from ciacore.config import Config
from ciacore.games import clash_name
from ciacore.methods import METHODS

DATA = Path(__file__).resolve().parents[3] / "book" / "data"

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
# Table 1
COMPARED = [
    config
    for name, config in METHODS.items()
    if name not in ("vdn", "qmix_rs", "qmix_cc")
]
FOUR = ("10m_vs_11m", "2c_vs_64zg", "corridor", "3s5z_vs_3s6z")  # Fig. 6
# the protocol is chosen by QMIX on two maps, with one game per update and with eight
PROTOCOL_MAPS = ("10m_vs_11m", "3s5z_vs_3s6z")
PROTOCOL_GAMES = (1, 8)
# they choose the protocol and calibrate the maps, and appear in no comparison
TUNING_SEEDS = (901, 902)
BUDGET_SECONDS = 900  # of one core, for every run
# of the comparison
TIER_1 = ("qmix", "qmix_cia", "qplex", "qplex_cia")  # on all maps
TIER_2 = ("qtran", "ow_qmix", "cw_qmix", "maven", "eoi", "gre", "scds")
WITH_CC = FOUR  # Fig. 6
WITH_RS = ("2c_vs_64zg", "3s5z_vs_3s6z")  # Fig. 2
EPSILON_SHARE = 0.1  # of the budget, until epsilon is at its end


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


def frozen(name: str) -> dict[str, Any]:
    """What was measured once and is not to move any more: a file of book/data.

    Args:
        name: of the file; what a missing one would say is empty.
    """
    path = DATA / name
    return json.loads(path.read_text()) if path.is_file() else {}


def budget(rate: float) -> int:
    """Env steps of 15 minutes of one core, in whole thousands.

    Args:
        rate: env steps per second.
    """
    return round(BUDGET_SECONDS * rate / 1_000) * 1_000


def within(config: Config, env_steps: int) -> Config:
    """A method trained for a budget, over whose first tenth epsilon falls.

    Args:
        config: the method.
        env_steps: the budget.
    """
    return config.but(
        env_steps=env_steps, epsilon_steps=round(EPSILON_SHARE * env_steps)
    )


def protocol_runs() -> list[Entry]:
    """QMIX with one game per update and with eight, for the same time of a core.

    Rates and difficulty are read from `battle_protocol.json`, which
    `ciabook.battles.protocol` wrote before the first run; without it there are no runs.
    """
    facts = frozen("battle_protocol.json")
    if not facts:
        return []
    entries = []
    for seed in TUNING_SEEDS:
        for name in PROTOCOL_MAPS:
            game = clash_name(name, facts["foe_damage"][name])
            for n_games in PROTOCOL_GAMES:
                env_steps = budget(facts["rates"][name][str(n_games)])
                config = within(in_battle(METHODS["qmix"], name), env_steps)
                config = config.but(method=f"qmix_{n_games}_games", n_games=n_games)
                entries.append(Entry(config, game, seed))
    return entries


def calibration_run(name: str, tenths: int, seed: int) -> Entry:
    """QMIX on a map with one value of `foe_damage`, as the protocol was chosen.

    It is named as the runs of the protocol are: one of these may be the same run.

    Args:
        name: of the map, a key of MAPS.
        tenths: ten times `foe_damage`.
        seed: one of TUNING_SEEDS.
    """
    facts = frozen("battle_protocol.json")
    config = in_battle(METHODS["qmix"], name)
    config = within(config, facts["budgets"][name])
    n_games = facts["games_per_update"]
    config = config.but(method=f"qmix_{n_games}_games", n_games=n_games)
    return Entry(config, clash_name(name, tenths / 10), seed)


def calibration_runs() -> list[Entry]:
    """What was trained to calibrate the maps, as `battle_calibration.json` has it."""
    rows = frozen("battle_calibration.json").get("scenarios", {})
    return [
        calibration_run(name, round(10 * float(value)), seed)
        for name, row in rows.items()
        for value, found in row["tried"].items()
        for seed in TUNING_SEEDS[: found["seeds"]]
    ]


def clashes() -> list[Entry]:
    """The comparison, seed after seed, tier 1 before tier 2 (book/rules/battles.md).

    There are no runs before every map's `foe_damage` is frozen in
    `battle_calibration.json`.
    """
    rows = frozen("battle_calibration.json").get("scenarios", {})
    values = {name: row["foe_damage"] for name, row in rows.items()}
    if set(values) != set(MAPS) or None in values.values():
        return []
    first = [run for seed in (1, 2, 3, 4, 5) for run in tier_1(values, seed)]
    return first + [run for seed in (1, 2) for run in tier_2(values, seed)]


def tier_1(values: dict[str, float], seed: int) -> list[Entry]:
    """What Figures 2, 5 and 6 and the decisions need, with one seed.

    Args:
        values: map -> `foe_damage`.
        seed: of every run.
    """
    entries = []
    for name in MAPS:
        methods = list(TIER_1)
        if name in WITH_CC:
            methods.append("qmix_cc")
        if name in WITH_RS:
            methods.append("qmix_rs")
        entries += [compared(method, name, values[name], seed) for method in methods]
    return entries


def tier_2(values: dict[str, float], seed: int) -> list[Entry]:
    """The other methods of Table 1, with one seed.

    Args:
        values: map -> `foe_damage`.
        seed: of every run.
    """
    return [
        compared(method, name, values[name], seed) for method in TIER_2 for name in MAPS
    ]


def compared(method: str, name: str, foe_damage: float, seed: int) -> Entry:
    """A run of the comparison: the map's budget, the protocol that QMIX chose.

    Args:
        method: a name in METHODS.
        name: of the map, a key of MAPS.
        foe_damage: of the map.
        seed: of the run.
    """
    facts = frozen("battle_protocol.json")
    config = within(in_battle(METHODS[method], name), facts["budgets"][name])
    return Entry(
        config.but(n_games=facts["games_per_update"]),
        clash_name(name, foe_damage),
        seed,
    )


STUDIES: dict[str, list[Entry]] = {
    "battles_full": battles(MAPS, COMPARED),
    "battles_full_cc": battles(FOUR, [METHODS["qmix_cia"], METHODS["qmix_cc"]]),
    # Fig. 2, with `battles_full`
    "battles_full_rs": battles(("2c_vs_64zg", "3s5z_vs_3s6z"), [METHODS["qmix_rs"]]),
    # the comparison at a reduced budget, on calibrated maps
    "battles": clashes(),
    # QMIX alone: how battles are trained, and how hard foes hit
    "battle_protocol": protocol_runs(),
    "battle_calibration": calibration_runs(),
    # what a machine without a GPU can show: that teams learn
    "battles_proof": [
        entry
        for name in ("10m_vs_11m", "6h_vs_8z")
        for entry in grid(
            [proof("qmix", name), proof("qmix_cia", name)], f"smax_{name}", (1, 2)
        )
    ],
}
# study: what has to be done before it has runs
WAITS_FOR = {
    "battle_protocol": "Run `python -m ciabook.battles.protocol freeze`.",
    "battle_calibration": "Train and decide `battle_protocol` first, then run "
    "`python -m ciabook.battles.calibration` (book/rules/battles.md).",
    "battles": "Its maps are not calibrated yet: see book/rules/battles.md, and "
    "`make status STUDY=battle_protocol`.",
}
