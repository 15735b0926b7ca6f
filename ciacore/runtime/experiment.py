"""train(config, game): one method on one game, for one or more seeds, resumed where it was interrupted."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.methods import assemble
from ciacore.runtime.checkpoint import (
    locked,
    read_checkpoint,
    work_folder,
    write_checkpoint,
)
from ciacore.runtime.cuda_graphs import Lockstep, capturable
from ciacore.runtime.processes import cores, one_core, portable, train_in_processes
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import Run, check_free, read_run, run_folder, write_run
from ciacore.training import Training
from ciacore.types import Game, InvalidInputError, refuse

CHECKPOINT_SECONDS = 180  # between checkpoints


def train(
    config: Config,
    game: Game,
    seeds: Sequence[int] = (0,),
    results: str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[..., None] | None = None,
    processes: int | None = None,
) -> list[Run]:
    """Trains a method on a game for several seeds; the result of each does not depend on the others.

    On a CPU every seed has a process and a core of its own. On a GPU all seeds advance
    together, as branches of one CUDA graph, where the game's rules are torch and its
    episodes equally long; else one after the other.

    With a results folder, a checkpoint is kept every few minutes and when the process
    is asked to end (SIGTERM, or
    SIGINT: Ctrl-C); the same call resumes from it, on a CPU bit for bit. Seeds that are
        complete are read, not trained.

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
            happens to a game or mixer defined in a notebook or script.

    Returns:
        A Run per seed, in the order given.

    Raises:
        InvalidInputError: unusable seeds, an unknown name in the Config, a folder that
            holds something else or cannot be written, a run that another process
            trains, a checkpoint that cannot be resumed.
        FloatingPointError: the loss of a seed stopped being a finite number. The other
            seeds are trained all the same.
    """
    check_seeds(seeds)
    check_device(device)
    check_processes(processes)
    device, progress = torch.device(device), progress or (lambda *_, **__: None)
    with torch.random.fork_rng(devices=[]):
        # an unknown name stops here, before anything is computed
        assemble(game.spec, config)
    with ExitStack() as stack:
        if results is None:
            results = (
                None
                if len(seeds) == 1
                else stack.enter_context(tempfile.TemporaryDirectory())
            )
        folders = [
            None
            if results is None
            else run_folder(results, game.name, config.method, seed)
            for seed in seeds
        ]
        runs = {
            seed: finished(folder, config, game.name, seed)
            for seed, folder in zip(seeds, folders, strict=True)
        }
        missing = {
            seed: folder
            for seed, folder in zip(seeds, folders, strict=True)
            if runs[seed] is None
        }
        workers = min(len(missing), processes or cores())
        if device.type == "cpu" and workers > 1 and portable(config, game):
            errors = train_in_processes(
                config, game, list(missing), Path(results), workers, progress
            )
            runs |= {
                seed: read_run(folder)
                for seed, folder in missing.items()
                if seed not in errors
            }
        else:
            trained, errors = train_here(config, game, missing, device, progress)
            runs |= trained
    if errors:
        first, *others = [errors[seed] for seed in seeds if seed in errors]
        for other in others:
            first.add_note(f"Another seed failed too: {other}")
        raise first
    return [runs[seed] for seed in seeds]


def finished(folder: Path | None, config: Config, game: str, seed: int) -> Run | None:
    """The run of this Config in a folder, None where it is still to be trained.

    Raises:
        InvalidInputError: the folder holds anything else, or could not be written.
    """
    if folder is None or not folder.exists():
        return None if folder is None else check_free(folder)
    cure = "Choose another folder or move that run away."
    try:
        run = read_run(folder)
    except InvalidInputError as error:
        refuse(
            "results",
            "a folder without this run, or with the whole of it",
            f"{folder}: {error}",
            cure,
        )
    if (run.config, run.game, run.seed) != (config, game, seed):
        refuse(
            "results",
            "a folder without this run",
            f"one of another Config in {folder}",
            cure,
        )
    # its process was killed as the very last thing, or is about to remove it
    if work_folder(folder).exists():
        with suppress(InvalidInputError), locked(folder):
            pass
    return run


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuses no seeds, duplicates, and anything but whole numbers from 0."""
    if isinstance(seeds, str) or not isinstance(seeds, Sequence) or not seeds:
        refuse("seeds", "a list of whole numbers", seeds, "Write e.g. [1, 2, 3].")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            refuse(
                "seeds", "whole numbers of at least 0", seed, "Write e.g. [1, 2, 3]."
            )
    if len(set(seeds)) != len(seeds):
        refuse("seeds", "different numbers", list(seeds), "Name every seed once.")


