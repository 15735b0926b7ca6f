"""What the front page shows of the results, from the run folders.

python -m ciabook.page.front_page     rewrites README.md, finding.svg and preview.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from ciabook.evidence.beside_paper import (
    Beside,
    beside,
    mixture_band,
    mixture_mean,
    readings,
)
from ciabook.evidence.final_returns import final_returns
from ciabook.evidence.statistics import holm
from ciabook.evidence.wake import LEVEL, asleep, compare
from ciabook.page.plots import pooled, scores, style
from ciacore.runtime.files import opened_whole, write_whole
from ciacore.runtime.store import read_runs

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "book" / "results"
FIGURE = ROOT / "book" / "data" / "finding.svg"
PREVIEW = FIGURE.with_name("preview.png")  # what a link to the book shows
PAPER = ROOT / "book" / "data" / "paper_figure4b.json"
PAIR = {"qmix": "QMIX", "qmix_cia": "QMIX(CIA)"}
SHORT = {
    "qmix_rest": "QMIX",
    "qmix_cc_rest": "QMIX(CC)",
    "qmix_rs_rest": "QMIX(RS)",
    "qmix_cia_rest": "QMIX(CIA)",
}
EARLY = 200_000  # env steps at which a team is called asleep or awake
LATE = 2_000_000  # the last env steps that the paper's figure was read at
BEGIN = "<!-- results: python -m ciabook.page.front_page -->\n"
END = "<!-- end of results -->\n"
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
    differ = [found for found in at_the_end.values() if found.verdict == "differs"]
    first = "The paper's Figure 4(b) is reproduced, mean and spread."
    if differ:
        first = "The paper's Figure 4(b) is not reproduced."
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
    ends = final_returns(every, 4, at=LATE)
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
    looks = {"qmix": ("QMIX", "C0", "-"), "qmix_cia": ("QMIX(CIA)", "C1", "--")}
    for method, (label, colour, line) in looks.items():
        steps, values = pooled(*scores(runs[method]), group=4)
        for curve in values:
            axis.plot(steps / 1e6, curve, color=colour, linestyle=line, label=label)
            label = None  # once in the legend
    axis.set(ylim=(-70, 95), title="Turn, one line per seed", ylabel="greedy return")
    axis.set(xlabel="environment steps (millions)")
    axis.legend(frameon=True)
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


def main() -> int:
    """Rewrites README.md and the figure; returns the exit code."""
    readme = ROOT / "README.md"
    write_whole(readme, rewritten(readme.read_text(encoding="utf-8"), RESULTS))
    draw(FIGURE, RESULTS)
    draw(PREVIEW, RESULTS)
    print(finding(RESULTS), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
