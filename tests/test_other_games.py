"""The rule of CIA in other games: scores, tests, verdicts; random play; the runs."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from ciabook.evidence.other_games import (
    BOUNDS,
    DATA,
    EPISODES,
    OURS,
    SEED,
    THEIRS,
    answer,
    compare,
    corrected,
    family,
    last_quarter,
    learned,
    random_returns,
    score,
    scores,
    stored,
    verdict,
)
from ciabook.evidence.paired import Paired
from ciabook.studies.other_games import IN_OTHER_GAMES, OTHER_GAMES
from ciabook.studies.runs import Entry
from ciabook.studies.study import find, place_of
from ciabook.turn.scripted_players import Uniform
from support.environments import Follow

from ciacore.games import make_game
from ciacore.games.adapters.environment import EnvironmentGame
from ciacore.methods import METHODS
from ciacore.runtime.store import Run, run_folder, write_run
from ciacore.types import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]
FIRST, SECOND, THIRD = OTHER_GAMES


def made(method: str, seed: int, returns: list[list[float]]) -> Run:
    steps = [10_000 * number for number in range(len(returns))]
    metrics = {"env_steps": steps, "episode_return": returns}
    return Run(METHODS[method], "game", seed, metrics, weights={}, provenance={})


def test_the_last_quarter_by_hand():
    """Nine evaluations: the last two."""
    run = made("qmix", 1, [[0.0, 0.0]] * 7 + [[1.0, 0.0], [1.0, 1.0]])
    assert last_quarter(run) == 0.75
    with pytest.raises(InvalidInputError, match="at least 4 evaluations, got 3"):
        last_quarter(made("qmix", 1, [[0.0]] * 3))


def test_a_score_is_the_way_from_random_play_to_the_bound():
    assert score(-76.0, -76.0, 0.0) == 0
    assert score(-38.0, -76.0, 0.0) == 0.5
    assert score(1.0, 0.25, 1.0) == 1
    runs = {FIRST: {"qmix": [made("qmix", 3, [[0.5]] * 4)]}}
    assert scores(runs, {FIRST: 0.0}) == {FIRST: {"qmix": {3: 0.5}}}


# label -> method -> seed -> score
FOUND = {
    FIRST: {OURS: {1: 0.5, 2: 0.6, 4: 0.9}, "qmix": {1: 0.25, 2: 0.1, 3: 0.9}},
    SECOND: {OURS: {1: 0.04, 2: 0.0}, "vdn": {1: 0.0}},
    THIRD: {},
}


def test_only_shared_seeds_of_a_game_are_compared():
    found = compare(FOUND, "qmix")
    assert found.differences == {FIRST: [0.25, 0.5], SECOND: [], THIRD: []}
    assert (found.value, found.low, found.high) == (0.375, 0.25, 0.5)
    assert found.p_value == pytest.approx(0.5, abs=0.01)  # two of four ways
    assert compare(FOUND, "qmix_rs") is None
    assert list(family(FOUND)) == ["qmix", "vdn"]


def test_a_game_is_learned_by_the_mean_of_some_method():
    assert learned(FOUND) == [FIRST]
    assert learned({FIRST: {OURS: {1: 0.04, 2: 0.06}}}) == [FIRST]


def test_a_missing_test_keeps_its_place():
    differences = {FIRST: [0.3] * 9}
    nine = Paired(differences, 0.3, 0.3, 0.3, 0.96, p_value=2 / 512)
    assert corrected({"qmix": nine}) == {
        "qmix": pytest.approx(6 / 512),
        "qmix_rs": 1.0,
        "vdn": 1.0,
    }


@pytest.mark.parametrize(
    ("value", "low", "high", "coverage", "p", "games", "word"),
    [
        (0.2, 0.1, 0.3, 0.96, 0.05, 3, "better"),
        (-0.2, -0.3, -0.1, 0.96, 0.01, 0, "worse"),
        (0.01, -0.04, 0.04, 0.96, 0.06, 2, "equal"),
        (0.01, -0.04, 0.04, 0.96, 0.06, 1, "undecided"),  # too little was learned
        (0.01, -0.04, 0.06, 0.96, 0.06, 3, "undecided"),
        (0.01, -0.06, 0.04, 0.96, 0.06, 3, "undecided"),
        (0.01, -0.04, 0.04, 0.75, 0.06, 3, "undecided"),  # so few runs cannot say so
    ],
)
def test_verdicts(value, low, high, coverage, p, games, word):
    comparison = Paired({}, value, low, high, coverage, p_value=p)
    assert verdict(comparison, p, games) == word


def every(gap: float) -> dict:
    """Five seeds of everything; QMIX(CIA) lies `gap` above the others."""
    low = {seed: 0.3 + seed / 100 for seed in (1, 2, 3, 4, 5)}
    high = {seed: value + gap for seed, value in low.items()}
    others = dict.fromkeys(THEIRS, low)
    return {label: {OURS: high, **others} for label in OTHER_GAMES}


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (0.1, "CIA helps here. Its credits matter here, too."),
        (-0.1, "CIA harms here."),
        (0.0, "CIA does as well as QMIX here."),
    ],
)
def test_the_answer_of_all_runs(gap, said):
    assert answer(every(gap)) == said


def test_the_answer_without_and_with_some_runs():
    assert answer({}) == "It waits for its runs."
    assert answer({FIRST: {"vdn": {1: 0.2}}}) == "It waits for its runs."
    told = answer(FOUND)
    assert told.startswith("The question stays open. This is provisional: 9 of 60")


def test_random_play_takes_every_available_action_alike():
    available = torch.tensor([[[True, False, True], [False, True, False]]])
    seen, states = torch.zeros(1, 2, 4), torch.zeros(1, 5)
    rng = torch.Generator().manual_seed(0)
    policy = Uniform()
    assert policy.start(seen, states, rng) is None
    drawn = torch.cat(
        [policy.act(seen, available, None, rng)[0] for _ in range(400)]
    )  # [400, 2]
    assert set(drawn[:, 1].tolist()) == {1}
    assert set(drawn[:, 0].tolist()) == {0, 2}
    assert 150 < (drawn[:, 0] == 0).sum() < 250


def test_random_returns_of_an_easy_game():
    """Both name a sign by chance in one step of four: 2 in 8 steps."""
    found = random_returns(EnvironmentGame(Follow, "follow"), 300)
    assert abs(found["mean_return"] - 2) < 4 * found["standard_error"] < 0.4


def test_what_random_play_is_paid_is_kept():
    kept = json.loads(DATA.read_text())
    assert (kept["episodes"], kept["seed"]) == (EPISODES, SEED)
    assert list(kept["random"]) == list(OTHER_GAMES) == list(BOUNDS)
    for label, found in kept["random"].items():
        assert found["mean_return"] < BOUNDS[label]
    # a few episodes again, of other random numbers
    found = random_returns(make_game(OTHER_GAMES[THIRD][0]), 60)
    stated = kept["random"][THIRD]["mean_return"]
    assert abs(found["mean_return"] - stated) < 4 * found["standard_error"]


def test_the_study_is_that_of_the_rule():
    rule = (ROOT / "book" / "rules" / "other_games.md").read_text()
    for label, (_, env_steps) in OTHER_GAMES.items():
        line = next(line for line in rule.splitlines() if line.startswith(f"| {label}"))
        assert f"| {env_steps:,} |" in line and "the sum over agents" in line
    entries = find("other_games")
    assert len(entries) == 5 * 3 * 4
    seeds = [entry.seed for entry in entries]
    assert seeds == sorted(seeds) and set(seeds) == {1, 2, 3, 4, 5}
    for entry in entries:
        name = entry.config.method
        assert entry.config == METHODS[name].but(env_steps=entry.config.env_steps)
    assert {entry.config.method for entry in entries} == set(IN_OTHER_GAMES)
    assert METHODS[OURS].cia_coefficient == 0.02
    assert {OURS, *THEIRS} == set(IN_OTHER_GAMES)
    assert place_of("other_games") == ROOT / "book" / "results" / "other_games"


def keep(results: Path, entry: Entry, level: float) -> None:
    """A run that nobody trained, of eight evaluations."""
    evaluations = [[level * number / 7] * 4 for number in range(8)]
    metrics = {
        "env_steps": [10_000 * number + 3 for number in range(8)],
        "episode_return": evaluations,
    }
    run = Run(entry.config, entry.game, entry.seed, metrics, {}, {})
    folder = run_folder(results, entry.game, entry.config.method, entry.seed)
    write_run(folder, run)


def pages(results: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cells of the chapter leave, run from top to bottom."""
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, Any] = {}
    chapter = nbformat.read(ROOT / "notebooks" / "other_games.ipynb", as_version=4)
    for cell in chapter.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "launch" not in tags:
            exec(cell.source, names)
        if "parameters" in tags:
            names["results"] = str(results)
    return names


