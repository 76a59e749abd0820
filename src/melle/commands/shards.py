"""``python -m melle prepare shards``: a manifest and its recordings as tar files that can be streamed."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parsers: argparse._SubParsersAction) -> None:
    text = "pack a manifest's recordings into tar files for data=shar, to train from disks or servers elsewhere"
    shards = parsers.add_parser("shards", help=text, description=text)
    shards.add_argument("--manifest", type=Path, required=True, metavar="FILE", help="JSONL manifest to pack")
    shards.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to make")
    shards.add_argument("--shard-size", type=int, default=1000, help="utterances per shard (default: %(default)s)")
    shards.add_argument("--sample-rate", type=int, help="resample to this rate (default: as recorded)")
    shards.add_argument("--seed", type=int, default=0, help="of the order of utterances (default: %(default)s)")
    shards.add_argument("--workers", type=int, default=1, help="processes that pack (default: %(default)s)")
    shards.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from melle.data.shar.writing import write_shards

    skipped = write_shards(
        options.manifest, options.output, options.shard_size, options.sample_rate, options.seed, options.workers
    )
    print(f"{options.output}: {skipped.total - skipped.counts.total()} utterances in shards")
    if skipped.counts:
        print(f"{skipped.summary()}; listed in {skipped.path}")
