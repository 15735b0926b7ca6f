"""What the front page shows of the results, from the run folders.

python -m ciabook.page.front_page
    rewrites README.md, book/intro.md, and in book/data finding.svg, preview.png and
    board.html
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from ciabook.evidence.beside_paper import (
    Beside,
    beside,
    mixture_band,
    mixture_mean,
    readings,
)
from ciabook.evidence.final_returns import TWO_MILLION, returns_at_two_million
from ciabook.evidence.statistics import holm
from ciabook.evidence.wake import LEVEL, asleep, compare
from ciabook.page.explorers import turn_loop
from ciabook.page.plots import colour_of, name_lines, seed_lines, style
from ciabook.turn.scripted_players import FullInformation, trace
from ciacore.games import Turn
from ciacore.runtime.evaluation import CPU, load_networks
from ciacore.runtime.files import opened_whole, write_whole
from ciacore.runtime.store import read_runs
from ciacore.training import generators

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "book" / "results"
FIGURE = ROOT / "book" / "data" / "finding.svg"
PREVIEW = FIGURE.with_name("preview.png")  # what a link to the book shows
BOARD = FIGURE.with_name("board.html")  # Turn, which plays by itself
PAPER = ROOT / "book" / "data" / "paper_figure4b.json"
PAIR = {"qmix": "QMIX", "qmix_cia": "QMIX(CIA)"}
SHORT = {
    "qmix_rest": "QMIX",
    "qmix_cc_rest": "QMIX(CC)",
    "qmix_rs_rest": "QMIX(RS)",
    "qmix_cia_rest": "QMIX(CIA)",
}
EARLY = 200_000  # env steps at which a team is called asleep or awake
LATE = TWO_MILLION  # the last env steps that the paper's figure was read at
BEGIN = "<!-- results: python -m ciabook.page.front_page -->\n"
END = "<!-- end of results -->\n"
# what the verdict on a mean says of it
OUTCOMES = {
    "agrees": "comes out again",
    "differs": "does not come out again",
    "cannot tell": "is left open by so few seeds",
}
PICTURE = (
    "![Learning curves on Turn, one line per seed of QMIX and of QMIX(CIA)]"
    "(book/data/finding.svg)\n"
)


def finding(results: Path) -> str:
    """What holds of the paper's first claim, with numbers."""
    runs = read_runs(results / "study", "turn", PAIR)
    shown = {method: beside(runs[method], PAPER, method) for method in PAIR}
    step = max(shown["qmix"])
    at_the_end = {method: shown[method][step] for method in PAIR}
    told = []
    for method, name in PAIR.items():
        told.append(f"{name} {as_told(at_the_end[method])}")
    first = " and ".join(
        f"the mean of {name} {OUTCOMES[at_the_end[method].verdict]}"
        for method, name in PAIR.items()
    )
    first = f"Of the paper's Figure 4(b), {first}."
    return f"{first} After {step / 1e6:.0f} million steps on Turn: {'; '.join(told)}.\n"


def as_told(found: Beside) -> str:
    """Our mean and the paper's in half a sentence."""
    ours, theirs = found.ours, found.paper
    words = f"{found.verdict} within {found.margin:.0f} points"
    if found.verdict != "agrees":
        words = "no difference that so few seeds could show"
        if found.verdict == "differs":
            words = "more than chance"
    return (
        f"{ours.mean:.1f} ({ours.runs} seeds; the paper {theirs.mean:.1f}; "
        f"z = {found.test.t:.1f}, {words})"
    )


