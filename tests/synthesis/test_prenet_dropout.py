"""How much of the pre-net is dropped while speaking: as in training, or as decoding says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from melle.checkpoint import load_model, save_model
from melle.errors import UserError
from melle.model import Melle
from melle.model.heads import PreNet
from melle.model.noise import kept
from melle.synthesis.options import DecodingOptions
from melle.synthesis.running_batch import RunningBatch
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.word_times import text_attention
from melle.training.predictions import Predictor
from tests.conftest import TINY
from tests.synthesis.test_batched_decoding import make, make_rows
from tests.synthesis.test_decoding import PROMPT

FREE = {"min_length": 0.0, "max_length": 3.0, "max_silence": math.inf, "max_still": math.inf}
TEXTS = ["one two three", "four five"]


@pytest.fixture
def tts(tiny_checkpoint):
    tts = Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")
    tts.network.prenet.dropout = 0.5
    return tts


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.9])
def test_it_speaks_as_a_network_of_that_dropout(tts, dropout):
    prompt, asked = tts.read_prompt(PROMPT), DecodingOptions(prenet_dropout=dropout, **FREE)
    said = [speech.mel for speech in tts(TEXTS, prompt, seed=3, options=asked)]
    streamed = torch.cat([chunk.mel for chunk in tts.stream(TEXTS[0], prompt, seed=3, options=asked)])
    usual = tts(TEXTS[0], prompt, seed=3, options=DecodingOptions(**FREE)).mel
    tts.network.prenet.dropout = dropout
    wanted = [speech.mel for speech in tts(TEXTS, prompt, seed=3, options=DecodingOptions(**FREE))]
    assert all(torch.equal(a, b) for a, b in zip(said, wanted, strict=True))
    torch.testing.assert_close(streamed, wanted[0])
    assert usual.shape != wanted[0].shape or (usual - wanted[0]).abs().max() > 1e-3


def test_without_dropout_the_seed_decides_the_latent_alone(tts):
    prompt, sure = tts.read_prompt(PROMPT), DecodingOptions(prenet_dropout=0.0, temperature=0.0, **FREE)
    a, b = (tts(TEXTS[0], prompt, seed=seed, options=sure).mel for seed in (1, 2))
    torch.testing.assert_close(a, b)
    a, b = (tts(TEXTS[0], prompt, seed=seed, options=DecodingOptions(temperature=0.0, **FREE)).mel for seed in (1, 2))
    assert a.shape != b.shape or (a - b).abs().max() > 1e-3


def test_each_row_of_a_running_batch_drops_its_own_share(monkeypatch):
    network, factors = make(prenet_dropout=0.5), set()
    prenet = network.prenet.forward

    def watched(x, keep=None):
        factors.update(keep.unique().tolist())
        return prenet(x, keep)

    monkeypatch.setattr(network.prenet, "forward", watched)
    batch = RunningBatch(network, DecodingOptions(**FREE), 62.5, most_rows=4)
    rows = [replace(row, prenet_dropout=each) for row, each in zip(make_rows(network), (None, 0.2, 0.0, 0.9))]
    batch.join(dict(enumerate(rows)))
    factors.clear()
    batch.step()
    assert sorted(factors) == pytest.approx([0, 1, 1.25, 2, 10])  # each its own, the first as in training


@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.95])
def test_dropped_units_are_made_up_for(dropout):
    factors = kept(torch.rand(200_000, generator=torch.Generator().manual_seed(1)), dropout)
    assert float((factors == 0).float().mean()) == pytest.approx(dropout, abs=0.005)
    assert float(factors.mean()) == pytest.approx(1, abs=0.02)


def test_times_of_words_are_of_what_was_read(monkeypatch):
    network = Melle(**TINY, vocab_size=12, guided_layers=[0], prenet_dropout=0.5).eval()
    request = replace(make_rows(network)[0], prenet_dropout=0.0)
    mel = torch.randn(20 * network.reduction_factor, 80)
    network.prenet.dropout = 0.0
    wanted = text_attention(network, replace(request, prenet_dropout=None), mel)
    network.prenet.dropout = 0.5
    np.testing.assert_allclose(text_attention(network, request, mel), wanted)
    assert np.abs(text_attention(network, replace(request, prenet_dropout=None), mel) - wanted).max() > 1e-3


def test_every_hidden_layer_has_factors_of_its_own():
    prenet = PreNet(6, 5, 4, 3, "relu", dropout=0.5)
    x, keep = torch.randn(2, 3, 6), 3 * torch.rand(2, 3, 10)
    (a, b, c), first, second = prenet.layers, *keep.split(5, dim=-1)
    hidden = torch.relu(x @ a.weight.T + a.bias) * first
    hidden = torch.relu(hidden @ b.weight.T + b.bias) * second
    torch.testing.assert_close(prenet(x, keep), hidden @ c.weight.T + c.bias)


def test_predictions_are_made_as_it_is_to_speak(tiny_checkpoint):
    model = load_model(tiny_checkpoint)
    assert Predictor(tiny_checkpoint).model.network.prenet.dropout == model.network.prenet.dropout == 0.5
    model.description.decoding["prenet_dropout"] = 0.1
    save_model(tiny_checkpoint, model)
    assert Predictor(tiny_checkpoint).model.network.prenet.dropout == 0.1


@pytest.mark.parametrize("dropout", [-0.1, 1.0, math.nan])
def test_it_is_refused_out_of_range(dropout):
    with pytest.raises(UserError, match=r"prenet_dropout=.* must be from 0 to below 1"):
        DecodingOptions(prenet_dropout=dropout)
