"""The command line: ``python -m melle COMMAND``; the commands are in ``melle.commands``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

import melle
from melle.commands import align, check, export, import_reference, prepare, serve, synthesize, voice
from melle.console import run_command, set_up_console

TEXTS = ("--text", "--prompt-text")  # options whose value may begin with a hyphen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can fix, 130 after Ctrl-C."""
    set_up_console()  # before --help is printed
    options = _parser().parse_args(_with_texts(sys.argv[1:] if arguments is None else arguments))
    return run_command(options.run, options)


def _with_texts(arguments: Sequence[str]) -> list[str]:
    """``--text "-Ouch!"`` as ``--text=-Ouch!``: argparse would take the text for an option."""
    joined: list[str] = []
    for argument in arguments:
        text = argument.startswith("-") and not re.fullmatch(r"-o|--[a-z][a-z-]*(=.*)?", argument, re.DOTALL)
        if text and joined and joined[-1] in TEXTS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="melle", description="Speech from text in the voice of a prompt.")
    parser.add_argument("--version", action="version", version=f"melle-lightning {melle.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (synthesize, voice, serve, prepare, align, check, export, import_reference):
        command.add(commands)
    return parser
