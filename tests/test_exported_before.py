"""Models exported by earlier versions load, and compute what they computed then."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from melle import Synthesizer
from melle.pretrained import load_pretrained

FOLDER = Path(__file__).parent / "exported_before"  # written by version 0.1.0, with what its network gave


@pytest.mark.parametrize("name", ["paced", "reference", "gated"])
def test_an_earlier_export_computes_what_it_did(name):
    network = load_pretrained(FOLDER / name).network
    expected = load_file(FOLDER / name / "expected.safetensors")
    steps = 8 // network.reduction_factor
    with torch.no_grad():
        output = network(
            text=expected["text"],
            text_lengths=torch.tensor([6]),
            text_segments=torch.tensor([[0, 0, 0, 1, 1, 1]]),
            mel=expected["mel"],
            mel_lengths=torch.tensor([16]),
            segment_steps=torch.tensor([[steps, steps]]),
        )
    for value in ("mean", "log_variance", "stop"):
        torch.testing.assert_close(getattr(output, value), expected[value], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["paced", "reference"])
def test_an_earlier_export_speaks(name):
    speech = Synthesizer.from_pretrained(FOLDER / name)("one two")
    assert len(speech.waveform) and torch.isfinite(speech.waveform).all()


def test_the_vocoder_of_an_earlier_export_sounds_as_it_did():
    expected = load_file(FOLDER / "paced" / "expected.safetensors")
    vocoder = Synthesizer.from_pretrained(FOLDER / "paced").vocoder
    torch.testing.assert_close(vocoder(expected["mel"][0]), expected["waveform"], atol=1e-4, rtol=1e-3)
