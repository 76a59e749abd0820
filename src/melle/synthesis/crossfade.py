"""Parts of a long text put together: a pause between them, and edges that do not click."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from melle.audio import MelSpec
from melle.synthesis.speech import Speech, Timings
from melle.synthesis.stopping import REASONS

PAUSE = 0.25  # seconds, between parts
FADE = 0.005  # seconds, at the edges of a part


def worst(reasons: Sequence[str]) -> str:
    """The finish reason of the whole: the gravest of its parts'; "empty" only where nothing of it can be heard."""
    gravest = max(reasons, key=REASONS.index)
    return "degenerate" if gravest == "empty" and set(reasons) != {"empty"} else gravest


class CrossFade:
    """For ``parts`` parts that come piece by piece; of a single one it changes nothing."""

    def __init__(self, spec: MelSpec, parts: int):
        self._spec, self._left, self._several = spec, parts, parts > 1
        self._fade = round(FADE * spec.sample_rate)  # samples
        self._pause = round(PAUSE * spec.frame_rate)  # frames
        self._beginning = True

    def __call__(self, waveform: Tensor, last: bool) -> Tensor:
        """The next samples (N,), and whether their part ends with them; with the pause after it."""
        if not self._several:
            return waveform
        waveform, count = waveform.clone(), min(self._fade, len(waveform))
        ramp = torch.linspace(0, 1, count + 1)[:-1]
        if self._beginning and len(waveform):
            waveform[:count] *= ramp
            self._beginning = False
        if last:
            waveform[len(waveform) - count :] *= ramp.flip(0)
            self._beginning, self._left = True, self._left - 1
            if self._left:
                waveform = torch.cat((waveform, waveform.new_zeros(self._pause * self._spec.hop_length)))
        return waveform

    def frames(self, mel: Tensor, last: bool) -> Tensor:
        """The same for frames (T, M). To be called after it."""
        if not (self._several and last and self._left):
            return mel
        return torch.cat((mel, mel.new_full((self._pause, mel.shape[1]), math.log10(self._spec.floor))))


def join_speech(speeches: Sequence[Speech], spec: MelSpec, seed: int) -> Speech:
    """One utterance of all parts, which ``seed`` says again; a single one stays as it is."""
    if len(speeches) == 1:
        return speeches[0]
    fade, waveforms, mels = CrossFade(spec, len(speeches)), [], []
    for speech in speeches:
        waveforms.append(fade(speech.waveform, last=True))
        mels.append(fade.frames(speech.mel, last=True))
    return Speech(
        waveform=torch.cat(waveforms),
        sample_rate=spec.sample_rate,
        mel=torch.cat(mels),
        stop=torch.cat([speech.stop for speech in speeches]),
        finish_reason=worst([speech.finish_reason for speech in speeches]),
        parts=tuple(speech.finish_reason for speech in speeches),
        seed=seed,
        timings=Timings(
            first=speeches[0].timings.first,
            mel=max(speech.timings.mel for speech in speeches),
            vocoder=sum(speech.timings.vocoder for speech in speeches),
        ),
    )
