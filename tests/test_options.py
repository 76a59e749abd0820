"""Options of a command line are the fields of dataclasses."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from melle.options import add_fields, from_fields, option, options_of


@dataclass(frozen=True)
class Inner:
    rate: int = option(16000, "samples per second")
    high: float | None = option(None, "Hz")
    kept: str = "no option"


@dataclass
class Outer:
    place: Path = option(..., "where", "PLACE")
    kind: Literal[1, 2] = option(1, "which")
    names: Sequence[str] = option((), "of what")
    fast: bool = option(False, "a flag")
    clean: bool | None = option(None, "or not")
    inner: Inner = options_of(Inner)
    other: dict[str, Any] = options_of(Inner, "the other", "other-", given_only=True)
    long_name: str = option("x", "100 % of it", "-l")
    seconds: float = option(0, "how long", "--timeout")
    a: str | None = option(None, "one", one_of="letter")
    b: str | None = option(None, "two", one_of="letter")


def parse(*arguments: str) -> Outer:
    parser = argparse.ArgumentParser(prog="it")
    add_fields(parser, Outer)
    return from_fields(Outer, parser.parse_args(arguments))


def test_what_is_not_given_has_the_default_of_the_field():
    assert parse("there", "--a", "1") == Outer(place=Path("there"), a="1")


def test_every_kind_of_field():
    line = "there --kind 2 --names p q --fast --no-clean --rate 8000 --other-high 4 -l y --timeout 1.5 --b 2"
    found = parse(*line.split())
    assert found == Outer(
        place=Path("there"),
        kind=2,
        names=("p", "q"),
        fast=True,
        clean=False,
        inner=Inner(8000),
        other={"high": 4.0},
        long_name="y",
        seconds=1.5,
        b="2",
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--a 1", "required: PLACE"),
        ("there", "--a --b is required"),
        ("there --a 1 --b 2", "not allowed with"),
        ("there --a 1 --kind 3", "invalid choice: 3"),
        ("there --a 1 --rate fast", "invalid int value: 'fast'"),
        ("there --a 1 --seconds 2", "unrecognized arguments: --seconds 2"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(capsys, line, says):
    with pytest.raises(SystemExit, match="2"):
        parse(*line.split())
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_the_help_has_defaults_and_headings(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse("--help")
    said = " ".join(capsys.readouterr().out.split())
    for part in ("which (default: 1)", "100 % of it (default: x)", "how long (default: 0)", "the other:"):
        assert part in said
    assert "a flag (" not in said and "--kept" not in said and "--other-rate" in said
