"""The page reference/commands.md: what ``python -m melle`` takes, from its parsers."""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))


def on_files(files: Any, config: Any) -> Any:
    """Add the page."""
    from mkdocs.structure.files import File

    from melle.cli import make_parser

    files.append(File.generated(config, "reference/commands.md", content=page(make_parser(complete=True))))
    return files


def page(parser: argparse.ArgumentParser) -> str:
    """Markdown of all commands, one section each."""
    text = """# The command line

After installation `melle COMMAND` and `python -m melle COMMAND` are the same. `train.py` and `evaluate.py` take keys
and groups of the [configuration](configuration/index.md) instead. The exit status is 0, 2 after an error that the user
can fix, and 130 after Ctrl-C.
"""
    return text + "\n".join(section(name, command, help) for name, command, help in commands(parser, ""))


def commands(parser: argparse.ArgumentParser, name: str) -> list[tuple[str, argparse.ArgumentParser, str]]:
    """Commands that have no commands of their own, with their names and what their help says."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help for choice in action._choices_actions}
            for word, inner in action.choices.items():
                below = commands(inner, f"{name} {word}")
                found += below or [(f"{name} {word}".strip(), inner, helps.get(word) or "")]
    return found


def section(name: str, parser: argparse.ArgumentParser, help: str) -> str:
    lines = ["", f"## melle {name}", "", escape(help[:1].upper() + help[1:]).rstrip(".") + ".", ""]
    lines += ["| option | | default |", "|---|---|---|"]
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            lines.append(f"| {option(action)} | {escape(expand(action, parser))} | {default(action)} |")
    return "\n".join(lines) + "\n"


def option(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    takes = "" if action.nargs == 0 else f" {metavar(action)}"
    needed = " (needed)" if action.required else ""
    return ", ".join(f"`{name}{takes}`" for name in action.option_strings).replace("|", "\\|") + needed


def metavar(action: argparse.Action) -> str:
    if action.choices is not None and action.metavar is None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper().replace("_", "-"))


def expand(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    help = action.help or ""
    return help % {**vars(action), "prog": parser.prog} if "%(" in help else help.replace("%%", "%")


def default(action: argparse.Action) -> str:
    if action.default in (None, argparse.SUPPRESS, False, ()) or action.required:
        return ""
    return f"`{action.default}`".replace("|", "\\|")


def escape(text: str) -> str:
    return re.sub(r"([*|\[\]])", r"\\\1", html.escape(text, quote=False))
