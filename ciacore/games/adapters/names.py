"""The names of adapted environments: what they are made from, in a folder's name."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ciacore.types import refuse

PATTERN = "(pettingzoo|gymnasium)([:+])(.*)"
FORM = 'Write e.g. "pettingzoo:mpe2.simple_spread_v3".'


class Name(NamedTuple):
    """What an environment is made from."""

    kind: str  # pettingzoo or gymnasium
    place: str  # what stands after the kind: a module, or a package and an id
    arguments: dict[str, Any]  # of the game and of the environment


def is_adapted(name: object) -> bool:
    """Whether a name is that of an adapted environment."""
    return isinstance(name, str) and re.fullmatch(PATTERN, name, re.DOTALL) is not None


def parse(name: str) -> Name:
    """Reads `pettingzoo:<module>`, `gymnasium:<package>:<id>`, or a run's name.

    A run's name is `<kind>+<place>+<argument>=<value>...`, as `format_name` writes it.

    Args:
        name: as a user, a study or a run writes it.

    Raises:
        InvalidInputError: nothing follows the kind.
    """
    kind, sign, rest = re.fullmatch(PATTERN, name, re.DOTALL).groups()
    if sign == ":":
        return checked(Name(kind, rest, {}))
    place, *given = rest.split("+")
    arguments = {}
    for item in given:
        key, _, value = item.partition("=")
        arguments[unquote(key)] = parsed(unquote(value))
    return checked(Name(kind, unquote(place), arguments))


def checked(name: Name) -> Name:
    """The same name, if it names an environment.

    Raises:
        InvalidInputError: nothing follows the kind.
    """
    if not name.place:
        refuse("game", "an environment after the kind", name.kind, FORM)
    return name


def format_name(name: Name) -> str:
    """A name that a folder can have, and that `parse` reads again.

    Args:
        name: what the environment is made from.

    Raises:
        InvalidInputError: an argument that no text stands for.
    """
    parts = [name.kind, quote(name.place, safe="")]
    for key in sorted(name.arguments):
        value = written(key, name.arguments[key])
        parts.append(f"{quote(key, safe='')}={quote(value, safe='')}")
    return "+".join(parts)


def written(key: str, value: Any) -> str:
    """An argument as text: a plain word as it is, everything else as JSON.

    Args:
        key: its name.
        value: its value.
    """
    if isinstance(value, str) and parsed(value) == value:
        return value
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        cure = "Make an EnvironmentGame with a name of its own."
        refuse(key, "numbers, words, True, False, or lists of them", value, cure)


def parsed(text: str) -> Any:
    """The value that `written` wrote."""
    try:
        return json.loads(text)
    except ValueError:
        return text
