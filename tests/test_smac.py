"""The adapter to StarCraft II, against a double of StarCraft2Env."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from support.toy_starcraft import Double
from support.toys import rng, small

from ciacore.games.battles.smac import Smac
from ciacore.games.battles.starcraft import SIZES, check_version, starcraft
from ciacore.learning.rollout import play
from ciacore.training import Training
from ciacore.types import EpisodeLost, Game, InvalidInputError

NAME = "6h_vs_8z"


def double(scenario: str, folder: str) -> Double:
    return Double(scenario, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where marks are left for the doubles."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def game(folder: Path) -> Iterator[Smac]:
    made = Smac(
        NAME, games=3, stagger=0.0, environment=partial(double, folder=str(folder))
    )
    yield made
    made.close()


class Always:
    """Every agent takes the same action, game by game."""

    def __init__(self, *actions: int) -> None:
        self.actions = torch.tensor(actions)

    def start(self, observations, states, generator):
        return None

    def act(self, observations, available, memory, generator):
        n_games, n_agents, _ = observations.shape
        return self.actions[:n_games, None].expand(n_games, n_agents).clone(), memory


def test_plays_games_that_end_at_different_times(game: Smac) -> None:
    """A win after 3 steps, a defeat after 5, and one that the limit truncates."""
    assert isinstance(game, Game)
    state, ended = game.reset(3, rng()), []
    assert game.observe(state).shape == (3, 6, 78)
    assert game.global_state(state).shape == (3, 140)
    for t in range(1, 151):
        step = game.step(state, torch.tensor([[1] * 6, [2] * 6, [3] * 6]), rng())
        state = step.state
        ended.append(
            (
                step.terminated.tolist(),
                step.truncated.tolist(),
                step.info["won"].tolist(),
            )
        )
        alive = [t <= 3, t <= 5, True]
        assert step.info["valid"].tolist() == alive
        assert step.rewards.tolist() == [
            20.0 * (t == 3) + 0.5 * (t < 3),
            0.5 * (t <= 5),
            0.5,
        ]
    assert ended[2] == ([True, False, False], [False] * 3, [True, False, False])
    assert ended[4] == ([False, True, False], [False] * 3, [False] * 3)
    assert ended[149] == ([False] * 3, [False, False, True], [False] * 3)
    # each as it was left
    assert game.observe(state)[:, 0, 0].tolist() == [3.0, 5.0, 150.0]


def test_more_games_than_processes_are_played_in_turns(game: Smac) -> None:
    episodes = play(game, Always(1, 2, 1), 8, rng(), 0.99)
    assert episodes.weights.sum(1).tolist() == [3, 5, 3, 3, 5, 3, 3, 5]
    assert episodes.won.tolist() == [True, False, True, True, False, True, True, False]
    assert len(game.workers) == 3


@pytest.mark.parametrize("how", ["crash", "die"])
def test_an_episode_that_crashed_is_dropped_and_played_again(
    game: Smac, folder: Path, how: str
) -> None:
    """Upstream calls it a lost battle; here it leaves no trace in the episodes."""
    game.reset(2, rng())
    (folder / how).touch()
    reason = "crashed" if how == "crash" else "its process ended"
    with pytest.raises(EpisodeLost, match=reason):
        game.step(game.reset(2, rng()), torch.full((2, 6), 1), rng())
    (folder / how).touch()
    episodes = play(game, Always(1, 2), 2, rng(), 0.99)
    assert not (folder / how).exists()  # it did crash
    assert episodes.weights.sum(1).tolist() == [3, 5]
    assert episodes.won.tolist() == [True, False]


def test_rewards_scaled_after_a_crash_are_noticed(game: Smac, folder: Path) -> None:
    """The foes' health counts twice after a first crash: the game is built anew."""
    game.reset(1, rng())
    (folder / "twice").touch()
    with pytest.raises(EpisodeLost, match="scaled by 1580 instead of 1480"):
        game.reset(1, rng())
    assert game.reset(1, rng()).t.tolist() == [0]


class Once(Double):
    """A double that crashes on a reset when it is told to, and counts resets."""

    def reset(self) -> None:
        if self.marked("reset"):
            raise ConnectionError("StarCraft II went away")
        if self.launched and self._episode_steps == 0:
            (self.folder / "twice_without_a_step").touch()
        super().reset()


