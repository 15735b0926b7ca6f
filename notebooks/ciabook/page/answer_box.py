"""The box on top of a page of evidence: question, answer, and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape


class AnswerBox:
    """Shown by a notebook as an admonition of the book."""

    def __init__(
        self, question: str, answer: Sequence[str], facts: Mapping[str, str]
    ) -> None:
        """Keeps the words.

        Args:
            question: of the page.
            answer: its sentences.
            facts: what -> words, e.g. how sure, how many seeds, whether the rule was
                there before the runs.
        """
        self.question, self.answer, self.facts = question, list(answer), dict(facts)

    def _repr_html_(self) -> str:
        said = {"Question": self.question, "Answer": " ".join(self.answer)}
        rows = "".join(
            f"<p><strong>{escape(name)}.</strong> {escape(words)}</p>"
            for name, words in {**said, **self.facts}.items()
        )
        return (
            '<div class="admonition answer follows-theme">'
            f'<p class="admonition-title">In short</p>{rows}</div>'
        )

    def __repr__(self) -> str:
        facts = [f"{name}: {words}" for name, words in self.facts.items()]
        return "\n".join([self.question, " ".join(self.answer), *facts])
