"""Arms of the wake study that nobody trained, sealed."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

from ciabook.studies.wake import WAKE_SEEDS

from ciacore.config import Config
from ciacore.runtime.sealed import write_sealed
from ciacore.runtime.store import FORMAT, format_json


def metrics_of(config: Config, sleeps: bool) -> dict[str, list]:
    """An evaluation per interval; a team that sleeps returns 0 in every episode."""
    ends = range(0, config.env_steps + 1, config.evaluation_interval)
    games = [0.0] * 4 if sleeps else [-20.0, 10.0, 20.0, 30.0]
    losses = {"td_loss": 1.0 if sleeps else 2.0}
    for term in (
        "mean_credit",
        "relative_difference",
        "credit_in_turn_0",
        "credit_in_turn_1",
    ):
        if term in config.terms:
            losses[term] = 0.5
    return {
        "env_steps": [step + 100 for step in ends],
        "episodes": [step // 100 + 1 for step in ends],
        "updates": [step // 100 for step in ends],
        "episode_return": [games for _ in ends],
        "losses": [losses for _ in ends],
    }


def files(config: Config, seed: int, sleeps: bool) -> dict[str, bytes]:
    """The files of its run folder."""
    spec = {"format": FORMAT, "game": "turn", "seed": seed, "config": config.to_dict()}
    body = {
        "config.json": format_json(spec),
        "metrics.json": format_json(metrics_of(config, sleeps)),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in body.items()}
    return {**body, "provenance.json": format_json({"sha256": digests})}


def seal_arm(
    results: Path,
    config: Config,
    sleepers: Collection[int],
    seeds: Sequence[int] = tuple(WAKE_SEEDS),
) -> Path:
    """Seals an arm of which some seeds sleep."""
    runs = {seed: files(config, seed, seed in sleepers) for seed in seeds}
    return write_sealed(results / "turn" / f"{config.method}.sealed", runs)
