"""Environments of PettingZoo and Gymnasium as games."""

import gc
import os
import resource
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces
from support.environments import (
    Changing,
    Counting,
    Failing,
    Follow,
    FollowJointly,
    Pair,
    Relay,
    Sticky,
    Unseeded,
)
from support.faults import StopHere, after, refused
from support.runs import same
from support.toys import CIA, rng, small

from ciacore import METHODS, train
from ciacore.games import GAMES, check_game, game_name, make_game
from ciacore.games.adapters.environment import EnvironmentGame
from ciacore.games.adapters.names import parse
from ciacore.games.adapters.rewards import team_reward
from ciacore.learning.rollout import play
from ciacore.types import Episodes, InvalidInputError

UNCHECKED = pytest.mark.usefixtures("as_users_run_it")
EXAMPLES = "pettingzoo:pettingzoo.test.example_envs"
ROOM = {"n_agents": 60, "n_actions": 9, "observation_size": 50, "state": "joined"}
# PettingZoo's own test environments: agents come and go, unlike each other
OWN_TESTS = {
    "generated_agents_parallel_v0": {"reward": "sum", "horizon": 12, **ROOM},
    "generated_agents_parallel_cust_agentid_v0": {
        "reward": "sum",
        "horizon": 12,
        **ROOM,
    },
    # these draw observations that no seed fixes
    "generated_agents_env_v0": {
        "reward": "sum",
        "horizon": 12,
        "exact": False,
        **ROOM,
    },
    "generated_agents_env_action_mask_info_v0": {
        "reward": "sum",
        "horizon": 12,
        "exact": False,
        **ROOM,
    },
}


def relay(**settings) -> EnvironmentGame:
    return EnvironmentGame(Relay, "relay", **settings)


class Listed:
    """Plays the same actions at every step, where they are available."""

    def __init__(self, *actions: int) -> None:
        self.actions = torch.tensor(actions)

    def start(self, observations, states, rng):
        return None

    def act(self, observations, available, memory, rng):
        actions = self.actions.expand(len(observations), -1)
        allowed = available.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return torch.where(allowed, actions, available.int().argmax(-1)), None


def equal(one: Episodes, other: Episodes) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------------- what is played


def test_unlike_agents_by_hand():
    game = relay()
    assert game.spec[:6] == (2, 3, 3, 2, 0, 4)
    state = game.reset(2, rng())
    seen = game.observe(state)
    assert seen[:, 0, 0].tolist() == [0, 0] and seen[:, 0, 2].tolist() == [-1, -1]
    assert seen[0, 0, 1] != seen[1, 0, 1]  # seeds of their own
    assert seen[0, 1].tolist() == [0, 7, 0]  # padded
    assert game.available(state)[0].tolist() == [[True] * 3, [True, True, False]]
    step = game.step(state, torch.tensor([[0, 0], [2, 1]]), rng())
    assert step.rewards.tolist() == [2, 0]
    state = step.state
    assert game.global_state(state).tolist() == [[1, 2]] * 2
    assert game.available(state)[0].tolist() == [[True, True, False]] * 2
    step = game.step(state, torch.tensor([[0, 1], [1, 0]]), rng())
    assert step.rewards.tolist() == [1, 1]
    # the short one has left: it sees nothing and does nothing
    assert not step.terminated.any() and not step.truncated.any()
    left = game.available(step.state)[0, 1].tolist()
    assert left == [True, False, False]
    step = game.step(step.state, torch.zeros(2, 2, dtype=torch.int64), rng())
    assert step.rewards.tolist() == [1, 1]
    assert game.observe(step.state)[:, 1].abs().sum() == 0
    step = game.step(step.state, torch.zeros(2, 2, dtype=torch.int64), rng())
    assert step.truncated.all() and not step.terminated.any()
    assert step.info["valid"].all()
    # over: it stays as it is
    again = game.step(step.state, torch.zeros(2, 2, dtype=torch.int64), rng())
    assert not again.info["valid"].any() and again.rewards.tolist() == [0, 0]


