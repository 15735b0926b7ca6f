"""The page "What we found and why we believe it": its numbers are those of the runs.

Sentences that no maker writes are held to the same runs here.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from ciabook.evidence.beside_paper import mixture_mean, readings
from ciabook.evidence.statistics import placements
from ciabook.evidence.wake import ASLEEP, LEVEL
from ciabook.evidence.whose_turn import RESULT, STUDY, balanced_score, scored
from ciabook.page.front_page import LATE, PAPER, RESULTS
from ciabook.page.story import FIGURES, PAGE, SECTIONS, averages, read, rewritten

from ciacore.runtime.store import WEIGHTS, read_runs
from tests.support.prose import sentences, words

DATA = PAGE.parent / "data"


@pytest.fixture(scope="module")
def facts():
    return read(RESULTS)


def test_the_story_shows_the_results_that_are_there(facts) -> None:
    """`python -m ciabook.page.story` would change nothing in the page."""
    page = PAGE.read_text(encoding="utf-8")
    assert rewritten(page, facts) == page
    assert page.count("<!-- end -->") == len(SECTIONS)


def test_it_has_five_figures_and_800_words() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"```\{figure\} data/(\S+)", page)
    assert shown == ["finding.svg", *FIGURES]
    for name in shown:
        assert 10_000 < (DATA / name).stat().st_size < 300_000
    text = re.sub(r"```\{(figure|admonition)\}.*?\n```\n", "", page, flags=re.DOTALL)
    assert 650 <= sum(map(words, sentences(text))) <= 850
    assert list(SECTIONS) == re.findall(r"<!-- (.*): python", page)


def test_what_the_page_says_in_its_own_words(facts) -> None:
    cia, rs, qmix = (facts.ends[name] for name in ("qmix_cia", "qmix_rs", "qmix"))
    slept = facts.sleeps["qmix"]
    # "means of 38 points for QMIX and 73 for QMIX(CIA)"
    means = [readings(PAPER, method)[LATE].mean for method in ("qmix", "qmix_cia")]
    assert [round(mean) for mean in means] == [38, 73]
    # "no typical team", "our only long one does as well as those of QMIX(CIA)"
    assert qmix[slept].max() < 10 and (qmix[~slept] > 70).tolist() == [True]
    assert not facts.sleeps["qmix_cia"].any() and cia.min() > 70
    # "at least half of their test episodes", "twenty of each"
    assert ASLEEP == 0.5 and {len(s) for s in facts.short.values()} == {20}
    # "not quite shown" of the first twenty, and shown of forty fresh seeds
    assert min(facts.p_values.values()) > LEVEL
    for arm in ("cia", "rs"):
        assert facts.fresh.verdicts[arm, "qmix"] == "beats"
        assert len(facts.fresh.arms[arm].asleep) == 40
    # "wakes as many teams", "not all of their runs are made"
    assert facts.fresh.arms["rs"].asleep.sum() == facts.fresh.arms["cia"].asleep.sum()
    assert facts.fresh.waiting
    # "fit from 1.5 million steps on, and less well before": the paper's mean lies
    # within our band, and our mean within the paper's
    for step, theirs in facts.paper.items():
        mean, band = facts.predicted[step]
        apart = abs(mean - theirs.mean)
        assert (apart <= min(band, theirs.half_width)) == (step >= 1_500_000)
        if step >= 1_500_000:
            assert 0.75 < band / theirs.half_width < 1.35
    # all long teams of QMIX(RS) and VDN are awake, "on average QMIX(CIA) returns more"
    assert not facts.sleeps["qmix_rs"].any() and not facts.sleeps["vdn"].any()
    assert facts.short["qmix_rs_rest"].sum() < 3 and cia.mean() > rs.mean()
    # "three networks against three can show no more than p = .10"
    ways = placements(3, 3)
    assert round(2 * ways[0] / ways.sum(), 2) == 0.10
    # "QMIX follows the turns better", "two of those three slept"
    scores = [[row for row in facts.credits if row["method"] == m] for m in METHODS]
    better, worse = ([row["balanced"] for row in rows] for rows in scores)
    assert len(better) == len(worse) == 3 and min(better) > max(worse)
    assert sum(row["asleep"] for row in scores[0]) == 2
    # "makes credits more distinct"
    apart = averages(facts.credits, "told apart")
    assert apart["qmix_cia"] > apart["qmix"]
    # "which is near chance"
    near = averages(facts.short_credits, "told apart")["qmix_rs_rest"]
    assert abs(near - 0.5) < 0.05


METHODS = ("qmix", "qmix_cia")


# whose turn


def test_a_fixed_preference_scores_one_half() -> None:
    constant = torch.tensor([2.0, 1.0]).expand(1, 100, 2)
    free = (torch.arange(100) >= 70).long().unsqueeze(0)
    assert balanced_score(constant, free) == 0.5
    follows = 1.0 + torch.nn.functional.one_hot(free, 2)
    assert balanced_score(follows, free) == 1.0
    assert balanced_score(torch.ones(1, 100, 2), free) == 0.0


def test_the_scores_are_those_of_the_published_networks() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    runs = read_runs(STUDY, "turn", METHODS)
    kept = [run for group in runs.values() for run in group if run.weights]
    published = [run.provenance["sha256"][WEIGHTS] for run in kept]
    assert [row["weights"] for row in rows] == published


def test_networks_can_be_scored_again() -> None:
    """On fewer episodes, and so not the same number."""
    runs = [run for run in read_runs(STUDY, "turn", ["qmix"])["qmix"] if run.weights]
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    for again, row in zip(scored(runs[:2], episodes=8), rows[:2], strict=True):
        assert again["asleep"] == row["asleep"]
        assert np.isclose(again["balanced"], row["balanced"], atol=0.1)


def test_the_table_of_claims_counts_the_same_teams(facts) -> None:
    page = (PAGE.parent / "claims.md").read_text(encoding="utf-8")
    counts = {
        name: facts.fresh.arms[name].asleep.sum() for name in ("qmix", "cia", "rs")
    }
    assert (
        f"On forty fresh seeds {counts['qmix']} teams sleep with QMIX and "
        f"{counts['cia']} with QMIX(CIA)"
    ) in page
    assert f"has {counts['rs']} of 40 asleep as well" in page
    counts |= {name: facts.fresh.arms[name].asleep.sum() for name in ("scale", "noise")}
    assert f"has {counts['scale']} of 40 asleep, and noise as large as" in page
    assert f"CIA's gradient {counts['noise']} of 40" in page
    permuted = facts.fresh.arms["permuted"].asleep.sum()
    assert f"permuted in every batch CIA leaves {permuted} of 40 asleep" in page
    held = {arm: sleeps.sum() for arm, sleeps in facts.given.asleep.items()}
    assert f"Of twenty fresh teams of QMIX {held['qmix']} sleep, and none" in page
    assert held["fed"] == held["cia"] == 0 and held["starved"] == 20
    assert facts.fresh.verdicts["cia", "permuted"] == "beats"
    # "larger credits are enough", "does as well", "does nothing"
    assert facts.fresh.verdicts["cia", "scale"] == "equal"
    assert facts.fresh.verdicts["scale", "qmix"] == "beats"
    assert facts.fresh.verdicts["noise", "qmix"] == "equal"
    slides = (PAGE.parent / "slides.md").read_text(encoding="utf-8")
    assert (
        f"{counts['qmix']} teams of QMIX sleep, {counts['cia']} of QMIX(CIA) and "
        f"{counts['rs']} of QMIX(RS)"
    ) in slides
    mean, band = facts.predicted[LATE]
    theirs = facts.paper[LATE]
    assert f"±{band:.1f} against ±{theirs.half_width:.1f}" in page
    assert round(abs(mean - theirs.mean)) < band
    share = facts.fresh.arms["qmix"].asleep.mean()
    fresh = mixture_mean(share, *facts.kinds)
    told = f"share of our forty fresh seeds, {100 * share:.0f} %, would give"
    assert f"{told} {fresh:.0f}." in page
