"""Two conventions of ciacore that Sphinx does not know, made visible on the API page.

A NamedTuple or dataclass documents each field by a comment, on the field's line or
directly above it. The fields become a list under the class, in place of the signature
and the members that would repeat them. A game's card ends with a heading "References",
which napoleon would tear out of the card.

The functions below `Field` and `fields_of` take the arguments of Sphinx's events.
"""

import ast
import inspect
import io
import textwrap
import tokenize
from dataclasses import is_dataclass
from typing import NamedTuple

from sphinx.util.rst import escape


class Field(NamedTuple):
    """One field of a record, as its source writes it."""

    name: str
    kind: str  # the annotation
    default: str  # empty where there is none
    comment: str  # empty where there is none


def fields_of(source: str) -> list[Field]:
    """The public fields of a class, in order, from its source.

    A field's comment is what stands in `#` lines directly above it, and then what
    follows it on its own lines. Annotation and default may span lines.
    """
    source = textwrap.dedent(source)
    beside, above = comments_of(source)
    fields = []
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign) or node.target.id.startswith("_"):
            continue
        first = node.lineno
        while first - 1 in above:
            first -= 1
        comments = [above[line] for line in range(first, node.lineno)]
        for line in range(node.lineno, node.end_lineno + 1):
            comments.append(beside.get(line, above.get(line, "")))
        comment = " ".join(filter(None, comments))
        kind, default = written(source, node.annotation), written(source, node.value)
        fields.append(Field(node.target.id, kind, default, comment))
    return fields


def comments_of(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Line -> comment, for those that follow code and for those with their own line."""
    beside, above = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            before = token.line[:column]
            place = beside if before.strip() else above
            place[line] = token.string.lstrip("#").strip()
    return beside, above


def written(source: str, node: ast.expr | None) -> str:
    """An expression as its source writes it, on one line; empty for None."""
    if node is None:
        return ""
    text = ast.get_source_segment(source, node)
    return ast.unparse(node) if "\n" in text else text


def keep_card_whole(app, what, name, obj, options, lines):
    """Hides the heading from napoleon, which runs later.

    reST does not print the space that hides it.
    """
    lines[:] = [r"References\ :" if line == "References:" else line for line in lines]


def is_record(what, obj):
    """Whether Sphinx documents a NamedTuple or a dataclass."""
    return what in ("class", "exception") and (
        is_dataclass(obj) or hasattr(obj, "_fields")
    )


def list_fields(app, what, name, obj, options, lines):
    """Appends one list item per field of a record: name, type, default, comment."""
    if not is_record(what, obj):
        return
    lines.append("")
    for field in fields_of(inspect.getsource(obj)):
        value = f" = ``{field.default}``" if field.default else ""
        meaning = f": {escape(field.comment)}" if field.comment else ""
        lines.append(f"- **{field.name}** ``{field.kind}``{value}{meaning}")
    lines.append("")


def drop_signature(app, what, name, obj, options, signature, return_annotation):
    """A record is described by its fields alone."""
    return ("", "") if is_record(what, obj) else None


def skip_plain_fields(app, what, name, obj, skip, options):
    """The fields of a NamedTuple are in the list already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", keep_card_whole, priority=400)
    app.connect("autodoc-process-docstring", list_fields)
    app.connect("autodoc-process-signature", drop_signature)
    app.connect("autodoc-skip-member", skip_plain_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
