"""The page of ways to assign credit: its code prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "book" / "landscape.md"


def test_the_example_prints_what_the_page_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    assert out.getvalue() == printed


def test_every_source_is_in_the_bibliography() -> None:
    sources = (PAGE.parent / "references.bib").read_text(encoding="utf-8")
    known = set(re.findall(r"^@\w+\{(\w+),", sources, re.MULTILINE))
    cited = re.findall(r"\{cite:[pt]\}`([^`]+)`", PAGE.read_text(encoding="utf-8"))
    keys = {key.strip() for group in cited for key in group.split(",")}
    assert keys and keys <= known
