"""What is said of trained networks: credits, distances, retrieval and behaviour."""

import math

import numpy as np
import pytest
import torch
from ciabook.evidence.analysis import (
    behavioural_difference,
    concatenated,
    credit_distribution,
    evaluate_on,
    greedy_episodes,
    identified,
    kl_matrix,
    measured,
    relative_difference,
    retrieval_accuracy,
    team,
    visits,
    with_networks,
)
from numpy.testing import assert_allclose
from support.toys import Stroll, rng
from torch.testing import assert_close

from ciacore import METHODS, train
from ciacore.games import Turn
from ciacore.types import InvalidInputError

TINY = {
    "batch": 4,
    "buffer": 16,
    "hidden_size": 8,
    "mixing_size": 4,
    "hypernetwork_size": 8,
    "env_steps": 60,
}
GAME = Turn(horizon=6)


def trained(method: str, game=GAME, seed: int = 1, **fields):
    (run,) = train(
        METHODS[method].but(**TINY, evaluation_games=2, **fields), game, [seed]
    )
    return team(run, game)


def test_runs_without_networks_are_left_out_and_a_method_without_any_is_refused():
    runs = train(METHODS["qmix"].but(**TINY, evaluation_games=2), GAME, [1, 2])
    assert with_networks({"qmix": [runs[0], runs[1]._replace(weights={})]}) == {
        "qmix": [runs[0]]
    }
    message = r"expected a run with weights for every method, got .none of vdn."
    with pytest.raises(InvalidInputError, match=message):
        with_networks({"qmix": runs, "vdn": [runs[1]._replace(weights={})]})


@pytest.mark.parametrize("method", METHODS)
def test_credits_of_every_method_along_its_own_and_others_episodes(method):
    """Closed form, autograd and what is known of the mixer agree.

    Agents act on what they are said to act on.
    """
    ours, other = trained(method), trained("qmix", seed=2)
    own = greedy_episodes(ours, GAME, 4, seed=0)
    found = evaluate_on(ours, own)
    # greedy play, unrolled again along its own episodes
    assert_close(found.utilities.chosen, found.utilities.greedy)
    pooled = concatenated([own, greedy_episodes(other, GAME, 3, seed=1)])
    found = evaluate_on(ours, pooled)
    assert found.credits.shape == (7, 6, 2) and (found.credits >= 0).all()
    if method in ("vdn", "qtran"):
        assert (found.credits == 1).all()
    if method.startswith(("qmix", "gre", "eoi")) and method != "qmix_rs":
        states = pooled.states[:, :-1].float()
        assert_close(
            found.credits, ours.parts.mixer.credits(found.utilities, states).detach()
        )
        published = evaluate_on(ours, pooled, "published").credits
        assert (published >= found.credits - 1e-6).all()


def test_kl_matrix_by_hand():
    """Two agents: d = (sigmoid(x1 - x2), 1 - that).

    The diagonal is 0; the matrix is not symmetric; padding does not count.
    """
    x = torch.tensor([[[math.log(3.0), 0.0], [9.0, -9.0]]])
    y = torch.tensor([[[0.0, 0.0], [7.0, 7.0]]])
    weights = torch.tensor([[1.0, 0.0]])
    p, q = np.array([0.75, 0.25]), np.array([0.5, 0.5])
    table = kl_matrix([credit_distribution(x), credit_distribution(y)], weights)
    assert_allclose(
        table,
        [[0, (p * np.log(p / q)).sum()], [(q * np.log(q / p)).sum(), 0]],
        atol=1e-6,
    )
    assert table[0, 1] != table[1, 0] and table.min() >= 0


def test_the_scale_of_credits_shows_unless_they_are_normalised():
    credits = torch.rand(5, 4, 3, generator=rng()) + 0.1
    small = credit_distribution(credits)
    large = credit_distribution(10 * credits)
    assert large.max() > small.max() + 0.1
    assert_close(
        credit_distribution(10 * credits, True), credit_distribution(credits, True)
    )
    assert_close(credit_distribution(torch.ones(2, 3, 4)), torch.full((2, 3, 4), 0.25))


def test_retrieval_of_what_can_and_cannot_be_told_apart():
    noise = torch.randn(400, 10, 3, generator=rng())
    assert abs(retrieval_accuracy(noise) - 1 / 3) < 0.05
    apart = noise + 5 * torch.arange(3.0)
    assert retrieval_accuracy(apart) == 1.0
    assert retrieval_accuracy(torch.ones(4, 5, 2)) == 0.5  # ties go to the first agent


def test_agents_that_ignore_who_they_are_act_alike():
    ours = trained("qmix")
    episodes = greedy_episodes(ours, GAME, 6, seed=0)
    assert behavioural_difference(ours, episodes).jensen_shannon > 1e-8
    ours.parts.agent.fc_in.weight.data[:, -2:] = 0
    found = behavioural_difference(ours, episodes)
    assert found.disagreement == 0 and abs(found.jensen_shannon) < 1e-6


