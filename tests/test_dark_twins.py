"""Figures on dark pages and narrow ones: contrasts, hues, twins, and small text."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sphinx_book_theme
from ciabook.page.plots import AGENT_COLOURS, METHOD_COLOURS
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import dark_twins
from dark_twins import PAGE, dark, dark_name, dark_png, dark_svg
from figures import least_width, smallest_text, with_twins

THEME = Path(sphinx_book_theme.__file__).parent


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """The ratio of WCAG 2."""
    levels = sorted(float(dark_twins.luminance(each)) for each in (one, other))
    return (levels[1] + 0.05) / (levels[0] + 0.05)


def rgb(name: str) -> np.ndarray:
    return np.array(matplotlib.colors.to_rgb(name))


def test_white_is_the_dark_page_of_the_theme():
    assert dark_name("#ffffff") == "#{:02x}{:02x}{:02x}".format(*PAGE)
    sheets = THEME.rglob("styles/sphinx-book-theme.css")
    (text,) = [sheet.read_text(encoding="utf-8") for sheet in sheets]
    found = re.search(r"data-theme=dark\]\{[^}]*-color-background:(#\w+)", text)
    assert found[1] == dark_name("#ffffff")


@pytest.mark.parametrize("name", [*METHOD_COLOURS.values(), *AGENT_COLOURS, "#262626"])
def test_a_colour_stands_out_as_it_did(name):
    """Against the page, and against another colour; its hue is kept."""
    twin, ground = rgb(dark_name(name)), np.array(PAGE) / 255
    expected = min(contrast(rgb(name), np.ones(3)), contrast(np.full(3, 0.93), ground))
    assert contrast(twin, ground) == pytest.approx(expected, rel=0.03)
    other = "#56b4e9"
    if contrast(rgb(name), np.ones(3)) < 14:  # nearly black is nearly white, no more
        before = contrast(rgb(name), rgb(other))
        after = contrast(twin, rgb(dark_name(other)))
        assert after == pytest.approx(before, rel=0.05)
    hues = [matplotlib.colors.rgb_to_hsv(each) for each in (rgb(name), twin)]
    if hues[0][1] > 0.1:
        apart = abs(hues[0][0] - hues[1][0])
        assert min(apart, 1 - apart) < 0.08


def test_colours_of_a_picture_are_those_of_the_figure():
    cells = np.array([[[255, 255, 255, 255], [0, 114, 178, 128]]], dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(cells).save(file, "PNG")
    found = np.array(Image.open(io.BytesIO(dark_png(file.getvalue()))))
    assert found[0, 0].tolist() == [*PAGE, 255]
    expected = [round(255 * part) for part in dark(rgb("#0072b2")[None])[0]]
    assert found[0, 1].tolist() == [*expected, 128]


def test_a_figure_of_matplotlib_is_dark_throughout():
    """No white, no black, and what has no colour of its own is light."""
    figure, axis = plt.subplots()
    axis.plot([0, 1], [0, 1], color="black", label="a line")
    axis.imshow(np.eye(2), cmap="Greys")
    axis.set(title="a title", facecolor="white")
    axis.legend()
    file = io.StringIO()
    figure.savefig(file, format="svg", facecolor="white")
    plt.close(figure)
    drawn = file.getvalue()
    twin = dark_svg(drawn)
    assert "#ffffff" in drawn and "#000000" in drawn
    assert "#ffffff" not in twin and "#000000" not in twin
    assert f'<svg fill="{dark_name("#000000")}" ' in twin
    (picture,) = re.findall(r"base64,\s*([\w+/=\s]+)", twin)
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(picture))))
    assert pixels[..., :3].min() >= min(PAGE) and pixels[..., :3].max() < 255


def test_the_smallest_text_decides_how_wide_a_figure_must_be():
    """Five inches are 360 points; an exponent is seven tenths of a text."""
    drawn = {}
    for words in ("plain", "$10^3$"):
        figure, axis = plt.subplots(figsize=(5, 2))
        axis.set_axis_off()
        axis.set_title("large", fontsize=20)
        axis.text(0.5, 0.5, words, fontsize=8)
        file = io.StringIO()
        figure.savefig(file, format="svg")
        plt.close(figure)
        drawn[words] = file.getvalue()
    assert smallest_text(drawn["plain"]) == pytest.approx(8)
    assert smallest_text(drawn["$10^3$"]) == pytest.approx(5.6)
    assert smallest_text("<svg></svg>") == float("inf")
    assert least_width(drawn["plain"]) == 405  # 360 points times 9 px for 8 points
    assert least_width("<svg></svg>") == 0


def test_figures_of_a_page_have_their_twins_once():
    page = (
        '<img alt="A." src="../_images/a.svg" /><img src="../_static/logo.svg">'
        '<img alt="B." src="../_images/b.png"/><img src="_images/finding.svg">'
    )
    found = with_twins(page, {"a.svg": 405})
    assert found.count("only-dark") == found.count("only-light") == 2
    needs = 'style="min-width: 405px" alt="A." src="../_images/'
    assert f'class="only-light" {needs}a.svg"' in found
    assert f'class="only-dark" {needs}dark/a.svg"' in found
    assert 'style="min-width: 0px" src="_images/finding.svg"' in found
    assert with_twins(found, {}) == found


def test_the_book_is_built_with_it():
    config = (Path(dark_twins.__file__).parents[1] / "_config.yml").read_text()
    assert "      - figures\n" in config and "    figures: _ext\n" in config