def test_truncation_and_termination_are_kept_apart():
    """The switch bootstraps where the limit ended an episode, and only there."""
    ends = []
    for limit_as, stated in (("truncated", False), ("terminated", True)):
        game = EnvironmentGame(
            lambda said=limit_as: Relay(limit_as=said),
            "relay",
            limit_is_truncation=stated,
        )
        published = play(game, Listed(0, 0), 2, rng(), 0.5)
        assert published.discounts.tolist() == [[0.5, 0.5, 0.5, 0]] * 2
        further = play(game, Listed(0, 0), 2, rng(), 0.5, bootstrap_at_limit=True)
        assert further.discounts.tolist() == [[0.5] * 4] * 2
        assert further.available[:, -1, 0].tolist() == [[True, True, True]] * 2
        assert (further.observations[:, -1, 0, 0] == 4).all()  # what is seen behind it
        assert equal(published._replace(discounts=further.discounts), further)
        ends.append(published)
    assert equal(*ends)
    as_it_says = EnvironmentGame(lambda: Relay(limit_as="terminated"), "relay")
    further = play(as_it_says, Listed(0, 0), 2, rng(), 0.5, bootstrap_at_limit=True)
    assert further.discounts.tolist() == [[0.5, 0.5, 0.5, 0]] * 2


def test_a_shorter_horizon_truncates():
    episodes = play(relay(horizon=3), Listed(0, 0), 1, rng(), 0.5, True)
    assert episodes.discounts.tolist() == [[0.5] * 3]
    assert episodes.weights.tolist() == [[1.0] * 3]
    longer = play(relay(horizon=9), Listed(0, 0), 1, rng(), 0.5)
    assert longer.weights.tolist() == [[1.0] * 4 + [0.0] * 5]


def test_who_waits_for_a_turn_does_nothing():
    game = EnvironmentGame(Counting, "counting", horizon=9)
    state = game.reset(1, rng())
    turns = []
    for _ in range(3):
        mask = game.available(state)[0].tolist()
        turns.append(mask.index([False, True, True]))
        assert mask[1 - turns[-1]] == [True, False, False]
        choice = torch.tensor([[2 * (turns[-1] == k) for k in range(2)]])
        step = game.step(state, choice, rng())
        state = step.state
    assert turns == [0, 1, 0]
    assert step.terminated.all() and step.rewards.tolist() == [1]
    check_game(game)


@pytest.mark.parametrize("listed", [False, True])
def test_gymnasium_with_one_action_per_agent(listed):
    game = EnvironmentGame(
        lambda: Pair(listed, masks=True),
        "pair",
        reward="sum",
        horizon=6,
        limit_is_truncation=True,
    )
    assert game.spec[:6] == (2, 4, 4, 8, 0, 6)
    episodes = play(game, Listed(1, 3), 1, rng(), 1.0, bootstrap_at_limit=True)
    assert episodes.rewards.tolist() == [[4.0] * 6]
    assert episodes.discounts.tolist() == [[1.0] * 6]
    assert episodes.available[0, 0].tolist() == [
        [True, True, False, False],
        [False, True, True, True],
    ]
    assert episodes.observations[0, 2, 0].tolist() == pytest.approx([0.2] * 4)
    assert episodes.observations[0, 2, 1].tolist() == [0, 0, 1, 0]  # one-hot


@pytest.mark.parametrize(
    ("rule", "found"), [("shared", 2.0), ("sum", 4.0), ("mean", 4 / 3)]
)
def test_rules_of_the_team_s_reward(rule, found):
    assert team_reward({"a": 2.0, "b": 2.0}, rule, 3) == pytest.approx(found)
    assert team_reward({}, rule, 3) == 0


# -------------------------------------------------- seeds, processes, resume, memory


