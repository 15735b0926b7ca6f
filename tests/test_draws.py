"""Random numbers drawn before an episode: the same distribution in fewer launches."""

from __future__ import annotations

import pytest
import torch
from support.toys import SPEC

from ciacore import METHODS
from ciacore.fast import draws
from ciacore.fast.arrays import integers, lowest, noise_of_explorers, uniform
from ciacore.fast.draws import DrawnAhead, drawn_ahead
from ciacore.games import Turn
from ciacore.learning.rollout import play
from ciacore.training import Training
from ciacore.types import Episodes

SIZES = {"batch": 4, "buffer": 8, "hidden_size": 8, "evaluation_games": 3}


def dice(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_is_handed_out_was_drawn_at_once_and_in_order() -> None:
    rng = DrawnAhead(dice(), 3)
    found = [uniform(rng, (2, 5)) for _ in range(7)]  # drawn thrice
    assert torch.equal(torch.stack(found), torch.rand(9, 2, 5, generator=dice())[:7])
    rng = DrawnAhead(dice(), 4)
    found = [integers(rng, 25, (2,)) for _ in range(4)]
    assert torch.equal(torch.stack(found), torch.randint(25, (4, 2), generator=dice()))


def test_who_explores_is_known_before_the_episode_begins() -> None:
    """The same noise and the same agents as where every step asks for its own."""
    rng, epsilon = DrawnAhead(dice(), 3), torch.tensor(0.5)
    found = [noise_of_explorers(rng, (2, 4), epsilon) for _ in range(3)]
    drawn = torch.rand(3, 2, 5, generator=dice())
    for (noise, explores), numbers in zip(found, drawn, strict=True):
        assert torch.equal(noise, numbers[:, :4])
        assert torch.equal(explores, numbers[:, 4:] < 0.5)
    assert not any(rng.left.values())
    plain = noise_of_explorers(dice(), (3, 2, 4), 0.5)
    ahead = (torch.stack(parts) for parts in zip(*found, strict=True))
    assert all(torch.equal(*pair) for pair in zip(plain, ahead, strict=True))


def test_no_epsilon_is_taken_for_another() -> None:
    """Not even where one is gone and the next lies at its address."""
    rng, shape = DrawnAhead(dice(), 2), (2, 4)
    for epsilon in (0.0, 1.0, 0.0):
        _, explores = noise_of_explorers(rng, shape, torch.tensor(epsilon))
        assert explores.all() if epsilon else not explores.any()


def test_what_is_different_is_drawn_apart() -> None:
    rng = DrawnAhead(dice(), 2)
    asked = [uniform(rng, (3,)), uniform(rng, (2,)), integers(rng, 7, (3,))]
    assert [len(each) for each in asked] == [3, 2, 3]
    assert len(rng.left) == 3 and all(len(left) == 1 for left in rng.left.values())


def test_minus_infinity_is_a_tensor_where_a_number_would_travel() -> None:
    rng = DrawnAhead(dice(), 2)
    assert lowest(dice()) == -float("inf") and lowest(rng) is lowest(rng)
    assert float(lowest(rng)) == -float("inf")


def test_only_a_gpu_draws_ahead_and_only_for_a_known_length(monkeypatch) -> None:
    rng, turn = dice(), Turn().spec
    assert drawn_ahead(rng, turn) is rng
    monkeypatch.setattr(draws, "on_gpu", lambda rng: True)
    assert drawn_ahead(rng, SPEC) is rng and SPEC.ends_early
    assert drawn_ahead(rng, turn).steps == turn.horizon + 1


@pytest.mark.parametrize("method", ["qmix", "eoi", "maven"])
def test_a_whole_episode_draws_each_thing_once(method, monkeypatch) -> None:
    """And an episode leaves nothing to the next: so that it can be resumed between."""
    monkeypatch.setattr(draws, "on_gpu", lambda rng: True)
    asked = []
    for name in ("rand", "randint"):
        drawn = getattr(torch, name)

        def noted(*shape, drawn=drawn, **options):
            asked.append((drawn, shape[-1]))
            return drawn(*shape, **options)

        monkeypatch.setattr(torch, name, noted)
    config, cpu = METHODS[method].but(**SIZES), torch.device("cpu")
    one, other = (Training(config, Turn(horizon=9), 1, cpu, False) for _ in range(2))

    def played(training: Training) -> Episodes:
        rng = training.rngs["play"]
        return play(training.game, training.explore(), 1, rng, config.gamma)

    played(one)
    assert len(asked) == len(set(asked)) and all(shape[0] == 10 for _, shape in asked)
    state = one.rngs["play"].get_state()
    other.rngs["play"].set_state(state)
    first, second = (played(each) for each in (one, other))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert first.actions.unique(dim=1).shape[1] > 1  # steps differ
