"""The command line: ``python -m melle COMMAND``; the commands are in ``melle.commands``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import getdoc
from typing import Any

import melle
from melle.console import nearest, run_command, set_up_console
from melle.data.sources import CORPORA
from melle.options import add_fields, from_fields

COMMANDS = {  # by name: the dataclass of its options, in ``melle.commands``, and what it does
    "synthesize": ("synthesize.Synthesize", "speak a text with a trained model"),
    "voice": "save voices by name, list them, remove them",
    "voice add": ("voice.Add", "save a recording as a voice: synthesize --voice NAME"),
    "voice list": ("voice.List", "the voices that were saved, and a model's own"),
    "voice remove": ("voice.Remove", "forget a voice that was saved, and its recording"),
    "serve": ("serve.Serve", "serve speech over HTTP, as OpenAI's API has it, with a web page"),
    "prepare": "write the manifests of a corpus; unpack and download it if need be",
    **{f"prepare {name}": (f"melle.data.sources.{kind}", about) for name, (kind, about) in CORPORA.items()},
    "prepare folder": (
        "folder.Folder",
        "your own recordings: beside their transcripts (NAME.txt or NAME.lab), or listed in a table",
    ),
    "prepare teacher": (
        "teacher.Teacher",
        "speak a corpus with Kokoro-82M: any texts, in its voices and hundreds of blends of them",
    ),
    "prepare predictions": ("predictions.Predictions", "what a model makes of recordings, for its vocoder"),
    "prepare features": ("features.Features", "compute log-mels once, for data.features"),
    "prepare shards": (
        "shards.Shards",
        "pack a manifest's recordings into tar files for data=shar, to train from disks or servers elsewhere",
    ),
    "prepare split": ("split.Split", "split a manifest into one to train on, one to validate on and one to test on"),
    "align": ("align.Align", "add the times of words to a manifest; find transcripts that fit badly"),
    "check": ("check.Check", "find what is wrong with a manifest and its audio; write a clean copy"),
    "export": ("export.Export", "write a folder with the model alone, to hand on or to publish"),
    "import-reference": ("import_reference.Import", "turn a checkpoint of the reference implementation into ours"),
}
TEXTS = ("--text", "--prompt-text")  # options whose value may begin with a hyphen


class CommandParser(argparse.ArgumentParser):
    """Looks its command's options up when it is used, so that no other command's packages are imported."""

    command: str | None = None  # a dataclass in ``melle.commands``, until its options are there
    words: str | None = None  # of a group of commands: those that lead to it, "" for the first

    def complete(self) -> None:
        """Add the options, where they are not there yet."""
        if self.command is not None:
            module, _, name = self.command.rpartition(".")
            where = module if module.startswith("melle.") else f"melle.commands.{module}"
            kind, self.command = getattr(import_module(where), name), None
            if not kind.__doc__.startswith(f"{name}("):  # else what ``dataclass`` wrote in place of a docstring
                self.description = getdoc(kind)
            add_fields(self, kind)
            self.set_defaults(kind=kind)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.complete()
        arguments = self.with_texts(sys.argv[1:] if args is None else args)
        if self.words is not None:
            self.check_command(arguments)
            return super().parse_known_args(arguments, namespace)
        self.check_options(arguments)
        found, unknown = super().parse_known_args(arguments, namespace)
        if unknown:  # or the parser of all commands would say so, with its own usage
            self.error(f"{' '.join(unknown)}: no such option; --help lists those that there are")
        return found, unknown

    def check_command(self, arguments: Sequence[str]) -> None:
        """Exit with the nearest command's name where the first argument is none of this group's."""
        name = next(iter(arguments), "-")
        own = [words.rpartition(" ")[2] for words in COMMANDS if words.rpartition(" ")[0] == self.words]
        if name in own or name.startswith("-"):
            return
        meant = nearest(name, own)
        elsewhere = [words for words in COMMANDS if words.rpartition(" ")[2] == name]
        hint = f"{self.words} {meant}".strip() if meant else next(iter(elsewhere), None)
        hint = f"did you mean {hint}? There are" if hint else "there are"
        self.error(f"{name}: no such command; {hint} {', '.join(own)}")

    def check_options(self, arguments: Sequence[str]) -> None:
        """Exit with the nearest option's name where one is mistyped: argparse says first what else is missing."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        for argument in arguments:
            name = argument.partition("=")[0]
            if argument == "--":
                return
            if name.startswith("--") and " " not in name and not any(option.startswith(name) for option in known):
                meant = nearest(name, known)
                hint = f"did you mean {meant}?" if meant else "--help lists those that there are"
                self.error(f"{name}: no such option; {hint}")

    def with_texts(self, arguments: Sequence[str]) -> list[str]:
        """``--text "-Ouch!"`` as ``--text=-Ouch!``: argparse would take the text for an option, as its own are."""
        joined: list[str] = []
        for argument in arguments:
            name, given, _ = argument.partition("=")
            known = self._option_string_actions
            is_option = argument in known or (bool(given) and name in known and name.startswith("--"))
            if joined and joined[-1] in TEXTS and joined[-1] in known and argument.startswith("-") and not is_option:
                joined[-1] += f"={argument}"
            else:
                joined.append(argument)
        return joined


def make_parser(complete: bool = False) -> argparse.ArgumentParser:
    """The parser of all commands; ``complete``: with all of their options, for whoever lists them."""
    parser = CommandParser(prog="melle", description="Speech from text in the voice of a prompt.")
    parser.add_argument("--version", action="version", version=f"melle-lightning {melle.__version__}")
    parser.words = ""
    places = {"": parser.add_subparsers(required=True, metavar="command")}
    for words, about in COMMANDS.items():
        group, _, name = words.rpartition(" ")
        if isinstance(about, str):
            inner = places[group].add_parser(name, help=about)
            inner.words = words
            places[words] = inner.add_subparsers(required=True, metavar="command")
            continue
        command = places[group].add_parser(name, help=about[1], description=f"{about[1][0].upper()}{about[1][1:]}.")
        command.command = about[0]
        if complete:
            command.complete()
    return parser


def read_command(arguments: Sequence[str]) -> Any:
    """The command, a dataclass of ``melle.commands``, that a command line means."""
    options = make_parser().parse_args(arguments)
    return from_fields(options.kind, options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 after an error that the user can fix, 130 after Ctrl-C."""
    set_up_console()  # before --help is printed
    return run_command(lambda: read_command(sys.argv[1:] if arguments is None else list(arguments)).run())
