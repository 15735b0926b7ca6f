"""A class's runs that nobody trained: real Configs and networks, made-up returns."""

from pathlib import Path

import torch
from ciabook.page.replicate import Plan, Replication

from ciacore.config import Config
from ciacore.games import make_game
from ciacore.learning.learner import Learner
from ciacore.methods import assemble
from ciacore.runtime.store import Run, run_folder, write_run
from ciacore.types import Spec

GAMES = 4  # of every evaluation
AWAKE = [-20.0, 10.0, 20.0, 30.0]


def metrics_of(config: Config, sleeps: bool, level: float) -> dict[str, list]:
    """An evaluation per interval; a team that sleeps returns 0 in every episode."""
    ends = range(0, config.env_steps + 1, config.evaluation_interval)
    returns = [0.0] * GAMES if sleeps else [level + value for value in AWAKE]
    losses = {"td_loss": 1.0} | dict.fromkeys(config.terms, 0.01)
    return {
        "env_steps": [step + 100 for step in ends],
        "episodes": [step // 100 + 1 for step in ends],
        "updates": [step // 100 for step in ends],
        "episode_return": [returns for _ in ends],
        "won": [[0.5] * GAMES for _ in ends],
        "losses": [None, *(losses for _ in ends[1:])],
    }


def weights_of(config: Config, spec: Spec, seed: int) -> dict[str, torch.Tensor]:
    """Those of networks as they are before any update."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = Learner(assemble(spec, config), config)
    own = learner.auxiliaries.state_dict(prefix="auxiliaries.")
    return {**learner.online.state_dict(), **own}


def hand_in(
    place: Path,
    what: Replication,
    plan: Plan,
    seeds: range,
    asleep: tuple[str, ...] = (),
    level: float = 0.0,
) -> Path:
    """The runs of a plan, as a class hands them in."""
    for arm, config in plan.configs.items():
        game = make_game(what.game_of(plan, arm))
        for seed in seeds:
            metrics = metrics_of(config, arm in asleep, level)
            weights = weights_of(config, game.spec, seed)
            run = Run(config, game.name, seed, metrics, weights, {"commit": "abc"})
            write_run(run_folder(place, game.name, config.method, seed), run)
    return place
