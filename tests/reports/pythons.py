"""Runs a quick suite under every supported Python that this machine has.

Each has an environment of its own in .venv-pythons/, with the pins of the lock; the
Python of this environment needs none. Which were run, and which are not here, is
written to test-pythons.txt beside this file. Arguments are handed to pytest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "env" / "requirements.txt"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
# mathematics, games, training, processes and files; a minute or two in all
QUICK = (
    "test_golden.py",
    "test_credits.py",
    "test_cia.py",
    "test_mixers.py",
    "test_matrix.py",
    "test_turn.py",
    "test_learner.py",
    "test_schedule.py",
    "test_rollout.py",
    "test_experiment.py",
    "test_store.py",
    "test_checkpoint.py",
    "test_files.py",
    "test_bad_input.py",
    "test_processes.py",
    "test_per_agent.py",
)


def version_of(python: str | Path) -> str | None:
    """The version of an interpreter, None where it does not run."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def interpreter(version: str) -> str | None:
    """A Python of this version: this one, one on the PATH, or one of pyenv's."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(name), *sorted(pyenv.glob(f"{version}.*/bin/{name}"))]
    for python in found:
        if python is not None and version_of(python) == version:
            return str(python)
    return None


def environment(version: str, python: str) -> str:
    """The interpreter of an environment that has the pins of the lock.

    Args:
        version: of Python.
        python: that makes it, where it is not there or the lock has changed.
    """
    if python == sys.executable:
        return python
    place = ROOT / ".venv-pythons" / version
    own, stamp = place / "bin" / "python", place / "installed"
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != key:
        print(f"test-pythons: installing the lock for Python {version}", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", place], check=True)
        pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", LOCK], check=True)
        stamp.write_text(key)
    return str(own)


def run_suite(python: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and last line of the quick suite.

    Args:
        python: the interpreter.
        arguments: more for pytest.
    """
    paths = f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"
    tests = [str(ROOT / "tests" / name) for name in QUICK]
    options = ["-q", "-n0", "-p", "no:cacheprovider", *arguments]
    lines = []
    with subprocess.Popen(
        [python, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    ) as pytest:
        for line in pytest.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.strip())
    return pytest.returncode, next((line for line in lines[::-1] if line), "")


def main() -> int:
    """Returns 1 where a suite fails or an environment cannot be made."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    report = [
        f"commit: {commit or 'none'}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"pytest: {' '.join(sys.argv[1:]) or 'the whole quick suite'}",
        "",
    ]
    failed = 0
    for version in VERSIONS:
        python = interpreter(version)
        if python is None:
            report.append(f"Python {version}: not on this machine")
            continue
        try:
            code, last = run_suite(environment(version, python), sys.argv[1:])
        except subprocess.CalledProcessError as error:
            code, last = 1, f"no environment: exit code {error.returncode}"
        failed += code != 0
        report.append(f"Python {version}: {last}")
    text = "\n".join(report) + "\n"
    Path(__file__).with_name("test-pythons.txt").write_text(text)
    print(f"\n{text}Written: tests/reports/test-pythons.txt")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
