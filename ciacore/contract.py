"""What a game promises, tried once before training: `check_game`.

A learner believes a game's `Spec`. A game that breaks it would be learned as another
game, in silence, or fail deep inside; here it is refused by name.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ciacore.types import (
    Array,
    EpisodeLost,
    Episodes,
    Game,
    Generator,
    Spec,
    Step,
    refuse,
)

METHODS = ("reset", "advance", "observe", "global_state", "available")  # of a game
# of Spec: field -> the smallest number it may be
COUNTS = {
    "n_agents": 1,
    "n_actions": 1,
    "observation_size": 1,
    "state_size": 1,
    "unit_size": 0,
    "horizon": 1,
    "at_once": 0,
}
FLAGS = ("ends_early", "winnable", "in_numpy")  # of Spec: True or False
STEPS = 200  # the most that are tried
COMPARED = 3  # steps after which the state before is looked at again


class Seen(NamedTuple):
    """What a game shows of a state."""

    observations: Array  # [N, K, O]
    states: Array  # [N, S]
    available: Array  # [N, K, A]


def check_game(
    game: Game, n_games: int = 2, device: torch.device | str = "cpu"
) -> None:
    """Tries a game and refuses by name what breaks the contract of `Game` and `Spec`.

    It plays one random episode of N games, at most 200 steps of it, and copies the
    game. No random number of anybody else is used up. `train` does this once before it
    trains; call it while you write a game.

    Args:
        game: what is tried.
        n_games: N, how many games are played side by side.
        device: where they are played.

    Raises:
        InvalidInputError: the name, the spec, a shape, a type, a value or an end is not
            what the game promises.
    """
    check_face(game)
    n_games = min(n_games, game.spec.at_once or n_games)
    with no_randomness_used():
        for rng in generators(game.spec, torch.device(device)):
            try_out(game, n_games, rng)
        check_copy(game)


def check_face(game: Game) -> None:
    """Looks at what can be seen of a game without playing: name, methods, spec.

    Args:
        game: what is looked at.

    Raises:
        InvalidInputError: one of them cannot be used.
    """
    for method in METHODS:
        if not callable(getattr(game, method, None)):
            cure = "The five methods are those of ciacore.types.Game."
            refuse("game", f"a method {method}", type(game).__name__, cure)
    name = getattr(game, "name", None)
    unsafe = not isinstance(name, str) or not name or name.startswith(".")
    if unsafe or any(sign in name for sign in "/\\\0"):
        cure = "Runs are kept in a folder of this name."
        refuse("name", "a name that a folder can have", name, cure)
    spec = getattr(game, "spec", None)
    if not isinstance(spec, Spec):
        refuse("spec", "a Spec", spec, "Make one: ciacore.types.Spec(...).")
    check_spec(spec)


def check_spec(spec: Spec) -> None:
    """Refuses sizes, types and promises that cannot be.

    Args:
        spec: of a game.

    Raises:
        InvalidInputError: a field is not what it may be.
    """
    for name, least in COUNTS.items():
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            cure = f"It is the field {name} of the game's spec."
            refuse(name, f"a whole number of at least {least}", value, cure)
    for name in FLAGS:
        if not isinstance(getattr(spec, name), bool):
            cure = f"It is the field {name} of the game's spec."
            refuse(name, "True or False", getattr(spec, name), cure)
    is_type = isinstance(spec.dtype, torch.dtype)
    if not is_type or spec.dtype.is_complex:
        cure = "Use torch.float32, or torch.uint8 for whole numbers up to 255."
        refuse("dtype", "a real type of torch", spec.dtype, cure)
    units = spec.unit_size * spec.n_agents
    if units > spec.state_size:
        cure = "The state begins with unit_size features of every agent."
        refuse("unit_size", f"at most {spec.state_size} features in all", units, cure)


@contextmanager
def no_randomness_used() -> Iterator[None]:
    """Puts back the random numbers that torch, numpy and Python share in a process."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def generators(spec: Spec, device: torch.device) -> list[Generator]:
    """Fresh ones, of every library that the game says it plays in.

    Args:
        spec: of the game.
        device: where torch draws.
    """
    found: list[Generator] = [torch.Generator(device).manual_seed(0)]
    if spec.in_numpy:
        found.append(np.random.default_rng(0))
    return found


def try_out(game: Game, n_games: int, rng: Generator) -> None:
    """Plays one random episode and looks at everything that comes.

    Args:
        game: what is played.
        n_games: N.
        rng: of torch or numpy.

    Raises:
        InvalidInputError: something is not what the spec promises.
    """
    while True:
        with suppress(EpisodeLost):  # the game has crashed and runs again
            try_episode(game, n_games, rng)
            return


