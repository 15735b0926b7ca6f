"""Makes a page of an executed notebook: its plumbing goes, what it needs is said last.

The notebook itself stays as it is. On its page the cell of the parameters is left out,
and so are cells that only set things up. A box at the end says how to run it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import papermill

PLUMBING = ("parameters", "injected-parameters")
WITHOUT = "remove-cell"


def tidy(stage: Path, page: str) -> None:
    """Tidies one executed notebook where it is staged.

    Args:
        stage: the folder of staged pages.
        page: of the notebook, such as notebooks/turn.
    """
    path = stage / f"{page}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if is_plumbing(cell):
            tags = cell["metadata"].setdefault("tags", [])
            if WITHOUT not in tags:
                tags.append(WITHOUT)
    box = run_this_page(page, papermill.inspect_notebook(str(path)))
    notebook["cells"].append(
        {"cell_type": "markdown", "id": "run-this-page", "metadata": {}, "source": box}
    )
    path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def is_plumbing(cell: dict[str, Any]) -> bool:
    """Whether a cell only sets things up: it shows nothing, and its code is folded.

    Args:
        cell: of an executed notebook.
    """
    tags = cell["metadata"].get("tags", [])
    if any(tag in tags for tag in PLUMBING):
        return True
    return "hide-input" in tags and not cell.get("outputs")


def run_this_page(page: str, parameters: dict[str, dict[str, Any]]) -> str:
    """The box that says how to run a page again, and with what.

    Args:
        page: of the notebook.
        parameters: name -> what papermill finds of it in the parameters cell.
    """
    lines = [
        "````{admonition} Run this page",
        ":class: tip dropdown run-this-page",
        f"This page is the notebook `{page}.ipynb`. After `make setup` it runs with",
        "",
        "```bash",
        f".venv/bin/papermill {page}.ipynb my_{Path(page).name}.ipynb \\",
        "    -k python3 --cwd notebooks",
        "```",
        "",
    ]
    if parameters:
        lines += ["`-p NAME VALUE` changes a parameter.", ""]
        lines += ["| parameter | default | what it is |", "|---|---|---|"]
        for name, found in parameters.items():
            default = f"`{' '.join(found['default'].split())}`".replace("|", "\\|")
            lines.append(f"| `{name}` | {default} | {cell_of(found['help'])} |")
        lines.append("")
    return "\n".join([*lines, "````"])


def cell_of(text: str) -> str:
    """A text as a cell of a table: on one line, without bars or tags of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
