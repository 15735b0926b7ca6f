"""Controls: values by hand, which parameters a gradient reaches, and what they draw."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.faults import StopHere, after, refused
from support.runs import same
from support.toys import (
    SPEC,
    gradients,
    learner,
    random_episodes,
    reached,
    rng,
    small,
    under,
)
from torch.testing import assert_close

from ciacore import train
from ciacore.cia import cia_loss, temporal_credits
from ciacore.config import Config
from ciacore.controls.course import Course
from ciacore.controls.equaliser import Equaliser, relative_difference
from ciacore.controls.hypernetworks import hypernetworks, joint_norm
from ciacore.credits import credits_at
from ciacore.fast import switch
from ciacore.games import Turn
from ciacore.losses import weighted_mean
from ciacore.methods import METHODS, TERMS, assemble
from ciacore.training import Training
from ciacore.types import InvalidInputError

DATA = Path(__file__).resolve().parent / "data"
SHORT = [8, 3, 5, 1]
CIA = {"cia_coefficient": 0.5, "credit_derivative": "published"}
LOGS = ("mean_credit", "relative_difference")
HYPERNETWORKS = ("mixer.hyper_w1", "mixer.hyper_b1", "mixer.hyper_w2")
# every control, as fields of a Config
CONTROLS = {
    "permuted": {"terms": ("cia_permuted", *LOGS), **CIA},
    "frozen": {"terms": ("cia_frozen", *LOGS), **CIA},
    "early": {"terms": ("cia_timed", *LOGS), **CIA, "control_stop": 40},
    "late": {"terms": ("cia_timed", *LOGS), **CIA, "control_start": 40},
    "equaliser": {"terms": ("equaliser", *LOGS), "control_coefficient": 0.5},
    "scale": {
        "terms": ("scale", *LOGS),
        "control_coefficient": 0.5,
        "control_course": (0.5, 0.2),
        "control_interval": 40,
    },
    "noise": {
        "terms": ("noise", *LOGS),
        "control_course": (0.5, 0.2),
        "control_interval": 40,
    },
    "optimistic": {"agent": "optimistic", "terms": LOGS},
    "measured": {"terms": ("cia_measured", *LOGS), **CIA},
}


def term_of(ours):
    """The first term of a learner."""
    return next(iter(ours.online["terms"].values()))


def trained(config: Config, updates: int = 3):
    """A learner after some updates, and what they logged."""
    ours, generator = learner(config), rng(5)
    logged = [
        ours.update(random_episodes(SHORT, seed=seed), generator)
        for seed in range(updates)
    ]
    return ours, logged


def equal_networks(one, other) -> bool:
    """Whether agents and mixers are equal, bit for bit."""
    for part in ("agent", "mixer"):
        mine, theirs = one.online[part].state_dict(), other.online[part].state_dict()
        if not all(torch.equal(mine[name], theirs[name]) for name in mine):
            return False
    return True


# ----------------------------------------------------------------------- values by hand


def test_relative_difference_by_hand():
    """|1 - 3| / 2, all in one agent, equal, none at all; and three agents in pairs."""
    credits = torch.tensor(
        [[1.0, 3.0], [0.0, 5.0], [2.0, 2.0], [0.0, 0.0], [1.0, -3.0]]
    )
    assert relative_difference(credits).tolist() == [1.0, 2.0, 0.0, 0.0, 2.0]
    three = torch.tensor([1.0, 3.0, 1.0])  # pairs: 1, 0, 1
    assert_close(relative_difference(three), torch.tensor(2 / 3))
    assert_close(relative_difference(7 * three), torch.tensor(2 / 3))


def test_the_equaliser_pulls_credits_together_and_leaves_their_size():
    credits = torch.tensor([[1.0, 3.0], [5.0, 0.5]], requires_grad=True)
    relative_difference(credits).sum().backward()
    along = credits.grad
    assert along[0, 0] < 0 < along[0, 1] and along[1, 1] < 0 < along[1, 0]
    # no pull along the credits themselves, which would scale them
    assert_close((along * credits.detach()).sum(-1), torch.zeros(2))


@pytest.mark.parametrize("lengths", [[8, 8, 8, 8], SHORT])
def test_penalties_are_means_over_real_steps(lengths):
    """Of what the exact credits say, step by step."""
    for name in ("equaliser", "scale"):
        ours = learner(small(**CONTROLS[name]))
        record = ours.forward(random_episodes(lengths))
        x = credits_at(record.mixing, record.utilities)
        apart = (x[..., 0] - x[..., 1]).abs() / (x.sum(-1) / 2)
        distance = (x.sum(-1) / 2).log() - math.log(0.5)
        of_step = apart if name == "equaliser" else distance**2
        total = 0.0
        for row, length in enumerate(lengths):
            total += float(of_step[row, :length].sum())
        assert_close(float(term_of(ours)(record).detach()), total / sum(lengths))


def test_what_is_logged_by_hand():
    ours = learner(small(terms=LOGS))
    episodes = random_episodes(SHORT)
    record = ours.forward(episodes)
    x, weights = credits_at(record.mixing, record.utilities), record.weights
    losses = ours.update(episodes)
    mean = (x.sum(-1) / 2 * weights).sum() / weights.sum()
    apart = 2 * (x[..., 0] - x[..., 1]).abs() / x.sum(-1)
    assert_close(losses["mean_credit"], mean)
    assert_close(losses["relative_difference"], (apart * weights).sum() / weights.sum())


def test_a_course_holds_its_values_for_an_interval_each_and_then_the_last():
    """Value i for the updates whose losses an evaluation at its end averages."""
    course = Course(Config(control_course=[3.0, 2.0, 1.0], control_interval=100))
    steps = [0, 1, 100, 101, 200, 201, 300, 301, 2_000_000]
    found = [float(course(torch.tensor(float(step)))) for step in steps]
    assert found == [3, 3, 3, 2, 2, 1, 1, 1, 1]
    assert "course" not in course.state_dict()


def test_scale_follows_its_course():
    ours = learner(small(**CONTROLS["scale"]))
    values = []
    for steps in (40.0, 41.0):
        ours.env_steps.fill_(steps)
        record = ours.forward(random_episodes(SHORT))
        x = credits_at(record.mixing, record.utilities).mean(-1)
        target = {40.0: 0.5, 41.0: 0.2}[steps]
        expected = weighted_mean((x / target).log() ** 2, record.weights)
        values.append(float(term_of(ours)(record).detach()))
        assert_close(values[-1], float(expected))
    assert values[0] != values[1]


@pytest.mark.parametrize("method", ["qmix", "qmix_cia"])
def test_methods_train_as_they_did_before_there_were_controls(method):
    """Ten updates on Turn, against means recorded at the commit before."""
    recorded = json.loads((DATA / "before_controls.json").read_text())
    config = METHODS[method].but(**recorded["config"])
    (run,) = train(config, Turn(), [recorded["seed"]])
    losses = run.metrics["losses"][-1]
    assert losses == pytest.approx(recorded[method], rel=1e-4)
    assert losses["td_loss"] > 0.1


# --------------------------------------------------------------------------- identities


def test_identities_are_permuted_at_random_in_every_batch():
    """By the generator of learning; both orders of two rows occur."""
    ours = learner(small(**CONTROLS["permuted"]))
    term, generator, twin = term_of(ours), rng(3), rng(3)
    record = ours.forward(random_episodes(SHORT), generator)
    credits = temporal_credits(record, ours.config)
    seen = []
    for _ in range(20):
        order = torch.rand(2, generator=twin).argsort()
        expected = cia_loss(credits, term.identities[order])
        assert torch.equal(term(record), expected)
        seen.append(order.tolist())
    assert 4 < seen.count([0, 1]) < 16
    straight = cia_loss(credits, term.identities)
    swapped = cia_loss(credits, term.identities[[1, 0]])
    assert not torch.equal(straight, swapped)


def test_frozen_identities_stay_and_pull_as_cias_do():
    plain, frozen = (
        learner(small(terms=(name,), **CIA)) for name in ("cia", "cia_frozen")
    )
    drawn = term_of(frozen).identities.clone()
    assert torch.equal(drawn, term_of(plain).identities)
    episodes = random_episodes(SHORT)
    one, other = plain.update(episodes), frozen.update(episodes)
    assert torch.equal(one["cia"], other["cia_frozen"])
    assert torch.equal(term_of(frozen).identities, drawn)
    assert not torch.equal(term_of(plain).identities, drawn)
    assert "terms.cia_frozen.identities" in frozen.online.state_dict()


# ------------------------------------------------------------------------------- timing


def test_the_coefficient_follows_the_env_steps():
    def alphas(**fields):
        config = small(terms=("cia_timed",), **CIA, **fields)
        term = TERMS["cia_timed"](SPEC, config)
        steps = (0.0, 99.0, 100.0, 199.0, 200.0, 1e6)
        return [float(term.coefficient(torch.tensor(each))) for each in steps]

    assert alphas() == [0.5] * 6
    assert alphas(control_stop=100) == [0.5, 0.5, 0, 0, 0, 0]
    assert alphas(control_start=100) == [0, 0, 0.5, 0.5, 0.5, 0.5]
    assert alphas(control_start=100, control_stop=200) == [0, 0, 0.5, 0.5, 0, 0]
    refused(
        lambda: alphas(control_start=100, control_stop=100),
        "control_stop",
        "more than control_start = 100, got 100",
    )


@pytest.mark.parametrize("clip", [1e9, 0.1])
def test_timed_cia_is_cia_while_it_is_on_and_qmix_while_it_is_off(clip):
    on = {"terms": ("cia_timed",), **CIA, "gradient_clip": clip}
    plain, _ = trained(small(terms=("cia",), **CIA, gradient_clip=clip))
    assert equal_networks(trained(small(**on, control_stop=1))[0], plain)
    qmix, _ = trained(small(gradient_clip=clip))
    assert equal_networks(trained(small(**on, control_start=1))[0], qmix)
    assert not equal_networks(plain, qmix)


def test_late_cia_is_qmix_until_then_on_turn():
    """With a clip at work, and networks as large as the study's."""
    base = METHODS["qmix"].but(env_steps=300, batch=2, gradient_clip=0.05)
    late = METHODS["qmix_cia"].but(
        env_steps=300,
        batch=2,
        gradient_clip=0.05,
        terms=("cia_timed",),
        control_start=200,
    )
    found = {}
    for name, config in {"qmix": base, "late": late}.items():
        training = Training(config, Turn(horizon=20), 1, torch.device("cpu"))
        networks = []
        while training.running():
            training.iterate()
            agent = training.learner.online["agent"].state_dict()
            mixer = training.learner.online["mixer"].state_dict()
            values = [*agent.values(), *mixer.values()]
            networks.append((training.clock.env_steps, [v.clone() for v in values]))
        found[name] = networks
    for (steps, mine), (_, theirs) in zip(*found.values(), strict=True):
        equal = all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        # the update at 200 env steps follows the episode that ends at 220
        assert equal == (steps <= 200), steps


