"""Are credits right? Scores of networks against counterfactual advantages.

The rule in words is book/rules/right_credits.md; this file applies its measure to runs.

    python -m ciabook.evidence.right_credits RESULTS
        scores every run under RESULTS that kept its weights along training, and writes
        RESULTS/scores/<game>/<method>/seed_<k>.json
    python -m ciabook.evidence.right_credits RESULTS --train STUDY [--part 1/2]
        trains what is missing of a study before, run after run; each is scored as soon
        as it is trained, and then loses its weights. --part 1/2 takes every other run
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ciabook.evidence.counterfactual import (
    Draw,
    Nodes,
    Sampled,
    advantages,
    by_meal,
    by_step,
    joined,
    rows,
    sampled,
    start,
    think,
)
from ciabook.small_games import chance, together
from ciabook.studies.drop_weights import drop_weights
from ciabook.studies.runs import Entry
from ciabook.studies.study import find, folder_of
from ciabook.turn.scripted_players import FullInformation
from ciacore import train
from ciacore.credits import credits
from ciacore.games import make_game
from ciacore.losses import utilities_of
from ciacore.runtime.evaluation import Team, team
from ciacore.runtime.files import write_whole
from ciacore.runtime.one_core import one_core
from ciacore.runtime.provenance import now, provenance
from ciacore.runtime.store import Run, load_run
from ciacore.types import Game, InvalidInputError, known_name, refuse

EVERY = 40_000  # env steps between networks that are scored ...
EARLY = 5  # ... so many of them; from there on every fifth
GAMMA = 0.9  # discount of what follows a step
WINDOW = 25  # steps that count
NOISE = 0.3  # chance that an action of the scripted team is replaced by a random one
EPISODES = 16
CLEARLY = 2.0  # standard errors by which the agent that mattered must stand out ...
AT_ALL = 1e-3  # ... and discounted points
FEWEST = 12  # decided steps behind a score
SEED = 2023  # of the episodes, the steps and the copies

Scripted = Callable[[Any, Any, torch.Generator], Int[Tensor, "N K"]]


class Asked(NamedTuple):
    """What the teams of a game are asked about."""

    scripted: Scripted  # who plays the episodes
    steps: int  # drawn from every episode
    copies: int  # M, of every step
    chance: Callable[[Any, int, int], Draw] = by_step  # what alternatives share


def all_knowing(game: Any, state: Any, rng: torch.Generator) -> Tensor:
    """The team of Turn that sees everything.

    Args:
        game: the rules.
        state: of N boards.
        rng: nothing is drawn.
    """
    actions, _ = FullInformation().act(game, state, None, rng)
    return actions


IN_TURN = Asked(all_knowing, steps=4, copies=24, chance=by_meal)
IN_PREDATOR_PREY = Asked(together, steps=2, copies=12)
ASKED = {
    "turn": IN_TURN,
    "turn_3": IN_TURN,
    "turn_4": IN_TURN,
    "turn_6": IN_TURN,
    "predator_prey": IN_PREDATOR_PREY,
    "predator_prey_0": IN_PREDATOR_PREY,
}


class Recorded(NamedTuple):
    """Episodes of a scripted team, and the steps of them that are asked about."""

    states: list[Any]  # the game's own, of each slot
    actions: list[Int[Tensor, "N K"]]  # of each step
    chosen: Bool[Tensor, "N T"]  # the steps that are asked about


class Points(NamedTuple):
    """What a team says of the steps that are asked about."""

    nodes: Nodes
    values: Float[Tensor, "N K A"]  # of its agents
    actions: Int[Tensor, "N K"]  # what was done


class Scores(NamedTuple):
    """How right the credits of a network are."""

    hit: float | None  # None: too few decided steps
    rank: float | None
    credited: float | None
    decided: int  # steps on which it is clear who mattered
    error: float  # mean standard error of an advantage
    mattered: list[float]  # share of the decided steps on which each agent did


@torch.no_grad()
def record(game: Game, asked: Asked, seed: int = SEED) -> Recorded:
    """The episodes that every team of a game is asked about.

    Args:
        game: the rules.
        asked: who plays, and how many steps are drawn.
        seed: of everything random.
    """
    rng = torch.Generator().manual_seed(seed)
    states, actions, alive = [game.reset(EPISODES, rng)], [], []
    going = torch.ones(EPISODES, dtype=torch.bool)
    for _ in range(game.spec.horizon):
        planned = asked.scripted(game, states[-1], rng)
        noisy = torch.rand(planned.shape, generator=rng) < NOISE
        actions.append(torch.where(noisy, chance(game, states[-1], rng), planned))
        alive.append(going)
        step = game.advance(states[-1], actions[-1], rng)
        states.append(step.state)
        going = going & ~(step.terminated | step.truncated)
    drawn = torch.rand(EPISODES, len(actions), generator=rng)
    drawn = drawn * torch.stack(alive, 1)  # what is over comes last
    chosen = torch.zeros_like(drawn, dtype=torch.bool)
    chosen.scatter_(1, drawn.topk(asked.steps).indices, True)
    return Recorded(states, actions, chosen)


@torch.no_grad()
def points(ours: Team, game: Game, recorded: Recorded) -> Points:
    """What a team remembers and says at the steps, had it lived the episodes.

    Args:
        ours: the team.
        game: the rules.
        recorded: the episodes.
    """
    player = ours.parts.agent
    nodes = start(game, player, EPISODES, torch.Generator())
    found: list[Points] = []
    for step, actions in enumerate(recorded.actions):
        nodes = nodes._replace(state=recorded.states[step])
        values, hidden = think(game, player, nodes)
        index = recorded.chosen[:, step].nonzero()[:, 0]
        if len(index) > 0:
            found.append(Points(rows(nodes, index), values[index], actions[index]))
        nodes = Nodes(recorded.states[step + 1], player.one_hot(actions), hidden)
    return Points(
        nodes=joined([each.nodes for each in found]),
        values=torch.cat([each.values for each in found]),
        actions=torch.cat([each.actions for each in found]),
    )


# --------------------------------------------------------------------------------
# credits against advantages


class Decided(NamedTuple):
    """Who mattered at N steps."""

    clear: Bool[Tensor, "N"]  # whether it can be said
    agent: Int[Tensor, "N"]  # the one with the largest magnitude


def who_mattered(found: Sampled) -> Decided:
    """The agent whose advantage has the largest magnitude, and whether that is clear.

    Args:
        found: the advantages of N steps.
    """
    mean = found.mean
    first, second = mean.abs().topk(2).indices.unbind(-1)  # [N]
    signed = found.copies * mean.sign()[:, None]

    def of(agent: Int[Tensor, "N"]) -> Float[Tensor, "N M"]:
        index = agent[:, None, None].expand(-1, signed.shape[1], 1)
        return signed.gather(-1, index)[..., 0]

    ahead = of(first) - of(second)  # in every copy
    error = ahead.std(1) / ahead.shape[1] ** 0.5
    clear = (ahead.mean(1) > CLEARLY * error) & (ahead.mean(1) > AT_ALL)
    return Decided(clear, first)


def hits(shares: Float[Tensor, "N K"], agent: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Whether the largest credit is that of an agent; of n equals each counts 1/n.

    Args:
        shares: the credits.
        agent: who mattered.
    """
    largest = shares == shares.amax(-1, keepdim=True)
    its_own = largest.gather(-1, agent[:, None])[:, 0]
    return its_own / largest.sum(-1)


