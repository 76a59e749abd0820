"""``python -m melle check``: what is wrong with a manifest and its recordings, and a clean copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melle.data.check import check_manifest
from melle.data.filters import CheckLimits
from melle.options import option, options_of


@dataclass
class Check:
    manifest: Path = option(..., "a JSONL file, one utterance a line", "MANIFEST")
    output: Path | None = option(None, "the clean manifest (default: NAME.clean.jsonl beside it)", "-o")
    limits: CheckLimits = options_of(CheckLimits)
    tokenizer: str | None = option(
        None,
        "reject texts that its model (or exported folder, or hf://USER/MODEL) cannot say",
        metavar="CHECKPOINT",
    )
    strict: bool = option(False, "reject what is clipped, fits its transcript badly or has an odd pace, too")
    workers: int | None = option(None, "processes (default: one per core); the result is the same")

    def run(self) -> None:
        """Check the manifest, write the two lists, print the report."""
        from melle.pretrained import read_description

        tokenizer = read_description(self.tokenizer)[0].tokenizer if self.tokenizer else None
        print(check_manifest(self.manifest, self.output, self.limits, tokenizer, self.strict, self.workers).text)