# -------------------------------------------------------------------------------- noise


def test_noise_is_drawn_as_it_says_and_is_the_gradient():
    ours = learner(small(**CONTROLS["noise"]))
    record = ours.forward(random_episodes(SHORT), rng(3))
    parameters = hypernetworks(ours.online["mixer"])
    value = term_of(ours)(record)
    drawn = torch.autograd.grad(value, parameters)
    size, twin = sum(parameter.numel() for parameter in parameters), rng(3)
    for parameter, gradient in zip(parameters, drawn, strict=True):
        normal = torch.randn(parameter.shape, generator=twin)
        assert torch.equal(gradient, 0.5 / math.sqrt(size) * normal)
    assert_close(value, joint_norm(drawn))


def test_the_norm_of_noise_is_its_course_on_average():
    ours = learner(small(**CONTROLS["noise"], mixing_size=16))
    record = ours.forward(random_episodes(SHORT), rng(3))
    term = term_of(ours)
    norms = [float(term(record).detach()) for _ in range(100)]
    assert np.std(norms) > 0
    assert np.mean(norms) == pytest.approx(0.5, rel=0.02)


# --------------------------------------------------------- what a gradient reaches


@pytest.mark.parametrize("name", ["permuted", "frozen", "early", "equaliser", "scale"])
def test_controls_teach_the_mixing_weights_only(name):
    """And the identities, where they are learned: what CIA teaches."""
    ours = learner(small(**CONTROLS[name]))
    found = reached(term_of(ours)(ours.forward(random_episodes(SHORT), rng())), ours)
    learned = ("terms.",) if name in ("permuted", "early") else ()
    assert under(found, *HYPERNETWORKS, *learned)


