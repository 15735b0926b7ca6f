"""What breaks the contract of a game or a part is refused by name, before training."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from support.faults import refused
from support.runs import same
from support.toys import CIA, SPEC, Stroll, learner, random_episodes, rng, small
from torch import nn

import ciacore.methods
from ciacore import METHODS, train
from ciacore.baselines.scds import policy_divergence
from ciacore.config import Config
from ciacore.contract import check_episodes
from ciacore.games import GAMES, MatrixGame, Turn, check_game
from ciacore.learning.rollout import pad
from ciacore.types import InvalidInputError, Mixed

pytestmark = pytest.mark.usefixtures("as_users_run_it")


def spec(**changes):
    """A game that says something else of itself."""

    def made():
        game = Stroll()
        game.spec = game.spec._replace(**changes)
        return game

    return made


def shows(method: str, change):
    """A game whose method returns something else."""

    def made():
        game = Stroll()
        plain = getattr(game, method)
        setattr(game, method, lambda *given: change(plain(*given)))
        return game

    return made


def steps(**changes):
    """A game whose steps hold something else."""
    return shows(
        "advance",
        lambda step: step._replace(
            **{name: change(step) for name, change in changes.items()}
        ),
    )


def attribute(name: str, value):
    def made():
        game = Stroll()
        setattr(game, name, value)
        return game

    return made


class InPlace(Stroll):
    """Writes into the state that it was given."""

    def advance(self, state, actions, rng):
        step = super().advance(state, actions, rng)
        state.t.add_(1)
        return step._replace(state=state)


class Endless(Stroll):
    """Says 6 steps, and goes on."""

    def advance(self, state, actions, rng):
        step = super().advance(state, actions, rng)
        never = torch.zeros_like(step.terminated)
        return step._replace(terminated=never, truncated=never)


class Later(Stroll):
    """Its third observation has another size."""

    def reset(self, n_games, rng):
        state = super().reset(n_games, rng)
        return state._replace(length=torch.full_like(state.length, 6))

    def observe(self, state):
        seen = super().observe(state)
        return seen if state.t[0] < 2 else seen[..., :3]


class Forgetful(Stroll):
    """Its copy in another process has another horizon."""

    def __setstate__(self, state):
        self.__dict__ = state
        self.spec = self.spec._replace(horizon=7)


class NumpyOnly(Stroll):
    """Says that it plays in numpy, with a state that is no named tuple of arrays."""

    def __init__(self):
        super().__init__()
        self.spec = self.spec._replace(in_numpy=True)

    def reset(self, n_games, rng):
        if isinstance(rng, np.random.Generator):
            return [0] * n_games
        return super().reset(n_games, rng)


def nan(values):
    return values * float("nan")


GAME = {
    # the spec
    "no spec": (attribute("spec", None), "spec", "a Spec", "None"),
    "spec of another type": (attribute("spec", (2, 3, 4)), "spec", "(2, 3, 4)"),
    "no agents": (spec(n_agents=0), "n_agents", "at least 1", "0"),
    "half an agent": (spec(n_agents=1.5), "n_agents", "whole number", "1.5"),
    "no actions": (spec(n_actions=0), "n_actions", "at least 1", "0"),
    "no observation": (spec(observation_size=0), "observation_size", "at least 1"),
    "no state": (spec(state_size=0), "state_size", "at least 1", "0"),
    "no horizon": (spec(horizon=0), "horizon", "at least 1", "0"),
    "horizon in quotes": (spec(horizon="6"), "horizon", "whole number", "'6'"),
    "negative at once": (spec(at_once=-1), "at_once", "at least 0", "-1"),
    "numpy's dtype": (spec(dtype=np.float32), "dtype", "type of torch", "float32"),
    "complex": (spec(dtype=torch.complex64), "dtype", "real type", "complex64"),
    "flag": (spec(ends_early=None), "ends_early", "True or False", "None"),
    "units beyond the state": (spec(unit_size=3), "unit_size", "at most 5", "6"),
    # the face
    "name": (attribute("name", "a/b"), "name", "a folder can have", "'a/b'"),
    "no name": (attribute("name", None), "name", "a folder can have", "None"),
    "hidden name": (attribute("name", ".."), "name", "a folder can have", "'..'"),
    "no method": (attribute("observe", None), "game", "a method observe", "Stroll"),
    # what is shown
    "float64": (
        shows("observe", torch.Tensor.double),
        *("observations", "[1, 2, 4] of float32", "float64"),
    ),
    "another size": (
        shows("observe", lambda seen: seen[..., :3]),
        *("observations", "[1, 2, 4]", "[1, 2, 3]"),
    ),
    "another size later": (Later, "observations", "[1, 2, 4]", "[1, 2, 3]"),
    "numpy for torch": (
        shows("observe", torch.Tensor.numpy),
        *("observations", "Tensor", "ndarray"),
    ),
    "no number": (shows("observe", nan), "observations", "finite numbers", "nan"),
    "infinite state": (
        shows("global_state", lambda state: state / 0),
        *("states", "finite numbers", "inf"),
    ),
    "state of another size": (
        shows("global_state", lambda state: state[:, :4]),
        *("states", "[1, 5]", "[1, 4]"),
    ),
    "state per agent": (
        shows("global_state", lambda state: state[:, None]),
        *("states", "[1, 5]", "[1, 1, 5]"),
    ),
    "int8 mask": (
        shows("available", torch.Tensor.char),
        *("available", "of bool", "int8"),
    ),
    "mask of another size": (
        shows("available", lambda mask: mask[..., :2]),
        *("available", "[1, 2, 3]", "[1, 2, 2]"),
    ),
    "nothing to do": (
        shows("available", lambda mask: mask & False),
        *("available", "an action for every agent", "agent 0 of game 0"),
    ),
    "nothing to do for one": (
        shows("available", lambda mask: mask & torch.tensor([[True], [False]])),
        *("available", "none for agent 1"),
    ),
    # what Spec.dtype cannot hold
    "uint8, negative": (
        lambda: stored(torch.uint8, -2.0),
        *("observations", "uint8 holds", "-2.0"),
    ),
    "uint8, too large": (lambda: stored(torch.uint8, 301.0), "observations", "301.0"),
    "uint8, a fraction": (lambda: stored(torch.uint8, 1.5), "observations", "1.5"),
    "bool, two": (lambda: stored(torch.bool, 2.0), "observations", "bool", "2.0"),
    "float16, too large": (
        lambda: stored(torch.float16, 70_000.0),
        *("observations", "float16", "70000.0"),
    ),
    # what a step returns
    "no step": (shows("advance", tuple), "advance", "a Step", "tuple"),
    "individual rewards": (
        steps(rewards=lambda step: step.rewards[:, None].expand(-1, 2)),
        *("rewards", "[1]", "[1, 2]"),
    ),
    "rewards as a number": (steps(rewards=lambda _: 1.0), "rewards", "Tensor", "float"),
    "rewards not finite": (
        steps(rewards=lambda step: nan(step.rewards)),
        *("rewards", "finite numbers", "nan"),
    ),
    "terminated in numbers": (
        steps(terminated=lambda step: step.terminated.float()),
        *("terminated", "of bool", "float32"),
    ),
    "truncated per agent": (
        steps(truncated=lambda step: step.truncated[:, None].expand(-1, 2)),
        *("truncated", "[1]", "[1, 2]"),
    ),
    "info": (steps(info=lambda _: None), "info", "a dictionary", "NoneType"),
    "won": (spec(winnable=True), "info", "an entry 'won'", "winnable=False"),
    # when it ends, and what it keeps
    "ends early": (
        spec(ends_early=False),
        *("ends_early", "exactly 6 steps", "ended after", "ends_early=True"),
    ),
    "goes on": (Endless, "horizon", "at most 6 steps", "goes on"),
    "writes into its state": (InPlace, "observations", "leaves alone"),
    "another copy": (Forgetful, "copy", "horizon=7", "__setstate__"),
    "numpy state": (NumpyOnly, "state", "named tuple of arrays [1, ...]", "list"),
}


def stored(dtype: torch.dtype, value: float) -> Stroll:
    game = Stroll()
    game.spec = game.spec._replace(dtype=dtype)
    game.observe = lambda state: torch.full((len(state.t), 2, 4), value)
    game.global_state = lambda state: torch.ones(len(state.t), 5)
    return game


@pytest.mark.parametrize("case", GAME)
def test_a_game_that_breaks_its_contract(case, tmp_path, monkeypatch):
    make, *parts = GAME[case]
    monkeypatch.setattr(
        "ciacore.runtime.session.Training", lambda *_: pytest.fail("training began")
    )
    refused(lambda: train(small(method="qmix"), make(), [3], tmp_path / "runs"), *parts)
    assert list(tmp_path.iterdir()) == []


def test_there_are_enough_breaches():
    assert len(GAME) + len(PARTS) >= 60


def test_several_seeds_are_refused_by_name_too(tmp_path):
    """In other processes, where the game is looked at."""
    with pytest.raises(
        InvalidInputError, match=r"^horizon: expected episodes that end"
    ):
        train(small(method="qmix"), Endless(), [1, 2], tmp_path / "runs", processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["turn", "turn_units"])
def test_our_games_keep_it(name):
    check_game(GAMES[name]())
    check_game(GAMES[name](), n_games=5)


def test_small_games_keep_it():
    check_game(MatrixGame([[1.0, 2.0], [3.0, 4.0]]))
    for n_games in (1, 7):
        check_game(Stroll(), n_games)


def test_looking_uses_up_no_random_numbers():
    class Random(Stroll):
        def observe(self, state):
            torch.rand(1), np.random.rand(), __import__("random").random()
            return super().observe(state)

    torch.manual_seed(3), np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    check_game(Random())
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_what_one_look_misses_is_found_while_playing(tmp_path):
    """An agent that can do nothing in an episode that comes later."""

    class Rare(Stroll):
        looked = 0

        def reset(self, n_games, rng):
            self.looked += 1
            return super().reset(n_games, rng)

        def available(self, state):
            return super().available(state) & (self.looked < 4)

    refused(
        lambda: train(small(method="qmix"), Rare(), [1], tmp_path),
        *("available", "an action for every agent", "none in an episode"),
    )
    check_episodes(random_episodes([3, 1, 2]))


# -------------------------------------------------------------------------------- parts


class Sum(nn.Module):
    """A mixer that keeps its contract."""

    def __init__(self, spec, config):
        super().__init__()
        self.a = nn.Linear(spec.state_size, 1)

    def forward(self, utilities, state):
        return self.mixed(utilities.chosen.sum(-1) + self.a(state).squeeze(-1))

    def mixed(self, q_tot):
        return Mixed(q_tot, q_tot.new_zeros(()))


class WrongState(Sum):
    def __init__(self, spec, config):
        super().__init__(spec._replace(state_size=9), config)


class TrailingAxis(Sum):
    def forward(self, utilities, state):
        return self.mixed(utilities.chosen.sum(-1, keepdim=True) + self.a(state))


class OneForAll(Sum):
    def forward(self, utilities, state):
        return self.mixed(super().forward(utilities, state).q_tot.mean())


class Detached(Sum):
    def forward(self, utilities, state):
        return super().forward(utilities.with_chosen(utilities.chosen.detach()), state)


class Deaf(Sum):
    def forward(self, utilities, state):
        return self.mixed(self.a(state).squeeze(-1))


class Penalty(Sum):
    def forward(self, utilities, state):
        q_tot = super().forward(utilities, state).q_tot
        return Mixed(q_tot, 0.0)


class NotMixed(Sum):
    def forward(self, utilities, state):
        return super().forward(utilities, state).q_tot


class Tied(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.b = self.a


class TiedWeights(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.b = nn.Linear(spec.state_size, 1)
        self.b.weight = self.a.weight


class TiedBuffer(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.register_buffer("one", torch.ones(4))
        self.register_buffer("other", self.one[:2])


class Sparse(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.register_buffer("sparse", torch.eye(3).to_sparse())


class Extra(Sum):
    def get_extra_state(self):
        return {"count": 3}

    def set_extra_state(self, state):
        pass


class Lazy(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.a = nn.LazyLinear(1)


class Listed(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.layers = [nn.Linear(2, 2)]


class Named(Sum):
    def __init__(self, spec, config):
        super().__init__(spec, config)
        self.weights = {"w": nn.Parameter(torch.ones(1))}


class Fine(nn.Module):
    """A loss term that keeps its contract."""

    coefficient = 1.0
    needs_closed_form = False

    def __init__(self, spec, config):
        super().__init__()

    def forward(self, record):
        return record.q_tot.pow(2).mean()


class PerStep(Fine):
    def forward(self, record):
        return record.q_tot.pow(2)


class AsFloat(Fine):
    def forward(self, record):
        return 1.0


class NoNumber(Fine):
    def forward(self, record):
        return record.q_tot.mean() / 0


class Fails(Fine):
    def forward(self, record):
        return record.velocity


class Weightless(nn.Module):
    needs_closed_form = False

    def __init__(self, spec, config):
        super().__init__()

    def forward(self, record):
        return record.q_tot.mean()


class Unmade(Fine):
    """Wants an argument that nobody gives."""

    def __init__(self, spec, config, wind):
        super().__init__(spec, config)


class WeightPerAgent(Fine):
    coefficient = staticmethod(lambda steps: torch.ones(2))


class Blank(nn.Module):
    """An objective without a loss."""

    def __init__(self, spec, config):
        super().__init__()

    def greedy_values(self, agent, mixer, batch, greedy):
        return torch.zeros(greedy.shape[:2])

    def forward(self, record):
        return {}


class Half(ciacore.methods.RecurrentAgent):
    """An agent that knows one action too few."""

    def unroll(self, episodes, inputs=None):
        values, hidden = super().unroll(episodes, inputs)
        return values[..., :-1], hidden


class Shy(ciacore.methods.PlainExploration):
    """An explorer that returns chances instead of actions."""

    def learning(self, agent, epsilon):
        policy = super().learning(agent, epsilon)

        class Chances:
            start = staticmethod(policy.start)

            def act(self, observations, available, memory, rng):
                actions, memory = policy.act(observations, available, memory, rng)
                return actions.float(), memory

        return Chances()


class Broken(ciacore.methods.SCDS):
    """An auxiliary that fails when it learns."""

    def learn(self, record, rng):
        raise ZeroDivisionError("of nothing")


PARTS = {
    "state size": ("mixer", WrongState, "work on this game", "RuntimeError"),
    "trailing axis": ("mixer", TrailingAxis, "shape [2, 3]", "[2, 3, 1]"),
    "one value for all": ("mixer", OneForAll, "shape [2, 3]", "[]"),
    "detached": ("mixer", Detached, "of the agents' utilities", "detach"),
    "deaf": ("mixer", Deaf, "of the agents' utilities"),
    "penalty": ("mixer", Penalty, "penalty of shape []", "0.0"),
    "not Mixed": ("mixer", NotMixed, "work on this game", "q_tot"),
    "tied layers": ("mixer", Tied, "weights of their own", "a.weight and b.weight"),
    "tied weights": ("mixer", TiedWeights, "a.weight and b.weight", "use it twice"),
    "tied buffers": ("mixer", TiedBuffer, "one and other"),
    "sparse": ("mixer", Sparse, "dense weights", "sparse"),
    "extra state": ("mixer", Extra, "weights that are tensors", "extra_state"),
    "lazy": ("mixer", Lazy, "weights of a known size", "a.weight"),
    "layers in a list": ("mixer", Listed, "list, layers", "nn.ModuleList"),
    "weights in a dictionary": ("mixer", Named, "dict, weights", "nn.ModuleDict"),
    "loss per step": ("terms", PerStep, "loss own of shape []", "[2, 3]"),
    "loss as a float": ("terms", AsFloat, "loss own of shape []", "float"),
    "loss that is no number": ("terms", NoNumber, "a finite loss own", "inf"),
    "term that fails": ("terms", Fails, "work on this game (own)", "velocity"),
    "term without weight": ("terms", Weightless, "own with a coefficient"),
    "term that cannot be made": ("terms", Unmade, "method", "TypeError", "wind"),
    "weight per agent": ("terms", WeightPerAgent, "one number as the weight"),
    "no loss": ("backbone", Blank, "a dictionary of losses"),
    "values": ("agent", Half, "values of shape [2, 4, 2, 3]", "[2, 4, 2, 2]"),
    "chances": ("explorer", Shy, "actions of int64", "float32"),
    "auxiliary": ("auxiliaries", Broken, "work on this game", "ZeroDivisionError"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_part_that_breaks_its_contract(case, tmp_path, monkeypatch):
    slot, part, *parts = PARTS[case]
    monkeypatch.setitem(ciacore.methods.SLOTS[slot], "own", part)
    several = slot in ("terms", "auxiliaries")
    config = small(**{"method": "own", slot: ("own",) if several else "own"})
    monkeypatch.setattr(
        "ciacore.runtime.session.Training", lambda *_: pytest.fail("training began")
    )
    named = () if part is Unmade else (slot,)
    refused(lambda: train(config, Stroll(), [3], tmp_path / "runs"), *named, *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("slot", "part"), [("mixer", Sum), ("terms", Fine)])
def test_parts_that_keep_it_are_trained(slot, part, monkeypatch):
    monkeypatch.setitem(ciacore.methods.SLOTS[slot], "own", part)
    value = ("own",) if slot == "terms" else "own"
    (run,) = train(small(**{"method": "own", slot: value}), Stroll(), [1])
    assert run.metrics["updates"][-1] > 0


def test_trying_the_parts_changes_no_run():
    """The same networks are drawn whatever was tried before."""
    torch.manual_seed(5)
    (first,) = train(small(**CIA), Turn(horizon=5), [1])
    torch.manual_seed(6)
    state = torch.get_rng_state()
    (second,) = train(small(**CIA), Turn(horizon=5), [1])
    assert same(first, second)
    assert torch.equal(state, torch.get_rng_state())


# ------------------------------------------------------- buffers, limits, other folders


def test_buffers_reach_the_target(monkeypatch):
    """BatchNorm's statistics, too."""

    class Normed(Sum):
        def __init__(self, spec, config):
            super().__init__(spec, config)
            self.norm = nn.BatchNorm1d(spec.state_size)
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

        def forward(self, utilities, state):
            self.seen += 1
            normed = self.norm(state.flatten(0, -2)).unflatten(0, state.shape[:-1])
            return super().forward(utilities, normed)

    monkeypatch.setitem(ciacore.methods.MIXERS, "own", Normed)
    ours = learner(small(method="own", mixer="own"))
    ours.update(random_episodes([3, 2]), rng())
    online, target = ours.online["mixer"], ours.target["mixer"]
    assert online.norm.running_mean.abs().max() > 0
    assert not torch.equal(online.norm.running_var, target.norm.running_var)
    ours.copy_target()
    for name, value in online.state_dict().items():
        assert torch.equal(value, target.state_dict()[name]), name


