"""What takes minutes, run by `make test-long`.

Learning, killed processes, the published runs, and pages in a browser.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import torch
from bench.plain import row_by_row
from ciabook.page.plots import scores
from ciabook.studies.recheck import mean, recheck
from support.faults import wait_until_free
from support.runs import assert_faithful, digests, dry_run, files

from ciacore import METHODS, train
from ciacore.games import Turn
from ciacore.runtime.checkpoint import NAME as CHECKPOINT
from ciacore.runtime.checkpoint import work_folder
from ciacore.runtime.one_core import one_core
from ciacore.runtime.stacked_seeds import not_stackable
from ciacore.runtime.store import read_run, read_runs, run_folder
from ciacore.training import Training

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "book" / "results"
RUNS = sorted(RESULTS.glob("*/*/seed_*"))
CHROMIUM = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.long


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: "-".join(folder.parts[-3:]))
def test_published_run_repeats(folder):
    """Exactly with the PyTorch and CPU it was made on, within the band elsewhere."""
    run = read_run(folder)
    siblings = [read_run(other) for other in sorted(folder.parent.glob("seed_*"))]
    outcome = recheck(run, siblings, Turn(), evaluations=2)
    assert outcome.passed, outcome


@pytest.mark.parametrize("method", METHODS)
def test_learns_not_to_waste(method):
    """After 30 000 steps the greedy team is better than a random one (about -93)."""
    (run,) = train(METHODS[method].but(env_steps=30_000), Turn(), seeds=[3])
    last = torch.tensor(run.metrics["episode_return"][-2:])
    assert last.mean() > -70


LONGER = """
import sys
from ciacore import METHODS, train
from ciacore.runtime import session
from ciacore.games import Turn
session.CHECKPOINT_SECONDS = 0
session.CHECKPOINT_SHARE = 1.0
sizes = {"env_steps": 36_000, "buffer": 200, "evaluation_interval": 2_000}
config = METHODS[sys.argv[1]].but(**sizes)


def progress(env_steps, *_, **__):
    print(env_steps, flush=True)


train(config, Turn(), [1], sys.argv[2], progress=progress)
"""


@pytest.mark.parametrize("method", ["qmix", "qmix_cia"])
def test_killed_at_twenty_five_random_moments(method, tmp_path):
    """SIGKILL, with a checkpoint at every iteration, leaves the undisturbed digests.

    No stray file is left.
    """

    def training(results: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", LONGER, method, str(results)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )

    moments, reached = random.Random(method), []
    for _ in range(25):
        process = training(tmp_path / "killed")
        count = moments.randint(2, 12)
        reached.append([int(process.stdout.readline()) for _ in range(count)])
        time.sleep(moments.random() * 0.05)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    for results in (tmp_path / "killed", tmp_path / "undisturbed"):
        process = training(results)
        assert process.communicate() and process.returncode == 0
    firsts = [steps[0] for steps in reached]
    # it got further every time
    assert firsts == sorted(set(firsts)) and firsts[0] == 100
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")


def test_papermill_killed_at_random_moments(tmp_path):
    """SIGKILL to its whole group: the same command goes on.

    Twice while it starts, thrice after a checkpoint.
    """
    method = "qmix_cia"
    results = tmp_path / "killed"
    parameters = {
        "method": method,
        "seeds": [1],
        "env_steps": 20_000,
        "results": str(results),
    }
    prepared = tmp_path / "train.ipynb"
    notebook = papermill.execute_notebook(
        str(ROOT / "notebooks" / "train.ipynb"),
        str(prepared),
        parameters,
        prepare_only=True,
        progress_bar=False,
    )
    lines = [
        "from ciacore.runtime import session",
        "session.CHECKPOINT_SECONDS = 0",
        "session.CHECKPOINT_SHARE = 1.0",
    ]
    often = nbformat.v4.new_code_cell("\n".join(lines))
    place = [cell.id for cell in notebook.cells].index("train-04")
    notebook.cells.insert(place, often)
    nbformat.write(notebook, prepared)
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(prepared),
        str(tmp_path / "out.ipynb"),
        "-k",
        "python3",
        "--no-progress-bar",
    ]
    place = run_folder(tmp_path / "killed", "turn", method, 1).parent
    moments = random.Random(method)
    checkpoint = work_folder(place / "seed_1") / CHECKPOINT
    for attempt in range(5):
        before = checkpoint.stat().st_ino if checkpoint.exists() else None
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stderr=subprocess.DEVNULL, start_new_session=True
        )
        for _ in range(1200 * (attempt > 1)):
            if checkpoint.exists() and checkpoint.stat().st_ino != before:
                break
            time.sleep(0.1)
        time.sleep(moments.random() * 4 / (1 + attempt))
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        wait_until_free(place / "seed_1")
        assert not (place / "seed_1").exists()
    subprocess.run(command, env=ENVIRONMENT, check=True, stderr=subprocess.DEVNULL)
    (run,) = train(
        METHODS[method].but(env_steps=20_000), Turn(), [1], tmp_path / "undisturbed"
    )
    assert len(read_run(place / "seed_1").provenance["resumed"]) >= 2
    assert not run.provenance["resumed"]
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")


def trained_plainly(seed: int) -> list[float]:
    """Mean greedy returns of QMIX(CIA) without the fast paths.

    It plays in torch, runs nn.GRU, and looks at every row on its own.
    """
    with one_core(), row_by_row():
        config = METHODS["qmix_cia"].but(env_steps=300_000)
        training = Training(config, Turn(), seed, torch.device("cpu"), in_numpy=False)
        while training.running():
            training.iterate()
    return [mean(returns) for returns in training.log.metrics["episode_return"]]


def test_fast_and_plain_path_agree():
    """Five seeds of 300 000 steps: the mean returns differ by nothing that shows.

    The 95 % bootstrap interval of the difference holds 0. The fast ones are the
    published runs with one game per seed (`test_published_run_repeats` repeats them).
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        plain = np.array(list(pool.map(trained_plainly, [1, 2, 3, 4, 5])))
    (runs,) = read_runs(RESULTS, "turn", ["qmix_cia_1_game"]).values()
    steps, fast = scores(runs)
    assert plain.shape == fast.shape == (5, len(steps))
    rng = np.random.default_rng(0)
    for window in (slice(0, 15), slice(15, None), slice(-4, None)):
        ours, theirs = fast[:, window].mean(1), plain[:, window].mean(1)
        drawn = rng.integers(5, size=(2, 10_000, 5))
        low, high = np.quantile(
            ours[drawn[0]].mean(1) - theirs[drawn[1]].mean(1), [0.025, 0.975]
        )
        print(f"evaluations {window}: fast {ours.round(1)}, plain {theirs.round(1)}")
        print(f"difference {low:.1f} to {high:.1f}")
        assert low <= 0 <= high


