"""Parts of a text put together: silence between them, and edges that do not click."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.synthesis.speech import Speech, Timings, shifted

SEVERITY = ("stop", "unfinished", "length", "degenerate", "empty")  # finish reasons, the worst last
FADE = 0.005  # seconds, at the edges of a part


def worst_reason(reasons: Sequence[str]) -> str:
    """The finish reason of the whole: the worst of its parts'; "empty" only where nothing of it can be heard."""
    worst = max(reasons, key=SEVERITY.index)
    return "degenerate" if worst == "empty" and set(reasons) != {"empty"} else worst


class CrossFade:
    """For parts that come piece by piece; of a single one without silence it changes nothing.

    Args:
        pauses: seconds of silence before the first part, between parts, and after the last: one more than parts.
    """

    def __init__(self, spec: MelSpec, pauses: Sequence[float]):
        self._spec = spec
        self._silences = [round(seconds * spec.frame_rate) for seconds in pauses]  # frames
        self._alone = len(pauses) == 2 and not any(self._silences)
        self._fade = round(FADE * spec.sample_rate)  # samples
        self._part = 0
        self._beginning = True

    def __call__(self, waveform: Tensor, mel: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        """The next samples (N,) and log10 frames (T, M), with the silence around their part.

        ``last``: the part ends with them.
        """
        if self._alone:
            return waveform, mel
        before = after = 0
        waveform, count = waveform.clone(), min(self._fade, len(waveform))
        ramp = torch.linspace(0, 1, count + 1)[:-1]
        if self._beginning:
            before, self._silences[0] = self._silences[0], 0
            if len(waveform):
                waveform[:count] *= ramp
                self._beginning = False
        if last:
            waveform[len(waveform) - count :] *= ramp.flip(0)
            self._beginning, self._part = True, self._part + 1
            after = self._silences[self._part]
        hop, silence = self._spec.hop_length, math.log10(self._spec.floor)
        quiet = [waveform.new_zeros(frames * hop) for frames in (before, after)]
        silent = [mel.new_full((frames, mel.shape[1]), silence) for frames in (before, after)]
        return torch.cat((quiet[0], waveform, quiet[1])), torch.cat((silent[0], mel, silent[1]))


def join_speech(speeches: Sequence[Speech], pauses: Sequence[float], spec: MelSpec, seed: int) -> Speech:
    """One utterance of all parts, which ``seed`` says again, with ``pauses`` as for ``CrossFade``."""
    fade, waveforms, mels, words = CrossFade(spec, pauses), [], [], []
    start = round(pauses[0] * spec.frame_rate)  # of the part, in frames
    for speech in speeches:
        waveform, mel = fade(speech.waveform, speech.mel, last=True)
        waveforms.append(waveform)
        mels.append(mel)
        words += shifted(speech.words, start / spec.frame_rate)
        start = sum(map(len, mels))
    if len(speeches) == 1:
        return replace(speeches[0], waveform=waveforms[0], mel=mels[0], words=tuple(words))
    return Speech(
        waveform=torch.cat(waveforms),
        sample_rate=spec.sample_rate,
        mel=torch.cat(mels),
        stop=torch.cat([speech.stop for speech in speeches]),
        finish_reason=worst_reason([speech.finish_reason for speech in speeches]),
        parts=tuple(speech.finish_reason for speech in speeches),
        words=tuple(words),
        seed=seed,
        timings=Timings(
            first=speeches[0].timings.first,
            mel=max(speech.timings.mel for speech in speeches),
            vocoder=sum(speech.timings.vocoder for speech in speeches),
        ),
    )
