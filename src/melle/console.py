"""What all entry points share: the console's encoding, one line for a traceback, commands to paste, "did you mean"."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from melle.errors import UserError

SIMILAR = 0.6  # how alike two names must be, by difflib, for one to be suggested for the other


def set_up_console() -> None:
    """Let stdout and stderr replace what their encoding lacks (cp437, ASCII) by an escape, rather than raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run_command(function: Callable[..., Any], *arguments: Any) -> int:
    """Call ``function``; the exit status is 0, 2 after an error that the user can fix, 130 after Ctrl-C."""
    set_up_console()
    try:
        function(*arguments)
        if hasattr(sys.stdout, "flush"):  # not where there is no console
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (Python flushes it at its end)
        return 141  # as a shell says it
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # as a shell says it
    return 0


def note(text: str) -> None:
    """Say on stderr what is going on, where someone is looking: not in logs and pipes."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(text, file=sys.stderr)


def shell_command(*parts: str | Path) -> str:
    """One line that a shell reads as these arguments."""
    return shlex.join(str(part) for part in parts)


def nearest(name: str, known: Iterable[str], similar: float = SIMILAR) -> str | None:
    """The one of ``known`` that a mistyped name probably means; None: none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, similar)), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The words `` (did you mean anna?)`` for a mistyped name, in any case; "" where none of ``known`` is like it."""
    folded = {other.casefold(): other for other in known}
    near = folded.get(nearest(name.casefold(), folded) or "")
    return f" (did you mean {near}?)" if near else ""
