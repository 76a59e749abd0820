"""The voice to speak in: a recording and what is said in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from melle.audio import MOST_PEAK, LogMel, audio_duration, load_audio
from melle.data.batch import whole_steps
from melle.errors import UserError
from melle.text import Tokenizer

SHORTEST, LONGEST = 0.1, 60.0  # seconds
FAINTEST = 1e-3  # of full scale: -60 dB


@dataclass(frozen=True)
class Prompt:
    """A recording, as a file or as samples (N,) at the model's rate, and what is said in it."""

    audio: str | Path | Tensor | np.ndarray
    text: str


@dataclass(frozen=True)
class ReadPrompt:
    """What the model is given of a prompt: the text's tokens and log10 mel (T, M), T a multiple of r.

    Without tokens it is the beginning of what is to be spoken, and its words are in the text.
    """

    tokens: list[int]
    mel: Tensor


def read_prompt(prompt: Prompt, tokenizer: Tokenizer, log_mel: LogMel, reduction_factor: int) -> ReadPrompt:
    """Raises UserError for a recording without speech, too short or too long, or without its text."""
    if not isinstance(prompt.text, str) or not prompt.text.strip():
        raise UserError("a prompt needs its transcript: say with prompt_text what is spoken in the recording")
    mel = read_voice(prompt.audio, log_mel, reduction_factor)
    return ReadPrompt(tokenizer.encode(prompt.text), mel)


def read_voice(recording: str | Path | Tensor | np.ndarray, log_mel: LogMel, reduction_factor: int) -> Tensor:
    """Log10 mel (T, M) of a recording, T a multiple of r. Raises UserError where ``hear_voice`` does."""
    name = _name(recording)
    mel = whole_steps(log_mel(hear_voice(recording, log_mel.spec.sample_rate, name)), reduction_factor)
    if not len(mel):
        raise UserError(f"{name}: shorter than one step of the model; give three seconds of speech or more")
    return mel


def hear_voice(recording: str | Path | Tensor | np.ndarray, rate: int, name: str | None = None) -> Tensor:
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
    if audio.abs().max() < FAINTEST:
        raise UserError(f"{name}: holds nothing but silence; give a recording of the voice to speak in")
    return audio


def read_samples(audio: str | Path | Tensor | np.ndarray, sample_rate: int) -> Tensor:
    """Mono float32 samples (N,) of a recording or of given samples. Raises UserError for what is neither."""
    if not isinstance(audio, Tensor | np.ndarray):
        return load_audio(audio, sample_rate)
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
    if len(samples) and samples.abs().max() > MOST_PEAK:
        raise UserError(
            f"the prompt has samples up to {float(samples.abs().max()):.4g} where 1 is full scale; scale it down"
        )
    return samples.float()


def _name(recording: str | Path | Tensor | np.ndarray) -> str:
    return "the prompt" if isinstance(recording, Tensor | np.ndarray) else str(recording)


def _check_duration(name: str, seconds: float) -> None:
    if seconds < SHORTEST:
        raise UserError(f"{name}: {seconds:.3f} s are too short for a prompt; give three seconds of speech or more")
    if seconds > LONGEST:
        raise UserError(f"{name}: {seconds:.0f} s are too long for a prompt; cut out three to ten seconds of speech")
