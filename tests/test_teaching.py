"""The teaching kit: slides keep to the unit's minutes, the lab's runs fit the chapter.

And the book is shown to a room.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import threading
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from ciabook.evidence.beside_paper import mixture_mean, readings
from ciabook.evidence.final_returns import final_returns
from ciabook.evidence.wake_replication import REPLICATION
from ciabook.page.front_page import PAPER
from ciabook.page.replicate import CLASS
from ciabook.page.story import read
from ciabook.studies.own import own_study
from ciabook.studies.wake import WAKE

from ciacore.mixers.qmix import QMIXAt
from ciacore.types import Utilities

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book"))
SLIDES = (ROOT / "book" / "slides.md").read_text(encoding="utf-8").split("\n---\n")


def prose(name: str) -> str:
    """The text of a notebook."""
    path = ROOT / "notebooks" / f"{name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    return "\n".join(texts)


PAGE = prose("teaching")


def minutes_of(slide: str) -> tuple[int, int]:
    first, last = re.search(r"\nNote: Minutes (\d+)-(\d+)\. ", slide).groups()
    return int(first), int(last)


def test_slides_fill_ninety_minutes_without_a_gap():
    spans = [minutes_of(slide) for slide in SLIDES]
    assert spans[0][0] == 0 and spans[-1][1] == 90
    for (_, end), (start, _) in pairwise(spans):
        assert end == start
    assert all(start < end for start, end in spans)


def test_the_units_slots_are_those_of_its_slides():
    row = r"^\| (\d+)-(\d+) \| (\d+)-(\d+) \|"
    unit = PAGE[PAGE.index("## A unit of 90 minutes") : PAGE.index("## A lab")]
    slots = [tuple(map(int, found)) for found in re.findall(row, unit, re.M)]
    assert len(slots) == 6 and slots[-1][3] == len(SLIDES)
    for start, end, first, last in slots:
        assert minutes_of(SLIDES[first - 1])[0] == start
        assert minutes_of(SLIDES[last - 1])[1] == end
    assert [slot[2] for slot in slots[1:]] == [slot[3] + 1 for slot in slots[:-1]]


def test_wrong_answers_belong_to_their_slides():
    """Where the page has an expected wrong answer, the notes of that slide do, too."""
    answers = PAGE[PAGE.index("### What students") : PAGE.index("### Board plan")]
    numbers = re.findall(r"^\| (\d+) \|", answers, re.M)
    assert len(numbers) > 8
    for number in map(int, numbers):
        assert "xpected wrong answer" in SLIDES[number - 1], number


def test_slides_lead_to_the_explorers():
    """A section of a chapter that a slide links to is there."""
    links = re.findall(r"notebooks/(\w+)\.html#([\w-]+)\)", "".join(SLIDES))
    assert {name for name, _ in links} == {
        "credits",
        "value_decomposition",
        "contrastive_identity",
    }
    for name, anchor in links:
        heads = re.findall(r"^#+ (.+)$", prose(name), re.M)
        assert anchor in [head.lower().replace(" ", "-") for head in heads]


def test_numbers_on_slides_are_those_of_the_results():
    slides = (ROOT / "book" / "slides.md").read_text(encoding="utf-8")
    facts = read(ROOT / "book" / "results")
    step = max(facts.paper)
    ours = {name: final_returns(facts.full[name], 4, at=step) for name in facts.full}
    cia, qmix = ours["qmix_cia"], ours["qmix"]
    paper = readings(PAPER, "qmix_cia")[step].mean
    assert f"comes out again: {cia.mean():.0f}, the paper has {paper:.0f}" in slides
    asleep = int(facts.sleeps["qmix"].sum())
    assert (len(qmix), asleep) == (5, 4)
    assert f"Our five QMIX teams average {qmix.mean():.0f}: one awake, four" in slides
    theirs, (mean, band) = facts.paper[step], facts.predicted[step]
    assert f"would average {mean:.0f}, with a band of {band:.0f}" in slides
    assert f"has {theirs.mean:.0f}, with a band of {theirs.half_width:.0f}" in slides
    alike = facts.short["qmix_rs_rest"]
    assert f"so credits are alike: {alike.sum()} of {len(alike)} sleeps" in slides
    asleep_vdn = facts.sleeps["vdn"]
    assert f"{asleep_vdn.sum()} of {len(asleep_vdn)} long teams sleep" in slides
    against, p = facts.pairs["qmix_rest"], facts.p_values["qmix_rest"]
    told = f"on {against.only_theirs} seeds, only QMIX(CIA) on {against.only_ours}: "
    assert told + f"McNemar's p is {against.p_value:.3f}, and {p:.3f} by Holm" in slides
    held = facts.given.asleep
    qmix, fed, starved = (held[arm].sum() for arm in ("qmix", "fed", "starved"))
    assert f"{qmix} of QMIX sleep, {fed} where the second agent is given" in slides
    assert f"and {starved} of QMIX(CIA) where it is taken away" in slides
    assert f"credit for agent 0 leaves {held['raised'].sum()} of 20 asleep" in slides
    alike = facts.fresh.arms["rs"].asleep
    assert f"credits alike, and {alike.sum()} of {len(alike)} sleep" in slides
    share = facts.fresh.arms["qmix"].asleep.mean()
    fresh = mixture_mean(share, *facts.kinds)
    told = f"the {100 * share:.0f} % of our forty fresh seeds the mean would be"
    assert f"{told} {fresh:.0f}" in slides


def test_votes_on_a_slide_are_those_of_its_chapter():
    """The chapter asserts the counts, and the slide says them."""
    chapter = (ROOT / "notebooks" / "credits.ipynb").read_text(encoding="utf-8")
    (counts,) = re.findall(r"counts == (\{.*\})", chapter)
    counts = ast.literal_eval(counts.replace('\\"', '"'))
    (few, whole), (few_cia, whole_cia) = counts["QMIX"], counts["QMIX(CIA)"]
    slides = " ".join(SLIDES)
    assert f"network is right {few} times and that of QMIX(CIA) {few_cia} ti" in slides
    assert f"on all hundred {whole} and {whole_cia} times" in slides


def test_credits_by_hand_are_those_of_the_mixer():
    """The mixer that a slide writes down, its credits, and the answer in its notes."""
    mixer = QMIXAt(
        w1=torch.tensor([[1.0, 2.0], [3.0, 1.0]]),  # [agent, hidden unit]
        b1=torch.tensor([0.0, -1.0]),
        w2=torch.tensor([2.0, 1.0]),
        v=torch.tensor(0.0),
    )
    q = torch.tensor([2.0, 1.0], requires_grad=True)
    joint = mixer(Utilities(q, q, torch.zeros(2, 1))).q_tot
    (credits,) = torch.autograd.grad(joint, q)
    (slide,) = [each for each in SLIDES if "*By hand:*" in each]
    asked = r"$Q_\text{tot} = 2\,\text{ELU}(Q_0 + 3 Q_1) + \text{ELU}(2 Q_0 + Q_1 - 1)$"
    assert asked in slide and "at $Q_0 = 2$, $Q_1 = 1$?" in slide
    first, second = (f"{number:g}" for number in credits.tolist())
    assert f"agent 0 has 2·1 + 1·2 = {first}, agent 1 has 2·3 + 1·1 = {second}" in slide
    shares = credits * q.detach()
    wrong = " and ".join(f"{share:g}" for share in shares.tolist())
    assert f'"{wrong}, credit times utility"' in slide and wrong in PAGE
    told = f"add up to {shares.sum():g}, and the joint value is {joint.item():g}"
    assert told in slide


def test_the_four_ways_give_what_the_notes_say():
    """Two agents who earn 1 if both act: differences, and means over both orders."""
    both = [(k, other) for k in (0, 1) for other in (0, 1)]
    reward = {joint: min(joint) for joint in both}
    difference = reward[1, 1] - reward[0, 1]
    shapley = (reward[1, 0] - reward[0, 0] + difference) / 2
    (slide,) = [each for each in SLIDES if "Four ways to answer" in each]
    assert f"rewards give {difference} to each" in slide
    assert f"Shapley values give {shapley} to each" in slide
    map_of_ways = (ROOT / "book" / "landscape.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w ]+) \| ", slide, re.M)[1:]
    assert len(rows) == 4 and "book/landscape.html" in slide
    assert all(row.lower() in map_of_ways.lower() for row in rows)


def test_notes_are_for_the_speaker(tmp_path):
    slides = importlib.import_module("slides")
    source, pages = tmp_path / "slides.md", tmp_path / "html"
    (pages / "notebooks").mkdir(parents=True)
    source.write_text(
        "# One\n\nSeen.\n\n{address}\n\nNote: Minutes 0-1. *Said.*\n\n---\n\n# Two\n"
    )
    text = slides.write_slides(source, tmp_path, pages).read_text()
    said = '<aside class="notes"><p>Minutes 0-1. <em>Said.</em></p>'
    assert said in text and text.count("<section>") == 2
    assert "Note:" not in text and "<p>Seen.</p>" in text
    assert text.count(slides.ADDRESS) == 1


def test_the_labs_runs_are_what_the_chapter_reads():
    entries = own_study(ROOT / "examples" / "class_lab.py")
    arms = {entry.config.method: entry.config for entry in entries}
    read = REPLICATION.plans[CLASS].configs.values()
    assert arms == {config.method: config for config in read}
    seeds = {entry.seed for entry in entries}
    assert len(entries) == 20 and seeds == {*range(1010, 1020)}
    assert not seeds & {*REPLICATION.used}
    single = re.search(r"-y \"\n(method: .+?)\n\"", PAGE, re.DOTALL)[1]
    assert f"env_steps: {WAKE['cia'].env_steps}\n" in single
    assert f"overrides: {{method: {WAKE['cia'].method}}}" in single


def test_the_book_is_served_with_an_address_and_its_code(tmp_path, capsys):
    serve = importlib.import_module("serve")
    (tmp_path / "index.html").write_text("the book")
    slides = importlib.import_module("slides")
    (tmp_path / "slides.html").write_text(f"<h1>Slides</h1>{slides.ADDRESS}")
    with serve.server_of(tmp_path, 0, "127.0.0.1") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.read() == b"the book"
        with urllib.request.urlopen(f"{address}slides.html", timeout=30) as page:
            assert slides.ADDRESS in page.read().decode()  # no address is known yet
        server.code = serve.on_the_slides(address)
        with urllib.request.urlopen(f"{address}slides.html?notes", timeout=30) as page:
            shown = page.read().decode()
        serve.show(address, tmp_path / "address.svg")
        server.shutdown()
    assert shown.count("<svg") == 1 and f'href="{address}">{address}</a>' in shown
    assert "src=" not in shown and slides.ADDRESS not in shown
    assert slides.ADDRESS in (tmp_path / "slides.html").read_text()  # nothing is left
    assert f"The book: {address}" in capsys.readouterr().out
    assert (tmp_path / "address.svg").read_text().count("<svg") == 1
    assert re.fullmatch(r"(\d+\.){3}\d+", serve.lan_address())


@pytest.mark.parametrize("pages", [1, 2])
def test_pages_of_a_pdf_are_counted(pages, tmp_path):
    """Of a PDF as matplotlib writes it, A4 in points."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    path = tmp_path / "made.pdf"
    with PdfPages(path) as pdf:
        for _ in range(pages):
            pdf.savefig(Figure(figsize=(8.2677, 11.6929)))
    boxes = importlib.import_module("print_page").page_boxes(path)
    assert len(boxes) == pages
    assert all(abs(w - 595.3) < 1 and abs(h - 841.9) < 1 for w, h in boxes)
