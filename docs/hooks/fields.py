"""For mkdocstrings: what a comment beside a field says is the field's documentation."""

from __future__ import annotations

import ast
from typing import Any

from griffe import Attribute, Docstring, Extension


class FieldComments(Extension):
    """Reads ``text: Tensor  # (B, S) token ids`` and ``DecodingOptions``'s ``_option(default, text)``."""

    def on_attribute_instance(self, *, node: Any, attr: Attribute, **_: Any) -> None:
        if attr.docstring is not None or attr.name.startswith("_") or not isinstance(node, ast.AnnAssign):
            return
        line = attr.lines_collection[attr.filepath][(attr.endlineno or attr.lineno) - 1]
        said = line.partition("  # ")[2]
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "_option":
            said = ast.literal_eval(node.value.args[-1])
        if said:
            attr.docstring = Docstring(said[:1].upper() + said[1:] + ".", parent=attr)
