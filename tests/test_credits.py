"""Credits x_k = dQ_tot / dQ_k, monotonicity, and the greedy joint action (IGM)."""

import itertools
import math

import pytest
import torch
from support.toys import random_utilities, rng
from torch.testing import assert_close

from ciacore.config import Config
from ciacore.credits import credits, mixing_at
from ciacore.methods import MIXERS
from ciacore.types import Mixing, Spec, Utilities

STATE_SIZE, BATCH = 5, 64
AGENTS = [1, 2, 5]
SEEDS = range(5)


def make_mixer(
    name: str,
    n_agents: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    wide: float = 1.0,
):
    """A mixer with random weights, `wide` times those of a fresh one."""
    spec = Spec(n_agents, 3, 1, STATE_SIZE, 0, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Config(mixing_size=8, hypernetwork_size=16)
        mixer = MIXERS[name](spec, config).to(dtype)
    for parameter in mixer.parameters():
        parameter.data *= wide
    return mixer


def states(
    *shape: int, seed: int = 100, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return torch.randn(*shape, STATE_SIZE, generator=rng(seed), dtype=dtype)


# --------------------------------------------------------------- three ways to a credit


@pytest.mark.parametrize("n_agents", AGENTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_qmix_credits_closed_form_autograd_and_finite_differences_agree(n_agents, seed):
    mixer = make_mixer("qmix", n_agents, seed, torch.float64, wide=2.0)
    given = random_utilities(BATCH, n_agents, seed=seed, dtype=torch.float64)
    state, h = states(BATCH, dtype=torch.float64), 1e-6
    closed = mixer.credits(given, state)
    assert_close(closed, credits(mixer, given, state), rtol=0, atol=1e-6)
    for k in range(n_agents):
        up, down = given.chosen.clone(), given.chosen.clone()
        up[:, k] += h
        down[:, k] -= h
        above = mixer(given.with_chosen(up), state).q_tot
        below = mixer(given.with_chosen(down), state).q_tot
        assert_close(closed[:, k], (above - below) / (2 * h), rtol=0, atol=1e-6)
    z = mixer.at(state).z(given)
    assert (z < 0).any() and (z > 0).any()  # both branches of ELU were seen


def test_qmix_credits_agree_in_the_precision_of_training_and_over_time():
    mixer = make_mixer("qmix", 3)
    given, state = random_utilities(4, 7, 3), states(4, 7)
    closed = mixer.credits(given, state)
    assert_close(closed, credits(mixer, given, state), rtol=0, atol=1e-6)


def test_only_what_is_linear_in_the_utilities_has_constant_credits():
    mixings = {
        name: mixing_at(make_mixer(name, 2), states(BATCH))
        for name in ("vdn", "qmix", "qplex")
    }
    constant = {name: mixing.constant_credits() for name, mixing in mixings.items()}
    assert constant.pop("qplex") is mixings["qplex"].w
    assert constant == {"vdn": None, "qmix": None}
    assert all(isinstance(mixing, Mixing) for mixing in mixings.values())


def test_vdn_credits_are_one():
    given = random_utilities(BATCH, 3)
    found = credits(make_mixer("vdn", 3), given, states(BATCH))
    assert torch.equal(found, torch.ones(BATCH, 3))


def test_qmix_by_hand():
    """One agent, E = 2, all hypernetworks constant, at q = 1.

    z = (2q + 1, q - 3), W2 = (3, 5), V = 7.
    """
    config = Config(mixing_size=2, hypernetwork_size=0)
    mixer = MIXERS["qmix"](Spec(1, 2, 1, 1, 0, 1), config)
    values = {"hyper_w1": [-2.0, 1.0], "hyper_b1": [1.0, -3.0], "hyper_w2": [3.0, -5.0]}
    for name, bias in values.items():
        getattr(mixer, name).weight.data.zero_()
        getattr(mixer, name).bias.data = torch.tensor(bias)
    for parameter in mixer.value.parameters():
        parameter.data.zero_()
    mixer.value[-1].bias.data.fill_(7.0)
    given = Utilities(torch.ones(1), torch.ones(1), torch.zeros(1, 2))
    state = torch.zeros(1)
    with torch.no_grad():
        q_tot = mixer(given, state).q_tot
        exact = mixer.credits(given, state)
        published = mixer.credits(given, state, "published")
    assert_close(float(q_tot), 3 * 3 + 5 * (math.exp(-2) - 1) + 7)
    assert_close(float(exact), 2 * 3 + 5 * math.exp(-2))
    assert_close(float(published), 2 * 3 + 5 * math.exp(math.exp(-2) - 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_published_derivative_never_falls_below_the_exact_one(seed):
    mixer = make_mixer("qmix", 3, seed, wide=3.0)
    given, state = random_utilities(BATCH, 3, seed=seed), states(BATCH)
    exact = mixer.credits(given, state)
    published = mixer.credits(given, state, "published")
    assert (published >= exact).all() and (published > exact).any()
    z = mixer.at(state).z(given)
    active = (z >= 0).all(-1)
    # they differ where a unit is below 0 only
    assert torch.equal(published[active], exact[active])


def test_published_derivative_cannot_switch_a_unit_off():
    """Far below 0 the exact credit is 0, and the published one 1/e of the full one."""
    mixer, state = make_mixer("qmix", 2), states(1)

    def both_agents_at(value: float) -> Utilities:
        chosen = torch.full((1, 2), value)
        return Utilities(chosen, chosen, torch.zeros(1, 2, 1))

    low, high = both_agents_at(-1e5), both_agents_at(1e5)
    assert_close(mixer.credits(low, state), torch.zeros(1, 2))
    published = mixer.credits(low, state, "published")
    assert_close(published, mixer.credits(high, state) / math.e)


def test_credits_leave_their_inputs_alone():
    mixer, given = make_mixer("qmix", 2), random_utilities(3, 2)
    given.chosen.requires_grad_()
    with torch.no_grad():
        result = credits(mixer, given, states(3))
    assert not result.requires_grad and given.chosen.grad is None
    assert all(parameter.grad is None for parameter in mixer.parameters())


# ------------------------------------------------------------------------- monotonicity


@pytest.mark.parametrize("wide", [1.0, 10.0])
@pytest.mark.parametrize("n_agents", AGENTS)
def test_qmix_is_monotone(n_agents, wide):
    for seed in SEEDS:
        mixer = make_mixer("qmix", n_agents, seed, torch.float64, wide)
        given = random_utilities(BATCH, n_agents, seed=seed, dtype=torch.float64)
        state = states(BATCH, dtype=torch.float64)
        assert (mixer.credits(given, state) >= 0).all()
        for k in range(n_agents):
            raised = given.chosen.clone()
            raised[:, k] += torch.rand(BATCH, generator=rng(seed), dtype=torch.float64)
            before = mixer(given, state).q_tot
            rise = mixer(given.with_chosen(raised), state).q_tot - before
            assert (rise >= -1e-12).all() and rise.max() > 0.01


@pytest.mark.parametrize("name", ["vdn", "qmix"])
@pytest.mark.parametrize("n_agents", [2, 3])
def test_igm_by_enumeration(name, n_agents):
    """No joint action has a higher Q_tot than the tuple of individual argmaxes."""
    n_actions = 4
    shape = (BATCH, n_agents, n_actions)
    # [A^K, K]
    joint = torch.tensor(list(itertools.product(range(n_actions), repeat=n_agents)))
    for seed in SEEDS:
        mixer = make_mixer(name, n_agents, seed, torch.float64)
        values = 2 * torch.randn(shape, generator=rng(seed), dtype=torch.float64)
        chosen = values.transpose(1, 2)[:, joint, torch.arange(n_agents)]  # [B, A^K, K]
        state = states(BATCH, seed=seed, dtype=torch.float64)
        state = state.unsqueeze(1).expand(-1, len(joint), -1)
        utilities = Utilities(chosen, chosen, torch.zeros(*chosen.shape, 1))
        q_tot = mixer(utilities, state).q_tot
        greedy = (joint == values.argmax(-1).unsqueeze(1)).all(-1).long().argmax(-1)
        of_greedy = q_tot.gather(1, greedy.unsqueeze(1)).squeeze(1)
        assert (of_greedy >= q_tot.amax(1) - 1e-12).all()
        assert (q_tot.amax(1) - q_tot.amin(1)).min() > 0  # joint actions are told apart


def test_qmix_is_permuted_with_its_first_layer():
    """Swapping the agents and their rows of W1 leaves Q_tot as it was."""
    mixer = make_mixer("qmix", 2)
    given = random_utilities(BATCH, 2)
    state = states(BATCH)
    before = mixer(given, state).q_tot
    last = mixer.hyper_w1[-1]
    last.weight.data = last.weight.data.unflatten(0, (2, 8)).flip(0).flatten(0, 1)
    last.bias.data = last.bias.data.unflatten(0, (2, 8)).flip(0).flatten()
    swapped = given.with_chosen(given.chosen.flip(-1))
    assert_close(mixer(swapped, state).q_tot, before)
    assert not torch.allclose(mixer(given, state).q_tot, before)
