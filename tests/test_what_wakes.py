"""The chapter on what wakes a team, on made-up arms: some, all, and a reader's own."""

import json
from pathlib import Path

import nbformat
import papermill
import pytest
from ciabook.evidence.wake_outcome import NAMES
from ciabook.page.kernel import own_kernel
from ciabook.studies.wake import WAKE
from support.wake import seal_arm

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
SLEEPERS = {"cia": 2, "cia_early": 2, "noise": 2, "permuted": 3, "vdn": 0, "adam": 1}


def executed(place: Path, arms: list[str], passed: dict[str, bool], **parameters: str):
    """What the chapter prints and shows, with these arms and checks."""
    for name in arms:
        sleepers = range(101, 101 + SLEEPERS.get(name, 20))
        seal_arm(place / "results", WAKE[name], sleepers)
    checks = {arm: {"passed": word, "shown": {}} for arm, word in passed.items()}
    (place / "checks.json").write_text(json.dumps(checks))
    page = place / "page.ipynb"
    told = {"results": str(place / "results"), "checks": str(place / "checks.json")}
    with own_kernel() as kernel:
        papermill.execute_notebook(
            str(NOTEBOOKS / "what_wakes_a_team.ipynb"),
            str(page),
            told | parameters,
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            kernel_name=kernel,
        )
    shown = []
    for cell in nbformat.read(page, as_version=4).cells:
        for output in cell.get("outputs", []):
            shown.append(output.get("text", ""))
            shown.append(output.get("data", {}).get("text/html", ""))
    return "".join(shown)


def test_the_page_with_some_arms_and_one_that_is_uninformative(tmp_path: Path):
    shown = executed(
        tmp_path,
        ["qmix", "cia", "noise", "equaliser"],
        {"equaliser": False, "noise": True},
    )
    assert "20 of 40 teams of QMIX sleep and 2 of 40 teams of QMIX(CIA)" in shown
    assert "Whether identity matters waits for permuted identities" in shown
    assert "equaliser: failed, so the arm is uninformative" in shown
    assert "uninformative" in shown and "4 of 19 arms are read" in shown


@pytest.mark.parametrize("own", [pytest.param(False, marks=pytest.mark.long), True])
def test_the_page_with_all_arms(tmp_path: Path, own: bool):
    """And with a reader's runs beside them, of whom seven QMIX teams sleep."""
    parameters = {}
    if own:
        for arm, sleepers in (("qmix", 7), ("cia", 0)):
            seeds = range(5_001, 5_011)
            seal_arm(tmp_path / "own", WAKE[arm], list(seeds)[:sleepers], seeds)
        parameters["runs"] = str(tmp_path / "own")
    passed = dict.fromkeys(("equaliser", "scale", "noise"), True)
    shown = executed(tmp_path, list(NAMES), passed, **parameters)
    assert "Identity does not matter: permuted identities and noise do as well" in shown
    assert "19 of 19 arms are read" in shown and "waiting" not in shown
    assert "Came true: True" in shown
    assert ("together: agrees" in shown) == own
    assert ("No runs of your own yet" in shown) != own
