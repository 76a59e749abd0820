"""Clips for a recogniser: at its rate, in batches of similar length, and the texts back in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from melle.audio import resample
from melle.errors import UserError
from melle.evaluation.asr import Transcript

SHORTEST = 0.1  # seconds; nobody says a word in less, and recognisers fail on less than their first frame
SORTED = 16  # batches that are filled from one sorting by length: more wait longer for the first text


def check_batch_size(batch_size: int) -> None:
    """Raise UserError for no clips at a time."""
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: give the number of clips to listen to at a time, 1 or more")


def transcribe_clips(
    waveforms: Sequence[Tensor],
    sample_rate: int,
    rate: int,
    batch_size: int,
    recognise: Callable[[list[Tensor]], list[str]],
) -> Iterator[Transcript]:
    """Transcripts of ``waveforms`` (N,) at ``sample_rate``, in order; a clip of less than ``SHORTEST`` has none.

    ``recognise`` takes up to ``batch_size`` waveforms of similar length at ``rate`` and returns their texts.
    """
    span = batch_size * SORTED if batch_size > 1 else 1
    for start in range(0, len(waveforms), span):
        clips = {
            row: _resample(waveform, sample_rate, rate)
            for row, waveform in enumerate(waveforms[start : start + span], start)
            if len(waveform) >= SHORTEST * sample_rate
        }
        rows = sorted(clips, key=lambda row: len(clips[row]))
        texts: dict[int, str] = {}
        for first in range(0, len(rows), batch_size):
            batch = rows[first : first + batch_size]
            texts.update(zip(batch, recognise([clips[row] for row in batch])))
        for row in range(start, min(start + span, len(waveforms))):
            yield Transcript(texts.get(row, ""))


def _resample(waveform: Tensor, sample_rate: int, rate: int) -> Tensor:
    return resample(waveform, sample_rate, rate)
