"""What cannot be used is refused: argument, expected, got, cure; nothing is left."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from ciabook.evidence.statistics import bootstrap, mean
from ciabook.page.parameters import check_parameters, methods_beside
from support.faults import refused
from support.toys import Stroll, random_utilities, rng, small

from ciacore import METHODS, train
from ciacore.cia import cc_loss, cia_loss
from ciacore.config import Config, known_name
from ciacore.credits import credits
from ciacore.games import GAMES, MatrixGame, Turn
from ciacore.learning.replay import Replay
from ciacore.methods import MIXERS, assemble
from ciacore.types import InvalidInputError

pytestmark = pytest.mark.usefixtures("as_users_run_it")


# --------------------------------------------------------------- what a Config may hold

FIELDS = {
    "env_steps negative": ({"env_steps": -5}, "env_steps", "-5"),
    "env_steps zero": ({"env_steps": 0}, "env_steps", "above 0"),
    "env_steps fractional": ({"env_steps": 1.5}, "env_steps", "whole number", "1.5"),
    "env_steps whole but float": (
        {"env_steps": 1e5},
        "env_steps",
        "whole number",
        "100000.0",
    ),
    "env_steps string": (
        {"env_steps": "20000"},
        "env_steps",
        "whole number",
        "'20000'",
        "quotes",
    ),
    "env_steps bool": ({"env_steps": True}, "env_steps", "whole number", "True"),
    "unknown field": (
        {"learning_rat": 0.1},
        "overrides",
        "learning_rate",
        "Did you mean 'learning_rate'?",
    ),
    "optimizer": (
        {"optimizer": "rmspro"},
        "optimizer",
        "rmsprop, adam",
        "Did you mean 'rmsprop'?",
    ),
    "derivative": (
        {"credit_derivative": "official"},
        "credit_derivative",
        "published, exact",
        "'official'",
    ),
    "padding": ({"credit_padding": 3}, "credit_padding", "string", "3"),
    "epsilon": ({"epsilon_start": 1.1}, "epsilon_start", "between 0 and 1", "1.1"),
    "nan": ({"learning_rate": float("nan")}, "learning_rate", "a finite number", "nan"),
    "infinite": (
        {"learning_rate": float("inf")},
        "learning_rate",
        "a finite number",
        "inf",
    ),
    "infinite coefficient": (
        {"cia_coefficient": float("inf")},
        "cia_coefficient",
        "a finite number",
        "inf",
    ),
    "negative coefficient": (
        {"cia_coefficient": -0.02},
        "cia_coefficient",
        "at least 0",
        "-0.02",
    ),
    "float string": (
        {"cia_coefficient": "0.02"},
        "cia_coefficient",
        "a finite number",
        "'0.02'",
        "quotes",
    ),
    "bool field": ({"double_q": 1}, "double_q", "True or False", "1"),
    "batch above buffer": ({"batch": 64, "buffer": 32}, "batch", "buffer = 32", "64"),
    "games above buffer": (
        {"n_games": 64, "buffer": 32},
        "n_games",
        "buffer = 32",
        "64",
    ),
    "terms string": ({"terms": "cia"}, "terms", "list of names", "'cia'", '["cia"]'),
    "terms numbers": ({"terms": [1]}, "terms", "list of names", "1"),
    "terms twice": ({"terms": ["cia", "cia"]}, "terms", "different names", "cia"),
    "empty method": ({"method": ""}, "method", "non-empty string"),
    "method that leaves the results folder": (
        {"method": "../qmix"},
        "method",
        "../qmix",
    ),
}


@pytest.mark.parametrize("case", FIELDS)
def test_config(case):
    fields, *parts = FIELDS[case]
    refused(lambda: METHODS["qmix"].but(**fields), *parts)


@pytest.mark.parametrize(
    ("names", "argument", "wrong", "near"),
    [
        (METHODS, "method", "qmix_cai", "qmix_cia"),
        (GAMES, "game", "Turn", "turn"),
        (MIXERS, "mixer", "qmx", "qmix"),
    ],
)
def test_unknown_names_come_with_a_suggestion(names, argument, wrong, near):
    refused(
        lambda: known_name(wrong, names, argument),
        argument,
        ", ".join(names),
        repr(wrong),
        f"Did you mean {near!r}",
    )
    refused(lambda: known_name("§§", names, argument), argument, "Choose one of these.")


# -------------------------------------------------------------------------------- train

TRAIN = {
    "a fraction for seeds": ({}, 1.5, "seeds", "list of whole numbers", "1.5"),
    "nothing for seeds": ({}, None, "seeds", "list of whole numbers", "None"),
    "mixer": (
        {"mixer": "qmxi"},
        [1],
        "mixer",
        "vdn, qmix",
        "'qmxi'",
        "Did you mean 'qmix'?",
    ),
    "term": ({"terms": ("cai",)}, [1], "terms", "cia, cc", "'cai'"),
    "published derivative on VDN": (
        {"mixer": "vdn", "terms": ("cia",), "credit_derivative": "published"},
        [1],
        "credit_derivative",
        "vdn has no closed form",
        'credit_derivative="exact"',
    ),
    "seed twice": ({}, [1, 2, 1], "seeds", "different numbers", "[1, 2, 1]"),
    "seed negative": ({}, [1, -1], "seeds", "at least 0", "-1"),
    "seed fractional": ({}, [1.5], "seeds", "whole numbers", "1.5"),
    "seed bool": ({}, [True], "seeds", "whole numbers", "True"),
    "seed in quotes": ({}, ["1"], "seeds", "whole numbers", "'1'"),
    "seeds as a string": ({}, "123", "seeds", "list of whole numbers", "'123'"),
    "seeds as a number": ({}, 3, "seeds", "list of whole numbers", "3", "[1, 2, 3]"),
    "no seeds": ({}, [], "seeds", "list of whole numbers", "[]"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_train(case, tmp_path):
    fields, seeds, *parts = TRAIN[case]
    refused(
        lambda: train(small(**fields), Stroll(), seeds, results=tmp_path / "runs"),
        *parts,
    )
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------- games, losses, records

TURN = {
    "shape": (torch.zeros(3, 3, dtype=torch.int64), "actions", "[3, 2]", "[3, 3]"),
    "one game too few": (
        torch.zeros(2, 2, dtype=torch.int64),
        "actions",
        "[3, 2]",
        "[2, 2]",
    ),
    "dtype": (torch.zeros(3, 2), "actions", "int64", "torch.float32"),
    "too high": (torch.tensor([[0, 6]] * 3), "actions", "0 to 5", "0 to 6"),
    "negative": (torch.tensor([[-1, 0]] * 3), "actions", "0 to 5", "-1 to 0"),
}


@pytest.mark.parametrize("case", TURN)
def test_turn_actions(case):
    game, generator = Turn(), rng()
    state = game.reset(3, generator)
    actions, *parts = TURN[case]
    refused(lambda: game.step(state, actions, generator), *parts)


def identities(agents: int = 2, horizon: int = 4) -> torch.Tensor:
    return torch.ones(agents, horizon)


CALLS = {
    "board too small": (lambda: Turn(size=1), "size", "at least 2", "1"),
    "board fractional": (lambda: Turn(size=5.0), "size", "whole number", "5.0"),
    "horizon": (lambda: Turn(horizon=0), "horizon", "at least 1", "0"),
    "no games": (lambda: Turn().reset(0, rng()), "n_games", "at least 1", "0"),
    "payoff with one axis": (
        lambda: MatrixGame(torch.ones(3)),
        "payoff",
        "two or more axes",
        "[3]",
    ),
    "payoff not square": (
        lambda: MatrixGame(torch.ones(2, 3)),
        "payoff",
        "equal length",
        "[2, 3]",
    ),
    "credits of other agents": (
        lambda: cia_loss(torch.ones(1, 4, 3), identities()),
        "credits",
        "[B, T, 2]",
        "3]",
    ),
    "credits too long": (
        lambda: cia_loss(torch.ones(1, 5, 2), identities()),
        "credits",
        "T at most 4",
        "[1, 5, 2]",
    ),
    "credits without batch": (
        lambda: cc_loss(torch.ones(4, 2), identities()),
        "credits",
        "[B, T, 2]",
        "[4, 2]",
    ),
    "states of other steps": (
        lambda: credits(
            MIXERS["vdn"](None, None), random_utilities(4, 2), torch.ones(5, 3)
        ),
        *("utilities", "[5]", "[4]", "same steps"),
    ),
    "replay empty": (
        lambda: Replay(3).sample(1, rng()),
        "batch",
        "at most 0",
        "1",
        "Insert more",
    ),
    "bootstrap without runs": (
        lambda: bootstrap(mean, np.zeros((0, 3)), 0.5),
        "scores",
        "at least one run",
        "(0, 3)",
    ),
    "bootstrap in per cent": (
        lambda: bootstrap(mean, np.ones(3), 95),
        "level",
        "between 0 and 1",
        "95",
        "0.95",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_calls(case):
    call, *parts = CALLS[case]
    refused(call, *parts)


# ----------------------------------------------------------------------- result folders


def blocked_by_file(tmp_path: Path) -> Path:
    """A file stands where the folder should be: even root cannot write below it."""
    (tmp_path / "runs").write_text("mine")
    return tmp_path / "runs"


def existing_run(tmp_path: Path) -> Path:
    (tmp_path / "runs" / "stroll" / "qmix" / "seed_2").mkdir(parents=True)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("prepare", "parts"),
    [
        (
            blocked_by_file,
            ("results", "a folder that can be written", "Not a directory"),
        ),
        (
            lambda tmp_path: Path("/proc/ciacore"),
            ("results", "a folder that can be written", "No such file"),
        ),
        (existing_run, ("results", "without this run", "seed_2", "another folder")),
    ],
    ids=["file", "proc", "existing"],
)
def test_unusable_result_folder_stops_before_training(
    prepare, parts, tmp_path, monkeypatch
):
    results = prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(
        "ciacore.runtime.session.Training", lambda *_: pytest.fail("training began")
    )
    refused(lambda: train(small(), Stroll(), [1, 2], results=results), *parts)
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_that_may_not_be_written(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    # chmod does not stop root
    monkeypatch.setattr("ciacore.runtime.store.tempfile.TemporaryFile", denied)
    refused(
        lambda: train(small(), Stroll(), results=tmp_path),
        "results",
        "can be written",
        "Permission denied",
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_loss_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    calls = itertools.count()
    payoff = lambda *_: torch.full((1,), float("nan") if next(calls) > 20 else 1.0)  # noqa: E731
    game = Stroll()
    played = game.advance
    monkeypatch.setattr(
        game,
        "advance",
        lambda *args: played(*args)._replace(rewards=payoff()),
        raising=False,
    )
    config = small(method="qmix", evaluation_games=1)
    with pytest.raises(
        FloatingPointError,
        match=r"^\w+: expected finite numbers, got nan before \d+ env steps. Lower",
    ):
        train(config, game, [1], results=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# --------------------------------------------------------------------- parameters cells

DECLARED = {
    "__annotations__": {"method": str, "env_steps": int, "lr": float, "seeds": list},
    "__name__": "__main__",
}
GIVEN = {"method": "qmix", "env_steps": 10, "lr": 1, "seeds": [1]}
PARAMETERS = {
    "undeclared name": (
        {"env_step": 10},
        "parameters",
        "method, env_steps",
        "Did you mean 'env_steps'?",
    ),
    "string for list": (
        {"seeds": "[1, 2]"},
        "seeds",
        "type list",
        "'[1, 2]'",
        "papermill -y",
    ),
    "fraction for int": ({"env_steps": 1.5}, "env_steps", "type int", "1.5"),
    "bool for int": ({"env_steps": True}, "env_steps", "type int", "True"),
    "number for string": ({"method": 3}, "method", "type str", "3"),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters(case):
    check_parameters({**DECLARED, **GIVEN})  # a whole number passes as a float
    changes, *parts = PARAMETERS[case]
    refused(lambda: check_parameters({**DECLARED, **GIVEN, **changes}), *parts)


def test_methods_beside_the_first_one():
    told = {"method": "qmix", "seeds": [1, 2], "overrides": {"gamma": 0.9}}
    config = METHODS["qmix"].but(env_steps=7, gamma=0.9)
    assert methods_beside([told], 7) == {config: [1, 2]} and methods_beside([], 7) == {}
    form = "methods with their seeds and overrides"
    refused(lambda: methods_beside(["qmix"], 7), "beside", form, "'qmix'")
    refused(lambda: methods_beside([{"method": "qmix"}], 7), "beside", form)
    unknown = {**told, "method": "qmxi"}
    refused(lambda: methods_beside([unknown], 7), "beside", "Did you mean 'qmix'?")
    refused(lambda: methods_beside([told, told], 7), "beside", "different methods")


def test_assembling_checks_the_config():
    refused(lambda: assemble(Stroll().spec, Config(mixer="none")), "mixer", "'none'")


def test_the_parameters_cell_can_be_run_again():
    """Run All in a live notebook: types are checked every time.

    Names that later cells left behind are no parameters.
    """
    namespace = {**DECLARED, **GIVEN}
    check_parameters(namespace)
    namespace["torch"] = torch
    check_parameters(namespace)
    namespace[next(iter(GIVEN))] = object()
    with pytest.raises(InvalidInputError):
        check_parameters(namespace)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "abacus"])
def test_a_device_that_is_not_there(device, tmp_path):
    refused(
        lambda: train(small(), Stroll(), [1], tmp_path / "runs", device=device),
        "device",
        "of this machine",
        device,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_coefficient_that_nothing_uses():
    refused(
        lambda: METHODS["qmix"].but(cia_coefficient=0.1),
        "cia_coefficient",
        "no loss term uses it",
        "0.1",
        "qmix_cia",
    )
