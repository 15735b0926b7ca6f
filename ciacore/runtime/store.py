"""The run folder: config, metrics, final weights and provenance of one seed.

It is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as parse_weights
from safetensors.torch import save as format_weights
from torch import Tensor

from ciacore.config import Config
from ciacore.runtime.sealed import sealed_run, sealed_seeds
from ciacore.types import InvalidInputError, refuse

FORMAT = 1  # raised whenever the meaning of a file changes
WEIGHTS = "weights.safetensors"
# what provenance.json seals with sha256, besides files that were kept on request
BODY = ("config.json", "metrics.json", WEIGHTS)


class Run(NamedTuple):
    """One method on one game with one seed, trained."""

    config: Config
    game: str
    seed: int
    # one entry per evaluation in each list; `episode_return` holds a list of returns
    metrics: dict[str, list]
    # final online networks; none where only the metrics were kept
    weights: dict[str, Tensor]
    provenance: dict[str, Any]


def run_folder(results: str | Path, game: str, method: str, seed: int) -> Path:
    """<results>/<game>/<method>/seed_<seed>.

    Args:
        results: the folder of all runs.
        game: its name.
        method: the name in the Config.
        seed: of the run.
    """
    return Path(results) / game / method / f"seed_{seed}"


def check_free(folder: Path) -> None:
    """Refuses a run folder that exists already or cannot be made; makes nothing.

    It is asked before any time is spent on training.

    Raises:
        InvalidInputError: the folder exists, or the nearest folder above it that exists
            cannot be written.
    """
    if folder.exists():
        cure = "Choose another folder or move that run away."
        refuse("results", "a folder without this run", str(folder), cure)
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        got = f"{place} ({error.strerror})"
        cure = "Choose another folder."
        refuse("results", "a folder that can be written", got, cure)


def weights_file(weights: str | int) -> str:
    """The file of the weights named "last", "best", or by their env steps."""
    return WEIGHTS if weights == "last" else f"weights_{weights}.safetensors"


def write_run(
    folder: Path,
    run: Run,
    work: Path | None = None,
    kept: dict[str, bytes] | None = None,
) -> Path:
    """Writes a run so that it appears whole or not at all.

    It is written in its work folder, or beside its place, and then renamed.

    Args:
        folder: where it shall lie.
        run: what is written.
        work: its work folder, if there is one.
        kept: what else lies in the folder, by the name of the file.

    Returns:
        The folder.

    Raises:
        InvalidInputError: the folder exists, or its parent cannot be written.
    """
    check_free(folder)
    spec = {
        "format": FORMAT,
        "game": run.game,
        "seed": run.seed,
        "config": run.config.to_dict(),
    }
    body = {"config.json": format_json(spec), "metrics.json": format_json(run.metrics)}
    if run.weights:
        weights = {name: value.contiguous() for name, value in run.weights.items()}
        body[WEIGHTS] = format_weights(weights)
    body |= kept or {}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in body.items()}
    seal = {**run.provenance, "sha256": digests}
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=work or folder.parent))
    try:
        for name, data in {**body, "provenance.json": format_json(seal)}.items():
            with open(work / name, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        work.chmod(0o755)
        work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return folder


def load_run(folder: str | Path, weights: str | int = "last") -> Run:
    """A run, after checking every file against its seal; nothing in it is executed.

    Args:
        folder: of the run, `<results>/<game>/<method>/seed_<k>`. Where it is not there,
            the file `<results>/<game>/<method>.sealed` may stand for it.
        weights: which of those that the run kept: "last", of the end of training;
            "best", where it was trained with `keep_best`; or the env steps of some
            that `keep_every` kept.

    Returns:
        The run, with these weights; without any where only the metrics were kept.

    Raises:
        InvalidInputError: the folder or a file is missing, truncated, changed, foreign
            or of another format, or the run kept no such weights.
    """
    folder = Path(folder)
    sealed = None if folder.is_dir() else sealed_run(folder)
    if not folder.is_dir() and sealed is None:
        cure = "Train it first, or correct the path."
        refuse("run", "a run folder", str(folder), cure)
    place = folder / "provenance.json"
    seal = parse_json(place, read_bytes(place, sealed))
    digests = seal.get("sha256") if isinstance(seal, dict) else None
    if not isinstance(digests, dict) or any(
        Path(name).name != name for name in digests
    ):
        expected = "a provenance.json with sha256 digests"
        refuse("run", expected, str(folder), "This is not a run of ciacore.")
    file = weights_file(weights)
    if weights != "last" and file not in digests:
        refuse_weights(weights, digests, folder)
    body = {}
    for name in {"config.json", "metrics.json", *digests}:
        data = read_bytes(folder / name, sealed)
        if hashlib.sha256(data).hexdigest() != digests.get(name):
            cure = "It was damaged or edited: retrain it."
            refuse("run", "a file with the recorded sha256", str(folder / name), cure)
        if name in ("config.json", "metrics.json", file):
            body[name] = data
    spec = parse_json(folder / "config.json", body["config.json"])
    found = spec.get("format") if isinstance(spec, dict) else None
    other_version = "Read it with the version of ciacore that wrote it."
    if found != FORMAT:
        refuse("run", f"format {FORMAT}", f"{found} in {folder}", other_version)
    try:
        config, game, seed = Config(**spec["config"]), spec["game"], spec["seed"]
        tensors = parse_weights(body[file]) if file in body else {}
    except SafetensorError as error:
        got = f"{folder / file} ({error})"
        refuse("run", "safetensors", got, "The file is foreign: retrain it.")
    except (KeyError, TypeError, InvalidInputError) as error:
        got = f"{folder / 'config.json'} ({error})"
        refuse("run", "a config this version knows", got, other_version)
    metrics = parse_json(folder / "metrics.json", body["metrics.json"])
    return Run(config, game, seed, metrics, tensors, provenance=seal)


read_run = load_run  # its older name


def refuse_weights(weights: str | int, digests: dict[str, str], folder: Path) -> None:
    """Refuses weights that a run did not keep, and names those that it did.

    Args:
        weights: what was asked for.
        digests: of its files, by name.
        folder: of the run.

    Raises:
        InvalidInputError: always.
    """
    kept = ["last"] if WEIGHTS in digests else []
    for name in digests:
        match = re.fullmatch(r"weights_(\w+)\.safetensors", name)
        if match:
            kept.append(match[1])
    cure = "Train with keep_best=True or keep_every=..., and weights are kept."
    expected = f"weights that {folder} kept: {', '.join(kept) or 'none'}"
    refuse("weights", expected, weights, cure)


def read_runs(
    results: str | Path, game: str, methods: Iterable[str]
) -> dict[str, list[Run]]:
    """All runs of some methods, in order of their seeds.

    Args:
        results: the folder of all runs.
        game: its name.
        methods: their names.

    Returns:
        Method -> its runs.

    Raises:
        InvalidInputError: a method has no run, a run is damaged, lies in another's
            place, or has another Config.
    """
    found = {}
    for method in methods:
        place = Path(results) / game / method
        folders = list(place.glob("seed_*"))
        for folder in folders:
            if not folder.name[5:].isdecimal():
                refuse(
                    "results",
                    "run folders named seed_<number>",
                    str(folder),
                    "Rename it or move it away.",
                )
        sealed = {place / f"seed_{seed}" for seed in sealed_seeds(place)}
        folders = sorted(sealed.union(folders), key=lambda path: int(path.name[5:]))
        if not folders:
            refuse(
                "results",
                f"runs of {method} on {game}",
                str(results),
                "Train it with notebooks/train.ipynb.",
            )
        found[method] = [load_run(folder) for folder in folders]
        for folder, run in zip(folders, found[method], strict=True):
            check_place(folder, run, found[method][0])
    return found


def check_place(folder: Path, run: Run, first: Run) -> None:
    """Refuses a run that lies where another belongs, or among runs of another Config.

    Budgets may differ.

    Args:
        folder: where the run lies.
        run: what lies there.
        first: the first run of the same method.
    """
    name = "/".join(folder.parts[-3:])
    own = "/".join(run_folder("", run.game, run.config.method, run.seed).parts)
    if name != own:
        cure = "Move it back to where it was written."
        refuse("results", f"the run {name}", f"{own} in its place", cure)
    if run.config.but(env_steps=1) != first.config.but(env_steps=1):
        cure = (
            "Give a variation a name of its own, "
            'e.g. config.but(method="qmix_cia_strong", ...).'
        )
        expected = f"runs of one Config in {folder.parent}"
        refuse("results", expected, f"another one in {folder.name}", cure)


def format_json(value: Any) -> bytes:
    """JSON as it is written here: readable, a list of numbers on one line, no NaN."""
    if isinstance(value, dict):
        rows = [
            f"  {json.dumps(key)}: {json.dumps(item, allow_nan=False)}"
            for key, item in value.items()
        ]
        return ("{\n" + ",\n".join(rows) + "\n}\n").encode()
    return json.dumps(value, allow_nan=False).encode()


def parse_json(path: Path, data: bytes) -> Any:
    """The value in a JSON file, or an error that names the file.

    Args:
        path: of the file.
        data: its content.
    """
    try:
        return json.loads(data)
    except ValueError:
        refuse(
            "run",
            "valid JSON",
            str(path),
            "The file is truncated or foreign: retrain the run.",
        )


def read_bytes(path: Path, sealed: dict[str, bytes] | None = None) -> bytes:
    """A file's content, or an error that names what is missing.

    Args:
        path: of the file.
        sealed: the files of its folder, where a sealed file stands for it.
    """
    if sealed is not None and path.name in sealed:
        return sealed[path.name]
    try:
        return path.read_bytes()
    except OSError as error:
        refuse(
            "run",
            f"the file {path}",
            error.strerror,
            "The run is incomplete: retrain it.",
        )
