"""Sentences that are read once: short, and without the names of variables.

A page is held to it from the day its name stands in ANSWERED or PLAIN.
"""

import json
import re
from pathlib import Path

import pytest

from tests.support.prose import (
    ANSWER,
    STATED,
    paragraphs,
    plain,
    reading_time,
    sentences,
    texts_of,
    words,
)

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 30  # words of a sentence
ANSWERED = [  # chapters of evidence, which answer first
    "notebooks/credits.ipynb",
    "notebooks/kl_matrices.ipynb",
    "notebooks/ablation_cc.ipynb",
    "notebooks/diversity.ipynb",
    "notebooks/learning_curves.ipynb",
    "notebooks/fourteen_methods.ipynb",
    "notebooks/turn_study.ipynb",
    "notebooks/battles.ipynb",
    "notebooks/table1.ipynb",
    "notebooks/strategies.ipynb",
    "notebooks/performance.ipynb",
    "notebooks/showcases.ipynb",
]
COMPUTED = [  # chapters whose answer is computed from the runs that are there
    "notebooks/other_games.ipynb",
    "notebooks/battles_compared.ipynb",
    "notebooks/right_credits.ipynb",
]
PLAIN = [
    *ANSWERED,
    *COMPUTED,
    "notebooks/what_wakes_a_team.ipynb",
    "notebooks/why_they_sleep.ipynb",
    "notebooks/turn.ipynb",
    "notebooks/value_decomposition.ipynb",
    "notebooks/contrastive_identity.ipynb",
    "notebooks/family.ipynb",
    "notebooks/first_experiment.ipynb",
    "notebooks/deviations.ipynb",
    "notebooks/teaching.ipynb",
    "notebooks/your_own_game.ipynb",
    "book/reproduce.md",
    "book/contributing.md",
    "book/errata.md",
    "notebooks/problem.ipynb",
    "notebooks/cia_on_every_mixer.ipynb",
    "book/story.md",
    "book/why.md",
    "book/claims.md",
    "book/landscape.md",
]


# where time goes into doing: an installation, a training, repairs, a quiz
DOING = ("starcraft", "recheck", "train", "break_it", "quiz")
INCLUDED = ("changelog",)  # what it says stands in another file
TIMED = [
    str(path.relative_to(ROOT))
    for pattern in ("notebooks/*.ipynb", "book/*.md", "book/family/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.stem not in (*DOING, *INCLUDED) and STATED.search("\n".join(texts_of(path)))
]


@pytest.mark.parametrize("name", PLAIN)
def test_sentences_are_short(name):
    texts = texts_of(ROOT / name)
    found = [sentence for text in texts for sentence in sentences(text)]
    assert len(found) > 30
    too_long = {each: words(each) for each in found if words(each) > LONGEST}
    assert not too_long, too_long


@pytest.mark.parametrize("name", PLAIN)
def test_prose_has_no_names_of_variables(name):
    """QMIX(CIA), never qmix_cia; a link to a page shows that page's title."""
    for text in texts_of(ROOT / name):
        text = re.sub(r"\{(?!doc)[\w:]+\}`[^`]*`|\{doc\}`[^`<]*`", "", text)
        text = re.sub(r"[\w/.]+\.ipynb|book/\S+", "", text)
        for paragraph in paragraphs(text):
            assert not re.findall(r"\b[a-z]+_[a-z_]+\b", plain(paragraph)), paragraph


@pytest.mark.parametrize("name", TIMED)
def test_a_page_says_how_long_it_takes(name):
    path = ROOT / name
    assert {*PLAIN} <= {*TIMED}
    stated = STATED.search("\n".join(texts_of(path)[:2]))
    assert abs(int(stated[1]) - reading_time(path)) <= 1


@pytest.mark.parametrize("name", ANSWERED)
def test_a_chapter_answers_first(name):
    first = texts_of(ROOT / name)[0]
    title, box, *_ = re.split(r"\n\n(?=```)|\n```\n", first)
    assert title.startswith("# ") and box.startswith("```{admonition} In short\n")
    said = re.findall(r"^\*\*([\w ]+)[.?]\*\*", box, re.MULTILINE)
    assert tuple(said) == ANSWER


@pytest.mark.parametrize("name", COMPUTED)
def test_a_computed_answer_comes_first(name):
    """The box is made before anything else is said, and has the same five lines."""
    cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert re.fullmatch(r"# [^\n]+", sources[0])
    (at,) = [index for index, source in enumerate(sources) if "AnswerBox(\n" in source]
    assert all(cell["cell_type"] == "code" for cell in cells[1 : at + 1])
    box = sources[at].partition("AnswerBox(\n")[2]
    facts = re.findall(r'^        "([\w ]+)": ', box, re.MULTILINE)
    assert facts == [*ANSWER[2:]]


def test_sentences_of_a_page():
    text = """# A title

```{admonition} In short
:class: answer
**Answer.** It is .5 here. See {doc}`the study <turn_study>`, and `a.b` at $x. Y$.
```

{doc}`there` is more. {cite:t}`x` say so.

- one item
- another

```python
not = "read"
```

```{math}
:label: eq
x
```

| a table | no |
Is it? "Yes," he said. (No.) A [link](https://a.b) ends it.
"""
    assert sentences(text) == [
        "A title",
        "Answer.",
        "It is .5 here.",
        "See the study , and at .",
        "Title is more.",
        "Title say so.",
        "one item",
        "another",
        "Is it?",
        '"Yes," he said.',
        "(No.)",
        "A link ends it.",
    ]
    assert words("It is .5 here, by 3 of 5 (p = .1).") == 6
