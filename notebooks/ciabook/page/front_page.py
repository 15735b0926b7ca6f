"""What the front page shows of the results, from the run folders: python -m ciabook.page.front_page rewrites README.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from ciabook.evidence.final_returns import LAST, at_rest, final
from ciabook.evidence.statistics import shift
from ciabook.page.plots import pooled, scores, style
from ciacore import METHODS
from ciacore.runtime.store import read_runs

ROOT = Path(__file__).resolve().parents[3]
RESULTS, FIGURE = ROOT / "book" / "results", ROOT / "book" / "data" / "finding.svg"
BEGIN, END = (
    "<!-- results: python -m ciabook.page.front_page -->\n",
    "<!-- end of results -->\n",
)


def table(results: Path) -> str:
    """Markdown: every method on Turn, at the lengths there are, and the battles."""
    lines = [
        "| on Turn, return at the end by seed | 0.2 M steps | 1 M steps | 2.05 M steps |",
        "|---|---|---|---|",
    ]
    for method in METHODS:
        cells = []
        for place in (results / "fourteen", results, results / "study"):
            there = any((place / "turn" / method).glob("seed_*"))
            runs = read_runs(place, "turn", [method])[method] if there else []
            cells.append(", ".join(f"{value:.1f}" for value in final(runs)))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| in battles on SMAX, 0.3 M steps | return of 20, by seed | won, by seed |",
        "|---|---|---|",
    ]
    for folder in sorted((results / "battles").glob("smax_*/*_300k")):
        (runs,) = read_runs(
            results / "battles", folder.parent.name, [folder.name]
        ).values()
        won = [
            np.mean([np.mean(won) for won in run.metrics["won"][-LAST:]])
            for run in runs
        ]
        returns, wins = (
            ", ".join(each)
            for each in ([f"{v:.1f}" for v in final(runs)], [f"{w:.0%}" for w in won])
        )
        lines.append(
            f"| {folder.parent.name[5:]}, {folder.name[:-5]} | {returns} | {wins} |"
        )
    return "\n".join(lines) + "\n"


def finding(results: Path) -> str:
    """One sentence on the paper's first claim, with numbers."""
    runs = read_runs(results / "study", "turn", ["qmix", "qmix_cia"])
    effect = shift(final(runs["qmix_cia"]), final(runs["qmix"]))
    seeds = " and ".join(str(len(group)) for group in runs.values())
    steps = runs["qmix"][0].metrics["env_steps"][-1] / 1e6
    return (
        f"After {steps:.2f} million steps on Turn QMIX(CIA) is ahead of QMIX by {effect.value:.1f} points "
        f"(between {effect.low:.1f} and {effect.high:.1f} with {effect.coverage:.0%} certainty, {seeds} seeds): "
        + (
            "ahead, as the paper says."
            if effect.low > 0
            else "no difference that these seeds could show."
        )
        + "\n"
    )


def resting(results: Path) -> str:
    """One sentence on how often a team learns to stay, and little else."""
    names = {
        "qmix": "QMIX",
        "qmix_cc": "QMIX(CC)",
        "qmix_rs": "QMIX(RS)",
        "qmix_cia": "QMIX(CIA)",
    }
    runs = read_runs(results / "study", "turn", [f"{method}_rest" for method in names])
    counts = [
        f"{at_rest(group).sum()} of {len(group)} teams of {name}"
        for name, group in zip(names.values(), runs.values(), strict=True)
    ]
    steps = runs["qmix_rest"][0].config.env_steps / 1e6
    return f"Short runs ask how often a team learns to stay: after {steps:.2f} million steps {', '.join(counts)} do.\n"


def draw(path: Path, results: Path) -> None:
    """The curves behind that sentence, always the same file for the same runs."""
    style()
    matplotlib.rcParams |= {"svg.hashsalt": "ciabook", "svg.fonttype": "path"}
    runs = read_runs(results / "study", "turn", ["qmix", "qmix_cia"])
    figure, axis = plt.subplots(figsize=(7, 3.6))
    for colour, (method, label) in enumerate(
        (("qmix", "QMIX"), ("qmix_cia", "QMIX(CIA)"))
    ):
        steps, values = pooled(*scores(runs[method]), group=4)
        for row, curve in enumerate(values):
            line = {
                "color": f"C{colour}",
                "linestyle": ("-", "--")[colour],
                "label": None if row else label,
            }
            axis.plot(steps / 1e6, curve, **line)
    axis.set(ylim=(-70, 95), title="Turn, one line per seed", ylabel="greedy return")
    axis.set(xlabel="environment steps (millions)")
    axis.legend(frameon=True)
    part = path.with_suffix(".part")
    figure.savefig(part, format="svg", metadata={"Date": None})
    os.replace(part, path)
    plt.close(figure)


def section(results: Path) -> str:
    """What stands between the marks in README.md."""
    picture = "![Learning curves on Turn, one line per seed of QMIX and of QMIX(CIA)](book/data/finding.svg)\n"
    return (
        f"{BEGIN}{finding(results)}{resting(results)}\n{picture}\n{table(results)}{END}"
    )


def rewritten(readme: str, results: Path) -> str:
    """README.md with a fresh section of results."""
    before, rest = readme.split(BEGIN)
    return before + section(results) + rest.split(END)[1]


def main() -> int:
    """Returns the exit code."""
    readme = ROOT / "README.md"
    text = rewritten(readme.read_text(encoding="utf-8"), RESULTS)
    part = readme.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, readme)
    draw(FIGURE, RESULTS)
    print(finding(RESULTS), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
