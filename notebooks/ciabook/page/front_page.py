"""What the front page shows of the results, from the run folders.

python -m ciabook.page.front_page     rewrites README.md and book/data/finding.svg
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from ciabook.evidence.final_returns import LAST, at_rest, final_returns
from ciabook.evidence.statistics import shift
from ciabook.page.plots import pooled, scores, style
from ciacore import METHODS
from ciacore.runtime.files import opened_whole, write_whole
from ciacore.runtime.store import Run, read_runs

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "book" / "results"
FIGURE = ROOT / "book" / "data" / "finding.svg"
BEGIN = "<!-- results: python -m ciabook.page.front_page -->\n"
END = "<!-- end of results -->\n"
PICTURE = (
    "![Learning curves on Turn, one line per seed of QMIX and of QMIX(CIA)]"
    "(book/data/finding.svg)\n"
)


def table(results: Path) -> str:
    """Markdown: every method on Turn, at the lengths there are, and the battles."""
    on_turn = "| on Turn, return at the end by seed "
    lines = [
        on_turn + "| 0.2 M steps | 1 M steps | 2.05 M steps |",
        "|---|---|---|---|",
    ]
    for method in METHODS:
        cells = []
        for place in (results / "fourteen", results, results / "study"):
            cells.append(numbers(final_returns(stored(place, method))))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| in battles on SMAX, 0.3 M steps | return of 20, by seed | won, by seed |",
        "|---|---|---|",
    ]
    for folder in sorted((results / "battles").glob("smax_*/*_300k")):
        battle = folder.parent.name
        runs = read_runs(results / "battles", battle, [folder.name])[folder.name]
        name = f"{battle.removeprefix('smax_')}, {folder.name.removesuffix('_300k')}"
        wins = ", ".join(f"{won_share(run):.0%}" for run in runs)
        lines.append(f"| {name} | {numbers(final_returns(runs))} | {wins} |")
    return "\n".join(lines) + "\n"


def stored(place: Path, method: str) -> list[Run]:
    """The runs of a method on Turn in a results folder; none where it has no folder.

    Args:
        place: a results folder.
        method: a name in METHODS.
    """
    if not any((place / "turn" / method).glob("seed_*")):
        return []
    return read_runs(place, "turn", [method])[method]


def won_share(run: Run) -> float:
    """The share of battles won in the last evaluations of a run."""
    return float(np.mean([np.mean(won) for won in run.metrics["won"][-LAST:]]))


def numbers(values: Sequence[float] | np.ndarray) -> str:
    """Numbers as a table shows them."""
    return ", ".join(f"{value:.1f}" for value in values)


def finding(results: Path) -> str:
    """One sentence on the paper's first claim, with numbers."""
    runs = read_runs(results / "study", "turn", ["qmix", "qmix_cia"])
    ours = final_returns(runs["qmix_cia"])
    theirs = final_returns(runs["qmix"])
    effect = shift(ours, theirs)
    seeds = f"{len(theirs)} and {len(ours)} seeds"
    steps = runs["qmix"][0].metrics["env_steps"][-1] / 1e6
    verdict = "no difference that these seeds could show."
    if effect.low > 0:
        verdict = "ahead, as the paper says."
    return (
        f"After {steps:.2f} million steps on Turn QMIX(CIA) is ahead of QMIX by "
        f"{effect.value:.1f} points (between {effect.low:.1f} and {effect.high:.1f} "
        f"with {effect.coverage:.0%} certainty, {seeds}): {verdict}\n"
    )


def resting(results: Path) -> str:
    """One sentence on how often a team learns to stay, and little else."""
    names = {
        "qmix_rest": "QMIX",
        "qmix_cc_rest": "QMIX(CC)",
        "qmix_rs_rest": "QMIX(RS)",
        "qmix_cia_rest": "QMIX(CIA)",
    }
    runs = read_runs(results / "study", "turn", names)
    counts = []
    for method, name in names.items():
        resting_teams = at_rest(runs[method]).sum()
        counts.append(f"{resting_teams} of {len(runs[method])} teams of {name}")
    steps = runs["qmix_rest"][0].config.env_steps / 1e6
    return (
        f"Short runs ask how often a team learns to stay: after {steps:.2f} million "
        f"steps {', '.join(counts)} do.\n"
    )


def draw(path: Path, results: Path) -> None:
    """The curves behind that sentence, always the same file for the same runs.

    Args:
        path: of the SVG file.
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
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)


def section(results: Path) -> str:
    """What stands between the marks in README.md."""
    sentences = finding(results) + resting(results)
    return f"{BEGIN}{sentences}\n{PICTURE}\n{table(results)}{END}"


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
    print(finding(RESULTS), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
