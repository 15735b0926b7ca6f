"""Runs every test, the long ones included, and writes a report beside this file.

The report holds the commit, the date and the summary. `--report NAME` names it
(test-long.txt); everything else is handed to pytest.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def git(*arguments: str) -> str:
    """What git prints, "" where it fails."""
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


def main() -> int:
    """Shows pytest's output while it runs; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", default="test-long.txt")
    options, arguments = parser.parse_known_args()
    report = Path(__file__).resolve().with_name(options.report)
    dirty = " with uncommitted changes" if git("status", "--porcelain") else ""
    header = [
        f"commit: {git('rev-parse', 'HEAD') or 'none'}{dirty}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: Python {platform.python_version()} on {platform.platform()}",
        f"pytest: {' '.join(arguments) or 'every test'}",
    ]
    command = [sys.executable, "-m", "pytest", "-m", "", "--durations=10", *arguments]
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as pytest:
        for line in pytest.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    starts = [
        index
        for index, line in enumerate(lines)
        if line.startswith("=") and "slowest" in line
    ]
    report.write_text(
        "\n".join([*header, "", *lines[starts[-1] if starts else -1 :]]) + "\n"
    )
    print(f"Written: {report.relative_to(ROOT)}")
    return pytest.returncode


if __name__ == "__main__":
    sys.exit(main())
