"""Finding out what an environment is: its agents, its sizes, its horizon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ciacore.games.adapters.makers import parallel, takes_turns
from ciacore.games.adapters.padded import Padded, Rules
from ciacore.games.adapters.sizes import number_of_actions, observation_size
from ciacore.types import refuse

# where environments say how long an episode may be
LIMITS = ("max_cycles", "max_episode_steps", "max_steps")
COMPARED = 50  # steps in which two environments of one seed must agree


def agents_of(env: Any) -> list[Any] | None:
    """The agents that an environment may ever have, None where it does not say."""
    found = getattr(env, "possible_agents", None)
    return list(found) if found else None


def sizes_of(env: Any, given: dict[str, int]) -> dict[str, int]:
    """K, A and O: as given, or as the environment's spaces say.

    Args:
        env: a parallel environment.
        given: n_agents, n_actions and observation_size; 0 for what is not given.

    Raises:
        InvalidInputError: the environment does not say, or has spaces that cannot be
            played.
    """
    agents = agents_of(env)
    if agents is None:
        if not all(given.values()):
            missing = [name for name, value in given.items() if not value]
            cure = "Set n_agents, n_actions and observation_size to the most there are."
            refuse("possible_agents", "all agents by name", f"none, {missing}", cure)
        return dict(given)
    actions = [number_of_actions(agent, env.action_space(agent)) for agent in agents]
    sizes = [observation_size(agent, env.observation_space(agent)) for agent in agents]
    found = {
        "n_agents": len(agents),
        "n_actions": max(actions),
        "observation_size": max(sizes),
    }
    for name, value in given.items():
        if value and value < found[name]:
            refuse(name, f"at least {found[name]}", value, "Leave it out.")
    return {name: given[name] or value for name, value in found.items()}


def horizon_of(env: Any, given: int | None) -> int:
    """The longest episode: as given, or as the environment says.

    Args:
        env: a parallel environment.
        given: steps, or None.

    Raises:
        InvalidInputError: neither says.
    """
    if given is None and not takes_turns(env):
        spec = getattr(env, "spec", None)
        inner = getattr(env, "unwrapped", env)
        stated = [getattr(spec, "max_episode_steps", None)]
        stated += [getattr(inner, name, None) for name in LIMITS]
        settings = getattr(spec, "kwargs", None) or {}
        stated += [settings.get(name) for name in LIMITS]
        for value in stated:
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    if given is None:
        cure = "Set horizon to the steps after which an episode ends at the latest."
        refuse("horizon", "an environment that says how long it lasts", None, cure)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        cure = "Write e.g. horizon=50."
        refuse("horizon", "a whole number of at least 1", given, cure)
    return given


def has_state(env: Any) -> bool:
    """Whether an environment has a state of its own; asked after a reset."""
    try:
        return np.asarray(env.state()).size > 0
    except (NotImplementedError, AttributeError, TypeError):
        return False


def examined(
    make: Callable[[], Any],
    given: dict[str, int],
    horizon: int | None,
    state: str | None,
    settings: dict[str, Any],
) -> Rules:
    """Makes one environment and finds out what it is.

    Args:
        make: makes an environment.
        given: n_agents, n_actions and observation_size; 0 for what is not given.
        horizon: steps, or None where the environment says it.
        state: "own", "joined", or None for its own where it has one.
        settings: the other fields of `Rules`.

    Raises:
        InvalidInputError: it cannot be played.
    """
    env = parallel(make())
    sizes = sizes_of(env, given)
    horizon = horizon_of(env, horizon)
    env.reset(seed=0)
    if state is None:
        state = "own" if has_state(env) else "joined"
    state_size = sizes["n_agents"] * sizes["observation_size"]
    if state == "own":
        if not has_state(env):
            cure = 'Use state="joined".'
            refuse("state", "an environment with a method state", type(env), cure)
        state_size = np.asarray(env.state()).size
    return Rules(
        make=make,
        **sizes,
        state_size=state_size,
        horizon=horizon,
        state=state,
        **settings,
    )


def check_seeded(rules: Rules) -> None:
    """Refuses an environment whose episodes do not follow from their seeds.

    Their runs could not be repeated, nor resumed exactly.

    Args:
        rules: of the game.

    Raises:
        InvalidInputError: two environments differ after the same seed and actions.
    """
    one, other = Padded(rules), Padded(rules)
    answers = one.reset(1), other.reset(1)
    for t in range(min(COMPARED, rules.horizon) + 1):
        (first, result), (second, again) = answers
        for name, a, b in zip(first._fields, first, second, strict=True):
            if not np.array_equal(a, b):
                cure = "Set exact=False to play it all the same."
                if name == "state":
                    cure = 'Set state="joined", or exact=False to play it all the same.'
                got = f"other {name} after {t} steps"
                refuse("seed", "an episode that follows from its seed", got, cure)
        if result != again:
            cure = "Set exact=False to play it all the same."
            got = f"{result} and {again}"
            refuse("seed", "an episode that follows from its seed", got, cure)
        if result.terminated or result.truncated:
            return
        actions = [int(mask.nonzero()[0][t % mask.sum()]) for mask in first.available]
        answers = one.step(actions), other.step(actions)
