"""Chapters on other games than Turn, again: what a class trains, and the rules."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ciabook.evidence import other_games, showcases
from ciabook.evidence.other_games import Scores
from ciabook.evidence.paired import Paired
from ciabook.evidence.showcases import FAILS, PASSES, Claim
from ciabook.evidence.turn_replications import NOT_SHOWN, USED
from ciabook.page.plots import label_of
from ciabook.page.repeated import WAITS, Question
from ciabook.page.replicate import CLASS, FULL, Plan, Replication
from ciabook.studies.battles import proof
from ciabook.studies.other_games import IN_OTHER_GAMES, OTHER_GAMES
from ciabook.studies.study import find
from ciacore.methods import METHODS
from ciacore.runtime.store import Run

ROOT = Path(__file__).resolve().parents[3]
DIFFICULTY = ROOT / "book" / "results" / "battles" / "difficulty.json"
BATTLE = "10m_vs_11m"  # that a class trains in
BATTLE_STEPS = 100_000
LABEL = "simple_spread"  # the other game that a class trains in
SPREAD_STEPS = 50_000  # half as long as the study
SPREAD_SECONDS = 224 / 100_000  # of a core per step of QMIX, while other work ran
CLASS_ARMS = ("qmix", "qmix_cia")
LAST = 5  # evaluations behind the end of a battle's run

Runs = Mapping[str, Sequence[Run]]


# ----------------------------------------------------------------------- showcases


def arm_of(claim: Claim) -> str:
    """The arm of a claim; that of the two-step game is the method's own name.

    Args:
        claim: one of CLAIMS.
    """
    if claim.game == showcases.TWO_STEP[0]:
        return claim.method
    return f"{label_of(claim.method)} in {claim.game.replace('_', '-')}"


def showcase_plan(claims: Sequence[Claim]) -> Plan:
    """The study's Configs for some claims.

    Args:
        claims: some of CLAIMS.
    """
    entries = [entry for study in showcases.STUDIES for entry in find(study)]
    configs = {(entry.game, entry.config.method): entry.config for entry in entries}
    arms = {}
    for claim in claims:
        arms[arm_of(claim)] = configs[claim.game, f"{claim.method}_showcase"]
    games = {arm_of(claim): claim.game for claim in claims}
    return Plan(arms, 5, games)


def holds(claim: Claim) -> Question:
    """Whether a claim passes, with as large a share of seeds as the rule asks.

    Args:
        claim: one of CLAIMS.
    """
    arm = arm_of(claim)

    def rule(runs: Runs) -> str:
        ends = [showcases.final_return(run) for run in runs[arm]]
        seeds = max(len(ends), claim.seeds)  # fewer than the rule's are too few
        needed = math.ceil(claim.needed / claim.seeds * seeds)
        scaled = claim._replace(seeds=seeds, needed=needed)
        return showcases.verdict(scaled, ends)

    game = claim.game.replace("_", "-")
    asks = f"{label_of(claim.method)} in the game {game}: {claim.published}?"
    return Question(asks, (arm,), rule, (PASSES, FAILS))


# ------------------------------------------------------------------------- battles


def battle_plan() -> Plan:
    """QMIX and QMIX(CIA) in one battle, a third as long as the book's runs."""
    configs = {}
    for method in CLASS_ARMS:
        changes = {"method": f"{method}_100k", "env_steps": BATTLE_STEPS}
        configs[method] = proof(method, BATTLE).but(**changes)
    return Plan(configs, 2)


def battle_study() -> Plan:
    """The book's short runs, in two battles."""
    configs, games = {}, {}
    for entry in find("battles_proof"):
        method = entry.config.method.removesuffix("_300k")
        scenario = entry.game.removeprefix("smax_")
        arm = method if scenario == BATTLE else f"{label_of(method)} in {scenario}"
        configs[arm], games[arm] = entry.config, entry.game
    return Plan(configs, 2, games)


def end_of(run: Run) -> float:
    """The mean return of a run's last evaluations.

    Args:
        run: in a battle.
    """
    return float(np.mean(run.metrics["episode_return"][-LAST:]))


def learns(arm: str, scenario: str) -> Question:
    """Whether every team of an arm ends above random play.

    Args:
        arm: of the plans.
        scenario: the battle.
    """

    def rule(runs: Runs) -> str:
        measured = json.loads(DIFFICULTY.read_text())["scenarios"][scenario]
        level = float(np.mean(measured["random"]["episode_return"]))
        above = [end_of(run) > level for run in runs[arm]]
        return "all above" if all(above) else "not all above"

    name = label_of(arm.split(" in ")[0])
    asks = f"Do teams of {name} end above random play in {scenario}?"
    return Question(asks, (arm,), rule, ("all above", "not all above"))


