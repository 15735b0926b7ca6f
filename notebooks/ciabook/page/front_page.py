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

from ciabook.evidence import own_turn
from ciabook.evidence.beside_paper import (
    Beside,
    beside,
    readings,
)
from ciabook.evidence.early_credits import RESULT as EARLY_CREDITS
from ciabook.evidence.early_credits import read_early
from ciabook.evidence.final_returns import TWO_MILLION, returns_at_two_million
from ciabook.evidence.wake import asleep
from ciabook.evidence.wake_outcome import committed_checks, name_of_test, outcome
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
# twenty short runs each, made before there was a rule for forty fresh ones
SHORT = {
    "qmix_rest": "QMIX",
    "qmix_cc_rest": "QMIX(CC)",
    "qmix_rs_rest": "QMIX(RS)",
    "qmix_cia_rest": "QMIX(CIA)",
}
# of forty fresh seeds, those that the sentences count
ARMS = ("qmix", "cia", "rs", "scale", "noise", "permuted")
EARLY = 200_000  # env steps at which a team is called asleep or awake
LATE = TWO_MILLION  # the last env steps that the paper's figure was read at
BEGIN = "<!-- results: python -m ciabook.page.front_page -->\n"
END = "<!-- end of results -->\n"
# what the verdict on a mean says of it
OUTCOMES = {
    "agrees": "The two agree within {margin:.0f} points.",
    "differs": "The two differ.",
    "cannot tell": "So few seeds cannot tell.",
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
    told = [
        "The paper's Figure 4(b) is QMIX with and without CIA, in the small game of "
        f"Turn. At {step / 1e6:.0f} million steps:"
    ]
    for method, name in reversed(PAIR.items()):
        told.append(as_told(name, shown[method][step]))
    return " ".join(told) + "\n"


def as_told(name: str, found: Beside) -> str:
    """Our mean beside the paper's, and what the comparison says.

    Args:
        name: of the method.
        found: its comparison.
    """
    ours, theirs = found.ours, found.paper
    return (
        f"{ours.runs} teams of {name} earn {ours.mean:.1f} points on average, and the "
        f"paper has {theirs.mean:.1f}. "
        + OUTCOMES[found.verdict].format(margin=found.margin)
    )


def sleeping(results: Path) -> str:
    """Which teams the means are made of, and how often a team falls asleep."""
    runs = read_runs(results / "study", "turn", PAIR)
    every = [run for group in runs.values() for run in group]
    sleepers = asleep(every, at=EARLY)
    ends = returns_at_two_million(every)
    slept, woke = ends[sleepers].mean(), ends[~sleepers].mean()
    found = outcome(results / "wake", committed_checks())
    sleepers_of = [found.arms[name].asleep for name in ARMS]
    qmix, cia, rs, scale, noise, permuted = sleepers_of
    alike = returns_at_two_million(
        read_runs(results / "study", "turn", ["qmix_rs"])["qmix_rs"]
    ).mean()
    pair = found.comparisons["cia", "qmix"]
    p = found.corrected[name_of_test("cia", "qmix")]
    return (
        "Behind these means are two kinds of teams. A team *sleeps* if at least half "
        "of its greedy episodes return exactly 0, early in training. At two million "
        f"steps sleepers return {slept:.0f} on average and the others {woke:.0f}.\n"
        f"**CIA wakes teams.** On {len(qmix)} fresh seeds {qmix.sum()} teams of QMIX "
        f"sleep, and {cia.sum()} of QMIX(CIA). On {pair.only_theirs} seeds only QMIX "
        f"sleeps, on {pair.only_ours or 'none'} only QMIX(CIA): {as_probability(p)} "
        f"by McNemar's test, corrected for all {len(found.corrected)} tests of a rule "
        "that was fixed before the first run.\n"
        + why(results)
        + "**Telling agents apart is not needed to wake.** QMIX(RS) makes credits "
        f"alike, and {rs.sum()} of {len(rs)} teams sleep; it earns {alike:.0f} points "
        "at two million steps. A control that makes the average credit as large as "
        f"CIA's has {scale.sum()} of {len(scale)} asleep, noise as large as CIA's "
        f"gradient {noise.sum()}. Within CIA identity matters, by the rule: with "
        f"permuted identities {permuted.sum()} sleep.\n"
    )


def why(results: Path) -> str:
    """Why teams sleep, and what shows it.

    Args:
        results: the folder of all results.
    """
    early = read_early(results / EARLY_CREDITS.name)
    given = own_turn.outcome(
        results / "own_turn", own_turn.read_checks(own_turn.CHECKS)
    )
    credit = {
        kind: np.median(
            [row["credits"][1][1] for row in early if row["asleep"] == kind]
        )
        for kind in (True, False)
    }
    asleep_of = {arm: own_turn.count(given, arm) for arm in given.asleep}
    largest = max(given.corrected.values())
    assert set(given.verdicts.values()) == {"beats"}  # as the sentences say
    return (
        "**Teams sleep whose second agent goes without credit in its own turn.** At "
        f"30,000 steps that credit is {credit[True]:.1f} in the median team that will "
        f"sleep, and {credit[False]:.1f} in one that will wake. In fresh teams it is a "
        f"cause. {asleep_of['qmix']} teams of QMIX sleep, and {asleep_of['fed']} where "
        f"that credit is given. Of QMIX(CIA) {asleep_of['cia']} sleep, and "
        f"{asleep_of['starved']} where it is taken away. As much more credit for the "
        f"first agent leaves {asleep_of['raised']} asleep. All three tests of the rule "
        f"pass (p at most {largest:.3f}, corrected).\n"
    )


def as_probability(p: float) -> str:
    """A p-value in a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def in_short(results: Path) -> str:
    """The finding in some 120 words, as the book's first page has it."""
    full = read_runs(results / "study", "turn", [*PAIR, "qmix_rs"])
    ends = {name: returns_at_two_million(full[name]) for name in full}
    theirs = {name: readings(PAPER, name)[LATE].mean for name in PAIR}
    found = outcome(results / "wake", committed_checks())
    sleepers_of = [found.arms[name].asleep for name in ARMS]
    qmix, cia, rs, *_ = sleepers_of
    given = own_turn.outcome(
        results / "own_turn", own_turn.read_checks(own_turn.CHECKS)
    )
    p = found.corrected[name_of_test("cia", "qmix")]
    return (
        "**The paper's number for CIA comes out again.** At two million steps on Turn "
        f"teams of QMIX(CIA) earn {ends['qmix_cia'].mean():.0f} points; the paper has "
        f"{theirs['qmix_cia']:.0f}. Our {len(full['qmix'])} teams of QMIX average "
        f"{ends['qmix'].mean():.0f}, and the paper's {theirs['qmix']:.0f}. So few "
        "teams cannot tell whether that differs.\n\n"
        "**CIA wakes teams.** Some teams *sleep*: early on they learn to stay, and "
        f"earn nothing. On {len(qmix)} fresh seeds {qmix.sum()} teams of QMIX sleep, "
        f"and {cia.sum()} of QMIX(CIA) ({as_probability(p)}, by a rule fixed before "
        "the first run).\n\n"
        "**Why they sleep.** Their second agent goes without credit in its own turn. "
        "Of fresh teams of QMIX "
        f"{own_turn.count(given, 'qmix')} sleep, and {own_turn.count(given, 'fed')} "
        "where that credit is given. Take it from CIA, and "
        f"{own_turn.count(given, 'starved')} sleep. Telling agents apart is not "
        f"needed to wake: QMIX(RS) makes credits alike, and {rs.sum()} of {len(rs)} "
        f"sleep. But it ends at {ends['qmix_rs'].mean():.0f} points.\n"
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
