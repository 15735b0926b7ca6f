"""The repository as a whole: style, floors, size, pins, notebooks, make targets."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from ciabook.page.front_page import introduced, rewritten
from ciabook.studies.study import STUDIES
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LIBRARY = sorted((ROOT / "ciacore").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAKEFILE = (ROOT / "Makefile").read_text()


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command that must succeed prints."""
    env = {**os.environ, **environment}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file in env/."""
    lines = (ROOT / "env" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


# style and imports


def test_ruff_check() -> None:
    run(sys.executable, "-m", "ruff", "check")


def test_ruff_format() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check")


def test_import_floors() -> None:
    run(
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    )


def test_library_loads_uninstalled_and_alone(tmp_path: Path) -> None:
    """A bare copy of the folder imports, without the packages of the extras."""
    shutil.copytree(ROOT / "ciacore", tmp_path / "ciacore")
    program = (
        "import sys, ciacore, ciacore.games; print(ciacore.__file__, *sys.modules)"
    )
    file, *modules = run(sys.executable, "-c", program, cwd=tmp_path).split()
    assert Path(file).is_relative_to(tmp_path)
    heavy = {
        "pandas",
        "matplotlib",
        "seaborn",
        "pettingzoo",
        "papermill",
        "jax",
        "tensorboard",
        "beartype",
        "IPython",
    }
    assert not heavy & set(modules)  # torch itself loads tqdm where it is installed


def test_skips_only_through_markers() -> None:
    """A test is skipped by conftest.py, through its markers, or not at all."""
    skipping = re.compile(r"pytest\.skip\(|importorskip\(|mark\.(skip|xfail)|SkipTest")
    files = [
        file for file in (ROOT / "tests").rglob("*.py") if file.name != "conftest.py"
    ]
    assert not [
        file.name
        for file in files
        if file != Path(__file__) and skipping.search(file.read_text())
    ]


# docstrings


def public_functions(file: Path) -> list[tuple[str, ast.FunctionDef]]:
    """Name and definition of what a file offers, but for Protocols."""
    found: list[tuple[str, ast.FunctionDef]] = []
    waiting: list[tuple[str, ast.AST]] = [("", ast.parse(file.read_text()))]
    while waiting:
        prefix, node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                bases = [ast.unparse(base) for base in child.bases]
                if "Protocol" not in bases and "Function" not in bases:
                    waiting.append((f"{prefix}{child.name}.", child))
            elif isinstance(child, ast.FunctionDef) and child.name[0] != "_":
                found.append((prefix + child.name, child))
    return found


def test_public_functions_explain_their_arguments() -> None:
    """Two arguments or more, and each has a line of its own under `Args:`."""
    silent = []
    packages = [*LIBRARY, *(ROOT / "notebooks" / "ciabook").rglob("*.py")]
    for file in packages:
        for name, function in public_functions(file):
            every = [*function.args.posonlyargs, *function.args.args]
            every += function.args.kwonlyargs
            names = {argument.arg for argument in every} - {"self", "cls"}
            text = ast.get_docstring(function) or ""
            explained = set(re.findall(r"^ +(\w+): ", text, re.MULTILINE))
            if len(names) > 1 and not names <= explained:
                silent.append(f"{file.relative_to(ROOT)}: {name}")
    assert not silent, silent


# size


def test_size_of_the_tree() -> None:
    files = run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    ).split("\0")
    assert (
        sum((ROOT / file).stat().st_size for file in files if (ROOT / file).is_file())
        < 54 * 2**20  # and never above 62
    )


# pins


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (
            "requirements.txt",
            PROJECT["dependencies"] + EXTRAS["book"] + EXTRAS["tests"],
        ),
        ("requirements-battles.txt", EXTRAS["battles"]),
        ("requirements-browser.txt", EXTRAS["browser"]),
        ("requirements-tensorboard.txt", EXTRAS["tensorboard"]),
        (
            "requirements-environments.txt",
            [item for item in EXTRAS["environments"] if "pettingzoo" not in item],
        ),
        ("requirements-study.txt", EXTRAS["study"]),
        ("requirements-serve.txt", EXTRAS["serve"]),
        ("requirements-grading.txt", EXTRAS["grading"]),
    ],
)
def test_every_requirement_is_pinned(lock: str, requirements: list[str]) -> None:
    pins = locked(lock)
    for requirement in map(Requirement, requirements):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin and requirement.specifier.contains(pin), (
            f"{requirement}: pinned to {pin}"
        )


def test_locks_are_sorted_and_agree() -> None:
    main, *others = (
        locked(f"requirements{name}.txt")
        for name in (
            "",
            "-battles",
            "-gpu",
            "-browser",
            "-tensorboard",
            "-environments",
            "-serve",
            "-study",
            "-grading",
        )
    )
    assert all([*pins] == sorted(pins) for pins in (main, *others))
    assert not any(main.keys() & pins.keys() for pins in others[:6])  # what they add
    # these may be installed together
    battles, logging, environments = others[0], others[3], others[4]
    for one, other in (
        (battles, logging),
        (battles, environments),
        (logging, environments),
    ):
        assert all(one[name] == other[name] for name in one.keys() & other)
    assert any(name.startswith("nvidia-") for name in others[1])
    for held in map(
        Requirement,
        re.findall(r"^[^#\n]+", (ROOT / "env" / "held.txt").read_text(), re.MULTILINE),
    ):
        assert held.specifier.contains(main[canonicalize_name(held.name)])


def test_the_container_installs_the_locks() -> None:
    """Every file that it copies and every lock that it installs is there."""
    text = (ROOT / "env" / "Containerfile").read_text()
    names = set(re.findall(r"env/[\w-]+\.txt", text))
    assert names == {
        "env/requirements.txt",
        "env/requirements-gpu.txt",
        "env/requirements-study.txt",
    }
    assert all((ROOT / name).is_file() for name in names)
    named = re.findall(r"ciabook\.studies\.lab (?:run|status) (\w+)", text)
    assert named and set(named) <= {*STUDIES}


def test_the_cluster_profile_is_yaml_that_snakemake_knows() -> None:
    """Every key is an option of Snakemake or of its SLURM plugin."""
    profile = yaml.safe_load(
        (ROOT / "env" / "slurm" / "profile" / "config.yaml").read_text()
    )
    options = run(ROOT / ".venv-study" / "bin" / "snakemake", "--help")
    assert profile["executor"] == "slurm" and all(
        f"--{key}" in options for key in profile
    ), profile


def test_environment_yml_is_thin() -> None:
    """Binder's differs in where torch comes from."""
    pip = ["-r env/requirements.txt", "-e ."]
    on_a_cpu = ["--extra-index-url https://download.pytorch.org/whl/cpu"]
    for name, before in (
        ("environment.yml", []),
        (".binder/environment.yml", on_a_cpu),
    ):
        environment = yaml.safe_load((ROOT / name).read_text())
        assert environment["channels"] == ["conda-forge"]
        assert environment["dependencies"] == [
            f"python {PROJECT['requires-python']}",
            "pip",
            {"pip": [*before, *pip]},
        ]


