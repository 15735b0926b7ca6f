"""The parameters cell of a notebook, checked before anything else happens.

papermill only warns when it is given a name the notebook does not know, and then runs
with the defaults. So a cell of every notebook declares its parameters with types, and
the next one calls `check_parameters(globals())`. Modules and functions that were
imported before are no parameters.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ciacore.config import known_name
from ciacore.types import refuse


def check_parameters(namespace: dict[str, Any]) -> None:
    """Refuses a variable that the parameters cell did not declare, and a value of another type than declared.

    Args:
        namespace: `globals()` of the notebook, right after its parameters cell.

    Raises:
        InvalidInputError: naming the parameter, what was expected, what came, and the
            cure.
    """
    declared = namespace.setdefault(
        "_declared", dict(namespace.get("__annotations__", {}))
    )
    # when the cell is run again, later cells have left names of their own
    if "_known" not in namespace:
        shell = namespace["get_ipython"]() if "get_ipython" in namespace else None
        own = set(getattr(shell, "user_ns_hidden", ())) | {"check_parameters"}
        for name, value in namespace.items():
            brought = isinstance(value, ModuleType) or callable(value)
            if (
                not name.startswith("_")
                and name not in own
                and name not in declared
                and not brought
            ):
                known_name(name, declared, "parameters")
    namespace["_known"] = True
    for name, kind in declared.items():
        check_type(name, kind, namespace[name])


def check_type(name: str, kind: type, value: Any) -> None:
    """Refuses a value that is not of the declared type; a whole number passes as a float, True never as a number."""
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (
        isinstance(value, bool) and kind is not bool
    ):
        refuse(
            name,
            f"a value of type {kind.__name__}",
            value,
            "Lists and booleans need papermill -y or -f, not -p.",
        )
