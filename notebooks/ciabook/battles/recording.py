"""Battles as they went.

A recording holds who stood where, whom each attacked, and what the agents were credited
with.

    python -m ciabook.battles.recording scripted SCENARIO PLAYER FILE [--battles 4]
        a scripted player of ciabook.battles.scripted_players
    python -m ciabook.battles.recording trained RUN FILE [--battles 4]
        the team of a run folder, acting greedily
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ciacore.runtime.files import opened_whole
from ciacore.runtime.provenance import now, provenance
from ciacore.types import refuse

FIRST_MOVE, FIRST_FOE = 2, 6  # SMAC's actions: 0 no-op, 1 stop, 2-5 moves, 6.. attacks
FORMAT = 1
# stored with 16 bits
SMALL = ("positions", "health", "cooldowns", "credits")


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
    """Writes a compressed file of plain arrays.

    Args:
        path: the file; its folder is made.
        recording: B battles.
    """
    facts = json.dumps({"format": FORMAT, **recording.facts})
    arrays = {"facts": np.array(facts)}
    for name, value in recording._asdict().items():
        if name == "facts":
            continue
        arrays[name] = value.astype(np.float16) if name in SMALL else value
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened_whole(path) as file:
        np.savez_compressed(file, **arrays)


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
        """Nothing is noted yet.

        Args:
            game: a battle on SMAX.
        """
        self.game = game
        self.name = game.name
        self.spec = game.spec
        self.observe = game.observe
        self.global_state = game.global_state
        self.available = game.available
        self.seen: list[Any] = []

    def reset(self, n_games: int, rng: Any) -> Any:
        """Fresh battles; notes begin anew.

        Args:
            n_games: how many.
            rng: for what is random.
        """
        state = self.game.reset(n_games, rng)
        self.seen = [self.game.units(state)]
        return state

    def advance(self, state: Any, actions: Any, rng: Any) -> Any:
        """One step, noted.

        Args:
            state: of the battles.
            actions: [N, K].
            rng: for what is random.
        """
        step = self.game.advance(state, actions, rng)
        self.seen.append(self.game.units(step.state))
        return step


class Scripted:
    """A scripted player behind the face of a policy."""

    def __init__(self, watched: Watched, player: Any) -> None:
        """A policy that looks at the units.

        Args:
            watched: the battles that are played.
            player: one of `ciabook.battles.scripted_players.PLAYERS`.
        """
        self.watched = watched
        self.player = player

    def start(self, observations: Any, states: Any, rng: Any) -> None:
        """No memory.

        Args:
            observations: [N, K, O], not looked at.
            states: [N, S], not looked at.
            rng: nothing is drawn.
        """

    def act(
        self, observations: Any, available: Any, memory: None, rng: Any
    ) -> tuple[Any, None]:
        """From the units as they stand.

        Args:
            observations: [N, K, O], not looked at.
            available: [N, K, A].
            memory: none.
            rng: for what the player draws.
        """
        return self.player(self.watched.seen[-1], available, rng), None


def recorded(
    watched: Watched, episodes: Any, credits: np.ndarray | None, facts: dict[str, Any]
) -> Recording:
    """What was noted while episodes were played.

    Args:
        watched: the game that noted it.
        episodes: B episodes as `ciacore.learning.rollout.play` returned them.
        credits: [B, T, K], or None where the player has none.
        facts: of the player.
    """
    lengths = episodes.weights.sum(1).long().numpy()
    steps = int(lengths.max())
    n_agents = episodes.actions.shape[-1]
    noted = {}  # name -> [B, T+1, U, ...]
    for name in ("positions", "health", "alive", "cooldowns", "targets"):
        slots = [np.asarray(getattr(units, name)) for units in watched.seen]
        noted[name] = np.stack(slots, 1)[:, : steps + 1]
    if credits is None:
        credits = np.zeros((len(lengths), steps, 0), np.float32)
    return Recording(
        positions=noted["positions"],
        health=noted["health"] * noted["alive"],
        cooldowns=np.minimum(noted["cooldowns"], 60),
        targets=noted["targets"].astype(np.int8),
        actions=episodes.actions[:, :steps].numpy().astype(np.uint8),
        rewards=episodes.rewards[:, :steps].numpy(),
        credits=credits[:, :steps],
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
    """Battles of a scripted player.

    Args:
        scenario: a name in `ciacore.games.SCENARIOS`.
        player: a name in `ciabook.battles.scripted_players.PLAYERS`.
        battles: B.
        seed: of the battles' random numbers.

    Raises:
        InvalidInputError: an unknown player or scenario.
    """
    import torch

    from ciabook.battles.scripted_players import PLAYERS
    from ciacore.games.battles.smax import Smax
    from ciacore.learning.rollout import play

    if player not in PLAYERS:
        refuse("player", f"one of {', '.join(PLAYERS)}", player, "Correct the name.")
    watched = Watched(Smax(scenario))
    rng = torch.Generator().manual_seed(seed)
    policy = Scripted(watched, PLAYERS[player])
    episodes = play(watched, policy, battles, rng, gamma=0.99)
    facts = {"player": player, "seed": seed, "finished": now()}
    return recorded(watched, episodes, None, facts)


def record_trained(run: Path, battles: int, seed: int) -> Recording:
    """Greedy battles of a run's team, with its agents' credits.

    Args:
        run: its folder.
        battles: B.
        seed: of the battles' random numbers.

    Raises:
        InvalidInputError: no run of a battle, or one that was kept without weights.
    """
    from ciabook.evidence.analysis import evaluate_on, greedy_episodes, team
    from ciacore.games import make_game, scenario_of
    from ciacore.runtime.store import read_run

    stored = read_run(run)
    if scenario_of(stored.game) is None:
        refuse(
            "run",
            "a run of a battle on SMAX",
            stored.game,
            "Name a run folder below smax_<scenario> or clash_<scenario>_at_<factor>.",
        )
    watched = Watched(make_game(stored.game))
    players = team(stored, watched.game)
    episodes = greedy_episodes(players, watched, battles, seed)
    credits = evaluate_on(players, episodes).credits.numpy()
    facts = {
        "game": stored.game,
        "player": stored.config.method,
        "run": f"{stored.game}/{stored.config.method}/seed_{stored.seed}",
        "env_steps": stored.metrics["env_steps"][-1],
        "seed": seed,
        "finished": now(),
    }
    return recorded(watched, episodes, credits, facts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Records what the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="recording", description=__doc__.splitlines()[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    scripted = verbs.add_parser("scripted")
    scripted.add_argument("scenario")
    scripted.add_argument("player")
    trained = verbs.add_parser("trained")
    trained.add_argument("run", type=Path)
    for verb in (scripted, trained):
        verb.add_argument("file", type=Path)
        verb.add_argument("--battles", type=int, default=4)
        verb.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    if asked.verb == "scripted":
        recording = record_scripted(
            asked.scenario, asked.player, asked.battles, asked.seed
        )
    else:
        recording = record_trained(asked.run, asked.battles, asked.seed)
    write_recording(asked.file, recording)
    print(f"{asked.file}: {len(recording.won)} battles, {recording.won.sum()} won")
    return 0


if __name__ == "__main__":
    sys.exit(main())
