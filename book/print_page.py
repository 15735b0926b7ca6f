"""Prints a page of the built book to PDF with the Chromium that is installed.

python book/print_page.py book/cheat_sheet.html cheat_sheet.pdf
python book/print_page.py "slides.html?print-pdf" slides.pdf
"""

from __future__ import annotations

import re
import shutil
import sys
import zlib
from pathlib import Path

HTML = Path(__file__).resolve().parents[1] / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
MILLISECONDS = 300_000
# formulas are set by a script, and a picture may still be read
READY = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map((image) => image.decode().catch(() => 0)));
}"""


def print_page(address: str, pdf: Path) -> None:
    """Prints one page, of the size that its style sheet asks for.

    Args:
        address: of the page, such as file:///home/me/book/_build/html/slides.html.
        pdf: the file that receives it.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RuntimeError("No Chromium. On Debian: apt install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = chromium.new_page(color_scheme="light")
        page.set_default_timeout(MILLISECONDS)
        page.goto(address, wait_until="load")
        page.evaluate(READY)
        # what scripts do after the formulas: slides are laid out page by page
        page.wait_for_timeout(1_000)
        page.pdf(path=str(pdf), prefer_css_page_size=True, print_background=True)
        chromium.close()


def page_boxes(pdf: Path) -> list[tuple[float, float]]:
    """Width and height of every page of a PDF, in points.

    Chromium writes a page as an object of its own, plain or in a compressed stream.

    Args:
        pdf: the file.
    """
    data = pdf.read_bytes()
    parts = [data]
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    found = []
    for part in parts:
        for page in re.split(rb"/Type\s*/Page\b", part)[1:]:
            box = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", page)
            if box:
                found.append((float(box[1]), float(box[2])))
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    page, _, query = arguments[0].partition("?")
    if not (HTML / page).is_file():
        print(f"{HTML} has no {page}. Build the book: make book", file=sys.stderr)
        return 2
    address = (HTML / page).as_uri() + (f"?{query}" if query else "")
    pdf = Path(arguments[1])
    try:
        print_page(address, pdf)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{pdf}: {len(page_boxes(pdf))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
