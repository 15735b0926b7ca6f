"""Whole episodes: what play returns, padding hides and the replay keeps."""

import pytest
import torch
from support.toys import Stroll, learner, random_episodes, rng, small

from ciacore.fast.steps import AllSteps
from ciacore.games import Turn
from ciacore.learning.exploration import EpsilonGreedy
from ciacore.learning.replay import Replay, pad_to, trim
from ciacore.learning.rollout import pad, play

GAMMA = 0.9


def stroll(n_games: int = 40):
    game = Stroll()
    agent = learner(small(mixer="vdn"), game.spec).online["agent"]
    return game, agent, play(game, EpsilonGreedy(agent, 0.5), n_games, rng(1), GAMMA)


def test_episodes_that_end_early_are_padded_with_zeros():
    game, _, episodes = stroll()
    horizon, lengths = game.spec.horizon, episodes.weights.sum(1).long()
    assert set(lengths.tolist()) == set(range(1, horizon + 1))  # every length occurred
    for row, length in enumerate(lengths.tolist()):
        real, padding = slice(None, length), slice(length, None)
        assert (episodes.weights[row, real] == 1).all()
        assert (episodes.weights[row, padding] == 0).all()
        assert (episodes.rewards[row, real] == 1).all()
        assert (episodes.rewards[row, padding] == 0).all()
        assert (episodes.discounts[row, : length - 1] == torch.tensor(GAMMA)).all()
        # no bootstrap at the end, nor behind it
        assert (episodes.discounts[row, length - 1 :] == 0).all()
        assert (episodes.actions[row, padding] == 0).all()
        # slot `length` keeps what was seen after the last step
        times = torch.arange(1, length + 2)
        seen = episodes.observations[row, : length + 1, 0, 0]
        assert torch.equal(seen, times.float())
        assert torch.equal(episodes.states[row, : length + 1, 1], times.float())
        assert (episodes.states[row, : length + 1, 0] == length).all()
        assert (episodes.observations[row, length + 1 :] == 0).all()
        assert (episodes.states[row, length + 1 :] == 0).all()
        assert episodes.available[row, : length + 1].any(-1).all()
        assert not episodes.available[row, length + 1 :].any()


def test_only_available_actions_were_played():
    _, _, episodes = stroll()
    available = episodes.available[:, :-1]
    taken = available.gather(-1, episodes.actions.unsqueeze(-1)).squeeze(-1)
    assert taken[episodes.weights > 0].all()
    # action 2 at even times only
    assert (episodes.actions[:, 0] == 2).any() and (episodes.actions[:, 1] != 2).all()


def test_last_action_is_one_hot_after_real_steps_and_zero_elsewhere():
    _, agent, episodes = stroll()
    last = agent.last_actions(episodes, AllSteps()).transpose(0, 1)
    assert (last[:, 0] == 0).all()
    for row, length in enumerate(episodes.weights.sum(1).long().tolist()):
        told = last[row, 1 : length + 1].argmax(-1)
        assert torch.equal(told, episodes.actions[row, :length])
        assert (last[row, 1 : length + 1].sum(-1) == 1).all()
        assert (last[row, length + 2 :] == 0).all()


def test_acting_saw_what_learning_will_see():
    """The values unrolled over stored episodes say the greedy actions of play."""
    game, agent, _ = stroll()
    episodes = play(game, EpsilonGreedy(agent, 0.0), 40, rng(2), GAMMA)
    values, _ = agent.unroll(episodes)
    greedy = values.masked_fill(~episodes.available, -float("inf")).argmax(-1)[:, :-1]
    real = episodes.weights > 0
    assert torch.equal(greedy[real], episodes.actions[real])


def test_pad_by_hand():
    """Three steps; one episode ends at its second step, the other at the limit."""
    ended = torch.tensor([[False, True, True], [False, False, True]])
    ones = torch.ones(2, 4, 1, 1)
    rewards = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    actions = torch.full((2, 3, 1), 7)
    episodes = pad(ones, ones[..., 0], actions, ones.bool(), rewards, ended, gamma=0.5)
    assert episodes.weights.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert episodes.discounts.tolist() == [[0.5, 0, 0], [0.5, 0.5, 0]]
    assert episodes.rewards.tolist() == [[1, 2, 0], [4, 5, 6]]
    assert episodes.actions.squeeze(-1).tolist() == [[7, 7, 0], [7, 7, 7]]
    assert episodes.observations.flatten(1).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    first, second = episodes.available.flatten(1).tolist()
    assert first == [True, True, True, False]
    assert second == [True, True, True, True]


# ------------------------------------------------------------------------------- replay