def test_an_episode_follows_from_its_seed_alone():
    """A fresh environment for each: Sticky would go on where it ended."""
    game = EnvironmentGame(Sticky, "sticky")
    assert game.spec.horizon == 3
    first = play(game, Listed(0, 0), 3, rng(), 0.9)
    assert equal(first, play(game, Listed(0, 0), 3, rng(), 0.9))
    kept = EnvironmentGame(Sticky, "sticky", reuse=True)
    play(kept, Listed(0, 0), 3, rng(), 0.9)
    assert not equal(first, play(kept, Listed(0, 0), 3, rng(), 0.9))


@pytest.mark.parametrize("name", OWN_TESTS)
def test_pettingzoo_s_own_test_environments_train(name):
    settings = OWN_TESTS[name]
    config = small(method="vdn", mixer="vdn")
    game = make_game(f"{EXAMPLES}.{name}", **settings)
    runs = [*train(config, game, [1]), *train(config, game, [1])]
    assert runs[0].metrics["updates"][-1] > 0
    assert runs[0].game == game_name(f"{EXAMPLES}.{name}", **settings)
    if settings.get("exact", True):
        assert same(*runs)


def test_runs_do_not_depend_on_processes():
    config = small(**CIA, n_games=4)
    (alone,) = train(config, relay(), [1])
    game = relay(processes=2)
    (shared,) = train(config, game, [1])
    game.close()
    assert same(alone, shared)


@pytest.mark.long
def test_seeds_in_processes_have_environments_in_processes(tmp_path):
    config = small(**CIA, n_games=4)
    (alone,) = train(config, relay(), [1])
    runs = train(config, relay(processes=3), [2, 1], tmp_path, processes=2)
    assert same(runs[1], alone)


def test_resume_is_exact(tmp_path):
    config = small(**CIA, n_games=2)
    (whole,) = train(config, relay(), [1])
    with pytest.raises(StopHere):
        train(config, relay(), [1], tmp_path, progress=after(4))
    (resumed,) = train(config, relay(), [1], tmp_path)
    assert resumed.provenance["resumed"]
    assert same(whole, resumed)


def test_processes_end_with_their_game():
    game = relay(processes=2)
    game.reset(3, rng())
    workers = list(game.copies.running)
    assert [worker.poll() for worker in workers] == [None, None]
    del game
    gc.collect()
    assert [worker.poll() for worker in workers] == [0, 0]


@pytest.mark.long
def test_processes_end_when_nobody_is_left_to_order(tmp_path):
    """The parent is killed: its workers read the end of their orders."""
    program = (
        "from support.environments import Relay\n"
        "from ciacore.games.adapters.environment import EnvironmentGame\n"
        "import torch, time\n"
        "game = EnvironmentGame(Relay, 'relay', processes=2)\n"
        "game.reset(2, torch.Generator())\n"
        "print(*(w.pid for w in game.copies.running), flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment
    ) as parent:
        pids = parent.stdout.readline().split()
        parent.kill()
    deadline = time.monotonic() + 20
    while any(alive(int(pid)) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(pids) == 2


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be buried does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (False, "an environment failed: KeyError: 'wheel'"),
        pytest.param(True, "exit code 3", marks=pytest.mark.long),
    ],
)
def test_an_environment_that_fails_in_its_process(ends, message, monkeypatch):
    make = partial(Failing, ends)
    game = EnvironmentGame(make, "failing", processes=2, exact=False)
    monkeypatch.setenv("CIACORE_TEST_FAIL", "1")
    with pytest.raises(RuntimeError, match=message) as caught:
        play(game, Listed(0, 0), 3, rng(), 0.9)
    assert ends or "in step" in caught.value.__notes__[0]
    assert game.copies is None
    monkeypatch.delenv("CIACORE_TEST_FAIL")
    assert play(game, Listed(0, 0), 3, rng(), 0.9).rewards.sum() == 9
    game.close()


