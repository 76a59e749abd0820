"""The voice to speak in: a recording and what is said in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from melle.audio import LogMel, load_audio
from melle.data.batch import whole_steps
from melle.errors import UserError
from melle.text import Tokenizer

SHORTEST, LONGEST = 0.1, 60.0  # seconds
FAINTEST = 1e-3  # of full scale: -60 dB


@dataclass(frozen=True)
class Prompt:
    """A recording, as a file or as samples (N,) at the model's rate, and what is said in it."""

    audio: str | Path | Tensor
    text: str


@dataclass(frozen=True)
class ReadPrompt:
    """What the model is given of a prompt: the text's tokens and log10 mel (T, M), T a multiple of r."""

    tokens: list[int]
    mel: Tensor


def read_prompt(prompt: Prompt, tokenizer: Tokenizer, log_mel: LogMel, reduction_factor: int) -> ReadPrompt:
    """Raises UserError for a recording without speech, too short or too long, or without its text."""
    if not isinstance(prompt.text, str) or not prompt.text.strip():
        raise UserError("a prompt needs its transcript: say with prompt_text what is spoken in the recording")
    rate = log_mel.spec.sample_rate
    if isinstance(prompt.audio, Tensor):
        name, audio = "the prompt", prompt.audio.detach().cpu().float()
        if audio.ndim != 1:
            raise UserError(f"the prompt has shape {tuple(audio.shape)}; give mono samples (N,) at {rate} Hz")
        if not torch.isfinite(audio).all():
            raise UserError("the prompt holds values that are not numbers; give samples between -1 and 1")
    else:
        name, audio = str(prompt.audio), load_audio(prompt.audio, rate)
    seconds = len(audio) / rate
    if seconds < SHORTEST:
        raise UserError(f"{name}: {seconds:.3f} s are too short for a prompt; give three seconds of speech or more")
    if seconds > LONGEST:
        raise UserError(f"{name}: {seconds:.0f} s are too long for a prompt; cut out three to ten seconds of speech")
    if audio.abs().max() < FAINTEST:
        raise UserError(f"{name}: holds nothing but silence; give a recording of the voice to speak in")
    mel = whole_steps(log_mel(audio), reduction_factor)
    if not len(mel):
        raise UserError(f"{name}: shorter than one step of the model; give three seconds of speech or more")
    return ReadPrompt(tokenizer.encode(prompt.text), mel)