def test_noise_reaches_every_hypernetwork_and_nothing_else():
    ours = learner(small(**CONTROLS["noise"]))
    found = reached(term_of(ours)(ours.forward(random_episodes(SHORT), rng())), ours)
    names = {name for name, _ in ours.online["mixer"].named_parameters()}
    expected = {f"mixer.{name}" for name in names if not name.startswith("value")}
    assert found == expected


def test_the_update_adds_the_noise_to_the_other_gradients():
    noisy, plain = learner(small(**CONTROLS["noise"])), learner(small())
    episodes = random_episodes(SHORT)
    noisy.update(episodes, rng(3))
    plain.update(episodes, rng(3))
    total = {}
    for name, ours in {"noisy": noisy, "plain": plain}.items():
        mixer = ours.online["mixer"]
        total[name] = [p.grad.clone() for p in hypernetworks(mixer)]
    twin = rng(3)
    size = sum(gradient.numel() for gradient in total["plain"])
    for ours, theirs in zip(total["noisy"], total["plain"], strict=True):
        noise = 0.5 / math.sqrt(size) * torch.randn(ours.shape, generator=twin)
        assert_close(ours, theirs + noise)
    agents = gradients(noisy.online["agent"])
    assert agents == gradients(plain.online["agent"])


# -------------------------------------------------------------- what changes no bit


