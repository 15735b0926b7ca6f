"""Trainings in this process: resumed, saved on the way, and written when complete."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.runtime.checkpoint import (
    locked,
    read_checkpoint,
    work_folder,
    write_checkpoint,
)
from ciacore.runtime.cuda_graphs import SeedsInOneGraph, capturable
from ciacore.runtime.one_core import one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.runtime.store import Run, check_free, read_run, write_run
from ciacore.training import Training
from ciacore.types import Game, InvalidInputError, refuse

CHECKPOINT_SECONDS = 180  # between checkpoints

Progress = Callable[..., None]  # (env_steps, total, **facts)


def finished(folder: Path | None, config: Config, game: str, seed: int) -> Run | None:
    """The run of this Config in a folder, None where it is still to be trained.

    Args:
        folder: of the run; None where runs stay in memory.
        config: that the run must have.
        game: its name.
        seed: of the run.

    Raises:
        InvalidInputError: the folder holds anything else, or could not be written.
    """
    if folder is None:
        return None
    if not folder.exists():
        check_free(folder)
        return None
    cure = "Choose another folder or move that run away."
    try:
        run = read_run(folder)
    except InvalidInputError as error:
        expected = "a folder without this run, or with the whole of it"
        refuse("results", expected, f"{folder}: {error}", cure)
    if (run.config, run.game, run.seed) != (config, game, seed):
        got = f"one of another Config in {folder}"
        refuse("results", "a folder without this run", got, cure)
    if work_folder(folder).exists():
        # Its process was killed as the very last thing, or is about to remove it.
        with suppress(InvalidInputError), locked(folder):
            pass
    return run


def train_here(
    config: Config,
    game: Game,
    folders: dict[int, Path | None],
    device: torch.device,
    progress: Progress,
) -> tuple[dict[int, Run], dict[int, Exception]]:
    """Trains seeds in this process.

    They advance together where they can be captured as a graph, else one after the
    other.

    Args:
        config: the method.
        game: what is played.
        folders: seed -> its run folder, or None to keep the run in memory.
        device: where everything happens.
        progress: called after every iteration, over all seeds.

    Returns:
        The runs, and the errors of the seeds that failed, both by seed.
    """
    runs: dict[int, Run] = {}
    errors: dict[int, Exception] = {}
    total = len(folders) * config.env_steps
    groups = [[seed] for seed in folders]
    if capturable(game, device):
        groups = [list(folders)]
    done = 0  # env steps of the groups before

    def report(env_steps: int, **facts: float) -> None:
        progress(done + env_steps, total, **facts)

    for seeds in groups:
        group = {seed: folders[seed] for seed in seeds}
        found, failed = train_together(config, game, group, device, report)
        runs |= found
        errors |= failed
        done += len(seeds) * config.env_steps
    return runs, errors


def train_together(
    config: Config,
    game: Game,
    folders: dict[int, Path | None],
    device: torch.device,
    report: Progress,
) -> tuple[dict[int, Run], dict[int, Exception]]:
    """Trains one seed, or several that can be captured together.

    Args:
        config: the method.
        game: what is played.
        folders: seed -> its run folder, or None.
        device: where everything happens.
        report: called after every iteration as `report(env_steps, **facts)`.

    Returns:
        The runs, and the errors of the seeds that failed, both by seed.
    """
    runs: dict[int, Run] = {}
    errors: dict[int, Exception] = {}
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(one_core())
        sessions = []
        for seed, folder in folders.items():
            try:
                work = None
                if folder is not None:
                    work = stack.enter_context(locked(folder))
                run = finished(folder, config, game.name, seed)
                if run is not None:  # by another process, since we looked
                    runs[seed] = run
                    continue
                training = Training(config, game, seed, device)
                sessions.append(Session(training, folder, work))
            except InvalidInputError as error:
                errors[seed] = error
        trainings = [session.training for session in sessions]

        def report_all() -> None:
            env_steps = sum(training.clock.env_steps for training in trainings)
            report(env_steps, **trainings[0].summary())

        for group in by_progress(sessions):
            members = [session.training for session in group]
            iterate = members[0].iterate
            if capturable(game, device):
                iterate = SeedsInOneGraph(members).iterate
            run_to_end(group, iterate, report_all)
            for session in group:
                run = session.complete()
                if run is None:
                    errors[session.training.seed] = session.training.error
                else:
                    runs[session.training.seed] = run
    return runs, errors


def by_progress(sessions: list[Session]) -> list[list[Session]]:
    """Groups of sessions that are equally far.

    A process killed between two checkpoints leaves them apart.
    """
    groups: dict[Any, list[Session]] = {}
    for session in sessions:
        groups.setdefault(session.training.clock, []).append(session)
    return list(groups.values())


def run_to_end(
    sessions: list[Session], iterate: Callable[[], None], report: Callable[[], None]
) -> None:
    """Trains to the end, with a checkpoint every few minutes and at an interruption.

    An interruption waits for the end of the iteration.

    Args:
        sessions: that `iterate` advances.
        iterate: one iteration of all of them.
        report: called after every iteration.

    Raises:
        InterruptedError: a signal asked for the end; checkpoints are kept.
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
        message = "Training was interrupted; the same call goes on from its checkpoint."
        raise InterruptedError(message)


