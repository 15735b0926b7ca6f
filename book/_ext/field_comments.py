"""Two conventions of ciacore that Sphinx does not know, made visible on the API page.

A NamedTuple or dataclass documents each field by the comment on its line: the fields
become a list under the class, in place of the signature and the members that would
repeat them. A game's card ends with a heading "References", which napoleon would tear
out of the card.
"""

import inspect
import re
from dataclasses import is_dataclass

from sphinx.util.rst import escape

# name: kind = default  # comment
FIELD = re.compile(r"^    ([a-z]\w*): (.*?)(?: = (.*?))?(?:  # (.*))?$", re.M)


def keep_card_whole(app, what, name, obj, options, lines):
    """Hides the heading from napoleon, which runs later, behind a space that reST does not print."""
    lines[:] = [r"References\ :" if line == "References:" else line for line in lines]


def is_record(what, obj):
    return what in ("class", "exception") and (
        is_dataclass(obj) or hasattr(obj, "_fields")
    )


def list_fields(app, what, name, obj, options, lines):
    """Appends one list item per field of a record: name, type, default, comment."""
    if not is_record(what, obj):
        return
    lines.append("")
    for field, kind, default, comment in FIELD.findall(inspect.getsource(obj)):
        value = f" = ``{default}``" if default else ""
        meaning = f": {escape(comment)}" if comment else ""
        lines.append(f"- **{field}** ``{kind}``{value}{meaning}")
    lines.append("")


def drop_signature(app, what, name, obj, options, signature, return_annotation):
    """A record is described by its fields alone."""
    return ("", "") if is_record(what, obj) else None


def skip_plain_fields(app, what, name, obj, skip, options):
    """The fields of a NamedTuple are in the list already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.connect("autodoc-process-docstring", keep_card_whole, priority=400)
    app.connect("autodoc-process-docstring", list_fields)
    app.connect("autodoc-process-signature", drop_signature)
    app.connect("autodoc-skip-member", skip_plain_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
