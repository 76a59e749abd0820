"""Lighter weights say nearly the same."""

import pytest
import torch

from melle import DecodingOptions, Synthesizer
from melle.checkpoint import load_model
from melle.errors import UserError
from melle.model import Melle
from melle.synthesis.quantize import quantize
from tests.conftest import TINY
from tests.synthesis.test_decoding import PROMPT, bias_stop

NEAR = {"bfloat16": 0.05, "float16": 0.01, "int8": 0.05}  # of the frames' deviation, at the first step


@pytest.mark.parametrize("kind", NEAR)
@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_lighter_weights_begin_nearly_the_same_and_speak(tiny_checkpoint, kind, prompt):
    exact, light = (
        Synthesizer.from_checkpoint(tiny_checkpoint),
        Synthesizer.from_checkpoint(tiny_checkpoint, weights=kind),
    )
    options = DecodingOptions(temperature=0.0, max_length=1.0)
    said = []
    for tts in (exact, light):
        bias_stop(tts, -50.0)
        tts.network.prenet.dropout = 0.0
        said.append(tts(["one two three", "nine"], [prompt, None], options=options))
    for one, other in zip(*said):
        assert one.mel.shape == other.mel.shape and other.mel.dtype == torch.float32
        first = slice(0, 4)
        distance = (one.mel[first] - other.mel[first]).square().mean().sqrt()
        assert 0 < distance < NEAR[kind] * one.mel[first].std()
        assert torch.isfinite(other.waveform).all()


def test_lighter_weights_take_less_memory():
    def size(network) -> int:
        return sum(
            value.numel() * value.element_size() for value in network.state_dict().values() if torch.is_tensor(value)
        )

    sizes = {}
    for kind in ("float32", "float16"):
        network = quantize(Melle(**{**TINY, "width": 64, "ff_width": 256, "vocab_size": 12}).eval(), kind)
        sizes[kind] = size(network.blocks)
        assert next(network.latent.parameters()).dtype == next(network.postnet.parameters()).dtype == torch.float32
    assert sizes["float16"] == sizes["float32"] / 2
    network = quantize(Melle(**{**TINY, "vocab_size": 12}).eval(), "int8")
    assert network.blocks[0].mlp.up.weight().dtype == torch.qint8


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "int8"])
def test_the_model_stays_as_it_is_and_the_exact_parts_exact(tiny_checkpoint, kind):
    model = load_model(tiny_checkpoint)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    light = Synthesizer(model, weights=kind).network
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    for part in ("latent", "stop", "postnet"):
        for name, value in getattr(light, part).state_dict().items():
            assert torch.equal(value, before[f"{part}.{name}"])
    with pytest.raises(UserError, match="lighter weights already"):
        quantize(light, "int8")


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="choose one of float32, bfloat16, float16, int8"):
        quantize(Melle(**TINY, vocab_size=12), "int4")
    with pytest.raises(UserError, match="for CPUs"), torch.device("meta"):
        quantize(Melle(**TINY, vocab_size=12), "int8")
