"""Kept results: one JSONL file for what a system speaks, or for what one judge finds in that, under one protocol.

The first line says what all the others depend on: ``{"depends_on": {...}}``. Each further line is the record of one
utterance, with a digest of its own ``inputs``. Records are appended line by line, also by several processes, so that an
interrupted evaluation loses nothing and no locks are needed.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from melle.files import write_text


class Records:
    """Records at ``path``, NAME.jsonl, by the digest of their inputs; those that depend on something else are void."""

    def __init__(self, path: Path, depends_on: dict[str, Any]):
        self.path = path
        self._header = _line({"depends_on": depends_on})

    def read(self) -> dict[str, dict[str, Any]]:
        """All that are valid."""
        first, *lines = self._lines()
        found = map(_parsed, lines if first == self._header else [])
        return {record["inputs"]: record for record in found if record is not None}

    def start(self) -> None:
        """Remove what is void. What is made from now on may replace files that such records are about."""
        if self._lines()[0] != self._header:
            write_text(self.path, self._header, sync=False)

    def append(self, record: dict[str, Any]) -> None:
        """Keep one more record, which has "inputs". Only after ``start``."""
        with self.path.open("ab", buffering=0) as file:  # a line is written at once, where the file ends by then
            file.write(f"\n{_line(record)}".encode())

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return [""]


def _line(value: dict[str, Any]) -> str:
    """As JSON; halves of characters, as names of files that are not UTF-8 have, are escaped."""
    return json.dumps(value, default=str, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _parsed(line: str) -> dict[str, Any] | None:
    """None for the line of a process that was killed while it wrote."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def package_versions(*names: str) -> dict[str, str | None]:
    """Installed versions of distributions; None: not installed."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def source_digest(*sources: str) -> str:
    """Changes with the Python code of the given files, modules or packages ("melle.synthesis"), comments included."""
    digest = hashlib.sha256()
    for source in sources:
        for path in _files(source):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _files(source: str) -> list[Path]:
    if source.endswith(".py"):
        return [Path(source)]
    spec = util.find_spec(source)
    if spec is None or spec.origin is None:
        raise ValueError(f"{source}: no such module")
    folders = spec.submodule_search_locations
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py")) if folders else [Path(spec.origin)]