def sleeping(results: Path) -> str:
    """Which teams the means are made of, and how often a team falls asleep."""
    short = read_runs(results / "study", "turn", SHORT)
    shown = {method: asleep(short[method], at=EARLY) for method in SHORT}
    told = []
    for method, name in SHORT.items():
        told.append(f"{shown[method].sum()} of {len(shown[method])} teams of {name}")
    runs = read_runs(results / "study", "turn", PAIR)
    every = [run for group in runs.values() for run in group]
    sleepers = asleep(every, at=EARLY)
    ends = returns_at_two_million(every)
    slept, woke = ends[sleepers].mean(), ends[~sleepers].mean()
    mean = mixture_mean(shown["qmix_rest"].mean(), slept, woke)
    band = mixture_band(2 / 5, woke, slept, 5)
    theirs = readings(PAPER, "qmix")[LATE]
    pairs = {
        other: compare(shown["qmix_cia_rest"], shown[other])
        for other in ("qmix_rest", "qmix_cc_rest")
    }
    whole = holm({other: found.p_value for other, found in pairs.items()})
    against = pairs["qmix_rest"]
    p = whole["qmix_rest"]
    verdict = "shown at 5 %" if p <= LEVEL else "not shown at 5 %"
    return (
        "Behind these means are two kinds of teams. A team *sleeps* if at least half "
        f"of its greedy episodes return exactly 0. After {EARLY / 1e6:.1f} million "
        f"steps {', '.join(told)} sleep. At two million steps sleepers return "
        f"{slept:.0f} on average and the others {woke:.0f}. QMIX's share of sleepers "
        f"predicts a mean of {mean:.1f}, with a band of ±{band:.1f} over five seeds; "
        f"the paper has {theirs.mean:.1f} ± {theirs.half_width:.1f}.\n"
        "Whether CIA is what keeps teams awake is open. On "
        f"{against.only_theirs} seeds only QMIX sleeps and on {against.only_ours} only "
        f"QMIX(CIA): McNemar's p = {against.p_value:.3f}, and {p:.3f} by Holm over two "
        f"comparisons, {verdict}. Of QMIX(RS), whose credits are made alike, "
        f"{shown['qmix_rs_rest'].sum()} of {len(shown['qmix_rs_rest'])} sleep.\n"
    )


def in_short(results: Path) -> str:
    """The finding in some 120 words, as the book's first page has it."""
    full = read_runs(results / "study", "turn", [*PAIR, "vdn", "qmix_rs"])
    ends = {name: returns_at_two_million(full[name]) for name in full}
    asleep_at_length = {name: asleep(full[name], at=EARLY) for name in full}
    short = read_runs(results / "study", "turn", SHORT)
    counts = {name: int(asleep(short[name], at=EARLY).sum()) for name in SHORT}
    number = {name: len(short[name]) for name in SHORT}
    theirs = {name: readings(PAPER, name)[LATE].mean for name in PAIR}
    every = np.concatenate([ends[name] for name in PAIR])
    sleepers = np.concatenate([asleep_at_length[name] for name in PAIR])
    half = mixture_mean(
        counts["qmix_rest"] / number["qmix_rest"],
        every[sleepers].mean(),
        every[~sleepers].mean(),
    )
    pairs = {
        other: compare(asleep(short["qmix_cia_rest"], at=EARLY), asleep(runs, at=EARLY))
        for other, runs in short.items()
        if other in ("qmix_rest", "qmix_cc_rest")
    }
    p = holm({other: found.p_value for other, found in pairs.items()})["qmix_rest"]
    verdict = "shown" if p <= LEVEL else "likely, and not quite shown"
    return (
        "**The paper's number for CIA comes out again.** At two million steps on Turn "
        f"teams of QMIX(CIA) earn {ends['qmix_cia'].mean():.0f} points; the paper has "
        f"{theirs['qmix_cia']:.0f}. Our {len(full['qmix'])} teams of QMIX earn "
        f"{ends['qmix'].mean():.0f}, too few to hold against its "
        f"{theirs['qmix']:.0f}. Some teams *fall asleep* early: they learn to stay "
        f"and earn nothing. In short runs {counts['qmix_rest']} of "
        f"{number['qmix_rest']} teams of QMIX sleep, and {counts['qmix_cia_rest']} of "
        f"{number['qmix_cia_rest']} of QMIX(CIA). Half asleep and half awake would "
        f"give QMIX {half:.0f}.\n\n"
        "**The paper's reason does not hold as stated.** It says that credits must "
        "tell agents apart. VDN's credits are all equal and QMIX(RS) makes them "
        f"alike. Yet {asleep_at_length['vdn'].sum()} of {len(full['vdn'])} and "
        f"{counts['qmix_rs_rest']} of {number['qmix_rs_rest']} of their teams sleep. "
        f"They earn less, though: {ends['vdn'].mean():.0f} and "
        f"{ends['qmix_rs'].mean():.0f}. That CIA is what keeps its teams awake is "
        f"{verdict} (p = {p:.3f}). Why it should is open.\n"
    )