def mean_ranks(values: Float[Tensor, "N K"]) -> Float[Tensor, "N K"]:
    """Ranks from 1, equals sharing the mean of theirs."""
    below = (values[:, :, None] > values[:, None]).sum(-1)
    equal = (values[:, :, None] == values[:, None]).sum(-1)
    return below + (equal + 1) / 2


def rank_correlation(
    ours: Float[Tensor, "N K"], theirs: Float[Tensor, "N K"]
) -> Float[Tensor, "N"]:
    """Spearman's rank correlation of each step; 0 where one side has only equals.

    Args:
        ours: of the agents.
        theirs: of the same agents.
    """
    x, y = mean_ranks(ours), mean_ranks(theirs)
    x, y = x - x.mean(-1, keepdim=True), y - y.mean(-1, keepdim=True)
    scale = (x.square().sum(-1) * y.square().sum(-1)).sqrt()
    return (x * y).sum(-1) / scale.clamp(min=1e-12)


def scores(
    found: Sampled, shares: Float[Tensor, "N K"], own: Float[Tensor, "N K"]
) -> Scores:
    """The scores of credits.

    Args:
        found: the counterfactual advantages of N steps.
        shares: the credits there.
        own: the utilities' own advantages, Q_k(u_k) - mean of Q_k.
    """
    decided = who_mattered(found)
    clear, mean = decided.clear, found.mean
    count = int(clear.sum())
    agents = torch.bincount(decided.agent[clear], minlength=mean.shape[-1])
    each: dict[str, float | None] = dict.fromkeys(("hit", "rank", "credited"))
    if count >= FEWEST:
        each["hit"] = average(hits(shares, decided.agent)[clear])
        each["rank"] = average(rank_correlation(shares, mean.abs())[clear])
        each["credited"] = average(rank_correlation(shares * own, mean)[clear])
    shown = (agents / max(count, 1)).tolist()
    mattered = [round(share, 3) for share in shown]
    return Scores(**each, decided=count, error=average(found.error), mattered=mattered)


def average(values: Tensor) -> float:
    """The mean, to four digits."""
    return round(float(values.double().mean()), 4)