def test_a_value_behind_the_limit_is_bootstrapped_only_on_request():
    ones = torch.ones(1, 4, 2, 3)
    ended = torch.tensor([[False, True, True]])
    given = (ones, ones[..., 0, :], torch.ones(1, 3, 2).long(), ones.bool())
    rewards = torch.ones(1, 3)
    assert pad(*given, rewards, ended, 0.5).discounts.tolist() == [[0.5, 0, 0]]
    by_the_rules = torch.zeros_like(ended)
    further = pad(*given, rewards, ended, 0.5, final=by_the_rules)
    assert further.discounts.tolist() == [[0.5, 0.5, 0]]
    assert further.weights.tolist() == [[1, 1, 0]]


def test_the_switch_changes_what_is_learned_and_old_configs_load():
    config = small(method="qmix", mixer="qmix")
    assert config.bootstrap_at_limit is False
    (published,) = train(config, Turn(horizon=5), [1])
    (further,) = train(config.but(bootstrap_at_limit=True), Turn(horizon=5), [1])
    assert published.metrics["losses"] != further.metrics["losses"]
    stored = config.to_dict()
    del stored["bootstrap_at_limit"]
    assert Config(**stored) == config


def test_a_checkpoint_without_the_switch_is_resumed(tmp_path, monkeypatch):
    from support.faults import StopHere, after

    from ciacore.runtime import session

    with monkeypatch.context() as patch:
        plain = session.facts_of

        def older(training):
            facts = plain(training)
            del facts["config"]["bootstrap_at_limit"]
            return facts

        patch.setattr(session, "facts_of", older)
        with pytest.raises(StopHere):
            train(small(**CIA), Stroll(), [1], tmp_path, progress=after(8))
    (resumed,) = train(small(**CIA), Stroll(), [1], tmp_path)
    (whole,) = train(small(**CIA), Stroll(), [1])
    assert resumed.provenance["resumed"] and same(resumed, whole)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        # KL of (e^-55, 1) and (e^-110, 1): e^-55 · 55
        ([[0.0, 110.0]] * 2, 55 * np.exp(-55.0)),
        ([[0.0, 1000.0]] * 2, 0.0),
        ([[0.0, 1000.0], [1000.0, 0.0]], np.log(2)),
    ],
)
def test_policies_far_apart_have_a_divergence(values, found):
    divergence = policy_divergence(torch.tensor([[values]]), 0.5)
    torch.testing.assert_close(divergence, torch.full((1, 1, 2), float(found)))