# --------------------------------------------------------------------- other games


def arm_in(method: str, label: str) -> str:
    """The arm of a method in a game; in the class's game it is the method's own name.

    Args:
        method: a name in METHODS.
        label: of the game.
    """
    return method if label == LABEL else f"{label_of(method)} in {label}"


def other_games_plan(labels: Sequence[str], methods: Sequence[str], seeds: int) -> Plan:
    """Methods in some games, as long as in the study.

    Args:
        labels: of games, keys of OTHER_GAMES.
        methods: names in METHODS.
        seeds: of every method in every game.
    """
    configs, games = {}, {}
    for label in labels:
        game, env_steps = OTHER_GAMES[label]
        for method in methods:
            arm = arm_in(method, label)
            configs[arm] = METHODS[method].but(env_steps=env_steps)
            games[arm] = game
    return Plan(configs, seeds, games)


def spread_plan() -> Plan:
    """QMIX and QMIX(CIA) in one of the games, half as long as in the study."""
    configs = {}
    for method in CLASS_ARMS:
        changes = {"method": f"{method}_50k", "env_steps": SPREAD_STEPS}
        configs[method] = METHODS[method].but(**changes)
    return Plan(configs, 6)


def own_scores(runs: Runs) -> Scores:
    """The score of every run: label of a game -> method -> seed -> score.

    Args:
        runs: by arm, of one game or of all.
    """
    at_random = json.loads(other_games.DATA.read_text())["random"]
    grouped = {}
    for label in OTHER_GAMES:
        grouped[label] = {}
        for method in IN_OTHER_GAMES:
            group = runs.get(arm_in(method, label), [])
            if group:
                grouped[label][method] = group
    levels = {label: found["mean_return"] for label, found in at_random.items()}
    return other_games.scores(grouped, levels)


def word_of_rule(
    compared: Mapping[str, Paired],
    p_values: Mapping[str, float],
    theirs: str,
    learned: int,
) -> str:
    """What QMIX(CIA) is beside another method.

    Args:
        compared: the other method -> the comparison.
        p_values: the same -> the p-value that counts.
        theirs: the other method.
        learned: how many games were learned.
    """
    if theirs not in compared:
        return WAITS
    word = other_games.verdict(compared[theirs], p_values[theirs], learned)
    return NOT_SHOWN if word == "undecided" else word


def helps(theirs: str) -> Question:
    """What QMIX(CIA) is beside another method, over the games that both have.

    Args:
        theirs: the other method.
    """

    def rule(runs: Runs) -> str:
        found = own_scores(runs)
        compared = other_games.family(found)
        p_values = {name: each.p_value for name, each in compared.items()}
        if len(compared) > 1:  # more than one test is corrected for all of the rule's
            p_values = other_games.corrected(compared)
        return word_of_rule(compared, p_values, theirs, len(other_games.learned(found)))

    asks = f"Is QMIX(CIA) better or worse than {label_of(theirs)}?"
    return Question(asks, (), rule, ("better", "worse", "equal"))


# stem of the chapter's notebook -> what it trains
REPLICATIONS = {
    "showcases": Replication(
        "two_step",
        {
            CLASS: showcase_plan(
                [each for each in showcases.CLAIMS if each.game == "two_step"]
            ),
            FULL: showcase_plan(showcases.CLAIMS),
        },
        USED,
    ),
    "battles": Replication(
        f"smax_{BATTLE}", {CLASS: battle_plan(), FULL: battle_study()}, USED
    ),
    "other_games": Replication(
        OTHER_GAMES[LABEL][0],
        {
            CLASS: spread_plan(),
            FULL: other_games_plan([*OTHER_GAMES], IN_OTHER_GAMES, 5),
        },
        USED,
    ),
}
# the same -> what it asks of runs
QUESTIONS = {
    "showcases": [holds(claim) for claim in showcases.CLAIMS],
    "battles": [
        learns(arm, BATTLE if arm in CLASS_ARMS else arm.split(" in ")[1])
        for arm in battle_study().configs
    ],
    "other_games": [helps(theirs) for theirs in other_games.THEIRS],
}
# the same -> minutes of its class budget on two cores
MINUTES = {"showcases": 1, "battles": 9, "other_games": 12}
