"""StarCraft2Env behind `Smac`, against a stand-in for Blizzard's binary.

Only where SMAC is installed; StarCraft2Env is not modified.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.toys import rng

from ciacore.games.battles.smac import Smac
from ciacore.games.battles.starcraft import BUILD, SIZES
from ciacore.learning.rollout import play
from ciacore.types import EpisodeLost

pytestmark = pytest.mark.sc2
PROGRAM = Path(__file__).parent / "support" / "toy_sc2.py"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that looks like StarCraft II 4.10 with SMAC's maps."""
    place = tmp_path_factory.mktemp("StarCraftII")
    for folder in (f"Versions/{BUILD}", "Maps/SMAC_Maps", "Replays", "Libs"):
        (place / folder).mkdir(parents=True)
    for scenario in SIZES:
        (place / "Maps" / "SMAC_Maps" / f"{scenario}.SC2Map").write_bytes(b"a map")
    program = place / "Versions" / BUILD / "SC2_x64"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SC2PATH", str(place))
        patch.setenv("TOY_SC2_CRASH", str(place / "crash"))
        yield place


class Anything:
    """Any available action, but attacks where there are some."""

    def start(self, observations, states, generator):
        return None

    def act(self, observations, available, memory, generator):
        wanted = torch.rand(available.shape, generator=generator) + 2 * (
            torch.arange(available.shape[-1]) > 5
        )
        return wanted.masked_fill(~available, -1).argmax(-1), memory


@pytest.mark.parametrize("scenario", SIZES)
def test_whole_battles(installed: Path, scenario: str) -> None:
    """The real sizes; returns lie between 0 and 20, and 20 is a win."""
    game = Smac(scenario, games=1)
    try:
        episodes = play(game, Anything(), 1, rng(), 0.99)
    finally:
        game.close()
    assert episodes.observations.shape[-1] == SIZES[scenario].observation
    paid = float(episodes.rewards.sum())
    assert 0 < paid <= 20 + 1e-4 and bool(episodes.won[0]) == (abs(paid - 20) < 1e-4)


def test_a_crash_loses_the_episode_and_nothing_else(installed: Path) -> None:
    game = Smac("6h_vs_8z", games=1)
    try:
        state = game.reset(1, rng())
        (installed / "crash").touch()
        with pytest.raises(EpisodeLost):
            game.advance(state, torch.ones(1, 6, dtype=torch.int64), rng())
        assert not os.path.exists(installed / "crash")
        assert game.reset(1, rng()).t.tolist() == [0]
    finally:
        game.close()