def test_smac_is_never_required() -> None:
    """The PyPI package `smac` is SMAC3, an unrelated optimiser; README says so."""
    lists = [
        PROJECT["dependencies"],
        *EXTRAS.values(),
        locked("requirements.txt"),
        locked("requirements-battles.txt"),
    ]
    assert "smac" not in {
        canonicalize_name(Requirement(item).name) for items in lists for item in items
    }
    text = "\n".join(
        file.read_text()
        for file in [ROOT / "environment.yml", *(ROOT / "env").glob("*.txt")]
    )
    assert not re.search(r"^[\s-]*smac\b", text, re.MULTILINE | re.IGNORECASE)
    assert "SMAC3" in (ROOT / "README.md").read_text()


# notebooks


def launch_cell() -> str:
    """That of the first notebook."""
    return next(
        cell.source
        for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells
        if cell.cell_type == "code"
    )


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_notebooks_are_stripped() -> None:
    """What `make strip` would do has been done."""
    keys = re.search(r"^EXTRA_KEYS = (.+)$", MAKEFILE, re.MULTILINE)[1]
    run(
        sys.executable,
        "-m",
        "nbstripout",
        "--verify",
        "--keep-id",
        "--extra-keys",
        keys,
        *NOTEBOOKS,
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_parameters(path: Path) -> None:
    """One kernel name; every parameter is typed and explained, in one cell."""
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(cells) <= 1
    for cell in cells:
        lines = cell.source.splitlines()
        for node in ast.parse(cell.source).body:
            assert isinstance(node, ast.AnnAssign), f"no type: {ast.unparse(node)}"
            assert "#" in "".join(lines[node.lineno - 1 : node.end_lineno]), (
                f"no comment: {node.target.id}"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_checks_its_parameters_first(path: Path) -> None:
    """Code cells: fetch the book, declare the parameters, check them.

    The first is the same in all notebooks; `tests/test_launch.py` runs it.
    """
    launch, first, second = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ][:3]
    assert "launch" in launch.metadata.get("tags", [])
    assert launch.source == launch_cell()
    assert "parameters" in first.metadata.get("tags", [])
    imported = "from ciabook.page.parameters import check_parameters"
    assert second.source.startswith(f"{imported}\n\ncheck_parameters(globals())")


# prose


def test_tests_named_in_prose_exist() -> None:
    """A page that names a test or a test file names one that is there."""
    pages = [
        *NOTEBOOKS,
        *(ROOT / "book").glob("*.md"),
        ROOT / "README.md",
        *(ROOT / "ciacore").rglob("*.py"),
    ]
    prose = "\n".join(page.read_text() for page in pages)
    exercises = (ROOT / "book" / "exercises" / "checks").glob("*.py")
    files = {
        file.name: file.read_text()
        for file in [*(ROOT / "tests").glob("*.py"), *exercises]
    }
    functions = set(
        re.findall(r"^def (test_\w+)", "\n".join(files.values()), re.MULTILINE)
    )
    named_files = set(re.findall(r"\btest_\w+\.py", prose))
    named_functions = set(re.findall(r"`(test_\w+)`", prose))
    assert named_files and named_functions
    assert named_files <= set(files), named_files - set(files)
    assert named_functions <= functions, named_functions - functions


# make


def test_make_help_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    listed = {
        line.split()[1]
        for line in run("make", "--no-print-directory", "help").splitlines()
    }
    assert (
        listed
        == targets
        == set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())
    )


def test_make_recheck_needs_a_run() -> None:
    done = subprocess.run(["make", "recheck"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("recheck: RUN= is not a run folder; name one")


def test_ci_calls_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"


# front page


def test_the_front_page_shows_the_results_that_are_there() -> None:
    """`python -m ciabook.page.front_page` would change nothing."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    intro = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    assert rewritten(readme, ROOT / "book" / "results") == readme
    assert introduced(intro, ROOT / "book" / "results") == intro
    assert (
        len(intro.split("results: python")[1].split("end of results")[0].split()) < 150
    )
    assert (ROOT / "book" / "data" / "finding.svg").stat().st_size < 300_000
    board = (ROOT / "book" / "data" / "board.html").read_text(encoding="utf-8")
    assert "QMIX, asleep" in board and len(board) < 60_000
