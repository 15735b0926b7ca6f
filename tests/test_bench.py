"""The benchmark's baseline does what the published code does, number for number."""

import numpy as np
import pytest
import torch
from bench import counted, methods
from bench.plain import row_by_row
from bench.published_structure import (
    Controller,
    EpisodeStore,
    Learner,
    Published,
    PythonTurn,
    QMixer,
    Replay,
    Sizes,
)
from support.golden import group, load, qmix_sizes
from torch.testing import assert_close

from ciacore import METHODS
from ciacore.fast.unique_rows import unique_rows
from ciacore.games import Turn
from ciacore.losses import mixer_states
from ciacore.training import Training

close = {"rtol": 2e-4, "atol": 1e-5}  # losses, gradient norms
close_parameters = {"rtol": 0.0, "atol": 1e-5}  # after 1 and 3 updates

# ---------------------------------------------------------------------- what is counted


def test_operations_counted_by_torch_and_by_hand_agree():
    """The counter behind the table of methods sees every matrix product of an update.

    Row by row on the path that CUDA takes, and with rows that repeat looked at once, as
    on a CPU.
    """
    training = Training(METHODS["qmix"], Turn(), 1, torch.device("cpu"))
    for _ in range(training.config.batch):
        methods.iteration(training)
    batch = training.replay.sample(32, training.rngs["replay"])
    sizes = (Turn().spec, METHODS["qmix"])
    with row_by_row():
        everything = methods.flops(training, batch)
    assert everything == pytest.approx(counted.update(*sizes).flops, rel=0.02)
    inputs = len(training.learner.online["agent"].inputs(batch).once.rows)
    states = len(unique_rows(mixer_states(batch)).rows)
    once = methods.flops(training, batch)
    assert once == pytest.approx(counted.update(*sizes, inputs, states).flops, rel=0.02)
    assert once < everything / 2


# ------------------------------------------------------------------------ whole updates


def part(values: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        key[len(prefix) :]: value
        for key, value in values.items()
        if key.startswith(prefix)
    }


def recorded_sizes(init: dict, batch: dict, horizon: int) -> Sizes:
    _, mixer = qmix_sizes(init, "mixer.")
    return Sizes(
        *batch["avail_actions"].shape[2:],
        observation=batch["obs"].shape[-1],
        state=batch["state"].shape[-1],
        horizon=horizon,
        hidden=len(init["agent.fc_in.bias"]),
        mixing=mixer["mixing_size"],
        hypernetwork=mixer["hypernetwork_size"],
    )


def replayed(batch: dict[str, torch.Tensor], sizes: Sizes) -> dict[str, torch.Tensor]:
    """The recorded episodes, put into the ring step by step, sampled and cut."""
    n_episodes = len(batch["obs"])
    replay = Replay(sizes, n_episodes, np.random.RandomState(0))
    for row in range(n_episodes):
        episode, last = EpisodeStore(sizes, 1), int(batch["filled"][row].sum()) - 1
        for t in range(last + 1):
            episode.write(
                t,
                {
                    key: batch[key][row, t].numpy()
                    for key in ("state", "avail_actions", "obs")
                },
            )
            chosen = {"actions": batch["actions"][row : row + 1, t]}
            if t < last:
                chosen |= {
                    key: [batch[key][row, t].item()] for key in ("reward", "terminated")
                }
            episode.write(t, chosen, mark_filled=False)
        replay.insert(episode)
    return replay.sample(n_episodes)


def recorded_learner(start: dict, sizes: Sizes, alpha: float | None) -> Learner:
    init = part(start, "init/")
    learner = Learner(Controller(sizes), QMixer(sizes), alpha)
    load(learner.controller, part(init, "agent."))
    load(learner.mixer, part(init, "mixer."))
    load(learner.target_controller, part(init, "target_agent."))
    load(learner.target_mixer, part(init, "target_mixer."))
    if learner.identity is not None:
        load(learner.identity, part(init, "identity."))
    return learner


def check_parameters(learner: Learner, recorded: dict, when: str) -> None:
    modules = {"agent": learner.controller, "mixer": learner.mixer}
    if learner.identity is not None:
        modules["identity"] = learner.identity
    for name, module in modules.items():
        expected = part(recorded, f"{when}/{name}.")
        assert set(expected) == {key for key, _ in module.named_parameters()}
        for key, parameter in module.named_parameters():
            assert_close(
                parameter.detach(),
                expected[key],
                **close_parameters,
                msg=f"{when} {name}.{key}",
            )


# case of train_step.npz: (case that holds its initial parameters, batch group, with the
# CIA loss)
CASES = {
    "turn_qmix": ("turn_cia_qmix", "turn_batch", False),
    "turn_cia_qmix": ("turn_cia_qmix", "turn_batch", True),
    "varlen_cia_qmix": ("varlen_cia_qmix", "varlen_cia_qmix/batch", True),
}


