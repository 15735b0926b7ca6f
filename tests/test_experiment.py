"""train(config, game): reproducible from its seed alone, and able to learn."""

import math
from itertools import pairwise

import pytest
import torch
from support.runs import same
from support.toys import CIA, Stroll, small

from ciacore import METHODS, train
from ciacore.games import MatrixGame, Turn
from ciacore.runtime.store import Run
from ciacore.training import Clock, Log


def trained(*seeds: int, game=None, **fields) -> list[Run]:
    return train(small(**{**CIA, **fields}), game or Stroll(), seeds)


def test_same_seed_twice_is_bit_equal_and_others_differ():
    game = Turn(horizon=5)
    one, two = trained(1, 2, game=game)
    (two_alone,) = trained(2, game=game)
    two_first, one_later = trained(2, 1, game=game)
    # whoever else runs
    assert same(two, two_alone) and same(two, two_first) and same(one, one_later)
    assert not same(one, two, metrics=False) and one.metrics != two.metrics


def test_global_randomness_is_neither_used_nor_touched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    (first,) = trained(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(first, *trained(1))


@pytest.mark.parametrize(
    "fields", [{"evaluation_games": 7}, {"evaluation_interval": 10}]
)
def test_evaluation_does_not_touch_training(fields):
    (plain,), (watched,) = trained(1), trained(1, **fields)
    assert same(plain, watched, metrics=False)
    assert plain.metrics["episode_return"] != watched.metrics["episode_return"]


def test_coefficient_zero_trains_as_qmix():
    (plain,) = trained(1, terms=(), cia_coefficient=0.0, gradient_clip=1e9)
    (with_term,) = trained(1, cia_coefficient=0.0, gradient_clip=1e9)
    assert all(
        torch.equal(with_term.weights[name], value)
        for name, value in plain.weights.items()
    )
    assert with_term.metrics["episode_return"] == plain.metrics["episode_return"]
    assert set(with_term.weights) - set(plain.weights) == {"terms.cia.identities"}


def test_training_changes_what_it_should():
    (short,), (long,) = trained(1, env_steps=1), trained(1)
    assert short.metrics["updates"] == [0] and short.metrics["losses"] == [None]
    changed = [
        name
        for name, value in short.weights.items()
        if not torch.equal(value, long.weights[name])
    ]
    assert set(changed) == set(long.weights)


def test_metrics_hold_one_entry_per_evaluation():
    config = small(**CIA)
    reports = []
    (run,) = train(
        config,
        Stroll(),
        [3],
        progress=lambda *args, **facts: reports.append((args, facts)),
    )
    metrics = run.metrics
    evaluations = len(metrics["env_steps"])
    assert {len(values) for values in metrics.values()} == {evaluations}
    assert evaluations >= 3
    gaps = [b - a for a, b in pairwise(metrics["env_steps"])]
    assert all(20 <= gap < 20 + 6 for gap in gaps)  # drifts by less than one episode
    assert metrics["updates"] == [
        max(0, episodes - config.batch + 1) for episodes in metrics["episodes"]
    ]
    for returns in metrics["episode_return"]:
        # what lies behind an end pays nothing
        assert len(returns) == 3 and all(1 <= value <= 6 for value in returns)
    for losses in metrics["losses"][1:]:
        assert set(losses) == {"td_loss", "penalty", "cia", "loss", "gradient_norm"}
        assert all(math.isfinite(value) for value in losses.values())
    assert run.seed == 3 and run.game == "stroll" and run.config == config
    (steps, total), facts = reports[-1]
    assert steps > total == config.env_steps and set(facts) == {"epsilon", "return"}


def test_losses_in_the_log_are_means_since_the_last_evaluation():
    log = Log()
    for value in (1.0, 2.0, 6.0):
        log.add({"td_loss": torch.tensor(value)})
    log.count = 3
    log.write(Clock(env_steps=5), 0.5, {"episode_return": [1.0, 3.0]})
    log.add({"td_loss": torch.tensor(10.0)})
    log.count = 1
    log.write(Clock(env_steps=9), 0.5, {"episode_return": [2.0]})
    assert log.metrics["losses"] == [{"td_loss": 3.0}, {"td_loss": 10.0}]
    assert log.last_return == 2.0 and log.metrics["env_steps"] == [5, 9]


@pytest.mark.parametrize("method", ["vdn", "qmix"])
@pytest.mark.parametrize(
    "payoff",
    [[[8.0, 3.0], [4.0, 0.0]], [[0.0, 1.0], [2.0, 9.0]]],
    ids=["first", "last"],
)
def test_a_matrix_game_is_solved(method, payoff):
    sizes = {"hidden_size": 16, "batch": 16, "learning_rate": 5e-3}
    config = METHODS[method].but(
        env_steps=150, epsilon_steps=75, evaluation_interval=150, **sizes
    )
    (run,) = train(config, MatrixGame(torch.tensor(payoff)), [0])
    assert run.metrics["env_steps"][-1] == 151
    assert run.metrics["episode_return"][-1] == [max(*payoff[0], *payoff[1])] * 32
