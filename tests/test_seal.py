"""An arm in one sealed file: read like its folders, and damage is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from ciabook.evidence.wake_checks import runs_of
from ciabook.studies import seal as seal_module
from ciabook.studies.recheck import recheck
from ciabook.studies.runs import Entry
from ciabook.studies.seal import arms, files_of, lacking, main, seal
from ciabook.studies.study import standing, strangers, survey
from support.faults import refused
from support.toys import SMALL, Stroll

from ciacore.methods import METHODS
from ciacore.runtime.experiment import train
from ciacore.runtime.sealed import read_sealed, sealed_seeds, write_sealed
from ciacore.runtime.store import Run, load_run, read_runs, write_run

CONFIG = METHODS["qmix"].but(**SMALL, method="qmix_sealed")
ENTRIES = [Entry(CONFIG, "stroll", seed) for seed in (2, 10, 3)]


def made(seed: int, weights: dict | None = None) -> Run:
    metrics = {"env_steps": [20], "episode_return": [[float(seed), 0.5, -1.0]]}
    return Run(CONFIG, "stroll", seed, metrics, weights or {}, {"commit": "abc"})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for entry in ENTRIES:
        folder = tmp_path / "runs" / "stroll" / CONFIG.method / f"seed_{entry.seed}"
        write_run(folder, made(entry.seed))
    return tmp_path / "runs"


@pytest.fixture
def sealed(results: Path) -> Path:
    """The folder of runs that are sealed, and the folders gone."""
    seal(ENTRIES, results, results)
    shutil.rmtree(results / "stroll" / CONFIG.method)
    return results


def file_of(results: Path) -> Path:
    return results / "stroll" / f"{CONFIG.method}.sealed"


def test_a_sealed_arm_reads_like_its_folders(results: Path):
    before = read_runs(results, "stroll", [CONFIG.method])
    seal(ENTRIES, results, results)
    shutil.rmtree(results / "stroll" / CONFIG.method)
    after = read_runs(results, "stroll", [CONFIG.method])
    assert before == after
    assert [run.seed for run in after[CONFIG.method]] == [2, 3, 10]
    assert load_run(results / "stroll" / CONFIG.method / "seed_10").seed == 10
    assert {each.state for each in survey(ENTRIES, results)} == {"done"}
    assert strangers(ENTRIES, results) == []
    other = shutil.copy(file_of(results), results / "stroll" / "unknown_0.5.sealed")
    assert strangers(ENTRIES, results) == [other]


def test_the_same_runs_give_the_same_bytes(results: Path, tmp_path: Path):
    one = seal(ENTRIES, results, tmp_path / "one")
    two = seal(ENTRIES[::-1], results, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()


def test_a_seed_that_is_not_sealed_is_missing(sealed: Path):
    other = Entry(CONFIG, "stroll", 4)
    assert standing(other, sealed).state == "missing"
    assert sealed_seeds(sealed / "stroll" / CONFIG.method) == [2, 3, 10]
    refused(
        lambda: load_run(sealed / "stroll" / CONFIG.method / "seed_4"),
        "a run folder",
        "seed_4",
    )


def test_a_seed_of_another_config_is_damaged(sealed: Path):
    longer = Entry(CONFIG.but(gamma=0.5), "stroll", 2)
    assert standing(longer, sealed).state == "damaged"


def test_a_sealed_run_is_read_and_not_trained_again(sealed: Path):
    (run,) = train(CONFIG, Stroll(), [3], results=sealed, processes=1)
    assert run.metrics == made(3).metrics
    assert not (sealed / "stroll" / CONFIG.method).exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-30], "another sha256"),
        (lambda data: data[:-40] + b"x" + data[-39:], "another sha256"),
        (lambda data: data[5:], "not JSON"),
        (lambda data: b"", "not JSON"),
        (lambda data: data.replace(b'"format": 1', b'"format": 2', 1), "format"),
        (lambda data: data.replace(b"[2, 3, 10]", b"[2, 3, 11]", 1), "first line says"),
        (lambda data: data.replace(b'"bytes": ', b'"bytes": -', 1), "sealed file"),
        (lambda data: data.replace(b"qmix_sealed", b"qmix_sealex", 1), "qmix_sealex"),
    ],
)
def test_a_damaged_file_is_named(sealed: Path, damage, words: str):
    file = file_of(sealed)
    file.write_bytes(damage(file.read_bytes()))
    refused(lambda: read_runs(sealed, "stroll", [CONFIG.method]), words, str(file))
    for each in survey(ENTRIES, sealed):
        assert each.state == "damaged" and str(file) in each.detail


def test_one_edited_run_is_named(sealed: Path):
    """The file is whole, and yet one of its runs no longer fits its own sha256."""
    file = file_of(sealed)
    runs = {seed: dict(files) for seed, files in read_sealed(file).items()}
    runs[3]["metrics.json"] = runs[3]["metrics.json"].replace(b"0.5", b"0.6")
    write_sealed(file, runs)
    states = {each.entry.seed: each for each in survey(ENTRIES, sealed)}
    assert states[2].state == states[10].state == "done"
    assert states[3].state == "damaged"
    assert str(Path("seed_3") / "metrics.json") in states[3].detail


def test_a_bomb_is_not_unpacked(sealed: Path):
    """Never more bytes than the first line promises."""
    file = file_of(sealed)
    line, _, packed = file.read_bytes().partition(b"\n")
    head = json.loads(line)
    file.write_bytes(json.dumps({**head, "bytes": 10}).encode() + b"\n" + packed)
    refused(lambda: read_sealed(file), str(file))


def test_only_whole_arms_are_sealed(results: Path, capsys, monkeypatch):
    monkeypatch.setattr(seal_module, "find", lambda study: ENTRIES)
    missing = results / "stroll" / CONFIG.method / "seed_10"
    shutil.move(missing, results / "aside")
    metrics = results / "stroll" / CONFIG.method / "seed_3" / "metrics.json"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:-5])
    arguments = ["the study", "--results", str(results), "--replace"]
    assert main(arguments) == 1
    told = capsys.readouterr().out
    assert "qmix_sealed: 1 of 3 done, not sealed" in told
    assert "seed 10 is missing" in told and "seed 3 is damaged" in told
    assert not file_of(results).exists() and len(lacking(ENTRIES, results)) == 2
    refused(lambda: seal(ENTRIES, results, results), "seed 10 is missing")
    metrics.write_bytes(whole)
    shutil.move(results / "aside", missing)
    assert main(arguments) == 0
    assert "3 runs in" in capsys.readouterr().out
    assert not (results / "stroll" / CONFIG.method).exists()
    assert main(arguments) == 0 and "sealed already" in capsys.readouterr().out
    assert main(["the study", "qmix", *arguments[1:]]) == 2


def test_runs_with_weights_are_not_sealed(tmp_path: Path):
    folder = write_run(tmp_path / "seed_1", made(1, {"a": torch.zeros(2)}))
    refused(lambda: files_of(folder), "weights.safetensors", "drop_weights")


def test_the_readers_of_the_wake_study_read_sealed_runs(tmp_path: Path):
    config = METHODS["qmix"].but(method="some_wake")
    for seed in (1, 2):
        run = made(seed)._replace(config=config, game="turn")
        write_run(tmp_path / "turn" / config.method / f"seed_{seed}", run)
    entries = [Entry(config, "turn", seed) for seed in (1, 2)]
    assert arms(entries) == {"some_wake": entries}
    before = runs_of(tmp_path, config, [1, 2])
    seal(entries, tmp_path, tmp_path)
    shutil.rmtree(tmp_path / "turn" / config.method)
    assert runs_of(tmp_path, config, [1, 2]) == before


def test_a_sealed_run_is_rechecked(tmp_path: Path):
    """Its Config and its metrics are enough to train its beginning again."""
    config = METHODS["qmix"].but(**SMALL, method="qmix_sealed")
    (run,) = train(config, Stroll(), [2], processes=1)
    write_run(tmp_path / "stroll" / config.method / "seed_2", run._replace(weights={}))
    seal([Entry(config, "stroll", 2)], tmp_path, tmp_path)
    shutil.rmtree(tmp_path / "stroll" / config.method)
    stored = load_run(tmp_path / "stroll" / config.method / "seed_2")
    assert recheck(stored, [stored], Stroll(), 1).passed
