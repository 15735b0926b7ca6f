"""The built book in headless Chromium: phone and desktop, light and dark, offline.

It is read from a stick and below a sub-path. `make test-book` builds the book where it
is missing and runs this; it needs env/requirements-browser.txt and Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from ciacore.cia import cc_loss, cia_loss

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
from figures import WIDTH, smallest_text
from print_page import page_boxes, print_page

pytestmark = [pytest.mark.browser, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = [
    path.relative_to(HTML).as_posix()
    for folder in ("book", "notebooks")
    for path in HTML.glob(f"{folder}/**/*.html")
]
SOURCES = [
    path.relative_to(HTML).as_posix() for path in HTML.glob("_modules/**/*.html")
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The book below a path of its own on localhost."""
    assert PAGES, "build the book first: make book"
    handler = partial(Quiet, directory=str(HTML.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/html/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=FLAGS
        )
        yield chromium
        chromium.close()


class Visit:
    """A page that is open, and what it complained of or asked for elsewhere."""

    def __init__(
        self, browser, address: str, size: str = "desktop", scheme: str = "light"
    ) -> None:
        width, height = SIZES[size]
        self.complaints: list[str] = []
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            # a colour that is still fading in is no fault of the page
            reduced_motion="reduce",
        )
        self.page = context.new_page()
        self.page.on("console", lambda message: self.note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.note("error", str(error)))
        self.page.on("request", lambda request: self.asked(request.url))
        self.page.goto(address, wait_until="load")

    def note(self, kind: str, text: str) -> None:
        """A complaint, unless the theme says in two lines what it has done."""
        if not text.startswith(("[PST]", "[togglebutton]")):
            self.complaints.append(f"{kind}: {text}")

    def asked(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1", "file:", "data:", "blob:")):
            self.complaints.append(f"request: {url}")

    def close(self) -> None:
        self.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_quiet_and_fits(site, browser, size, scheme):
    """An empty console, no request beyond localhost, nothing wider than the screen."""
    found = {}
    for name in PAGES:
        visit = Visit(browser, site + name, size, scheme)
        sizes = "(e => [e.scrollWidth, e.clientWidth])(document.documentElement)"
        content, window = visit.page.evaluate(sizes)
        if content > window:
            visit.complaints.append(f"{content - window} px too wide")
        if visit.complaints:
            found[name] = visit.complaints
        visit.close()
    assert not found, json.dumps(found, indent=1)


UNFOLD = """() => {
    for (const each of document.querySelectorAll("details")) each.open = true;
    for (const each of document.querySelectorAll(".toggle-hidden"))
        each.classList.remove("toggle-hidden");
    return window.MathJax?.startup?.promise.then(() => 0);
}"""
# of every block of code and equation: kind, width, by how much it is cut, longest line
BOXES = """() => {
    const kinds = ["pre", "div.math", "mjx-container[display=true]"];
    const boxes = document.querySelectorAll(kinds.map(kind => "article " + kind));
    return [...boxes].map(box => {
        let cut = 0;
        for (let each = box; each.tagName != "ARTICLE"; each = each.parentElement)
            cut = Math.max(cut, each.scrollWidth - each.clientWidth);
        const lines = box.textContent.split("\\n").sort((a, b) => b.length - a.length);
        return [box.tagName, box.clientWidth, cut, lines[0].slice(0, 100)];
    });
}"""
# of the page: how far it scrolls sideways; of the blocks that are cut: do they scroll?
# is there a shadow at the edge?
EDGES = """() => {
    const page = document.documentElement;
    const blocks = [...document.querySelectorAll("div.highlight pre")];
    const cut = blocks.filter(block => block.scrollWidth > block.clientWidth);
    const styles = cut.map(block => getComputedStyle(block));
    return [page.scrollWidth - page.clientWidth,
            styles.map(style => style.overflowX),
            styles.map(style => style.backgroundImage.includes("gradient"))];
}"""


def test_no_code_is_cut_on_a_desktop(site, browser):
    """No block of code and no equation is wider than its box at 1280 px.

    Hidden cells, solutions and the pages of the sources are looked at, too.
    """
    found, seen = {}, {"PRE": 0, "DIV": 0, "MJX-CONTAINER": 0}
    for name in [*PAGES, *SOURCES]:
        visit = Visit(browser, site + name)
        visit.page.evaluate(UNFOLD)
        for kind, width, cut, line in visit.page.evaluate(BOXES):
            assert width > 0, f"{name}: a box that is hidden, {line}"
            seen[kind] += 1
            if cut > 0:
                found.setdefault(name, []).append(f"{cut} px: {line}")
        visit.close()
    assert not found, json.dumps(found, indent=1)
    assert seen["PRE"] > 300 and seen["DIV"] > 30 and seen["MJX-CONTAINER"] > 30


def test_code_scrolls_in_its_box_on_a_phone(site, browser):
    """The page never scrolls sideways, whatever is unfolded; what is cut has an
    edge."""
    wide, blocks = {}, 0
    for name in [*PAGES, *SOURCES]:
        visit = Visit(browser, site + name, "phone")
        visit.page.evaluate(UNFOLD)
        over, scrolls, shadows = visit.page.evaluate(EDGES)
        if over > 0:
            wide[name] = over
        assert set(scrolls) <= {"auto"} and all(shadows), name
        blocks += len(scrolls)
        visit.close()
    assert not wide and blocks > 300, wide


# of every figure that is seen: its file, its width as shown, and its box's
FIGURES = """() => [...document.querySelectorAll("article img")]
    .filter(image => image.src.includes("/_images/") && image.clientWidth > 0)
    .map(image => [image.src.split("/_images/")[1], image.clientWidth,
                   image.parentElement.clientWidth])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_figures_can_be_read(site, browser, size, scheme):
    """On dark pages every SVG is its twin. No text is below 9 px, and on a desktop no
    figure has to scroll for it."""
    seen, found = 0, {}
    for name in PAGES:
        visit = Visit(browser, site + name, size, scheme)
        for file, width, box in visit.page.evaluate(FIGURES):
            if not file.endswith(".svg"):
                continue
            seen += 1
            assert file.startswith("dark/") == (scheme == "dark"), f"{name}: {file}"
            drawn = (HTML / "_images" / file).read_text(encoding="utf-8")
            points = float(WIDTH.search(drawn)[1])
            if smallest_text(drawn) * width / points < 8.95:
                found.setdefault(name, []).append(f"{file}: shown {width} px wide")
            if size == "desktop" and width > box:
                found.setdefault(name, []).append(f"{file}: {width} px in {box} px")
        visit.close()
    assert seen > 50 and not found, json.dumps(found, indent=1)


def test_every_old_address_is_answered(site, browser):
    """Pages of the book as it was before it had its parts."""
    for address in (ROOT / "tests" / "data" / "addresses.txt").read_text().split():
        if address.endswith(".html"):
            visit = Visit(browser, site + address)
            assert "404" not in visit.page.title() and not visit.complaints, address
            visit.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(site, browser, scheme):
    """axe-core finds no violation of WCAG A and AA."""
    import axe_playwright_python

    (script,) = Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")
    options = {
        "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
        "resultTypes": ["violations"],
    }
    found = {}
    for name in PAGES:
        visit = Visit(browser, site + name, "desktop", scheme)
        visit.page.add_script_tag(path=str(script))
        result = visit.page.evaluate("options => axe.run(document, options)", options)
        for violation in result["violations"]:
            key = f"{violation['id']}: {violation['help']}"
            element = violation["nodes"][0]["html"][:160]
            found.setdefault(key, []).append(f"{name}: {element}")
        visit.close()
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("word", ["credit", "shuffle", "InfoNCE", "QPLEX", "Turn"])
def test_search_finds(site, browser, word):
    visit = Visit(browser, f"{site}search.html?q={word}")
    visit.page.wait_for_selector("#search-results li", timeout=20_000)
    assert visit.page.locator("#search-results li").count() > 0 and not visit.complaints
    visit.close()


@pytest.mark.parametrize("where", ["site", "stick"])
def test_turn_steps_by_key_and_click(site, browser, where):
    """Numbers of the page are those of its data, step after step; also from file://."""
    address = site if where == "site" else HTML.as_uri() + "/"
    visit = Visit(browser, f"{address}notebooks/credits.html", "phone")
    box = visit.page.locator(".cia-explorer[data-explorer=turn]")
    data = json.loads(
        visit.page.locator(f"#{box.get_attribute('id')}-data").text_content()
    )
    box.get_by_label("ask me").uncheck()
    box.focus()
    for _ in range(3):
        visit.page.keyboard.press("ArrowRight")
    box.get_by_role("button", name="step forward").click()
    assert box.get_attribute("data-step") == "4"
    cells = box.locator("table td").all_text_contents()[1:]
    expected = []
    for team in data["teams"]:
        expected += [round(value, 2) for value in team["credits"][4]]
        expected += [round(value, 1) for value in team["utilities"][4]]
    shown = [float(cell.replace("\u2212", "-")) for cell in cells]
    assert shown == pytest.approx(expected, abs=0.11)
    visit.page.keyboard.press("End")
    assert box.get_attribute("data-step") == str(len(data["rewards"]) - 1)
    visit.page.keyboard.press("Home")
    assert f"agent {data['free'][0]} is free" in box.inner_text()
    assert not visit.complaints
    visit.close()


@pytest.mark.parametrize("where", ["site", "stick"])
def test_a_watched_team_steps_plays_and_pauses(site, browser, where):
    """Captions and images are those of its data; also from file://."""
    address = site if where == "site" else HTML.as_uri() + "/"
    visit = Visit(browser, f"{address}notebooks/evaluate.html", "phone")
    box = visit.page.locator("[id^=cia-watch-][role=group]")
    data = json.loads(
        visit.page.locator(f"#{box.get_attribute('id')}-data").text_content()
    )

    def shows(step: int) -> None:
        assert box.locator("span").text_content() == data["captions"][step]
        source = box.locator("img").get_attribute("src")
        assert source == f"data:image/png;base64,{data['images'][step]}"

    box.focus()
    visit.page.keyboard.press("ArrowRight")
    box.get_by_role("button", name="step", exact=True).click()
    shows(2)
    box.get_by_role("button", name="step back").click()
    shows(1)
    box.get_by_role("button", name="play").click()
    box.get_by_role("button", name="pause").wait_for()
    visit.page.wait_for_function(
        "([id, text]) => document.querySelector(`#${id} span`).textContent === text",
        arg=[box.get_attribute("id"), data["captions"][3]],
    )
    box.get_by_role("button", name="pause").click()
    assert not visit.complaints
    visit.close()


def test_a_battle_steps(site, browser):
    visit = Visit(browser, f"{site}notebooks/strategies.html")
    box = visit.page.locator(".cia-explorer[data-explorer=battle]")
    data = json.loads(
        visit.page.locator(f"#{box.get_attribute('id')}-data").text_content()
    )
    box.focus()
    visit.page.keyboard.press("End")
    living = sum(health > 0 for health in data["health"][-1][: data["n_agents"]])
    foes = sum(health > 0 for health in data["health"][-1][data["n_agents"] :])
    assert f"{living} agents against {foes} foes" in box.inner_text()
    assert not visit.complaints
    visit.close()


def test_matrix_games_are_solved_in_the_page(site, browser):
    """VDN is the best sum exactly, and QMIX errs as trained networks do.

    An edited table is solved anew.
    """
    visit = Visit(browser, f"{site}notebooks/value_decomposition.html")
    box = visit.page.locator(".cia-explorer[data-explorer=matrix]")
    slider = box.get_by_label("penalty for climbing alone")
    goals = box.locator(".cia-goal")
    for penalty in (-7, -8, -12):
        slider.fill(str(penalty))
        visit.page.wait_for_function(
            "name => document.querySelector(name).textContent !== '?'",
            arg=f"[data-at='QMIX {penalty}']",
        )
    assert goals.first.get_attribute("data-reached") == "true"
    # QTRAN climbs where VDN and QMIX do not
    assert goals.nth(1).get_attribute("data-reached") == "true"
    payoff = torch.tensor([[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]])
    rows, columns = payoff.mean(1, keepdim=True), payoff.mean(0, keepdim=True)
    best_sum = rows + columns - payoff.mean()

    def error(method: str) -> float:
        return float(box.locator(f"[data-method={method}]").get_attribute("data-error"))

    least = float((best_sum - payoff).square().mean())
    assert error("VDN") == pytest.approx(least, rel=1e-6)
    assert 32 - 1e-3 < error("QMIX") < 36  # no monotone table does better than 32
    for row in range(3):
        for column in range(3):
            cell = box.get_by_label(f"payoff of actions {row} and {column}")
            cell.fill(str(row + column))
    visit.page.wait_for_function(
        "document.querySelector('[data-method=VDN]').dataset.error < 1e-9"
    )
    assert error("QMIX") < 0.01
    assert box.locator("[data-method=QPLEX]").count() == 0
    assert not visit.complaints
    visit.close()


def test_the_two_step_game_is_fitted_step_by_step(site, browser):
    """Keys, clicks and the choice of a game show the numbers of its data."""
    visit = Visit(browser, f"{site}notebooks/showcases.html", "phone")
    box = visit.page.locator(".cia-explorer[data-explorer=two-step]")
    data = json.loads(
        visit.page.locator(f"#{box.get_attribute('id')}-data").text_content()
    )
    box.focus()
    visit.page.keyboard.press("ArrowRight")
    box.get_by_role("button", name="step forward").click()
    assert box.get_attribute("data-step") == "2"
    for game in (1, 0):
        box.get_by_label("what the safe table pays").select_option(index=game)
        for fit in data["games"][game]["fits"]:
            side = box.locator(f"[data-method={fit['name']}]")
            cells = side.locator("table tr td:not(:empty)").all_text_contents()
            shown = [float(cell.replace("\u2212", "-")) for cell in cells]
            expected = np.array(fit["tables"][2]).flatten()
            assert shown == pytest.approx(expected, abs=0.06)
            assert float(side.get_attribute("data-earns")) == fit["earns"][2]
    assert not visit.complaints
    visit.close()


@pytest.mark.parametrize(
    ("page", "kind"), [("turn", "loop"), ("contrastive_identity", "loose")]
)
def test_what_moves_in_a_chapter_stands_still_where_asked(site, browser, page, kind):
    """Visits ask for less motion; the button starts what moves, and stops it."""
    visit = Visit(browser, f"{site}notebooks/{page}.html", "phone")
    box = visit.page.locator(f".cia-explorer[data-explorer={kind}]")
    box.scroll_into_view_if_needed()
    assert box.get_attribute("data-step") == "0"
    box.get_by_role("button", name="play").click()
    visit.page.wait_for_function(
        f"document.querySelector('[data-explorer={kind}]').dataset.step > 1"
    )
    box.get_by_role("button", name="pause").click()
    assert not visit.complaints
    visit.close()


def test_the_sandbox_has_the_librarys_losses(site, browser):
    visit = Visit(browser, f"{site}notebooks/contrastive_identity.html")
    box = visit.page.locator(".cia-explorer[data-explorer=sandbox]")
    credits = torch.tensor([[[2.0, 1.0], [1.6, 2.4]]])
    identities = torch.tensor([[1.0, 0.0], [2.2, 0.6]])

    def agree() -> None:
        cia = float(cia_loss(credits, identities))
        cc = float(cc_loss(credits, identities))
        assert float(box.get_attribute("data-cia")) == pytest.approx(cia, abs=1e-5)
        assert float(box.get_attribute("data-cc")) == pytest.approx(cc, abs=1e-5)

    agree()
    box.focus()
    for _ in range(5):
        visit.page.keyboard.press("ArrowLeft")  # credits of agent 0, first step
    credits[0, 0, 0] -= 0.5
    agree()
    credits, identities = credits.requires_grad_(), identities.requires_grad_()
    to_credits, to_identities = torch.autograd.grad(
        cia_loss(credits, identities), (credits, identities)
    )
    box.get_by_role("button", name="one step downhill").click()
    credits = (credits - 0.5 * to_credits).detach()
    identities = (identities - 0.5 * to_identities).detach()
    agree()
    assert not visit.complaints
    visit.close()


def test_slides_are_quiet_and_fit(site, browser):
    """Every slide fits its frame, every picture is described, nothing is fetched."""
    visit = Visit(browser, f"{site}slides.html")
    visit.page.wait_for_function(
        "window.MathJax.startup && document.querySelector('mjx-container')"
    )
    count = visit.page.evaluate("Reveal.getTotalSlides()")
    assert count == (ROOT / "book" / "slides.md").read_text().count("\n---\n") + 1
    for index in range(count):
        visit.page.evaluate("index => Reveal.slide(index)", index)
        high, wide = visit.page.evaluate(
            "(s => [s.scrollHeight, s.scrollWidth])(Reveal.getCurrentSlide())"
        )
        assert high <= 700 and wide <= 1100, f"slide {index}"
    described = "[...document.images].map(i => [i.naturalWidth, i.alt])"
    pictures = visit.page.evaluate(described)
    assert len(pictures) > 4
    assert all(width > 0 and alt for width, alt in pictures)
    assert not visit.complaints
    visit.close()


def test_slides_have_notes_and_print(site, browser, tmp_path):
    """Every slide is a page of the PDF; the speaker's notes are off the slides."""
    visit = Visit(browser, f"{site}slides.html")
    hidden = "[...document.querySelectorAll('aside.notes')].map(n => n.offsetHeight)"
    heights = visit.page.evaluate(hidden)
    count = visit.page.evaluate("Reveal.getTotalSlides()")
    visit.close()
    assert heights == [0] * count
    pdf = tmp_path / "slides.pdf"
    print_page(f"{site}slides.html?print-pdf", pdf)
    assert len(page_boxes(pdf)) == count


def test_the_cheat_sheet_is_one_sheet_of_a4(site, tmp_path):
    pdf = tmp_path / "cheat_sheet.pdf"
    print_page(f"{site}book/cheat_sheet.html", pdf)
    ((wide, high),) = page_boxes(pdf)
    assert abs(wide - 595.3) < 2 and abs(high - 841.9) < 2