def score_team(ours: Team, game: Game, recorded: Recorded, asked: Asked) -> Scores:
    """The scores of a team's networks.

    Args:
        ours: the team.
        game: the rules.
        recorded: the episodes that it is asked about.
        asked: how many copies, and what they share.
    """
    at = points(ours, game, recorded)
    found = sampled(
        game,
        ours.parts.agent,
        at.nodes,
        at.actions,
        GAMMA,
        asked.copies,
        SEED,
        WINDOW,
        asked.chance,
    )
    available = game.available(at.nodes.state)
    state = game.global_state(at.nodes.state).float()
    utilities = utilities_of(at.values, at.actions, available)
    shares = credits(ours.parts.mixer, utilities, state)
    return scores(found, shares, advantages(at.values, at.actions, available))


# --------------------------------------------------------------------------------
# runs


def labels(run: Run, every: int = EVERY) -> list[int]:
    """The env steps of the networks that are scored, of those that a run kept.

    Args:
        run: trained with `keep_every`.
        every: env steps between them.
    """
    found = []
    for label in run.provenance.get("kept", {}):
        if label.isdecimal():
            number = int(label) // every
            if number >= 1 and (number <= EARLY or number % EARLY == 0):
                found.append(int(label))
    return sorted(found)


def score_run(folder: Path, every: int = EVERY) -> dict[str, Any]:
    """The scores of a run along its training.

    Args:
        folder: of the run.
        every: env steps between networks.

    Raises:
        InvalidInputError: a game that nothing is asked of, or a run that kept no
            weights along its training.
    """
    began, run = now(), load_run(folder)
    asked = ASKED[known_name(run.game, ASKED, "game")]
    at = labels(run, every)
    if not at:
        cure = f"Train it with keep_every={every}."
        refuse("run", "weights kept along training", str(folder), cure)
    game = make_game(run.game)
    found = []
    with one_core():
        recorded = record(game, asked)
        for label in at:
            networks = team(load_run(folder, weights=label), game)
            row = score_team(networks, game, recorded, asked)
            found.append({"env_steps": label, **row._asdict()})
    return {
        "game": run.game,
        "method": run.config.method,
        "seed": run.seed,
        "weights": run.provenance["sha256"],
        "rows": found,
        "provenance": {**provenance("cpu"), "started": began, "finished": now()},
    }


def score_file(results: Path, folder: Path) -> Path:
    """Where the scores of a run are written.

    Args:
        results: the folder of all runs.
        folder: of the run.
    """
    game, method, seed = folder.parts[-3:]
    return results / "scores" / game / method / f"{seed}.json"


def score_and_write(results: Path, folder: Path, every: int = EVERY) -> None:
    """Scores a run, unless that is done.

    Args:
        results: the folder of all runs.
        folder: of the run.
        every: env steps between networks.
    """
    file = score_file(results, folder)
    if file.exists():
        return
    found = score_run(folder, every)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"  {json.dumps(row)}" for row in found.pop("rows")]
    head = json.dumps(found, indent=1).removesuffix("\n}")
    text = head + ',\n "rows": [\n' + ",\n".join(lines) + "\n ]\n}\n"
    write_whole(file, text)
    print(f"scored: {file}", flush=True)


def train_and_score(results: Path, entries: Sequence[Entry], every: int) -> None:
    """Trains, scores and strips what is missing, run after run.

    Args:
        results: the folder of all runs.
        entries: the runs.
        every: env steps between networks.
    """
    for entry in entries:
        folder = folder_of(entry, results)
        if folder.exists() and score_file(results, folder).exists():
            continue
        game = make_game(entry.game)
        train(
            entry.config,
            game,
            [entry.seed],
            results,
            processes=1,
            keep_every=every,
        )
        score_and_write(results, folder, every)
        drop_weights(folder)


def part_of(entries: Sequence[Entry], part: str) -> Sequence[Entry]:
    """Every n-th run: of "2/3" the second, the fifth, and so on.

    Args:
        entries: the runs.
        part: which, and of how many.

    Raises:
        InvalidInputError: no such part.
    """
    first, _, of = part.partition("/")
    if not (first.isdecimal() and of.isdecimal() and 1 <= int(first) <= int(of)):
        refuse("part", "a part such as 1/2", part, "Write e.g. --part 2/2.")
    return entries[int(first) - 1 :: int(of)]


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line asks for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="right_credits", description=__doc__.splitlines()[0]
    )
    parser.add_argument("results", type=Path, help="the folder of all runs")
    parser.add_argument("--train", metavar="STUDY", help="is trained before")
    parser.add_argument("--part", default="1/1", help="which share of the study")
    parser.add_argument("--every", type=int, default=EVERY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.train:
            entries = part_of(find(options.train), options.part)
            train_and_score(options.results, entries, options.every)
            return 0
        for game in ASKED:
            for folder in sorted(options.results.glob(f"{game}/*/seed_*")):
                if not score_file(options.results, folder).exists():
                    score_and_write(options.results, folder, options.every)
    except InvalidInputError as error:
        print(f"right_credits: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
