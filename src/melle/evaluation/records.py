"""Kept results: one JSONL file for what a system speaks, or for what one judge finds in that, under one protocol.

The first line says what all the others depend on: ``{"depends_on": {...}}``. Each further line is the record of one
utterance, with a digest of its own ``inputs``. A process appends its records to a part file of its own beside the
JSONL, line by line, so that an interrupted evaluation loses nothing and no locks are needed; ``merge`` collects them.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from melle.files import written_whole


class Records:
    """Records at ``path``, NAME.jsonl, by the digest of their inputs; those that depend on something else are void."""

    def __init__(self, path: Path, depends_on: dict[str, Any]):
        self.path = path
        self._header = json.loads(json.dumps({"depends_on": depends_on}, default=str))  # as it is read again

    def read(self) -> dict[str, dict[str, Any]]:
        """All that are valid, whole or still in parts."""
        found: dict[str, dict[str, Any]] = {}
        for path in [self.path, *self._parts()]:
            for record in self._lines(path):
                found[record["inputs"]] = record
        return found

    @contextmanager
    def appending(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """A function that keeps one more record at once. A record has "inputs"."""
        # What is made now may replace files that void records are about: these must not come back to life.
        for other in [self.path, *self._parts()]:
            if _header(other) != self._header:
                other.unlink(missing_ok=True)
        path = self.path.with_name(f"{self.path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:

            def append(record: dict[str, Any]) -> None:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()

            append(self._header)
            yield append

    def merge(self) -> dict[str, dict[str, Any]]:
        """Write all valid records to the JSONL and remove the parts; returns the records."""
        records, parts = self.read(), self._parts()
        if parts or not self.path.exists():
            with written_whole(self.path, sync=False) as partial, partial.open("w", encoding="utf-8") as file:
                for line in (self._header, *records.values()):
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
            for part in parts:
                part.unlink(missing_ok=True)
        return records

    def _parts(self) -> list[Path]:
        if not self.path.parent.is_dir():
            return []
        names = sorted(os.listdir(self.path.parent))
        ending = re.compile(re.escape(self.path.stem) + r"\.\d+-[0-9a-f]{8}\.part")
        return [self.path.with_name(name) for name in names if ending.fullmatch(name)]

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        if _header(path) != self._header:
            return
        with path.open(encoding="utf-8") as file:
            for line in list(file)[1:]:
                try:
                    yield json.loads(line)
                except ValueError:  # the last line of a process that was killed
                    return


def _header(path: Path) -> Any:
    """The first line; None: no such file, or of another kind."""
    try:
        with path.open(encoding="utf-8") as file:
            return json.loads(file.readline())
    except (FileNotFoundError, ValueError):
        return None