def numbered(numbers: list[int]):
    """One-step episodes whose reward is their number."""
    rewards = torch.tensor(numbers).float().unsqueeze(1)
    return random_episodes([1] * len(numbers))._replace(rewards=rewards)


def held(replay: Replay) -> set[int]:
    return set(replay.sample(len(replay), rng()).rewards.flatten().long().tolist())


def test_the_oldest_episodes_leave_first():
    replay = Replay(4)
    for number in range(3):
        replay.insert(numbered([number]))
    assert len(replay) == 3 and held(replay) == {0, 1, 2}
    replay.insert(numbered([3, 4, 5]))  # crosses the end of the ring
    assert len(replay) == 4 and held(replay) == {2, 3, 4, 5}
    replay.insert(numbered([6]))
    assert held(replay) == {3, 4, 5, 6}


def test_sampling_is_uniform_without_replacement():
    replay = Replay(6)
    generator = rng()
    counts = torch.zeros(6)
    replay.insert(numbered(list(range(6))))
    for _ in range(3_000):
        batch = replay.sample(2, generator).rewards.flatten().long().tolist()
        assert len(set(batch)) == 2
        counts[batch] += 1
    expected = torch.full((6,), 1 / 3)
    torch.testing.assert_close(counts / 3_000, expected, rtol=0, atol=0.04)


def test_empty_slots_are_never_sampled():
    replay = Replay(10)
    replay.insert(numbered([5, 6]))
    assert held(replay) == {5, 6}


def test_an_episode_stays_whole():
    replay, episodes = Replay(4), random_episodes([3, 1, 2, 3])
    replay.insert(episodes)
    sampled = replay.sample(4, rng())
    for row in range(4):
        origin = int((episodes.rewards[:, 0] == sampled.rewards[row, 0]).nonzero())
        for field, kept in zip(episodes, sampled, strict=True):
            assert torch.equal(field[origin], kept[row]) and field.dtype == kept.dtype


def equal(a, b) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


def test_the_replay_is_as_long_as_the_longest_episode_so_far():
    short, longer = trim(random_episodes([2, 1])), random_episodes([5])
    replay = Replay(3)
    replay.insert(short)
    assert replay.ring.rewards.shape[1] == 2 < longer.rewards.shape[1]
    replay.insert(longer)
    newer = short._replace(rewards=short.rewards + 100)
    replay.insert(newer)  # overwrites the first two
    steps = longer.rewards.shape[1]
    assert replay.ring.rewards.shape[1] == steps
    assert replay.ring.observations.shape[1] == steps + 1
    expected = []
    for first, last in zip(pad_to(newer, steps), longer, strict=True):
        expected.append(torch.cat([first, last]))
    assert equal(replay.ring._replace(actions=replay.ring.actions.long()), expected)


def test_a_batch_is_cut_to_its_longest_episode_and_nothing_is_lost():
    episodes = pad_to(random_episodes([2, 4, 1]), 9)
    shorter = trim(episodes)
    assert shorter.rewards.shape[1] == 4 and shorter.observations.shape[1] == 5
    assert equal(pad_to(shorter, 9), episodes)


def test_turn_is_stored_in_bytes_without_loss():
    """The bytes give back what the game showed, and the replay keeps bytes."""
    game, replay = Turn(horizon=8), Replay(3)
    agent = learner(small(mixer="vdn"), game.spec).online["agent"]
    observations, states = [], []

    class Watched(Turn):
        def global_state(self, state):
            shown = super().global_state(state)
            observations.append(self.observe(state))
            states.append(shown)
            return shown

    episodes = play(Watched(horizon=8), EpsilonGreedy(agent, 1.0), 3, rng(), GAMMA)
    replay.insert(episodes)
    assert replay.ring.observations.dtype == replay.ring.states.dtype == torch.uint8
    # the last call sees every step of every game at once
    seen = observations[-1].unflatten(0, (9, 3)).transpose(0, 1)
    assert torch.equal(replay.ring.observations.float(), seen)
    seen = states[-1].unflatten(0, (9, 3)).transpose(0, 1)
    assert torch.equal(replay.ring.states.float(), seen)


@pytest.mark.parametrize("n_games", [1, 7])
def test_playing_is_reproducible_from_the_generator_alone(n_games):
    game = Turn(horizon=5)
    policy = EpsilonGreedy(learner(small(mixer="vdn"), game.spec).online["agent"], 0.5)
    first = play(game, policy, n_games, rng(3), GAMMA)
    again = play(game, policy, n_games, rng(3), GAMMA)
    other = play(game, policy, n_games, rng(4), GAMMA)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.actions, other.actions)