def once(scenario: str, folder: str) -> Once:
    return Once(scenario, folder)


def test_a_crash_on_reset_resets_no_other_game_twice(tmp_path: Path) -> None:
    """StarCraft2Env would start a second StarCraft II; nor after `play` tries again."""
    made = partial(once, folder=str(tmp_path))
    game = Smac(NAME, games=3, stagger=0.0, environment=made)
    try:
        for steps in (0, 2):  # in the first episode, and in a later one
            (tmp_path / "reset").touch()
            with pytest.raises(EpisodeLost, match="went away"):
                game.reset(3, rng())
            state = game.reset(3, rng())
            assert state.t.tolist() == [0, 0, 0]
            assert game.observe(state)[:, 0, 0].tolist() == [0.0, 0.0, 0.0]
            for _ in range(steps + 1):
                state = game.step(state, torch.full((3, 6), 3), rng()).state
            assert game.observe(state)[:, 0, 0].tolist() == [steps + 1.0] * 3
        (tmp_path / "reset").touch()
        episodes = play(game, Always(1, 2, 1), 3, rng(), 0.99)
        assert episodes.weights.sum(1).tolist() == [3, 5, 3]
        assert not (tmp_path / "reset").exists()
        assert not (tmp_path / "twice_without_a_step").exists()
        assert not game.fresh
    finally:
        game.close()


def test_a_game_that_was_kept_may_still_crash(tmp_path: Path) -> None:
    """One game fewer is asked for next; the one that is left is stepped, then lost."""
    made = partial(once, folder=str(tmp_path))
    game = Smac(NAME, games=2, stagger=0.0, environment=made)
    try:
        (tmp_path / "reset").touch()
        with pytest.raises(EpisodeLost):
            game.reset(2, rng())
        state = game.reset(1, rng())
        (tmp_path / "crash").touch()
        with pytest.raises(EpisodeLost, match="crashed"):
            game.step(state, torch.full((1, 6), 3), rng())
        assert game.reset(2, rng()).t.tolist() == [0, 0]
        assert not (tmp_path / "twice_without_a_step").exists()
    finally:
        game.close()


def test_gives_up_a_game_that_never_runs(tmp_path: Path) -> None:
    game = Smac(NAME, stagger=0.0, environment=unlucky)
    with pytest.raises(
        RuntimeError,
        match="expected games that run, got 5 crashes in a row: OSError: no display",
    ):
        play(game, Always(1), 1, rng(), 0.99)
    game.close()


def unlucky(scenario: str) -> Double:
    raise OSError("no display")


def test_saves_replays_and_leaves_no_process(tmp_path: Path) -> None:
    game = Smac(
        NAME,
        stagger=0.0,
        replays=True,
        environment=partial(double, folder=str(tmp_path)),
    )
    game.reset(2, rng())
    processes = [process for process, _ in game.workers]
    game.close()
    assert not any(process.is_alive() for process in processes)
    assert (
        len(list(tmp_path.glob("replay_*")))
        == len(list(tmp_path.glob("closed_*")))
        == 2
    )


def test_starts_are_staggered(tmp_path: Path) -> None:
    game = Smac(NAME, stagger=0.3, environment=partial(double, folder=str(tmp_path)))
    begin = time.monotonic()
    game.reset(3, rng())
    assert time.monotonic() - begin >= 0.6
    game.close()


def test_trains(game: Smac) -> None:
    config = small(
        method="tiny",
        batch=2,
        buffer=4,
        env_steps=30,
        evaluation_interval=20,
        evaluation_games=4,
    )
    training = Training(config, game, 1, torch.device("cpu"))
    while training.running():
        training.iterate()
    assert len(training.log.metrics["won"][0]) == 4


def wrong(scenario: str, folder: str) -> Double:
    made = Double(scenario, folder)
    made.sizes = SIZES["corridor"]
    return made


def test_another_map_is_refused(tmp_path: Path) -> None:
    game = Smac(NAME, stagger=0.0, environment=partial(wrong, folder=str(tmp_path)))
    with pytest.raises(
        InvalidInputError, match="scenario: expected 6h_vs_8z of the sizes"
    ):
        game.reset(1, rng())
    game.close()


