"""train(config, game): one method on one game, for one or more seeds.

`train_methods` does the same for several methods, which a GPU computes together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ciacore.config import Config
from ciacore.contract import check_face
from ciacore.runtime.one_core import cores
from ciacore.runtime.options import Options, Told, check_options
from ciacore.runtime.parts import check_parts
from ciacore.runtime.processes import CannotLoad, picklable, train_in_processes
from ciacore.runtime.session import Task, finished, together, train_here
from ciacore.runtime.stacked_seeds import obstacle
from ciacore.runtime.store import Run, load_run, run_folder
from ciacore.types import Game, refuse

CPU = torch.device("cpu")


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
    options = Options(log, keep_checkpoint, keep_best, keep_every)
    more = (results, device, progress, processes, options, stacked)
    return train_all([(config, seeds)], game, *more)[config.method]


def train_methods(
    configs: Sequence[Config],
    game: Game,
    seeds: Sequence[int] | Mapping[str, Sequence[int]] = (0,),
    results: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[..., None] | None = None,
    processes: int | None = None,
    log: Told = None,
    keep_checkpoint: bool = False,
    keep_best: bool = False,
    keep_every: int | None = None,
    stacked: bool | None = None,
) -> dict[str, list[Run]]:
    """Trains several methods on a game, as `train` trains each of them.

    A run does not depend on the others, and one that fails stops none of them. On a CPU
    one method is trained after the other. On a GPU those that count alike, with equal
    values in the fields of `ciacore.training.SCHEDULE`, advance together in one CUDA
    graph; it has a branch for each method, or for each seed where its seeds cannot be
    stacked. What was interrupted goes on together with what is equally far.

    Args:
        configs: the methods, each under a name of its own.
        game: as for `train`, and so is whatever is not named here.
        seeds: of every method; or the seeds of each, by its name.
        results: folder of all runs.
        device: where everything happens.
        progress: called over all seeds of all methods.
        processes: on a CPU.
        log: who else is told of evaluations.
        keep_checkpoint: of complete runs.
        keep_best: weights, too.
        keep_every: so many env steps.
        stacked: True is refused where the seeds of any method cannot be.

    Returns:
        The runs of every method, by its name; both in the order given.

    Raises:
        InvalidInputError: no methods, two of one name, seeds of other methods, or what
            `train` refuses.
        FloatingPointError: the loss of a run stopped being a finite number. The others
            are trained all the same.
    """
    check_configs(configs)
    if isinstance(seeds, Mapping):
        check_methods(configs, seeds)
        wanted = [(config, seeds[config.method]) for config in configs]
    else:
        wanted = [(config, seeds) for config in configs]
    options = Options(log, keep_checkpoint, keep_best, keep_every)
    more = (results, device, progress, processes, options, stacked)
    return train_all(wanted, game, *more)


def train_all(
    wanted: Sequence[tuple[Config, Sequence[int]]],
    game: Game,
    results: str | Path | None,
    device: torch.device | str,
    progress: Callable[..., None] | None,
    processes: int | None,
    options: Options,
    stacked: bool | None,
) -> dict[str, list[Run]]:
    """Reads the runs that are there, and trains those that are missing.

    Args:
        wanted: the methods, each with its seeds.
        game: as for `train`, and so are all that follow.
        results: folder of all runs.
        device: where everything happens.
        progress: called after every iteration.
        processes: on a CPU.
        options: what else the caller wants.
        stacked: whether seeds are computed as one.

    Returns:
        The runs of every method, by its name.

    Raises:
        InvalidInputError: as `train` says.
        FloatingPointError: as `train` says.
    """
    for _, seeds in wanted:
        check_seeds(seeds)
    check_device(device)
    check_processes(processes)
    check_options(options, results)
    device = torch.device(device)
    progress = progress or no_progress
    # What cannot be trained or saved stops here, before anything is computed.
    check_face(game)
    for config, _ in wanted:
        check_parts(config, game.spec, device)
        check_stacked(stacked, config, game, device)
    asked = [(config, seed) for config, seeds in wanted for seed in seeds]
    with ExitStack() as stack:
        if results is None and len(asked) > 1:
            results = stack.enter_context(tempfile.TemporaryDirectory())
        tasks: list[Task] = []
        runs: dict[Task, Run] = {}
        for config, seed in asked:
            folder = None
            if results is not None:
                folder = run_folder(results, game.name, config.method, seed)
            tasks.append(Task(config, seed, folder))
            run = finished(folder, config, game.name, seed)
            if run is not None:
                runs[tasks[-1]] = run
        missing = [task for task in tasks if task not in runs]
        if device.type == "cpu":
            trained, errors = train_on_cpu(missing, game, progress, processes, options)
        else:
            more = (device, progress, options, stacked is not False)
            trained, errors = train_here(missing, game, *more)
        runs |= trained
    failed = [(task, errors[task]) for task in tasks if task in errors]
    raise_first(failed, several_methods=len(wanted) > 1)
    found: dict[str, list[Run]] = {config.method: [] for config, _ in wanted}
    for task in tasks:
        found[task.config.method].append(runs[task])
    return found


def train_on_cpu(
    tasks: Sequence[Task],
    game: Game,
    progress: Callable[..., None],
    processes: int | None,
    options: Options,
) -> tuple[dict[Task, Run], dict[Task, Exception]]:
    """Trains one method after the other, the seeds of each at once where they can be.

    Args:
        tasks: what is missing.
        game: what is played.
        progress: called after every iteration, over all tasks.
        processes: how many seeds at once; None: one per core.
        options: what else the caller wants.

    Returns:
        The runs, and the errors of those that failed.
    """
    runs: dict[Task, Run] = {}
    errors: dict[Task, Exception] = {}
    total = sum(task.config.env_steps for task in tasks)
    done = 0  # env steps of the methods before

    def report(env_steps: int, _: int, **facts: float) -> None:
        progress(done + env_steps, total, **facts)

    for group in together(tasks, lambda task: task.config):
        config, here = group[0].config, group
        workers = min(len(group), processes or cores())
        if workers > 1 and picklable(config, game):
            folders = {task.seed: task.folder for task in group}
            failed = train_in_processes(config, game, folders, workers, report, options)
            # another process cannot import the game or a part
            here = [
                task for task in group if isinstance(failed.get(task.seed), CannotLoad)
            ]
            for task in group:
                if task.seed not in failed:
                    runs[task] = load_run(task.folder)
                elif task not in here:
                    errors[task] = failed[task.seed]
        trained, failed_here = train_here(here, game, CPU, report, options)
        runs |= trained
        errors |= failed_here
        done += sum(task.config.env_steps for task in group)
    return runs, errors


def no_progress(env_steps: int, total: int, **facts: float) -> None:
    """Shows nothing.

    Args:
        env_steps: done so far.
        total: to be done.
        facts: what a progress bar would show.
    """


def raise_first(
    failed: Sequence[tuple[Task, Exception]], several_methods: bool
) -> None:
    """Raises the first error, with notes on the others; nothing where there is none.

    Args:
        failed: what failed and how, in the order in which it was asked for.
        several_methods: whether it must be said whose the first error is.
    """
    if not failed:
        return
    (first, error), *others = failed
    for task, other in others:
        whose = "" if task.config == first.config else f" of {task.config.method}"
        error.add_note(f"Another seed{whose} failed too: {other}")
    if several_methods:
        error.add_note(f"It was seed {first.seed} of {first.config.method}.")
    raise error


def check_configs(configs: Sequence[Config]) -> None:
    """Refuses no methods, what is no Config, and two of one name."""
    cure = 'Write e.g. [METHODS["qmix"], METHODS["qmix_cia"]].'
    is_list = isinstance(configs, Sequence) and not isinstance(configs, str)
    if not is_list or not configs:
        refuse("configs", "a list of Configs", configs, cure)
    for config in configs:
        if not isinstance(config, Config):
            refuse("configs", "Configs", config, cure)
    names = [config.method for config in configs]
    for name in names:
        if names.count(name) > 1:
            cure = 'Give each a name of its own: config.but(method="its name").'
            refuse("configs", "different methods", names, cure)


def check_methods(configs: Sequence[Config], seeds: Mapping[str, Any]) -> None:
    """Refuses seeds of other methods than those that are trained.

    Args:
        configs: the methods.
        seeds: by the name of a method.
    """
    names = [config.method for config in configs]
    if set(seeds) != set(names):
        cure = "Give one list for all methods, or one for each."
        refuse("seeds", f"those of {', '.join(names)}", list(seeds), cure)


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