@pytest.mark.long
@pytest.mark.parametrize("make", [Relay, FollowJointly, Counting])
def test_memory_is_flat_over_many_episodes(make):
    """Parallel, Gymnasium's, and one that takes turns."""
    game = EnvironmentGame(make, "many", reward="sum", horizon=8)
    peaks = []
    for _ in range(2):
        for _ in range(50):
            play(game, Listed(0, 0), 100, rng(), 0.9)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[1] - peaks[0] < 2_000  # KB, after 5,000 episodes more


@pytest.mark.parametrize(
    "make", [Follow, pytest.param(FollowJointly, marks=pytest.mark.long)]
)
def test_an_easy_one_is_solved(make):
    """VDN, through each adapter; 8 is the best there is, chance gives 2."""
    config = METHODS["vdn"].but(
        env_steps=6_000,
        epsilon_steps=2_000,
        batch=16,
        hidden_size=16,
        target_interval=20,
        evaluation_interval=3_000,
        learning_rate=5e-3,
    )
    (run,) = train(config, EnvironmentGame(make, "follow"), [1])
    start, *_, end = run.metrics["episode_return"]
    assert np.mean(start) < 5 and np.mean(end) > 7.5


# ------------------------------------------------------------ packages, names, refusals

PACKAGES = {
    "pettingzoo:mpe2.simple_spread_v3": (
        {"reward": "mean", "N": 2},
        (2, 5, 12, 24, 0, 25),
    ),
    "pettingzoo:mpe2.simple_speaker_listener_v4": ({}, (2, 5, 11, 14, 0, 25)),
    "gymnasium:lbforaging:Foraging-8x8-2p-2f-coop-v3": (
        {"reward": "sum", "limit_is_truncation": True},
        (2, 6, 12, 24, 0, 50),
    ),
    "gymnasium:rware:rware-tiny-2ag-v2": (
        {"reward": "sum", "limit_is_truncation": True, "horizon": 40},
        (2, 5, 71, 142, 0, 40),
    ),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_three_packages(name):
    arguments, sizes = PACKAGES[name]
    game = make_game(name, **arguments)
    assert game.spec[:6] == sizes
    assert game.name == game_name(name, **arguments)
    again = make_game(game.name)  # a run's name makes its game
    assert (again.name, again.spec) == (game.name, game.spec)
    check_game(game)
    policy = Listed(1, 2)
    episodes = play(game, policy, 2, rng(), 0.9)
    assert equal(episodes, play(game, policy, 2, rng(), 0.9))
    further = play(game, policy, 2, rng(), 0.9, bootstrap_at_limit=True)
    assert (episodes.discounts[:, -1] == 0).all()
    assert (further.discounts[:, -1] > 0).all()
    (run,) = train(small(**CIA), game, [1])
    assert run.metrics["updates"][-1] > 0 or sizes[-1] > 15


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reward": "mean", "N": 3, "local_ratio": 0.25, "flag": True, "none": None},
        {"word": "true", "sign": "a+b=c/d", "list": [1, "x"], "number": "1"},
    ],
)
def test_a_name_holds_what_the_game_is_made_from(arguments):
    name = game_name("gymnasium:ALE:ns/Pong-v5", **arguments, processes=3)
    assert "/" not in name and ":" not in name and " " not in name
    assert parse(name) == ("gymnasium", "ALE:ns/Pong-v5", arguments)
    assert game_name(name) == name


def test_our_own_games_keep_their_names():
    assert make_game("turn").name == "turn" == game_name("turn")
    assert all(game_name(name) == name for name in GAMES)


def changed(**changes):
    """A maker of Sticky that is otherwise in some ways."""
    return lambda: Changing(**changes)


def own(make, **settings):
    return lambda: EnvironmentGame(make, "own", **settings)


