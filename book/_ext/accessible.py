"""Repairs what the theme and Sphinx write against WCAG A, once the pages are there.

tests/test_browser.py runs axe on them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

NAMELESS = '<summary><span class="toctree-toggle"'
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
ROLES = re.compile(r' role="(doc-biblioentry|doc-backlink)"')


def repaired(page: str) -> str:
    """The same page, accessible.

    Toggles of the contents get a name. The parameters of a signature are no longer a
    list of definitions. Old roles go.
    """
    page = page.replace(
        NAMELESS, NAMELESS.replace("<summary>", '<summary aria-label="pages below">')
    )
    page = ROLES.sub("", page).replace(
        '<div role="list" class="citation-list">', '<div class="citation-list">'
    )
    return SIGNATURE.sub(lambda sig: re.sub(r"<(/?)d[ld]>", r"<\1div>", sig[0]), page)


def finish(app: Any, error: Exception | None) -> None:
    """Rewrites every page of an HTML build that succeeded.

    Args:
        app: the application of Sphinx.
        error: why the build failed, or None.
    """
    if error is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            before = path.read_text(encoding="utf-8")
            after = repaired(before)
            if after != before:
                path.write_text(after, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
