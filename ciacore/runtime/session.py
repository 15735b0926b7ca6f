"""Trainings in this process: resumed, saved on the way, and written when complete."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ciacore.config import Config
from ciacore.contract import check_game
from ciacore.learning.player import place_of_play
from ciacore.runtime.checkpoint import NAME as CHECKPOINT
from ciacore.runtime.checkpoint import (
    drop_pieces,
    locked,
    pieces,
    read_checkpoint,
    work_folder,
    write_checkpoint,
)
from ciacore.runtime.cuda_graphs import SeedsInOneGraph, capturable
from ciacore.runtime.files import opened_whole
from ciacore.runtime.metrics import (
    LINES,
    LOGS,
    Entry,
    Lines,
    Stopwatch,
    entry_of,
)
from ciacore.runtime.one_core import one_core
from ciacore.runtime.options import NO_OPTIONS, Options
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.sealed import is_kept
from ciacore.runtime.snapshot import facts_of, restore, tensors_of
from ciacore.runtime.store import (
    Run,
    check_free,
    format_weights,
    load_run,
    weights_file,
    write_run,
)
from ciacore.training import Training, schedule_of
from ciacore.types import Game, InvalidInputError, refuse

CHECKPOINT_SECONDS = 180.0  # between checkpoints, at least
CHECKPOINT_SHARE = 0.02  # of the time, at most, goes into them
KEPT = "kept/"  # what the names of weights begin with that a checkpoint keeps

Progress = Callable[..., None]  # (env_steps, total, **facts)


class Task(NamedTuple):
    """A run that is to be trained."""

    config: Config
    seed: int
    folder: Path | None  # of the run; None keeps it in memory


def differing(theirs: Config, ours: Config) -> str:
    """The fields in which a stored Config differs, in words; nothing where none does.

    Args:
        theirs: of the run that is there.
        ours: of the run that is asked for.
    """
    found, asked = theirs.to_dict(), ours.to_dict()
    parts = [
        f"{name} {found[name]!r}, not {asked[name]!r}"
        for name in asked
        if found[name] != asked[name]
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def finished(folder: Path | None, config: Config, game: str, seed: int) -> Run | None:
    """The run of this Config in a folder, None where it is still to be trained.

    A run that differs in nothing but fewer `env_steps` is still to be trained further,
    if it kept its checkpoint.

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
    cure = "Choose another folder or move that run away."
    try:
        run = load_run(folder) if is_kept(folder) else None
    except InvalidInputError as error:
        expected = "a folder without this run, or with the whole of it"
        refuse("results", expected, f"{folder}: {error}", cure)
    if run is None:
        check_free(folder)
        return None
    if is_beginning(run, config, game, seed):
        if CHECKPOINT in run.provenance["sha256"]:
            return None
        got = f"one of {run.config.env_steps} env steps in {folder} without"
        cure = (
            "Train further what was trained with keep_checkpoint=True, or under "
            "another method name."
        )
        refuse("results", "a run with its checkpoint", got, cure)
    if (run.config, run.game, run.seed) != (config, game, seed):
        if run.config == config.but(env_steps=run.config.env_steps):
            cure = (
                "It went further: read it with load_run, ask for at least as many "
                "env_steps, or choose another folder."
            )
        got = f"one of another Config{differing(run.config, config)} in {folder}"
        refuse("results", "a folder without this run", got, cure)
    if work_folder(folder).exists():
        # Its process was killed as the very last thing, or is about to remove it.
        with suppress(InvalidInputError), locked(folder):
            pass
    return run


def is_beginning(run: Run, config: Config, game: str, seed: int) -> bool:
    """Whether a run is the beginning of one that differs in more `env_steps` alone.

    Args:
        run: a finished one.
        config: of the longer run.
        game: its name.
        seed: of the longer run.
    """
    longer = run.config.but(env_steps=config.env_steps)
    is_longer = config.env_steps > run.config.env_steps
    return is_longer and (longer, run.game, run.seed) == (config, game, seed)


