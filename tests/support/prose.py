"""What a reader reads of a page in MyST: its sentences, and how long they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

FENCE = re.compile(r"^\s*(`{3,}|:{3,})(.*)$")
ANSWER = ("Question", "Answer", "How sure", "Seeds", "Rule before runs")
STATED = re.compile(r"\*\*Time:\*\* (\d+) minutes?\b")


ITEM = re.compile(r"\s*(#|[-*] |\d+\. )")  # a heading, or an item of a list
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def texts_of(page: Path) -> list[str]:
    """What a page says: a notebook's markdown cells and captions, or all of its text.

    Args:
        page: path of a notebook, or of a page in markdown.
    """
    if page.suffix == ".md":
        return [COMMENT.sub("", page.read_text(encoding="utf-8"))]
    texts = []
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            texts.append("".join(cell["source"]))
        elif figure := cell["metadata"].get("mystnb", {}).get("figure"):
            texts.append(figure["caption"])
    return texts


def figures_in(page: Path) -> int:
    """How many figures with a caption a page shows.

    Args:
        page: path of a notebook, or of a page in markdown.
    """
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8").count("```{figure}")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return sum("figure" in cell["metadata"].get("mystnb", {}) for cell in cells)


def paragraphs(text: str) -> list[str]:
    """The paragraphs, list items and headings of a text, each on one line.

    Blocks of code and of math, tables and options of directives are left out; what
    stands inside an admonition, an exercise or a solution stays.

    Args:
        text: in MyST.
    """
    found = [""]
    hidden = ""  # the fence that ends the block of code or math we are in
    for line in text.splitlines():
        fence = FENCE.match(line)
        if hidden:
            hidden = "" if line.strip() == hidden else hidden
        elif fence and (
            fence[2].strip() == "{math}" or re.fullmatch(r"\w+", fence[2].strip())
        ):
            hidden = fence[1]
        elif fence or not line.strip() or line.lstrip().startswith(("|", ":")):
            found.append("")
        elif ITEM.match(line):
            found.append(line.lstrip(" #-*.0123456789"))
        else:
            found[-1] += f" {line.strip()}"
    return [part.strip() for part in found if part.strip()]


def plain(paragraph: str) -> str:
    """A paragraph without math, code and marks; a link is its own text.

    A link that shows a title or an author is one word, and may begin a sentence.

    Args:
        paragraph: in MyST, on one line.
    """
    text = re.sub(r"\{(?:doc|numref|cite:t)\}`[^`<]*`", "Title", paragraph)
    text = re.sub(r"\{[\w:]+\}`([^`<]*)(?:<[^`]*>)?`", r"\1", text)
    text = re.sub(r"`[^`]*`|\$[^$]*\$", "", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\s+", " ", text.replace("*", "")).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a text, without math and code.

    Args:
        text: in MyST.
    """
    ends = r"(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+(?=[\"'(]*[A-Z0-9])"
    return [
        sentence
        for paragraph in paragraphs(text)
        for sentence in re.split(ends, plain(paragraph))
        if sentence
    ]


def words(sentence: str) -> int:
    """How many words a sentence has; numbers and signs are none.

    Args:
        sentence: without math and code.
    """
    return sum(bool(re.search(r"[A-Za-z]", part)) for part in sentence.split())


def reading_time(page: Path) -> float:
    """Minutes: 200 words take one, and so does a figure.

    Args:
        page: path of a notebook, or of a page in markdown.
    """
    text = "\n\n".join(texts_of(page))
    return sum(map(words, sentences(text))) / 200 + figures_in(page)
