"""``python -m melle align``: the times of words for a manifest of one's own, and which transcripts fit badly."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    align = commands.add_parser("align", help="add the times of words to a manifest; find transcripts that fit badly")
    align.add_argument("manifest", type=Path, help="a JSONL file, one utterance a line")
    align.add_argument("-o", "--output", type=Path, help="the new manifest (default: NAME.aligned.jsonl beside it)")
    align.add_argument(
        "--model",
        default="hf://facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        help="CTC recogniser: local folder or hf://USER/MODEL (default: %(default)s, English)",
    )
    align.add_argument("--device", default="auto", help="auto, cpu, cuda, … (default: %(default)s)")
    align.add_argument(
        "--poor", type=float, default=0.4, help="report lines with a lower score, 0 to 1 (default: %(default)s)"
    )
    align.add_argument("--workers", type=int, help="processes (default: one per core, on a GPU one)")
    align.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from functools import partial

    from melle.corpora.align_manifest import align_manifest
    from melle.corpora.ctc import CtcAligner
    from melle.devices import find_device

    device = find_device(options.device, "--device ")
    workers = options.workers if device.type == "cpu" else 1
    aligner = partial(CtcAligner, options.model, str(device))
    print(align_manifest(options.manifest, aligner, options.model, options.output, options.poor, workers).text)
