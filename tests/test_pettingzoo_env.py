"""The PettingZoo view: PettingZoo's own tests, and equality with the batched game."""

import numpy as np
import pytest
import torch
from ciabook.turn.pettingzoo_env import ParallelGame
from pettingzoo.test import parallel_api_test, parallel_seed_test

from ciacore.games import MatrixGame, MStep, PredatorPrey, Turn, TwoStep
from ciacore.games.turn import DOWN, EAT, RIGHT, STAY
from ciacore.types import InvalidInputError

GAMES = {
    "turn": Turn,
    "turn_3": lambda: Turn(n_agents=3),
    "two_step": TwoStep,
    "m_step": MStep,
    "predator_prey": lambda: PredatorPrey(size=5, n_predators=3, n_prey=2, horizon=20),
    "matrix": lambda: MatrixGame(torch.tensor([[8.0, -12.0], [-12.0, 0.0]])),
}


@pytest.fixture(params=GAMES)
def make(request):
    return lambda: ParallelGame(GAMES[request.param]())


def test_parallel_api(make):
    # every warning is an error (pyproject.toml)
    parallel_api_test(make(), num_cycles=1000)


def test_parallel_seed(make):
    parallel_seed_test(make, num_cycles=500)


def test_spaces_hold_what_is_returned(make):
    env = make()
    observations, _ = env.reset(seed=1)
    for agent in env.agents:
        assert env.observation_space(agent).contains(observations[agent])
    assert env.state_space.contains(env.state())


def test_one_episode_equals_the_batched_game():
    game = Turn(horizon=30)
    env = ParallelGame(Turn(horizon=30))
    rng = torch.Generator().manual_seed(9)
    choices = np.random.default_rng(0)
    state = game.reset(1, rng)
    seen, _ = env.reset(seed=9)
    for t in range(30):
        assert np.array_equal(env.state(), game.global_state(state)[0].numpy())
        observations = game.observe(state)[0].numpy()
        for index, agent in enumerate(env.agents):
            assert np.array_equal(seen[agent]["observation"], observations[index])
            assert seen[agent]["action_mask"].tolist() == [1] * 6
        actions = choices.integers(6, size=2)
        step = game.step(state, torch.tensor(actions[None]), rng)
        state = step.state
        joint = {"agent_0": actions[0], "agent_1": actions[1]}
        seen, rewards, terminated, truncated, infos = env.step(joint)
        assert rewards == dict.fromkeys(env.possible_agents, step.rewards.item())
        assert terminated == dict.fromkeys(env.possible_agents, False)
        assert truncated == dict.fromkeys(env.possible_agents, t == 29)
        assert infos["agent_0"] == {"valid": True, "eaten": step.info["eaten"].item()}
    assert env.agents == []


def test_a_one_step_game_terminates_and_shares_its_payoff():
    env = ParallelGame(GAMES["matrix"]())
    env.reset(seed=0)
    _, rewards, terminated, truncated, _ = env.step({"agent_0": 0, "agent_1": 1})
    assert rewards == {"agent_0": -12.0, "agent_1": -12.0}
    assert terminated == {"agent_0": True, "agent_1": True}
    assert truncated == {"agent_0": False, "agent_1": False}


def test_without_a_seed_the_random_numbers_go_on():
    def apples(*seeds):
        env = ParallelGame(Turn())
        seen = []
        for seed in seeds:
            env.reset(seed=seed)
            seen.append(env.state()[:25].argmax())
        return seen

    first = apples(0, *[None] * 9)
    assert len(set(first)) > 1
    assert apples(0, *[None] * 9) == first
    assert apples(*[0] * 10) == [first[0]] * 10


def test_the_board_as_text():
    env = ParallelGame(Turn(size=3), render_mode="ansi")
    env.reset(seed=0)
    while env.state()[:9].argmax() != 1:  # until the apple is at (0, 1)
        env.reset()
    assert env.render() == "0   *   .\n.   .   .\n.   .   1\nt = 0: agent 0 is free"
    env.step({"agent_0": RIGHT, "agent_1": STAY})
    assert env.render() == ".   *0  .\n.   .   .\n.   .   1\nt = 1: agent 0 is free"
    env.step({"agent_0": EAT, "agent_1": STAY})
    assert env.render().splitlines()[-1] == "t = 2: agent 1 is free"
    assert ParallelGame(Turn()).render() is None


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            {"agent_0": 6, "agent_1": 5},
            r"actions\['agent_0'\]: expected a whole number from 0 to 5, got 6",
        ),
        (
            {"agent_0": 5, "agent_1": -1},
            r"actions\['agent_1'\]: expected a whole number from 0 to 5, got -1",
        ),
        (
            {"agent_0": 5, "agent_1": 1.0},
            r"actions\['agent_1'\]: expected a whole number from 0 to 5, got 1\.0",
        ),
        (
            {"agent_0": 5},
            r"actions: expected one action for each of .*, got \['agent_0'\]",
        ),
        (
            {"agent_1": 5, "agent_2": 5},
            r"actions: expected one action for each .*, got \['agent_1', 'agent_2'\]",
        ),
    ],
)
def test_impossible_actions_are_refused_and_change_nothing(actions, message):
    env = ParallelGame(Turn())
    env.reset(seed=0)
    before = env.state()
    with pytest.raises(InvalidInputError, match=message):
        env.step(actions)
    assert np.array_equal(env.state(), before)
    assert env.agents == ["agent_0", "agent_1"]


def test_a_matrix_game_refuses_what_its_table_does_not_have():
    env = ParallelGame(GAMES["matrix"]())
    env.reset(seed=0)
    message = "expected a whole number from 0 to 1, got 2"
    with pytest.raises(InvalidInputError, match=message):
        env.step({"agent_0": 0, "agent_1": 2})


def test_steps_outside_an_episode_are_refused():
    env = ParallelGame(Turn(horizon=1))
    with pytest.raises(InvalidInputError, match="Call reset first"):
        env.step({"agent_0": DOWN, "agent_1": STAY})
    with pytest.raises(InvalidInputError, match="Call reset first"):
        env.state()
    env.reset(seed=0)
    env.step({"agent_0": DOWN, "agent_1": STAY})
    with pytest.raises(InvalidInputError, match="an episode that is still going on"):
        env.step({"agent_0": DOWN, "agent_1": STAY})


@pytest.mark.parametrize(("game", "mode"), [("turn", "human"), ("matrix", "ansi")])
def test_unknown_render_modes_are_refused(game, mode):
    with pytest.raises(InvalidInputError, match=f"render_mode: .* got '{mode}'"):
        ParallelGame(GAMES[game](), render_mode=mode)
