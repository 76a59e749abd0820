"""``python -m melle prepare split``: a manifest split at random into train.jsonl, validation.jsonl and test.jsonl."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(parsers: argparse._SubParsersAction) -> None:
    split = parsers.add_parser(
        "split",
        help="split a manifest into one to train on, one to validate on and one to test on",
        description="Splits a manifest at random. By utterance, those that say the same, whatever their case, "
        "punctuation and white space, stay together, so that no held-out sentence is trained on; by speaker, no "
        "held-out voice is. The recordings stay where they are.",
    )
    split.add_argument("--manifest", type=Path, required=True, metavar="FILE", help="JSONL manifest to split")
    split.add_argument(
        "--validation", type=int, default=20, metavar="N", help="how many to validate on (default: %(default)s)"
    )
    split.add_argument("--test", type=int, default=0, metavar="N", help="how many to test on (default: %(default)s)")
    split.add_argument(
        "--by", choices=("utterance", "speaker"), default="utterance", help="what is counted (default: %(default)s)"
    )
    split.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    split.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the new manifests")
    split.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Split, and say what was written."""
    from melle.data.split import split_manifest

    parts = split_manifest(options.manifest, options.output, options.validation, options.test, options.by, options.seed)
    print("\n".join(part.summary() for part in parts))
