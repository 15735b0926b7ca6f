"""What search engines, previews and the book's own search find.

Every page gets a description, tags for previews and words that people search for.
The footer names the version, and a sitemap lists all pages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes

LONGEST = 200  # characters of a description
PREVIEW = "data/preview.png"  # of the first page's folder, drawn with the results
# What people call the subject of a page, where the page itself says it otherwise.
SYNONYMS = {
    "book/intro": "MARL, cooperative multi-agent reinforcement learning, credit "
    "assignment problem, CTDE",
    "book/story": "replication, reproduction, results, summary, main finding",
    "book/landscape": "credit assignment problem, counterfactual, aristocrat utility, "
    "wonderful life utility, WLU, policy gradient, MAPPO, COMA, MADDPG, reward shaping",
    "book/reproduce": "install, replication, reproducibility, papermill, SLURM, Docker",
    "book/cluster": "SLURM, HPC, Snakemake, memory, parallel",
    "book/rules": "pre-registration, registered report, power, Holm correction",
    "book/starcraft": "SMAC, StarCraft Multi-Agent Challenge, PySC2",
    "notebooks/turn": "gridworld, didactic game, toy environment",
    "notebooks/value_decomposition": "value factorisation, factorization, monotonicity",
    "notebooks/contrastive_identity": "contrastive learning, mutual information, CIA",
    "notebooks/credits": "gradient, attribution, saliency, sensitivity",
    "notebooks/diversity": "homogeneous, parameter sharing, roles, behaviour diversity",
    "notebooks/battles": "SMAX, JaxMARL, SMAC, micromanagement",
    "notebooks/performance": "speed, benchmark, throughput, GPU, memory",
    "notebooks/teaching": "course, lecture, syllabus, students, rubric, grading",
    "notebooks/quiz": "quiz, test, exam, questions, answer key",
    "notebooks/your_own_game": "environment, Gymnasium, PettingZoo, wrapper",
}


def description_of(doctree: nodes.document) -> str:
    """The goal that a page states in its box, or its first paragraph; cut at a word."""
    paragraphs = [node.astext() for node in doctree.findall(nodes.paragraph)]
    stated = [text for text in paragraphs if re.match(r"Goals?:", text)]
    text = (stated or paragraphs or [""])[0]
    text = re.sub(r"^Goals?:\s*|\s*(Time|For|Before):.*", "", text, flags=re.DOTALL)
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = text[: LONGEST - 2].rsplit(" ", 1)[0].rstrip(",;:") + " …"
    return text[:1].upper() + text[1:]


def address(app: Any) -> str:
    """Where the book will be read, ending in a slash.

    That is CIA_BOOK_URL where it is set, or else what GitHub Pages would call it.
    """
    repository = app.config.html_theme_options.get("repository_url", "")
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+?)/?", repository)
    pages = f"https://{found[1]}.github.io/{found[2]}/" if found else ""
    there = os.environ.get("CIA_BOOK_URL", pages)
    return there if not there or there.endswith("/") else there + "/"


def describe(app: Any, doctree: nodes.document) -> None:
    """Adds tags to a page that was read.

    Args:
        app: the application of Sphinx.
        doctree: the page.
    """
    page = app.env.docname
    titles = doctree.findall(nodes.title)
    title = next((node.astext() for node in titles), app.config.html_title or page)
    described = description_of(doctree)
    tags = [
        {"name": "description", "content": described},
        {"property": "og:type", "content": "article"},
        {"property": "og:site_name", "content": app.config.html_title},
        {"property": "og:title", "content": title},
        {"property": "og:description", "content": described},
        {"name": "twitter:card", "content": "summary_large_image"},
    ]
    if address(app):
        image = f"{address(app)}_static/{Path(PREVIEW).name}"
        tags.append({"property": "og:image", "content": image})
    if page in SYNONYMS:
        tags.append({"name": "keywords", "content": SYNONYMS[page]})  # searched, too
    for number, tag in enumerate(tags):
        doctree.insert(number, nodes.meta("", **tag))


def sign(app: Any) -> None:
    """Puts the version and how to cite into every footer."""
    from ciacore import __version__

    app.config.html_theme_options["extra_footer"] = (
        f'<p>Version {__version__}. <a href="'
        f"{app.config.html_theme_options.get('repository_url', '')}"
        '/blob/main/CITATION.cff">How to cite</a>. Text CC BY 4.0, code MIT.</p>'
    )


def list_pages(app: Any, error: Exception | None) -> None:
    """Writes sitemap.xml, and copies the picture that previews show.

    Args:
        app: the application of Sphinx.
        error: why the build failed, or None.
    """
    if error is not None or app.builder.format != "html":
        return
    there = address(app)
    entries = [
        f"  <url><loc>{escape(there + app.builder.get_target_uri(page))}</loc></url>"
        for page in sorted(app.env.found_docs)
    ]
    text = "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">',
            *entries,
            "</urlset>\n",
        ]
    )
    (Path(app.outdir) / "sitemap.xml").write_text(text, encoding="utf-8")
    picture = Path(__file__).resolve().parents[1] / PREVIEW
    if picture.is_file():
        target = Path(app.outdir) / "_static" / picture.name
        target.write_bytes(picture.read_bytes())


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("doctree-read", describe)
    app.connect("builder-inited", sign, priority=100)  # before the theme reads it
    app.connect("build-finished", list_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
