"""Agents that share no parameters."""

import pytest
import torch
from support.faults import StopHere, after
from support.runs import same
from support.toys import SMALL, SPEC, Stroll, random_episodes, rng, small

from ciacore import METHODS, train
from ciacore.fast.numpy_twins import has_twin, numpy_twin
from ciacore.games import Turn
from ciacore.learning.agent import RecurrentAgent
from ciacore.learning.learner import Learner
from ciacore.learning.per_agent import PerAgent
from ciacore.learning.rollout import plays_in_numpy
from ciacore.methods import assemble
from ciacore.runtime.cuda_graphs import SeedsInOneGraph
from ciacore.runtime.snapshot import tensors_of
from ciacore.training import Training

K = 3
THREE = SPEC._replace(n_agents=K)
CONFIG = small(agent="recurrent_per_agent")
CPU = torch.device("cpu")
EPISODES = random_episodes([8, 3, 5], THREE)
# what reads agents' inputs and hidden states in its own way
WAYS = ("qmix_cia", "vdn", "ow_qmix", "qtran", "eoi", "scds", "qmix_rs")


def team_and_agents() -> tuple[PerAgent, list[RecurrentAgent]]:
    """The team, and as many agents of a team of one with its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        team = PerAgent(THREE, CONFIG)
        agents = [RecurrentAgent(SPEC._replace(n_agents=1), CONFIG) for _ in range(K)]
    for number, agent in enumerate(agents):
        start = f"agents.{number}."
        weights = {
            name.removeprefix(start): value
            for name, value in team.state_dict().items()
            if name.startswith(start)
        }
        agent.load_state_dict(weights)
    return team, agents


def of_one(episodes, number):
    """The episodes with one agent left; sliced field by field."""
    fields = episodes._asdict()
    for name in ("observations", "actions", "available"):
        fields[name] = torch.stack([fields[name].unbind(2)[number]], 2)
    return type(episodes)(**fields)


def test_along_episodes_each_is_an_agent_alone():
    team, agents = team_and_agents()
    values, hidden = team.unroll(EPISODES, team.inputs(EPISODES))
    for number, agent in enumerate(agents):
        alone, remembered = agent.unroll(of_one(EPISODES, number))
        assert torch.equal(values[:, :, number], alone[:, :, 0])
        assert torch.equal(hidden[:, :, number], remembered[:, :, 0])


def test_step_by_step_each_is_an_agent_alone():
    team, agents = team_and_agents()
    memory, last = team.initial(4)
    assert memory.shape == (4 * K, CONFIG.hidden_size) and last.shape == (4, K, 3)
    alone = [agent.initial(4) for agent in agents]
    for t in range(3):
        seen = torch.randn(4, K, 4, generator=rng(t))
        values, memory = team.step(seen, last, memory)
        for number, agent in enumerate(agents):
            remembered, before = alone[number]
            own, remembered = agent.step(seen[:, number, None], before, remembered)
            assert torch.equal(values[:, number], own[:, 0])
            assert torch.equal(memory.view(4, K, -1)[:, number], remembered)
            before = agent.one_hot(own.argmax(-1))
            alone[number] = remembered, before
        last = team.one_hot(values.argmax(-1))


def test_with_equal_weights_it_is_the_team_that_shares_them():
    """But for the column of the first layer that its identity picks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        shared, team = RecurrentAgent(THREE, CONFIG), PerAgent(THREE, CONFIG)
    first = shared.fc_in.weight.detach()
    for number, agent in enumerate(team.agents):
        own = torch.cat([first[:, :-K], first[:, [number - K]]], 1)
        agent.load_state_dict({**shared.state_dict(), "fc_in.weight": own})
    for mine, theirs in zip(
        team.unroll(EPISODES), shared.unroll(EPISODES), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_nothing_is_shared():
    """What one agent is worth moves no weight of another."""
    team, agents = team_and_agents()
    values, _ = team.unroll(EPISODES)
    values[:, :, 1].sum().backward()
    moved = [
        any(bool(value.grad.any()) for value in one.parameters()) for one in team.agents
    ]
    assert moved == [False, True, False]
    size = sum(value.numel() for value in agents[0].parameters())
    assert sum(value.numel() for value in team.parameters()) == K * size
    drawn = {float(one.fc_in.weight.detach().sum()) for one in team.agents}
    assert len(drawn) == K


def test_the_twin_in_numpy_plays_the_same():
    team, _ = team_and_agents()
    assert has_twin(team) and plays_in_numpy(team, Turn().spec, CPU)
    twin = numpy_twin(team)
    memory, last = team.initial(4)
    memory_twin, last_twin = twin.initial(4)
    assert memory_twin.shape == memory.shape and last_twin.shape == last.shape
    for t in range(3):
        seen = torch.randn(4, K, 4, generator=rng(t))
        with torch.no_grad():
            values, memory = team.step(seen, last, memory)
        of_twin, memory_twin = twin.step(seen.numpy(), last_twin, memory_twin)
        torch.testing.assert_close(torch.from_numpy(of_twin), values)
        torch.testing.assert_close(torch.from_numpy(memory_twin), memory)
        actions = values.argmax(-1)
        last, last_twin = team.one_hot(actions), twin.one_hot(actions.numpy())
        assert torch.equal(torch.from_numpy(last_twin), last)


def test_the_target_is_a_copy_and_an_update_moves_every_agent():
    learner = Learner(assemble(THREE, CONFIG), CONFIG)
    before = [one.fc_in.weight.clone() for one in learner.online["agent"].agents]
    learner.update(EPISODES)
    online, target = learner.online["agent"].agents, learner.target["agent"].agents
    for old, new, kept in zip(before, online, target, strict=True):
        assert not torch.equal(old, new.fc_in.weight)
        assert torch.equal(old, kept.fc_in.weight)
    learner.copy_target()
    for new, kept in zip(online, target, strict=True):
        assert torch.equal(new.fc_in.weight, kept.fc_in.weight)


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("game", [Turn(horizon=5), Stroll()], ids=["numpy", "torch"])
def test_every_way_of_learning_takes_it_and_goes_on(method, game, tmp_path):
    tiny = {**SMALL, "eoi_episodes": 1.0, "eoi_steps": 0.5}
    config = METHODS[method].but(**tiny, agent="recurrent_per_agent")
    (whole,) = train(config, game, [1])
    with pytest.raises(StopHere):
        train(config, game, [1], tmp_path, progress=after(7))
    (run,) = train(config, game, [1], tmp_path)
    assert same(run, whole) and len(run.provenance["resumed"]) == 1
    assert "agent.agents.1.fc_in.weight" in run.weights


def test_seeds_advance_together_as_alone(replayed):
    alone, together = (
        [Training(CONFIG, Turn(horizon=5), seed, CPU, False) for seed in (1, 2)]
        for _ in range(2)
    )
    for training in alone:
        while training.running():
            training.iterate()
    lockstep = SeedsInOneGraph(together, stacked=False)
    while together[0].running():
        lockstep.iterate()
    for one, other in zip(alone, together, strict=True):
        assert one.log.metrics == other.log.metrics
        mine, theirs = tensors_of(one), tensors_of(other)
        assert list(mine) == list(theirs)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