BOX = spaces.Box(0, 1, (2,))
REFUSED = {
    "continuous actions": (
        own(changed(action_space=lambda _: BOX)),
        *("action_space", "Discrete", "continuous space Box"),
    ),
    "nested actions": (
        own(changed(action_space=lambda _: spaces.MultiDiscrete([2, 2]))),
        *("action_space", "Discrete", "nested space MultiDiscrete"),
    ),
    "observations without a length": (
        own(changed(observation_space=lambda _: spaces.Sequence(BOX))),
        *("observation_space", "fixed length"),
    ),
    "no horizon": (
        own(changed(max_cycles=None)),
        *("horizon", "how long it lasts", "Set horizon"),
    ),
    "horizon": (own(Sticky, horizon=0), "horizon", "at least 1", "0"),
    "no agents": (
        own(changed(possible_agents=[])),
        *("possible_agents", "n_agents", "observation_size"),
    ),
    "too few actions": (own(Relay, n_actions=2), "n_actions", "at least 3", "2"),
    "rewards that differ": (
        lambda: make_game("pettingzoo:support.environments:Uneven"),
        *("reward", "same reward", 'reward="sum"'),
    ),
    "reward rule": (own(Sticky, reward="first"), "reward", "shared, sum, mean"),
    "state rule": (own(Sticky, state="all"), "state", "own, joined"),
    "no state": (own(Sticky, state="own"), "state", 'state="joined"'),
    "no seed": (own(Unseeded), "seed", "exact=False"),
    "processes": (own(Relay, processes=0), "processes", "at least 1", "0"),
    "processes of a lambda": (
        own(lambda: Relay(), processes=2),
        *("processes", "cannot import", "module"),
    ),
    "no action": (
        lambda: make_game("pettingzoo:support.environments:Stuck"),
        *("action_mask", "an action for every agent", "agent a"),
    ),
    "nothing seen": (
        lambda: make_game("pettingzoo:support.environments:Unseen"),
        *("observations", "every living agent", "agent b"),
    ),
    "nothing paid": (
        lambda: make_game("pettingzoo:support.environments:Unpaid"),
        *("rewards", "plays on", "agent b"),
    ),
    "one agent": (
        lambda: make_game("gymnasium:CartPole-v1"),
        *("action_space", "one action per agent", "Discrete(2)"),
    ),
    "no module": (lambda: make_game("pettingzoo:nowhere.x"), "game", "pip install"),
    "no function": (lambda: make_game("pettingzoo:json"), "game", "parallel_env"),
    "no id": (lambda: make_game("gymnasium:None-v0"), "game", "<package>:<id>"),
    "id without its package": (
        lambda: make_game("gymnasium:Foraging-99x99-2p-2f-coop-v3"),
        *("game", "Name the package"),
    ),
    "unknown argument": (
        lambda: make_game("pettingzoo:support.environments:Relay", wind=1),
        *("game", "arguments", "wind"),
    ),
    "nothing named": (lambda: make_game("pettingzoo:"), "game", "pettingzoo"),
    "a game of ours with arguments": (
        lambda: make_game("turn", horizon=5),
        *("game_arguments", "none for turn"),
    ),
    "unknown game": (lambda: make_game("trun"), "game", "Did you mean 'turn'"),
    "argument without text": (
        lambda: game_name("pettingzoo:x", world=object()),
        *("world", "numbers, words"),
    ),
    "not an environment": (own(dict), "environment", "dict"),
}


@UNCHECKED
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, *parts = REFUSED[case]
    refused(call, *parts)


@UNCHECKED
def test_a_state_is_good_for_one_step():
    game = relay()
    state = game.reset(1, rng())
    actions = torch.zeros(1, 2, dtype=torch.int64)
    game.step(state, actions, rng())
    refused(lambda: game.step(state, actions, rng()), "state", "wound back")


@UNCHECKED
def test_breaches_in_a_process_are_told_by_name(tmp_path):
    """The environment breaks its promise while it is played, in another process."""
    name = "pettingzoo:support.environments:Growing"
    for processes in (1, 2):
        game = make_game(name, processes=processes)
        with pytest.raises(InvalidInputError, match="observations: expected 20"):
            play(game, Listed(0, 0), 2, rng(), 0.9)
        game.close()
