"""For mkdocstrings: comments beside fields are their documentation, and <EOS> in a docstring is no HTML."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from typing import Any

from griffe import Attribute, Docstring, Extension, Object


class FieldComments(Extension):
    """Reads ``text: Tensor  # (B, S) token ids`` and fields made by ``option(default, text)``."""

    def on_attribute_instance(self, *, node: Any, attr: Attribute, **_: Any) -> None:
        if attr.docstring is not None or attr.name.startswith("_") or not isinstance(node, ast.AnnAssign):
            return
        line = attr.lines_collection[attr.filepath][(attr.endlineno or attr.lineno) - 1]
        said = line.partition("  # ")[2]
        if isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "option":
            known = getattr(import_module(attr.module.path), attr.parent.name).__dataclass_fields__
            said = known[attr.name].metadata["help"]
        if said:
            attr.docstring = Docstring(said[:1].upper() + said[1:] + ".", parent=attr)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = tags_escaped(obj.docstring.value)


def tags_escaped(text: str) -> str:
    """The text with <EOS> and its like as they stand, but for code between backticks, in which they do anyway."""
    parts = re.split(r"(``?[^`]+``?)", text)
    return "".join(part if n % 2 else re.sub(r"<(/?\w+)>", r"&lt;\1&gt;", part) for n, part in enumerate(parts))
