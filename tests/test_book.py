"""The book builds without a warning, works offline, and holds no failed notebook."""

import importlib
import os
import re
import subprocess
import sys
from functools import cache, cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "link": "href",
}


KINDS = ("fig-", "tab-")  # what the name of a figure or table begins with


class Page(HTMLParser):
    """The start tags of one rendered page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.text, self.tags = path, path.read_text(encoding="utf-8"), []
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, *names: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag in names]

    @cached_property
    def anchors(self) -> set[str]:
        return {
            attributes[key]
            for _, attributes in self.tags
            for key in ("id", "name")
            if attributes.get(key)
        }


@cache
def parse(path: Path) -> Page:
    return Page(path)


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    """The whole chain with a very short training.

    Every Sphinx warning is an error in book/build.py.
    """
    output = tmp_path_factory.mktemp("book")
    command = [
        sys.executable,
        str(ROOT / "book" / "build.py"),
        "--env-steps",
        "2000",
        "--output",
        str(output),
    ]
    result = subprocess.run(command, cwd=output, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    index = output / "_build" / "html" / "index.html"
    assert f"Open {index}" in result.stdout
    return index.parent


@pytest.fixture(scope="module")
def build():
    """book/build.py as a module, on the path so that its worker processes find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book"))
        yield importlib.import_module("build")


@pytest.fixture(scope="module")
def pages(html: Path, build) -> dict[str, Page]:
    """The pages of the table of contents."""
    return {name: parse(html / f"{name}.html") for name in build.read_toc()}


def test_every_page_of_the_toc_is_rendered(pages):
    for name, page in pages.items():
        assert page.all("h1"), name


def test_every_old_address_is_still_there(html: Path):
    """Those of the book as it was before it had its parts."""
    for address in (ROOT / "tests" / "data" / "addresses.txt").read_text().split():
        assert (html / address).is_file(), address


def test_every_page_says_what_it_is_for(pages):
    """Goal, time and what to read before; the front page asks its question instead."""
    for name, page in pages.items():
        if name == "book/intro":
            continue
        top = re.sub(r"<[^>]+>", "", page.text[page.text.rindex("<h1") :])[:3000]
        assert all(
            re.search(rf"\b{word}", top) for word in ("Goal", "Time", "Before")
        ), name


def test_every_image_says_what_it_shows(pages):
    for name, page in pages.items():
        for image in page.all("img"):
            alt = (image.get("alt") or "").strip()
            assert alt and not re.fullmatch(r"\S+\.(png|svg|gif)", alt), (
                f"{name}: {image}"
            )


def test_no_markup_is_left_on_a_page(pages):
    """What MyST does not understand it prints."""
    for name, page in pages.items():
        text = re.sub(
            r"<(script|style|pre|code)\b.*?</\1>", " ", page.text, flags=re.DOTALL
        )
        text = re.sub(r"<[^>]+>", " ", text)
        left = re.search(
            r".{0,40}(\]\(|\{\{|\{(doc|ref|term|cite|numref|eq|py)\b|:::|```).{0,40}",
            text,
        )
        assert left is None, f"{name}: {left.group()}"


def test_nothing_is_loaded_from_the_network(html: Path):
    for path in html.rglob("*.html"):
        for tag, attributes in parse(path).tags:
            if tag == "link" and attributes.get("rel") not in (
                "stylesheet",
                "icon",
                "preload",
                "modulepreload",
            ):
                continue
            address = attributes.get(LOADED.get(tag, ""), "") or ""
            assert not address.startswith(("http:", "https:", "//")), (
                f"{path.relative_to(html)}: {address}"
            )


def test_internal_links_and_anchors_resolve(html: Path):
    dead = []
    for path in html.rglob("*.html"):
        for link in parse(path).all("a"):
            parts = urlsplit(link.get("href") or "")
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            fragment = unquote(parts.fragment)
            if not target.is_file() or (
                fragment
                and target.suffix == ".html"
                and fragment not in parse(target).anchors
            ):
                dead.append(f"{path.relative_to(html)} -> {link['href']}")
    assert not dead, "\n".join(dead)


