"""train(config, game): one method on one game, for one or more seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from ciacore.config import Config
from ciacore.contract import check_face
from ciacore.runtime.one_core import cores
from ciacore.runtime.options import Options, Told, check_options
from ciacore.runtime.parts import check_parts
from ciacore.runtime.processes import CannotLoad, picklable, train_in_processes
from ciacore.runtime.session import finished, train_here
from ciacore.runtime.stacked_seeds import obstacle
from ciacore.runtime.store import Run, load_run, run_folder
from ciacore.types import Game, refuse


def train(
    config: Config,
    game: Game,
    seeds: Sequence[int] = (0,),
    results: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[..., None] | None = None,
    processes: int | None = None,
    log: Told = None,
    keep_checkpoint: bool = False,
    keep_best: bool = False,
    keep_every: int | None = None,
    stacked: bool | None = None,
) -> list[Run]:
    """Trains a method on a game for several seeds.

    The result of a seed does not depend on the others. On a CPU every seed has a
    process and a core of its own. On a GPU all seeds advance together in one CUDA
    graph, where the game's rules are torch and its episodes equally long: stacked where
    `torch.func` can compute the method's parts, else each as a branch of its own. Other
    games are played on the CPU of that machine and learned on the GPU, one seed after
    the other.

    With a results folder, a checkpoint is kept every few minutes and when the process
    is asked to end (SIGTERM, or SIGINT: Ctrl-C); the same call resumes from it, on a
    CPU bit for bit. Seeds that are complete are read, not trained. A complete seed that
    kept its checkpoint is trained further when nothing but `env_steps` has grown; its
    folder then becomes that of the longer run.

    Every evaluation is also a line of `metrics.jsonl` in the run's work folder
    `.seed_<k>`, as it happens (`ciacore.runtime.metrics`). Neither that nor what is
    logged or kept changes a number of the run.

    Args:
        config: the method, e.g. `METHODS["qmix_cia"]`, or
            `METHODS["qmix_cia"].but(env_steps=100_000)`.
        game: e.g. `Turn()`.
        seeds: one run each.
        results: folder that receives `<game>/<method>/seed_<k>/` when a run is
            complete; None keeps runs in memory.
        device: where everything happens.
        progress: called after every iteration as `progress(env_steps, total, **facts)`,
            over all seeds.
        processes: on a CPU, how many seeds are trained at once; by default one per
            core. 1: in this process, one seed after the other, which is also what
            happens to a game or mixer that another process cannot import, e.g. one
            that is defined in a notebook or script.
        log: who else is told of evaluations. "tensorboard": event files in
            `<results>/tensorboard`. A function: it is called here, as `log(entry)`; an
            entry has the game, method, seed, env steps, returns, wins, losses, epsilon,
            speed and memory. After a resume it hears of what follows the checkpoint.
        keep_checkpoint: whether a complete run keeps the checkpoint of its end, replay
            included, so that it can be trained further.
        keep_best: whether the weights of the evaluation with the highest mean return
            are kept, too; `load_run(folder, weights="best")`.
        keep_every: the weights are also kept each time that so many env steps are
            full; `load_run(folder, weights=<env steps>)`. None: not at all.
        stacked: whether several seeds on a GPU are computed as one, with a launch for
            all of them in the place of one for each. None: where that can be done.
            True: refused where it cannot. False: every seed has a branch of its own.
            Stacked or not, a seed's numbers are the same but for rounding.

    Returns:
        A Run per seed, in the order given.

    Raises:
        InvalidInputError: unusable seeds, an unknown name in the Config, a game or a
            part that breaks its contract, a folder that holds something else or cannot
            be written, a run that another process trains, a checkpoint that cannot be
            resumed, something to keep without a results folder, a log that is not
            installed, seeds that cannot be stacked.
        FloatingPointError: the loss of a seed stopped being a finite number. The other
            seeds are trained all the same.
    """
    check_seeds(seeds)
    check_device(device)
    check_processes(processes)
    options = Options(log, keep_checkpoint, keep_best, keep_every)
    check_options(options, results)
    device = torch.device(device)
    progress = progress or no_progress
    # What cannot be trained or saved stops here, before anything is computed.
    check_face(game)
    check_parts(config, game.spec, device)
    check_stacked(stacked, config, game, device)
    with ExitStack() as stack:
        if results is None and len(seeds) > 1:
            results = stack.enter_context(tempfile.TemporaryDirectory())
        runs: dict[int, Run] = {}
        missing: dict[int, Path | None] = {}
        for seed in seeds:
            folder = None
            if results is not None:
                folder = run_folder(results, game.name, config.method, seed)
            run = finished(folder, config, game.name, seed)
            if run is None:
                missing[seed] = folder
            else:
                runs[seed] = run
        workers = min(len(missing), processes or cores())
        if device.type == "cpu" and workers > 1 and picklable(config, game):
            errors = train_in_processes(
                config, game, missing, workers, progress, options
            )
            for seed, folder in missing.items():
                if seed not in errors:
                    runs[seed] = load_run(folder)
            here = [
                seed for seed, error in errors.items() if isinstance(error, CannotLoad)
            ]
            if here:  # another process cannot import the game or a part
                folders = {seed: missing[seed] for seed in here}
                trained, failed = train_here(
                    config, game, folders, device, progress, options
                )
                runs |= trained
                errors = {
                    seed: error for seed, error in errors.items() if seed not in here
                } | failed
        else:
            trained, errors = train_here(
                config, game, missing, device, progress, options, stacked is not False
            )
            runs |= trained
    raise_first(seeds, errors)
    return [runs[seed] for seed in seeds]


def no_progress(env_steps: int, total: int, **facts: float) -> None:
    """Shows nothing.

    Args:
        env_steps: done so far.
        total: to be done.
        facts: what a progress bar would show.
    """


def raise_first(seeds: Sequence[int], errors: dict[int, Exception]) -> None:
    """Raises the error of the first seed that failed, with notes on the others.

    Args:
        seeds: in the order given.
        errors: by seed.
    """
    failed = [errors[seed] for seed in seeds if seed in errors]
    if not failed:
        return
    for other in failed[1:]:
        failed[0].add_note(f"Another seed failed too: {other}")
    raise failed[0]


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuses no seeds, duplicates, and anything but whole numbers from 0."""
    cure = "Write e.g. [1, 2, 3]."
    if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not seeds:
        refuse("seeds", "a list of whole numbers", seeds, cure)
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            refuse("seeds", "whole numbers of at least 0", seed, cure)
    if len(set(seeds)) != len(seeds):
        refuse("seeds", "different numbers", list(seeds), "Name every seed once.")


