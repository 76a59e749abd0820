"""``python -m melle prepare teacher``: a corpus in natural voices, spoken by another synthesizer."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(corpora: argparse._SubParsersAction) -> None:
    text = "speak a corpus with Kokoro-82M: any texts, in its voices and hundreds of blends of them"
    teacher = corpora.add_parser("teacher", help=text, description=text)
    teacher.add_argument(
        "--teacher-model", type=Path, required=True, metavar="DIR", help="folder of Kokoro's model (.onnx) and voices"
    )
    teacher.add_argument(
        "--texts", type=Path, nargs="+", default=[], metavar="FILE", help="sentences to say, one a line, UTF-8"
    )
    teacher.add_argument(
        "--generated",
        type=int,
        metavar="COUNT",
        help="English sentences of our own besides (default: 20000 without --texts, else none)",
    )
    teacher.add_argument(
        "--hours", type=float, default=12.0, help="of training speech; may be raised later (default: %(default)g)"
    )
    teacher.add_argument(
        "--voices", type=int, default=400, help="speakers in training, most of them blends (default: %(default)s)"
    )
    teacher.add_argument(
        "--language", default="en", help="of the voices: en, es, fr-fr, hi, it, pt-br (default: %(default)s)"
    )
    teacher.add_argument(
        "--held-out", nargs="*", metavar="VOICE", help="voices for the test alone (default: four of the English ones)"
    )
    teacher.add_argument(
        "--held-out-texts",
        type=Path,
        metavar="FILE",
        help="sentences for validation and test (default: 299 English ones written by hand)",
    )
    teacher.add_argument(
        "--format", choices=("flac", "opus"), default="flac", help="of the recordings (default: %(default)s)"
    )
    teacher.add_argument("--seed", type=int, default=0, help="of voices, texts and paces (default: %(default)s)")
    teacher.add_argument("--workers", type=int, help="processes (default: one per core); the corpus is the same")
    teacher.add_argument(
        "-o", "--output", type=Path, default=Path("data/english"), help="folder (default: %(default)s)"
    )
    teacher.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from melle.corpora.english.corpus import TeacherCorpus

    TeacherCorpus(
        options.output,
        options.teacher_model,
        options.texts,
        options.generated,
        options.language,
        options.held_out,
        options.held_out_texts,
        options.hours,
        options.voices,
        options.seed,
        options.format,
        workers=options.workers,
    ).speak()
