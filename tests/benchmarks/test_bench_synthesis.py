"""What ``python -m benchmarks.synthesis`` measures is what it says."""

import re

import pytest

from benchmarks import common, synthesis
from benchmarks.synthesis import Synthesis, bench_synthesis, floor
from melle.model import Melle
from melle.synthesis.quantize import quantize
from tests.conftest import TINY

SMALL = ("model.layers=1", "model.width=32", "model.heads=2", "model.ff_width=32", "model.postnet_channels=8")


def test_the_floor_counts_what_a_step_reads(monkeypatch):
    monkeypatch.setattr(synthesis, "bandwidth", lambda device: 1.0)  # a byte a second
    network = Melle(**{**TINY, "vocab_size": 1000}).eval()  # rotary or learned tables and the text are not read whole
    read = [p for name, p in network.named_parameters() if name.split(".")[0] not in UNREAD]
    size = 4 * sum(p.numel() for p in read)
    assert floor(network, 3, 10) == size + 2 * 2 * 3 * 10 * 16 * 4
    exact = 4 * sum(p.numel() for part in (network.latent, network.stop) for p in part.parameters())
    assert floor(quantize(network, "bfloat16"), 1, 0) == (size - exact) / 2 + exact
    whole, light = (Melle(**{**TINY, "vocab_size": 9, "ff_width": 4096}).eval() for _ in range(2))
    assert floor(quantize(light, "int8"), 1, 0) < 0.4 * floor(whole, 1, 0)


UNREAD = ("text_embedding", "text_position", "mel_position", "postnet")


def test_the_table(monkeypatch):
    monkeypatch.setattr(synthesis, "in_own_process", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(synthesis, "VOCABULARY", 60)
    monkeypatch.setattr(common, "VOCABULARY", 60)
    monkeypatch.setattr(synthesis, "_untrained_hifigan", fail)
    setup = Synthesis("melle", "cpu", None, SMALL, "int8", seconds=0.2, reduction_factors=(1, 4), batches=(1, 3))
    text = bench_synthesis(setup)
    rows = re.findall(r"^  ([14])  +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", text, re.M)
    assert [row[:2] for row in rows] == [("1", "1"), ("1", "3"), ("4", "1"), ("4", "3")]
    for _, batch, step, _, _, factor, per_minute, memory in rows:
        assert float(step) > 0 and float(memory) > 0
        assert float(factor) * 0.2 * int(batch) * float(per_minute) / int(batch) == pytest.approx(60, rel=0.05)
    assert "int8 weights" in text and "2000 frames at r = 1" in text and "griffin_lim: first sound" in text
    assert "hifigan" not in text and "vocos: first sound" in text


def fail(spec):
    raise synthesis.UserError("not installed")