def check_device(device: torch.device | str) -> None:
    """Refuses a device that this PyTorch or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        got = f"{device} ({str(error).splitlines()[0]})"
        refuse("device", "a device of this machine", got, 'Use "cpu".')


def check_stacked(
    stacked: bool | None, config: Config, game: Game, device: torch.device
) -> None:
    """Refuses to stack seeds where that cannot be done; None and False ask for nothing.

    Args:
        stacked: what was asked for.
        config: the method.
        game: what is played.
        device: where learning happens.

    Raises:
        InvalidInputError: another value, a CPU, a game whose episodes end early, or
            what `torch.func` cannot compute.
    """
    cure = "Leave it out: seeds are then stacked where they can be."
    if stacked is not None and not isinstance(stacked, bool):
        refuse("stacked", "True, False or None", stacked, cure)
    if not stacked:
        return
    if device.type != "cuda":
        expected = "a GPU, as on a CPU every seed has a core of its own"
        refuse("stacked", expected, str(device), cure)
    if game.spec.ends_early:
        expected = "a game whose episodes are all equally long"
        refuse("stacked", expected, game.name, cure)
    found = obstacle(config, game)
    if found:
        refuse("stacked", "what torch.func can compute", found, cure)


def check_processes(processes: int | None) -> None:
    """Refuses anything but None or a whole number of at least 1."""
    if processes is None:
        return
    is_count = isinstance(processes, int) and not isinstance(processes, bool)
    if not is_count or processes < 1:
        cure = "Leave it out for one per core."
        refuse("processes", "a whole number of at least 1", processes, cure)