def test_agents_that_always_do_different_things():
    ours = trained("qmix")
    agent = ours.parts.agent
    for parameter in agent.parameters():
        parameter.data.zero_()

    def unroll(episodes):
        shape = (len(episodes.actions), episodes.actions.shape[1] + 1, 2, 6)
        values = torch.zeros(shape)
        values[..., 0, 0] = values[..., 1, 1] = 50.0
        return values, torch.zeros(*shape[:3], 8)

    agent.unroll = unroll
    found = behavioural_difference(
        ours, greedy_episodes(trained("qmix"), GAME, 3, seed=0)
    )
    # of 6 actions one has the value sqrt(5)
    likely = np.exp(5**0.5) / (np.exp(5**0.5) + 5 * np.exp(-(5**-0.5)))
    p = np.full(6, (1 - likely) / 5)
    q = p.copy()
    p[0] = likely
    q[1] = likely
    from_p = (p * np.log2(2 * p / (p + q))).sum()
    from_q = (q * np.log2(2 * q / (p + q))).sum()
    by_hand = (from_p + from_q) / 2
    assert_allclose(found, (by_hand, 1.0), atol=1e-6)


def test_the_unit_of_utilities_does_not_matter():
    ours = trained("qmix")
    episodes = greedy_episodes(ours, GAME, 6, seed=0)
    before = behavioural_difference(ours, episodes)
    for parameter in ours.parts.agent.fc_out.parameters():
        parameter.data *= 100
    assert_allclose(behavioural_difference(ours, episodes), before, atol=1e-5)


def test_padding_does_not_count():
    ours = trained("qmix", Stroll())
    episodes = greedy_episodes(ours, Stroll(), 20, seed=0)
    spoiled = episodes._replace(observations=episodes.observations.clone())
    for row, length in enumerate(episodes.weights.sum(1).int().tolist()):
        spoiled.observations[row, length:] += 100.0
    one = behavioural_difference(ours, episodes)
    other = behavioural_difference(ours, spoiled)
    assert_allclose(one, other, atol=1e-6)


def test_visits():
    cells = torch.tensor([[[[0, 0], [1, 1]], [[0, 1], [1, 1]]]])  # [1, 2, 2, 2]
    assert_allclose(visits(cells, 2), [[[0.5, 0.5], [0, 0]], [[0, 0], [0, 1.0]]])


def test_all_networks_are_asked_about_the_same_episodes():
    """Every row again by hand.

    The pool is the first episodes of each team, and VDN's credits are 1 on it.
    """
    runs = []
    for name in ("vdn", "qmix"):
        runs += train(METHODS[name].but(**TINY, evaluation_games=2), GAME, [1])
    teams = [team(run, GAME) for run in runs]
    own = [greedy_episodes(one, GAME, 6, seed=1) for one in teams]
    pool = concatenated([type(each)(*(field[:2] for field in each)) for each in own])
    rows = measured(runs, GAME, 6, 2)
    assert [(row["method"], row["seed"]) for row in rows] == [("vdn", 1), ("qmix", 1)]
    for row, one, batch in zip(rows, teams, own, strict=True):
        difference = behavioural_difference(one, pool)
        assert row["told apart"] == retrieval_accuracy(evaluate_on(one, pool).credits)
        assert row["divergence"] == difference.jensen_shannon
        assert row["disagreement"] == difference.disagreement
        assert row["return"] == pytest.approx(float(batch.rewards.sum()) / 6)
    of_vdn = rows[0]
    assert of_vdn["told apart"] == 0.5
    assert of_vdn["identified"] == 0.5
    assert of_vdn["relative difference"] == 0


def test_what_agents_share_hides_who_is_who_from_retrieval_and_not_from_identities():
    """Credits c + 1 and c - 1 with a level c of every episode, as in the book."""
    level = 10 * torch.randn(40, 1, 1, generator=rng())
    credits = (level + torch.tensor([1.0, -1.0])).expand(40, 5, 2)
    assert identified(credits) == 1 and retrieval_accuracy(credits) < 0.65
    assert identified(torch.ones(4, 5, 3)) == pytest.approx(1 / 3)
    noise = torch.rand(400, 5, 2, generator=rng())
    assert identified(noise) == pytest.approx(0.5, abs=0.1)


def test_relative_difference_by_hand_knows_no_scale():
    credits = torch.tensor([[[3.0, 1.0], [2.0, 2.0]]])  # 2 of 2, then 0 of 2
    assert relative_difference(credits) == relative_difference(7 * credits) == 0.5
    three = torch.tensor([[[1.0, 2.0, 6.0]]])
    assert relative_difference(three) == pytest.approx(5 / 3)
