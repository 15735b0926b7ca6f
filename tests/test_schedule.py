"""When things happen: epsilon, updates, copies and evaluations, counted."""

from itertools import pairwise
from types import SimpleNamespace

import jaxtyping
import pytest
import torch
from support.toys import Stroll, small

from ciacore import METHODS, train, training
from ciacore.config import Config
from ciacore.games import Turn
from ciacore.learning import exploration
from ciacore.learning.agent import RecurrentAgent
from ciacore.learning.exploration import (
    EpsilonGreedy,
    PlainExploration,
    epsilon_at,
    epsilon_greedy,
)


@pytest.mark.parametrize(
    ("env_steps", "epsilon"),
    [(0, 1.0), (10_000, 0.81), (25_000, 0.525), (50_000, 0.05), (2_000_000, 0.05)],
)
def test_epsilon_schedule(env_steps, epsilon):
    assert epsilon_at(env_steps, Config()) == pytest.approx(epsilon, abs=1e-12)


def test_epsilon_is_constant_within_an_episode(monkeypatch):
    """The schedule counts real steps; evaluation plays with epsilon 0."""
    episodes = []

    class Spy(EpsilonGreedy):
        def start(self, observations, states, rng):
            episodes.append((len(observations), set()))
            return super().start(observations, states, rng)

        def act(self, observations, available, memory, rng):
            episodes[-1][1].add(self.epsilon)
            return super().act(observations, available, memory, rng)

    monkeypatch.setattr(exploration, "EpsilonGreedy", Spy)
    config = small(method="vdn", mixer="vdn", n_games=1)
    (run,) = train(config, Stroll())
    assert all(len(used) == 1 for _, used in episodes)
    played = [used.pop() for n_games, used in episodes if n_games == 1]
    games = config.evaluation_games
    testing = [used.pop() for n_games, used in episodes if n_games == games]
    assert len(played) >= run.metrics["episodes"][-1]
    assert played[0] == 1.0 and min(played) == pytest.approx(0.05)
    assert played == sorted(played, reverse=True) and len(set(played)) > 5
    falls = [(a - b) * 40 / 0.95 for a, b in pairwise(played) if b > 0.05 + 1e-9]
    for steps in falls:  # whole real steps
        assert abs(steps - round(steps)) < 1e-6
        assert 1 <= round(steps) <= 6
    assert set(testing) == {0.0} and len(testing) == len(run.metrics["env_steps"])


class Counted:
    """Stands in for play, learner and replay; nothing is learned.

    Every iteration is 100 steps per game.
    """

    def __init__(self, monkeypatch, config: Config) -> None:
        self.iterations = 0
        self.updated = []
        self.copied = []
        self.evaluated = []
        self.epsilons = []
        agent = RecurrentAgent(Turn().spec, config)
        self.online = torch.nn.ModuleDict({"agent": agent})
        self.auxiliaries = torch.nn.ModuleDict()
        self.explorer = PlainExploration(Turn().spec, config, {})
        self.env_steps = torch.zeros(())

        def play(game, policy, n_games, rng, gamma, bootstrap_at_limit=False):
            if n_games == config.evaluation_games:
                self.evaluated.append(self.iterations)
                return SimpleNamespace(
                    rewards=torch.zeros(n_games, 100),
                    won=torch.zeros(n_games, dtype=torch.bool),
                )
            self.iterations += 1
            self.epsilons.append(policy.epsilon)

        monkeypatch.setattr(training, "play", play)
        monkeypatch.setattr(training, "make_learner", lambda *_: self)
        replay = SimpleNamespace(insert=id, sample=lambda *_: None)
        monkeypatch.setattr(training, "Replay", lambda *_: replay)
        # types are checked elsewhere; this counts far
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        (self.run,) = train(config, Turn())

    def on_episodes(self, *_):
        pass

    def update(self, *_):
        self.updated.append(self.iterations)
        return {}

    def copy_target(self):
        # (index of the episode, updates so far)
        self.copied.append((self.iterations - 1, len(self.updated)))


def test_published_run_is_counted_as_in_the_published_code(monkeypatch):
    counted = Counted(monkeypatch, METHODS["qmix"])
    assert METHODS["qmix"].env_steps == 2_050_000
    # the last episode is the first to exceed the budget
    assert counted.iterations == 20_501
    assert len(counted.updated) == 20_470 and counted.updated[0] == 32
    assert counted.copied[0] == (200, 170)
    assert [index for index, _ in counted.copied] == list(range(200, 20_501, 200))
    assert counted.run.metrics["env_steps"] == list(range(100, 2_050_101, 10_000))
    assert counted.run.metrics["updates"][:2] == [0, 70]
    assert counted.run.provenance["updates"] == 20_470
    assert counted.epsilons[499] == pytest.approx(0.0519)
    assert counted.epsilons[500] == pytest.approx(0.05)


def test_eight_games_at_once_are_one_iteration(monkeypatch):
    counted = Counted(monkeypatch, METHODS["qmix"].but(n_games=8, env_steps=80_000))
    assert counted.iterations == 101
    assert counted.updated == list(range(4, 102))  # 8 · 4 episodes fill the first batch
    # every 200 episodes
    assert [index for index, _ in counted.copied] == [25, 50, 75, 100]
    assert counted.run.metrics["env_steps"][:3] == [800, 11_200, 21_600]


# ---------------------------------------------------------------------------- exploring


def test_greedy_play_takes_the_best_available_action_and_no_randomness():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    values = torch.tensor([[[1.0, 5.0, 3.0], [-1.0, -5.0, -3.0]]])
    available = torch.tensor([[[True, False, True], [False, True, True]]])
    assert epsilon_greedy(values, available, 0.0, generator).tolist() == [[2, 2]]
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_exploration_is_uniform_over_available_actions_and_independent(epsilon):
    games, generator = 40_000, torch.Generator().manual_seed(0)
    values = torch.tensor([[4.0, 3.0, 2.0, 9.0], [0.0, 1.0, 2.0, 9.0]])
    values = values.expand(games, 2, 4)
    available = torch.tensor([True, True, True, False]).expand(games, 2, 4)
    actions = epsilon_greedy(values, available, epsilon, generator)
    greedy = torch.tensor([0, 2])
    for agent in range(2):
        shares = actions[:, agent].bincount(minlength=4) / games
        expected = torch.full((4,), epsilon / 3)
        expected[greedy[agent]] += 1 - epsilon
        expected[3] = 0
        torch.testing.assert_close(shares, expected, rtol=0, atol=0.01)
    off = (actions != greedy).float()
    both, separate = float(off.prod(1).mean()), float(off.mean(0).prod())
    assert abs(both - separate) < 0.01
