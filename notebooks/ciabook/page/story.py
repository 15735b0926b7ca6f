"""The page "What we found and why we believe it", from the run folders.

python -m ciabook.page.story
    rewrites the numbers in book/story.md, and in book/data story_sleepers.svg,
    story_mixture.svg, story_credits.svg and story_own_turn.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from ciabook.evidence import own_turn
from ciabook.evidence.beside_paper import (
    Reading,
    mixture_band,
    mixture_mean,
    readings,
)
from ciabook.evidence.early_credits import RESULT as EARLY_CREDITS
from ciabook.evidence.final_returns import (
    GROUP,
    final_returns,
    returns_at_two_million,
)
from ciabook.evidence.statistics import holm
from ciabook.evidence.wake import LEVEL, Comparison, asleep, compare
from ciabook.evidence.wake_outcome import (
    NAMES,
    Outcome,
    committed_checks,
    name_of_test,
    outcome,
)
from ciabook.evidence.whose_turn import RESULT
from ciabook.page.front_page import EARLY, LATE, PAPER, RESULTS, ROOT, SHORT
from ciabook.page.plots import colour_of, label_of, name_lines, style
from ciabook.studies.own_turn import OWN_TURN_SEEDS
from ciabook.studies.wake import WAKE_SEEDS
from ciacore.runtime.files import opened_whole, write_whole
from ciacore.runtime.store import Run, read_runs

PAGE = ROOT / "book" / "story.md"
FULL = ("qmix", "qmix_rs", "qmix_cia")  # of the paper's length
SEEDS = 5  # behind a mean of the paper
CAUSE = "cause.json"  # in the folder of results: credits of the short runs
# arms with forty fresh seeds that are drawn, as soon as they are read, each as a method
DRAWN = {"qmix": "qmix", "cc": "qmix_cc", "rs": "qmix_rs", "cia": "qmix_cia"}
# the arms of *Why does a team sleep?*, as the figure calls them
POINT = {"markersize": 8, "linestyle": "", "markeredgewidth": 1.5}
LOOKS = {  # whether a team is asleep -> its mark
    True: {"marker": "s", "markerfacecolor": "white"},
    False: {"marker": "o"},
}


class Facts(NamedTuple):
    """What the page's sentences and figures are made of."""

    full: dict[str, list[Run]]  # method -> runs of the paper's length
    ends: dict[str, Float[np.ndarray, "seeds"]]  # of these, at two million steps
    sleeps: dict[str, Bool[np.ndarray, "seeds"]]  # of the same runs
    short: dict[str, Bool[np.ndarray, "seeds"]]  # method -> sleepers of 20 short runs
    fresh: Outcome  # forty fresh seeds, by the rule that came first
    pairs: dict[str, Comparison]  # QMIX(CIA) against each, seed by seed
    p_values: dict[str, float]  # of the pairs, corrected by Holm
    paper: dict[int, Reading]  # its points for QMIX, by env steps
    predicted: dict[int, tuple[float, float]]  # QMIX's mean and band by the two kinds
    kinds: tuple[float, float]  # what sleepers and the others return at two million
    credits: list[dict[str, Any]]  # a row per network of the paper's length
    short_credits: list[dict[str, Any]]  # a row per network of the short runs
    early: list[dict[str, Any]]  # a row per network of QMIX at 30,000 steps
    given: own_turn.Outcome  # teams whose credits were held


