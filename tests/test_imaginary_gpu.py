"""What a GPU would object to, seen on a machine without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bench import gpu_predicted
from bench.measure import RESULTS
from support.imaginary_gpu import build, on_imaginary_gpu
from support.toys import Stroll

from ciacore import METHODS
from ciacore.games import Turn
from ciacore.learning.player import place_of_play
from ciacore.runtime.stacked_seeds import not_stackable
from ciacore.types import Episodes

# of an iteration of QMIX(CIA) on Turn, all its 100 steps; fewer is faster
MOST_LAUNCHES = 2_300
SMALL = '{"batch": 4, "buffer": 8, "hidden_size": 8, "evaluation_games": 3}'
VARIANTS = (
    'qmix_cia:5:{"optimizer": "adam", "double_q": false}',
    'qmix_cia:5:{"credit_derivative": "published", "credit_detach": false}',
    'qmix:5:{"n_games": 4, "bootstrap_at_limit": true}',
    'eoi:30:{"batch": 8, "eoi_target": "fixed"}',
)

pytestmark = pytest.mark.gpu("imaginary")


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for a driver, compiled."""
    return build(tmp_path_factory.mktemp("guard"))


def test_an_iteration_of_every_method_runs_on_a_gpu_alone(guard: Path) -> None:
    """Play, update, target copy and evaluation: nothing lies or is asked elsewhere."""
    variants = [f"{method}:5:{SMALL}" for method in METHODS] + [*VARIANTS]
    reports = on_imaginary_gpu(guard, "iterations", *variants)
    assert [report["variant"] for report in reports] == variants
    for report in reports:
        assert report["error"] is None, report
        assert report["from_host"] == {} and report["devices"] == ["cuda:0"], report
        assert set(report["losses"]) >= {"td_loss", "loss", "gradient_norm"}
        assert report["launches"]["target"] > 0
    assert "eoi_value_loss" in reports[-1]["losses"]


def test_what_is_compared_on_a_gpu_can_be_captured_there(guard: Path) -> None:
    """The updates of the test on a GPU ask for no value, and all networks learn."""
    reports = on_imaginary_gpu(guard, "updates", *METHODS)
    for report in reports:
        assert report["error"] is None, report
        for part in {"eoi", "scds"} & set(METHODS[report["method"]].auxiliaries):
            assert any(name.startswith(part) for name in report["losses"]), report


def test_launches_stay_below_a_ceiling(guard: Path) -> None:
    (report,) = on_imaginary_gpu(guard, "iterations", "qmix_cia:100")
    launches = report["launches"]
    assert 2 * launches["play"] > launches["iteration"] > launches["play"] > 1_000
    assert launches["iteration"] <= MOST_LAUNCHES


def test_stacked_seeds_take_hardly_more_launches_than_one(guard: Path) -> None:
    """Every step adds as many, so that two short episodes tell of 100 steps."""
    lengths = [
        f"{name}:{steps}" for name in ("qmix_cia", "qmix_cia*5") for steps in (3, 4)
    ]
    reports = on_imaginary_gpu(guard, "iterations", *lengths)
    for report in reports:
        assert report["error"] is None and report["from_host"] == {}, report
        assert report["devices"] == ["cuda:0"] and "cia" in report["losses"]
    found = [report["launches"]["iteration"] for report in reports]
    one, five = (gpu_predicted.whole_episode(each) for each in (found[:2], found[2:]))
    assert one <= MOST_LAUNCHES and five <= 1.2 * one, found


def test_a_graph_of_methods_launches_what_its_branches_do(guard: Path) -> None:
    """Stacked seeds, and two that cannot be stacked; nothing is added or shared."""
    (whole,) = on_imaginary_gpu(guard, "graphs", f"vdn*2+maven*2:2:{SMALL}")
    assert whole["error"] is None and whole["from_host"] == {}, whole
    for part in ("play", "iteration", "evaluation"):
        stacked, *apart = whole["branches"][part]
        assert len(apart) == 2 and apart[0] == apart[1] > 0 < stacked
        assert whole["launches"][part] == stacked + sum(apart)


