"""What is done to every SVG figure of the book, once the pages are there.

It gets a twin for dark pages (dark_twins.py), of which the theme shows one; and the
width at which its smallest text is still read. In a narrower window it scrolls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dark_twins import dark_svg

TWINS = "dark"  # folder of the twins, in _images
LEAST = 9  # px of the smallest text, as it is shown
FIGURE = re.compile(
    r'<img (?![^>]*only-)((?:[^>]*? )?)src="((?:\.\./)*_images/)([^"/]+\.svg)"([^>]*)>'
)
WIDTH = re.compile(r'<svg [^>]*\bwidth="([\d.]+)pt"')
# a text of matplotlib: its words as a comment, then glyphs that are drawn 100 high
TEXT = re.compile(
    r'<!-- [^>]*? -->\s*<g[^>]*transform="[^"]*scale\(([\d.]+) -[\d.]+\)"(.*?)</g>',
    re.DOTALL,
)
GLYPH = re.compile(r"<use[^>]*scale\(([\d.]+)\)")  # smaller ones, as exponents are


def smallest_text(svg: str) -> float:
    """The height of the smallest text of a figure, in points; infinite without text.

    Args:
        svg: what matplotlib drew.
    """
    sizes = [math.inf]
    for scale, inside in TEXT.findall(svg):
        parts = [1.0, *map(float, GLYPH.findall(inside))]
        sizes.append(100 * float(scale) * min(parts))
    return min(sizes)


def least_width(svg: str) -> int:
    """Of a figure as it is shown, in px, so that its smallest text has LEAST px.

    Args:
        svg: what matplotlib drew; 0 where it does not say how wide it is.
    """
    wide = WIDTH.search(svg)
    return math.ceil(LEAST / smallest_text(svg) * float(wide[1])) if wide else 0


def with_twins(page: str, least: Mapping[str, int]) -> str:
    """A page whose figures have their twins beside them.

    Args:
        page: HTML.
        least: name of a figure's file -> the width that it needs, in px.
    """

    def both(found: re.Match) -> str:
        before, folder, name, after = found.groups()
        needs = f'style="min-width: {least.get(name, 0)}px" {before}'
        one = f'<img class="only-light" {needs}src="{folder}{name}"{after}>'
        other = f'<img class="only-dark" {needs}src="{folder}{TWINS}/{name}"'
        twin = f'{other} loading="lazy"{after}>'
        return f'<span class="twins">{one}{twin}</span>'

    return FIGURE.sub(both, page)


def finish(app: Any, error: Exception | None) -> None:
    """Draws the twins of an HTML build that succeeded, and puts them on the pages.

    Args:
        app: the application of Sphinx.
        error: why the build failed, or None.
    """
    if error is not None or app.builder.format != "html":
        return
    images, least = Path(app.outdir) / "_images", {}
    (images / TWINS).mkdir(parents=True, exist_ok=True)
    for path in images.glob("*.svg"):
        drawn = path.read_text(encoding="utf-8")
        least[path.name] = least_width(drawn)
        (images / TWINS / path.name).write_text(dark_svg(drawn), encoding="utf-8")
    for path in Path(app.outdir).rglob("*.html"):
        before = path.read_text(encoding="utf-8")
        after = with_twins(before, least)
        if after != before:
            path.write_text(after, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