def read(results: Path) -> Facts:
    """Everything the page needs, from stored runs only.

    Args:
        results: the folder of all results.
    """
    full = read_runs(results / "study", "turn", [*FULL, "vdn"])
    sleeps = {name: asleep(runs, at=EARLY) for name, runs in full.items()}
    runs = read_runs(results / "study", "turn", SHORT)
    short = {name: asleep(group, at=EARLY) for name, group in runs.items()}
    pairs = {
        other: compare(short["qmix_cia_rest"], short[other])
        for other in ("qmix_rest", "qmix_cc_rest")
    }
    share = float(short["qmix_rest"].mean())
    every = [*full["qmix"], *full["qmix_cia"]]
    sleepers = np.concatenate([sleeps["qmix"], sleeps["qmix_cia"]])
    paper = readings(PAPER, "qmix")
    predicted, kinds = {}, (np.nan, np.nan)
    for step in paper:
        returns = final_returns(every, GROUP, at=step)
        slept, woke = returns[sleepers].mean(), returns[~sleepers].mean()
        mean = mixture_mean(share, slept, woke)
        # five teams cannot be half asleep: two or three of them are
        predicted[step] = (mean, mixture_band(2 / SEEDS, woke, slept, SEEDS))
        if step == LATE:
            kinds = (float(slept), float(woke))
    return Facts(
        full=full,
        ends={name: returns_at_two_million(group) for name, group in full.items()},
        sleeps=sleeps,
        short=short,
        fresh=outcome(results / "wake", committed_checks()),
        pairs=pairs,
        p_values=holm({name: found.p_value for name, found in pairs.items()}),
        paper=paper,
        predicted=predicted,
        kinds=kinds,
        credits=rows_of(results / RESULT.name),
        short_credits=rows_of(results / CAUSE),
        early=rows_of(results / EARLY_CREDITS.name),
        given=own_turn.outcome(
            results / "own_turn", own_turn.read_checks(own_turn.CHECKS)
        ),
    )


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of measured networks.

    Args:
        path: of a JSON file.
    """
    return json.loads(path.read_text(encoding="utf-8"))["rows"]


def averages(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """The mean of a measure by method.

    Args:
        rows: one per network.
        name: of the measure.
    """
    found = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        values = [row[name] for row in rows if row["method"] == method]
        found[method] = float(np.mean(values))
    return found


# --------------------------------------------------------------------------------
# sentences


def two_kinds(facts: Facts) -> str:
    """What full-length teams of QMIX and of QMIX(CIA) return at two million steps."""
    slept, ends = facts.sleeps["qmix"], facts.ends
    awake_ends = ends["qmix"][~slept]
    cia = ends["qmix_cia"]
    return (
        f"We trained {len(cia)} teams of each method. At two million steps all of "
        f"QMIX(CIA) return between {cia.min():.0f} and {cia.max():.0f} points. Of QMIX "
        f"{len(awake_ends)} of {len(slept)} returns {awake_ends.mean():.0f}. The other "
        f"{slept.sum()} return between {ends['qmix'][slept].min():z.0f} and "
        f"{ends['qmix'][slept].max():.0f}.\n"
    )


def how_often(facts: Facts) -> str:
    """How many of the short runs sleep: twenty first, then forty fresh ones."""
    few = {name: facts.short[name].sum() for name in ("qmix_rest", "qmix_cia_rest")}
    number, p = len(facts.short["qmix_rest"]), facts.p_values["qmix_rest"]
    verdict = "shown" if p <= LEVEL else "not quite shown"
    arms = facts.fresh.arms
    qmix, cia = arms["qmix"].asleep, arms["cia"].asleep
    pair = facts.fresh.comparisons["cia", "qmix"]
    corrected = facts.fresh.corrected[name_of_test("cia", "qmix")]
    return (
        f"Of {number} teams each, {few['qmix_rest']} of QMIX slept and "
        f"{few['qmix_cia_rest']} of QMIX(CIA), {verdict} (paired, corrected: p = "
        f"{p:.3f}). So we fixed a rule. **Of {len(qmix)} fresh seeds {qmix.sum()} "
        f"teams of QMIX sleep, and {cia.sum()} of QMIX(CIA).** On {pair.only_theirs} "
        f"seeds only QMIX sleeps, on {pair.only_ours or 'none'} only QMIX(CIA). "
        f"Corrected for all {len(facts.fresh.corrected)} tests, "
        f"{probability(corrected)}.\n"
    )


def probability(p: float) -> str:
    """A p-value in a sentence."""
    return "p is below 0.001" if p < 0.001 else f"p is {p:.3f}"


def mixture(facts: Facts) -> str:
    """What half of the teams asleep would give, beside the paper."""
    theirs, (mean, band) = facts.paper[LATE], facts.predicted[LATE]
    share = facts.short["qmix_rest"].mean()
    later = facts.fresh.arms["qmix"].asleep.mean()
    return (
        f"Let {100 * share:.0f} % of the teams sleep, as in our first twenty, and let "
        f"each kind earn what it does in our long runs. At two million steps QMIX then "
        f"has {mean:.1f} points. Half of such means over {SEEDS} seeds lie within "
        f"±{band:.1f}. The paper has {theirs.mean:.1f} ± {theirs.half_width:.1f}. With "
        f"the {100 * later:.0f} % of the forty the mean is "
        f"{mixture_mean(later, *facts.kinds):.0f}.\n"
    )


def whose_turn(facts: Facts) -> str:
    """Whether trained credits follow the turns, and whether they are told apart."""
    score = averages(facts.credits, "balanced")
    apart = averages(facts.credits, "told apart")
    return (
        f"The free agent has the larger credit at {100 * score['qmix']:.0f} % of steps "
        f"with QMIX and at {100 * score['qmix_cia']:.0f} % with QMIX(CIA); chance is "
        "50 %. Credits of QMIX(CIA) are told apart more "
        f"often: {apart['qmix_cia']:.2f} against {apart['qmix']:.2f}.\n"
    )


def shuffled(facts: Facts) -> str:
    """What becomes of teams whose credits are alike."""
    apart = averages(facts.short_credits, "told apart")
    rs, vdn = facts.fresh.arms["rs"].asleep, facts.sleeps["vdn"]
    return (
        f"After short runs they are told apart {apart['qmix_rs_rest']:.2f} of the "
        f"time, near chance; QMIX's {apart['qmix_rest']:.2f}. Yet "
        f"only **{rs.sum()} of {len(rs)} teams of QMIX(RS) sleep**. VDN's credits are "
        f"all 1, and {vdn.sum()} of its {len(vdn)} teams sleep.\n"
    )


def controls(facts: Facts) -> str:
    """What two controls show: larger credits, and a disturbance."""
    scale, noise = (facts.fresh.arms[name].asleep for name in ("scale", "noise"))
    return (
        "Making only the average credit as large as CIA's does as well: "
        f"**{scale.sum()} of {len(scale)} teams sleep**. Noise as large as CIA's "
        f"gradient does nothing: {noise.sum()} sleep.\n"
    )


def own_turn_credits(facts: Facts) -> tuple[list[float], list[float]]:
    """Agent 1's credit in its own turn at 30,000 steps, of each team.

    Args:
        facts: what the page is made of.

    Returns:
        Of the teams that will sleep, and of those that will wake.
    """
    found: tuple[list[float], list[float]] = ([], [])
    for row in facts.early:
        found[not row["asleep"]].append(row["credits"][1][1])
    return found


def second_agent(facts: Facts) -> str:
    """What the second agent's credit foretells."""
    sleepers, others = own_turn_credits(facts)
    order = ""
    if max(sleepers) < min(others):
        line = (max(sleepers) + min(others)) / 2
        order = f"All teams below {line:.2f} sleep later, and all above it wake."
    return (
        f"In its own turn agent 1's credit is then {np.median(sleepers):.1f} in the "
        f"median team that will sleep, and {np.median(others):.1f} in one that will "
        f"wake. {order}\n"
    )


