"""The mixer and the loss term that two pages of the book add, taken from there."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import Float
from support.toys import Stroll, random_utilities, rng, small
from torch import Tensor, nn
from torch.testing import assert_close

import ciacore.methods
import ciacore.mixers
from ciacore import METHODS, MIXERS, train
from ciacore.cia import credits_of
from ciacore.config import Config
from ciacore.credits import credits
from ciacore.games import Turn
from ciacore.losses import weighted_mean
from ciacore.types import Forward, Spec

BOOK = Path(__file__).resolve().parent.parent / "book"
PAGES = BOOK / "your_own_mixer.md", BOOK / "contributing.md"


def shown(start: str) -> str:
    """The only Python block of these pages that begins with `start`."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (block,) = [code for code in blocks if code.startswith(start)]
    return block


@pytest.fixture
def state_sum(tmp_path, monkeypatch):
    """Adds the page's file to the package, in a folder of its own, and registers it."""
    (tmp_path / "state_sum.py").write_text(shown('"""A state-weighted sum'))
    folders = [*ciacore.mixers.__path__, str(tmp_path)]
    monkeypatch.setattr(ciacore.mixers, "__path__", folders)
    monkeypatch.setattr(ciacore.methods, "MIXERS", dict(MIXERS))
    monkeypatch.setitem(ciacore.methods.SLOTS, "mixer", ciacore.methods.MIXERS)
    (line,) = shown("MIXERS[").splitlines()
    module = importlib.import_module("ciacore.mixers.state_sum")
    exec(line, {"MIXERS": ciacore.methods.MIXERS, "StateSum": module.StateSum})
    yield ciacore.methods.MIXERS["state_sum"]
    del sys.modules["ciacore.mixers.state_sum"], ciacore.mixers.state_sum


def fresh(mixer_class, n_agents: int = 3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mixer_class(Spec(n_agents, 2, 1, 5, 0, 1), small())


def test_its_credits_are_its_weights_and_it_is_monotone(state_sum):
    mixer, given = fresh(state_sum), random_utilities(20, 3)
    states = torch.randn(20, 5, generator=rng(1))
    found = credits(mixer, given, states)
    assert_close(found, mixer.weights(states).abs().detach())
    assert (found > 0).all() and found.std(0).min() > 0.01  # they depend on the state
    for k in range(3):
        raised = given.chosen.clone()
        raised[:, k] += 1
        before = mixer(given, states).q_tot
        rise = mixer(given.with_chosen(raised), states).q_tot - before
        assert_close(rise.detach(), found[:, k], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("terms", [(), ("cia",)])
def test_it_trains(state_sum, terms):
    config = small(
        method="state_sum",
        mixer="state_sum",
        terms=terms,
        cia_coefficient=0.1 if terms else 0.0,
    )
    (run,) = train(config, Stroll(), [1])
    (start,) = train(config.but(env_steps=1), Stroll(), [1])
    assert run.metrics["updates"][-1] >= 3
    for name in run.weights:
        assert not torch.equal(run.weights[name], start.weights[name]), name
    assert any(name.startswith("mixer.") for name in run.weights)


def test_the_page_trains_it(state_sum):
    """The page's third block as it stands, on fewer steps."""

    def shortly(config, game, seeds):
        return train(config.but(env_steps=1), game, seeds)

    names = {"METHODS": METHODS, "Turn": Turn, "train": shortly}
    exec(shown("config = "), names)
    (run,) = names["runs"]
    assert run.config.mixer == "state_sum"
    assert run.config.method == "state_sum_cia"
    assert run.seed == 1


def test_without_the_line_it_is_unknown():
    assert "state_sum" not in MIXERS


def test_the_page_s_loss_term_fades(monkeypatch):
    """Its coefficient is a function of the env steps, and it works on any mixer."""
    names = {
        "Config": Config,
        "Float": Float,
        "Forward": Forward,
        "Spec": Spec,
        "Tensor": Tensor,
        "nn": nn,
        "credits_of": credits_of,
        "weighted_mean": weighted_mean,
    }
    exec(shown("class EqualCredits"), names)
    term = names["EqualCredits"]
    monkeypatch.setitem(ciacore.methods.TERMS, "equal_credits", term)
    fades = term(Stroll().spec, small()).coefficient
    steps = torch.tensor([0.0, 50_000.0, 200_000.0])
    assert_close(fades(steps), torch.tensor([0.1, 0.05, 0.0]))
    for mixer in ("qmix", "qplex"):
        config = small(method="fading", mixer=mixer, terms=("equal_credits",))
        (run,) = train(config, Stroll(), [1])
        assert run.metrics["losses"][-1]["equal_credits"] > 0
