"""What many tests need: a tiny network, tiny recordings, and one thread (many small operations run faster so)."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from melle.audio import MelSpec, load_audio, save_audio
from melle.checkpoint import ModelDescription
from melle.corpora.espeak import Espeak, Voice
from melle.corpora.generate import Item, speak_corpus
from melle.data.manifest import Utterance, read_manifest, with_duration, write_manifest
from melle.model import Melle
from melle.text.symbols import SymbolTokenizer
from melle.training.module import MelleModule

TINY = {
    "n_mels": 80,
    "reduction_factor": 4,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "ff_width": 32,
    "prenet_hidden": 16,
    "latent_hidden": 16,
    "postnet_channels": 8,
}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.fixture(autouse=True)
def _calm(monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # Neither the kind of processor nor what this machine once downloaded must decide what a test computes or speaks.
    monkeypatch.setattr("melle.devices.cpu_instructions", dict)
    monkeypatch.setattr("melle.vocoders.default.is_cached", lambda: False)


@pytest.fixture
def seen(monkeypatch) -> list[list[list[str]]]:
    """The ids of every batch that was trained on."""
    batches = []
    step = MelleModule.training_step

    def training_step(self, batch, index):
        batches.append(batch.ids)
        return step(self, batch, index)

    monkeypatch.setattr(MelleModule, "training_step", training_step)
    return batches


@pytest.fixture
def losses(monkeypatch) -> list[float]:
    """The loss of every optimiser step: the mean of its batches'."""
    values: list[float] = []
    watch_losses(monkeypatch.setattr, values)
    return values


def watch_losses(replace, values: list[float]) -> None:
    """Append the loss of every optimiser step of this process to ``values``."""
    step, clip, batches = MelleModule.training_step, MelleModule.configure_gradient_clipping, []

    def training_step(self, batch, index):
        loss = step(self, batch, index)
        batches.append(loss.detach())
        return loss

    def configure_gradient_clipping(self, *arguments, **options):
        values.append(torch.stack(batches).mean().item())
        batches.clear()
        clip(self, *arguments, **options)

    replace(MelleModule, "training_step", training_step)
    replace(MelleModule, "configure_gradient_clipping", configure_gradient_clipping)


@pytest.fixture(scope="session")
def tone_manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl, val.jsonl and test.jsonl: each word a tone, each voice an octave."""
    folder = tmp_path_factory.mktemp("tones")
    for split, voices in (("train", ("a", "b", "c")), ("val", ("d",)), ("test", ("e", "f"))):
        utterances = []
        for voice in voices:
            for number in range(6):
                words = [DIGITS[(number * 3 + i) % 10] for i in range(1 + number % 3)]
                octave = 1 + ord(voice) % 3
                tones = [_tone(100 * octave * (1 + DIGITS.index(word) / 10), 0.2) for word in words]
                path = folder / "audio" / f"{split}-{voice}-{number}.wav"
                save_audio(path, torch.cat(tones), 16000)
                utterances.append(Utterance(" ".join(words), path, path.stem, speaker=voice))
        write_manifest(folder / f"{split}.jsonl", utterances)
    return folder


@pytest.fixture(scope="session")
def real_speech(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, torch.Tensor]]:
    """Texts with waveforms (N,) at 16 kHz, 1 to 3 s: of the manifest MELLE_TEST_MANIFEST, or spoken by espeak-ng."""
    manifest = os.environ.get("MELLE_TEST_MANIFEST")
    if manifest is None:
        folder = tmp_path_factory.mktemp("speech") / "corpus"
        voice = Voice("ann", "en-us", "f2", rate=130)
        texts = ["please enter your number", "good morning", "the party is busy"]
        items = [Item("test", n, f"u{n}", text, voice, "en") for n, text in enumerate(texts)]
        speak_corpus(folder, Espeak, {"test": items}, {}, workers=1)
        manifest = folder / "test.jsonl"
    chosen = [u for u in read_manifest(manifest) if 1 <= with_duration(u).duration <= 3][:3]
    assert chosen, f"{manifest} has no utterance of 1 to 3 seconds"
    return [(utterance.transcription, load_audio(utterance.audio_path, 16000)) for utterance in chosen]


def _tone(frequency: float, seconds: float) -> torch.Tensor:
    time = torch.arange(int(seconds * 16000)) / 16000
    return 0.3 * torch.sin(2 * math.pi * frequency * time) * torch.hann_window(len(time))


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Path:
    """An untrained model that knows the digits, in the form that training writes."""
    tokenizer = SymbolTokenizer("words", DIGITS)
    arguments = {**TINY, "vocab_size": tokenizer.vocab_size, "position": "paced", "pace": 3.0}
    description = ModelDescription(arguments, MelSpec(), tokenizer, frames_per_token=12.0)
    weights = {f"network.{name}": value for name, value in Melle(**arguments).state_dict().items()}
    path = tmp_path / "tiny.ckpt"
    torch.save({"state_dict": weights, "global_step": 7, "melle": description.as_dict()}, path)
    return path


def install_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for FFmpeg on the path: it gives ``folder``/decoded.wav whatever it reads, but for broken files."""
    (folder / "bin").mkdir()
    program = folder / "bin/ffmpeg"
    script = f'case "$*" in *broken*) exit 1;; esac; for last; do :; done; /bin/cp \'{folder}/decoded.wav\' "$last"'
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
