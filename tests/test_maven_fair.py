"""MAVEN's latent policy, published and soft, and the rule that compares it."""

import math
from collections.abc import Sequence

import pytest
import torch
from ciabook.evidence.maven_fair import ARMS, breadth, order, verdict
from ciabook.studies.maven import MAVEN_FAIR, MAVEN_SEEDS
from ciabook.studies.study import STUDIES, place_of
from support.faults import refused
from support.toys import SMALL, Stroll, rng

from ciacore.baselines.maven import LatentPolicy, soft_policy_loss
from ciacore.config import Config
from ciacore.methods import METHODS
from ciacore.runtime.experiment import train
from ciacore.runtime.store import Run
from ciacore.types import Episodes, Spec

SPEC = Spec(2, 3, observation_size=4, state_size=5, unit_size=0, horizon=2)
MAVEN = METHODS["maven"].but(**SMALL, latent_size=4)


def trained_policy(config: Config, mean: float, pays: float = 0.0) -> torch.Tensor:
    """The chances of four latents after 800 episodes of one start state.

    A return is normal around a mean, with a deviation of 10; the third latent may pay
    more.
    """
    generator = rng()
    torch.manual_seed(0)
    part = LatentPolicy(SPEC, config)
    part.make_optimizers()
    states = torch.ones(8, 3, 5)
    for _ in range(100):
        chances = part.policy(states[:, 0]).softmax(-1)
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]
        latents = torch.eye(4)[drawn]
        returns = mean + 10 * torch.randn(8, generator=generator)
        rewards = torch.zeros(8, 2)
        rewards[:, 0] = returns + pays * latents[:, 2]
        fields = dict.fromkeys(Episodes._fields)
        fields |= {"states": states, "context": latents, "rewards": rewards}
        part.on_episodes(Episodes(**fields), generator)
    return part.policy(states[:1, 0]).softmax(-1)[0].detach()


def entropy(chances: torch.Tensor) -> float:
    """As a share of that of four equally likely latents."""
    return float(-torch.special.xlogy(chances, chances).sum() / math.log(4))


@pytest.mark.parametrize("bonus", ["published", "exact"])
def test_the_published_latent_policy_collapses_though_no_latent_pays(bonus: str):
    """Where returns are negative, as early on Turn. The exact entropy is no help.

    Remembered latents are pushed away in proportion to how often they were drawn, so
    that whichever is likelier than that grows: the collapse is the published update's.
    """
    chances = trained_policy(MAVEN.but(maven_entropy=bonus), mean=-50.0)
    assert entropy(chances) < 0.1 and chances.max() > 0.95


def test_an_entropy_that_matters_keeps_all_latents_in_play():
    soft = MAVEN.but(maven_entropy_weight=1.0)
    for mean in (-50.0, 50.0):
        assert entropy(trained_policy(soft, mean)) > 0.9
    # and the latent that pays is still preferred
    chances = trained_policy(soft, 50.0, pays=30.0)
    assert chances.argmax() == 2 and chances.min() > 0.02


def test_the_soft_loss_by_hand():
    """Two episodes, returns 3 and 1: advantages 1 and -1; ratios 2 and 1/2."""
    log_p = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log()
    log_ratio = torch.tensor([2.0, 0.5]).log()
    loss = soft_policy_loss(log_p, log_ratio, torch.tensor([3.0, 1.0]), 0.1)
    first = math.log(2)
    second = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    expected = -((2 - 0.5) / 2 + 0.1 * (first + second) / 2)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_equal_returns_leave_nothing_but_the_entropy():
    log_p = torch.full((3, 4), 0.25).log()
    loss = soft_policy_loss(log_p, torch.zeros(3), torch.full((3,), 7.0), 2.0)
    assert float(loss) == pytest.approx(-2 * math.log(4))


