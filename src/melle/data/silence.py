"""Silences: where speech begins and ends by its energy, and silences made shorter by Silero's detector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from melle.audio import MelSpec, loudness, resample
from melle.errors import DataError, UserError
from melle.options import option

RATE = 16000  # samples per second, what Silero's network takes
MIN_SPEECH = 0.1  # seconds: what is shorter is a click or a breath
MIN_SILENCE = 0.1  # seconds: a shorter one belongs to the speech
FADE = 0.01  # seconds over which the two sides of a cut blend
KEEP = 0.1  # seconds of what is silent that stay at either end: soft consonants are no louder
SILENT = (1.0, 2.0)  # log10 below loud speech at which a frame is silent: between 20 dB, in noise, and 40 dB
NOISE_SHARE = 0.75  # of the way from loud speech down to the noise between words
SUSTAINED = 3  # frames that sound lasts at least: what is shorter is a click


def speech_span(mel: Tensor, spec: MelSpec) -> tuple[int, int]:
    """First sample, and one past the last, of a recording without the silence at its ends but for ``KEEP`` of it.

    By the energy of its log10 mel (T, M): silent is what is 40 dB below loud speech or, in noise, near the noise. The
    end may lie past the recording's; where no sound is sustained, nothing is cut.
    """
    level = loudness(mel)
    recorded = level[level > math.log10(spec.floor) + 1e-3]  # digital zeros, which were put there, say nothing of noise
    if not len(recorded):
        recorded = level
    loud, noise = float(recorded.quantile(0.95)), float(recorded.quantile(0.05))
    least, most = SILENT
    threshold = loud - min(max(NOISE_SHARE * (loud - noise), least), most)
    audible = (level >= threshold).float()
    if len(audible) >= SUSTAINED:
        inside = audible.unfold(0, SUSTAINED, 1).amin(dim=1).nonzero()[:, 0]
        if len(inside):
            hop, keep = spec.hop_length, round(KEEP * spec.sample_rate)
            return max(0, int(inside[0]) * hop - keep), (int(inside[-1]) + SUSTAINED) * hop + keep
    return 0, len(mel) * spec.hop_length


def speech_frames(mel: Tensor, spec: MelSpec) -> int:
    """How many frames of a log10 mel (T, M) are left within ``speech_span``."""
    begin, end = speech_span(mel, spec)
    hop = spec.hop_length
    return 1 + (min(end, (len(mel) - 1) * hop) - begin) // hop


@dataclass(frozen=True)
class SileroTrim:
    """Waveform (N,) to the shorter one that begins and ends near its speech and has no long silence within.

    Silero VAD, whose weights are in its wheel, finds the speech: works offline. Every process loads it when it
    first needs it.
    """

    keep_seconds: float = option(0.1, "silence left before and after the speech, where there is as much", metavar="N")
    max_inner_seconds: float = option(
        0.5, "length to which silences within the speech are cut, in their middle", metavar="N"
    )
    threshold: float = option(0.5, "how sure Silero must be that someone speaks, 0 to 1", metavar="N")

    def __post_init__(self):
        if not (0 <= self.keep_seconds < math.inf and self.max_inner_seconds >= MIN_SILENCE and 0 < self.threshold < 1):
            raise UserError(
                f"{self}: give keep_seconds from 0, max_inner_seconds from {MIN_SILENCE:g}, threshold between 0 and 1"
            )
        _version()  # say here that it is missing, not in a loader process

    @property
    def description(self) -> str:
        """All that the result depends on besides the waveform."""
        return (
            f"silero-vad {_version()}, keep {float(self.keep_seconds)} s, inner {float(self.max_inner_seconds)} s, "
            f"threshold {float(self.threshold)}"
        )

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Raises DataError where nobody speaks."""
        speech = self._speech(waveform, sample_rate)
        if not speech:
            raise DataError("no speech", "no speech was found; remove it from the manifest or lower vad.threshold")
        keep, inner, fade = (round(s * sample_rate) for s in (self.keep_seconds, self.max_inner_seconds, FADE))
        before = (inner + fade) // 2  # kept of a silence that is cut, with what blends
        after = inner + fade - before
        segments, start = [], max(speech[0][0] - keep, 0)
        for (_, end), (following, _) in pairwise(speech):
            if following - end > inner:
                segments.append(waveform[start : end + before])
                start = following - after
        segments.append(waveform[start : speech[-1][1] + keep])
        return _blend(segments, fade)

    @torch.inference_mode()
    def _speech(self, waveform: Tensor, sample_rate: int) -> list[tuple[int, int]]:
        """Begin and end, in samples, of each stretch of speech."""
        waveform = resample(waveform, sample_rate, RATE)
        library, model = _silero()
        # Without the optimiser, which changes the network after its first runs, all runs are the same, and faster.
        with torch.jit.optimized_execution(False):
            found = library.get_speech_timestamps(
                waveform,
                model,
                threshold=self.threshold,
                sampling_rate=RATE,
                min_speech_duration_ms=round(MIN_SPEECH * 1000),
                min_silence_duration_ms=round(MIN_SILENCE * 1000),
                speech_pad_ms=0,
            )
        return [(segment["start"] * sample_rate // RATE, segment["end"] * sample_rate // RATE) for segment in found]


def _blend(segments: list[Tensor], fade: int) -> Tensor:
    """Join segments, each overlapping the next by ``fade`` samples. Equal power, because noise is not correlated."""
    angle = torch.linspace(0, torch.pi / 2, fade)
    whole = segments[0].clone()
    for segment in segments[1:]:
        joint = whole[len(whole) - fade :] * angle.cos() + segment[:fade] * angle.sin()
        whole = torch.cat([whole[: len(whole) - fade], joint, segment[fade:]])
    return whole


def _version() -> str:
    try:
        return metadata.version("silero-vad")
    except metadata.PackageNotFoundError:
        raise UserError('vad=silero needs silero-vad: python -m pip install -e ".[vad]"') from None


@cache
def _silero() -> tuple[Any, torch.jit.ScriptModule]:
    """The library and its network: the one for torch itself, which needs no further package."""
    threads = torch.get_num_threads()
    import silero_vad

    torch.set_num_threads(threads)  # importing it sets one thread for the whole process
    return silero_vad, silero_vad.load_silero_vad()
