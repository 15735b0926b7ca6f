"""How long each notebook of the last build took.

python -m ciabook.page.notebook_times     writes book/data/durations.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ciacore.runtime.files import write_whole
from ciacore.runtime.provenance import now, provenance

ROOT = Path(__file__).resolve().parents[3]
STAGE = ROOT / "_build" / "stage" / "notebooks"
FILE = ROOT / "book" / "data" / "durations.json"


def durations(stage: Path) -> tuple[str, dict[str, float]]:
    """What papermill noted of an executed build.

    Returns:
        The device of the build's trainings, and notebook -> seconds.
    """
    device = "cpu"
    found = {}
    for path in sorted(stage.glob("*.ipynb")):
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        noted = metadata.get("papermill", {})
        if noted.get("duration"):
            found[path.stem] = round(noted["duration"], 1)
        if path.stem == "train":
            device = noted.get("parameters", {}).get("device", device)
    return device, found


def write(file: Path, device: str, entry: dict[str, Any]) -> None:
    """Enters a device's durations; those of other devices stay.

    Args:
        file: of the durations of all devices.
        device: "cpu" or "cuda".
        entry: seconds and provenance.
    """
    held = json.loads(file.read_text()) if file.is_file() else {}
    write_whole(file, json.dumps({**held, device: entry}, indent=1) + "\n")


def main() -> int:
    """Reads the last build, and writes its durations; returns the exit code."""
    device, found = durations(STAGE)
    if not found:
        print(
            f"notebook_times: no executed notebooks in {STAGE}; run make book first.",
            file=sys.stderr,
        )
        return 2
    facts = {**provenance(device), "finished": now(), "cores": os.cpu_count()}
    write(FILE, device, {"seconds": found, "provenance": facts})
    print(f"{FILE}: {len(found)} notebooks, {sum(found.values()):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
