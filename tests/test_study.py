"""Studies: what they hold, what has become of their runs, and the command that trains
what is missing."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from ciabook.studies import lab
from ciabook.studies.runs import Entry, grid
from ciabook.studies.study import (
    STUDIES,
    difference,
    failure_file,
    find,
    standing,
    strangers,
)
from support.faults import (
    after,
    command_of,
    killed_until_done,
    processes,
    start_lab,
    wait_until_gone,
)
from support.runs import digests, files
from support.toys import Stroll, small

from ciacore import METHODS, train
from ciacore.games import GAMES, Turn
from ciacore.runtime.checkpoint import held, locked
from ciacore.runtime.store import read_run, run_folder
from ciacore.types import InvalidInputError

TINY = small(method="tiny", mixer="vdn")
ROOT = Path(__file__).resolve().parents[1]


# --------------------------------------------------------------------------------
# studies as data


def test_the_turn_study_is_the_papers():
    entries = find("turn")
    assert len(entries) == 70 and {entry.config.env_steps for entry in entries} == {
        2_050_000
    }
    # all first seeds first
    assert [entry.seed for entry in entries] == sorted(entry.seed for entry in entries)
    assert [entry.config for entry in entries[:14]] == list(METHODS.values())


# they have no runs before QMIX has decided how battles are trained
WAITING = [name for name in ("battles", "battle_calibration") if not STUDIES[name]]


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in WAITING])
def test_every_run_of_a_study_has_a_folder_of_its_own(name):
    entries = find(name)
    places = {run_folder("", e.game, e.config.method, e.seed): e for e in entries}
    assert len(places) == len(entries) > 1


def test_a_study_whose_runs_are_not_settled_says_what_it_waits_for(monkeypatch):
    monkeypatch.setitem(STUDIES, "battles", [])
    with pytest.raises(InvalidInputError, match="study: expected one whose runs are"):
        find("battles")


def test_studies_share_runs_where_their_configs_are_equal():
    everything = {}
    for entries in STUDIES.values():
        for entry in entries:
            place = run_folder("", entry.game, entry.config.method, entry.seed)
            if entry not in STUDIES["smoke"] + STUDIES["minute"]:
                # the same folder, the same run
                assert everything.setdefault(place, entry) == entry
    shared = set(find("departures")) & set(find("turn")) & set(find("alpha"))
    assert {entry.config.method for entry in shared} == {"qmix_cia"}


def test_departures_change_one_thing_at_a_time():
    configs = {entry.config.method: entry.config for entry in find("departures")}
    exact, attached = configs["qmix_cia_exact"], configs["qmix_cia_attached"]
    assert exact == METHODS["qmix_cia"].but(
        method="qmix_cia_exact", credit_derivative="exact"
    )
    assert attached == exact.but(method="qmix_cia_attached", credit_detach=False)
    assert {entry.seed for entry in find("departures")} == {1, 2, 3, 4, 5}


def test_alpha_is_the_papers_grid():
    found = {entry.config.cia_coefficient for entry in find("alpha")}
    assert (
        found == {0.005, 0.01, 0.02, 0.04, 0.05, 0.1, 0.5, 1.0}
        and len(find("alpha")) == 24
    )


def test_teams_at_rest_are_counted_over_twenty_seeds_of_each_method():
    entries = find("rest")
    assert len(entries) == 60 and {entry.seed for entry in entries} == {*range(1, 21)}
    for entry in entries:
        name = entry.config.method.removesuffix("_rest")
        assert entry.config == METHODS[name].but(
            method=f"{name}_rest", env_steps=250_000
        )


def test_the_experiment_on_the_cause_changes_nothing_but_the_credits():
    """But for its name an arm differs from QMIX in the order of agents or in the CIA
    term; two are those of `rest`."""
    entries = find("cause")
    assert len(entries) == 60 and {entry.seed for entry in entries} == {*range(1, 21)}
    fields = {entry.config.method: entry.config.to_dict() for entry in entries}
    plain = fields["qmix_rest"]
    changed = {
        name: {key for key in plain if each[key] != plain[key]}
        for name, each in fields.items()
    }
    assert changed["qmix_rs_rest"] == {"method", "mixer", "auxiliaries"}
    assert changed["qmix_cia_rest"] == {
        "method",
        "terms",
        "cia_coefficient",
        "credit_derivative",
    }
    assert all(
        entry in find("rest")
        for entry in entries
        if entry.config.method != "qmix_rs_rest"
    )


def test_battles_have_the_published_hyper_parameters():
    """Liu et al. (2023), appendix and configurations, by map."""
    table = {
        (entry.game, entry.config.method): entry.config
        for entry in find("battles_full")
    }
    assert len(table) == 6 * 11 and len(find("battles_full")) == 330
    # optimizer, env steps, epsilon steps, alpha with QMIX, alpha with QPLEX
    expected = {
        "10m_vs_11m": ("rmsprop", 2_050_000, 50_000, 0.02, 0.1),
        "2c_vs_64zg": ("rmsprop", 2_050_000, 50_000, 0.02, 0.02),
        "7sz": ("rmsprop", 2_050_000, 50_000, 0.005, 0.02),
        "6h_vs_8z": ("adam", 5_050_000, 500_000, 0.005, 0.1),
        "corridor": ("adam", 5_050_000, 500_000, 0.02, 0.02),
        "3s5z_vs_3s6z": ("rmsprop", 5_050_000, 500_000, 0.1, 0.04),
    }
    for name, (
        optimizer,
        env_steps,
        epsilon_steps,
        alpha,
        with_qplex,
    ) in expected.items():
        for method in ("qmix", "qmix_cia", "qplex_cia", "scds"):
            config = table[f"smax_{name}", method]
            assert (config.optimizer, config.env_steps, config.epsilon_steps) == (
                optimizer,
                env_steps,
                epsilon_steps,
            )
        assert (
            table[f"smax_{name}", "qmix_cia"].cia_coefficient == alpha
            and table[f"smax_{name}", "qmix"].cia_coefficient == 0
        )
        assert table[f"smax_{name}", "qplex_cia"].cia_coefficient == with_qplex
        assert (
            table[f"smax_{name}", "qplex"].qplex_weights
            == table[f"smax_{name}", "scds"].qplex_weights
            == "qatten"
        )
    assert (
        table["smax_corridor", "scds"].scds_anneal,
        table["smax_3s5z_vs_3s6z", "scds"].scds_beta,
    ) == (5.0, 0.03)
    assert table["smax_2c_vs_64zg", "eoi"].eoi_steps == 0.2


@pytest.mark.parametrize("name", STUDIES)
def test_the_training_notebook_can_be_told_every_config(name):
    for config in {entry.config for entry in STUDIES[name]}:
        method, overrides = difference(config)
        told = json.loads(json.dumps(overrides))
        assert METHODS[method].but(**{"env_steps": config.env_steps, **told}) == config
    assert difference(METHODS["qmix"].but(env_steps=7)) == ("qmix", {"env_steps": 7})


# -------------------------------------------------------------------------------- what
# has become of a run


@pytest.fixture
def entry() -> Entry:
    return Entry(TINY, "stroll", 1)


def folder_of(entry: Entry, results: Path) -> Path:
    return run_folder(results, entry.game, entry.config.method, entry.seed)


def test_missing_then_with_a_checkpoint_then_done(entry, tmp_path):
    assert standing(entry, tmp_path) == (entry, "missing", "")
    with pytest.raises(RuntimeError):
        train(TINY, Stroll(), [1], tmp_path, progress=after(3, RuntimeError))
    assert standing(entry, tmp_path) == (entry, "missing", "has a checkpoint")
    train(TINY, Stroll(), [1], tmp_path)
    assert standing(entry, tmp_path) == (entry, "done", "")
    (tmp_path / "elsewhere").mkdir()
    assert standing(entry, tmp_path / "elsewhere").state == "missing"


def test_running_while_a_process_holds_it(entry, tmp_path):
    with locked(folder_of(entry, tmp_path)):
        assert standing(entry, tmp_path).state == "running"
    assert standing(entry, tmp_path).state == "missing"


def test_failed_with_the_last_line_of_its_reason(entry, tmp_path):
    file = failure_file(folder_of(entry, tmp_path))
    file.parent.mkdir(parents=True)
    file.write_text("something\nFloatingPointError: td_loss: expected finite numbers\n")
    assert standing(entry, tmp_path) == (
        entry,
        "failed",
        "FloatingPointError: td_loss: expected finite numbers",
    )


SPOILED = {
    "truncated": (
        "metrics.json",
        lambda data: data[: len(data) // 2],
        "recorded sha256",
    ),
    "one bit flipped": (
        "weights.safetensors",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        "recorded sha256",
    ),
    "edited by hand": (
        "metrics.json",
        lambda data: data.replace(b"[", b"[ ", 1),
        "recorded sha256",
    ),
    "removed": ("config.json", None, "is incomplete"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_run_is_named_and_never_retrained(how, entry, tmp_path):
    train(TINY, Stroll(), [1], tmp_path)
    name, change, told = SPOILED[how]
    file = folder_of(entry, tmp_path) / name
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    found = standing(entry, tmp_path)
    assert (
        found.state == "damaged"
        and told in found.detail
        and str(file.parent) in found.detail
    )
    assert lab.exit_code([found]) == 1


def test_a_run_of_another_config_is_not_this_one(entry, tmp_path):
    train(TINY, Stroll(), [1], tmp_path)
    found = standing(entry._replace(config=TINY.but(gamma=0.5)), tmp_path)
    assert found.state == "damaged" and "another Config" in found.detail


def test_leftovers_that_belong_to_no_study_are_found(entry, tmp_path):
    train(TINY, Stroll(), [1, 2], tmp_path, processes=1)
    (tmp_path / "stroll" / "unknown" / "seed_7").mkdir(parents=True)
    assert strangers([entry], tmp_path) == [
        tmp_path / "stroll" / "tiny" / "seed_2",
        tmp_path / "stroll" / "unknown" / "seed_7",
    ]


def test_asking_whether_a_run_is_held_never_stops_it(tmp_path):
    """A process that starts while others ask all the time, gets its lock."""
    folder, stop = tmp_path / "turn" / "qmix" / "seed_1", threading.Event()
    (folder.parent / ".seed_1").mkdir(parents=True)
    (folder.parent / ".seed_1" / "lock").touch()
    asked = []

    def ask():
        while not stop.is_set():
            asked.append(held(folder))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            with locked(folder):
                (folder.parent / ".seed_1" / "checkpoint").touch()
    finally:
        stop.set()
        asking.join()
    assert len(asked) > 50 and {True, False} == set(asked)


def test_on_a_gpu_all_methods_that_count_alike_are_one_job(tmp_path):
    whole = "turn~like:qmix~1+2"
    assert lab.missing("smoke", tmp_path, "cuda") == [whole]
    assert lab.named("smoke", whole) == find("smoke")
    assert lab.named("smoke", "turn~qmix~1+2") == [
        entry for entry in find("smoke") if entry.config.method == "qmix"
    ]
    train(find("smoke")[0].config, Turn(), [1], tmp_path)
    assert lab.missing("smoke", tmp_path, "cuda") == ["turn~like:qmix_cia~1+2"]
    (group,) = lab.groups("smoke", tmp_path, "cuda")
    assert group == find("smoke")[1:]
    # the key is of the study; what is done already is not asked for again
    assert lab.named("smoke", "turn~like:qmix_cia~1+2") == find("smoke")
    told = lab.notebook_parameters(group, tmp_path, "cuda")
    assert told["method"] == "qmix_cia" and told["seeds"] == [1, 2]
    assert told["beside"] == [
        {"method": "qmix", "seeds": [2], "overrides": {"env_steps": 2_000}}
    ]
    lab.check_declared(told)
    # on a CPU a run is a key, as ever
    assert lab.missing("smoke", tmp_path)[0] == "turn~qmix_cia~1"


def test_what_cannot_share_a_graph_is_a_job_of_its_own(tmp_path, monkeypatch):
    """Another length of training, another game, or one whose episodes end early."""
    monkeypatch.setitem(GAMES, "stroll", Stroll)
    vdn, qmix = METHODS["vdn"], METHODS["qmix"]
    entries = grid([vdn, qmix.but(env_steps=7), METHODS["eoi"]], "turn", [1, 3])
    entries += grid([vdn, qmix], "stroll", [1, 2])
    monkeypatch.setitem(STUDIES, "mixed", entries)
    keys = lab.missing("mixed", tmp_path, "cuda")
    assert keys == [
        "turn~like:vdn~1+3",
        "turn~qmix~1+3",
        "stroll~vdn~1+2",
        "stroll~qmix~1+2",
    ]
    named = [lab.named("mixed", each) for each in keys]
    assert sorted(map(entries.index, [entry for some in named for entry in some])) == [
        *range(len(entries))
    ]
    monkeypatch.setattr(lab, "survey", lambda *_: [])  # the keys do not depend on it
    assert [lab.named("mixed", each) for each in keys] == named
    for unknown in ("turn~like:nobody~1", "turn~like:vdn~1+2", "turn~vdn~1+2"):
        with pytest.raises(InvalidInputError, match="key: expected a run"):
            lab.named("mixed", unknown)


def test_the_memory_of_a_key_is_that_of_its_runs(tmp_path, monkeypatch):
    """What Snakemake is told of a study on a GPU, and that it reads the key back."""
    asked = {}

    class Scheduler:
        def __init__(self, command, **_) -> None:
            asked.update(json.loads(Path(command[6]).read_text()))

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            pass

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(lab.subprocess, "Popen", Scheduler)
    lab.run("smoke", tmp_path, 1, "cuda", [])
    needed = lab.megabytes(find("smoke"))
    assert len(needed) == 2
    of_all = 2 * sum(needed.values())
    assert asked["plan"] == {"turn~like:qmix~1+2": {"mem_mb": of_all}}


def test_an_unknown_study_or_key(tmp_path, capsys):
    assert lab.main(["status", "trun", "--results", str(tmp_path)]) == 2
    assert "Did you mean 'turn'?" in capsys.readouterr().err
    assert lab.main(["exec", "smoke", "turn~qmix~9", "--results", str(tmp_path)]) == 2
    assert "key: expected a run of the study smoke" in capsys.readouterr().err


# -------------------------------------------------------------------------------- one
# run through papermill


@pytest.fixture
def notebooks(monkeypatch):
    """Kernels find the library of this checkout."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}")
    # pytest's own end is none of its business
    monkeypatch.setattr(lab, "die_with_parent", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_run_is_what_train_gives_and_a_second_call_does_nothing(
    notebooks, tmp_path, monkeypatch
):
    config = METHODS["qmix_cia"].but(
        env_steps=4_000, evaluation_interval=1_000, batch=8
    )
    entry = Entry(config, "turn", 3)
    assert lab.execute([entry], tmp_path, "cpu") == 0
    (run,) = train(config, Turn(), [3])
    kept = read_run(folder_of(entry, tmp_path))
    assert kept.metrics == run.metrics and all(
        torch.equal(kept.weights[k], v) for k, v in run.weights.items()
    )
    # nothing else is left
    assert [path.name for path in (tmp_path / "turn" / "qmix_cia").iterdir()] == [
        "seed_3"
    ]
    monkeypatch.setattr(lab.papermill, "execute_notebook", None)
    assert lab.execute([entry], tmp_path, "cpu") == 0


def test_seeds_in_one_execution_are_each_what_they_are_alone(notebooks, tmp_path):
    config = METHODS["qmix"].but(env_steps=600, evaluation_interval=300, batch=4)
    assert (
        lab.execute([Entry(config, "turn", seed) for seed in (1, 2)], tmp_path, "cpu")
        == 0
    )
    for run in train(config, Turn(), [1, 2], processes=1):
        assert (
            read_run(folder_of(Entry(config, "turn", run.seed), tmp_path)).metrics
            == run.metrics
        )


def test_methods_in_one_execution_are_each_what_they_are_alone(
    notebooks, tmp_path, capsys
):
    """One of them fails, one is damaged, one is there; the others are trained."""
    tiny = {"env_steps": 600, "evaluation_interval": 300, "batch": 4}
    vdn, qmix, gre = (METHODS[name].but(**tiny) for name in ("vdn", "qmix", "gre"))
    bad = qmix.but(method="bad", learning_rate=1e30)
    entries = grid([vdn, bad, qmix, gre], "turn", [1])
    train(gre, Turn(), [1], tmp_path)
    train(vdn, Turn(), [1], tmp_path)
    (folder_of(entries[0], tmp_path) / "metrics.json").unlink()
    assert lab.execute(entries, tmp_path, "cpu") == 1
    states = [standing(entry, tmp_path).state for entry in entries]
    assert states == ["damaged", "failed", "done", "done"]
    assert "FloatingPointError" in standing(entries[1], tmp_path).detail
    (alone,) = train(qmix, Turn(), [1])
    assert read_run(folder_of(entries[2], tmp_path)).metrics == alone.metrics
    assert "turn~gre~1: done" in capsys.readouterr().out


def test_a_loss_that_is_no_number_is_a_failure_with_its_step(
    notebooks, tmp_path, capsys, monkeypatch
):
    config = METHODS["qmix"].but(
        env_steps=4_000, learning_rate=1e30, evaluation_interval=500, batch=4
    )
    entries = grid(
        [config.but(method="bad"), METHODS["qmix"].but(method="good", env_steps=200)],
        "turn",
        [1],
    )
    monkeypatch.setitem(STUDIES, "pair", entries)
    assert [lab.execute([entry], tmp_path, "cpu") for entry in entries] == [1, 0]
    assert lab.main(["status", "pair", "--results", str(tmp_path)]) == 1
    table = capsys.readouterr().out
    assert "turn~bad~1   failed   FloatingPointError:" in table and "env steps" in table
    assert "turn~good~1  done" in table and "pair: 1 failed, 1 done of 2" in table
    # the same command tries it again
    assert lab.missing("pair", tmp_path) == ["turn~bad~1"]


# --------------------------------------------------------------------------------
# killed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    """The digests of the smoke study, trained in this process."""
    results = tmp_path_factory.mktemp("undisturbed")
    for config in dict.fromkeys(entry.config for entry in find("smoke")):
        train(config, Turn(), [1, 2], results, processes=1)
    return digests(results)


def test_a_run_killed_anywhere_is_what_it_would_have_been(undisturbed, tmp_path):
    killed_until_done(
        tmp_path, ["exec", "smoke", "turn~qmix_cia~1"], kills=2, seed=4, within=6.0
    )
    found = digests(tmp_path)
    assert len(found) == 3 and found.items() <= undisturbed.items()
    assert not [path for path in files(tmp_path) if "/." in path]


@pytest.mark.long
def test_a_study_killed_anywhere_is_what_it_would_have_been(undisturbed, tmp_path):
    """Command, scheduler, run step or kernel: the same command again is the whole
    recovery."""
    killed_until_done(
        tmp_path, ["run", "smoke", "--jobs", "2"], kills=1, seed=1, within=14.0
    )
    assert digests(tmp_path) == undisturbed
    assert not [path for path in files(tmp_path / "turn") if "/." in path]


def test_a_scheduler_that_does_not_listen_goes_with_its_lab(tmp_path):
    """On SIGTERM Snakemake may wait for a lock that its own thread holds; here it is
    stopped, which is as deaf."""
    running = start_lab(tmp_path, "run", "smoke", "--jobs", "2")
    scheduler = None
    while scheduler is None:
        assert running.poll() is None
        time.sleep(0.2)
        scheduler = next(
            (
                process
                for process in processes(tmp_path)
                if b"--snakefile" in command_of(process)
            ),
            None,
        )
    os.kill(scheduler, signal.SIGSTOP)
    running.kill()
    running.wait()
    wait_until_gone(tmp_path)


@pytest.mark.long
def test_a_study_killed_often_is_what_it_would_have_been(undisturbed, tmp_path):
    for seed in range(4):
        killed_until_done(
            tmp_path / str(seed),
            ["run", "smoke", "--jobs", "2"],
            kills=4,
            seed=seed,
            within=20.0,
        )
        assert digests(tmp_path / str(seed)) == undisturbed


@pytest.mark.long
def test_two_labs_at_once_train_every_run_once(undisturbed, tmp_path):
    """The second command is refused; a run step beside it finds the lock, and later the
    run."""
    first = start_lab(tmp_path, "run", "smoke", "--jobs", "2")
    time.sleep(4)
    assert start_lab(tmp_path, "run", "smoke", "--jobs", "2").wait() == 2
    assert first.wait() == 0 and digests(tmp_path) == undisturbed
    times = [
        read_run(path).provenance["resumed"] for path in tmp_path.glob("turn/*/seed_*")
    ]
    assert times == [[]] * 4
