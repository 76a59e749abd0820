"""What a long run has finished, a line of JSON for each item, so that an interrupted run goes on behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """The ``items`` in the JSONL file ``path``; what ``add`` is given is there at once.

    Args:
        header: what the items depend on, kept in the first line: a file with another one begins anew. None: no header.
    """

    def __init__(self, path: Path, header: dict[str, Any] | None = None):
        self.path = path
        content = path.read_bytes() if path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a machine that stopped may have left a part of a line
        self.items = [item for line in whole.splitlines() if (item := _parsed(line)) is not None]
        if len(whole) < len(content):
            path.write_bytes(whole)
        if header is not None:
            header = json.loads(json.dumps(header))
            if self.items[:1] != [header]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(header) + "\n", encoding="utf-8")
                self.items = [header]
            self.items = self.items[1:]

    def add(self, item: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
        self.items.append(item)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        item = json.loads(line)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None
