"""How long the notebooks take: read off an executed build, shown to lecturers."""

from __future__ import annotations

import json
from pathlib import Path

from ciabook.page.notebook_times import durations, write

ROOT = Path(__file__).resolve().parents[1]
MADE = {"cpu": "a CPU", "gpu": "a GPU", "cores": 2, "finished": "2026-01-01"}


def staged(folder: Path, device: str, seconds: dict[str, float]) -> Path:
    """What a build leaves: executed notebooks with papermill's notes."""
    folder.mkdir()
    for name, duration in seconds.items():
        parameters = {"device": device} if name == "train" else {}
        notes = {"papermill": {"duration": duration, "parameters": parameters}}
        (folder / f"{name}.ipynb").write_text(
            json.dumps({"cells": [], "metadata": notes})
        )
    return folder


def test_each_device_has_its_own_durations(tmp_path: Path) -> None:
    file = tmp_path / "durations.json"
    builds = {"cpu": {"train": 90.04, "turn": 5.0}, "cuda": {"train": 12.0}}
    for device, seconds in builds.items():
        found, table = durations(staged(tmp_path / device, device, seconds))
        assert found == device
        write(file, found, {"seconds": table, "provenance": MADE})
    held = json.loads(file.read_text())
    assert held["cpu"]["seconds"] == {"train": 90.0, "turn": 5.0}
    assert held["cuda"]["seconds"] == {"train": 12.0}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cpu",
        "cuda",
        "durations.json",
    ]


def test_lecturers_see_both_devices_and_what_was_not_measured(
    tmp_path: Path, capsys
) -> None:
    file = tmp_path / "durations.json"
    cells = json.loads((ROOT / "notebooks" / "teaching.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    (source,) = [text for text in sources if "held =" in text]
    write(file, "cpu", {"seconds": {"train": 90.0, "turn": 5.0}, "provenance": MADE})
    shown = {"durations": str(file)}
    exec(source, shown)
    assert "GPU: not measured." in capsys.readouterr().out
    assert shown["table"]["GPU, seconds"].isna().all()
    write(file, "cuda", {"seconds": {"train": 12.0}, "provenance": MADE})
    exec(source, shown)
    assert "a GPU" in capsys.readouterr().out
    assert shown["table"].loc["train"].tolist() == [90.0, 12.0]
    page = shown["table"].style.format(na_rep="not measured").to_html()
    assert "not measured" in page
