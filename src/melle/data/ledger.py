"""What training leaves out: counted, told once each, and too much of it is an error."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from melle.data.index import Fault
from melle.errors import UserError

FEW = 3  # utterances that may be left out of a manifest of any size
SHOWN = 20  # faults told on the screen; all are in the file


class Ledger:
    """The faults of one manifest of ``total`` lines.

    Args:
        manifest: what it is called in messages.
        most: share of the lines that may be left out; a few may be whatever their share, unless it is 0.
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
        self.look = f"python -m melle check {manifest}" + (f" --tokenizer {tokenizer}" if tokenizer else "")
        self.limit = max(most * total, FEW) if most > 0 else 0
        self.path = path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if path and rank else path
        self.counts: Counter[str] = Counter()
        self._examples: list[Fault] = []
        self._seen: set[int | str] = set()
        self._listed = _read_list(self.path)  # of the run so far, where this one goes on with it

    def add(self, fault: Fault, known_to_all: bool = False) -> None:
        """Count a fault, once for each utterance; what all ranks know, the first one tells and lists.

        Raises UserError where more than the allowed share is left out.
        """
        self.note(fault, tell=self.rank == 0 or not known_to_all)
        self.judge()

    def note(self, fault: Fault, tell: bool) -> None:
        """Count a fault, without a judgement."""
        if _key(fault) in self._seen:
            return
        self._seen.add(_key(fault))
        self.counts[fault.kind] += 1
        if len(self._examples) < SHOWN:
            self._examples.append(fault)
        if tell:
            self._tell(fault)

    def judge(self) -> None:
        """Raise UserError where more than the allowed share is left out."""
        if len(self._seen) > self.limit:
            raise UserError(
                f"{self.summary()}, more than data.max_left_out={self.most:g}; such as {self.example}. "
                f"Look with: {self.look}"
            )

    def _tell(self, fault: Fault) -> None:
        if len(self._seen) <= SHOWN:
            tqdm.write(f"left out: {fault.message}", file=sys.stderr)
        if len(self._seen) == SHOWN:
            tqdm.write("left out: further ones are only counted here", file=sys.stderr)
        if self.path is not None and _key(fault) not in self._listed:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"manifest": str(self.manifest), **vars(fault)}, ensure_ascii=False) + "\n")

    @property
    def example(self) -> str:
        """What was wrong first, in a sentence; empty where nothing was."""
        return self._examples[0].message if self._examples else ""

    def summary(self) -> str:
        """Such as "train.jsonl: 3 of 100 utterances left out (2 missing, 1 not JSON)"."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())
        place = f"{self.manifest}, rank {self.rank}" if self.rank else self.manifest
        return f"{place}: {len(self._seen)} of {self.total} utterances left out" + (kinds and f" ({kinds})")


def _key(fault: Fault) -> int | str:
    return fault.utterance if fault.line is None else fault.line


def _read_list(path: Path | None) -> set[int | str]:
    if path is None or not path.is_file():
        return set()
    listed = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            item = json.loads(line)
            listed.add(item["utterance"] if item["line"] is None else item["line"])
        except (ValueError, KeyError):  # half a line of a run that was killed
            continue
    return listed
