from pathlib import Path

import pytest
import torch
from tones import TEXTS, VOICES, ToneAsr, ToneSpeaker, write_checkpoint

from melle.audio import save_audio
from melle.data.manifest import Utterance, write_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Twelve recordings: every voice says every text, each in a length of its own (whole hops)."""
    utterances = []
    for speaker, pitch in VOICES.items():
        for text in TEXTS:
            samples = 256 * (40 + len(utterances))
            name = f"{speaker}-{len(utterances)}"
            tone = 0.3 * torch.sin(2 * torch.pi * pitch * torch.arange(samples) / 16000)
            save_audio(tmp_path / f"{name}.wav", tone, 16000)
            utterances.append(Utterance(text, tmp_path / f"{name}.wav", name, speaker, "en", samples / 16000))
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path / "test.jsonl"


@pytest.fixture
def without_page(monkeypatch):
    """Evaluations that draw no report and write nothing for TensorBoard, which would take most of their time."""
    monkeypatch.setattr("melle.evaluation.run.write_report", lambda folder, results: None)
    monkeypatch.setattr("melle.evaluation.run.write_tensorboard", lambda folder, results: None)


@pytest.fixture
def asr() -> ToneAsr:
    return ToneAsr()


@pytest.fixture
def speaker() -> ToneSpeaker:
    return ToneSpeaker()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "runs" / "tiny" / "checkpoints" / "last.ckpt", step=7)