@pytest.mark.parametrize("case", CASES)
def test_golden_baseline_train_step(case):
    source, batch_group, cia = CASES[case]
    recorded = group("train_step", case)
    start = group("train_step", source)
    batch = group("train_step", batch_group)
    sizes = recorded_sizes(part(start, "init/"), batch, int(start["episode_limit"]))
    learner = recorded_learner(start, sizes, float(start["alpha"]) if cia else None)
    sampled = replayed(batch, sizes)
    # cut to the longest episode
    assert torch.equal(sampled["filled"].squeeze(-1), batch["filled"])
    assert torch.equal(sampled["actions_onehot"].long(), batch["actions_onehot"])
    assert_close(
        learner.controller.unroll(sampled).detach(), recorded["agent_q"], **close
    )
    for update in range(3):
        losses = learner.train(sampled, episode=0)
        for name in ("loss", "td_loss", "grad_norm") + (("cl_loss",) if cia else ()):
            assert_close(
                losses[name], recorded[name][update], **close, msg=f"{name} {update}"
            )
        if update in (0, 2):
            check_parameters(learner, recorded, f"after{update + 1}")


def test_golden_baseline_turn_traces():
    """Rewards, ends and states of every recorded episode.

    Observations are compared with Turn below.
    """
    recorded = group("turn")
    horizon = recorded["reward"].shape[1]
    game = PythonTurn(np.random.RandomState(0), horizon)
    for episode in range(len(recorded["reward"])):
        game.reset()
        for t in range(horizon):
            game.apple = tuple(recorded["apple"][episode, t].tolist())
            assert np.array_equal(game.get_state(), recorded["state"][episode, t])
            reward, ended, info = game.step(recorded["actions"][episode, t])
            assert reward == recorded["reward"][episode, t] and info == {}
            assert ended == bool(recorded["done"][episode, t])


# ----------------------------------------------------------------------------- the game


def eager_actions(state, rng: np.random.RandomState) -> list[int]:
    """Random actions, but the free agent mostly eats where an apple lies.

    So many turns pass.
    """
    actions = rng.randint(6, size=2).tolist()
    free = int(state.free)
    if state.positions[0, free] == state.apple[0] and rng.rand() < 0.9:
        actions[free] = 4
    return actions


def test_python_turn_agrees_with_turn():
    game = Turn()
    rng = torch.Generator().manual_seed(1)
    numbers = np.random.RandomState(1)
    python, meals = PythonTurn(np.random.RandomState(2)), 0
    for _ in range(12):
        state = game.reset(1, rng)
        python.reset()
        for _ in range(game.spec.horizon):
            python.apple = tuple(game.places(state)[1][0].tolist())
            assert np.array_equal(
                np.stack(python.get_obs()), game.observe(state)[0].numpy()
            )
            assert np.array_equal(
                python.get_state(), game.global_state(state)[0].numpy()
            )
            available = [python.get_avail_agent_actions(agent) for agent in range(2)]
            assert available == game.available(state)[0].int().tolist()
            actions = eager_actions(state, numbers)
            step = game.step(state, torch.tensor([actions]), rng)
            reward, ended, info = python.step(actions)
            assert reward == float(step.rewards) and info == {}
            assert ended == bool(step.terminated | step.truncated)
            meals += int(step.info["eaten"])
            state = step.state
        assert ended
    assert meals >= 10


def test_python_turn_draws_apples_everywhere():
    game = PythonTurn(np.random.RandomState(0))
    assert len({game.new_apple() for _ in range(1000)}) == 25


# ----------------------------------------------------------------------------- the loop


@pytest.mark.parametrize("cia", [False, True])
def test_iterations_learn(cia):
    baseline = Published(seed=3, cia=cia, horizon=6)
    learner = baseline.learner
    trained = [*learner.controller.parameters(), *learner.mixer.parameters()]
    # its bias cancels and moves by float noise at most
    trained += [learner.identity.weight] if cia else []
    before = [parameter.detach().clone() for parameter in trained]
    for _ in range(31):
        baseline.iteration()
    assert all(map(torch.equal, before, trained))  # 31 episodes do not fill a batch
    baseline.iteration()
    baseline.iteration()
    assert not any(map(torch.equal, before, trained))
    assert baseline.replay.count == baseline.episodes == 33
    assert baseline.env_steps == 33 * 6
    assert len(baseline.evaluate()) == 32 and baseline.episodes == 33


def test_targets_are_copied_every_200_episodes():
    baseline = Published(seed=0, cia=True, horizon=3, batch=2)
    learner = baseline.learner
    pairs = list(
        zip(
            learner.controller.parameters(),
            learner.target_controller.parameters(),
            strict=True,
        )
    )
    pairs += zip(
        learner.mixer.parameters(), learner.target_mixer.parameters(), strict=True
    )
    for _ in range(2):
        baseline.iteration()
    for episode, copied in ((199, False), (200, True), (399, False), (400, True)):
        baseline.episodes = episode + 1
        baseline.update()
        assert all(torch.equal(*pair) for pair in pairs) == copied


def test_replay_is_a_ring_without_repeats():
    replay = Replay(Sizes(horizon=2), 4, np.random.RandomState(0))
    episode = EpisodeStore(Sizes(horizon=2), 1)
    for number in range(6):
        episode.write(0, {"reward": [number]})
        replay.insert(episode)
    assert sorted(replay.sample(4)["reward"][:, 0, 0].tolist()) == [2, 3, 4, 5]
    for _ in range(20):
        assert len(set(replay.sample(3)["reward"][:, 0, 0].tolist())) == 3
