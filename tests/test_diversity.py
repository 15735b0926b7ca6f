"""GRE, SCDS, EOI, MAVEN and random shuffle: off their backbone, on what they say."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from support.runs import same
from support.toys import (
    LENGTHS,
    SMALL,
    SPEC,
    Stroll,
    learner,
    made,
    random_episodes,
    reached,
    rng,
    size_of,
    small,
    under,
)
from torch.testing import assert_close

from ciacore import METHODS, train
from ciacore.baselines.eoi import (
    EOI,
    IntrinsicExploration,
    IntrinsicPolicy,
    Rows,
    identity_loss,
)
from ciacore.baselines.gre import credit_entropy
from ciacore.baselines.maven import FollowingALatent, LatentPolicy
from ciacore.baselines.qmix_rs import Shuffle, Shuffled
from ciacore.baselines.scds import policy_divergence
from ciacore.fast.arrays import library
from ciacore.fast.numpy_twins import numpy_twin
from ciacore.games import Turn
from ciacore.learning.exploration import EpsilonGreedy, Memory
from ciacore.learning.rollout import play
from ciacore.methods import MIXERS, SLOTS
from ciacore.mixers.vdn import VDN
from ciacore.types import InvalidInputError

assert_equal = partial(assert_close, rtol=0, atol=0)


def shared(ours, theirs) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of equally named online parameters; every one of `theirs`."""
    mine = dict(ours.online.named_parameters())
    return [(mine[name], value) for name, value in theirs.online.named_parameters()]


def updated(config, lengths=LENGTHS, updates=3, change=lambda _: None, **fields):
    """A learner after some updates on random batches, all random numbers fixed."""
    ours = learner(config.but(**{**SMALL, "gradient_clip": 1e9, **fields}))
    change(ours)
    for seed in range(updates):
        batch = random_episodes(lengths, seed=seed, latents=config.latent_size)
        ours.update(batch, rng(seed))
    return ours


# -------------------------------------------------------------------------------- GRE


def test_entropy_of_credits_by_hand():
    extremes = torch.tensor([[2.0, 2.0, 2.0], [1e6, 0.0, 0.0]])
    assert_close(credit_entropy(extremes), torch.tensor([1.0, 0.0]))
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert_close(credit_entropy(torch.tensor([3.0, 1.0])).item(), by_hand)
    given = torch.rand(20, 4, generator=rng()) + 0.1
    # the scale does not matter
    assert_close(credit_entropy(7 * given), credit_entropy(given))


def test_gre_moves_mixing_weights_only():
    ours = made("gre")
    loss = ours.online["terms"]["gre"](ours.forward(random_episodes(LENGTHS)))
    parts = ("mixer.hyper_w1.", "mixer.hyper_b1.", "mixer.hyper_w2.")
    assert under(reached(loss, ours), *parts)


def test_gre_makes_credits_unequal():
    """Alone for 200 steps: the entropy falls; with a negative weight it rises."""
    values = []
    for sign in (1, -1):
        ours, episodes = made("gre"), random_episodes([8] * 4)
        optimizer = torch.optim.Adam(ours.online["mixer"].parameters(), 0.01)
        for _ in range(200):
            loss = ours.online["terms"]["gre"](ours.forward(episodes))
            optimizer.zero_grad()
            (sign * loss).backward()
            optimizer.step()
        values.append(float(loss.detach()))
    assert values[0] < 0.3 and values[1] > 0.97


# -------------------------------------------------------------------------------- SCDS


def test_scds_without_weight_is_qplex():
    with_part = updated(METHODS["scds"], scds_beta=0.0)
    plain = updated(METHODS["qplex"])
    assert all(torch.equal(a, b) for a, b in shared(with_part, plain))
    rewarded = updated(METHODS["scds"])
    assert not all(torch.equal(a, b) for a, b in shared(rewarded, plain))


