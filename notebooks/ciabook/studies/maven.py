"""MAVEN and what remains of it without its latents (book/rules/maven.md)."""

from __future__ import annotations

from ciabook.studies.runs import Entry, grid
from ciacore.methods import METHODS

MILLION = 1_000_000
MAVEN_FAIR = {
    "maven": METHODS["maven"].but(method="maven_1m", env_steps=MILLION),
    "maven_entropy": METHODS["maven"].but(
        method="maven_entropy_1m", env_steps=MILLION, maven_entropy_weight=1.0
    ),
    "qmix_maven_hypernetworks": METHODS["qmix"].but(
        method="qmix_maven_hypernetworks_1m", env_steps=MILLION, hypernetwork_size=0
    ),
}
MAVEN_SEEDS = (211, 212, 213)  # fresh
STUDIES: dict[str, list[Entry]] = {
    "maven_fair": grid(MAVEN_FAIR.values(), "turn", MAVEN_SEEDS),
}
