"""Options of a command from the fields of a dataclass, each with its default, type and help in one place."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def add_fields(parser: argparse.ArgumentParser, kind: type) -> None:
    """``--field-name`` for every field of ``kind`` whose metadata has a ``help``."""
    types = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if "help" in field.metadata:
            given = [one for one in get_args(types[field.name]) if one is not type(None)] or [types[field.name]]
            name = f"--{field.name.replace('_', '-')}"
            parser.add_argument(name, type=given[0], default=field.default, help=field.metadata["help"])


def from_fields(kind: type[T], options: argparse.Namespace, **more: Any) -> T:
    """An object of ``kind`` with what the command line says."""
    named = {field.name: getattr(options, field.name) for field in dataclasses.fields(kind) if "help" in field.metadata}
    return kind(**named, **more)