def test_divergence_of_policies():
    values = torch.randn(5, 6, 3, 4, generator=rng())
    assert (policy_divergence(values, 1.0) >= -1e-6).all()
    alike = values[:, :, :1].expand_as(values)
    assert_close(policy_divergence(alike, 1.0), torch.zeros(5, 6, 3), rtol=0, atol=1e-6)
    # policies (1/4, 3/4) and (1/2, 1/2), mean (3/8, 5/8)
    two = torch.tensor([[[[0.0, math.log(3.0)], [0.0, 0.0]]]])
    by_hand = 0.25 * math.log(0.25 / 0.375) + 0.75 * math.log(0.75 / 0.625)
    assert_close(policy_divergence(two, 1.0)[0, 0, 0].item(), by_hand)


def test_scds_reward_compares_two_predictions():
    """With equal predictors and beta1 = 1 only the divergence of policies is left."""
    ours = made("scds", scds_beta1=1.0, scds_beta2=1.0)
    episodes = random_episodes([8] * 4)
    part = ours.auxiliaries["scds"]
    values, hidden = ours.online["agent"].unroll(episodes)
    aware = part.targets["with_id"]
    for layer in (aware.first, aware.second):
        layer.weight.data[:, -2:] = 0  # deaf to the identity
    blind = part.targets["without_id"]
    layers = (
        (blind[0], aware.first),
        (blind[2], aware.second),
        (blind[4], aware.third),
    )
    for mine, theirs in layers:
        mine.weight.data = theirs.weight.data[:, : mine.in_features]
        mine.bias.data = theirs.bias.data
    found = part.rewards(episodes, values, hidden)
    assert_close(found, policy_divergence(values[:, :-1], 1.0), rtol=1e-3, atol=1e-4)
    team = part.reward(episodes, values, hidden, torch.zeros(()))
    assert_close(team, 0.1 * found.mean(-1))
    assert not team.requires_grad


def test_scds_reward_enters_the_targets_only():
    ours, episodes = made("scds"), random_episodes([8] * 4)
    values, hidden = ours.online["agent"].unroll(episodes)
    added = ours.auxiliaries["scds"].reward(episodes, values, hidden, ours.env_steps)
    record = ours.forward(episodes)
    following = episodes.discounts * record.greedy_values[:, 1:]
    assert_close(record.targets, episodes.rewards + added + following)
    assert added.abs().min() > 0
    loss = ours.online["backbone"](record)["td_loss"]
    assert under(reached(loss, ours), "agent.", "mixer.")


def test_scds_reward_fades_after_a_million_steps():
    part = made("scds", scds_anneal=5.0).auxiliaries["scds"]
    expected = {0.0: 1.0, 1.0: 1.0, 1.1: 0.5, 1.2: 0.0, 3.0: 0.0}
    for millions, share in expected.items():
        found = part.share_left(torch.tensor(1e6 * millions)).item()
        assert_close(found, share, rtol=0, atol=1e-6)
    assert made("scds").auxiliaries["scds"].share_left(torch.tensor(9e6)).item() == 1.0


def test_padding_never_moves_scds_predictors():
    ours, short = made("scds"), random_episodes([8, 3, 5, 1])
    spoiled = short._replace(observations=short.observations.clone())
    for row, length in enumerate([8, 3, 5, 1]):
        spoiled.observations[row, length + 1 :] = 1e3
    parts = []
    for batch in (short, spoiled):
        mine = copy.deepcopy(ours)
        mine.update(batch, rng())
        parts.append(mine.auxiliaries["scds"])
    clean, other = (dict(part.named_parameters()) for part in parts)
    assert all(torch.equal(clean[name], other[name]) for name in clean)
    before = dict(ours.auxiliaries["scds"].named_parameters())
    assert not all(torch.equal(clean[name], before[name]) for name in clean)


