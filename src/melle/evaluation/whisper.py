"""OpenAI's Whisper as a listener."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melle.audio import resample
from melle.errors import UserError
from melle.evaluation.asr import Transcript
from melle.evaluation.normalisers import make_normaliser
from melle.evaluation.wer import import_jiwer


class WhisperAsr:
    """OpenAI's Whisper through faster-whisper, deterministic: temperature 0, no time stamps, every clip by itself.

    Args:
        model: a size that faster-whisper knows, a hub name, or a local folder (CTranslate2 format).
        initial_prompt: text that tells Whisper what to expect, or None. With it every clip is decoded twice, with and
            without, from one pass of the encoder, which takes most of the time.
        device: "auto", "cpu" or "cuda".  compute_type: CTranslate2's, such as "int8" or "float32".
        cpu_threads: clips worked on at a time on the CPU, one thread each; 0 takes as many as torch does.
        beam_size: hypotheses followed in decoding.  language: spoken language.
        pad_seconds: to which a clip is filled up with silence. Whisper was trained on 30, and 30 it is for longer
            clips in any case; less saves most of the time and may change what it hears.
        normaliser: of ``melle.evaluation.normalisers``.
    """

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
        try:
            import ctranslate2  # noqa: F401  (faster-whisper is of no use without it)
            import faster_whisper  # noqa: F401
            from faster_whisper.tokenizer import Tokenizer
        except ImportError:
            raise UserError('word error rates need faster-whisper: python -m pip install -e ".[eval]"') from None
        import_jiwer()
        self.normalise = make_normaliser(normaliser)
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
        self.beam_size = beam_size
        if device == "auto":
            device = _best_device(model, compute_type)
        self.workers = (cpu_threads or torch.get_num_threads()) if device == "cpu" else 1
        self.shares = device == "cpu" and not cpu_threads
        self.model = _load(model, device, compute_type, self.workers)
        extractor = self.model.feature_extractor
        self.pad_frames = min(round(pad_seconds / extractor.time_per_frame), extractor.nb_max_frames)
        self._tokenizer = Tokenizer(
            self.model.hf_tokenizer, self.model.model.is_multilingual, task="transcribe", language=language
        )
        self._plain = self.model.get_prompt(self._tokenizer, [], without_timestamps=True)
        self._hinted = None
        if initial_prompt:
            hint = self._tokenizer.encode(" " + initial_prompt.strip())
            self._hinted = self.model.get_prompt(self._tokenizer, hint, without_timestamps=True)

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        # By now torch may have left some of the cores to helpers.
        workers = min(self.workers, torch.get_num_threads()) if self.shares else self.workers
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(lambda waveform: self._listen(waveform, sample_rate), waveforms)

    def _listen(self, waveform: Tensor, sample_rate: int) -> Transcript:
        extractor = self.model.feature_extractor
        if sample_rate != extractor.sampling_rate:
            waveform = resample(waveform, sample_rate, extractor.sampling_rate)
        features = extractor(waveform.numpy())[:, :-1]  # (bands, frames); the last frame is the extractor's padding
        most = extractor.nb_max_frames  # 30 seconds
        size = self.pad_frames if features.shape[1] <= self.pad_frames else most
        texts, plains = [], []
        for start in range(0, max(features.shape[1], 1), most):
            window = features[:, start : start + most]
            seconds = window.shape[1] * extractor.time_per_frame
            encoded = self.model.encode(_pad(window, size))
            plains.append(self._decode(encoded, self._plain, seconds))
            if self._hinted:
                texts.append(self._decode(encoded, self._hinted, seconds))
        plain = " ".join(plains).strip()
        return Transcript(" ".join(texts).strip(), plain) if self._hinted else Transcript(plain)

    def _decode(self, encoded: Any, prompt: list[int], seconds: float) -> str:
        # Whisper's usual way out of a loop ("zero zero zero …") is to sample again at a higher temperature, which is
        # not deterministic. Here a loop ends where there are more tokens than anyone speaks in that time.
        limit = min(len(prompt) + 10 + math.ceil(10 * seconds), self.model.max_length)
        result = self.model.model.generate(
            encoded,
            [prompt],
            beam_size=self.beam_size,
            max_length=limit,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = result.sequences_ids[0]
        # Whisper's own rule for silence, in which it would otherwise hear things.
        confidence = result.scores[0] * len(tokens) / (len(tokens) + 1)
        if result.no_speech_prob > 0.6 and confidence < -1.0:
            return ""
        return self._tokenizer.decode(tokens).strip()


def _load(model: str, device: str, compute_type: str, workers: int) -> Any:
    from faster_whisper import WhisperModel

    try:
        return WhisperModel(model, device=device, compute_type=compute_type, cpu_threads=1, num_workers=workers)
    except Exception as error:  # from the hub, the network, the tokenizer or CTranslate2, each with its own classes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model={model}: Whisper cannot be loaded ({reason}); give a local folder by model=FOLDER"
        ) from None


def _best_device(model: str, compute_type: str) -> str:
    """What "auto" stands for. CTranslate2 has to find its CUDA libraries, which are not those of every torch."""
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        return "cpu"
    loaded = _load(model, "cuda", compute_type, 1)
    extractor = loaded.feature_extractor
    try:
        loaded.encode(_pad(extractor(np.zeros(extractor.sampling_rate, dtype=np.float32)), extractor.nb_max_frames))
    except RuntimeError:
        return "cpu"
    return "cuda"


def _pad(features: np.ndarray, frames: int) -> np.ndarray:
    """(bands, any) to (bands, frames) by zeros."""
    return np.pad(features, ((0, 0), (0, frames - features.shape[1])))
