"""Battles as they went: who stood where, whom each attacked, what the agents were credited with; and tactics in them.

python -m ciabook.battles.recording scripted SCENARIO PLAYER FILE [--battles 4]    a
scripted player of ciabook.battles.scripted_players python -m ciabook.battles.recording
trained RUN FILE [--battles 4]                 the team of a run folder, acting greedily
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ciacore.runtime.provenance import now, provenance
from ciacore.types import refuse

FIRST_MOVE, FIRST_FOE = 2, 6  # SMAC's actions: 0 no-op, 1 stop, 2-5 moves, 6.. attacks
FORMAT = 1


class Recording(NamedTuple):
    """B battles on the axes of the longest; the allies are the first K of U units."""

    positions: np.ndarray  # [B, T+1, U, 2], cells
    health: np.ndarray  # [B, T+1, U], hit points and shields; 0: dead
    cooldowns: np.ndarray  # [B, T+1, U], seconds until the weapon is ready
    # [B, T+1, U], whom each unit was told to attack in the step before; -1: nobody
    targets: np.ndarray
    actions: np.ndarray  # [B, T, K]
    rewards: np.ndarray  # [B, T]
    credits: np.ndarray  # [B, T, K]; no agents where the player has none
    lengths: np.ndarray  # [B], steps
    won: np.ndarray  # [B]
    walkable: np.ndarray  # [32, 32], [y, x]
    facts: dict[str, Any]  # scenario, player, provenance

    @property
    def n_agents(self) -> int:
        """K."""
        return self.actions.shape[-1]


def write_recording(path: Path, recording: Recording) -> None:
    """A compressed file of plain arrays, whole or not at all."""
    small = {
        "positions": np.float16,
        "health": np.float16,
        "cooldowns": np.float16,
        "credits": np.float16,
    }
    arrays = {
        name: np.asarray(value).astype(small.get(name, value.dtype))
        for name, value in recording._asdict().items()
        if name != "facts"
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        np.savez_compressed(
            file,
            facts=np.array(json.dumps({"format": FORMAT, **recording.facts})),
            **arrays,
        )
    os.replace(part, path)


def read_recording(path: Path) -> Recording:
    """A recording; nothing in the file is executed.

    Raises:
        InvalidInputError: no such file, a damaged one, or one of another kind.
    """
    cure = "Record it again: python -m ciabook.battles.recording."
    try:
        with open(path, "rb") as file:
            held = np.load(file, allow_pickle=False)
            arrays = {name: held[name] for name in held.files}
        facts = json.loads(str(arrays.pop("facts")))
        if facts.pop("format") != FORMAT:
            raise ValueError("another format")
        return Recording(**arrays, facts=facts)
    except (OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError) as error:
        refuse("recording", "a recording of battles", f"{path} ({error})", cure)
    except Exception as error:  # zipfile.BadZipFile, zlib.error
        refuse("recording", "a whole file", f"{path} ({error})", cure)


class Watched:
    """A battle's game that also notes who stands where at every step."""

    def __init__(self, game: Any) -> None:
        self.game, self.name, self.spec = game, game.name, game.spec
        self.observe, self.global_state, self.available = (
            game.observe,
            game.global_state,
            game.available,
        )
        self.seen: list[Any] = []

    def reset(self, n_games: int, rng: Any) -> Any:
        """Fresh battles; notes begin anew."""
        state = self.game.reset(n_games, rng)
        self.seen = [self.game.units(state)]
        return state

    def advance(self, state: Any, actions: Any, rng: Any) -> Any:
        """One step, noted."""
        step = self.game.advance(state, actions, rng)
        self.seen.append(self.game.units(step.state))
        return step


class Scripted:
    """A scripted player behind the face of a policy."""

    def __init__(self, watched: Watched, player: Any) -> None:
        self.watched, self.player = watched, player

    def start(self, observations: Any, states: Any, rng: Any) -> None:
        """No memory."""

    def act(
        self, observations: Any, available: Any, memory: None, rng: Any
    ) -> tuple[Any, None]:
        """From the units as they stand."""
        return self.player(self.watched.seen[-1], available, rng), None


