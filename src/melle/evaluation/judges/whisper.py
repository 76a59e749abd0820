"""OpenAI's Whisper through faster-whisper."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melle.errors import UserError, reason
from melle.evaluation.judges.base import Recogniser, Transcript, samples_at
from melle.evaluation.judges.normalisers import make_normaliser
from melle.evaluation.wer import import_jiwer


class Whisper(Recogniser):
    """Whisper, deterministic: temperature 0, no time stamps, every clip by itself.

    Args:
        model: a size that faster-whisper knows, a hub name, or a local folder (CTranslate2 format).
        initial_prompt: text that tells Whisper what to expect, or None. With it every clip is decoded twice, with and
            without it, from one pass of the encoder, which takes most of the time.
        device: "auto", "cpu" or "cuda".
        compute_type: CTranslate2's, such as "int8" or "float32".
        cpu_threads: clips decoded at a time on the CPU, one thread each; 0: as many as torch has.
        beam_size: hypotheses of the beam search.
        language: spoken language, ISO 639-1.
        pad_seconds: length to which a clip is padded with silence. Whisper was trained on 30, and longer clips have 30
            in any case; less saves most of the time and may change the transcript.
        normaliser: of ``melle.evaluation.judges.normalisers``.
    """

    packages = ("faster-whisper", "ctranslate2")

    def __init__(
        self,
        model: str = "base",
        initial_prompt: str | None = None,
        device: str = "auto",
        compute_type: str = "int8",
        cpu_threads: int = 0,
        beam_size: int = 5,
        language: str = "en",
        pad_seconds: float = 30.0,
        normaliser: str = "english",
    ):
        self.name = f"whisper {Path(model).name}"
        self.settings = {
            "model": str(model),
            "initial_prompt": initial_prompt,
            "beam_size": beam_size,
            "pad_seconds": pad_seconds,
            "compute_type": compute_type,
            "language": language,
            "normaliser": normaliser,
        }
        import_jiwer()
        self.normalise = make_normaliser(normaliser)
        device = _best_device(model, compute_type) if device == "auto" else device
        self.threads = (cpu_threads or torch.get_num_threads()) if device == "cpu" else 1
        self.shares_cores = device == "cpu" and not cpu_threads
        self.model = _load(model, device, compute_type, self.threads, pad_seconds)
        self.language, self.beam_size, self.initial_prompt = language, beam_size, initial_prompt or None
        # Besides the initial prompt's tokens the decoder starts from five of Whisper's own, at most.
        hint = self.model.hf_tokenizer.encode(f" {initial_prompt.strip()}").ids if initial_prompt else []
        self._most_tokens = self.model.max_length - len(hint) - 5

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        # By now torch may have left some of the cores to other processes.
        threads = min(self.threads, torch.get_num_threads()) if self.shares_cores else self.threads
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(lambda waveform: self._transcribe(waveform, sample_rate), waveforms)

    def _transcribe(self, waveform: Tensor, sample_rate: int) -> Transcript:
        samples = samples_at(waveform, sample_rate, self.model.feature_extractor.sampling_rate).numpy()
        plain = self._decode(samples, None)
        if self.initial_prompt is None:
            return Transcript(plain)
        return Transcript(self._decode(samples, self.initial_prompt), plain)

    def _decode(self, samples: np.ndarray, initial_prompt: str | None) -> str:
        # Whisper's usual way out of a loop ("zero zero zero …") is to sample at a higher temperature, which is not
        # deterministic. Here a loop ends where there are more tokens than anyone speaks in that time.
        seconds = min(len(samples) / self.model.feature_extractor.sampling_rate, 30.0)
        segments, _ = self.model.transcribe(
            samples,
            language=self.language,
            beam_size=self.beam_size,
            initial_prompt=initial_prompt,
            temperature=0.0,
            compression_ratio_threshold=None,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=min(10 + math.ceil(10 * seconds), self._most_tokens),
        )
        return " ".join(segment.text.strip() for segment in segments).strip()


def _load(model: str, device: str, compute_type: str, workers: int, pad_seconds: float = 30.0) -> Any:
    try:
        import ctranslate2  # noqa: F401  (faster-whisper is of no use without it)
        from faster_whisper import WhisperModel
    except ImportError:
        raise UserError('word error rates need faster-whisper: python -m pip install -e ".[eval]"') from None

    class Model(WhisperModel):
        """Pads to ``pad_seconds``, and encodes a window once where it is decoded twice in a row."""

        last = threading.local()

        def encode(self, features: np.ndarray) -> Any:
            size = round(pad_seconds / self.feature_extractor.time_per_frame)
            if not features[:, size:].any():  # where the sound ends before, transcribe has padded with zeros
                features = features[:, :size]
            known = getattr(self.last, "pair", None)
            if known is None or not np.array_equal(known[0], features):
                self.last.pair = known = (features, super().encode(features))
            return known[1]

    try:
        return Model(model, device=device, compute_type=compute_type, cpu_threads=1, num_workers=workers)
    except Exception as error:  # from the hub, the network, the tokenizer or CTranslate2, each with its own classes
        raise UserError(
            f"model={model}: Whisper cannot be loaded ({reason(error)}); give a local folder by model=FOLDER"
        ) from None


def _best_device(model: str, compute_type: str) -> str:
    """What "auto" stands for. CTranslate2 has to find its CUDA libraries, which are not those of every torch."""
    try:
        import ctranslate2
    except ImportError:
        return "cpu"  # loading says what is missing
    if not ctranslate2.get_cuda_device_count():
        return "cpu"
    try:
        loaded = _load(model, "cuda", compute_type, 1)
        loaded.encode(np.zeros((loaded.feature_extractor.mel_filters.shape[0], 3000), dtype=np.float32))
    except RuntimeError:
        return "cpu"
    return "cuda"
