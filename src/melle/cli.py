"""The command line: ``python -m melle COMMAND``; the commands are in ``melle.commands``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import melle
from melle.commands import align, check, export, import_reference, prepare, serve, synthesize, voice
from melle.console import run_command, set_up_console

TEXTS = ("--text", "--prompt-text")  # options whose value may begin with a hyphen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can fix, 130 after Ctrl-C."""
    set_up_console()  # before --help is printed
    parser = _parser()
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(_with_texts(given, _options_of(parser)))
    return run_command(options.run, options)


def _with_texts(arguments: Sequence[str], options: AbstractSet[str]) -> list[str]:
    """``--text "-Ouch!"`` as ``--text=-Ouch!``: argparse would take the text for an option, as ``options`` are."""
    joined: list[str] = []
    for argument in arguments:
        name, given, _ = argument.partition("=")
        is_option = argument in options or (bool(given) and name in options and name.startswith("--"))
        if joined and joined[-1] in TEXTS and argument.startswith("-") and not is_option:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The names of all options of a parser and of its commands."""
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(_options_of, action.choices.values()))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="melle", description="Speech from text in the voice of a prompt.")
    parser.add_argument("--version", action="version", version=f"melle-lightning {melle.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (synthesize, voice, serve, prepare, align, check, export, import_reference):
        command.add(commands)
    return parser