def test_scds_targets_follow_when_copied():
    ours = made("scds")
    part = ours.auxiliaries["scds"]
    ours.update(random_episodes(LENGTHS), rng())
    online = part.state_dict()

    def followed() -> bool:
        targets = part.targets.state_dict()
        return all(torch.equal(targets[name], online[name]) for name in targets)

    assert not followed()
    ours.copy_target()
    assert followed()


def test_scds_sizes_on_turn():
    part = learner(METHODS["scds"], Turn().spec).auxiliaries["scds"]
    assert size_of(part.without_id) == 30_226
    assert size_of(part.with_id) == 30_738


# -------------------------------------------------------------------------------- EOI


def test_eoi_moves_neither_agents_nor_mixer():
    with_part = updated(METHODS["eoi"], [8] * 4)
    plain = updated(METHODS["qmix"], [8] * 4)
    assert all(torch.equal(a, b) for a, b in shared(with_part, plain))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_eoi_plays_as_qmix_unless_episodes_explore(share):
    config = METHODS["eoi"].but(**SMALL, eoi_episodes=share, eoi_steps=1.0)
    ours = learner(config, Stroll().spec)
    # action 1 is always available
    ours.auxiliaries["eoi"].values[-1].bias.data[1] = 100.0
    plain = EpsilonGreedy(ours.online["agent"], 0.0)
    intrinsic = ours.explorer.learning(ours.online["agent"], 0.0)
    one = play(Stroll(), plain, 5, rng(), 0.99)
    other = play(Stroll(), intrinsic, 5, rng(), 0.99)
    equal = all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert equal == (share == 0)


class Prefers:
    """Stands in for epsilon-greedy agents: everybody takes action 0."""

    class agent:
        @staticmethod
        def one_hot(actions):
            return torch.nn.functional.one_hot(actions, 3).float()

    def start(self, observations, states, rng):
        return Memory(None, None, observations[:, 0, :0])

    def act(self, observations, available, memory, rng):
        actions = torch.zeros(available.shape[:2], dtype=torch.int64)
        return actions, Memory(None, self.agent.one_hot(actions), memory.context)


def test_one_agent_explores_in_some_steps_of_some_episodes():
    games, steps = 4000, 20

    def values(observations):
        return torch.tensor([0.0, 1.0, 9.0]).expand(*observations.shape[:2], 3)

    ratios = {"episode_ratio": 0.4, "explore_ratio": 0.25}
    explorer = IntrinsicPolicy(Prefers(), values, **ratios)
    observations = torch.zeros(games, 2, 4)
    available = torch.ones(games, 2, 3, dtype=torch.bool)
    available[..., 2] = False  # the best action is not available
    generator = rng(1)
    memory = explorer.start(observations, torch.zeros(games, 5), generator)
    taken = []
    for _ in range(steps):
        actions, memory = explorer.act(observations, available, memory, generator)
        # the agents are told what was done
        assert torch.equal(memory.memory.last_actions.argmax(-1), actions)
        taken.append(actions)
    taken = torch.stack(taken, 1)  # [N, T, K]
    # never both, never unavailable
    assert set(taken.unique().tolist()) == {0, 1} and int(taken.sum(-1).max()) == 1
    exploring = taken.sum((1, 2)) > 0
    share = 0.4 * (1 - 0.75**steps)
    assert_close(exploring.float().mean().item(), share, rtol=0, atol=0.03)
    within = taken[memory.games].float()
    assert_close(within.sum(-1).mean().item(), 0.25, rtol=0, atol=0.02)
    # either agent equally often
    assert_close(within.mean((0, 1)), torch.tensor([0.125, 0.125]), rtol=0, atol=0.01)
    assert not taken[~memory.games].any()


def test_eoi_never_explores_in_evaluations():
    ours = learner(METHODS["eoi"].but(**SMALL))
    agent = ours.online["agent"]
    assert isinstance(ours.explorer, IntrinsicExploration)
    assert ours.explorer.evaluating(agent) == EpsilonGreedy(agent, 0.0)
    assert isinstance(ours.explorer.learning(agent, 0.5), IntrinsicPolicy)


