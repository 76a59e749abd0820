"""Options of a command line from the fields of dataclasses: type, default and help of each stand in one place."""

from __future__ import annotations

import argparse
import dataclasses
import types
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def option(default: Any, help: str, *names: str, **how: Any) -> Any:
    """A field that is an option, ``--field-name``.

    Args:
        default: ... where a value is needed.
        names: further ones, such as "-o"; "--NAME" takes the place of the field's own, and "NAME" makes it a place of
            the command line.
        how: arguments of ``ArgumentParser.add_argument``; ``one_of``: of the options of this group one is to be given.
    """
    given = {"kw_only": True} if default is ... else {"default": default}
    return dataclasses.field(**given, metadata={"help": help, "names": names, **how})


def options_of(kind: type, heading: str | None = None, prefix: str = "", given_only: bool = False) -> Any:
    """A field that is a dataclass, whose options stand under a heading of their own and begin with ``prefix``.

    ``given_only``: the field is a dictionary of what the command line says, and no such object is made.
    """
    how = {"kind": kind, "heading": heading, "prefix": prefix, "given_only": given_only}
    return dataclasses.field(default_factory=dict if given_only else kind, metadata=how)


def add_fields(parser: Any, kind: type, prefix: str = "", given_only: bool = False) -> None:
    """Give a parser (or a group of it) an option for every field of ``kind`` that ``option`` or ``options_of`` made.

    A field of true or false is a flag; of one that may be None, too, there is the opposite. A sequence takes several
    values, a ``Literal`` one of its own. Where the help says nothing of the default, it is added.
    """
    hints, groups = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        if "kind" in field.metadata:
            inner, heading, *how = (field.metadata[name] for name in ("kind", "heading", "prefix", "given_only"))
            add_fields(parser if heading is None else parser.add_argument_group(heading), inner, *how)
        if "help" not in field.metadata:
            continue
        how = _kind(hints[field.name]) | field.metadata
        names, one_of = how.pop("names"), how.pop("one_of", None)
        if field.default is not dataclasses.MISSING:
            how["default"] = None if given_only else field.default
            plain = field.default is None or field.default is False or field.default == ()
            if not plain and "default" not in how["help"]:
                how["help"] += f" (default: {field.default})"
        how["help"] = how["help"].replace("%", "%%")  # which argparse would read as a format
        dest = (prefix + field.name).replace("-", "_")
        if names and names[0].isupper():  # a place of the command line
            names, how["metavar"] = (dest,), names[0]
        else:
            how |= {"dest": dest, "required": field.default is dataclasses.MISSING}
            names = names if any(name.startswith("--") for name in names) else (*names, f"--{dest.replace('_', '-')}")
        if one_of is not None and one_of not in groups:
            groups[one_of] = parser.add_mutually_exclusive_group(required=True)
        groups.get(one_of, parser).add_argument(*names, **how)


def from_fields(kind: type[T], options: argparse.Namespace) -> T:
    """An object of ``kind`` with what the command line says."""
    return kind(**_values(kind, options, ""))


def _values(kind: type, options: argparse.Namespace, prefix: str) -> dict[str, Any]:
    values = {}
    for field in dataclasses.fields(kind):
        if "kind" in field.metadata:
            inner = field.metadata["kind"]
            found = _values(inner, options, field.metadata["prefix"])
            given = {name: value for name, value in found.items() if value is not None}
            values[field.name] = given if field.metadata["given_only"] else inner(**found)
        elif "help" in field.metadata:
            value = getattr(options, (prefix + field.name).replace("-", "_"))
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return values


def _kind(hint: Any) -> dict[str, Any]:
    """Arguments of ``add_argument`` for a field of this type."""
    inner = [one for one in get_args(hint) if one is not types.NoneType]
    if get_origin(hint) in (Union, types.UnionType):
        return {"action": argparse.BooleanOptionalAction} if inner == [bool] else _kind(inner[-1])
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is Literal:
        return {"choices": inner, "type": type(inner[0])}
    if get_origin(hint) in (list, tuple, Sequence):
        return {"nargs": "+", **_kind(inner[0])}
    return {"type": hint}
