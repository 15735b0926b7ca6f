"""How long each notebook of the last build took: python -m ciabook.durations writes book/data/durations.json."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ciacore.provenance import now, provenance

ROOT = Path(__file__).resolve().parents[2]
STAGE, FILE = ROOT / "_build" / "stage" / "notebooks", ROOT / "book" / "data" / "durations.json"


def durations(stage: Path) -> dict[str, float]:
    """Notebook -> seconds, as papermill noted them."""
    found = {}
    for path in sorted(stage.glob("*.ipynb")):
        noted = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
        if noted.get("duration"):
            found[path.stem] = round(noted["duration"], 1)
    return found


def main() -> int:
    """Returns the exit code."""
    found = durations(STAGE)
    if not found:
        print(f"durations: no executed notebooks in {STAGE}; run make book first.", file=sys.stderr)
        return 2
    facts = {**provenance("cpu"), "finished": now(), "cores": os.cpu_count()}
    part = FILE.with_suffix(".part")
    part.write_text(json.dumps({"seconds": found, "provenance": facts}, indent=1) + "\n")
    os.replace(part, FILE)
    print(f"{FILE}: {len(found)} notebooks, {sum(found.values()):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