def test_identity_loss_by_hand():
    """Two classes and uniform p: cross-entropy log 2 / 2, entropy term 0.1 log 2 / 2.

    The loss is never negative.
    """
    uniform = torch.full((6, 2), 0.5)
    found = identity_loss(uniform, torch.arange(6) % 2).item()
    assert_close(found, 1.1 * math.log(2) / 2, rtol=1e-5, atol=0)
    sure = torch.tensor([[1.0, 0.0]])
    assert_close(identity_loss(sure, torch.tensor([0])).item(), 0.0, rtol=0, atol=1e-6)
    p = torch.rand(100, 3, generator=rng()).softmax(-1)
    assert identity_loss(p, torch.arange(100) % 3) > 0


@pytest.mark.parametrize("target", ["published", "fixed"])
def test_the_published_target_grows_and_the_fixed_one_follows(target):
    """The target's weights, driven by constant online ones.

    In the end they are 199 times as large, or equal to them.
    """
    part = learner(METHODS["eoi"].but(**SMALL, eoi_target=target)).auxiliaries["eoi"]
    part.optimizers["values"].param_groups[0]["lr"] = 0.0
    observations = torch.randn(256, 4, generator=rng())
    after = torch.randn(256, 4, generator=rng(1))
    agents = torch.arange(256) % 2
    actions = torch.zeros(256, dtype=torch.int64)
    ended = torch.ones(256, dtype=torch.bool)
    rows = Rows(observations, after, agents, actions, ended)
    for _ in range(1500):
        part.descend_once(rows)
    factor = {"published": 199.0, "fixed": 1.0}[target]
    online = dict(part.values.named_parameters())
    for name, copied in part.target.named_parameters():
        assert_close(copied, factor * online[name], rtol=1e-3, atol=1e-3)


def test_eoi_learns_who_saw_what():
    """Agents with different observations are recognised.

    The rows that a batch offers leave out its last transition.
    """
    part = EOI(SPEC._replace(observation_size=1, ends_early=False), METHODS["eoi"])
    part.make_optimizers()
    for optimizer in part.optimizers.values():
        optimizer.param_groups[0]["lr"] = 0.01
    episodes = random_episodes([8] * 40)
    agents = torch.arange(2.0).view(1, 1, 2, 1).expand(40, 9, 2, 1)
    seen = agents + 0.1 * torch.randn(40, 9, 2, 1, generator=rng())
    episodes = episodes._replace(observations=seen)
    rows = part.rows(episodes)
    assert len(rows[0]) == 40 * 7 * 2
    record = learner(METHODS["eoi"].but(**SMALL)).forward(random_episodes([8] * 40))
    record = record._replace(episodes=episodes)
    losses = [part.learn(record, None)["classifier_loss"].item() for _ in range(100)]
    assert losses[0] > 0.3 and losses[-1] < 0.05
    assert (part.classifier(seen).argmax(-1) == torch.arange(2)).all()


@pytest.mark.parametrize("target", ["published", "fixed"])
@pytest.mark.parametrize("lengths", [[8] * 40, [8, 5] * 25])
def test_eoi_steps_written_out_are_those_of_torch(lengths, target, monkeypatch):
    """Bit for bit: losses, weights and what the optimizers remember."""
    config = METHODS["eoi"].but(**SMALL, eoi_target=target)
    spec = SPEC._replace(ends_early=min(lengths) < 8)
    ours = learner(config, spec)
    record = ours.forward(random_episodes(lengths))
    written_out = ours.auxiliaries["eoi"]
    plain = copy.deepcopy(written_out)
    blocks = len(written_out.rows(record.episodes).agents) // 256
    assert blocks >= 2
    monkeypatch.setattr(written_out, "descend_once", None)  # torch's own
    for _ in range(3):
        found = written_out.learn(record, None)
        with monkeypatch.context() as slow:
            slow.setenv("CIACORE_FAST", "0")
            expected = plain.learn(record, None)
        assert found == expected and len(found) == 2
    assert_equal(written_out.state_dict(), plain.state_dict())
    for name, optimizer in written_out.optimizers.items():
        state = optimizer.state_dict()["state"]
        assert_equal(state, plain.optimizers[name].state_dict()["state"])
        assert state[0]["step"] == 3 * blocks


