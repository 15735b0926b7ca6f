"""Verdicts of the showcases, tables of the two-step game, and the explorer of it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ciabook.evidence.showcases import (
    CLAIMS,
    FAILS,
    FINDS,
    MISSES,
    PASSES,
    UNDECIDED,
    WAITS,
    best_sum,
    final_return,
    matrix_word,
    runs_of,
    table_verdict,
    verdict,
)
from ciabook.evidence.two_step_fit import snapshot, targets, watch, watch_best
from ciabook.evidence.two_step_tables import (
    FILE,
    every_episode,
    learned_tables,
)
from ciabook.page.explorers import SCRIPTS
from ciabook.page.two_step_explorer import two_step_explorer
from ciabook.studies.study import ROOT, find, place_of
from support.runs import made_up

from ciacore import METHODS
from ciacore.games import TwoStep
from ciacore.games.two_step import FIRST, PAYOFFS, RISKY, SAFE
from ciacore.methods import assemble
from ciacore.runtime.evaluation import Team
from ciacore.types import InvalidInputError

CLAIM = {(claim.game, claim.method): claim for claim in CLAIMS}
RULE = (ROOT / "book" / "rules" / "showcases.md").read_text()
RESULTS = ROOT / "book" / "results" / "showcases"


def ended_at(*returns: float):
    """A run with these mean returns, evaluation after evaluation."""
    metrics = {"episode_return": [[value - 1, value + 1] for value in returns]}
    return made_up()._replace(metrics=metrics)


# ----------------------------------------------------------------------------- verdicts


def test_a_final_return_is_the_mean_of_the_last_quarter():
    assert final_return(ended_at(1, 2, 3, 4, 5, 6, 7, 10)) == 8.5
    assert final_return(ended_at(1, 2, 3, 4, 6)) == 5  # two of five
    assert final_return(ended_at(3)) == 3


@pytest.mark.parametrize(
    ("game", "method", "returns", "word"),
    [
        ("two_step", "vdn", [7, 7, 7, 7, 8], PASSES),
        ("two_step", "vdn", [7, 7, 7, 8, 8], FAILS),
        ("two_step", "vdn", [7, 7, 7, 7], WAITS),
        ("two_step", "vdn", [], WAITS),
        ("two_step", "qmix", [8, 8, 8, 8, 7], PASSES),
        ("two_step", "qmix", [8, 8, 8, 7.5, 7.5], FAILS),
        ("m_step", "maven", [13, 13, 13, 10, 10], PASSES),
        ("m_step", "maven", [13, 13, 12, 10, 10], FAILS),
        ("m_step", "qmix", [10, 10, 10, 13, 13], PASSES),
        ("m_step", "qmix", [10, 10, 13, 13, 13], FAILS),
        ("predator_prey", "qtran", [20, 30, 0], PASSES),
        ("predator_prey", "qplex", [19.9, 30, 0], FAILS),
        ("predator_prey", "ow_qmix", [30, 30], WAITS),
        ("predator_prey", "vdn", [0, 5, 30], PASSES),
        ("predator_prey", "qmix", [0, 5.1, 30], FAILS),
    ],
)
def test_verdicts_by_the_rule(game, method, returns, word):
    returns = [float(value) for value in returns]
    assert verdict(CLAIM[game, method], returns) == word


def test_returns_of_other_seeds_are_refused():
    with pytest.raises(InvalidInputError, match="returns: expected at most 3, got 4"):
        verdict(CLAIM["predator_prey", "qmix"], [0.0] * 4)


def test_the_best_sum_and_what_is_near_to_it():
    risky = np.array(PAYOFFS[RISKY], float)
    by_hand = np.array([[-1.5, 2.5], [2.5, 6.5]])
    assert np.array_equal(best_sum(risky), by_hand)
    # no other sum is nearer
    rng = np.random.default_rng(0)
    least = np.square(by_hand - risky).mean()
    for _ in range(100):
        other = by_hand + rng.normal(size=(2, 1)) + rng.normal(size=2)
        assert np.square(other - risky).mean() >= least
    assert table_verdict([by_hand + 0.6, by_hand - 0.2], by_hand, 2) == PASSES
    off = by_hand.copy()
    off[1, 1] += 0.6
    assert table_verdict([off, off], by_hand, 2) == FAILS
    assert table_verdict([by_hand], by_hand, 2) == WAITS


@pytest.mark.parametrize(
    ("right", "word"),
    [(5, FINDS), (4, FINDS), (3, UNDECIDED), (2, UNDECIDED), (1, MISSES), (0, MISSES)],
)
def test_words_for_a_matrix_game(right, word):
    assert matrix_word([True] * right + [False] * (5 - right)) == word
    with pytest.raises(InvalidInputError, match="right: expected five starts, got 4"):
        matrix_word([True] * 4)


# --------------------------------------------------------------------- runs of the rule


def test_every_claim_has_its_runs_in_a_study():
    entries = [*find("showcases_tiny"), *find("showcases_prey")]
    held = {}
    for entry in entries:
        name = entry.config.method.removesuffix("_showcase")
        held.setdefault((entry.game, name), []).append(entry.seed)
    assert set(held) == set(CLAIM)
    for place, seeds in held.items():
        assert seeds == [*range(301, 301 + CLAIM[place].seeds)]
    assert place_of("showcases_tiny") == place_of("showcases_prey") == RESULTS


def test_runs_are_as_long_as_the_rule_says():
    for game, title in (
        ("two_step", "The two-step game"),
        ("m_step", "The m-step game"),
        ("predator_prey", "Predator-prey"),
    ):
        section = RULE.split(f"## {title}")[1].split("\n## ")[0].replace("\n", " ")
        (steps,) = {
            entry.config.env_steps
            for study in ("showcases_tiny", "showcases_prey")
            for entry in find(study)
            if entry.game == game
        }
        runs = section.split("**Runs.**")[1].split("**Rule.**")[0]
        assert f"{steps:,} steps" in runs, game


def test_runs_that_are_not_there_are_none(tmp_path):
    assert all(runs_of(claim, tmp_path) == [] for claim in CLAIMS)


def test_published_runs_are_those_of_the_rule():
    """Their seeds, in order; and the tables are those of the very same networks."""
    hashes = {}
    for claim in CLAIMS:
        runs = runs_of(claim, RESULTS)
        assert [run.seed for run in runs] == sorted({run.seed for run in runs})
        for run in runs:
            assert 301 <= run.seed < 301 + claim.seeds
            seal = run.provenance
            weights = (
                seal.get("weights_dropped") or seal["sha256"]["weights.safetensors"]
            )
            hashes[run.game, run.config.method, run.seed] = weights
    tables = json.loads(FILE.read_text()) if FILE.exists() else []
    measured = {("two_step", each["method"], each["seed"]): each for each in tables}
    assert set(measured) == {place for place in hashes if place[0] == "two_step"}
    for place, each in measured.items():
        assert each["weights"] == hashes[place]
        assert np.shape(each["tables"]) == (3, 2, 2)


# -------------------------------------------------------------- tables of trained teams


def test_every_episode_of_the_two_step_game_is_there_once():
    episodes = every_episode(TwoStep())
    joint = {tuple(actions.flatten().tolist()) for actions in episodes.actions}
    assert len(joint) == len(episodes.actions) == 16
    for actions, rewards in zip(episodes.actions, episodes.rewards, strict=True):
        place = RISKY if actions[0, 0] == 1 else SAFE
        assert rewards.tolist() == [0, PAYOFFS[place][actions[1, 0]][actions[1, 1]]]
    assert (episodes.states[:, 0].argmax(-1) == FIRST).all()
    assert (episodes.discounts[:, 1] == 0).all()


def a_team(method: str) -> Team:
    torch.manual_seed(3)
    config = METHODS[method]
    return Team(method, config, assemble(TwoStep().spec, config))


def test_tables_of_a_team_whose_utilities_are_known():
    """An agent that is nothing but its last bias: 0.5 for action 0, 2 for action 1."""
    team = a_team("vdn")
    with torch.no_grad():
        for parameter in team.parts.agent.parameters():
            parameter.zero_()
        last = [p for p in team.parts.agent.parameters() if p.shape == (2,)]
        assert len(last) == 1
        last[0].copy_(torch.tensor([0.5, 2.0]))
    expected = torch.tensor([[1.0, 2.5], [2.5, 4.0]]).expand(3, 2, 2)
    torch.testing.assert_close(learned_tables(team, TwoStep()), expected)


def test_a_sum_has_no_interaction_and_qmix_has_one():
    def interaction(tables):
        return tables[:, 0, 0] + tables[:, 1, 1] - tables[:, 0, 1] - tables[:, 1, 0]

    summed = interaction(learned_tables(a_team("vdn"), TwoStep()))
    mixed = interaction(learned_tables(a_team("qmix"), TwoStep()))
    assert summed.abs().max() < 1e-6 < 1e-5 < mixed.abs().max()


# -------------------------------------------------------------------- fits and explorer


def test_what_is_fitted_is_the_payoff_and_what_follows():
    tables = torch.arange(12.0).view(3, 2, 2)
    values = torch.zeros(3, 2, 2)
    values[SAFE, 0, 1] = values[RISKY, 1, 1] = 1.0  # greedy: (1, 0), (0, 1)
    payoffs = torch.tensor([PAYOFFS[place] for place in range(3)]).float()
    ahead = targets(tables, values, payoffs)
    first = 0.99 * torch.tensor([[6.0, 6.0], [9.0, 9.0]])
    torch.testing.assert_close(ahead[FIRST], first)
    assert torch.equal(ahead[1:], payoffs[1:])
    values[FIRST, 0, 1] = 1.0  # agent 0 leads to the risky table
    held = snapshot(4, tables, values, payoffs)
    assert held.step == 4 and held.earns == PAYOFFS[RISKY][0][1]


def test_vdn_and_qmix_fit_as_the_paper_says():
    ends = {}
    for safe in (7.0, 6.0):
        *_, ends["vdn", safe] = watch("vdn", safe, steps=300, every=300)
    *_, ends["qmix", 7.0] = watch_best("qmix", 7.0, [1], steps=120, every=120)
    by_hand = torch.tensor([[-1.5, 2.5], [2.5, 6.5]])
    vdn, qmix = ends["vdn", 7.0], ends["qmix", 7.0]
    torch.testing.assert_close(vdn.tables[RISKY], by_hand, rtol=0, atol=0.02)
    first = 0.99 * torch.tensor([[7.0, 7.0], [6.5, 6.5]])
    torch.testing.assert_close(vdn.tables[FIRST], first, rtol=0, atol=0.02)
    assert (vdn.earns, ends["vdn", 6.0].earns, qmix.earns) == (7, 8, 8)
    risky = torch.tensor(PAYOFFS[RISKY]).float()
    torch.testing.assert_close(qmix.tables[RISKY], risky, rtol=0, atol=1.0)
    with pytest.raises(InvalidInputError, match="steps: expected a multiple of 7"):
        watch("vdn", steps=10, every=7)


def test_the_explorer_shows_the_fits():
    explorer = two_step_explorer([6.0], [0], steps=20, every=10)
    page = explorer._repr_html_()
    for file in ("explorers.js", "two_step.js"):
        assert page.count((SCRIPTS / file).read_text(encoding="utf-8")) == 1
    (text,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    data = json.loads(text)
    (game,) = data["games"]
    assert game["safe"] == 6 and game["payoffs"][SAFE] == [[6, 6], [6, 6]]
    assert game["payoffs"][RISKY] == PAYOFFS[RISKY] and data["every"] == 10
    for fit, method in zip(game["fits"], ("vdn", "qmix"), strict=True):
        found = watch(method, 6.0, steps=20, every=10)
        assert fit["name"] == method.upper()
        assert fit["earns"] == [each.earns for each in found]
        assert fit["greedy"] == [each.greedy.tolist() for each in found]
        tables = torch.stack([each.tables for each in found])
        shown = torch.tensor(fit["tables"])
        torch.testing.assert_close(shown, tables, rtol=0, atol=0.006)


def test_its_script_loads_nothing():
    text = (SCRIPTS / "two_step.js").read_text(encoding="utf-8")
    assert not re.search(r"https?:|import\s*\(|fetch\(|XMLHttpRequest|eval\(", text)


@pytest.mark.browser
def test_the_explorer_comes_alive_in_a_browser(tmp_path: Path):
    """It draws itself, and a key steps to the next picture."""
    explorer = two_step_explorer([7.0, 6.0], [0], steps=20, every=10)
    key = (
        "<script>document.querySelector('.cia-explorer').dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'End' }));</script>"
    )
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><body>{explorer._repr_html_()}{key}</body>")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path}/user"]
    command += ["--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "Uncaught" not in done.stderr, done.stderr
    assert 'data-step="2"' in done.stdout
    (earned,) = re.findall(r"after 20 gradient steps: ([^<]+)<", done.stdout)
    fits = explorer.data["games"][0]["fits"]
    expected = [f"{fit['name']} earns {fit['earns'][-1]:.0f}" for fit in fits]
    assert earned == ", ".join(expected)
    assert done.stdout.count("<caption>risky table</caption>") == 2
    assert "safe table pays 6" in done.stdout
