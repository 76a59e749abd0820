"""What is scored: the recordings, the recordings through mel and vocoder, and checkpoints speaking the same texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from melle.audio import LogMel, MelSpec, load_audio
from melle.checkpoint import load_model
from melle.data.pairs import Pair
from melle.errors import UserError
from melle.synthesis.guards import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.text import Tokenizer
from melle.vocoders import Vocoder

RECORDINGS = "recordings"
ALSO = ("last.ckpt", "best.ckpt")  # further names of a run's checkpoints
VOCODED = "recordings through mel and vocoder"


@dataclass(frozen=True)
class Spoken:
    """What a system said for every pair: waveforms (N,) and, of a model, why each ended."""

    system: str
    sample_rate: int
    waveforms: list[Tensor]
    finish_reasons: list[str] | None = None
    step: int | None = None  # optimiser steps trained
    real_time_factor: float | None = None  # seconds of computing per second of speech


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was looked into, without its weights."""

    path: Path
    step: int
    mel: MelSpec
    tokenizer: Tokenizer

    @property
    def run(self) -> Path:
        """The run's folder: runs/<name> for runs/<name>/checkpoints/x.ckpt."""
        folder = self.path.parent
        return folder.parent if folder.name == "checkpoints" else folder

    @property
    def name(self) -> str:
        return f"{self.run.resolve().name}/{self.path.stem}"


def find_checkpoints(where: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Paths from a path, a pattern such as ``runs/*/checkpoints/*.ckpt``, or a list of them. None gives none."""
    if where is None:
        return []
    paths = []
    for item in [where] if isinstance(where, str | Path) else where:
        found = [str(item)] if Path(item).is_file() else sorted(glob(str(item), recursive=True))
        if not found:
            raise UserError(f"{item}: no such checkpoint; train one with `python train.py` or give another path")
        paths.extend(Path(path) for path in found)
    return list(dict.fromkeys(paths))


def read_checkpoints(paths: Sequence[Path], pairs: Sequence[Pair]) -> list[Checkpoint]:
    """Look into every checkpoint, so that one that cannot be scored is known at once; ordered by run, then by steps."""
    checkpoints = []
    for path in paths:
        model = load_model(path)
        checkpoint = Checkpoint(path, model.step, model.description.mel, model.description.tokenizer)
        for utterance in (utterance for pair in pairs for utterance in (pair.target, pair.prompt)):
            try:
                checkpoint.tokenizer.encode(utterance.transcription)
            except UserError as error:
                raise UserError(f"{path} cannot speak utterance {utterance.id}: {error}") from None
        checkpoints.append(checkpoint)
    # A pattern also finds last.ckpt and best.ckpt, which are some of their siblings again.
    others = [c for c in checkpoints if c.path.name not in ALSO]
    siblings = {(c.path.parent.resolve(), c.step) for c in others}
    alone = [c for c in checkpoints if c.path.name in ALSO and (c.path.parent.resolve(), c.step) not in siblings]
    checkpoints = others + alone
    return sorted(checkpoints, key=lambda checkpoint: (str(checkpoint.run), checkpoint.step, checkpoint.path.name))


def record(pairs: Sequence[Pair], sample_rate: int) -> Spoken:
    """The first ceiling: what the speakers said."""
    return Spoken(RECORDINGS, sample_rate, [load_audio(pair.target.audio_path, sample_rate) for pair in pairs])


def vocode(recordings: Spoken, spec: MelSpec, vocoder: Vocoder, device: str | torch.device = "cpu") -> Spoken:
    """The second ceiling: what is left of it in mel frames. No model on this mel and vocoder sounds better."""
    log_mel, vocoder = LogMel(spec).to(device), vocoder.to(device)
    # The last frame stands at the end of the recording, and so the sound that is made of it beyond.
    waveforms = [
        vocoder(log_mel(waveform.to(device))).cpu()[: len(waveform)]
        for waveform in tqdm(recordings.waveforms, desc=VOCODED, unit="utterance", leave=False)
    ]
    return Spoken(VOCODED, spec.sample_rate, waveforms)


def speak(
    checkpoint: Checkpoint,
    pairs: Sequence[Pair],
    vocoder: Vocoder,
    options: DecodingOptions | None = None,
    batch_size: int = 30,
    seed: int = 0,
    device: str | torch.device = "cpu",
    weights: str = "float32",
) -> Spoken:
    """A checkpoint speaks every target's text with the prompt's voice, ``batch_size`` utterances at a time."""
    synthesizer = Synthesizer.from_checkpoint(checkpoint.path, vocoder, device, weights=weights)
    speeches, seconds = [], 0.0
    with tqdm(total=len(pairs), desc=f"{checkpoint.name}: speaking", unit="utterance", leave=False) as progress:
        for start in range(0, len(pairs), batch_size):
            batch = pairs[start : start + batch_size]
            texts = [pair.target.transcription for pair in batch]
            prompts = [Prompt(pair.prompt.audio_path, pair.prompt.transcription) for pair in batch]
            begun = time.perf_counter()
            seeds = list(range(seed + start, seed + start + len(batch)))
            speeches += synthesizer(texts, prompts, options=options, seed=seeds)
            seconds += time.perf_counter() - begun
            progress.update(len(batch))
    return Spoken(
        system=checkpoint.name,
        sample_rate=synthesizer.spec.sample_rate,
        waveforms=[speech.waveform for speech in speeches],
        finish_reasons=[speech.finish_reason for speech in speeches],
        step=checkpoint.step,
        real_time_factor=seconds / max(sum(speech.seconds for speech in speeches), 1e-9),
    )