def test_scds_trains_with_values_that_are_far_apart():
    """What ended in `Lower learning_rate`."""
    ours = learner(METHODS["scds"].but(hidden_size=8, mixing_size=4), SPEC)
    with torch.no_grad():
        ours.online["agent"].fc_out.bias.copy_(torch.tensor([0.0, 110.0, 1000.0]))
    losses = ours.update(random_episodes([8, 3]), rng())
    assert all(value.isfinite().all() for value in losses.values())


def test_a_game_that_no_other_process_can_import_is_trained_here(tmp_path):
    """Its module lies in a folder that Python does not look into."""
    file = tmp_path / "nowhere_else.py"
    file.write_text(
        "from support.toys import Stroll\n\n\nclass Mine(Stroll):\n    pass\n"
    )
    found = importlib.util.spec_from_file_location("nowhere_else", file)
    module = importlib.util.module_from_spec(found)
    sys.modules["nowhere_else"] = module
    try:
        found.loader.exec_module(module)
        results = tmp_path / "runs"
        runs = train(small(**CIA), module.Mine(), [1, 2], results, processes=2)
    finally:
        del sys.modules["nowhere_else"]
    (alone,) = train(small(**CIA), Stroll(), [2])
    assert [run.seed for run in runs] == [1, 2]
    assert same(runs[1], alone)
    names = sorted(path.name for path in (results / "stroll" / "qmix_cia").iterdir())
    assert names == ["seed_1", "seed_2"]