@pytest.mark.browser
def test_pages_load_without_a_complaint(tmp_path):
    """Every page of the book as built last (`make book`), in headless Chromium.

    There is no network. The console stays empty but for two lines in which the theme
    says what it has done.
    """
    notes = re.compile(r'CONSOLE[:(]\d+[)\]]+ "\[(PST|togglebutton)\]: ')
    pages = sorted((ROOT / "_build" / "html").glob("*/*.html"))
    assert pages, "build the book first: make book"
    for page in pages:
        options = [
            "--enable-logging=stderr",
            "--v=0",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=8000",
        ]
        blocked = "--host-resolver-rules=MAP * ~NOTFOUND"
        command = [*CHROMIUM, *options, blocked, "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "</html>" in done.stdout
        console = [
            line
            for line in done.stderr.splitlines()
            if "CONSOLE" in line and not notes.search(line)
        ]
        assert not console, f"{page.name}: {console}"


def test_the_first_minutes_of_every_method_come_to_their_end(tmp_path):
    found = dry_run(tmp_path / "found.json")
    for method, config in METHODS.items():
        assert_faithful(found["parts"][method])
        if method != "qmix_cia" and not not_stackable(config):
            assert_faithful(found["parts"][f"{method}, 2 seeds"])
            assert found["parts"][f"{method}, 2 seeds"]["seeds_stacked"] == 2
    assert found["parts"]["qmix_cia, 5 branches"]["seeds_stacked"] == 0


def test_a_reader_repeats_the_finding(tmp_path):
    """The chapter trains QMIX and QMIX(CIA) with fresh seeds, and judges them."""
    page = tmp_path / "mine.ipynb"
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").symlink_to(ROOT / "book")
    papermill.execute_notebook(
        str(ROOT / "notebooks" / "what_wakes_a_team.ipynb"),
        str(page),
        {"budget": "class", "seeds": [5_001, 5_002]},
        cwd=str(tmp_path / "notebooks"),
        progress_bar=False,
    )
    printed = "".join(
        output.get("text", "")
        for cell in nbformat.read(page, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert "QMIX(CIA): " in printed and "of 2 asleep" in printed
    assert "together: too few to tell" in printed  # two seeds are never enough
    made = read_runs(tmp_path / "runs" / "replicate", "turn", ["qmix_wake", "cia_wake"])
    assert [[run.seed for run in group] for group in made.values()] == [
        [5_001, 5_002]
    ] * 2
