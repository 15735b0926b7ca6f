"""env/bootstrap.sh with stand-ins for Python: what it refuses and repeats."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# all that the script may use
TOOLS = ("awk", "cat", "cp", "df", "dirname", "mkdir", "mv", "rm", "sh", "tail")
STAND_IN = """#!/bin/sh
case "$*" in
*version_info*) echo {version} ;;
*"import ensurepip"*) exit {venv} ;;
*"import pip"*) ;;
*"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*"-m pip"*)
    echo "$*" >>pip.log
    if [ -e pip-fails ]; then echo "ERROR: no network"; exit 1; fi ;;
*) exec {real} "$@" ;;
esac
"""


class Machine:
    """The files of an install, and a PATH of nothing but tools and stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.bin = folder / "tree", folder / "bin"
        (self.tree / "env").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("pyproject.toml", "env/bootstrap.sh", "env/requirements.txt"):
            shutil.copy(ROOT / name, self.tree / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def python(self, name: str, version: str, venv: bool = True) -> None:
        """Puts an interpreter on the PATH."""
        self.script(
            name,
            STAND_IN.format(version=version, venv=int(not venv), real=sys.executable),
        )

    def script(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def setup(self, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(self.bin), "MIN_FREE_GB": "0", **environment}
        return subprocess.run(
            ["sh", "env/bootstrap.sh"],
            cwd=self.tree,
            env=env,
            capture_output=True,
            text=True,
        )

    def refusal(self, **environment: str) -> str:
        """The one sentence it stops with."""
        done = self.setup(**environment)
        assert done.returncode != 0
        assert done.stderr.startswith("setup: ") and done.stderr.count("\n") == 1
        return done.stderr

    def pip_calls(self) -> list[str]:
        log = self.tree / "pip.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python(machine: Machine) -> None:
    message = machine.refusal()
    assert "Python 3.11 to 3.14 is needed" in message
    assert "python3 is missing" in message
    assert "install python3.12" in message


def test_wrong_python(machine: Machine) -> None:
    machine.python("python3", "3.10")
    assert "python3 is 3.10" in machine.refusal()
    machine.python("python3.12", "3.12")
    assert "(python3 is 3.10)" in machine.refusal(PYTHON="python3")


def made_with(machine: Machine) -> str:
    """The version of the environment."""
    assert machine.setup().returncode == 0
    python = machine.tree / ".venv" / "bin" / "python"
    return re.search(r"echo (3\.\d+)", python.read_text())[1]


@pytest.mark.parametrize(
    ("here", "taken"),
    [
        ({"python3.11": "3.11", "python3.14": "3.14", "python3.12": "3.12"}, "3.14"),
        ({"python3": "3.13", "python3.12": "3.12"}, "3.13"),
        ({"python": "3.12", "python3": "3.11"}, "3.12"),
        ({"python3.15": "3.15", "python3": "3.15", "python3.11": "3.11"}, "3.11"),
        ({"python3.14": "3.10", "python3.11": "3.11"}, "3.11"),
    ],
)
def test_the_newest_supported_python_is_taken(machine, here, taken) -> None:
    """Whatever it is called, and where a name does not say what it is."""
    for name, version in here.items():
        machine.python(name, version)
    assert made_with(machine) == taken


def test_a_newer_python_without_venv_gives_way(machine: Machine) -> None:
    machine.python("python3.13", "3.13", venv=False)
    machine.python("python3.12", "3.12")
    assert made_with(machine) == "3.12"


def test_windows_is_refused_with_the_cure(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    message = machine.refusal(OS="Windows_NT")
    assert "Windows is not supported; install WSL (wsl --install)" in message
    assert not (machine.tree / ".venv").exists()


def test_packages_are_on_the_path_of_the_environment(machine: Machine) -> None:
    """A folder called ciacore where one works does not hide them.

    The line that the bootstrap writes is read by a Python without any other way to
    them, in a folder with such a folder.
    """
    machine.python("python3.12", "3.12")
    site = machine.tree / ".venv" / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    assert machine.setup().returncode == 0
    lines = (site / "ciacore-path.pth").read_text().splitlines()
    assert lines == [str(machine.tree), str(machine.tree / "notebooks")]
    (site / "ciacore-path.pth").write_text(f"{ROOT}\n{ROOT / 'notebooks'}\n")
    elsewhere = machine.tree.parent / "elsewhere"
    (elsewhere / "ciacore").mkdir(parents=True)
    (elsewhere / "ciabook").mkdir()
    program = (
        "import site, sys; sys.path.insert(0, ''); site.addsitedir(sys.argv[1]);"
        "from ciacore import train; import ciabook; print(ciabook.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, site],
        cwd=elsewhere,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ROOT / "notebooks" / "ciabook" / "__init__.py")


def test_no_venv_module(machine: Machine) -> None:
    machine.python("python3.11", "3.11", venv=False)
    message = machine.refusal()
    assert "python3.11 has no venv module" in message
    assert "apt install python3-venv" in message


def test_no_disk_space(machine: Machine) -> None:
    machine.python("python3.11", "3.11")
    message = machine.refusal(MIN_FREE_GB="1000000000")
    assert "1000000000 GB of free disk" in message and "move the repository" in message
    assert not (machine.tree / ".venv").exists()


def test_folder_cannot_be_written(machine: Machine) -> None:
    machine.python("python3.11", "3.11")
    (machine.tree / ".venv").touch()  # a file in the way; permissions do not stop root
    assert "cannot write to" in machine.refusal()


def test_a_shim_without_its_python_is_passed_over(machine: Machine) -> None:
    machine.script(
        "python3.12", "#!/bin/sh\necho 'python3.12: command not found' >&2\nexit 127\n"
    )
    machine.python("python3.11", "3.11")
    assert machine.setup().returncode == 0


def test_second_call_installs_nothing(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    assert machine.setup().returncode == 0
    first = machine.pip_calls()
    assert [
        "-r env/requirements.txt" in first[0],
        "--no-deps" in first[1],
        len(first),
    ] == [True, True, 2]
    assert machine.setup().returncode == 0
    assert machine.pip_calls() == first


@pytest.mark.parametrize("name", ["env/requirements.txt", "pyproject.toml"])
def test_changed_pins_are_installed(machine: Machine, name: str) -> None:
    machine.python("python3.12", "3.12")
    machine.setup()
    with (machine.tree / name).open("a") as file:
        file.write("# changed\n")
    assert machine.setup().returncode == 0
    assert len(machine.pip_calls()) == 4


def test_interrupted_install_is_finished(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    (machine.tree / "pip-fails").touch()
    message = machine.refusal()
    assert "ERROR: no network" in message and "repeat the command" in message
    (machine.tree / "pip-fails").unlink()
    assert machine.setup().returncode == 0
    assert machine.setup().stdout == ""


def test_broken_venv_is_made_again(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    (machine.tree / ".venv" / "bin").mkdir(parents=True)
    assert machine.setup().returncode == 0
    assert (machine.tree / ".venv" / "installed").exists()


def test_another_python_than_that_of_the_environment(machine: Machine) -> None:
    """PYTHON=... never silently loses against a .venv that is there."""
    machine.python("python3.11", "3.11")
    assert machine.setup().returncode == 0
    machine.python("python3.12", "3.12")
    assert (
        ".venv is of Python 3.11, not of python3.12; remove .venv"
        in machine.refusal(PYTHON="python3.12")
    )
    assert machine.setup(PYTHON="python3.11").returncode == 0


# ------------------------------------------------------------------------- StarCraft II


def starcraft_setup(folder: Path, smac: str | None) -> str:
    """The one sentence env/starcraft2/setup.sh stops with, in its own tree.

    Args:
        folder: Where the tree is made.
        smac: Which package of that name is installed.
    """
    script = folder / "env" / "starcraft2" / "setup.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "env" / "starcraft2" / "setup.sh", script)
    if smac:
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        code = 0 if smac == "of the challenge" else 1
        case = f'case "$2" in "import smac.env") exit {code} ;; esac'
        python.write_text(f"#!/bin/sh\n{case}\nexit 0\n")
        python.chmod(0o755)
    tools = folder / "bin"
    tools.mkdir()
    for tool in ("git", "unzip", "curl"):
        (tools / tool).write_text(f"#!/bin/sh\necho {tool} >>{folder}/called\nexit 1\n")
        (tools / tool).chmod(0o755)
    path = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "SC2PATH": str(folder / "SC2"),
        "SC2_ARCHIVE": str(folder / "none.zip"),
    }
    done = subprocess.run(["sh", str(script)], env=path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (folder / "called").exists()
    return done.stderr


def test_starcraft_setup_says_what_is_the_users_to_do(tmp_path):
    assert "run make setup first" in starcraft_setup(tmp_path / "1", None)
    assert "it is SMAC3" in starcraft_setup(tmp_path / "2", "of PyPI")
    told = starcraft_setup(tmp_path / "3", "of the challenge")
    assert "Read Blizzard's licence" in told
    assert str(tmp_path / "3" / "none.zip") in told


def test_nothing_here_accepts_a_licence_for_the_user():
    for path in (ROOT / "env").rglob("*"):
        if path.is_file():
            text = path.read_text().lower()
            assert "iagreetothe" not in text and "unzip -p" not in text, path
