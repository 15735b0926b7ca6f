"""The colours of a figure's twin for dark pages.

A figure is drawn once, on white. Its twin has the same shapes on the dark page's own
background. A colour keeps its hue, and its contrast to the background: with Y the
relative luminance of WCAG 2, Y + 0.05 turns into its inverse times a constant. So the
contrast of any two colours of a figure stays as it was, and text that can be read on
its cell can be read there in the twin.
"""

from __future__ import annotations

import base64
import io
import re
from functools import cache

import numpy as np
from PIL import Image

PAGE = (0x12, 0x12, 0x12)  # the theme's dark background; its custom.css does not set it
BRIGHTEST = 0.85  # luminance of what was black
COLOUR = re.compile(r"((?:fill|stroke|stop-color)\s*[:=]\s*\"?)(#[0-9a-fA-F]{6})\b")
RASTER = re.compile(r"data:image/png;base64,\s*([\w+/=\s]+)")
# linear sRGB to the cones' responses, and those to OKLab (Björn Ottosson, 2020)
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def linear(rgb: np.ndarray) -> np.ndarray:
    """Light of sRGB values in [0, 1]."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """The inverse of `linear`."""
    root = np.maximum(light, 0) ** (1 / 2.4)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * root - 0.055)


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance by WCAG 2.

    Args:
        rgb: [..., 3] in [0, 1].
    """
    return linear(rgb) @ LUMINANCE


def dark(rgb: np.ndarray) -> np.ndarray:
    """The colours of the twin.

    Args:
        rgb: [N, 3] in [0, 1].

    Returns:
        Colours of the same hues: white turns into the dark page's background, and every
        contrast to it is kept, up to the brightest.
    """
    lab = np.cbrt(linear(rgb) @ TO_CONES.T) @ TO_LAB.T
    ground = luminance(np.array(PAGE) / 255)
    wanted = 1.05 * (ground + 0.05) / (luminance(rgb) + 0.05) - 0.05
    wanted = np.minimum(wanted, BRIGHTEST)
    low, high = np.zeros(len(rgb)), np.ones(len(rgb))
    for _ in range(16):  # the lightness that has this luminance
        middle = (low + high) / 2
        found = luminance(encoded(shown(middle, lab[:, 1:])))
        low, high = (
            np.where(found < wanted, middle, low),
            np.where(found < wanted, high, middle),
        )
    return encoded(shown((low + high) / 2, lab[:, 1:]))


def shown(lightness: np.ndarray, hue: np.ndarray) -> np.ndarray:
    """Light of a colour in OKLab, as strong a colour as a screen can show.

    Args:
        lightness: [N], from 0 to 1.
        hue: [N, 2], a and b, wanted; they shrink together until the colour is shown.

    Returns:
        [N, 3] linear sRGB in [0, 1].
    """
    to_cones, to_light = np.linalg.inv(TO_LAB), np.linalg.inv(TO_CONES)
    best = np.repeat(lightness[:, None] ** 3, 3, 1)  # grey
    for part in np.linspace(0.1, 1, 10):
        lab = np.column_stack([lightness, part * hue])
        light = (lab @ to_cones.T) ** 3 @ to_light.T
        fits = ((light >= 0) & (light <= 1)).all(-1)
        best[fits] = light[fits]
    return best


@cache
def dark_name(name: str) -> str:
    """The twin of a colour that is written as #rrggbb."""
    rgb = np.array([int(name[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return "#" + "".join(f"{round(255 * part):02x}" for part in dark(rgb[None])[0])


def dark_png(data: bytes) -> bytes:
    """The twin of a picture inside a figure, such as the cells of a heat map."""
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGBA"))
    colours, where = np.unique(
        pixels[..., :3].reshape(-1, 3), axis=0, return_inverse=True
    )
    changed = np.rint(255 * dark(colours / 255)).astype(np.uint8)
    pixels[..., :3] = changed[where.reshape(pixels.shape[:2])]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def dark_svg(text: str) -> str:
    """The twin of a figure that matplotlib drew.

    Args:
        text: the SVG. What names no colour is black there.
    """
    text = COLOUR.sub(lambda found: found[1] + dark_name(found[2].lower()), text)
    text = RASTER.sub(
        lambda found: (
            "data:image/png;base64,"
            + base64.b64encode(dark_png(base64.b64decode(found[1]))).decode()
        ),
        text,
    )
    return text.replace("<svg ", f'<svg fill="{dark_name("#000000")}" ', 1)
