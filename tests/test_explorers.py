"""What the explorers show agrees with the library, in pages that load nothing."""

from __future__ import annotations

import json
import re

import pytest
import torch
from ciabook.evidence.analysis import Team, evaluate_on
from ciabook.evidence.held_fits import climb
from ciabook.evidence.representable import GAMES, fit
from ciabook.page.explorers import (
    NEEDED,
    SCRIPTS,
    Explorer,
    apples,
    battle_explorer,
    losses_let_loose,
    matrix_explorer,
    sandbox,
    script_of,
    turn_explorer,
)
from ciabook.turn.scripted_players import FullInformation, trace
from support.runs import recording
from support.toys import rng

from ciacore import METHODS
from ciacore.games import MatrixGame, Turn
from ciacore.learning.exploration import EpsilonGreedy
from ciacore.learning.rollout import play
from ciacore.methods import assemble
from ciacore.types import InvalidInputError


def told(explorer: Explorer) -> dict:
    """The data as a page holds it."""
    page = explorer._repr_html_()
    assert page.count(script_of(explorer.kind)) == 1
    (name,) = re.findall(r'<div id="([\w-]+)" class="cia-explorer', page)
    assert f'ciaBook.open("{name}")' in page and f'id="{name}-data"' in page
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    return json.loads(text)


def test_scripts_load_nothing():
    files = {"explorers.js", *(name for names in NEEDED.values() for name in names)}
    assert files == {file.name for file in SCRIPTS.iterdir()}
    for name in files:
        text = (SCRIPTS / name).read_text(encoding="utf-8")
        text = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|import\s*\(|fetch\(|XMLHttpRequest|eval\(", text)


def test_apples_are_those_of_the_game():
    """Whoever eats, and whenever, sees the apples that the game would show."""
    game, generator = Turn(), torch.Generator().manual_seed(5)
    places = apples(game, 5)
    assert len(places) == game.spec.horizon + 1
    record = trace(game, FullInformation(), 1, generator)
    shown, changes = places[0], 0
    for t, state in enumerate(record.states):
        if t and record.rewards[0, t - 1] == 10:
            shown, changes = places[t], changes + 1
        assert game.places(state)[1][0].tolist() == shown
    assert changes > 10


def test_a_page_cannot_be_broken_by_its_data():
    page = Explorer("matrix", "a title", {"presets": "</script><b>"})._repr_html_()
    assert "</script><b>" not in page
    assert told(Explorer("matrix", "a title", {"x": "</script>"})) == {"x": "</script>"}


def test_an_episode_of_turn_is_the_games():
    game, config = Turn(), METHODS["qmix"]
    torch.manual_seed(0)
    team = Team("qmix", config, assemble(game.spec, config))
    episodes = play(game, EpsilonGreedy(team.parts.agent, 1.0), 2, rng(3), 0.99)
    data = told(turn_explorer(episodes, 1, {"QMIX": team}))
    assert len(data["positions"]) == len(data["rewards"]) == 100
    moves = [(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0)]
    # the free agent goes where its action leads it, inside the board; nobody else moves
    for t in range(99):
        for agent in (0, 1):
            here, there = data["positions"][t][agent], data["positions"][t + 1][agent]
            step = (
                moves[data["actions"][t][agent]] if agent == data["free"][t] else (0, 0)
            )
            assert there == [
                min(4, max(0, a + b)) for a, b in zip(here, step, strict=True)
            ]
    assert data["rewards"] == pytest.approx(episodes.rewards[1].tolist(), abs=0.01)
    credits = evaluate_on(team, episodes).credits[1]
    torch.testing.assert_close(
        torch.tensor(data["teams"][0]["credits"]), credits, rtol=0, atol=6e-4
    )


def test_an_episode_with_another_state_is_refused():
    game = Turn(units=True)
    agent = assemble(game.spec, METHODS["qmix"]).agent
    with pytest.raises(
        InvalidInputError, match="episodes: expected states of 77 numbers, got 102"
    ):
        turn_explorer(play(game, EpsilonGreedy(agent, 1.0), 1, rng(), 0.99), 0, {})


def test_a_battle_is_its_recording():
    held = recording(3, 2, 2)
    held.rewards[0] = [1.0, 0.5, 0.25]
    held.targets[0, 2, 0] = 3
    data = told(battle_explorer(held, 0))
    assert data["returns"] == [0, 1.0, 1.5, 1.75]
    assert len(data["positions"]) == len(data["targets"]) == 4
    assert data["targets"][1][0] == 3 and data["targets"][3] == [-1] * 4
    assert data["walkable"] == ["1" * 32] * 32 and data["credits"] == [[0, 0]] * 3


def test_a_descent_is_shown_from_its_first_step_to_its_last():
    credits = torch.arange(400.0).reshape(100, 2, 2)
    losses = [1 / (1 + step) for step in range(100)]
    explorer = losses_let_loose({"CIA": (credits, -credits, losses)}, frames=10)
    data = told(explorer)
    assert data["steps"][0] == 0 and data["steps"][-1] == 99
    assert data["steps"] == sorted(set(data["steps"])) and len(data["steps"]) <= 10
    (panel,) = data["panels"]
    assert panel["credits"] == credits[data["steps"]].tolist()
    assert panel["identities"] == (-credits[data["steps"]]).tolist()
    assert panel["losses"] == [round(losses[step], 3) for step in data["steps"]]
    other = credits[:50], credits[:50], losses[:50]
    for paths in ({"CIA": other}, {"CIA": other, "CC": (credits, credits, losses)}):
        with pytest.raises(InvalidInputError, match="paths: expected one length"):
            losses_let_loose(paths)


def test_presets_are_fits_of_the_library():
    data = told(matrix_explorer(["both"], steps=60, seeds=[0]))
    (preset,) = data["presets"]
    assert data["climbs"][0]["payoff"] == GAMES["climb"]
    assert all(each["payoff"] == climb(each["penalty"]) for each in data["climbs"])
    assert preset["fits"][0]["of"] == 1
    (found, other), beside = fit(
        "qplex", [MatrixGame(GAMES[name]) for name in ("both", "either")], [0, 1], 60
    )
    # each start learns for itself, and each game
    assert not torch.allclose(found.table, other.table)
    assert (
        beside[0].error
        < 0.1
        < ((found.table - MatrixGame(GAMES["either"]).payoff) ** 2).mean()
    )
    assert preset["payoff"] == GAMES["both"]
    assert [each["name"] for each in preset["fits"]] == ["QPLEX", "QTRAN"]
    torch.testing.assert_close(
        torch.tensor(preset["fits"][0]["table"]), found.table, rtol=0, atol=6e-4
    )
    assert preset["fits"][0]["greedy"] == list(found.greedy)


def test_sandbox_starts_where_it_is_told():
    assert told(sandbox([(2.0, 1.0), (1.0, 2.0)], [(1.0, 0.0), (2.0, 1.0)])) == {
        "credits": [[2.0, 1.0], [1.0, 2.0]],
        "identities": [[1.0, 0.0], [2.0, 1.0]],
    }


def test_games_of_different_sizes_are_not_fitted_side_by_side():
    with pytest.raises(
        InvalidInputError,
        match=r"games: expected games of one size, got \[\(2, 2\), \(3, 3\)\]",
    ):
        fit("vdn", [MatrixGame(GAMES[name]) for name in ("climb", "both")], [0], 1)
