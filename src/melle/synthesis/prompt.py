"""The voice to speak in: a recording, trimmed and levelled, and what is said in it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from melle.audio import MAX_PEAK, LogMel, MelSpec, audio_duration, load_audio, loudness, speech_level
from melle.checkpoint import ModelDescription
from melle.data.batch import whole_steps
from melle.data.clipping import clipped_share
from melle.data.silence import speech_span
from melle.errors import UserError
from melle.synthesis.options import BEST_PROMPT, MAX_PROMPT, MIN_PROMPT, USUAL_PROMPT

logger = logging.getLogger(__name__)

Recording = str | Path | Tensor | np.ndarray  # a file, or mono samples (N,) at the model's rate
FAINTEST = 1e-3  # of full scale, -60 dB: what is nowhere louder is silence …
LEVELLED_FAINTEST = 1e-4  # … or, where the level is matched, -80 dB
SLACK = 1.25  # by which speech may be slower or faster than 98 of 100 utterances of the training data
MAX_OFF = 0.3  # log10, 6 dB: a level that differs less from the training data's is left as it is
AT_PEAK = 0.999  # of a recording's peak: a clipped one may have been made softer since
# Hz, and how far (log10) below loud speech the bands above are on average, even in hissing sounds. Of 200 recordings of
# full band all but one have less than 2.9; 400 that went through 8,000 samples a second have more than 3.4.
NARROW = (4400.0, 3.1)
NOISY = 0.95  # log10, 19 dB: the least distance of loud speech from what is between words


@dataclass(frozen=True, eq=False)  # tensors do not compare
class Prompt:
    """A recording, as a file or as samples (N,) at the model's rate, and what is said in it.

    ``tokens`` and ``mel`` are what a model reads of it; ``Synthesizer.read_prompt`` fills them in, so that many calls
    read the recording once. Without tokens the mel is the beginning of what is to be spoken (continuation); without
    audio it is what the model itself has said before.
    """

    audio: Recording | None
    text: str
    tokens: list[int] = field(default_factory=list)  # of the text
    mel: Tensor | None = None  # (T, M) log10, T a multiple of r; None: not read yet
    notes: tuple[str, ...] = ()  # what makes it a bad prompt, a sentence each, once it is read
    pause: int = 0  # frames of silence at the end of the mel, which are no part of the recording
    # What models have found out about it, which is forgotten with it; shared by what ``replace`` makes of it.
    known: dict[Any, Any] = field(default_factory=dict, repr=False)


Voice = Prompt | Recording | None  # a prompt, or its recording


def as_prompt(voice: Voice, text: str | None) -> Prompt | None:
    """A voice with what is said in it. Raises UserError where one of the two is missing."""
    if voice is None:
        if text is not None:
            raise UserError("prompt and prompt_text belong together: give the recording, too")
        return None
    if not isinstance(voice, Prompt):
        voice = Prompt(voice, text or "")
    elif text is not None and text != voice.text:
        raise UserError("the prompt has a text of its own; leave prompt_text out")
    if voice.mel is None and (not isinstance(voice.text, str) or not voice.text.strip()):
        raise UserError(
            "a prompt needs its transcript: give what is spoken in the recording, by --prompt-text or prompt_text"
        )
    return voice


def read_prompt(prompt: Prompt, model: ModelDescription, log_mel: LogMel) -> Prompt:
    """With the tokens of its text, and the mel of its recording, trimmed and levelled.

    Warns of what makes a bad prompt, and keeps it as ``notes``. Raises UserError for a recording without speech, too
    short or too long.
    """
    name, tokens = _name(prompt.audio), model.tokenizer.encode(prompt.text)
    faintest = FAINTEST if model.speech_level is None else LEVELLED_FAINTEST
    waveform = load_voice(prompt.audio, log_mel.spec.sample_rate, name, faintest)
    waveform = trim_silence(waveform, log_mel)
    gain = 0.0
    if model.speech_level is not None:
        waveform, gain = match_level(waveform, model.speech_level, log_mel)
    notes = [f"{abs(gain):.0f} dB {'softer' if gain > 0 else 'louder'} than the training data: brought to its level"]
    notes = (notes if gain else []) + sound_faults(waveform, log_mel)
    mel = _steps(log_mel(waveform), model.network.get("reduction_factor", 1), name)
    notes += _length_faults(len(waveform) / log_mel.spec.sample_rate, model)
    notes += _pace_faults(len(tokens), len(mel), model)
    for note in notes:
        (_warn_once if isinstance(prompt.audio, str | Path) else _warn)(name, note)
    return replace(prompt, tokens=tokens, mel=mel, notes=tuple(notes))


def steps_of_pause(seconds: float, spec: MelSpec, reduction_factor: int) -> int:
    """Mel steps of r frames that come nearest to so many seconds."""
    return round(seconds * spec.frame_rate / reduction_factor)


def with_pause(prompt: Prompt, frames: int, spec: MelSpec) -> Prompt:
    """A prompt that was read, and after it so many frames of digital silence."""
    return replace(prompt, mel=F.pad(prompt.mel, (0, 0, 0, frames), value=math.log10(spec.floor)), pause=frames)


def _warn(name: str, note: str) -> None:
    logger.warning("%s: %s", name, note)


_warn_once = lru_cache(1000)(_warn)  # of a file that is a prompt again and again, as in the samples of training


def read_beginning(recording: Recording, model: ModelDescription, log_mel: LogMel) -> Prompt:
    """A recording that is to be gone on from, as it is: where it breaks off matters."""
    name = _name(recording)
    mel = log_mel(load_voice(recording, log_mel.spec.sample_rate, name))
    return Prompt(recording, "", mel=_steps(mel, model.network.get("reduction_factor", 1), name))


def load_voice(recording: Recording, rate: int, name: str | None = None, faintest: float = FAINTEST) -> Tensor:
    """Samples (N,) of a recording at ``rate``, at which samples are given. ``name``: what errors call it.

    Raises UserError for one without speech, too short or too long.
    """
    name = name or _name(recording)
    if isinstance(recording, Tensor | np.ndarray):
        audio = read_samples(recording, rate)
        _check_duration(name, len(audio) / rate)
    else:
        _check_duration(name, audio_duration(recording))  # an hour of sound is not read to be refused
        audio = read_samples(recording, rate)
    if audio.abs().max() < faintest:
        raise UserError(f"{name}: holds nothing but silence; give a recording of the voice to speak in")
    return audio


def read_samples(audio: Recording, sample_rate: int) -> Tensor:
    """Mono float32 samples (N,) of a recording or of given samples. Raises UserError for what is neither."""
    if not isinstance(audio, Tensor | np.ndarray):
        return load_audio(audio, sample_rate, always_warn=True)
    try:
        samples = torch.as_tensor(audio).detach().cpu()
    except (TypeError, ValueError) as error:
        raise UserError(f"the prompt cannot be read ({error}); give float32 samples between -1 and 1") from None
    if samples.ndim != 1:
        raise UserError(f"the prompt has shape {tuple(samples.shape)}; give mono samples (N,) at {sample_rate} Hz")
    if not samples.is_floating_point():
        raise UserError(f"the prompt holds {samples.dtype}; give floating-point samples between -1 and 1")
    if not torch.isfinite(samples).all():
        raise UserError("the prompt holds values that are not numbers; give samples between -1 and 1")
    if len(samples) and samples.abs().max() > MAX_PEAK:
        raise UserError(
            f"the prompt has samples up to {float(samples.abs().max()):.4g} where 1 is full scale; scale it down"
        )
    return samples.float()


def _steps(mel: Tensor, reduction_factor: int, name: str) -> Tensor:
    mel = whole_steps(mel, reduction_factor)
    if not len(mel):
        raise UserError(f"{name}: shorter than one step of the model; give {BEST_PROMPT} of speech")
    return mel


def _length_faults(seconds: float, model: ModelDescription) -> list[str]:
    longest = USUAL_PROMPT
    if model.most_tokens is not None:
        longest = model.most_tokens * model.frames_per_token * model.length_range[1] / model.mel.frame_rate
    if seconds <= longest:
        return []
    return [f"{seconds:.1f} s, longer than what the model was trained on (about {longest:.1f} s); cut it shorter"]


def _pace_faults(tokens: int, frames: int, model: ModelDescription) -> list[str]:
    """Where the transcript, by the training data's pace, cannot be what is said in the recording."""
    share = frames / max(1, tokens) / model.frames_per_token
    shortest, longest = model.paces
    if share > longest * SLACK:
        return [
            f"{share:.1f} times as long as its transcript would take in the training data; check that the "
            "transcript holds all that is said in it, and that it has no long pauses"
        ]
    if share < shortest / SLACK:
        return [
            f"{1 / share:.1f} times as short as its transcript would take in the training data; check that the "
            "transcript holds only what is said in it"
        ]
    return []


