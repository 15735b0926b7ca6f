"""The parameters cell of a notebook, checked before anything else happens.

papermill only warns when it is given a name the notebook does not know, and then runs
with the defaults. So a cell of every notebook declares its parameters with types, and
the next one calls `check_parameters(globals())`. Modules and functions that were
imported before are no parameters.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ciacore.config import Config, cure_of_number, known_name
from ciacore.methods import METHODS
from ciacore.types import refuse


def check_parameters(namespace: dict[str, Any]) -> None:
    """Refuses a variable that was not declared, and a value of another type.

    Args:
        namespace: `globals()` of the notebook, right after its parameters cell.

    Raises:
        InvalidInputError: naming the parameter, what was expected, what came, and the
            cure.
    """
    annotations = dict(namespace.get("__annotations__", {}))
    declared = namespace.setdefault("_declared", annotations)
    # when the cell is run again, later cells have left names of their own
    if "_known" not in namespace:
        for name in undeclared(namespace, declared):
            known_name(name, declared, "parameters")
    namespace["_known"] = True
    for name, kind in declared.items():
        check_type(name, kind, namespace[name])


def methods_beside(beside: list, env_steps: int) -> dict[Config, list[int]]:
    """The methods that a notebook trains beside its first one, with their seeds.

    Args:
        beside: what each differs in from one of METHODS, and its seeds:
            `{"method": "qmix", "seeds": [1, 2], "overrides": {}}`.
        env_steps: of all of them.

    Raises:
        InvalidInputError: an entry of another form, an unknown name, or the same method
            twice.
    """
    found: dict[Config, list[int]] = {}
    for one in beside:
        if not isinstance(one, dict) or set(one) != {"method", "seeds", "overrides"}:
            cure = 'Write e.g. [{"method": "qmix", "seeds": [1], "overrides": {}}].'
            refuse("beside", "methods with their seeds and overrides", one, cure)
        start = METHODS[known_name(one["method"], METHODS, "beside")]
        config = start.but(**{"env_steps": env_steps, **one["overrides"]})
        if config in found:
            cure = "Name every method once."
            refuse("beside", "different methods", config.method, cure)
        found[config] = one["seeds"]
    return found


def undeclared(namespace: dict[str, Any], declared: dict[str, type]) -> list[str]:
    """Variables that are no declared parameters, modules, functions or IPython's own.

    Args:
        namespace: `globals()` of the notebook.
        declared: parameter -> type.
    """
    own = {"check_parameters"}
    if "get_ipython" in namespace:
        own.update(getattr(namespace["get_ipython"](), "user_ns_hidden", ()))
    found = []
    for name, value in namespace.items():
        if name.startswith("_") or name in own or name in declared:
            continue
        if not isinstance(value, ModuleType) and not callable(value):
            found.append(name)
    return found


def check_type(name: str, kind: type, value: Any) -> None:
    """Refuses a value that is not of the declared type.

    A whole number passes as a float, True never as a number.

    Args:
        name: of the parameter.
        kind: its declared type.
        value: what came.

    Raises:
        InvalidInputError: it is of another type.
    """
    accepted = (int, float) if kind is float else kind
    is_flag = isinstance(value, bool) and kind is not bool
    if is_flag or not isinstance(value, accepted):
        cure = cure_of(name, kind, value)
        refuse(name, f"a value of type {kind.__name__}", value, cure)


def cure_of(name: str, kind: type, value: Any) -> str:
    """How to give a parameter a value of its type.

    papermill's -p makes a number or a boolean of what looks like one, -r passes text,
    and -y takes YAML.

    Args:
        name: of the parameter.
        kind: its declared type.
        value: what came.
    """
    if kind is str:
        return f"Pass it as text, papermill -r {name} {value}, or in quotes."
    if kind in (int, float):
        return cure_of_number(kind, value)
    examples = {list: "[1, 2]", dict: "{key: value}", bool: "true"}
    if kind is list and isinstance(value, int | float):
        examples[list] = f"[{value}]"
    if isinstance(value, str) and value[:1] in ("[", "{"):
        examples[kind] = value
    written = examples.get(kind, "a value")
    return f'Use papermill -y "{name}: {written}", or write it in the notebook.'
