"""Sentences that are read once: short, and without the names of variables.

A chapter is held to it from the day its name stands in PLAIN.
"""

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

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
LONGEST = 30  # words of a sentence
PLAIN = [
    "credits",
    "kl_matrices",
    "ablation_cc",
    "diversity",
    "learning_curves",
    "fourteen_methods",
    "turn_study",
    "battles",
    "table1",
    "strategies",
    "performance",
]


@pytest.mark.parametrize("name", PLAIN)
def test_sentences_are_short(name):
    texts = texts_of(NOTEBOOKS / f"{name}.ipynb")
    found = [sentence for text in texts for sentence in sentences(text)]
    assert len(found) > 50
    too_long = {each: words(each) for each in found if words(each) > LONGEST}
    assert not too_long, too_long


@pytest.mark.parametrize("name", PLAIN)
def test_prose_has_no_names_of_variables(name):
    """QMIX(CIA), never qmix_cia; a link to a page shows that page's title."""
    for text in texts_of(NOTEBOOKS / f"{name}.ipynb"):
        text = re.sub(r"\{(?!doc)[\w:]+\}`[^`]*`|\{doc\}`[^`<]*`", "", text)
        text = re.sub(r"[\w/.]+\.ipynb|book/\S+", "", text)
        for paragraph in paragraphs(text):
            assert not re.findall(r"\b[a-z]+_[a-z_]+\b", plain(paragraph)), paragraph


@pytest.mark.parametrize("name", PLAIN)
def test_a_chapter_answers_first_and_says_how_long_it_takes(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    first = texts_of(path)[0]
    title, box, *_ = re.split(r"\n\n(?=```)|\n```\n", first)
    assert title.startswith("# ") and box.startswith("```{admonition} In short\n")
    said = re.findall(r"^\*\*([\w ]+)[.?]\*\*", box, re.MULTILINE)
    assert tuple(said) == ANSWER
    assert abs(int(STATED.search(first)[1]) - reading_time(path)) <= 1


def test_sentences_of_a_page():
    text = """# A title

```{admonition} In short
:class: answer
**Answer.** It is .5 here. See {doc}`the study <turn_study>`, and `a.b` at $x. Y$.
```

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
        "one item",
        "another",
        "Is it?",
        '"Yes," he said.',
        "(No.)",
        "A link ends it.",
    ]
    assert words("It is .5 here, by 3 of 5 (p = .1).") == 6
