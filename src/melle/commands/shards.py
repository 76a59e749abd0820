"""``python -m melle prepare shards``: a manifest and its recordings as tar files that can be streamed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from melle.options import option


@dataclass
class Shards:
    manifest: Path = option(..., "JSONL manifest to pack", metavar="FILE")
    output: Path = option(..., "folder to make", "-o", metavar="DIR")
    shard_size: int = option(1000, "utterances per shard")
    sample_rate: int | None = option(None, "resample to this rate (default: as recorded)")
    seed: int = option(0, "of the order of utterances")
    workers: int = option(1, "processes that pack")

    def run(self) -> None:
        from melle.data.shar.writing import write_shards

        skipped = write_shards(self.manifest, self.output, self.shard_size, self.sample_rate, self.seed, self.workers)
        print(f"{self.output}: {skipped.total - skipped.counts.total()} utterances in shards")
        if skipped.counts:
            print(f"{skipped.summary()}; listed in {skipped.path}")