@pytest.mark.parametrize("share", ["none", "one", "a game", "all"])
def test_the_chapter_is_built_from_whatever_runs_there_are(
    share, tmp_path, monkeypatch, capsys
):
    """QMIX(CIA) is above the others by a little, everywhere."""
    entries = find("other_games")
    kept = {
        "none": [],
        "one": entries[:1],
        "a game": [each for each in entries if each.game == entries[0].game][:6],
        "all": entries,
    }[share]
    low, high = {}, {}
    for label, (game, _) in OTHER_GAMES.items():
        low[game] = -60.0 if BOUNDS[label] == 0 else 0.4
        high[game] = -50.0 if BOUNDS[label] == 0 else 0.6
    for entry in kept:
        level = (high if entry.config.method == OURS else low)[entry.game]
        keep(tmp_path, entry, level + entry.seed / 100)
    names = pages(tmp_path, monkeypatch)
    axes = names["figure"].axes
    assert [axis.get_title() for axis in axes] == list(OTHER_GAMES)
    drawn = [len(axis.lines) for axis in axes]  # a mean per method, a line per run
    empty = [any("no runs" in text.get_text() for text in axis.texts) for axis in axes]
    waits = "It waits for its runs."
    open_with = "The question stays open. This is provisional:"
    answer_of = {
        "none": waits,
        "one": waits,
        "a game": f"{open_with} 6 of 60 runs are there.",
        "all": "CIA helps here. Its credits matter here, too.",
    }
    assert names["answer"] == answer_of[share]
    assert (
        drawn
        == {
            "none": [1, 1, 1],
            "one": [3, 1, 1],
            "a game": [11, 1, 1],
            "all": [25, 25, 25],
        }[share]
    )
    assert empty == [count == 1 for count in drawn]
    plt.close("all")


def test_what_is_not_there_is_left_out(tmp_path):
    assert stored(tmp_path) == {FIRST: {}, SECOND: {}, THIRD: {}}
    assert family(scores(stored(tmp_path), {})) == {}
    assert np.isclose(sum(corrected({}).values()), len(THEIRS))
