"""The fits that the book holds are those that the library makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ciabook.evidence import held_fits
from ciabook.evidence.held_fits import FILE, Request, fits, held, made, requests
from ciabook.evidence.representable import GAMES, fit
from ciabook.page.explorers import matrix_explorer

from ciacore.games import MatrixGame

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def is_remade(request: Request) -> bool:
    """Whether the file holds what fitting gives; a bit lost grows over many steps."""
    found = made(request)
    known = held(FILE)
    return all(
        known[name].right == one["right"]
        and list(known[name].greedy) == one["greedy"]
        and torch.allclose(known[name].table, torch.tensor(one["table"]), atol=0.05)
        for name, one in found.items()
    )


def test_a_held_fit_is_remade():
    assert is_remade(requests()[0])


@pytest.mark.long
@pytest.mark.parametrize("request_", requests(), ids=str)
def test_every_held_fit_is_remade(request_: Request):
    assert is_remade(request_)


def parameters(page: str) -> dict:
    """The parameters of a chapter, as it has them."""
    cells = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text("utf-8"))["cells"]
    (cell,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    values: dict = {}
    exec("".join(cell["source"]), values)
    return values


def test_chapters_find_all_that_they_ask_for(monkeypatch):
    """With the parameters that they have, nothing is fitted while the book is built."""

    def refuse(*_, **__):
        raise AssertionError("fitted here")

    monkeypatch.setattr(held_fits, "fit", refuse)
    family, showcases = parameters("family"), parameters("showcases")
    value_decomposition = parameters("value_decomposition")
    for method in held_fits.COMPARED:
        for size in (2, 3):
            alike = [MatrixGame(each) for each in GAMES.values() if len(each) == size]
            fits(method, alike, family["seeds"], family["steps"])
        steps = showcases["steps"] * (5 if method == "qtran" else 1)
        fits(method, [MatrixGame(GAMES["climb"])], showcases["starts"], steps)
    longer = 5 * family["steps"]
    fits("qtran", [MatrixGame(GAMES["climb"])], family["seeds"], longer)
    seeds = value_decomposition["seeds"][:2]
    matrix_explorer(steps=value_decomposition["steps"], seeds=seeds)


def test_what_is_not_held_is_fitted():
    game = MatrixGame([[1.0, 0.0], [0.0, 3.0]])
    (found,) = fits("vdn", [game], [4], 7)
    (again,) = fit("vdn", [game], [4], 7)
    assert torch.equal(found[0].table, again[0].table)


def test_without_a_file_nothing_is_held(tmp_path):
    assert held(tmp_path / "none.json") == {}
