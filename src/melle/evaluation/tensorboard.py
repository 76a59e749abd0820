"""The results for TensorBoard: checkpoints as curves, toplines as level lines, and some audio."""

from __future__ import annotations

from contextlib import closing
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
    for name, rows in _runs(results).items():
        with closing(SummaryWriter(str(top / name), filename_suffix=SUFFIX)) as writer:
            for row in rows:
                at = ends if row.run is None else [row.step or 0]  # a topline has no step
                for metric, value in row.metrics.items():
                    for step in at:
                        writer.add_scalar(f"evaluation/{row.protocol}/{metric}", value, step)
                _add_audio(writer, folder, row, at[-1], count)
    return top


def _runs(results: Results) -> dict[str, list[SystemScore]]:
    """The rows by the name of their folder, which for two different runs or toplines is never the same."""
    series: dict[tuple[bool, str], list[SystemScore]] = {}
    for row in results.systems:
        series.setdefault(row.series, []).append(row)
    runs: dict[str, list[SystemScore]] = {}
    for (_, name), rows in series.items():
        stem, taken = file_name(name, 80).lstrip(".-") or "run", {other.lower() for other in runs}
        names = [stem, *(f"{stem}-{number}" for number in range(2, 2 + len(runs)))]
        runs[next(name for name in names if name.lower() not in taken)] = rows
    return runs


def _add_audio(writer, folder: Path, row: SystemScore, step: int, count: int) -> None:
    added: set[str] = set()
    for utterance in row.utterances:
        if utterance.audio is None or utterance.id in added or len(added) == count:
            continue
        try:
            rate = soundfile.info(str(folder / utterance.audio)).samplerate
            waveform = load_audio(folder / utterance.audio, rate)
        except (UserError, *UNREADABLE):
            continue
        added.add(utterance.id)
        tag = f"evaluation/{row.protocol}/{utterance.id}"
        writer.add_audio(tag, waveform.clamp(-1, 1)[None], step, sample_rate=rate)