def try_episode(game: Game, n_games: int, rng: Generator) -> None:
    """As `try_out`, once.

    Args:
        game: what is played.
        n_games: N.
        rng: of torch or numpy.
    """
    spec = game.spec
    choices = np.random.default_rng(0)
    state = game.reset(n_games, rng)
    check_state(state, n_games, spec, rng)
    over = np.zeros(n_games, bool)
    seen = look_at(game, state)
    check_seen(seen, over, spec, rng)
    for t in range(min(spec.horizon, STEPS)):
        actions = random_actions(seen.available, choices)
        before = Seen(*(numbers(part).copy() for part in seen))
        step = game.advance(state, in_library(actions, rng), rng)
        check_step(step, n_games, spec, rng)
        if t < COMPARED:
            check_unchanged(game, state, seen, before)
        over = over | numbers(step.terminated) | numbers(step.truncated)
        state = step.state
        seen = look_at(game, state)
        check_seen(seen, over, spec, rng)
        if over.any() and not spec.ends_early and t + 1 < spec.horizon:
            cure = "Set ends_early=True, its default."
            expected = f"episodes of exactly {spec.horizon} steps"
            refuse("ends_early", expected, f"one that ended after {t + 1}", cure)
        if over.all():
            return
    if spec.horizon <= STEPS:
        cure = "Raise horizon, or report the time limit as truncated."
        expected = f"episodes that end after at most {spec.horizon} steps"
        refuse("horizon", expected, "one that goes on", cure)


def look_at(game: Game, state: Any) -> Seen:
    """What a game shows of a state.

    Args:
        game: the rules.
        state: of N games.
    """
    return Seen(game.observe(state), game.global_state(state), game.available(state))


def check_state(state: Any, n_games: int, spec: Spec, rng: Generator) -> None:
    """Refuses a numpy state whose steps could not be looked at as one.

    Args:
        state: as `reset` returned it.
        n_games: N.
        spec: of the game.
        rng: that was passed in.
    """
    if not spec.in_numpy:
        return
    is_tuple = isinstance(state, tuple) and hasattr(state, "_fields")
    kind = kind_of(rng)
    if not is_tuple or not all(
        isinstance(field, kind) and field.shape[:1] == (n_games,) for field in state
    ):
        cure = "Set in_numpy=False, its default, or return such a tuple."
        expected = f"a named tuple of arrays [{n_games}, ...]"
        refuse("state", expected, type(state).__name__, cure)


def check_seen(seen: Seen, over: np.ndarray, spec: Spec, rng: Generator) -> None:
    """Refuses what is shown of a state where it is not what the spec promises.

    Args:
        seen: of N games.
        over: [N] the games that have ended; they need no available action.
        spec: of the game.
        rng: that was passed in.
    """
    n_games = len(over)
    shape = (n_games, spec.n_agents, spec.observation_size)
    check_array("observations", seen.observations, shape, ("float32",), rng)
    check_array("states", seen.states, (n_games, spec.state_size), ("float32",), rng)
    shape = (n_games, spec.n_agents, spec.n_actions)
    check_array("available", seen.available, shape, ("bool",), rng)
    check_storable("observations", numbers(seen.observations), spec)
    check_storable("states", numbers(seen.states), spec)
    idle = ~numbers(seen.available).any(-1) & ~over[:, None]
    if idle.any():
        index, agent = np.argwhere(idle)[0]
        cure = "Give an agent that can do nothing an action that does nothing."
        got = f"none for agent {agent} of game {index}"
        refuse("available", "an action for every agent", got, cure)


def check_step(step: Any, n_games: int, spec: Spec, rng: Generator) -> None:
    """Refuses a step whose rewards, ends or info are not what the spec promises.

    Args:
        step: as `advance` returned it.
        n_games: N.
        spec: of the game.
        rng: that was passed in.
    """
    if not isinstance(step, Step):
        refuse("advance", "a Step", type(step).__name__, "Use ciacore.types.Step.")
    real = ("float32", "float64", "float16", "bfloat16", "int64", "int32")
    check_array("rewards", step.rewards, (n_games,), real, rng)
    if not np.isfinite(numbers(step.rewards)).all():
        cure = "Look at how the game computes them."
        got = numbers(step.rewards).tolist()
        refuse("rewards", "finite numbers", got, cure)
    check_array("terminated", step.terminated, (n_games,), ("bool",), rng)
    check_array("truncated", step.truncated, (n_games,), ("bool",), rng)
    if not isinstance(step.info, dict):
        cure = "Return {} if there is nothing to say."
        refuse("info", "a dictionary", type(step.info).__name__, cure)
    if spec.winnable and "won" not in step.info:
        cure = "Set winnable=False, its default, or say which games are won."
        refuse("info", "an entry 'won'", sorted(step.info), cure)
    if "won" in step.info:
        check_array("won", step.info["won"], (n_games,), ("bool",), rng)


