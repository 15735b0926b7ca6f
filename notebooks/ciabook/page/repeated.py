"""The end of a page that replicates: what to run, and whether the reader agrees.

A page states its questions once, each with the rule that answers it. The rule is
applied to the book's runs and to the reader's, and the two answers stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from html import escape
from typing import Any, NamedTuple

from ciabook.page.plots import label_of
from ciabook.page.replicate import CLASS, FULL, Own, Plan, Replication, agreement

WAITS = "waits for runs"
WHERE = "-k python3 --cwd notebooks"
MANY = 4  # arms, from which on they are counted and not named

Rows = dict[str, dict[str, str]]


class Question(NamedTuple):
    """What a page asks of runs."""

    asks: str
    needs: tuple[str, ...]  # the arms without which the rule has nothing to judge
    # what is known of each arm, say its runs -> a verdict
    rule: Callable[[Mapping[str, Any]], str]
    decided: Collection[str]  # the verdicts that say something


def verdicts(questions: Collection[Question], found: Mapping[str, Any]) -> list[str]:
    """The answer to every question, WAITS where an arm is missing.

    Args:
        questions: of a page.
        found: arm -> what is known of it, as the rules take it.
    """
    words = []
    for question in questions:
        is_there = all(len(found.get(arm, ())) for arm in question.needs)
        words.append(question.rule(found) if is_there else WAITS)
    return words


def side_by_side(
    questions: Collection[Question], book: Collection[str], own: Collection[str]
) -> Rows:
    """The reader's answers beside the book's: question -> what each says.

    Without runs of the reader's the book's answers stand alone. With such runs,
    questions that these say nothing of are left out.

    Args:
        questions: of a page.
        book: its answers, as `verdicts` returns them.
        own: the reader's.
    """
    rows = {}
    none_yet = set(own) <= {WAITS}
    for question, theirs, ours in zip(questions, book, own, strict=True):
        if none_yet:
            rows[question.asks] = {"the book": theirs}
        if ours == WAITS:
            continue
        word = agreement(theirs, ours, question.decided)
        row = {"the book": theirs, "your runs": ours, "together": word}
        rows[question.asks] = row
    return rows


class Repeated:
    """Shown by a notebook as a box: the commands, and the reader's verdicts."""

    def __init__(
        self,
        page: str,
        what: Replication,
        own: Own,
        rows: Mapping[str, Mapping[str, str]],
        minutes: int | None = None,
    ) -> None:
        """Keeps what is said.

        Args:
            page: stem of the notebook.
            what: it trains.
            own: the reader's runs.
            rows: as `side_by_side` returns them.
            minutes: that the budget "class" takes on two cores; None: not known.
        """
        self.page, self.what, self.own = page, what, own
        self.rows, self.minutes = rows, minutes

    def plans(self) -> dict[str, str]:
        """What each budget trains, in words."""
        found = {}
        for budget in (CLASS, FULL):
            found[budget] = f"trains {in_words(self.what.plans[budget])}."
        if self.minutes is not None:
            plural = "" if self.minutes == 1 else "s"
            time = f" That takes about {self.minutes} minute{plural} on two cores."
            found[CLASS] += time
        found[FULL] += " That is the study."
        return found

    def commands(self) -> list[str]:
        """Training in a quarter of an hour, and reading what others trained."""
        begin = f"papermill notebooks/{self.page}.ipynb"
        return [
            f"{begin} mine.ipynb {WHERE} \\\n    -p budget class",
            f"{begin} ours.ipynb {WHERE} \\\n    -p runs /path/to/the/class",
        ]

    def conclusion(self) -> str:
        """On which seeds the verdicts rest."""
        if not self.own.runs:
            return "No runs of your own yet."
        seeds = ", ".join(map(str, self.own.seeds))
        return f"Your seeds, the same in every arm: {seeds}."

    def __repr__(self) -> str:
        lines = [f"{budget} {words}" for budget, words in self.plans().items()]
        lines += [*self.commands(), self.conclusion()]
        for asks, row in self.rows.items():
            said = "; ".join(f"{who}: {word}" for who, word in row.items())
            lines.append(f"{asks} {said}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        said = "".join(
            f"<p><strong>{budget}</strong> {escape(words)}</p>"
            for budget, words in self.plans().items()
        )
        commands = escape("\n".join(self.commands()))
        return (
            '<div class="admonition tip follows-theme repeated">'
            f'<p class="admonition-title">Repeat it</p>{said}'
            f'<div class="highlight"><pre>{commands}</pre></div>'
            f"<p>{escape(self.conclusion())}</p>{table_of(self.rows)}</div>"
        )


def in_words(plan: Plan) -> str:
    """The arms of a plan, how many seeds each has, and how long they train.

    Args:
        plan: of a budget.
    """
    names = [label_of(arm) for arm in plan.configs]
    named = f"{len(names)} arms"
    if len(names) < MANY:
        named = ", ".join(names[:-1]) + " and " + names[-1]
    lengths = sorted({config.env_steps for config in plan.configs.values()})
    steps = " or ".join(f"{length:,}" for length in lengths)
    count = f"{plan.seeds} fresh seed{'s' if plan.seeds > 1 else ''}"
    return f"{named} with {count} each, for {steps} steps"


def table_of(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Verdicts as a table in HTML; nothing where there are none.

    Args:
        rows: as `side_by_side` returns them.
    """
    if not rows:
        return ""
    columns = list(next(iter(rows.values())))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("question", *columns))
    body = ""
    for asks, row in rows.items():
        cells = "".join(f"<td>{escape(word)}</td>" for word in (asks, *row.values()))
        body += f"<tr>{cells}</tr>"
    table = '<table class="dataframe"><thead><tr>{}</tr></thead><tbody>{}</tbody>'
    return table.format(head, body) + "</table>"