def test_what_the_performance_page_predicts_is_what_is_counted(guard: Path) -> None:
    """`python -m bench.gpu_predicted` writes the file anew."""
    kept = json.loads((RESULTS / "gpu_predicted.json").read_text())
    apart = {method: not_stackable(config) for method, config in METHODS.items()}
    assert kept["branches"] == {name: parts for name, parts in apart.items() if parts}
    counts = kept["launches"]
    found = {(method, int(seeds)) for method in METHODS for seeds in counts[method]}
    stackable = list(METHODS.keys() - kept["branches"])
    assert found == set(gpu_predicted.variants(stackable))
    again = on_imaginary_gpu(guard, "iterations", "vdn:3", "vdn:4")
    for part, count in counts["vdn"]["1"].items():
        three, four = (report["launches"][part] for report in again)
        assert gpu_predicted.whole_episode([three, four]) == count, part
    one, five = (counts["qmix_cia"][seeds]["iteration"] for seeds in ("1", "5"))
    assert one <= MOST_LAUNCHES and five <= 1.2 * one
    assert gpu_predicted.whole_episode([7]) == 7
    assert gpu_predicted.whole_episode([7, 9]) == 7 + 97 * 2
    assert gpu_predicted.memory("vdn") == kept["memory"]["vdn"]
    of_seeds = {
        method: {int(seeds): found for seeds, found in counts[method].items()}
        for method in METHODS
    }
    again = gpu_predicted.together(of_seeds, kept["memory"])
    assert json.loads(json.dumps(again)) == kept["together"]
    # the branches that EOI, MAVEN and SCDS keep are most of it
    apart = sum(5 * of_seeds[name][1]["iteration"] for name in kept["branches"])
    assert again["launches"]["iteration"] > apart > again["launches"]["iteration"] / 2
    assert again["branches"] == len(METHODS) + 4 * len(kept["branches"])


@pytest.mark.long
def test_stacked_seeds_of_every_method_run_on_a_gpu_alone(guard: Path) -> None:
    stacked = [name for name, config in METHODS.items() if not not_stackable(config)]
    variants = [f"{method}*3:5:{SMALL}" for method in stacked]
    reports = on_imaginary_gpu(guard, "iterations", *variants)
    assert len(reports) == 11
    for report in reports:
        assert report["error"] is None and report["from_host"] == {}, report
        assert report["devices"] == ["cuda:0"], report
        assert report["launches"]["target"] > 0


def test_what_ends_early_is_played_on_the_cpu_of_a_gpus_machine(guard: Path) -> None:
    """The weights go there in one piece; the batch of an update comes back once."""
    reports = on_imaginary_gpu(guard, "walks", "qmix_cia", "maven")
    batch, weights = len(Episodes._fields), {"qmix_cia": 1, "maven": 2}
    for report in reports:
        assert report["error"] is None, report
        assert report["states"] == ["cpu"] and report["losses"] == ["cuda:0"]
        there = {"to the CPU": weights[report["method"]]}
        # MAVEN's latent policy is shown what was played
        shown = batch if report["method"] == "maven" else 0
        carried = report["carried"]
        assert carried["play"] == {**there, "to the GPU": shown}
        assert carried["iteration"] == {**there, "to the GPU": shown + batch}
        assert carried["evaluation"] == {**there, "to the GPU": 0}
        assert not any(carried["target"].values())


def test_only_what_ends_early_is_played_elsewhere() -> None:
    gpu, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert place_of_play(Turn().spec, gpu) == gpu
    assert place_of_play(Stroll().spec, gpu) == cpu
    assert place_of_play(Turn().spec, cpu) == place_of_play(Stroll().spec, cpu) == cpu


def test_what_must_not_happen_is_seen(guard: Path) -> None:
    """Each of these passed on a CPU's imaginary tensors, or broke a first GPU run."""
    (said,) = on_imaginary_gpu(guard, "faults")
    assert said.pop("fine") is None
    words = {
        "mixed devices": "cuda:0 and cpu",
        "a value": "_local_scalar_dense",
        "a mask": "nonzero",
        "scattered weights": "not in one piece",
        "TF32": "in TF32",
    }
    assert set(said) == set(words)
    for name, message in said.items():
        assert words[name] in message, name