def check_array(
    name: str, array: Any, shape: tuple[int, ...], types: tuple[str, ...], rng: Any
) -> None:
    """Refuses another library, device, shape or type.

    Args:
        name: what the error calls it.
        array: what came.
        shape: that it must have.
        types: that it may have.
        rng: the generator that was passed in; arrays come from its library and device.
    """
    kind = kind_of(rng)
    if not isinstance(array, kind):
        expected = f"a {kind.__module__}.{kind.__name__}"
        cure = "The generator that is passed in decides: torch's gives tensors."
        refuse(name, expected, type(array).__name__, cure)
    found = str(array.dtype).rpartition(".")[-1]
    if tuple(array.shape) != shape or found not in types:
        expected = f"shape {list(shape)} of {types[0]}"
        got = f"{list(array.shape)} of {found}"
        refuse(name, expected, got, f"Correct the spec, or what gives the {name}.")
    if isinstance(array, Tensor) and array.device.type != rng.device.type:
        cure = "Make tensors on the device of the generator."
        refuse(name, f"a tensor on {rng.device}", str(array.device), cure)


def check_storable(name: str, values: np.ndarray, spec: Spec) -> None:
    """Refuses numbers that are not finite, or that `Spec.dtype` cannot hold.

    Args:
        name: what the error calls them.
        values: float32, of any shape.
        spec: of the game.
    """
    if not np.isfinite(values).all():
        got = values[~np.isfinite(values)].tolist()[0]
        refuse(name, "finite numbers", got, "Look at how the game computes them.")
    given = torch.from_numpy(values)
    lost = given.to(spec.dtype).to(torch.float32) != given
    if lost.any():
        cure = "Set dtype=torch.float32 in the spec, its default."
        got = given[lost][0].item()
        refuse(name, f"numbers that {spec.dtype} holds without loss", got, cure)


def check_unchanged(game: Game, state: Any, seen: Seen, before: Seen) -> None:
    """Refuses a game that changes a state, or what it showed of it, while it plays on.

    Args:
        game: the rules.
        state: that was advanced.
        seen: what was shown of it.
        before: a copy of that, made before.
    """
    for again in (seen, look_at(game, state)):
        for name, old, new in zip(Seen._fields, before, again, strict=True):
            if not np.array_equal(old, numbers(new)):
                cure = "Let advance return new arrays instead of writing into old ones."
                refuse(name, "a state that advance leaves alone", "another", cure)


def check_copy(game: Game) -> None:
    """Refuses a game whose copy in another process would be another game.

    A game that cannot be pickled is played in this process alone.

    Args:
        game: what is copied.
    """
    try:
        copied = pickle.loads(pickle.dumps(game))
    except Exception:  # each object has its own way to say that it cannot be pickled
        return
    found = (getattr(copied, "name", None), getattr(copied, "spec", None))
    if found != (game.name, game.spec):
        cure = "Look at its __getstate__, __setstate__ or __reduce__."
        refuse("copy", f"the game {game.name} with its spec", str(found), cure)


def check_episodes(episodes: Episodes) -> None:
    """Refuses episodes in which an agent had no available action.

    `check_game` sees one random episode; this looks at all that are learned from.

    Args:
        episodes: as they were played.
    """
    can_act = episodes.available[:, :-1].any(-1).all(-1)  # [B, T]
    if not bool((can_act | (episodes.weights == 0)).all()):
        cure = "Give an agent that can do nothing an action that does nothing."
        refuse("available", "an action for every agent", "none in an episode", cure)


def random_actions(available: Array, choices: np.random.Generator) -> np.ndarray:
    """An available action for every agent, 0 where there is none.

    Args:
        available: [N, K, A].
        choices: draws them.
    """
    mask = numbers(available)
    return np.where(mask, choices.random(mask.shape), -1.0).argmax(-1)


def kind_of(rng: Generator) -> type:
    """The type of arrays that belongs to a generator."""
    return np.ndarray if isinstance(rng, np.random.Generator) else Tensor


def in_library(array: np.ndarray, rng: Generator) -> Array:
    """An array as the generator's library has it.

    Args:
        array: of numpy.
        rng: of torch or numpy.
    """
    if isinstance(rng, np.random.Generator):
        return array
    return torch.from_numpy(array).to(rng.device)


def numbers(array: Array) -> np.ndarray:
    """A numpy array of the same numbers."""
    if isinstance(array, np.ndarray):
        return array
    return array.detach().cpu().numpy()
