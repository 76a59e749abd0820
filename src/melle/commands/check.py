"""``python -m melle check``: what is wrong with a manifest and its recordings, and a clean copy."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    check = commands.add_parser("check", help="find what is wrong with a manifest and its audio; write a clean copy")
    check.add_argument("manifest", type=Path, help="a JSONL file, one utterance a line")
    check.add_argument("-o", "--output", type=Path, help="the clean manifest (default: NAME.clean.jsonl beside it)")
    check.add_argument("--min-seconds", type=float, default=0.3, help="reject what is shorter (default: %(default)s)")
    check.add_argument("--max-seconds", type=float, default=30.0, help="reject what is longer (default: %(default)g)")
    check.add_argument(
        "--tokenizer",
        metavar="CHECKPOINT",
        help="reject texts that its model (or exported folder, or hf://USER/MODEL) cannot say",
    )
    check.add_argument("--strict", action="store_true", help="reject what is clipped or has an odd pace, too")
    check.add_argument("--workers", type=int, help="processes (default: one per core); the result is the same")
    check.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Check the manifest, write the two lists, print the report."""
    from melle.data.check import check_manifest
    from melle.data.filters import Limits
    from melle.pretrained import look_into

    report = check_manifest(
        options.manifest,
        options.output,
        Limits(options.min_seconds, options.max_seconds),
        tokenizer=look_into(options.tokenizer)[0].tokenizer if options.tokenizer else None,
        strict=options.strict,
        workers=options.workers,
    )
    print(report.text)