def reopen(folder: Path, work: Path) -> None:
    """Makes a finished run an interrupted one: its checkpoint is all that remains.

    Killed at any moment, it leaves the one or the other.

    Args:
        folder: of the run, which kept its checkpoint.
        work: its locked work folder.

    Raises:
        InvalidInputError: the checkpoint cannot be used; the run stays.
    """
    read_checkpoint(folder)
    for name in (*pieces(folder), CHECKPOINT):  # which names the others
        with open(folder / name, "rb") as kept, opened_whole(work / name) as to:
            shutil.copyfileobj(kept, to)
    finished_run = work / "finished"
    folder.rename(finished_run)
    shutil.rmtree(finished_run)


def train_here(
    tasks: Sequence[Task],
    game: Game,
    device: torch.device,
    progress: Progress,
    options: Options = NO_OPTIONS,
    stacked: bool = True,
) -> tuple[dict[Task, Run], dict[Task, Exception]]:
    """Trains in this process.

    Those that count alike advance together where they can be captured as a graph; else
    one advances after the other.

    Args:
        tasks: what is to be trained, of one method or of several.
        game: what is played.
        device: where everything happens.
        progress: called after every iteration, over all tasks.
        options: what else the caller wants.
        stacked: whether captured seeds are stacked where they can be.

    Returns:
        The runs, and the errors of those that failed.

    Raises:
        InvalidInputError: the game breaks its contract.
    """
    for n_games in {task.config.n_games for task in tasks}:
        check_game(game, n_games, place_of_play(game.spec, device))
    runs: dict[Task, Run] = {}
    errors: dict[Task, Exception] = {}
    total = sum(task.config.env_steps for task in tasks)
    groups = [[task] for task in tasks]
    if capturable(game, device):
        groups = together(tasks, lambda task: schedule_of(task.config))
    done = 0  # env steps of the groups before

    def report(env_steps: int, **facts: float) -> None:
        progress(done + env_steps, total, **facts)

    for group in groups:
        found, failed = train_together(group, game, device, report, options, stacked)
        runs |= found
        errors |= failed
        done += sum(task.config.env_steps for task in group)
    return runs, errors


def together(items: Iterable[Any], key: Callable[[Any], Any]) -> list[list[Any]]:
    """Items in groups of one key each, in the order in which they come.

    Args:
        items: any.
        key: of an item.
    """
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def train_together(
    tasks: Sequence[Task],
    game: Game,
    device: torch.device,
    report: Progress,
    options: Options,
    stacked: bool,
) -> tuple[dict[Task, Run], dict[Task, Exception]]:
    """Trains one task, or several that count alike and can be captured together.

    A process killed between two checkpoints leaves them apart: those that are equally
    far then advance together.

    Args:
        tasks: what is to be trained.
        game: what is played.
        device: where everything happens.
        report: called after every iteration as `report(env_steps, **facts)`.
        options: what else the caller wants.
        stacked: as for `train_here`.

    Returns:
        The runs, and the errors of those that failed.
    """
    runs: dict[Task, Run] = {}
    errors: dict[Task, Exception] = {}
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(one_core())
        sessions: dict[Task, Session] = {}
        for task in tasks:
            config, seed, folder = task
            try:
                work = None
                if folder is not None:
                    work = stack.enter_context(locked(folder))
                run = finished(folder, config, game.name, seed)
                if run is not None:  # by another process, since we looked
                    runs[task] = run
                    continue
                if folder is not None and folder.exists():
                    reopen(folder, work)
                training = Training(config, game, seed, device)
                session = Session(training, folder, work, options)
                stack.callback(session.close)
                sessions[task] = session
            except InvalidInputError as error:
                errors[task] = error
        trainings = [session.training for session in sessions.values()]

        def report_all() -> None:
            env_steps = sum(training.clock.env_steps for training in trainings)
            report(env_steps, **trainings[0].summary())

        for group in together(sessions, lambda task: sessions[task].training.clock):
            members = [sessions[task].training for task in group]
            iterate = members[0].iterate
            if capturable(game, device):
                graph = SeedsInOneGraph(members, stacked)
                iterate = graph.iterate
                for task in group:
                    found = graph.seeds_stacked[task.config]
                    sessions[task].provenance["seeds_stacked"] = found
            run_to_end([sessions[task] for task in group], iterate, report_all)
            for task in group:
                run = sessions[task].complete()
                if run is None:
                    errors[task] = sessions[task].training.error
                else:
                    runs[task] = run
    return runs, errors


