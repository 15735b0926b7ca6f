"""Studies of one's own: a file with a list, and grids over fields of a Config."""

import json
from pathlib import Path

import pytest
from ciabook.studies import lab
from ciabook.studies.runs import Entry, grid, sweep
from ciabook.studies.study import difference, find, game_of, place_of
from support.faults import refused

from ciacore import METHODS, MIXERS
from ciacore.config import Config
from ciacore.games import GAMES, MatrixGame

ROOT = Path(__file__).resolve().parents[1]
QMIX = METHODS["qmix"]


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    """The path of a study with this text."""
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_list_of_configs_is_a_study(tmp_path):
    """Ten lines; seeds and methods of one's own."""
    path = written(
        tmp_path,
        "from ciacore import METHODS\n"
        "slow = METHODS['qmix'].but(method='slow', gamma=0.999)\n"
        "STUDY = [METHODS['qmix'], slow]\n"
        "GAME = 'turn_units'\n"
        "SEEDS = range(11, 13)\n",
    )
    slow = QMIX.but(method="slow", gamma=0.999)
    assert find(path) == grid([QMIX, slow], "turn_units", [11, 12])
    assert place_of(path) == tmp_path / "runs" / "mine"


def test_without_game_and_seeds_it_is_turn_with_five(tmp_path):
    path = written(tmp_path, "from ciacore import METHODS\nSTUDY = (METHODS['vdn'],)\n")
    assert find(path) == grid([METHODS["vdn"]], "turn", [1, 2, 3, 4, 5])


def test_the_example_is_a_study():
    """The one that the front page names."""
    example = ROOT / "examples" / "own_study.py"
    line = f"make study STUDY={example.relative_to(ROOT)}"
    assert line in (ROOT / "README.md").read_text() and line in example.read_text()
    methods = [entry.config.method for entry in find(str(example))]
    assert methods == ["qmix_cia_hidden_size_32", "qmix_cia_hidden_size_64"]
    assert place_of(str(example)) == ROOT / "examples" / "runs" / "own_study"


def test_a_list_of_entries_is_a_study(tmp_path):
    path = written(
        tmp_path,
        "from ciabook.studies.runs import Entry\n"
        "from ciacore import METHODS\n"
        "STUDY = [Entry(METHODS['vdn'], 'turn', 7)]\n",
    )
    assert find(path) == [Entry(METHODS["vdn"], "turn", 7)]


def test_status_and_keys_are_as_for_ours(tmp_path, capsys):
    path = written(
        tmp_path,
        "print('hello')\n"
        "from ciacore import METHODS\n"
        "STUDY = [METHODS['vdn']]\n"
        "SEEDS = [4]\n",
    )
    assert lab.main(["status", path]) == lab.MISSING
    assert "turn~vdn~4  missing\nmine: 1 missing of 1\n" in capsys.readouterr().out
    assert lab.main(["missing", path]) == 0
    # nothing that the file prints comes among what other programs read
    assert json.loads(capsys.readouterr().out) == ["turn~vdn~4"]


def test_it_may_bring_a_mixer_a_game_and_files_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    for known in (GAMES, MIXERS):
        monkeypatch.setitem(known, "for_a_test", None)  # taken away afterwards
    written(tmp_path, "PAY = [[1.0, 0.0], [0.0, 2.0]]\n", "beside_it_for_a_test.py")
    path = written(
        tmp_path,
        "from beside_it_for_a_test import PAY\n"
        "from ciacore import METHODS, MIXERS\n"
        "from ciacore.games import GAMES, MatrixGame\n"
        "class Game(MatrixGame):\n"
        "    name = 'for_a_test'\n"
        "GAMES['for_a_test'] = lambda: Game(PAY)\n"
        "MIXERS['for_a_test'] = MIXERS['vdn']\n"
        "STUDY = [METHODS['vdn'].but(mixer='for_a_test')]\n"
        "GAME = 'for_a_test'\n",
    )
    assert {entry.game for entry in find(path)} == {"for_a_test"}
    assert isinstance(game_of("for_a_test"), MatrixGame)
    assert lab.memory(path) == 0