def recorded(
    watched: Watched, episodes: Any, credits: np.ndarray | None, facts: dict[str, Any]
) -> Recording:
    """What was noted while these episodes were played."""
    lengths = episodes.weights.sum(1).long().numpy()
    steps, n_agents = int(lengths.max()), episodes.actions.shape[-1]
    units = [
        np.stack([np.asarray(part) for part in parts], 1)
        for parts in zip(*watched.seen, strict=True)
    ]
    positions, health, alive, cooldowns, targets, _ = (
        values[:, : steps + 1] for values in units
    )
    empty = np.zeros((len(lengths), steps, 0), np.float32)
    return Recording(
        positions=positions,
        health=health * alive,
        cooldowns=np.minimum(cooldowns, 60),
        targets=targets.astype(np.int8),
        actions=episodes.actions[:, :steps].numpy().astype(np.uint8),
        rewards=episodes.rewards[:, :steps].numpy(),
        credits=empty if credits is None else credits[:, :steps],
        lengths=lengths.astype(np.int16),
        won=episodes.won.numpy(),
        walkable=np.asarray(watched.game.smax._env.walkable[0]),
        facts={
            "scenario": watched.game.scenario,
            "n_agents": n_agents,
            **facts,
            "provenance": provenance("cpu"),
        },
    )


def record_scripted(scenario: str, player: str, battles: int, seed: int) -> Recording:
    """Battles of a scripted player."""
    import torch

    from ciabook.battles.scripted_players import PLAYERS
    from ciacore.games.battles.smax import Smax
    from ciacore.learning.rollout import play

    if player not in PLAYERS:
        refuse("player", f"one of {', '.join(PLAYERS)}", player, "Correct the name.")
    watched = Watched(Smax(scenario))
    rng = torch.Generator().manual_seed(seed)
    episodes = play(watched, Scripted(watched, PLAYERS[player]), battles, rng, 0.99)
    return recorded(
        watched, episodes, None, {"player": player, "seed": seed, "finished": now()}
    )


def record_trained(run: Path, battles: int, seed: int) -> Recording:
    """Greedy battles of a run's team, with its agents' credits.

    Raises:
        InvalidInputError: no run of a battle, or one that was kept without weights.
    """
    from ciabook.evidence.analysis import along, greedy_episodes, team
    from ciacore.games import SCENARIOS
    from ciacore.games.battles.smax import Smax
    from ciacore.runtime.store import read_run

    stored = read_run(run)
    scenario = stored.game.removeprefix("smax_")
    if scenario not in SCENARIOS:
        refuse(
            "run",
            "a run of a battle",
            stored.game,
            "Name a run folder below smax_<scenario>.",
        )
    watched = Watched(Smax(scenario))
    players = team(stored, watched.game)
    episodes = greedy_episodes(players, watched, battles, seed)
    facts = {
        "player": stored.config.method,
        "run": f"{stored.game}/{stored.config.method}/seed_{stored.seed}",
    }
    facts |= {
        "env_steps": stored.metrics["env_steps"][-1],
        "seed": seed,
        "finished": now(),
    }
    return recorded(watched, episodes, along(players, episodes).credits.numpy(), facts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="recording", description=__doc__.splitlines()[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, names in {
        "scripted": ("scenario", "player"),
        "trained": ("run",),
    }.items():
        sub = verbs.add_parser(verb)
        for name in (*names, "file"):
            sub.add_argument(name)
        sub.add_argument("--battles", type=int, default=4)
        sub.add_argument("--seed", type=int, default=1)
    told = parser.parse_args(arguments)
    if told.verb == "scripted":
        recording = record_scripted(told.scenario, told.player, told.battles, told.seed)
    else:
        recording = record_trained(Path(told.run), told.battles, told.seed)
    write_recording(Path(told.file), recording)
    print(f"{told.file}: {len(recording.won)} battles, {recording.won.sum()} won")
    return 0


if __name__ == "__main__":
    sys.exit(main())