def check_device(device: torch.device | str) -> None:
    """Refuses a device that this PyTorch does not know or this machine does not have."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        refuse(
            "device",
            "a device of this machine",
            f"{device} ({str(error).splitlines()[0]})",
            'Use "cpu".',
        )


def check_processes(processes: int | None) -> None:
    """Refuses anything but None or a whole number of at least 1."""
    if processes is not None and (
        isinstance(processes, bool) or not isinstance(processes, int) or processes < 1
    ):
        refuse(
            "processes",
            "a whole number of at least 1",
            processes,
            "Leave it out for one per core.",
        )


def train_here(
    config: Config,
    game: Game,
    folders: dict[int, Path | None],
    device: torch.device,
    progress: Callable[..., None],
) -> tuple[dict[int, Run], dict[int, Exception]]:
    """Trains seeds in this process, together where they can be captured, else one after the other.

    Returns:
        The runs, and the errors of the seeds that failed.
    """
    seeds, runs, errors = list(folders), {}, {}
    together, total = capturable(game, device), len(folders) * config.env_steps
    for done, batch in enumerate([seeds] if together else [[seed] for seed in seeds]):
        with ExitStack() as stack:
            if device.type == "cpu":
                stack.enter_context(one_core())
            sessions = []
            for seed in batch:
                try:
                    work = (
                        None
                        if folders[seed] is None
                        else stack.enter_context(locked(folders[seed]))
                    )
                    # by another process, since we looked
                    run = finished(folders[seed], config, game.name, seed)
                    if run is None:
                        sessions.append(
                            Session(
                                Training(config, game, seed, device),
                                folders[seed],
                                work,
                            )
                        )
                    else:
                        runs[seed] = run
                except InvalidInputError as error:
                    errors[seed] = error
            trainings = [session.training for session in sessions]

            def report(
                before: int = done * config.env_steps,
                trainings: list[Training] = trainings,
            ) -> None:
                env_steps = before + sum(
                    training.clock.env_steps for training in trainings
                )
                progress(env_steps, total, **trainings[0].summary())

            for group in alike(sessions):
                members = [session.training for session in group]
                advance(
                    group,
                    Lockstep(members).iterate if together else members[0].iterate,
                    report,
                )
                runs |= {session.training.seed: session.complete() for session in group}
            errors |= {
                training.seed: training.error
                for training in trainings
                if training.error
            }
    return runs, errors


def alike(sessions: list[Session]) -> list[list[Session]]:
    """Sessions that have come equally far, together; a process killed between two checkpoints leaves them apart."""
    clocks = dict.fromkeys(session.training.clock for session in sessions)
    return [
        [session for session in sessions if session.training.clock == clock]
        for clock in clocks
    ]


def advance(
    sessions: list[Session], iterate: Callable[[], None], report: Callable[[], None]
) -> None:
    """Trains to the end, with a checkpoint every few minutes, and one where the work is interrupted.

    An interruption waits for the end of the iteration.
    """
    saved = time.monotonic()
    with deferred_signals() as caught:
        while not caught and any(session.training.running() for session in sessions):
            iterate()
            try:
                report()
            except BaseException:  # the iteration is whole: nothing of it is lost
                save(sessions)
                raise
            if caught or time.monotonic() - saved > CHECKPOINT_SECONDS:
                saved = time.monotonic()
                save(sessions)
    if caught:
        raise InterruptedError(
            "Training was interrupted; the same call goes on from its checkpoint."
        )


def save(sessions: list[Session]) -> None:
    """Checkpoints of all that is going well."""
    for session in sessions:
        if session.training.error is None:
            session.save()


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, and delivers them when the block is left; only a main thread can."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    heeded = [
        n
        for n in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(n) is not signal.SIG_IGN
    ]
    handlers = {number: signal.signal(number, catch) for number in heeded}
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in filter(None, caught[:1]):
            os.kill(os.getpid(), number)


class Session:
    """A training that is kept: it goes on from its checkpoint, is saved on the way, and becomes a run folder."""

    def __init__(
        self, training: Training, folder: Path | None, work: Path | None
    ) -> None:
        """
        Raises:
            InvalidInputError: the work folder's checkpoint cannot be used, or is of
                another Config.
        """
        self.training, self.folder, self.work = training, folder, work
        self.provenance = {
            **provenance(training.device),
            "started": now(),
            "resumed": [],
        }
        kept = None if work is None else read_checkpoint(work)
        if kept is not None:
            self.resume(*kept)

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Takes over a checkpoint."""
        ours = self.facts()
        for name in ("config", "game", "seed", "arrays", "spec"):
            if facts.get(name) != ours[name]:
                cure = f"Train under another method name, or remove {self.work} to train this run from its start."
                refuse("checkpoint", f"{name} {ours[name]}", facts.get(name), cure)
        self.training.restore(facts, tensors)
        started = {
            "started": facts["provenance"]["started"],
            "commit": facts["provenance"]["commit"],
        }
        again = {
            "at": now(),
            "env_steps": self.training.clock.env_steps,
            "commit": self.provenance["commit"],
        }
        self.provenance |= {
            **started,
            "resumed": [*facts["provenance"]["resumed"], again],
        }

    def save(self) -> None:
        """Replaces the checkpoint."""
        if self.work is not None:
            write_checkpoint(self.work, self.facts(), self.training.tensors())

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps beside tensors."""
        # one name may serve for games of several sizes
        spec = str(self.training.game.spec)
        return {**self.training.facts(), "spec": spec, "provenance": self.provenance}

    def complete(self) -> Run | None:
        """The run, written where it has a folder; None where training failed."""
        training = self.training
        training.check()  # nothing that went wrong after the last evaluation is stored
        if training.error:
            return None
        own = training.learner.auxiliaries.state_dict(prefix="auxiliaries.")
        weights = {
            name: value.detach().cpu()
            for name, value in {**training.learner.online.state_dict(), **own}.items()
        }
        facts = {
            **self.provenance,
            "finished": now(),
            "updates": training.clock.updates,
        }
        run = Run(
            training.config,
            training.game.name,
            training.seed,
            training.log.metrics,
            weights,
            facts,
        )
        if self.folder is not None:
            write_run(self.folder, run, self.work)
        return run
