"""SMAC and StarCraft II: whether they are here, and one game of a scenario with the published settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from ciacore.types import refuse

VERSION, BUILD = "4.10", "Base75689"  # the paper's StarCraft II
HELP = "env/starcraft2/README.md tells how."


class Sizes(NamedTuple):
    """What StarCraft2Env says of a scenario."""

    n_agents: int
    n_actions: int
    observation: int
    state: int
    unit: int
    limit: int
    max_reward: float  # points of damage, kills and the win


SIZES = {
    "10m_vs_11m": Sizes(10, 17, 105, 243, 4, 150, 805),
    "2c_vs_64zg": Sizes(2, 70, 332, 342, 5, 400, 3080),
    "7sz": Sizes(14, 20, 224, 462, 7, 200, 2510),
    "6h_vs_8z": Sizes(6, 14, 78, 140, 4, 150, 1480),
    "corridor": Sizes(6, 30, 156, 282, 5, 400, 1280),
    "3s5z_vs_3s6z": Sizes(8, 15, 136, 230, 7, 170, 1670),
}
SEVEN = {
    "n_agents": 14,
    "n_enemies": 14,
    "limit": 200,
    "a_race": "P",
    "b_race": "P",
    "unit_type_bits": 2,
}


def check_installation() -> None:
    """Whether SMAC and StarCraft II 4.10 are here.

    Raises:
        InvalidInputError: what is missing, or what is here in its place.
    """
    try:
        import smac
    except ModuleNotFoundError:
        refuse("smac", "SMAC of github.com/oxwhirl/smac", "no such package", HELP)
    if not (Path(next(iter(smac.__path__))) / "env").is_dir():
        got = "the package smac of PyPI, which is SMAC3, an optimiser"
        refuse(
            "smac", "SMAC of github.com/oxwhirl/smac", got, f"Uninstall that; {HELP}"
        )
    place = Path(os.environ.get("SC2PATH", "~/StarCraftII")).expanduser()
    if not place.is_dir():
        refuse("SC2PATH", "the folder of StarCraft II", str(place), HELP)
    builds = sorted(path.name for path in (place / "Versions").glob("Base*"))
    if BUILD not in builds:
        refuse(
            "SC2PATH",
            f"StarCraft II {VERSION} (Versions/{BUILD})",
            ", ".join(builds) or "no version",
            HELP,
        )


def starcraft(scenario: str) -> Any:
    """SMAC's environment with the published settings; 7sz is not among its maps and is added."""
    from smac.env import StarCraft2Env
    from smac.env.starcraft2.maps import smac_maps

    if scenario not in smac_maps.map_param_registry:
        smac_maps.map_param_registry[scenario] = {
            **SEVEN,
            "map_type": "stalkers_and_zealots",
        }
        setattr(
            smac_maps,
            scenario,
            type(scenario, (smac_maps.SMACMap,), {"filename": scenario}),
        )
    maps = (
        Path(os.environ.get("SC2PATH", "~/StarCraftII")).expanduser()
        / "Maps"
        / "SMAC_Maps"
    )
    if not (maps / f"{scenario}.SC2Map").is_file():
        whose = (
            "It comes with the authors' code, github.com/liushunyu/CIA."
            if scenario == "7sz"
            else HELP
        )
        refuse("scenario", f"its map in {maps}", f"no {scenario}.SC2Map", whose)
    return StarCraft2Env(
        map_name=scenario, difficulty="7", state_last_action=True, obs_last_action=False, reward_win=200,
        reward_scale_rate=20, continuing_episode=False, game_version=VERSION,
    )  # fmt: skip
