"""Counterfactual advantages against brute force, and the scores of credits."""

import json
import math

import pytest
import torch
from ciabook.evidence import right_credits
from ciabook.evidence.counterfactual import (
    Nodes,
    Sampled,
    Written,
    advantages,
    by_meal,
    by_step,
    certain,
    enumerated,
    every_apple,
    rows,
    sampled,
    start,
    think,
)
from ciabook.evidence.right_credits import (
    ASKED,
    hits,
    labels,
    main,
    part_of,
    rank_correlation,
    record,
    score_file,
    score_team,
    scores,
    who_mattered,
)
from ciabook.studies.drop_weights import drop_weights
from ciabook.studies.study import find
from support.toys import rng, small

from ciacore import METHODS, train
from ciacore.games import MStep, PredatorPrey, Turn, TwoStep
from ciacore.games.turn import EAT, act
from ciacore.learning.agent import RecurrentAgent
from ciacore.methods import assemble
from ciacore.runtime.evaluation import Team, load_networks
from ciacore.runtime.store import load_run, read_run
from ciacore.types import InvalidInputError


def node_at(game, player, history):
    """The game after some joint actions; Turn's apples as its generator draws them."""
    nodes = start(game, player, 1, rng(3))
    for joint in history:
        actions = torch.tensor([joint])
        _, hidden = think(game, player, nodes)
        step = game.step(nodes.state, actions, rng(4))
        nodes = Nodes(step.state, player.one_hot(actions), hidden)
    return nodes


def advantages_of(game, player, nodes, joint, gamma, **how):
    values = enumerated(game, player, nodes, torch.tensor([joint]), gamma, **how)
    available = game.available(nodes.state)
    return advantages(values[None], torch.tensor([joint]), available)[0]


# --------------------------------------------------------------------------------
# exact


def careful():
    """Agents of the two-step game: the safe table first, and both at risk in the other.

    [agent, what is seen, action]
    """
    table = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    return Written(torch.tensor([table, table]))


def test_two_step_by_hand():
    game, player = TwoStep(), careful()
    first = node_at(game, player, [])
    # the safe table pays 7, the risky one 8 to this team: 7 - (7 + 8) / 2
    assert advantages_of(game, player, first, [0, 0], 1.0).tolist() == [-0.5, 0]
    assert advantages_of(game, player, first, [1, 1], 1.0).tolist() == [0.5, 0]
    discounted = advantages_of(game, player, first, [1, 0], 0.5)
    assert discounted.tolist() == [0.25, 0]
    risky = node_at(game, player, [[1, 0]])
    # agent 0 alone takes no risk: 1 - (1 + 8) / 2, and 1 - (0 + 1) / 2
    assert advantages_of(game, player, risky, [0, 1], 1.0).tolist() == [-3.5, 0.5]
    assert advantages_of(game, player, risky, [1, 1], 1.0).tolist() == [3.5, 3.5]


def m_step_return(m, player, history, joint):
    """The return from here on, by the rules in words."""
    policy = player.weights.argmax(-1)  # [agent, what is seen]
    branch, total = None, 0.0
    past = [2 * u + v for u, v in history]
    for t in range(m):
        if t < len(past):
            number = past[t]
        elif t == len(past):
            number = 2 * joint[0] + joint[1]
        else:
            seen = torch.zeros(m + 5)
            seen[t] = seen[m + 1 + branch] = 1
            u, v = (seen @ player.weights[agent] for agent in (0, 1))
            number = int(2 * u.argmax() + v.argmax())
        branch = number if t == 0 else branch
        reward = float(branch in (0, 3) and number == branch)
        if t == m - 1 and branch == 0:
            reward = 4.0 if number == 3 else 1.0
        total += reward if t >= len(past) else 0
        if reward == 0:
            break
    assert policy.shape == (2, m + 5)
    return total


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("history", [[], [[0, 0]], [[1, 1]], [[0, 0], [0, 0]]])
def test_m_step_against_its_rules_in_words(history, seed):
    m = 4
    player = Written(torch.randn(2, m + 5, 2, generator=rng(seed)))
    game = MStep(m)
    node = node_at(game, player, history)
    for joint in ([0, 0], [0, 1], [1, 1]):
        found = enumerated(game, player, node, torch.tensor([joint]), 1.0)
        for agent in (0, 1):
            for action in (0, 1):
                other = [*joint]
                other[agent] = action
                expected = m_step_return(m, player, history, other)
                assert found[agent, action] == expected