def test_eoi_sizes_on_turn():
    part = EOI(Turn().spec, METHODS["eoi"])
    assert size_of(part.classifier) == 5_506
    assert size_of(part.values) == 5_894


# -------------------------------------------------------------------------------- MAVEN


def test_other_latents_other_values():
    ours = made("maven")
    episodes = random_episodes([8] * 4, latents=16)
    turned = episodes._replace(context=episodes.context.roll(1, dims=1))
    values, hidden = ours.online["agent"].unroll(episodes)
    other, same_hidden = ours.online["agent"].unroll(turned)
    assert torch.equal(hidden, same_hidden)
    assert (values - other).abs().min(-1).values.min() > 0
    q_tot = ours.forward(episodes).q_tot
    other = ours.forward(turned).q_tot
    assert (q_tot - other).abs().min() > 0


def test_the_information_loss_starts_at_its_maximum_and_moves_agents():
    ours = made("maven", maven_size=64)
    record = ours.forward(random_episodes([8] * 4, latents=16))
    loss = ours.online["terms"]["latent_information"](record)
    assert abs(float(loss.detach()) - math.log(16)) < 0.1
    assert under(reached(loss, ours), "agent.", "terms.latent_information.")
    moved = reached(ours.online["backbone"](record)["td_loss"], ours)
    assert not any(name.startswith("auxiliaries.") for name in moved)


def test_equal_values_tell_no_latent():
    """What the discriminator is told depends on the latent through the values alone."""
    ours = made("maven")
    seen = []
    term = ours.online["terms"]["latent_information"]
    term.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    episodes = random_episodes([8] * 4, latents=16)
    record = ours.forward(episodes)
    record = record._replace(action_values=torch.zeros_like(record.action_values))
    for latents in (episodes.context, episodes.context.roll(1, dims=1)):
        term(record._replace(episodes=episodes._replace(context=latents)))
    assert torch.equal(*seen)


def test_maven_credits_are_not_negative():
    ours = made("maven")
    record = ours.forward(random_episodes([8] * 4, latents=16))
    assert (record.mixing.credits(record.utilities) >= 0).all()


@pytest.mark.parametrize("numpy", [False, True])
def test_the_latent_is_drawn_once_from_the_policy(numpy):
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0])
    agent = made("maven", latent_size=4).online["agent"]
    logits = (probabilities + 1e-9).log()
    observations = torch.zeros(5000, 2, 4)
    available = torch.ones(5000, 2, 3, dtype=torch.bool)
    generator = rng()
    if numpy:
        agent = numpy_twin(agent)
        logits = logits.numpy()
        observations = observations.numpy()
        available = available.numpy()
        generator = np.random.default_rng(0)

    def logits_at(states):
        return library(logits).broadcast_to(logits, (len(states), 4))

    explorer = FollowingALatent(EpsilonGreedy(agent, 0.0), logits_at)
    memory = explorer.start(observations, observations[:, 0], generator)
    drawn = torch.as_tensor(memory.context)
    assert_close(drawn.mean(0), probabilities, rtol=0, atol=0.02)
    with torch.no_grad():
        _, after = explorer.act(observations, available, memory, generator)
    assert (torch.as_tensor(after.context) == drawn).all()