BAD = {
    "no list": ("METHODS = 1", "a list STUDY"),
    "empty": ("STUDY = []", "a list STUDY"),
    "no Config": ("STUDY = ['qmix']", "a list of Configs or of Entries"),
    "fails": ("\n\n1 / 0", "ZeroDivisionError: division by zero in line 3"),
    "does not parse": ("STUDY = [", "SyntaxError"),
    "leaves": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "bad field": (
        "from ciacore import METHODS\nSTUDY = [METHODS['qmix'].but(gama=1)]",
        "Did you mean 'gamma'?",
    ),
    "one name twice": (
        "from ciacore import METHODS\n"
        "STUDY = [METHODS['qmix'], METHODS['qmix'].but(gamma=0.5)]",
        "name of its own",
    ),
    "seeds": (
        "from ciacore import METHODS\nSTUDY = [METHODS['qmix']]\nSEEDS = 3",
        "a list of whole numbers",
    ),
    "game": (
        "from ciacore import METHODS\nSTUDY = [METHODS['qmix']]\nGAME = 3",
        "the name of a game",
    ),
}


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("how", BAD)
def test_a_file_without_a_study_is_refused(how, tmp_path):
    text, told = BAD[how]
    refused(lambda: find(written(tmp_path, text)), told)


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert lab.main(["status", str(tmp_path / "mine.py")]) == 2
    assert "study: expected a file of Python" in capsys.readouterr().err


def test_a_game_under_another_name_is_refused_before_training(monkeypatch):
    """Its runs would lie where nobody looks for them."""
    monkeypatch.setitem(GAMES, "pay", lambda: MatrixGame([[1.0, 0.0], [0.0, 1.0]]))
    refused(lambda: game_of("pay"), "whose name is pay", "matrix", "own name")


# --------------------------------------------------------------------------- sweeps


def test_a_sweep_is_every_combination_under_a_name():
    found = sweep(QMIX, batch=[16, 32], gamma=(0.9, 0.99), double_q=[False])
    assert [config.method for config in found] == [
        "qmix_batch_16_gamma_0.9_double_q_False",
        "qmix_batch_16_gamma_0.99_double_q_False",
        "qmix_batch_32_gamma_0.9_double_q_False",
        "qmix_batch_32_gamma_0.99_double_q_False",
    ]
    for config in found:
        changed = {
            name: value
            for name, value in config.to_dict().items()
            if QMIX.to_dict()[name] != value
        }
        assert set(changed) <= {"method", "batch", "gamma", "double_q"}
        method, overrides = difference(config)
        told = json.loads(json.dumps(overrides))
        assert METHODS[method].but(env_steps=config.env_steps, **told) == config
    assert (found[0].batch, found[0].gamma, found[3].batch) == (16, 0.9, 32)


def test_every_value_makes_a_name_that_a_folder_can_have():
    found = sweep(QMIX, learning_rate=[1e-5, 5e-4], auxiliaries=[(), ("eoi",)])
    names = [config.method for config in found]
    assert len(set(names)) == 4 and "qmix_learning_rate_1e-05_auxiliaries" in names
    assert all(isinstance(config, Config) for config in found)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "learning_rate=[1e-3, 5e-4]"),
        ({"method": ["a"]}, "fields of Config but `method`"),
        ({"gamma": 0.9}, "Write gamma=[0.9]."),
        ({"optimizer": "adam"}, "Write optimizer=['adam']."),
        ({"gama": [0.9]}, "Did you mean 'gamma'?"),
        ({"gamma": [0.9, 0.9]}, "Name every value once."),
        ({"gamma": [2.0]}, "between 0 and 1"),
        ({"gamma": []}, "at least one value"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_a_sweep_that_cannot_be(fields, told):
    refused(lambda: sweep(QMIX, **fields), told)