def run_to_end(
    sessions: list[Session], iterate: Callable[[], None], report: Callable[[], None]
) -> None:
    """Trains to the end, with a checkpoint every few minutes and at an interruption.

    Checkpoints that take long are kept less often. An interruption waits for the end of
    the iteration.

    Args:
        sessions: that `iterate` advances.
        iterate: one iteration of all of them.
        report: called after every iteration.

    Raises:
        InterruptedError: a signal asked for the end; checkpoints are kept.
    """
    saved, pause = time.monotonic(), float(CHECKPOINT_SECONDS)
    with deferred_signals() as caught:
        while not caught and any(session.training.running() for session in sessions):
            iterate()
            try:
                for session in sessions:
                    session.observe()
                report()
            except BaseException:  # the iteration is whole: nothing of it is lost
                save(sessions)
                raise
            if caught or time.monotonic() - saved > pause:
                began = time.monotonic()
                save(sessions)
                saved = time.monotonic()
                pause = pause_after(saved - began)
    if caught:
        message = "Training was interrupted; the same call goes on from its checkpoint."
        raise InterruptedError(message)


def pause_after(seconds: float) -> float:
    """The time until the next checkpoint, in seconds.

    Args:
        seconds: that the last one took.
    """
    return max(CHECKPOINT_SECONDS, seconds * (1 / CHECKPOINT_SHARE - 1))


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
        self,
        training: Training,
        folder: Path | None,
        work: Path | None,
        options: Options,
    ) -> None:
        """Resumes from the checkpoint, if there is one.

        Args:
            training: at its start.
            folder: of the run; None keeps it in memory.
            work: its locked work folder; None where nothing is saved.
            options: what else the caller wants.

        Raises:
            InvalidInputError: the checkpoint cannot be used, or is of another Config.
        """
        self.training, self.folder, self.work = training, folder, work
        self.options = options
        self.provenance = {
            **provenance(training.device),
            "started": now(),
            "resumed": [],
        }
        self.measured: list[Entry] = []  # beside the metrics of each evaluation
        # weights that were asked for: "best" or env steps -> by name, and whence
        self.kept: dict[str, dict[str, Tensor]] = {}
        self.kept_at: dict[str, Entry] = {}
        checkpoint = None if work is None else read_checkpoint(work)
        if work is not None:
            drop_pieces(work, checkpoint[2] if checkpoint else ())
        if checkpoint is not None:
            self.resume(*checkpoint)
        self.stopwatch = Stopwatch(training.clock.env_steps)
        self.opened = self.open_logs()
        self.told: list[Callable[[Entry], None]] = [*self.opened]
        if callable(options.log):
            self.told.append(options.log)

    def open_logs(self) -> list[Any]:
        """The files that are told of evaluations, made with those so far."""
        entries = [
            entry_of(self.training, index, measured)
            for index, measured in enumerate(self.measured)
        ]
        opened: list[Any] = []
        if self.work is not None:
            opened.append(Lines(self.work / LINES, entries))
        if isinstance(self.options.log, str):
            opened.append(LOGS[self.options.log](self.folder, entries))
        return opened

    def resume(
        self,
        facts: dict[str, Any],
        tensors: dict[str, Tensor],
        sealed: dict[str, dict[str, Tensor]],
    ) -> None:
        """Goes on from a checkpoint.

        Args:
            facts: what it says.
            tensors: what it holds.
            sealed: what it holds of the replay that never changes.

        Raises:
            InvalidInputError: it is of another Config, game, seed or kind of arrays,
                or further than this Config goes.
        """
        ours = self.facts()
        # Fields that Config has gained since then stand at their defaults.
        facts["config"] = {**Config().to_dict(), **facts.get("config", {})}
        theirs = {**facts, "config": self.extended(facts)}
        for name in ("config", "game", "seed", "arrays", "spec"):
            if theirs.get(name) != ours[name]:
                cure = (
                    f"Train under another method name, or remove {self.work} to train "
                    "this run from its start."
                )
                refuse("checkpoint", f"{name} {ours[name]}", facts.get(name), cure)
        own = {}
        for name, tensor in tensors.items():
            if name.startswith(KEPT):
                label, _, weight = name.removeprefix(KEPT).partition("/")
                self.kept.setdefault(label, {})[weight] = tensor
            else:
                own[name] = tensor
        self.kept_at = facts["kept"]
        restore(self.training, facts, own, sealed)
        self.measured = facts["measured"]
        before = facts["provenance"]
        # The machine may be another one than that of the legs before.
        leg = {"at": now(), "env_steps": self.training.clock.env_steps}
        leg |= provenance(self.training.device)
        self.provenance = {**before, "resumed": [*before["resumed"], leg]}

    def extended(self, facts: dict[str, Any]) -> dict[str, Any] | None:
        """The Config of a checkpoint, with our `env_steps` if it is not beyond them."""
        config, env_steps = facts.get("config"), self.training.config.env_steps
        if not isinstance(config, dict) or facts["clock"]["env_steps"] > env_steps:
            return config
        return {**config, "env_steps": env_steps}

    def observe(self) -> None:
        """Keeps and tells what the last iteration gave: weights, an evaluation."""
        training, every = self.training, self.options.keep_every
        if training.error is not None:
            return
        env_steps = training.clock.env_steps
        if every and env_steps // every > (env_steps - training.steps) // every:
            self.keep(str(env_steps), {"env_steps": env_steps})
        evaluations = training.log.metrics.get("env_steps", ())
        if len(evaluations) == len(self.measured):
            return
        self.measured.append(self.stopwatch.lap(training))
        entry = entry_of(training, -1, self.measured[-1])
        if self.options.keep_best:
            found = {name: entry[name] for name in ("env_steps", "mean_return")}
            best = self.kept_at.get("best")
            if best is None or found["mean_return"] > best["mean_return"]:
                self.keep("best", found)
        for tell in self.told:
            tell(entry)

    def keep(self, label: str, whence: Entry) -> None:
        """Keeps the weights as they are now.

        Args:
            label: "best", or the env steps.
            whence: what is written into the run's provenance.
        """
        self.kept[label] = self.weights()
        self.kept_at[label] = whence

    def weights(self) -> dict[str, Tensor]:
        """A copy of the online networks and the auxiliaries, by name."""
        learner = self.training.learner
        own = learner.auxiliaries.state_dict(prefix="auxiliaries.")
        return {
            name: value.detach().cpu().clone()
            for name, value in {**learner.online.state_dict(), **own}.items()
        }

    def save(self) -> None:
        """Replaces the checkpoint."""
        if self.work is None:
            return
        kept = {
            f"{KEPT}{label}/{name}": value
            for label, weights in self.kept.items()
            for name, value in weights.items()
        }
        tensors = {**tensors_of(self.training), **kept}
        sealed = self.training.replay.sealed()
        write_checkpoint(self.work, self.facts(), tensors, sealed)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps besides tensors."""
        # One name may serve for games of several sizes.
        spec = str(self.training.game.spec)
        return {
            **facts_of(self.training),
            "spec": spec,
            "provenance": self.provenance,
            "measured": self.measured,
            "kept": self.kept_at,
        }

    def complete(self) -> Run | None:
        """The run, written where it has a folder; None where training failed."""
        training = self.training
        if not training.losses_are_finite():  # after the last evaluation, too
            return None
        more = {"kept": self.kept_at} if self.kept else {}
        run = Run(
            config=training.config,
            game=training.game.name,
            seed=training.seed,
            metrics=training.log.metrics,
            weights=self.weights(),
            provenance={
                **self.provenance,
                "finished": now(),
                "updates": training.clock.updates,
                **more,
            },
        )
        if self.folder is not None:
            write_run(self.folder, run, self.work, self.files())
        return run

    def files(self) -> dict[str, bytes]:
        """What a run folder holds on request, by the name of the file."""
        found = {}
        for label, weights in self.kept.items():
            found[weights_file(label)] = format_weights(weights)
        if self.options.keep_checkpoint:
            self.save()
            for name in (CHECKPOINT, *pieces(self.work)):
                found[name] = (self.work / name).read_bytes()
        return found

    def close(self) -> None:
        """Closes the files that were told of evaluations."""
        for log in self.opened:
            log.close()