@pytest.mark.parametrize("entropy", ["published", "exact"])
def test_gradient_of_the_latent_policy_by_hand(entropy):
    """Published: (c - R) grad log pi, so that c is a baseline.

    Exact: a true entropy bonus.
    """
    config = METHODS["maven"].but(
        **SMALL, latent_size=3, maven_entropy=entropy, maven_entropy_coefficient=0.5
    )
    part = LatentPolicy(SPEC, config)
    part.make_optimizers()
    part.states[:2] = torch.randn(2, 5, generator=rng())
    part.returns[:2] = torch.tensor([2.0, -1.0])
    part.latents[0, 1] = 1.0
    part.latents[1, 2] = 1.0
    before = copy.deepcopy(part.policy)
    log_p = before(part.states[:2]).log_softmax(-1)
    chosen = torch.stack([log_p[0, 1], log_p[1, 2]])
    if entropy == "published":
        objective = ((0.5 - part.returns[:2]) * chosen).sum()
    else:
        entropy_term = (log_p.exp() * log_p).sum()
        objective = -(part.returns[:2] * chosen).sum() + 0.5 * entropy_term
    expected = torch.autograd.grad(objective, list(before.parameters()))
    part.descend_once(torch.tensor([0, 1]))
    for parameter, gradient in zip(part.policy.parameters(), expected, strict=True):
        assert_close(parameter.grad, gradient)


def test_the_latent_policy_finds_the_latent_that_pays():
    config = METHODS["maven"].but(**SMALL, latent_size=4)
    part, generator = LatentPolicy(SPEC, config), rng()
    part.make_optimizers()
    for _ in range(60):
        states = torch.randn(8, 1, 5, generator=generator).expand(8, 9, 5)
        p = part.policy(states[:, 0]).softmax(-1)
        drawn = torch.multinomial(p, 1, generator=generator)[:, 0]
        latents = torch.eye(4)[drawn]
        rewards = torch.zeros(8, 8)
        rewards[:, 0] = latents[:, 2] * 10
        fields = {"states": states, "context": latents, "rewards": rewards}
        part.on_episodes(random_episodes([8] * 8)._replace(**fields), generator)
    assert part.policy(torch.zeros(1, 5)).softmax(-1)[0, 2] > 0.9


# ----------------------------------------------------------------------- random shuffle


def test_shuffle_that_never_shuffles_is_qmix_bit_for_bit():
    config = METHODS["qmix_rs"].but(**SMALL, auxiliaries=())
    (never,) = train(config, Stroll(), [1])
    (plain,) = train(METHODS["qmix"].but(**SMALL), Stroll(), [1])
    weights = {}
    for name, value in never.weights.items():
        weights[name.replace("mixer.mixer.", "mixer.")] = value
    assert same(never._replace(weights=weights), plain)
    (shuffled,) = train(METHODS["qmix_rs"].but(**SMALL), Stroll(), [1])
    assert not same(shuffled, never)


def test_one_order_per_update_for_both_mixers_and_all_equally_often():
    ours = made("qmix_rs")
    online, target = ours.online["mixer"], ours.target["mixer"]
    generator = rng()
    orders = []
    for _ in range(400):
        ours.auxiliaries["shuffle"].before_update(online, target, generator)
        assert torch.equal(online.order, target.order)
        orders.append(tuple(online.order.tolist()))
    assert set(orders) == {(0, 1), (1, 0)} and 160 < orders.count((0, 1)) < 240


def test_shuffling_a_sum_changes_nothing():
    mixers = {**MIXERS, "shuffled_vdn": partial(Shuffled, VDN)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SLOTS, "mixer", mixers)
        shuffled = updated(METHODS["qmix_rs"].but(mixer="shuffled_vdn"))
    plain = updated(METHODS["vdn"])
    for a, b in shared(shuffled, plain):
        assert_close(a, b, rtol=0, atol=1e-6)


def test_shuffle_needs_a_mixer_that_can_be_shuffled():
    message = r"mixer: expected one that can be shuffled, got .vdn.*shuffled_qmix"
    with pytest.raises(InvalidInputError, match=message):
        Shuffle(SPEC, small(mixer="vdn"))