def _name(recording: Recording | None) -> str:
    return str(recording) if isinstance(recording, str | Path) else "the prompt"


def _check_duration(name: str, seconds: float) -> None:
    if seconds < MIN_PROMPT:
        raise UserError(f"{name}: {seconds:.3f} s are too short for a prompt; give {BEST_PROMPT} of speech")
    if seconds > MAX_PROMPT:
        raise UserError(
            f"{name}: {seconds:.0f} s are too long for a prompt ({MAX_PROMPT:g} s at most); cut out {BEST_PROMPT}"
        )


def trim_silence(waveform: Tensor, log_mel: LogMel) -> Tensor:
    """Waveform (N,) without the silence before its first and after its last sound (see ``silence.speech_span``)."""
    begin, end = speech_span(log_mel(waveform), log_mel.spec)
    return waveform[begin:end]


def match_level(waveform: Tensor, level: float, log_mel: LogMel) -> tuple[Tensor, float]:
    """Waveform (N,) scaled to ``level`` (see ``audio.speech_level``) where it is far from it, and the gain in dB."""
    difference = level - speech_level(log_mel(waveform))
    if abs(difference) <= MAX_OFF:
        return waveform, 0.0
    return waveform * 10**difference, 20 * difference


def sound_faults(waveform: Tensor, log_mel: LogMel) -> list[str]:
    """A sentence for each of what makes a bad prompt of a recording (N,): clipping, narrow band, noise."""
    mel = log_mel(waveform)
    level = loudness(mel)
    loud = float(level.quantile(0.95))
    faults = []
    if clipped_share(waveform.numpy(force=True), AT_PEAK * float(waveform.abs().max())):
        faults.append("is clipped; record it with less gain")
    hertz, below = NARROW
    high = mel[:, band_centres(log_mel) > hertz].mean(dim=1)
    if high.isfinite().all() and float(high.quantile(0.98)) < loud - below:
        faults.append("has nothing above 4 kHz, as over a telephone; the voice will sound so")
    power = (10 ** (2 * mel)).sum(dim=1).log10() / 2
    if float(power.quantile(0.95) - power.quantile(0.05)) < NOISY:
        faults.append("is noisy, or has no pause; the voice may sound so")
    return faults


def band_centres(log_mel: LogMel) -> Tensor:
    """Hz (M,): where each mel band's filter is highest."""
    return log_mel.filters.argmax(dim=0) * log_mel.spec.sample_rate / log_mel.spec.n_fft