@pytest.mark.parametrize("clip", [1e9, 0.1])
@pytest.mark.parametrize("method", ["qmix", "cia"])
def test_logging_credits_changes_no_bit_of_training(method, clip):
    fields = {"terms": ("cia",), **CIA} if method == "cia" else {}
    plain, losses = trained(small(**fields, gradient_clip=clip))
    terms = (*fields.pop("terms", ()), *LOGS)
    logging, more = trained(small(**fields, terms=terms, gradient_clip=clip))
    assert equal_networks(plain, logging)
    for ours, theirs in zip(losses, more, strict=True):
        assert {*theirs} - {*ours} == {*LOGS}
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_logging_credits_changes_no_bit_of_a_run():
    config = small(env_steps=200)
    (plain,) = train(config, Turn(horizon=10), [1])
    (logging,) = train(config.but(terms=LOGS), Turn(horizon=10), [1])
    assert same(plain, logging, metrics=False)
    assert plain.metrics["episode_return"] == logging.metrics["episode_return"]


@pytest.mark.parametrize("name", ["cia", "equaliser"])
def test_a_measured_term_trains_alike_and_logs_its_norm(name):
    fields = CIA if name == "cia" else {"control_coefficient": 0.5}
    plain, _ = trained(small(terms=(name,), **fields, gradient_clip=0.1))
    config = small(terms=(f"{name}_measured",), **fields, gradient_clip=0.1)
    measured, _ = trained(config)
    assert equal_networks(plain, measured)

    episodes = random_episodes(SHORT, seed=9)
    loss = term_of(plain)(plain.forward(episodes))
    parameters = hypernetworks(plain.online["mixer"])
    squares = 0.0
    for gradient in torch.autograd.grad(0.5 * loss, parameters):
        squares += float((gradient**2).sum())
    logged = measured.update(episodes)[f"{name}_measured"]
    assert_close(float(logged), math.sqrt(squares))


@pytest.mark.parametrize("name", ["permuted", "noise"])
def test_controls_shift_no_draw_of_anything_else(name):
    """Both draw, and only from the generator of learning, which QMIX leaves alone."""
    states = {}
    for label, fields in {"plain": {}, "control": CONTROLS[name]}.items():
        training = Training(small(**fields), Turn(horizon=5), 1, torch.device("cpu"))
        while training.running():
            training.iterate()
        states[label] = {
            purpose: generator.get_state()
            if isinstance(generator, torch.Generator)
            else generator.bit_generator.state
            for purpose, generator in training.rngs.items()
        }
    drawn_from = set()
    for purpose, plain in states["plain"].items():
        equal = plain == states["control"][purpose]
        if not (equal if isinstance(equal, bool) else bool(equal.all())):
            drawn_from.add(purpose)
    assert drawn_from == {"learning"}


