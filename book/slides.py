"""Slides from the sources of the book.

book/slides.md is rendered, with its figures and equations taken from the built pages.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

HEAD = r"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Who earned it? Slides</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="reveal/reset.css">
<link rel="stylesheet" href="reveal/reveal.css">
<link rel="stylesheet" href="reveal/book.css">
<script>
window.MathJax = {
  tex: {inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]]}
};
</script>
<script src="mathjax/tex-svg-full.js"></script></head>
<body><div class="reveal"><div class="slides">
"""
FOOT = """</div></div><script src="reveal/reveal.js"></script>
<script>
Reveal.initialize({hash: true, transition: "none", width: 1100, height: 700});
</script></body></html>
"""
FIGURE = re.compile(r'<figure[^>]* id="(fig-[\w-]+)">(.*?)</figure>', re.DOTALL)
EQUATION = re.compile(
    r"^`{3}\{math\}\n:label: ([\w-]+)\n(.*?)^`{3}", re.MULTILINE | re.DOTALL
)


def figures(pages: Path) -> dict[str, str]:
    """Every named figure of the rendered pages: name -> image, and where it is made."""
    found = {}
    for page in sorted(pages.glob("notebooks/*.html")):
        text = page.read_text()
        for name, inside in FIGURE.findall(text):
            image = re.search(r"<img [^>]*>", inside)
            if image is None:
                continue
            tag = image[0].replace('src="../', 'src="')
            address = f"notebooks/{page.name}#{name}"
            link = f'<a href="{address}">notebooks/{page.stem}.ipynb</a>'
            found[name] = f'{tag}<p class="made">Made by {link}.</p>'
    return found


def equations(stage: Path) -> dict[str, str]:
    """Every labelled equation of the staged pages: label -> TeX."""
    found = {}
    for path in [*stage.glob("book/*.md"), *stage.glob("notebooks/*.ipynb")]:
        for label, tex in EQUATION.findall(markdown_of(path)):
            found[label] = tex.strip()
    return found


def markdown_of(path: Path) -> str:
    """The text of a page, or of all the text cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    sources = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    return "\n".join("".join(source) for source in sources)


def write_slides(source: Path, stage: Path, pages: Path) -> Path:
    """Writes slides.html beside the book's first page.

    Args:
        source: the slides, in Markdown.
        stage: the sources of the book, executed.
        pages: the rendered book.

    Returns:
        The file.

    Raises:
        KeyError: a figure or an equation that the book does not have.
    """
    drawn = figures(pages)
    written = equations(stage)
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
    texts = re.split(r"^---\n", source.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for text in texts:
        body = markdown.render(text)
        body = re.sub(r"<p>\{figure\}<code>([\w-]+)</code></p>", figure, body)
        body = re.sub(r"<p>\{equation\}<code>([\w-]+)</code></p>", equation, body)
        slides.append(f"<section>\n{body}</section>\n")
    path = pages / "slides.html"
    path.write_text(HEAD + "".join(slides) + FOOT, encoding="utf-8")
    return path
