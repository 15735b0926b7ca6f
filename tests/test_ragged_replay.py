"""The replay of real steps only: the same episodes as the padded ring, in less room."""

import pytest
import torch
from support.toys import random_episodes, rng

from ciacore.learning.ragged_replay import RaggedReplay
from ciacore.learning.replay import Replay, trim
from ciacore.types import Episodes, InvalidInputError


def equal(a: Episodes, b: Episodes) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def batches(number: int) -> list[Episodes]:
    """Episodes of 1 to 9 steps, inserted one, two or three at a time."""
    lengths = torch.randint(1, 10, (number,), generator=rng(1)).tolist()
    found, seed = [], 0
    while lengths:
        now, lengths = lengths[: 1 + seed % 3], lengths[1 + seed % 3 :]
        found.append(random_episodes(now, seed=seed, latents=2))
        seed += 1
    return found


@pytest.fixture(params=[3, 100])
def small_segments(request, monkeypatch):
    monkeypatch.setattr("ciacore.learning.ragged_replay.SEGMENT", request.param)


def test_it_gives_what_the_padded_ring_gives(small_segments):
    ring, ragged = Replay(8), RaggedReplay(8)
    for episodes in batches(40):
        ring.insert(episodes)
        ragged.insert(episodes)
        assert len(ring) == len(ragged)
        if len(ring) >= 5:
            expected = trim(ring.sample(5, rng(7)))
            assert equal(ragged.sample(5, rng(7)), expected)


def test_it_goes_on_from_its_tensors(small_segments):
    before, after = RaggedReplay(8), RaggedReplay(8)
    given = batches(40)
    for number, episodes in enumerate(given):
        before.insert(episodes)
        if number == len(given) // 2:
            after.load(before.tensors(), before.sealed())
        elif number > len(given) // 2:
            after.insert(episodes)
            assert equal(after.sample(5, rng(7)), before.sample(5, rng(7)))


def test_a_sealed_segment_never_changes(small_segments):
    replay, seen = RaggedReplay(8), {}
    for episodes in batches(40):
        replay.insert(episodes)
        for name, piece in replay.sealed().items():
            first = seen.setdefault(name, piece)
            assert all(torch.equal(first[key], piece[key]) for key in piece)


def test_it_holds_no_padding():
    replay = RaggedReplay(100)
    replay.insert(random_episodes([9, 1, 1, 1]))
    held = replay.tensors()
    assert len(held["rewards"]) == 12 and len(held["states"]) == 16


def test_more_than_is_held_cannot_be_drawn():
    replay = RaggedReplay(10)
    replay.insert(random_episodes([2, 1]))
    with pytest.raises(InvalidInputError, match="at most 2 episodes"):
        replay.sample(3, rng())