def given(facts: Facts) -> str:
    """What becomes of teams that are given that credit, or robbed of it."""
    words = own_turn.answer(facts.given, facts.early)
    return f"{words[1]} {words[2]}\n"


SECTIONS: dict[str, Callable[[Facts], str]] = {
    "two kinds": two_kinds,
    "how often": how_often,
    "mixture": mixture,
    "whose turn": whose_turn,
    "shuffled": shuffled,
    "second agent": second_agent,
    "given": given,
    "controls": controls,
}


def rewritten(page: str, facts: Facts) -> str:
    """book/story.md with fresh numbers.

    Args:
        page: the text as it is.
        facts: what the sentences are made of.
    """
    for name, told in SECTIONS.items():
        begin, end = f"<!-- {name}: python -m ciabook.page.story -->\n", "<!-- end -->"
        before, rest = page.split(begin)
        _, after = rest.split(end, 1)
        page = f"{before}{begin}{told(facts)}{end}{after}"
    return page


# --------------------------------------------------------------------------------
# figures


def draw_sleepers(facts: Facts) -> Figure:
    """One mark per fresh short run, seed below seed."""
    arms = facts.fresh.arms
    shown = [name for name in DRAWN if arms[name].state == "read"]
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(shown) + 0.7))
    for height, name in enumerate(shown):
        arm, colour = arms[name], colour_of(DRAWN[name])
        for run, sleeps in zip(arm.runs, arm.asleep, strict=True):
            look = {**POINT, "markersize": 5} | LOOKS[bool(sleeps)]
            axis.plot(run.seed, height, color=colour, **look)
        told = f"{arm.asleep.sum()} of {len(arm.asleep)} asleep"
        right = {"transform": axis.get_yaxis_transform(), "va": "center", "size": 10}
        axis.text(1.02, height, told, color=colour, **right)
    names = [NAMES[name] for name in shown]
    axis.set(yticks=range(len(shown)), yticklabels=names, xlabel="seed")
    axis.set(xlim=(WAKE_SEEDS[0] - 1, WAKE_SEEDS[-1] + 1))
    axis.set(xticks=WAKE_SEEDS[::13], ylim=(len(shown) - 0.5, -0.5))
    axis.grid(visible=False)
    return figure


def draw_mixture(facts: Facts) -> Figure:
    """The paper's points for QMIX, and what two kinds of teams would give."""
    figure, axis = plt.subplots(figsize=(7, 3.4))
    steps = np.array([*facts.paper]) / 1e6
    theirs = [(found.mean, found.half_width) for found in facts.paper.values()]
    marks = {"linestyle": "", "capsize": 4, "markersize": 7, "markeredgewidth": 1.5}
    # a little aside, so that neither covers the other
    for points, aside, marker, colour in (
        (theirs, -0.012, "s", "0.2"),
        ([*facts.predicted.values()], 0.012, "o", colour_of("qmix")),
    ):
        middle, half = np.array(points).T
        look = {"marker": marker, "color": colour, "markerfacecolor": "white", **marks}
        axis.errorbar(steps + aside, middle, yerr=half, **look)
    axis.set(xlabel="environment steps (millions)", ylabel="mean greedy return")
    axis.set(xlim=(0.15, 2.06), title="QMIX on Turn")
    last = theirs[-1][0], facts.predicted[max(facts.predicted)][0]
    names = ["the paper", "predicted from\ntwo kinds"]
    heights = last[0] - 5, last[1] + 5
    name_lines(axis, names, heights, ["0.2", colour_of("qmix")], size=10)
    return figure


