"""OpenAI's Whisper through faster-whisper."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melle.errors import UserError
from melle.evaluation.judges.base import Recogniser, Transcript, samples_at
from melle.evaluation.judges.loading import loading, packages_of
from melle.hub import download, is_hub_name, locate, title_of

REVISIONS = {  # of Systran/faster-whisper-SIZE on the hub
    "tiny": "d90ca5fe260221311c53c58e660288d3deb8d356",
    "base": "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
    "small": "536b0662742c02347bc0e980a01041f333bce120",
    "medium": "08e178d48790749d25932bbc082711ddcfdfbc4f",
    "large-v3": "edaa852ec7e145841d8ffdb056a99866b5f0a478",
}
FILES = ["*.json", "model.bin", "vocabulary.*"]  # of a model on the hub


@dataclass(eq=False)
class Whisper(Recogniser):
    """Whisper, deterministic: temperature 0, no time stamps, every clip by itself."""

    packages = ("faster-whisper", "ctranslate2")
    model: str = "base"  # a size of ``REVISIONS``, "hf://USER/MODEL@REVISION", or a local folder (CTranslate2 format)
    # Text that Whisper is prompted with, or None. With it every clip is decoded twice, with and without it, from one
    # pass of the encoder, which takes most of the time.
    initial_prompt: str | None = None
    device: str = "auto"  # "auto", "cpu" or "cuda"
    compute_type: str = "int8"  # CTranslate2's, such as "int8" or "float32"
    cpu_threads: int = 0  # clips decoded at a time on the CPU, one thread each; 0: as many as torch has
    beam_size: int = 5  # hypotheses of the beam search
    language: str = "en"  # spoken language, ISO 639-1
    # Seconds to which a clip is padded with silence. Whisper was trained on 30, and longer clips have 30 in any case;
    # less saves most of the time and may change the transcript.
    pad_seconds: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = f"whisper {title_of(self.model)}"
        folder, self.revision = _find(self.model)
        if self.device == "auto":
            self.device = _best_device(folder, self.compute_type)
        self.threads = (self.cpu_threads or torch.get_num_threads()) if self.device == "cpu" else 1
        self.network = _load(folder, self.device, self.compute_type, self.threads, self.pad_seconds)
        # Besides the initial prompt's tokens the decoder starts from five of Whisper's own, at most.
        prompt = self.initial_prompt and self.network.hf_tokenizer.encode(f" {self.initial_prompt.strip()}").ids
        self._most_tokens = self.network.max_length - len(prompt or ()) - 5

    def transcribe(self, waveforms: Sequence[Tensor], sample_rate: int) -> Iterator[Transcript]:
        # By now torch may have left some of the cores to other processes.
        shares_cores = self.device == "cpu" and not self.cpu_threads
        threads = min(self.threads, torch.get_num_threads()) if shares_cores else self.threads
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(lambda waveform: self._transcribe(waveform, sample_rate), waveforms)

    def _transcribe(self, waveform: Tensor, sample_rate: int) -> Transcript:
        samples = samples_at(waveform, sample_rate, self.network.feature_extractor.sampling_rate).numpy()
        plain = self._decode(samples, None)
        if not self.initial_prompt:
            return Transcript(plain)
        return Transcript(self._decode(samples, self.initial_prompt), plain)

    def _decode(self, samples: np.ndarray, initial_prompt: str | None) -> str:
        # Whisper's usual way out of a loop ("zero zero zero …") is to sample at a higher temperature, which is not
        # deterministic. Here a loop ends where there are more tokens than anyone speaks in that time.
        seconds = min(len(samples) / self.network.feature_extractor.sampling_rate, 30.0)
        segments, _ = self.network.transcribe(
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


def _find(model: str) -> tuple[str, str | None]:
    """The folder of a model, downloaded where it is a size or on the hub, and its revision there."""
    with packages_of("eval", "the word error rate by Whisper"):
        import ctranslate2  # noqa: F401  (faster-whisper is of no use without it)
        import faster_whisper  # noqa: F401
    if Path(model).is_dir():
        return str(model), None
    name = f"hf://Systran/faster-whisper-{model}@{REVISIONS[model]}" if model in REVISIONS else str(model)
    if is_hub_name(name):
        folder = download(name, FILES, f"model={model}", "give a local folder by model=FOLDER")
        return str(folder), folder.name
    if "/" in name:
        return locate(model, "model")  # which says what is wrong
    raise UserError(
        f"model={model}: no such folder, and no size of Whisper of which a revision is known here; choose one of "
        f"{', '.join(REVISIONS)}, or give a folder or hf://USER/MODEL@REVISION (CTranslate2 format)"
    )


def _load(folder: str, device: str, compute_type: str, workers: int, pad_seconds: float = 30.0) -> Any:
    from faster_whisper import WhisperModel

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

    with loading(f"model={folder}", "give a local folder in CTranslate2's format by model=FOLDER"):
        return Model(folder, device=device, compute_type=compute_type, cpu_threads=1, num_workers=workers)


def _best_device(folder: str, compute_type: str) -> str:
    """What "auto" stands for. CTranslate2 has to find its CUDA libraries, which are not those of every torch."""
    import ctranslate2

    if not ctranslate2.get_cuda_device_count():
        return "cpu"
    try:
        loaded = _load(folder, "cuda", compute_type, 1)
        loaded.encode(np.zeros((loaded.feature_extractor.mel_filters.shape[0], 3000), dtype=np.float32))
    except (RuntimeError, UserError):
        return "cpu"
    return "cuda"
