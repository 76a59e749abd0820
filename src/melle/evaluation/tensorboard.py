"""The results for TensorBoard: checkpoints as curves, toplines as level lines, and some audio."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import soundfile
import torch

from melle.audio import load_audio
from melle.errors import DataError
from melle.evaluation.scores import Results, SystemScore

SUFFIX = ".evaluation"  # of event files, which may lie beside those of training


def write_tensorboard(folder: Path, results: Results, count: int = 3) -> Path:
    """Event files in ``folder``/tensorboard/RUN, in the place of those that an earlier call wrote there.

    Every metric is a scalar "evaluation/PROTOCOL/METRIC" at the checkpoint's step. A topline is a run of its own, with
    the same value at the first and the last step.

    Args:
        count: utterances whose audio is given, of those whose files are found in ``folder``.
    """
    from torch.utils.tensorboard import SummaryWriter

    top = folder / "tensorboard"
    _remove_own(top)
    steps = [row.step for row in results.systems if row.step is not None]
    ends = sorted({min(steps), max(steps)}) if steps else [0]
    for name, rows in _runs(results).items():
        with closing(SummaryWriter(str(top / name), filename_suffix=SUFFIX)) as writer:
            for row in rows:
                for metric, value in row.metrics.items():
                    # A topline has no step: its line goes from the first to the last.
                    for step in ends if row.run is None else [row.step or 0]:
                        writer.add_scalar(f"evaluation/{row.protocol}/{metric}", value, step)
                _add_audio(writer, folder, row, ends[-1] if row.run is None else row.step or 0, count)
    return top


def _runs(results: Results) -> dict[str, list[SystemScore]]:
    """The rows by the name of their folder, which for two different runs or toplines is never the same."""
    folders: dict[tuple[bool, str], str] = {}
    runs: dict[str, list[SystemScore]] = {}
    for row in results.systems:
        who = (True, row.system) if row.run is None else (False, row.run)
        if who not in folders:
            stem = re.sub(r"[^A-Za-z0-9._-]+", "_", who[1]).lstrip(".")[:80] or "run"
            number, name = 1, stem
            while name.lower() in (taken.lower() for taken in runs):
                number += 1
                name = f"{stem}_{number}"
            folders[who] = name
        runs.setdefault(folders[who], []).append(row)
    return runs


def _add_audio(writer, folder: Path, row: SystemScore, step: int, count: int) -> None:
    given: set[str] = set()
    for utterance in row.utterances:
        if len(given) == count:
            return
        if utterance.audio is None or utterance.id in given:
            continue
        try:
            rate = soundfile.info(str(folder / utterance.audio)).samplerate
            waveform = load_audio(folder / utterance.audio, rate)
        except (DataError, soundfile.LibsndfileError, OSError):
            continue
        given.add(utterance.id)
        tag = f"evaluation/{row.protocol}/{utterance.id}"
        writer.add_audio(tag, torch.clamp(waveform, -1, 1)[None], step, sample_rate=rate)


def _remove_own(top: Path) -> None:
    """What an earlier call wrote below ``top``, and the folders that are empty then; nothing of training."""
    for path in top.glob(f"*/events.out.tfevents.*{SUFFIX}"):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
