"""SMAC and StarCraft II: whether they are here, and one game of a scenario.

The settings are the published ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from ciacore.types import refuse

VERSION, BUILD = "4.10", "Base75689"  # the paper's StarCraft II
HELP = "env/starcraft2/README.md says how."


class Sizes(NamedTuple):
    """What StarCraft2Env says of a scenario."""

    n_agents: int
    n_actions: int
    observation: int  # numbers per agent
    state: int  # numbers in all
    unit: int  # numbers per agent at the front of the state
    limit: int  # steps
    max_reward: float  # points of damage, kills and the win


SIZES = {
    # agents, actions, observation, state, unit, limit, highest reward
    "10m_vs_11m": Sizes(10, 17, 105, 243, 4, 150, 805),
    "2c_vs_64zg": Sizes(2, 70, 332, 342, 5, 400, 3080),
    "7sz": Sizes(14, 20, 224, 462, 7, 200, 2510),
    "6h_vs_8z": Sizes(6, 14, 78, 140, 4, 150, 1480),
    "corridor": Sizes(6, 30, 156, 282, 5, 400, 1280),
    "3s5z_vs_3s6z": Sizes(8, 15, 136, 230, 7, 170, 1670),
}
# 7sz, which is not among SMAC's maps, as an entry of its registry
SEVEN = {
    "n_agents": 14,
    "n_enemies": 14,
    "limit": 200,
    "a_race": "P",
    "b_race": "P",
    "unit_type_bits": 2,
    "map_type": "stalkers_and_zealots",
}


def check_installation() -> None:
    """Refuses where SMAC or StarCraft II 4.10 is missing.

    Raises:
        InvalidInputError: what is missing, or what is here in its place.
    """
    check_smac()
    check_version()


def check_smac() -> None:
    """Refuses where SMAC is missing, or another package has its name.

    Raises:
        InvalidInputError: no package `smac`, or the one of PyPI.
    """
    try:
        import smac
    except ModuleNotFoundError:
        refuse("smac", "SMAC of github.com/oxwhirl/smac", "no such package", HELP)
    package = Path(next(iter(smac.__path__)))
    if not (package / "env").is_dir():
        refuse(
            "smac",
            "SMAC of github.com/oxwhirl/smac",
            "the package smac of PyPI, which is SMAC3, an optimiser",
            f"Uninstall that; {HELP}",
        )


def check_version() -> None:
    """Refuses where StarCraft II is missing, or is not of the paper's version.

    Raises:
        InvalidInputError: no folder of StarCraft II, or none of its build.
    """
    folder = starcraft_folder()
    if not folder.is_dir():
        refuse("SC2PATH", "the folder of StarCraft II", str(folder), HELP)
    builds = sorted(path.name for path in (folder / "Versions").glob("Base*"))
    if BUILD not in builds:
        refuse(
            "SC2PATH",
            f"StarCraft II {VERSION} (Versions/{BUILD})",
            ", ".join(builds) or "no version",
            HELP,
        )


def check_map(scenario: str) -> None:
    """Refuses where the map of a scenario is missing.

    Raises:
        InvalidInputError: no such map among those of StarCraft II.
    """
    maps = starcraft_folder() / "Maps" / "SMAC_Maps"
    if (maps / f"{scenario}.SC2Map").is_file():
        return
    if scenario == "7sz":
        cure = "It comes with the authors' code, github.com/liushunyu/CIA."
    else:
        cure = HELP
    refuse("scenario", f"its map in {maps}", f"no {scenario}.SC2Map", cure)


def starcraft_folder() -> Path:
    """Where StarCraft II is: SC2PATH where it names a folder, or the home folder."""
    named = Path(os.environ.get("SC2PATH") or "~/StarCraftII")
    try:
        return named.expanduser()
    except RuntimeError:  # nobody's home
        return named


def starcraft(scenario: str) -> Any:
    """SMAC's environment with the published settings.

    Args:
        scenario: one of `SIZES`.

    Returns:
        A StarCraft2Env; StarCraft II itself starts at its first reset.

    Raises:
        InvalidInputError: the scenario's map is missing.
    """
    from smac.env import StarCraft2Env
    from smac.env.starcraft2.maps import smac_maps

    if scenario not in smac_maps.map_param_registry:
        add_seven(smac_maps, scenario)
    check_map(scenario)
    return StarCraft2Env(
        map_name=scenario,
        difficulty="7",
        state_last_action=True,
        obs_last_action=False,
        reward_win=200,
        reward_scale_rate=20,
        continuing_episode=False,
        game_version=VERSION,
    )


def add_seven(smac_maps: Any, scenario: str) -> None:
    """Adds 7sz to SMAC's maps: an entry and a class, as SMAC has for each of its own.

    Args:
        smac_maps: SMAC's module of that name.
        scenario: the name of the map and of its file.
    """
    smac_maps.map_param_registry[scenario] = dict(SEVEN)
    map_class = type(scenario, (smac_maps.SMACMap,), {"filename": scenario})
    setattr(smac_maps, scenario, map_class)
