"""Slides from the sources of the book.

book/slides.md is the text. Its figures and equations are those of the built pages. What
follows `Note:` on a slide is for the speaker: key `s` shows it, with a clock. Where a
slide has `{address}`, the book is linked; `make serve` puts its QR code there.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Who earned it? Slides</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="reveal/reset.css">
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="reveal/book.css">
<script>
window.MathJax = {
  tex: {inlineMath: [["\\\\(", "\\\\)"]], displayMath: [["\\\\[", "\\\\]"]]}
};
</script>
<script src="mathjax/tex-svg-full.js"></script></head>
<body><div class="reveal"><div class="slides">
"""
# what `{address}` becomes; book/serve.py puts more there as it serves the slides
ADDRESS = '<p class="address"><a href="index.html">The book</a></p>'
FOOT = """</div></div><script src="reveal/reveal.js"></script>
<script src="reveal/notes.js"></script>
<script>
Reveal.initialize({
  hash: true, transition: "none", width: 1100, height: 700, plugins: [RevealNotes],
  pdfMaxPagesPerSlide: 1,
  showNotes: location.search.includes("notes") ? "separate-page" : false
});
</script></body></html>
"""


def figures(pages: Path) -> dict[str, str]:
    """Name -> image and the page it is made on, for every named figure of the pages."""
    found = {}
    for page in sorted(pages.glob("notebooks/*.html")):
        for name, inside in re.findall(
            r'<figure[^>]* id="(fig-[\w-]+)">(.*?)</figure>',
            page.read_text(),
            re.DOTALL,
        ):
            image = re.search(r"<img [^>]*>", inside)
            if image:
                address = f"notebooks/{page.name}#{name}"
                link = f'<a href="{address}">notebooks/{page.stem}.ipynb</a>'
                tag = re.sub(r'src="\.\./', 'src="', image[0])
                tag = re.sub(r' (class|style)="[^"]*"', "", tag)  # those of a page
                found[name] = f'{tag}<p class="made">Made by {link}.</p>'
    return found


def equations(stage: Path) -> dict[str, str]:
    """Label -> TeX, for every labelled equation of the staged pages."""
    found = {}
    for path in [*stage.glob("book/*.md"), *stage.glob("notebooks/*.ipynb")]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join(
                "".join(cell["source"])
                for cell in cells
                if cell["cell_type"] == "markdown"
            )
        for label, tex in re.findall(
            r"^`{3}\{math\}\n:label: ([\w-]+)\n(.*?)^`{3}",
            text,
            re.MULTILINE | re.DOTALL,
        ):
            found[label] = tex.strip()
    return found


def write_slides(source: Path, stage: Path, pages: Path) -> Path:
    """Writes slides.html beside the book's first page.

    Args:
        source: the text, book/slides.md.
        stage: the folder of the staged pages, which hold the equations.
        pages: the folder of the rendered pages, which hold the figures.

    Returns:
        The path of slides.html.

    Raises:
        KeyError: a figure or an equation that the book does not have.
    """
    drawn, written = figures(pages), equations(stage)
    markdown = MarkdownIt("commonmark").enable("table")
    markdown.use(
        dollarmath_plugin,
        renderer=lambda tex, options: r"\(" + html.escape(tex) + r"\)",
    )

    def figure(found: re.Match[str]) -> str:
        return drawn[found[1]]

    def equation(found: re.Match[str]) -> str:
        return r"<p>\[" + html.escape(written[found[1]]) + r"\]</p>"

    slides = []
    for text in re.split(
        r"^---\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE
    ):
        shown, _, note = text.partition("\nNote: ")
        body = markdown.render(shown)
        body = body.replace("<p>{address}</p>", ADDRESS)
        body = re.sub(r"<p>\{figure\}<code>([\w-]+)</code></p>", figure, body)
        body = re.sub(r"<p>\{equation\}<code>([\w-]+)</code></p>", equation, body)
        spoken = f'<aside class="notes">{markdown.render(note)}</aside>\n'
        slides.append(f"<section>\n{body}{spoken}</section>\n")
    path = pages / "slides.html"
    path.write_text(HEAD + "".join(slides) + FOOT, encoding="utf-8")
    return path
