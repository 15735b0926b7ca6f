"""The table of contents: eighteen chapters, six parts, and every old address."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
PARTS = {part["caption"]: part for part in CONTENTS["parts"]}
NUMBERED = ["Ideas", "Evidence", "Do it yourself"]
CHAPTERS = [chapter["file"] for name in NUMBERED for chapter in PARTS[name]["chapters"]]
# pages of the book as it was before it had these parts; one a line
ADDRESSES = (ROOT / "tests" / "data" / "addresses.txt").read_text().split()
MADE = {  # by Sphinx and by the build, from no page of their own
    "index.html",
    "genindex.html",
    "prf-prf.html",
    "py-modindex.html",
    "search.html",
    "sitemap.xml",
    "slides.html",
}


def pages() -> list[str]:
    """Every page of the contents, in order."""
    text = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- file|root): (\S+)", text, re.MULTILINE)


def title(page: str) -> str:
    """The first heading of a page."""
    if page.startswith("book/"):
        text = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    else:
        cells = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells
        text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return re.search(r"^# (.*)$", text, re.MULTILINE)[1]


def test_the_parts_and_their_eighteen_chapters():
    assert list(PARTS) == ["Start here", *NUMBERED, "Lab book", "Reference"]
    assert [name for name in PARTS if PARTS[name].get("numbered")] == NUMBERED
    assert [len(PARTS[name]["chapters"]) for name in NUMBERED] == [4, 10, 4]
    assert len(pages()) == len(set(pages()))


@pytest.mark.parametrize("chapter", CHAPTERS[3:])
def test_a_chapter_is_called_by_its_question(chapter):
    """From the fourth on; the first three introduce what their titles name."""
    assert title(chapter).endswith("?")


def test_the_first_page_has_the_numbers_of_the_chapters():
    intro = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    found = re.findall(r"^\* - (\d+) \{doc\}`([\w./]+)`$", intro, re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, 19))
    named = [("book/" + page).replace("book/../", "") for _, page in found]
    assert named == CHAPTERS
    captions = re.findall(r"^\* - \*\*(.+)\*\*$", intro, re.MULTILINE)
    assert captions == list(PARTS)[1:]


def test_no_page_lost_its_address():
    """tests/test_book.py and tests/test_browser.py look at the files that are built."""
    assert set(ADDRESSES) <= {f"{page}.html" for page in pages()} | MADE
    assert len(ADDRESSES) > 70
