"""The progress bar: there in a terminal, silent elsewhere."""

import os
import pty
import subprocess
import sys
import termios

import pytest
from jupyter_client.manager import start_new_kernel

PROGRAM = """
from ciabook.page.progress import Progress
with Progress() as progress:
    progress(50, 100, epsilon=0.5, **{"return": -12.0})
    progress(100, 100, epsilon=0.25, **{"return": 7.0})
print("done")
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return [sys.executable, str(script)]


ENVIRONMENT = os.environ | {"PYTHONPATH": os.getcwd()}


def test_silent_without_a_terminal(command):
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_shown_in_a_terminal(command):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=ENVIRONMENT, check=True
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    # "<" stands before the time left
    for part in ("100/100", "env-steps/s", "return=7", "epsilon=0.25", "<"):
        assert part in shown, shown


@pytest.mark.parametrize("watched", [True, False])
def test_shown_in_a_notebook_that_somebody_runs(watched):
    """A live front end can be asked for input; papermill and nbval stay silent."""
    manager, client = start_new_kernel(kernel_name="python3", env=ENVIRONMENT)
    shown = []
    try:
        client.execute_interactive(
            PROGRAM, allow_stdin=watched, output_hook=shown.append, timeout=120
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    streams = set()
    for message in shown:
        if message["msg_type"] == "stream":
            streams.add(message["content"]["name"])
    assert streams == ({"stdout", "stderr"} if watched else {"stdout"})
