"""The command line: ``python -m melle COMMAND``; the commands are in ``melle.commands``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from melle.commands import align, check, export, import_reference, prepare, synthesize
from melle.console import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can mend, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    return run_command(options.run, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="melle", description="Speech from text in the voice of a prompt.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (synthesize, prepare, align, check, export, import_reference):
        command.add(commands)
    return parser
