"""What the network needs to know of the data that it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from melle.audio import speech_level
from melle.data.index import Fault
from melle.data.silence import speech_frames
from melle.errors import DataError

if TYPE_CHECKING:
    from melle.data.dataset import UtteranceDataset


@dataclass(frozen=True)
class CorpusStatistics:
    """What the network and its checkpoints need to know of the training data."""

    mel_mean: float  # log10
    mel_std: float  # log10
    frames_per_token: float  # of speech, without the silence before and after it (``silence.speech_frames``)
    # Of 98 in 100 utterances, as multiples of tokens × frames_per_token: frames with that silence, and without it.
    length_range: tuple[float, float]
    pace_range: tuple[float, float]
    speech_level: float  # log10: the loudest band of a loud frame (``audio.speech_level``), median of the utterances
    most_tokens: int | None  # of the longest text


def corpus_statistics(data: UtteranceDataset, numbers: NDArray) -> tuple[CorpusStatistics | None, list[Fault]]:
    """Of the utterances of these numbers; None where none can be used. And those that cannot."""
    frames, spoken, tokens, levels, faults = [], [], [], [], []
    total, square, count = 0.0, 0.0, 0
    for number in tqdm(numbers.tolist(), desc="mel statistics", leave=False):
        try:
            mel = data.mel(number).double()
        except DataError as error:
            faults.append(data.fault(number, error))
            continue
        total, square, count = total + mel.sum().item(), square + mel.square().sum().item(), count + mel.numel()
        frames.append(len(mel))
        spoken.append(speech_frames(mel, data.log_mel.spec))
        tokens.append(int(data.index.column("tokens")[number]))
        levels.append(speech_level(mel))
    if not count:
        return None, faults
    mean, pace = total / count, sum(spoken) / sum(tokens)
    statistics = CorpusStatistics(
        mel_mean=mean,
        mel_std=max(square / count - mean**2, 1e-8) ** 0.5,
        frames_per_token=pace,
        length_range=range_of_lengths(frames, tokens, pace),
        pace_range=range_of_lengths(spoken, tokens, pace),
        speech_level=float(np.median(levels)),
        most_tokens=max(tokens),
    )
    return statistics, faults


def range_of_lengths(frames: Sequence[int], tokens: Sequence[int], pace: float) -> tuple[float, float]:
    """Between which multiples of tokens × ``pace`` (frames a token) the lengths of 98 in 100 utterances lie."""
    shortest, longest = np.quantile(np.array(frames) / (np.array(tokens) * pace), (0.01, 0.99))
    return float(shortest), float(longest)