def hungry(game, seed=0):
    """A team with a memory that often eats: networks as they are drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        agent = RecurrentAgent(game.spec, small())
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter.mul_(3)
            agent.fc_out.bias[EAT] += 0.5
    return agent


def turn_return(game, player, node, joint, gamma):
    """The expected return, one future after the other, by the rule of Turn."""
    _, hidden = think(game, player, node)
    positions, apple = node.state.positions[0].tolist(), int(node.state.apple)
    free, t = int(node.state.free), int(node.state.t)
    reward, eaten = 0.0, False
    for agent, action in enumerate(joint):
        done = act(game.size, positions[agent], action, agent == free)
        positions[agent] = done.cell
        reward -= done.fine
        if done.bitten == apple:
            reward, eaten = reward + 10, True
    if t + 1 == game.spec.horizon:
        return reward
    if eaten:
        free = (free + 1) % len(joint)
    apples = range(game.size**2) if eaten else [apple]
    ahead = 0.0
    for next_apple in apples:
        state = type(node.state)(
            torch.tensor([positions]),
            torch.tensor([next_apple]),
            torch.tensor([free]),
            torch.tensor([t + 1]),
        )
        last = torch.eye(6)[torch.tensor([joint])]
        values, _ = think(game, player, Nodes(state, last, hidden))
        greedy = values[0].argmax(-1).tolist()
        future = Nodes(state, last, hidden)
        ahead += turn_return(game, player, future, greedy, gamma)
    return reward + gamma * ahead / len(apples)


@pytest.mark.parametrize("n_agents", [2, 3])
@torch.no_grad()
def test_turn_against_brute_force(n_agents):
    game = Turn(size=2, horizon=5, n_agents=n_agents)
    player = hungry(game, seed=3 - n_agents)  # a team for which chance matters
    node = node_at(game, player, [[5] * n_agents])
    apple_below = node.state.positions[:, 0]
    node = node._replace(state=node.state._replace(apple=apple_below))
    joint = [EAT] + [0] * (n_agents - 1)
    actions = torch.tensor([joint])
    found = enumerated(game, player, node, actions, 0.9, every_apple)
    for agent in range(n_agents):
        for action in range(6):
            other = [*joint]
            other[agent] = action
            expected = turn_return(game, player, node, other, 0.9)
            assert math.isclose(found[agent, action], expected, abs_tol=1e-5)
    # chance matters here: one future of each is another number
    one_future = enumerated(game, player, node, actions, 0.9, certain)
    assert not torch.allclose(found, one_future, atol=0.01)
    with pytest.raises(InvalidInputError, match="at most 3 futures"):
        enumerated(game, player, node, actions, 0.9, every_apple, most=3)


# --------------------------------------------------------------------------------
# estimated


@pytest.mark.parametrize("chance", [by_meal, by_step])
@pytest.mark.parametrize(
    "size,n_agents,window", [(2, 2, None), (2, 3, None), (5, 3, 4)]
)
@torch.no_grad()
def test_the_estimate_agrees_with_the_exact(size, n_agents, window, chance):
    horizon = 5 if size == 2 else 100
    game = Turn(size=size, horizon=horizon, n_agents=n_agents)
    player = hungry(game, seed=1)
    node = node_at(game, player, [[5] * n_agents])
    on_it = node.state._replace(apple=node.state.positions[:, 0])
    node = node._replace(state=on_it)
    joint = [EAT] + [5] * (n_agents - 1)
    actions = torch.tensor([joint])
    exact = advantages_of(
        game, player, node, joint, 0.9, outcomes=every_apple, window=window
    )
    both = rows(node, torch.tensor([0, 0]))
    copied = actions.repeat(2, 1)
    found = sampled(game, player, both, copied, 0.9, 3_000, 5, window, chance)
    assert found.copies.shape == (2, 3_000, n_agents)
    away = (found.mean - exact).abs()
    assert (away < 4 * found.error + 1e-4).all()
    assert (found.error < 0.15).all()
    assert found.error.max() > 0  # there is chance


def test_without_chance_the_estimate_is_exact():
    game, player = TwoStep(), careful()
    node = node_at(game, player, [[1, 0]])
    found = sampled(game, player, node, torch.tensor([[0, 1]]), 1.0, 3, 0)
    assert found.mean.tolist() == [[-3.5, 0.5]] and found.error.tolist() == [[0, 0]]


def test_the_baseline_leaves_out_what_is_not_available():
    values = torch.tensor([[[1.0, 3.0, 100.0]]])
    available = torch.tensor([[[True, True, False]]])
    found = advantages(values, torch.tensor([[1]]), available)
    assert found.tolist() == [[1.0]]


# --------------------------------------------------------------------------------
# scores


def test_who_mattered_must_stand_out_of_the_noise():
    clear = torch.tensor([[-5.0, 1.0, 0.0], [-5.2, 1.0, 0.0]])
    noisy = torch.tensor([[9.0, 1.0, 0.0], [-6.0, 1.0, 0.0]])
    equal = torch.ones(2, 3)
    found = who_mattered(Sampled(torch.stack([clear, noisy, equal])))
    assert found.clear.tolist() == [True, False, False]
    assert found.agent.tolist()[0] == 0


def test_hits_and_ranks_by_hand():
    shares = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 2.0, 1.0]])
    found = hits(shares, torch.tensor([0, 1, 2]))
    assert torch.allclose(found, torch.tensor([1.0, 1 / 3, 0.0]))
    theirs = torch.tensor([[5.0, 1.0, 3.0], [5.0, 1.0, 3.0], [1.0, 1.0, 7.0]])
    ranks = rank_correlation(shares, theirs)
    assert torch.allclose(ranks, torch.tensor([1.0, 0.0, -1.0]))
    mixed = rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), theirs[:1])
    assert torch.allclose(mixed, torch.tensor([-0.5]))


def test_scores_of_right_and_of_wrong_credits():
    copies = torch.tensor([4.0, -2.0, 1.0]).expand(20, 5, 3)
    found = Sampled(copies)
    right = torch.tensor([3.0, 2.0, 1.0]).expand(20, 3)
    own = torch.tensor([1.0, -1.0, 1.0]).expand(20, 3)
    best = scores(found, right, own)
    assert (best.hit, best.rank, best.credited) == (1, 1, 1) and best.decided == 20
    assert best.mattered == [1, 0, 0] and best.error == 0
    worst = scores(found, -right, own)
    assert (worst.hit, worst.rank) == (0, -1)
    few = scores(Sampled(copies[:5]), right[:5], own[:5])
    assert few.hit is None and few.decided == 5


def test_equal_credits_hit_by_chance():
    """VDN's: whatever mattered, its score is 1 / K."""
    game = Turn(n_agents=3)
    config = small(method="vdn", mixer="vdn")
    ours = Team("vdn", config, assemble(game.spec, config))
    asked = ASKED["turn_3"]._replace(copies=2)
    found = score_team(ours, game, record(game, asked), asked)
    assert found.hit == pytest.approx(1 / 3, abs=1e-3) and found.rank == 0
    assert found.decided >= 12 and sum(found.mattered) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("game", [Turn(n_agents=3), PredatorPrey(penalty=0.0)])
