"""What search engines, previews and hurried readers see of the book."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from ciabook.studies import lab
from docutils.core import publish_doctree

ROOT = Path(__file__).resolve().parents[1]
LONGEST_CELL = 120  # characters
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "book").rglob("*.md"),
    *(ROOT / "env").rglob("*.md"),
    *(ROOT / "notebooks").glob("*.ipynb"),
]
spec = importlib.util.spec_from_file_location("found", ROOT / "book/_ext/found.py")
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)


def prose_of(page: Path) -> str:
    """The Markdown of a page or notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join(
        "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
    )


def cells_of(text: str) -> list[str]:
    """The cells of its tables: those of pipes and those of list-tables."""
    cells = []
    for row in re.findall(r"^\|(.*)\|\s*$", text, re.MULTILINE):
        cells += re.split(r"(?<!\\)\|", row)
    for table in re.findall(r"^:::\{list-table\}.*?^:::$", text, re.DOTALL | re.M):
        cells += re.split(r"^(?:\* -|  -)", table, flags=re.MULTILINE)[1:]
    return [" ".join(cell.split()) for cell in cells]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_cells_of_tables_are_short(page: Path) -> None:
    cells = cells_of(prose_of(page))
    assert not [cell for cell in cells if len(cell) > LONGEST_CELL]


def test_cells_are_seen() -> None:
    table = ":::{list-table} T\n* - one\n    more\n  - two\n:::\n| a | b |\n"
    assert cells_of(table) == ["a", "b", "one more", "two :::"]


def test_the_readme_says_how_the_study_stands(capsys) -> None:
    """The last line that `make status STUDY=turn` prints."""
    assert lab.main(["status", "turn"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"$ make status STUDY=turn\n...\n{last}\n" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def test_a_page_is_described_by_its_goal() -> None:
    page = publish_doctree("Title\n=====\n\nGoal: know this. Time: 5 minutes.\n\nMore.")
    assert found.description_of(page) == "Know this."
    assert found.description_of(publish_doctree("Only *this*.")) == "Only this."
    cut = found.description_of(publish_doctree("word " * 100))
    assert len(cut) <= found.LONGEST and cut.endswith("word …")


def test_the_address_is_said_or_that_of_github_pages(monkeypatch) -> None:
    options = {"repository_url": "https://github.com/an-owner/a-book"}
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options=options))
    monkeypatch.delenv("CIA_BOOK_URL", raising=False)
    assert found.address(app) == "https://an-owner.github.io/a-book/"
    monkeypatch.setenv("CIA_BOOK_URL", "https://example.org/book")
    assert found.address(app) == "https://example.org/book/"


def test_synonyms_are_those_of_pages_in_the_book() -> None:
    contents = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    pages = set(re.findall(r"(?:file|root): (\S+)", contents))
    assert set(found.SYNONYMS) <= pages


def test_previews_have_a_picture() -> None:
    picture = ROOT / "book" / found.PREVIEW
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000
