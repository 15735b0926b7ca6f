"""A stored run plays again: its returns, wins and credits, and its metrics as CSV."""

import csv
import re

import pytest
import torch
from ciabook.evidence.analysis import greedy_episodes
from PIL import Image
from support.faults import refused
from support.runs import made_up
from support.toys import CIA, Stroll, small
from test_metrics import Winnable

from ciacore import METHODS, evaluate, load_run, to_csv, train
from ciacore.games import MatrixGame, Turn
from ciacore.runtime.evaluation import Evaluation, evaluate_on, team
from ciacore.runtime.store import run_folder

pytestmark = pytest.mark.usefixtures("as_users_run_it")

CONFIG = small(**CIA)
RESULTS = "book/results"


# ----------------------------------------------------------------------------- evaluate


@pytest.mark.parametrize(
    "game", [Turn(horizon=5), Stroll()], ids=lambda game: game.name
)
@pytest.mark.parametrize("seed", [1, 7])
def test_the_first_evaluation_of_a_training_comes_again_exactly(game, seed, tmp_path):
    """Its weights were kept, and its random numbers are those of the run's seed."""
    (run,) = train(CONFIG, game, [seed], tmp_path, keep_every=1)
    folder = run_folder(tmp_path, game.name, "qmix_cia", seed)
    first = run.metrics["env_steps"][0]
    found = evaluate(load_run(folder, weights=first), game, 3, seed=seed)
    assert found.returns.tolist() == run.metrics["episode_return"][0]


def test_a_published_run_does_as_well_as_at_its_end(pytestconfig):
    """Within four standard errors of the last three evaluations, 32 games each."""
    run = load_run(pytestconfig.rootpath / RESULTS / "turn" / "qmix_cia" / "seed_1")
    stored = torch.tensor(run.metrics["episode_return"][-3:]).flatten()
    found = evaluate(run, Turn(), episodes=96, seed=3).returns
    error = (stored.var() / len(stored) + found.var() / len(found)) ** 0.5
    assert abs(found.mean() - stored.mean()) < 4 * error
    assert stored.mean() > 10  # where a team that has learned nothing is below 0


def test_the_same_seed_gives_the_same_games_and_another_others():
    game = Stroll()
    (run,) = train(CONFIG, game, [1])
    first, again, other = (
        evaluate(run, game, episodes=10, seed=seed) for seed in (5, 5, 6)
    )
    assert torch.equal(first.returns, again.returns)
    assert not torch.equal(first.returns, other.returns)
    # side by side are as many as in training; a shorter evaluation is the beginning
    assert torch.equal(evaluate(run, game, 3, 5).returns, first.returns[:3])


def test_randomness_of_others_is_neither_used_nor_touched():
    (run,) = train(CONFIG, Stroll(), [1])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = evaluate(run, Stroll(), episodes=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first.returns, evaluate(run, Stroll(), episodes=4).returns)


def test_lengths_and_returns_of_games_that_end_early():
    """Each step of a stroll pays 1."""
    (run,) = train(CONFIG, Stroll(), [1])
    found = evaluate(run, Stroll(), episodes=8, credits=True)
    assert torch.equal(found.returns, found.lengths.float())
    assert len(set(found.lengths.tolist())) > 1 and found.won is None
    steps = torch.arange(Stroll().spec.horizon)
    padding = steps >= found.lengths[:, None]  # [B, T]
    assert (found.credits[padding] == 0).all() and (found.credits[~padding] > 0).all()


def test_wins_are_counted():
    (run,) = train(CONFIG, Winnable(), [1])
    found = evaluate(run, Winnable(), episodes=5)
    assert found.won.tolist() == [True] * 5 and found.summary()["win_rate"] == 1


def test_credits_are_those_of_the_chapters():
    (run,) = train(CONFIG, Stroll(), [1])
    ours = team(run, Stroll())
    found = evaluate(run, Stroll(), episodes=3, seed=4, credits=True)
    assert evaluate(run, Stroll(), episodes=3, seed=4).credits is None
    # VDN's credits are all 1, whatever happens
    (vdn,) = train(small(method="vdn", mixer="vdn"), Turn(horizon=5), [1])
    ones = evaluate(vdn, Turn(horizon=5), episodes=2, credits=True).credits
    assert torch.equal(ones, torch.ones(2, 5, 2))
    episodes = greedy_episodes(ours, Stroll(), 3, seed=4)
    other = evaluate_on(ours, episodes).credits
    assert other.shape == found.credits.shape


def test_the_summary_by_hand():
    found = Evaluation(
        torch.tensor([1.0, 2.0, 6.0]),
        torch.tensor([True, False, False]),
        torch.tensor([2, 2, 5]),
        None,
    )
    summary = found.summary()
    assert summary == {
        "episodes": 3,
        "mean_return": 3.0,
        "mean_length": 3.0,
        "standard_error": pytest.approx((7 / 3) ** 0.5),
        "win_rate": pytest.approx(1 / 3),
    }
    assert "standard_error" not in evaluate(*trained_on_matrix(), 1).summary()


def trained_on_matrix():
    """A run on a matrix game, and the game."""
    game = MatrixGame([[1.0, 2.0], [3.0, 4.0]])
    return train(CONFIG, game, [1])[0], game


