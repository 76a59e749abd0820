"""The results for TensorBoard: checkpoints as curves, toplines as level lines, and some audio."""

from __future__ import annotations

from contextlib import closing
from itertools import count as numbers
from pathlib import Path

import soundfile

from melle.audio import UNREADABLE, load_audio
from melle.errors import UserError
from melle.evaluation.scores import Results, SystemScore
from melle.files import file_name

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
    for path in top.glob(f"*/events.out.tfevents.*{SUFFIX}"):  # of an earlier call; nothing of training
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    steps = [row.step for row in results.systems if row.step is not None]
    ends = sorted({min(steps), max(steps)}) if steps else [0]
    taken: set[str] = set()  # names of folders, which some file systems take for the same in capitals
    for series in dict.fromkeys(row.series for row in results.systems):
        stem = file_name(series[1], 80).lstrip(".-") or "run"
        names = (stem if number == 1 else f"{stem}-{number}" for number in numbers(1))
        name = next(name for name in names if name.lower() not in taken)
        taken.add(name.lower())
        with closing(SummaryWriter(str(top / name), filename_suffix=SUFFIX)) as writer:
            for row in results.systems:
                if row.series == series:
                    at = ends if row.run is None else [row.step or 0]  # a topline has no step
                    for metric, value in row.metrics.items():
                        for step in at:
                            writer.add_scalar(f"evaluation/{row.protocol}/{metric}", value, step)
                    _add_audio(writer, folder, row, at[-1], count)
    return top


def _add_audio(writer, folder: Path, row: SystemScore, step: int, count: int) -> None:
    files = {utterance.id: utterance.audio for utterance in reversed(row.utterances)}  # of samples the first
    for name, file in reversed(files.items()):
        if count == 0:
            return
        try:
            rate = soundfile.info(str(folder / (file or ""))).samplerate
            waveform = load_audio(folder / (file or ""), rate)
        except (UserError, *UNREADABLE):
            continue
        count -= 1
        writer.add_audio(f"evaluation/{row.protocol}/{name}", waveform.clamp(-1, 1)[None], step, sample_rate=rate)
