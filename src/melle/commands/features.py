"""``python -m melle prepare features``: compute the log-mels of manifests before training."""

from __future__ import annotations

import argparse
from pathlib import Path

from melle.errors import UserError

MEL = {  # fields of MelSpec
    "sample_rate": (int, "samples per second (default: 16000)"),
    "n_fft": (int, "samples per window (default: 1024)"),
    "hop_length": (int, "samples from frame to frame (default: 256)"),
    "n_mels": (int, "bands (default: 80)"),
    "f_min": (float, "Hz, lower end of the bands (default: 80)"),
    "f_max": (float, "Hz, upper end (default: 7600)"),
    "floor": (float, "smallest magnitude before log10 (default: 1e-10)"),
}
TRIM = {  # fields of SileroTrim
    "keep_seconds": (float, "silence left before and after the speech (default: 0.1)"),
    "max_inner_seconds": (float, "length to which silences within the speech are cut (default: 0.5)"),
    "threshold": (float, "how sure Silero must be that someone speaks, 0 to 1 (default: 0.5)"),
}


def add(commands: argparse._SubParsersAction) -> None:
    features = commands.add_parser(
        "features",
        help="compute log-mels once, for data.features",
        description="Computes the log-mels of all recordings of the manifests. Training reads them with "
        "data.features=FOLDER where data.mel and vad are the same as here. A run that was broken off goes on where it "
        "was; recordings that changed are computed anew.",
    )
    features.add_argument("--manifest", required=True, type=Path, nargs="+", help="JSONL files")
    features.add_argument(
        "-o", "--output", type=Path, default=Path("data/features"), help="folder (default: %(default)s)"
    )
    features.add_argument("--workers", type=int, help="processes (default: one per core)")
    _add_fields(features.add_argument_group("mel, as data.mel"), "", MEL)
    trim = features.add_argument_group("silences, as vad")
    trim.add_argument(
        "--vad", choices=("none", "silero"), default="none", help="silero shortens them (default: %(default)s)"
    )
    _add_fields(trim, "vad-", TRIM)
    features.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compute what is missing, say what was done."""
    from melle.audio import MelSpec
    from melle.data.build_features import build_features
    from melle.data.silence import SileroTrim

    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give 1 or more")
    mel, trim = _given(options, "", MEL), _given(options, "vad_", TRIM)
    if trim and options.vad == "none":
        raise UserError(f"--vad-{next(iter(trim)).replace('_', '-')} says how to trim silences; add --vad silero")
    silence = SileroTrim(**trim) if options.vad == "silero" else None
    print(build_features(options.manifest, options.output, MelSpec(**mel), silence, options.workers).text)


def _add_fields(group: argparse._ArgumentGroup, prefix: str, table: dict) -> None:
    for name, (kind, words) in table.items():
        group.add_argument(f"--{prefix}{name}".replace("_", "-"), type=kind, metavar="N", help=words)


def _given(options: argparse.Namespace, prefix: str, table: dict) -> dict:
    values = {name: getattr(options, prefix + name) for name in table}
    return {name: value for name, value in values.items() if value is not None}