def test_all_teams_are_asked_about_the_same_steps(game):
    asked = ASKED[game.name]
    first, again = record(game, asked), record(game, asked)
    assert torch.equal(first.chosen, again.chosen)
    assert (first.chosen.sum(1) == asked.steps).all()
    for one, other in zip(first.actions, again.actions, strict=True):
        assert torch.equal(one, other)
    # of no step that lies behind an episode's end
    for step in range(len(first.actions)):
        state = first.states[step]
        for row in first.chosen[:, step].nonzero()[:, 0].tolist():
            assert game.name != "predator_prey_0" or (
                bool((state.predators[row] < game.off).any())
                and bool((state.prey[row] < game.off).any())
            )


# --------------------------------------------------------------------------------
# runs


def test_the_studies_have_fresh_seeds_and_no_run_twice():
    entries = [
        entry
        for study in ("turn", "long", "prey")
        for entry in find(f"right_credits_{study}")
    ]
    assert {entry.seed for entry in entries} == set(range(201, 211))
    assert len(entries) == 28 + 40 + 12 + 15
    seeds = {entry.seed for entry in entries if entry.game == "turn_3"}
    assert seeds == set(range(201, 211))  # ten, of which three are long
    of_cia = {
        e.config.cia_coefficient for e in entries if e.config.method == "qmix_cia"
    }
    assert of_cia == {0.02}