def draw_credits(facts: Facts) -> Figure:
    """Two scores of every network: do credits follow turns, are they told apart."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.3), sharey=True)
    methods = [*dict.fromkeys(row["method"] for row in facts.credits)]
    titles = {
        "balanced": "larger credit for the free agent",
        "told apart": "credits told apart",
    }
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for row in facts.credits:
            look = LOOKS[row["asleep"]] | POINT
            height = methods.index(row["method"])
            axis.plot(row[name], height, color=colour_of(row["method"]), **look)
        axis.axvline(0.5, color="0.3", linestyle=":", linewidth=1)
        axis.text(0.51, -0.42, "chance", fontsize=9, color="0.3", va="center")
        axis.set(xlim=(0.45, 1.02), ylim=(len(methods) - 0.5, -0.6))
        axis.set_title(title, fontsize=11)
        axis.grid(visible=False)
    axes[0].set(yticks=range(len(methods)), yticklabels=map(label_of, methods))
    return figure


def draw_own_turn(facts: Facts) -> Figure:
    """Agent 1's credit in its own turn, and teams that were given it or lost it."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.5, 3), width_ratios=(1, 2.2), layout="constrained"
    )
    draws = np.random.default_rng(0)
    for place, values in enumerate(own_turn_credits(facts)):
        look = POINT | LOOKS[place == 0] | {"markersize": 5, "color": colour_of("qmix")}
        left.plot(place + draws.uniform(-0.2, 0.2, len(values)), values, **look)
    left.set(yscale="log", yticks=[0.3, 1, 3], yticklabels=["0.3", "1", "3"])
    left.minorticks_off()
    left.set(xticks=[0, 1], xticklabels=["sleeps", "wakes"], xlim=(-0.5, 1.5))
    left.set(
        ylabel="credit of agent 1\nin its own turn", xlabel="what the team will do"
    )
    left.grid(visible=False, axis="x")
    shown = [name for name in own_turn.NAMES if name in facts.given.asleep]
    for height, name in enumerate(shown):
        colour = colour_of("qmix_cia" if name in ("cia", "starved") else "qmix")
        sleeps = facts.given.asleep[name]
        for seed, yes in zip(OWN_TURN_SEEDS, sleeps, strict=True):
            look = {**POINT, "markersize": 5, "color": colour} | LOOKS[bool(yes)]
            right.plot(seed, height, **look)
        told = f"{sleeps.sum()} of {len(sleeps)} asleep"
        beside = {"transform": right.get_yaxis_transform(), "va": "center", "size": 10}
        right.text(1.02, height, told, color=colour, **beside)
    right.set(
        yticks=range(len(shown)), yticklabels=[own_turn.TOLD[name] for name in shown]
    )
    right.set(xlabel="seed", xticks=OWN_TURN_SEEDS[::19])
    right.set(ylim=(len(shown) - 0.5, -0.5))
    right.grid(visible=False)
    return figure


FIGURES: dict[str, Callable[[Facts], Figure]] = {
    "story_sleepers.svg": draw_sleepers,
    "story_mixture.svg": draw_mixture,
    "story_credits.svg": draw_credits,
    "story_own_turn.svg": draw_own_turn,
}


def save(path: Path, figure: Figure) -> None:
    """Writes a figure, always the same file for the same runs.

    Args:
        path: of the file, SVG or PNG by its suffix.
        figure: is closed.
    """
    kind = path.suffix.removeprefix(".")
    facts = {"Date": None} if kind == "svg" else {"Software": None}
    with opened_whole(path) as file:
        figure.savefig(file, format=kind, metadata=facts, dpi=150)
    plt.close(figure)


def main() -> int:
    """Rewrites the page's numbers and figures; returns the exit code."""
    style()
    matplotlib.rcParams |= {"svg.hashsalt": "ciabook", "svg.fonttype": "path"}
    facts = read(RESULTS)
    write_whole(PAGE, rewritten(PAGE.read_text(encoding="utf-8"), facts))
    for name, draw in FIGURES.items():
        save(PAGE.parent / "data" / name, draw(facts))
    print(f"{PAGE}: {len(SECTIONS)} paragraphs, {len(FIGURES)} figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
