"""What the explorers show agrees with the library, in pages that load nothing."""

from __future__ import annotations

import json
import re

import pytest
import torch
from ciabook.evidence.analysis import Team, evaluate_on
from ciabook.evidence.representable import GAMES, fit
from ciabook.page.explorers import (
    SCRIPT,
    Explorer,
    battle_explorer,
    matrix_explorer,
    sandbox,
    turn_explorer,
)
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
    assert page.count(SCRIPT.read_text(encoding="utf-8")) == 1
    (name,) = re.findall(r'<div id="([\w-]+)" class="cia-explorer', page)
    assert f'ciaExplorers("{name}")' in page and f'id="{name}-data"' in page
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    return json.loads(text)


def test_scripts_load_nothing():
    text = SCRIPT.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|import\s*\(|fetch\(|XMLHttpRequest|eval\(", text)


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


def test_presets_are_fits_of_the_library():
    data = told(matrix_explorer(["both"], steps=60, seeds=[0]))
    (preset,) = data["presets"]
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
