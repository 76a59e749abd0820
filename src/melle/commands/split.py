"""``python -m melle prepare split``: a manifest split at random into train.jsonl, validation.jsonl and test.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from melle.options import option


@dataclass
class Split:
    """Splits a manifest at random.

    By utterance, those that say the same, whatever their case, punctuation and white space, stay together, so that no
    held-out sentence is trained on; by speaker, no held-out voice is. The recordings stay where they are.
    """

    manifest: Path = option(..., "JSONL manifest to split", metavar="FILE")
    output: Path = option(..., "folder of the new manifests", "-o", metavar="DIR")
    validation: int = option(20, "how many to validate on", metavar="N")
    test: int = option(0, "how many to test on", metavar="N")
    by: Literal["utterance", "speaker"] = option("utterance", "what is counted")
    seed: int = option(0, "of the draw")

    def run(self) -> None:
        """Split, and say what was written."""
        from melle.data.split import split_manifest

        parts = split_manifest(self.manifest, self.output, self.validation, self.test, self.by, self.seed)
        print("\n".join(f"{path}: {totals}" for path, totals in parts.items()))