# ----------------------------------------------------------------------------- optimism


def test_optimism_raises_one_bias_and_nothing_else():
    plain, hopeful = (
        learner(small(agent=agent)) for agent in ("recurrent", "optimistic")
    )
    for networks in ("online", "target"):
        ours = getattr(hopeful, networks)["agent"].state_dict()
        theirs = getattr(plain, networks)["agent"].state_dict()
        for name, value in theirs.items():
            expected = value + 1 if name == "fc_out.bias" else value
            assert torch.equal(ours[name], expected), name
    episodes = random_episodes(SHORT)
    values, _ = hopeful.online["agent"].unroll(episodes)
    assert_close(values, plain.online["agent"].unroll(episodes)[0] + 1)


def test_optimists_play_in_numpy_as_others_do():
    training = Training(small(agent="optimistic"), Turn(), 1, torch.device("cpu"))
    assert training.in_numpy == switch.on()  # always, but where speed is off


# ----------------------------------------------------------------------------- refusals


@pytest.mark.usefixtures("as_users_run_it")
def test_courses_are_checked():
    assert Config(control_course=[1, 0.5]).control_course == (1, 0.5)
    for course, message in (
        ([0.5, 0.0], "control_course: expected numbers above 0"),
        ([0.5, "a"], "control_course: expected a finite number"),
        ([math.nan], "control_course: expected a finite number"),
        (0.5, "control_course: expected a list of numbers"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            Config(control_course=course)
    for name in ("scale", "noise"):
        refused(lambda name=name: assemble(SPEC, Config(terms=(name,))), "one value")


def test_what_cannot_be_controlled_is_refused():
    one = SPEC._replace(n_agents=1)
    refused(lambda: Equaliser(one, Config()), "two agents or more", "got 1")
    vdn = learner(small(mixer="vdn")).online["mixer"]
    refused(lambda: hypernetworks(vdn), "mixer", "got 'VDN'")
    for name in ("noise", "cia_measured", "equaliser_measured"):
        config = Config(mixer="vdn", terms=(name,), control_course=[1.0])
        refused(lambda config=config: assemble(SPEC, config), f"without {name}")


def test_a_config_written_before_there_were_controls_is_read_as_it_was():
    fields = METHODS["qmix_cia"].to_dict()
    old = {name: fields[name] for name in fields if not name.startswith("control_")}
    assert len(old) == len(fields) - 5
    assert Config(**old) == METHODS["qmix_cia"]


# ------------------------------------------------------------------------------- resume


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_resumed_bit_for_bit(name, tmp_path):
    """Interrupted twice, before and after the course or the coefficient changes."""
    config, game = small(**CONTROLS[name]), Turn(horizon=5)
    (whole,) = train(config, game, [1])
    for iterations in (6, 3):
        with pytest.raises(StopHere):
            train(config, game, [1], tmp_path, progress=after(iterations))
    (run,) = train(config, game, [1], tmp_path)
    assert same(run, whole)
    steps = [entry["env_steps"] for entry in run.provenance["resumed"]]
    assert steps == [30, 45]


# --------------------------------------------------------------------------------- fast


@pytest.mark.parametrize("name", CONTROLS)
def test_the_fast_ways_make_the_same_update(name, monkeypatch):
    """Padding left out and rows looked at once, against everything computed plainly."""
    found = {}
    for fast in ("1", "0"):
        monkeypatch.setenv("CIACORE_FAST", fast)
        found[fast] = trained(small(**CONTROLS[name]), updates=2)
    for ours, theirs in zip(found["1"][1], found["0"][1], strict=True):
        for key, value in ours.items():
            assert_close(value, theirs[key], msg=key)
    ours, theirs = (found[fast][0].online.state_dict() for fast in "10")
    for key, value in ours.items():
        assert_close(value, theirs[key], rtol=1e-4, atol=1e-5, msg=key)
