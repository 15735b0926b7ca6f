"""Battles played in one compiled call: the episodes are those of play step by step."""

import os
import subprocess
import sys

import pytest
import torch
from support.toys import rng

import ciacore.learning.rollout
from ciacore import METHODS
from ciacore.fast.whole_episodes import pure
from ciacore.games.battles import smax
from ciacore.learning.rollout import play
from ciacore.training import Training
from ciacore.types import Episodes

CPU = torch.device("cpu")
CLEAR = 1e-4  # between the best two values of an agent, beyond rounding


@pytest.fixture(scope="module")
def game():
    return smax.Smax("6h_vs_8z")


def both(
    training: Training, epsilon: float, n_games: int, monkeypatch
) -> tuple[Episodes, Episodes]:
    """The same episodes, compiled and step by step, and equal generators after it."""
    training.epsilon = epsilon
    found, after = [], []
    for compiled in (True, False):
        with monkeypatch.context() as patched:
            if not compiled:
                patched.setattr(ciacore.learning.rollout, "play_whole", lambda *_: None)
            generator = rng(3)
            episodes = play(training.game, training.explore(), n_games, generator, 0.99)
            found.append(episodes)
            after.append(generator.get_state())
    assert torch.equal(*after)
    return found[0], found[1]


def check_alike(training: Training, epsilon: float, n_games: int, monkeypatch):
    """Equal actions until an agent's best two values are as good as equal."""
    compiled, stepwise = both(training, epsilon, n_games, monkeypatch)
    agent = training.learner.online["agent"]
    with torch.no_grad():
        values, _ = agent.unroll(stepwise)
    values = values.masked_fill(~stepwise.available, -1e9)
    best = values.topk(2, -1).values
    unclear = (best[..., 0] - best[..., 1] < CLEAR).flatten(2).any(-1)[:, :-1]
    for game, (mine, other) in enumerate(
        zip(compiled.actions, stepwise.actions, strict=True)
    ):
        differs = (mine != other).any(-1)
        if not differs.any():
            for ours, theirs in zip(compiled, stepwise, strict=True):
                assert torch.equal(ours[game], theirs[game])
            continue
        first = int(differs.int().argmax())
        assert unclear[game, : first + 1].any()


@pytest.mark.parametrize("epsilon", [pytest.param(1.0, marks=pytest.mark.long), 0.3])
def test_battles_are_those_of_play_step_by_step(epsilon, game, monkeypatch):
    training = Training(METHODS["qmix_cia"].but(buffer=32), game, 1, CPU)
    check_alike(training, epsilon, 1, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("n_games", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_battles_of_every_method(method, n_games, game, monkeypatch):
    training = Training(METHODS[method].but(buffer=32), game, 1, CPU)
    for epsilon in (1.0, 0.3, 0.0):
        check_alike(training, epsilon, n_games, monkeypatch)


@pytest.mark.long
def test_a_training_is_the_same_either_way(game, monkeypatch):
    """Forty episodes and the updates after them, until a choice is unclear."""
    trainings = []
    for compiled in (True, False):
        with monkeypatch.context() as patched:
            if not compiled:
                patched.setattr(ciacore.learning.rollout, "play_whole", lambda *_: None)
            config = METHODS["qmix_cia"].but(buffer=64, epsilon_steps=10_000)
            training = Training(config, game, 2, CPU)
            for _ in range(40):
                training.iterate()
            trainings.append(training)
    first, second = trainings
    assert first.clock == second.clock
    for mine, other in zip(
        first.learner.parameters, second.learner.parameters, strict=True
    ):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_pure_form(method, game):
    training = Training(METHODS[method].but(buffer=32), game, 1, CPU)
    assert pure(training.explore(), game.spec) is not None


def test_a_policy_without_a_pure_form_goes_on_stepping(game):
    config = METHODS["maven"].but(buffer=32, auxiliaries=())  # equally likely latents
    training = Training(config, game, 1, CPU)
    assert pure(training.explore(), game.spec) is None
    (one,) = play(game, training.explore(), 1, rng(), 0.99).weights.sum(1)
    assert one > 0


def test_fast_off_goes_on_stepping(game, monkeypatch):
    monkeypatch.setenv("CIACORE_FAST", "0")
    monkeypatch.setattr(
        smax.Smax, "play_whole", lambda *_: pytest.fail("it was compiled")
    )
    training = Training(METHODS["qmix"].but(buffer=32), game, 1, CPU)
    play(game, training.explore(), 1, rng(), 0.99)


def test_the_library_loads_no_jax():
    code = "import sys, ciacore; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
