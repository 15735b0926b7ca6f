"""Recordings of battles, and the tactics found in them, on battles made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ciabook.battles.recording import main, read_recording, write_recording
from ciabook.battles.scripted_players import PLAYERS, closest, hold, kite, skirmish
from ciabook.battles.scripted_players import focus_fire as aims_at_the_weakest
from ciabook.battles.tactics import (
    alternate_attack,
    encircling,
    focus_fire,
    key_moments,
    kiting,
    tactics,
)
from support.runs import recording

from ciacore.games.battles.smax import Units
from ciacore.types import InvalidInputError


def test_focus_fire_needs_three_that_are_most() -> None:
    held = recording(4, 5, 2)
    held.targets[0, 1, :3] = 5  # step 0: three of three at foe 5
    held.targets[0, 2, :2] = 5  # step 1: only two
    held.targets[0, 3, :3], held.targets[0, 3, 3:5] = 5, 6  # step 2: three of five
    found = focus_fire(held, 0)
    assert [(each.t, each.agents) for each in found] == [(0, (0, 1, 2)), (2, (0, 1, 2))]
    held.targets[0, 3, :3] = [5, 5, 6]  # two and three of five: 6 is most now
    assert [each.agents for each in focus_fire(held, 0)] == [(0, 1, 2), (2, 3, 4)]


def test_kiting_is_attack_retreat_attack() -> None:
    held = recording(6, 1, 1)
    held.actions[0, :, 0] = [6, 5, 6, 5, 1, 1]  # attack, west, attack, west, stop
    held.positions[0, 2:, 0, 0] -= 2  # the first step west leads away
    held.positions[0, 4:, 0, 0] -= 2
    # after the second nobody attacks
    assert [(each.t, each.agents) for each in kiting(held, 0)] == [(1, (0,))]
    held.positions[0, 2:, 0, 0] += 4  # the same actions, but towards the foe
    assert kiting(held, 0) == []


def test_alternate_attack_is_there_and_back_between_agents_apart() -> None:
    held = recording(8, 2, 1)
    held.targets[0, 1:8, 2] = [0, 0, 1, 1, 0, 0, 0]
    assert [(each.t, each.agents) for each in alternate_attack(held, 0)] == [
        (2, (0, 1))
    ]
    # side by side: no way is wasted
    held.positions[0, :, 1] = held.positions[0, :, 0] + 0.5
    assert alternate_attack(held, 0) == []


def test_encircling_counts_where_it_begins() -> None:
    held = recording(5, 3, 1)
    held.positions[0, :, 3] = [16, 16]
    around = np.array([[16, 20], [12, 14], [20, 14]])
    held.positions[0, 1:3, :3] = around
    held.positions[0, 4, :3] = around
    assert [each.t for each in encircling(held, 0)] == [1, 4]
    held.positions[0, :, :3] = [[12, 14], [12, 16], [12, 18]]  # in a line
    assert encircling(held, 0) == []


def test_key_moments_follow_their_rule() -> None:
    """The first attack, then the most deaths, never two within a tenth of the
    fighting."""
    held = recording(40, 3, 3)
    held.targets[0, 6, 0] = 3  # ordered in step 5
    held.health[0, 11:, 3] = 0  # one falls in step 10, two in step 30, one in step 31
    held.health[0, 31:, 4:6] = 0
    held.health[0, 32:, 0] = 0
    assert key_moments(held, 0) == [5, 10, 30]
    held.health[0, 31:, 3:6] = held.health[0, 32:, 0] = 1
    # one falls in step 10, one in step 12
    held.health[0, 11:, 3] = held.health[0, 13:, 4] = 0
    # and one in step 39: 10 and 12 lie too close to be shown both
    held.health[0, 40:, 0] = 0
    assert key_moments(held, 0) == [5, 10, 39]
    assert key_moments(recording(10, 2, 2), 0) == [0]


def test_written_and_read_again(tmp_path: Path) -> None:
    held = recording(5, 2, 3)
    held.targets[0, 1, :2] = 3
    write_recording(tmp_path / "some" / "toy.npz", held)
    again = read_recording(tmp_path / "some" / "toy.npz")
    assert again.facts == held.facts and again.n_agents == 2
    assert tactics(again) == tactics(held)
    np.testing.assert_array_equal(again.positions, held.positions)
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["toy.npz"]


@pytest.mark.parametrize(
    "spoil",
    [lambda data: data[: len(data) // 2], lambda data: b"nothing", lambda data: b""],
)
def test_a_damaged_recording_is_refused_by_name(tmp_path: Path, spoil) -> None:
    file = tmp_path / "toy.npz"
    write_recording(file, recording(3, 2, 2))
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InvalidInputError, match=r"recording: expected .*toy\.npz"):
        read_recording(file)


def test_recording_never_unpickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", facts=np.array([object()], dtype=object))
    with pytest.raises(InvalidInputError, match="recording: expected"):
        read_recording(tmp_path / "evil.npz")


def test_records_a_scripted_player(tmp_path: Path) -> None:
    """Whole battles of 6h_vs_8z: what is recorded agrees with itself."""
    file = tmp_path / "kite.npz"
    assert main(["scripted", "6h_vs_8z", "kite", str(file), "--battles", "4"]) == 0
    held = read_recording(file)
    assert held.facts["player"] == "kite" and held.credits.shape[-1] == 0
    for battle, length in enumerate(held.lengths):
        health = held.health[battle, : length + 1].astype(float)
        assert (np.diff(health, axis=0) <= 1e-3).all()  # nothing heals
        ended = (
            (health[-1, :6] == 0).all() or (health[-1, 6:] == 0).all() or length == 150
        )
        assert ended and bool(held.won[battle]) == bool(
            (health[-1, 6:] == 0).all() and (health[-1, :6] > 0).any()
        )
        paid = (
            20
            / 1480
            * (
                (health[0] - health[-1])[6:].sum()
                + 10 * (health[-1, 6:] == 0).sum()
                + 200 * held.won[battle]
            )
        )
        assert held.rewards[battle].astype(float).sum() == pytest.approx(paid, rel=1e-3)
    # whom an agent was told to attack is the foe of its action
    ordered = held.actions >= 6
    targets = held.targets[:, 1:, :6]
    assert (
        targets[ordered & (targets >= 0)] == held.actions[ordered & (targets >= 0)]
    ).all()


def test_players_do_what_they_are_named_for() -> None:
    """One agent at (10, 10), a strong foe 3 cells east, a weak one 4 cells north, both
    in reach; then none in reach."""
    units = Units(
        positions=torch.tensor([[[10.0, 10.0], [13.0, 10.0], [10.0, 14.0]]]),
        health=torch.tensor([[80.0, 100.0, 10.0]]),
        alive=torch.ones(1, 3, dtype=torch.bool),
        cooldowns=torch.zeros(1, 3),
        targets=torch.full((1, 3), -1, dtype=torch.int32),
        reach=torch.tensor([[6.0, 6.0, 2.0]]),
    )
    generator = torch.Generator().manual_seed(0)
    near = torch.tensor([[[False, True, True, True, True, True, True, True]]])
    far = near & torch.tensor([True] * 6 + [False] * 2)
    assert (
        closest(units, near, generator).item()
        == hold(units, near, generator).item()
        == 6
    )
    assert aims_at_the_weakest(units, near, generator).item() == 7
    # east
    assert (
        closest(units, far, generator).item() == kite(units, far, generator).item() == 4
    )
    assert hold(units, far, generator).item() == 1
    assert kite(units, near, generator).item() == 6
    # west, away
    assert kite(units._replace(cooldowns=torch.ones(1, 3)), near, generator).item() == 5
    # the weak one; it bites, but is 4 cells away
    assert skirmish(units, near, generator).item() == 7
    close = units._replace(
        positions=torch.tensor([[[10.0, 10.0], [13.0, 10.0], [10.0, 12.0]]])
    )
    # south, away from the one that bites
    assert skirmish(close, near, generator).item() == 3
    # it bites as well
    assert (
        skirmish(close._replace(reach=torch.full((1, 3), 2.0)), near, generator).item()
        == 7
    )
    hurt = close._replace(
        reach=torch.full((1, 3), 6.0), health=torch.tensor([[30.0, 100.0, 10.0]])
    )
    assert skirmish(hurt, near, generator).item() == 7  # the weapon is ready
    assert (
        skirmish(hurt._replace(cooldowns=torch.ones(1, 3)), near, generator).item() == 3
    )
    drawn = {PLAYERS["random"](units, far, generator).item() for _ in range(200)}
    assert drawn == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scripted", "6h_vs_8z", "nobody"], "player: expected one of random, hold"),
        (
            ["trained", "book/results/turn/qmix/seed_1"],
            "run: expected a run of a battle on SMAX, got 'turn'",
        ),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        main([*arguments, str(tmp_path / "x.npz")])
    assert not list(tmp_path.iterdir())