def test_trained_scored_and_stripped(tmp_path, monkeypatch, capsys):
    config = METHODS["qmix_cia"].but(
        env_steps=1_100,
        hidden_size=8,
        batch=4,
        buffer=16,
        evaluation_interval=500,
        evaluation_games=2,
    )
    entries = [right_credits.Entry(config, "turn_3", 7)]
    monkeypatch.setattr(right_credits, "find", lambda study: entries)
    few = ASKED["turn_3"]._replace(copies=2)
    monkeypatch.setitem(ASKED, "turn_3", few)
    asked = [str(tmp_path), "--train", "any", "--every", "200"]
    assert main(asked) == 0 and "scored" in capsys.readouterr().out
    folder = tmp_path / "turn_3" / "qmix_cia" / "seed_7"
    found = json.loads(score_file(tmp_path, folder).read_text())
    steps = [row["env_steps"] for row in found["rows"]]
    assert steps == [200, 400, 600, 800, 1_000]
    assert all(0 <= row["hit"] <= 1 and row["decided"] >= 12 for row in found["rows"])
    run = read_run(folder)
    assert run.weights == {} and "weights_1000.safetensors" in found["weights"]
    assert not list(folder.glob("*.safetensors"))
    assert set(run.provenance["kept_dropped"]) == set(found["weights"]) - {
        "weights.safetensors",
        "config.json",
        "metrics.json",
    }
    before = score_file(tmp_path, folder).read_bytes()
    assert main(asked) == 0 and main([str(tmp_path)]) == 0  # nothing is left to do
    assert score_file(tmp_path, folder).read_bytes() == before
    score_file(tmp_path, folder).unlink()
    assert main([str(tmp_path)]) == 2  # its weights are gone
    assert "weights kept along training" in capsys.readouterr().err


@pytest.mark.long
def test_scores_are_those_of_the_networks_of_that_time(tmp_path):
    game = Turn(n_agents=3)
    config = small(env_steps=420)
    train(config, game, [1], tmp_path, keep_every=200)
    folder = tmp_path / "turn_3" / "qmix" / "seed_1"
    run = load_run(folder)
    assert labels(run, 200) == [200, 400] and labels(run, 40) == [200, 400]
    asked = ASKED["turn_3"]._replace(copies=2)
    recorded = record(game, asked)
    found = []
    for label in (200, 400):
        networks = load_networks(load_run(folder, weights=label), game.spec)
        found.append(score_team(Team("qmix", config, networks), game, recorded, asked))
    assert found[0] != found[1]
    assert drop_weights(folder) and not drop_weights(folder)
    with pytest.raises(InvalidInputError, match="keep_every"):
        right_credits.score_run(tmp_path / "turn_3" / "qmix" / "seed_1", 10_000)


def test_parts_of_a_study():
    entries = [
        right_credits.Entry(METHODS["qmix"], "turn_3", seed) for seed in range(5)
    ]
    assert part_of(entries, "2/2") == [entries[1], entries[3]]
    for wrong in ("3/2", "x", "0/1"):
        with pytest.raises(InvalidInputError, match="part"):
            part_of([], wrong)
