"""From a name to an environment: imported, made, and turned to one step for all."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

from ciacore.types import InvalidInputError, refuse


class Maker(NamedTuple):
    """Makes an environment from its name; any process can."""

    kind: str  # pettingzoo or gymnasium
    place: str
    arguments: dict[str, Any]  # of the environment

    def __call__(self) -> Any:
        """A fresh environment.

        Raises:
            InvalidInputError: nothing of this name, or other arguments.
        """
        make = {"pettingzoo": from_pettingzoo, "gymnasium": from_gymnasium}[self.kind]
        try:
            return make(self.place, self.arguments)
        except InvalidInputError:
            raise
        except TypeError as error:
            cure = "Its documentation names the arguments."
            got = f"{self.arguments} ({error})"
            refuse("game", f"arguments that {self.place} knows", got, cure)


def from_pettingzoo(place: str, arguments: dict[str, Any]) -> Any:
    """A parallel environment, or one that takes turns.

    Args:
        place: `<module>` with a function `parallel_env` or `env`, or
            `<module>:<function>`.
        arguments: of the function.

    Raises:
        InvalidInputError: no such module or function.
    """
    name, _, function = place.partition(":")
    module = imported(name)
    known = [function] if function else ["parallel_env", "env"]
    for candidate in known:
        if callable(getattr(module, candidate, None)):
            return getattr(module, candidate)(**arguments)
    cure = "Name the function: pettingzoo:<module>:<function>."
    refuse("game", f"a function {' or '.join(known)} in {name}", "none", cure)


def from_gymnasium(place: str, arguments: dict[str, Any]) -> Any:
    """An environment that Gymnasium has registered.

    Args:
        place: `<package>:<id>`; importing the package registers the id.
        arguments: of the environment.

    Raises:
        InvalidInputError: no such package or id.
    """
    import gymnasium

    package, sign, identifier = place.partition(":")
    if sign:
        imported(package)
    else:
        identifier = package
    try:
        return gymnasium.make(identifier, disable_env_checker=True, **arguments)
    except gymnasium.error.UnregisteredEnv as error:
        cure = "Name the package that registers it: gymnasium:<package>:<id>."
        refuse("game", "an id that Gymnasium knows", f"{identifier} ({error})", cure)


def imported(name: str) -> Any:
    """A module.

    Args:
        name: of the module, with dots.

    Raises:
        InvalidInputError: there is none, or importing it fails.
    """
    try:
        with warnings.catch_warnings():  # they are for its authors
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        cure = f"Install it: pip install {package}, or correct the name."
        refuse("game", f"the module {name}", str(error), cure)


def parallel(env: Any) -> Any:
    """An environment in which all agents act at once, whatever it was.

    Args:
        env: PettingZoo's, parallel or taking turns, or Gymnasium's.

    Raises:
        InvalidInputError: something else.
    """
    import gymnasium
    from pettingzoo import AECEnv
    from pettingzoo.utils.conversions import (
        aec_to_parallel,
        turn_based_aec_to_parallel,
    )

    if isinstance(env, gymnasium.Env):
        from ciacore.games.adapters.joint import Joint

        return Joint(env)
    if isinstance(env, AECEnv):
        if env.metadata.get("is_parallelizable"):
            return aec_to_parallel(env)
        return turn_based_aec_to_parallel(env)
    if callable(getattr(env, "reset", None)) and callable(getattr(env, "step", None)):
        return env
    cure = "Return a ParallelEnv, an AECEnv or a gymnasium.Env."
    refuse("environment", "an environment", type(env).__name__, cure)


def takes_turns(env: Any) -> bool:
    """Whether only one agent at a time acts in a converted environment."""
    from pettingzoo.utils.conversions import turn_based_aec_to_parallel_wrapper

    return isinstance(env, turn_based_aec_to_parallel_wrapper)