@pytest.mark.parametrize("method", ["maven", "eoi", "qplex_cia", "qtran", "qmix_rs"])
def test_every_kind_of_method_can_be_evaluated(method):
    config = METHODS[method].but(
        env_steps=30, batch=4, buffer=8, evaluation_games=3, hidden_size=8
    )
    (run,) = train(config, Turn(horizon=5), [2])
    found = evaluate(run, Turn(horizon=5), episodes=4, credits=True)
    assert found.credits.shape == (4, 5, 2) and found.credits.isfinite().all()


def test_what_cannot_be_evaluated_is_refused():
    run, game = trained_on_matrix()
    refused(lambda: evaluate("runs/turn", game), "run", "load_run")
    refused(lambda: evaluate(made_up(), game), "run", "with weights")
    refused(lambda: evaluate(run, Turn()), "spec")
    for episodes in (0, -1, 1.5, True, "3"):
        refused(lambda n=episodes: evaluate(run, game, n), "episodes")
    for seed in (-1, 0.5, None):
        refused(lambda s=seed: evaluate(run, game, seed=s), "seed")


def test_the_cells_of_the_readme_work(pytestconfig, tmp_path, monkeypatch):
    """As they stand there, but for shorter trainings."""
    text = (pytestconfig.rootpath / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (cells,) = [block for block in blocks if "to_csv" in block]
    shorter = {
        "20_000": "300",
        "40_000": "600",
        "episodes=100": "episodes=3",
        "watch(run, game)": "watch(run, game, steps=2)",
    }
    for long, short in shorter.items():
        assert long in cells
        cells = cells.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(cells, {})
    run = load_run("runs/turn/qmix_cia/seed_1")
    assert run.config.env_steps == 600 and len(run.provenance["resumed"]) == 1
    assert (tmp_path / "runs" / "metrics.csv").is_file()


def test_the_readme_trains_on_an_environment_of_ones_own(
    pytestconfig, tmp_path, monkeypatch
):
    """Trained, watched, trained further, and read by TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    text = (pytestconfig.rootpath / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (cells,) = [block for block in blocks if "examples.own_environment" in block]
    commands = [line for line in cells.splitlines() if line and "import" not in line]
    assert len(commands) == 6  # a game, a config, how to keep it; then three
    for long, short in {"20_000": "300", "40_000": "600"}.items():
        assert long in cells
        cells = cells.replace(long, short)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath))
    names = {}
    exec(cells, names)
    run = names["run"]
    assert run.config.env_steps == 600 and len(run.provenance["resumed"]) == 1
    folder = run.game + "/qmix_cia/seed_1"
    assert run.game == "pettingzoo+examples.own_environment"
    assert load_run(tmp_path / "runs" / folder).metrics == run.metrics
    with Image.open(tmp_path / "mine.gif") as picture:
        assert picture.n_frames == 21
    logged = EventAccumulator(str(tmp_path / "runs" / "tensorboard" / folder))
    logged.Reload()
    assert logged.Tags()["scalars"]


# --------------------------------------------------------------------------------- CSV


def read_csv(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_evaluation(tmp_path):
    runs = train(CONFIG, Winnable(), [1, 2], processes=1)
    rows = read_csv(to_csv(runs, tmp_path / "folder" / "runs.csv"))
    index = 0
    for run in runs:
        for number, steps in enumerate(run.metrics["env_steps"]):
            row, returns = rows[index], run.metrics["episode_return"][number]
            assert (row["game"], row["method"]) == ("winnable", "qmix_cia")
            assert (int(row["seed"]), int(row["env_steps"])) == (run.seed, steps)
            assert float(row["mean_return"]) == sum(returns) / len(returns)
            assert float(row["win_rate"]) == 1
            assert float(row["epsilon"]) == run.metrics["epsilon"][number]
            losses = run.metrics["losses"][number] or {}
            for name in ("loss", "cia", "gradient_norm"):
                text = str(losses[name]) if name in losses else ""
                assert row[f"loss_{name}"] == text
            index += 1
    assert index == len(rows) and any(row["loss_cia"] for row in rows)


def test_runs_with_unlike_columns_share_a_file(tmp_path):
    """One run without losses, one of a game that cannot be won."""
    (run,) = train(CONFIG, Winnable(), [1])
    rows = read_csv(to_csv([made_up(), run], tmp_path / "runs.csv"))
    assert (rows[0]["mean_return"], rows[0]["win_rate"]) == ("-0.25", "")
    assert rows[1]["win_rate"] == "1.0"
    assert list(rows[0])[:6] == [
        "game",
        "method",
        "seed",
        "env_steps",
        "mean_return",
        "win_rate",
    ]


def test_one_run_needs_no_list(tmp_path):
    (run,) = train(CONFIG, Stroll(), [1])
    alone, listed = to_csv(run, tmp_path / "a.csv"), to_csv([run], tmp_path / "b.csv")
    assert alone.read_bytes() == listed.read_bytes()
    assert "win_rate" not in read_csv(alone)[0]


def test_what_is_no_table_is_refused(tmp_path):
    (run,) = train(CONFIG, Stroll(), [1])
    refused(lambda: to_csv([], tmp_path / "a.csv"), "runs")
    refused(lambda: to_csv(["a"], tmp_path / "a.csv"), "runs")
    (tmp_path / "file").touch()
    refused(lambda: to_csv(run, tmp_path / "file" / "a.csv"), "path")
    refused(lambda: to_csv(run, tmp_path), "path")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