def test_bad_input(game: Smac) -> None:
    with pytest.raises(InvalidInputError, match="scenario: expected one of 10m_vs_11m"):
        Smac("8m")
    with pytest.raises(
        InvalidInputError,
        match=r"n_games: expected at most 3, got 4. Use Smac\('6h_vs_8z', games=4\)",
    ):
        game.reset(4, rng())


@pytest.mark.parametrize("named", ["", "~/StarCraftII"])
def test_a_user_without_a_home_has_no_starcraft(monkeypatch, named: str) -> None:
    """Nobody's user id, no HOME; and an empty SC2PATH is none."""

    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.setenv("SC2PATH", named)
    with pytest.raises(InvalidInputError, match="SC2PATH: expected the folder"):
        check_version()


@pytest.mark.parametrize(
    ("package", "builds", "says"),
    [
        (
            None,
            [],
            "smac: expected SMAC of github.com/oxwhirl/smac, got 'no such package'",
        ),
        (
            "optimiser",
            [],
            "got 'the package smac of PyPI, which is SMAC3, an optimiser'",
        ),
        ("env", None, "SC2PATH: expected the folder of StarCraft II"),
        (
            "env",
            [],
            r"expected StarCraft II 4.10 \(Versions/Base75689\), got 'no version'",
        ),
        ("env", ["Base69232"], "got 'Base69232'"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch, package, builds, says: str
) -> None:
    """No SMAC, the other smac, no StarCraft II, another version of it."""
    monkeypatch.delitem(sys.modules, "smac", raising=False)
    monkeypatch.setenv("SC2PATH", str(tmp_path / "StarCraftII"))
    if package is None:
        # not to be found, even where it is installed
        monkeypatch.setitem(sys.modules, "smac", None)
    else:
        (tmp_path / "site" / "smac" / package).mkdir(parents=True)
        (tmp_path / "site" / "smac" / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
    if builds is not None:
        (tmp_path / "StarCraftII").mkdir()
        for build in builds:
            (tmp_path / "StarCraftII" / "Versions" / build).mkdir(parents=True)
    with pytest.raises(InvalidInputError, match=says):
        Smac(NAME)
    monkeypatch.delitem(sys.modules, "smac", raising=False)


@pytest.fixture
def smac_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Stands in for SMAC: its maps, and an environment that keeps its settings."""
    maps = types.ModuleType("smac.env.starcraft2.maps.smac_maps")
    maps.map_param_registry = {NAME: {}}
    maps.SMACMap = type("SMACMap", (), {})
    env = types.ModuleType("smac.env")
    env.StarCraft2Env = lambda **settings: settings
    package = types.ModuleType("smac.env.starcraft2.maps")
    package.smac_maps = maps
    for module in (types.ModuleType("smac"), env, package):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(
        sys.modules, "smac.env.starcraft2", types.ModuleType("smac.env.starcraft2")
    )
    (tmp_path / "Maps" / "SMAC_Maps").mkdir(parents=True)
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    return maps


def test_games_have_the_published_settings(tmp_path: Path, smac_maps) -> None:
    """And 7sz, which SMAC does not have, is added to its maps."""
    for scenario in (NAME, "7sz"):
        (tmp_path / "Maps" / "SMAC_Maps" / f"{scenario}.SC2Map").touch()
        assert starcraft(scenario) == {
            "map_name": scenario,
            "difficulty": "7",
            "state_last_action": True,
            "obs_last_action": False,
            "reward_win": 200,
            "reward_scale_rate": 20,
            "continuing_episode": False,
            "game_version": "4.10",
        }
    assert smac_maps.map_param_registry[NAME] == {}
    assert smac_maps.map_param_registry["7sz"]["n_agents"] == 14
    assert smac_maps.map_param_registry["7sz"]["map_type"] == "stalkers_and_zealots"
    assert issubclass(getattr(smac_maps, "7sz"), smac_maps.SMACMap)
    assert getattr(smac_maps, "7sz").filename == "7sz"


@pytest.mark.parametrize(
    ("scenario", "cure"), [("7sz", "github.com/liushunyu/CIA"), (NAME, "README.md")]
)
def test_a_missing_map_is_named(smac_maps, scenario: str, cure: str) -> None:
    with pytest.raises(InvalidInputError, match=f"no {scenario}.SC2Map.*{cure}"):
        starcraft(scenario)