def test_search_finds_what_the_book_is_about(html: Path):
    index = (html / "searchindex.js").read_text(encoding="utf-8").lower()
    for word in ("credit", "turn", "infonc"):  # the index holds stems
        assert re.search(rf'[{{, ]"?{word}"?:', index), word


def test_every_figure_and_table_is_mentioned_in_the_text(pages):
    """By its number, as a link.

    A picture that no sentence speaks of has no place here.
    """
    tags = [
        (name, tag, attributes)
        for name, page in pages.items()
        for tag, attributes in page.tags
    ]
    named = {
        a["id"]: name
        for name, tag, a in tags
        if tag in ("figure", "table") and a.get("id", "")[:4] in KINDS
    }
    links = {
        a.get("href", "")
        for _, tag, a in tags
        if tag == "a" and a.get("class") == "reference internal"
    }
    unmentioned = set(named) - {link.rpartition("#")[2] for link in links}
    assert len(named) > 40 and not unmentioned, {
        anchor: named[anchor] for anchor in unmentioned
    }


def test_figures_and_equations_have_numbers_of_their_own(pages):
    seen = {}
    for name, page in pages.items():
        figures = re.findall(
            r'<span class="caption-number">Fig\. ([\d.]+) ?</span>', page.text
        )
        equations = re.findall(r'<span class="eqno">\(([\d.]+)\)', page.text)
        captioned = len(re.findall(r"<figcaption", page.text))
        assert len(figures) == captioned, (
            f"{name}: {captioned} captions, {len(figures)} numbers"
        )
        for number in [f"Fig. {n}" for n in figures] + [f"({n})" for n in equations]:
            assert seen.setdefault(number, name) == name, (
                f"{number} is on {seen[number]} and on {name}"
            )
    assert any(number.startswith("Fig. ") for number in seen)
    assert any(number.startswith("(") for number in seen)


def test_pages_name_no_path_of_this_machine(pages):
    for name, page in pages.items():
        assert f"{ROOT}{os.sep}" not in page.text, name


