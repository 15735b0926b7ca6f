"""Run folders: what is written is read back, sealed and in order."""

import hashlib
import json

import pytest
import torch
from ciabook.studies.drop_weights import main as drop_weights
from support.runs import made_up
from support.toys import Stroll, small

from ciacore import train
from ciacore.config import Config
from ciacore.runtime.evaluation import load_networks
from ciacore.runtime.store import (
    BODY,
    WEIGHTS,
    format_json,
    read_run,
    read_runs,
    run_folder,
    write_run,
)
from ciacore.types import InvalidInputError


def test_round_trip_of_a_trained_run(tmp_path):
    (run,) = train(small(method="qmix"), Stroll(), [3], results=tmp_path)
    folder = tmp_path / "stroll" / "qmix" / "seed_3"
    assert folder == run_folder(tmp_path, "stroll", "qmix", 3)
    read = read_run(folder)
    assert (read.config, read.game, read.seed, read.metrics) == (
        run.config,
        "stroll",
        3,
        run.metrics,
    )
    assert read.weights.keys() == run.weights.keys()
    assert all(
        torch.equal(read.weights[name], value) for name, value in run.weights.items()
    )
    assert {name: read.provenance[name] for name in run.provenance} == run.provenance
    facts = {
        "commit",
        "dirty",
        "lock_sha256",
        "versions",
        "device",
        "cpu",
        "gpu",
        "threads",
        "started",
        "finished",
    }
    assert facts <= set(read.provenance)
    everything = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")
    )
    files = ["config.json", "metrics.json", "provenance.json", "weights.safetensors"]
    assert everything == ["stroll", "stroll/qmix", "stroll/qmix/seed_3"] + [
        f"stroll/qmix/seed_3/{n}" for n in files
    ]


def test_every_type_and_layout_of_weights_survives(tmp_path):
    weights = {
        "float": torch.tensor([[0.1, -0.0], [float("inf"), 3.0]]),
        "double": torch.randn(
            3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        ),
        "bytes": torch.arange(4, dtype=torch.uint8),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
    }
    tmp_path.joinpath("game").mkdir()
    read = read_run(write_run(tmp_path / "game" / "seed_1", made_up(**weights)))
    assert all(
        torch.equal(read.weights[n], v) and read.weights[n].dtype == v.dtype
        for n, v in weights.items()
    )


def test_seal_holds_the_digest_of_every_file(tmp_path):
    folder = write_run(tmp_path / "seed_1", made_up(w=torch.ones(1)))
    seal = json.loads((folder / "provenance.json").read_text())
    assert seal["sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in BODY
    }
    assert seal["commit"] == "abc"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    folders = [
        write_run(tmp_path / f"seed_{n}", made_up(w=torch.ones(2), b=torch.zeros(1)))
        for n in (1, 2)
    ]
    for name in (*BODY, "provenance.json"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_config_round_trip_through_json():
    config = Config(terms=("cia", "cc"), cia_coefficient=0.1, method="mine")
    assert Config(**json.loads(format_json(config.to_dict()))) == config


def test_runs_come_in_the_order_of_their_seeds(tmp_path):
    for method, seeds in {"qmix": (10, 2, 1), "vdn": (4,)}.items():
        (tmp_path / "stroll" / method).mkdir(parents=True)
        for seed in seeds:
            write_run(
                run_folder(tmp_path, "stroll", method, seed),
                made_up(seed, method, w=torch.ones(1)),
            )
    found = read_runs(tmp_path, "stroll", ["vdn", "qmix"])
    assert {name: [run.seed for run in runs] for name, runs in found.items()} == {
        "vdn": [4],
        "qmix": [1, 2, 10],
    }


def test_a_slim_run_keeps_all_but_its_weights(tmp_path):
    train(small(method="qmix"), Stroll(), [3], results=tmp_path)
    folder = run_folder(tmp_path, "stroll", "qmix", 3)
    whole = read_run(folder)
    # the second time there is nothing to drop
    assert drop_weights([str(folder)]) == 0 and drop_weights([str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "metrics.json",
        "provenance.json",
    ]
    read = read_run(folder)
    assert read.weights == {}
    assert (read.config, read.metrics) == (
        whole.config,
        whole.metrics,
    )
    assert read.provenance["weights_dropped"] == whole.provenance["sha256"][WEIGHTS]
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="recorded sha256"):
        read_run(folder)
    with pytest.raises(
        InvalidInputError,
        match="run: expected a run with weights, got 'stroll/qmix/seed_3 without'",
    ):
        load_networks(read, Stroll().spec)