def board(results: Path) -> str:
    """Turn, played by three teams side by side: HTML that needs nothing else.

    Args:
        results: the folder of all results.
    """
    game = Turn()
    runs = read_runs(results / "study", "turn", PAIR)
    with_weights = {name: [r for r in runs[name] if r.weights] for name in PAIR}
    sleepers = asleep(with_weights["qmix"], at=EARLY)
    sleeper = with_weights["qmix"][int(sleepers.argmax())]
    shown = {}
    for name, run in (
        ("QMIX, asleep", sleeper),
        ("QMIX(CIA), awake", with_weights["qmix_cia"][0]),
    ):
        parts = load_networks(run, game.spec)
        policy = parts.explorer.evaluating(parts.agent)
        shown[name] = trace(game, policy, 1, generators(1, CPU)["evaluation"])
    knowing = generators(1, CPU)["evaluation"]
    shown["knows everything"] = trace(game, FullInformation(), 1, knowing)
    caption = "Only the agent without a fence can move. Whoever eats frees the other."
    return turn_loop(shown, caption)._repr_html_() + "\n"


def draw(path: Path, results: Path) -> None:
    """The curves behind these sentences, always the same file for the same runs.

    Args:
        path: of the file, SVG or PNG by its suffix.
        results: the folder of all results.
    """
    style()
    matplotlib.rcParams |= {"svg.hashsalt": "ciabook", "svg.fonttype": "path"}
    runs = read_runs(results / "study", "turn", ["qmix", "qmix_cia"])
    figure, axis = plt.subplots(figsize=(7, 3.6))
    names, heights, colours = [], [], []
    for method, group in runs.items():
        _, values = seed_lines(axis, group, group=4)
        sleepers = asleep(group, at=EARLY)
        for kind, those in (("awake", ~sleepers), ("asleep", sleepers)):
            if those.any():
                names.append(f"{those.sum()} of {len(group)} {PAIR[method]}, {kind}")
                heights.append(values[those, -1].mean())
                colours.append(colour_of(method))
    axis.set(ylim=(-70, 95), title="Turn, one line per seed", ylabel="greedy return")
    axis.set(xlabel="environment steps (millions)", xlim=(0, 2.05))
    name_lines(axis, names, heights, colours)
    with opened_whole(path) as file:
        kind = path.suffix.removeprefix(".")
        facts = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, metadata=facts, dpi=170)
    plt.close(figure)


def section(results: Path) -> str:
    """What stands between the marks in README.md."""
    sentences = finding(results) + sleeping(results)
    return f"{BEGIN}{sentences}\n{PICTURE}{END}"


def rewritten(readme: str, results: Path) -> str:
    """README.md with a fresh section of results.

    Args:
        readme: the text as it is.
        results: the folder of all results.
    """
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + section(results) + after


def introduced(intro: str, results: Path) -> str:
    """book/intro.md with the finding as it is.

    Args:
        intro: the text as it is.
        results: the folder of all results.
    """
    before, rest = intro.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{in_short(results)}{END}{after}"


def main() -> int:
    """Rewrites README.md and the front page; returns the exit code."""
    readme, intro = ROOT / "README.md", ROOT / "book" / "intro.md"
    write_whole(readme, rewritten(readme.read_text(encoding="utf-8"), RESULTS))
    write_whole(intro, introduced(intro.read_text(encoding="utf-8"), RESULTS))
    write_whole(BOARD, board(RESULTS))
    draw(FIGURE, RESULTS)
    draw(PREVIEW, RESULTS)
    print(finding(RESULTS), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