def test_without_weight_maven_is_the_published_one():
    """The same parameters in its policy, and no further buffer."""
    names = {name for name, _ in LatentPolicy(SPEC, MAVEN).named_buffers()}
    soft = LatentPolicy(SPEC, MAVEN.but(maven_entropy_weight=1.0))
    assert {name for name, _ in soft.named_buffers()} - names == {"log_chances"}
    refused(lambda: MAVEN.but(maven_entropy_weight=-1.0), "maven_entropy_weight", "0")


def test_the_variant_trains_and_logs_its_entropy():
    config = MAVEN.but(method="maven_entropy", maven_entropy_weight=1.0)
    (run,) = train(config, Stroll(), [1], processes=1)
    last = run.metrics["losses"][-1]["latent_policy_entropy"]
    assert 0.5 * math.log(4) < last <= math.log(4) + 1e-6


# ----------------------------------------------------------------------------- the rule


def ended(arm: str, ends: Sequence[float], entropy: float = 1.0) -> list[Run]:
    config = MAVEN_FAIR[arm]
    runs = []
    for seed, end in enumerate(ends):
        metrics = {
            "env_steps": [10_000 * at + 100 for at in range(6)],
            "episode_return": [[end]] * 6,
            "losses": [None] + [{"latent_policy_entropy": entropy * math.log(16)}] * 5,
        }
        runs.append(Run(config, "turn", seed, metrics, {}, {}))
    return runs


def test_the_order_of_two_arms():
    low, high = ended(ARMS[0], [1.0, 2.0, 3.0]), ended(ARMS[2], [4.0, 5.0, 6.0])
    assert order(low, high) == "below" and order(high, low) == "above"
    assert order(low, ended(ARMS[2], [2.5, 5.0, 6.0])) == "mixed"


@pytest.mark.parametrize(
    ("maven", "broad", "entropy", "words"),
    [
        (5, 5, 1.0, "The latents add nothing that is seen here."),
        (5, 50, 1.0, "Latents in play help."),
        (50, 5, 1.0, "and it is not the latents in play."),
        (5, 50, 0.05, "The latents collapsed in spite of their entropy."),
        (5, 5, 0.05, "The latents collapsed in spite of their entropy."),
    ],
)
def test_verdicts(maven: float, broad: float, entropy: float, words: str):
    runs = {
        "maven": ended("maven", [maven] * 3, 0.0),
        "maven_entropy": ended("maven_entropy", [broad] * 3, entropy),
        "qmix_maven_hypernetworks": ended(ARMS[2], [5, 6, 7]),
    }
    assert verdict(runs).endswith(words)


def test_breadth_is_logged_by_maven_alone():
    assert breadth(ended("maven", [1.0], 0.25)[0]) == pytest.approx(0.25)
    refused(lambda: breadth(ended(ARMS[2], [1.0])[0]), "run", "latent_policy_entropy")


def test_the_study_is_that_of_the_rule():
    assert tuple(MAVEN_FAIR) == ARMS and len(STUDIES["maven_fair"]) == 9
    assert {entry.seed for entry in STUDIES["maven_fair"]} == {211, 212, 213}
    assert MAVEN_SEEDS == (211, 212, 213)
    assert place_of("maven_fair").parts[-3:] == ("book", "results", "maven_fair")
    plain = METHODS["maven"].to_dict()
    changed = {
        arm: {k: v for k, v in config.to_dict().items() if plain[k] != v}
        for arm, config in MAVEN_FAIR.items()
    }
    million = {"env_steps": 1_000_000}
    assert changed["maven"] == {**million, "method": "maven_1m"}
    soft = {"method": "maven_entropy_1m", "maven_entropy_weight": 1.0}
    assert changed["maven_entropy"] == {**million, **soft}
    one_layer = METHODS["qmix"].but(
        method="qmix_maven_hypernetworks_1m", hypernetwork_size=0, **million
    )
    assert MAVEN_FAIR["qmix_maven_hypernetworks"] == one_layer
