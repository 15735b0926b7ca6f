"""The comments on fields of NamedTuples and dataclasses, as the API page reads them."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from ciacore.config import Config
from ciacore.types import Episodes, Spec

EXTENSIONS = Path(__file__).resolve().parents[1] / "book" / "_ext"
SOURCE = '''
@dataclass(frozen=True)
class Record:
    """A record. Its docstring is not read, even where it says so: # or

    wrong: int = 1  # not a field
    """

    # A heading, which a blank line parts from the field.

    batch: Annotated[int, "above 0"] = 32  # episodes per update
    # games played at once per seed;
    # more than one acts with older parameters
    n_games: Positive = 1
    mark: str = "# no comment"  # a string may hold a hash
    # what is regressed
    objective: Literal[
        "td",
        "qtran",  # Son et al.
    ] = "td"  # on which target
    sizes: tuple[int, ...] = (
        64,
        32,
    )
    bare: Float[Tensor, "B T"]
    _own: int = 0  # private

    def method(self) -> None:
        local: int = 1  # not a field
'''


@pytest.fixture(scope="module")
def extension():
    """book/_ext/field_comments.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXTENSIONS))
        yield importlib.import_module("field_comments")


def test_fields_by_hand(extension):
    """Comments beside, above and inside a field; annotation and default over lines."""
    above = "games played at once per seed; more than one acts with older parameters"
    assert extension.fields_of(SOURCE) == [
        ("batch", 'Annotated[int, "above 0"]', "32", "episodes per update"),
        ("n_games", "Positive", "1", above),
        ("mark", "str", '"# no comment"', "a string may hold a hash"),
        (
            "objective",
            "Literal['td', 'qtran']",
            '"td"',
            "what is regressed Son et al. on which target",
        ),
        ("sizes", "tuple[int, ...]", "(64, 32)", ""),
        ("bare", 'Float[Tensor, "B T"]', "", ""),
    ]


def test_a_class_inside_a_function_is_read_too(extension):
    class Inner:
        # above
        field: int = 0

    source = inspect.getsource(Inner)
    assert extension.fields_of(source) == [("field", "int", "0", "above")]


@pytest.mark.parametrize("record", [Episodes, Spec])
def test_every_field_of_the_shared_records_has_its_comment(extension, record):
    found = extension.fields_of(inspect.getsource(record))
    assert [field.name for field in found] == list(record._fields)
    assert all(field.comment for field in found)


def test_every_field_of_config_is_found(extension):
    found = extension.fields_of(inspect.getsource(Config))
    assert [field.name for field in found] == [field.name for field in fields(Config)]
    assert all(field.default for field in found)
    comments = {field.name: field.comment for field in found}
    assert comments["batch"] == "episodes per update"
    assert "older parameters" in comments["n_games"]