def test_every_module_is_in_the_reference():
    roots = (ROOT, "ciacore"), (ROOT / "notebooks", "ciabook")
    modules = [
        path.relative_to(root)
        for root, package in roots
        for path in (root / package).rglob("*.py")
    ]
    names = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in modules
    }
    documented = re.findall(
        r"automodule:: (\S+)", (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    )
    assert set(documented) == names
    assert len(documented) == len(names)  # each of them once


def test_the_journey_of_a_step_names_functions_that_exist():
    """On the contributor page: a row for each function, in the file it names."""
    page = (ROOT / "book" / "contributing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| `([^`]+)` \| `([^`]+)` \|", page, re.M)
    assert rows[0][1] == "train" and rows[-1][1] == "cia_loss"
    for file, function in rows:
        name = file.removesuffix(".py").replace("/", ".")
        found = importlib.import_module(name)
        for part in function.split("."):
            found = getattr(found, part)
        assert callable(found) and found.__module__ == name


def notebook(folder: Path, *cells: str) -> Path:
    """A notebook whose first cell is its parameters cell."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    page = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    page.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    page.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(page, folder / "page.ipynb")
    return folder / "page.ipynb"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("1 / 0", "cell [3] raised ZeroDivisionError: division by zero"),
        ("import time; time.sleep(60)", "timed out"),
    ],
)
def test_a_failed_notebook_never_reaches_the_book(
    build, tmp_path: Path, cell: str, reason: str
):
    job = build.Job(
        notebook(tmp_path, "x: int = 1", "x", cell), tmp_path / "stage.ipynb", {}
    )
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(build.BuildError, match=r"1 of 1 notebooks failed") as failure:
        build.execute_all(
            [job],
            build.partial(build.execute, unfinished=tmp_path / "unfinished", timeout=3),
        )
    assert "page.ipynb" in str(failure.value) and reason in str(failure.value)
    assert not job.target.exists()


def test_an_unknown_parameter_is_refused_before_anything_runs(build, tmp_path: Path):
    job = build.Job(
        notebook(tmp_path, "x: int = 1"), tmp_path / "stage.ipynb", {"y": 2}
    )
    with pytest.raises(
        build.BuildError, match=r"page\.ipynb does not declare y\. It declares: x\."
    ):
        build.check_parameters([job])


def test_notebooks_are_executed_without_pages_where_that_is_asked(
    build, tmp_path: Path, capsys, monkeypatch
):
    executed: list[str] = []
    for name in ("PYTHONPATH", "OMP_NUM_THREADS"):
        # both are set by the build, and as before after this test
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(
        build,
        "execute_all",
        lambda jobs, run: executed.extend(job.target.stem for job in jobs),
    )
    monkeypatch.setattr(build, "stage_pages", lambda stage, trained: None)
    monkeypatch.setattr(
        build, "render", lambda folder: pytest.fail("pages were rendered")
    )
    assert build.main(["--execute-only", "--output", str(tmp_path)]) == 0
    assert {"qmix", "qmix_cia", "turn", "deviations"} <= {*executed}
    assert f"executed, in {tmp_path / '_build' / 'stage'}" in capsys.readouterr().out


def test_a_copy_for_students_has_no_answers(build, tmp_path: Path):
    """Solutions go, with the cells that check them; everything else stays as it is."""
    exercise = "```{exercise} A\n:label: a\nAsk.\n```\n"
    solution = "```{solution} a\n:class: dropdown\nTell.\n```\n"
    text = f"Before.\n\n{exercise}\n{solution}\nAfter.\n"
    longer = "````{solution} b\n```{literalinclude} x.py\n```\n````\nEnd.\n"
    (tmp_path / "book").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book" / "page.md").write_text(text + longer)
    page = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("check")]
    )
    page.cells[1].metadata["tags"] = ["hide-cell"]
    page.cells.append(nbformat.v4.new_code_cell("keep"))
    nbformat.write(page, tmp_path / "notebooks" / "page.ipynb")
    build.withhold_solutions(tmp_path)
    without = f"Before.\n\n{exercise}\n\nAfter.\n"
    assert (tmp_path / "book" / "page.md").read_text() == without + "End.\n"
    cells = nbformat.read(tmp_path / "notebooks" / "page.ipynb", as_version=4).cells
    assert [cell.source.rstrip("\n") for cell in cells] == [
        without.rstrip("\n"),
        "keep",
    ]


@pytest.mark.browser
def test_explorers_come_alive_in_a_browser(html: Path, tmp_path: Path):
    """Each explorer has drawn itself, and nothing failed.

    A sample of `make test-book` that needs Chromium alone.
    """
    chromium = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-quic",
    ]
    chromium += [
        "--disable-background-networking",
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=8000",
    ]
    chromium += [
        f"--user-data-dir={tmp_path}",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--dump-dom",
    ]
    for name, kind, shows in (
        ("credits", "turn", r"Who is free\?"),
        ("strategies", "battle", r"\d+ agents against \d+ foes"),
        ("value_decomposition", "matrix", r"VDN: error [\d.]+"),
        ("contrastive_identity", "sandbox", r"CIA loss [\d.]+"),
        ("showcases", "two-step", r"VDN earns \d"),
    ):
        page = html / "notebooks" / f"{name}.html"
        done = subprocess.run(
            [*chromium, page.as_uri()], capture_output=True, text=True, timeout=120
        )
        box = done.stdout[done.stdout.index(f'data-explorer="{kind}"') :]
        assert re.search(shows, box.split("<script")[0]), name
        assert "Uncaught" not in done.stderr, done.stderr