def save(sessions: list[Session]) -> None:
    """Checkpoints of all that is going well."""
    for session in sessions:
        if session.training.error is None:
            session.save()


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM, and delivers them when the block is left.

    Only a main thread can; elsewhere nothing is collected.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    handlers = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            handlers[number] = signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if caught:
            os.kill(os.getpid(), caught[0])


class Session:
    """A training that is kept.

    It goes on from its checkpoint, is saved on the way, and becomes a run folder.
    """

    def __init__(
        self, training: Training, folder: Path | None, work: Path | None
    ) -> None:
        """Resumes from the checkpoint, if there is one.

        Args:
            training: at its start.
            folder: of the run; None keeps it in memory.
            work: its locked work folder; None where nothing is saved.

        Raises:
            InvalidInputError: the checkpoint cannot be used, or is of another Config.
        """
        self.training, self.folder, self.work = training, folder, work
        self.provenance = {
            **provenance(training.device),
            "started": now(),
            "resumed": [],
        }
        kept = None if work is None else read_checkpoint(work)
        if kept is not None:
            facts, tensors = kept
            self.resume(facts, tensors)

    def resume(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Goes on from a checkpoint.

        Args:
            facts: what it says.
            tensors: what it holds.

        Raises:
            InvalidInputError: it is of another Config, game, seed or kind of arrays.
        """
        ours = self.facts()
        for name in ("config", "game", "seed", "arrays", "spec"):
            if facts.get(name) != ours[name]:
                cure = (
                    f"Train under another method name, or remove {self.work} to train "
                    "this run from its start."
                )
                refuse("checkpoint", f"{name} {ours[name]}", facts.get(name), cure)
        restore(self.training, facts, tensors)
        before = facts["provenance"]
        # The machine may be another one than that of the legs before.
        leg = {"at": now(), "env_steps": self.training.clock.env_steps}
        leg |= provenance(self.training.device)
        self.provenance = {**before, "resumed": [*before["resumed"], leg]}

    def save(self) -> None:
        """Replaces the checkpoint."""
        if self.work is not None:
            write_checkpoint(self.work, self.facts(), tensors_of(self.training))

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps besides tensors."""
        # One name may serve for games of several sizes.
        spec = str(self.training.game.spec)
        facts = facts_of(self.training)
        return {**facts, "spec": spec, "provenance": self.provenance}

    def complete(self) -> Run | None:
        """The run, written where it has a folder; None where training failed."""
        training = self.training
        if not training.losses_are_finite():  # after the last evaluation, too
            return None
        learner = training.learner
        own = learner.auxiliaries.state_dict(prefix="auxiliaries.")
        weights = {
            name: value.detach().cpu()
            for name, value in {**learner.online.state_dict(), **own}.items()
        }
        run = Run(
            config=training.config,
            game=training.game.name,
            seed=training.seed,
            metrics=training.log.metrics,
            weights=weights,
            provenance={
                **self.provenance,
                "finished": now(),
                "updates": training.clock.updates,
            },
        )
        if self.folder is not None:
            write_run(self.folder, run, self.work)
        return run
