"""What training skips: counted, logged once each, and too much of it is an error."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from melle.console import shell_command
from melle.data.index import Fault
from melle.data.journal import Journal
from melle.errors import UserError

FEW = 3  # utterances of a manifest of any size that may be skipped
SHOWN = 20  # faults that are logged; all are in the file

logger = logging.getLogger(__name__)


class SkippedItems:
    """The faults of one manifest of ``total`` lines.

    Args:
        manifest: what it is called in messages.
        most: share of the lines that may be skipped; a few may be whatever their share, unless it is 0.
        path: a JSONL file to which all of them are added that it does not have, or None; ranks above 0 write to files
            of their own beside it.
        rank: of this process among those that train together.
        tokenizer: path of the checkpoint whose tokenizer the texts are for, where they are for one.
    """

    def __init__(
        self,
        manifest: str | Path,
        total: int,
        most: float,
        path: Path | None = None,
        rank: int = 0,
        tokenizer: str | None = None,
    ):
        self.manifest, self.total, self.most, self.rank = manifest, total, most, rank
        known = ["--tokenizer", tokenizer] if tokenizer else []
        self.look = shell_command("python", "-m", "melle", "check", manifest, *known)
        self.limit = max(most * total, FEW) if most > 0 else 0
        self.path = path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if path and rank else path
        self.counts: Counter[str] = Counter()
        self.example = ""  # what was wrong first, in a sentence
        self._seen: set[int | str] = set()
        self._list = Journal(self.path) if self.path else None  # of the run so far, where this one goes on with it
        self._listed = {_key(item["utterance"], item["line"]) for item in self._list.items} if self._list else set()

    def add(self, fault: Fault, known_to_all: bool = False) -> None:
        """Count a fault, once for each utterance; what all ranks know, the first one logs and lists.

        Raises UserError where more than the allowed share is skipped.
        """
        self.count(fault, log=self.rank == 0 or not known_to_all)
        self.check()

    def count(self, fault: Fault, log: bool) -> None:
        """Count a fault, without a look at how many there are."""
        key = _key(fault.utterance, fault.line)
        if key in self._seen:
            return
        self._seen.add(key)
        self.counts[fault.kind] += 1
        self.example = self.example or fault.message
        if log and len(self._seen) <= SHOWN:
            logger.warning("skipped: %s", fault.message)
        if log and len(self._seen) == SHOWN:
            logger.warning("skipped: further ones are only counted here")
        if log and self._list is not None and key not in self._listed:
            self._list.add({"manifest": str(self.manifest), **vars(fault)})

    def check(self) -> None:
        """Raise UserError where more than the allowed share is skipped."""
        if len(self._seen) > self.limit:
            raise UserError(
                f"{self.summary()}, more than data.max_skipped={self.most:g}; such as {self.example}. "
                f"Look with: {self.look}"
            )

    def summary(self) -> str:
        """Such as "train.jsonl: 3 of 100 utterances skipped (2 missing, 1 not JSON)"."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())
        place = f"{self.manifest}, rank {self.rank}" if self.rank else self.manifest
        return f"{place}: {len(self._seen)} of {self.total} utterances skipped" + (kinds and f" ({kinds})")


def _key(utterance: str, line: int | None) -> int | str:
    return utterance if line is None else line
