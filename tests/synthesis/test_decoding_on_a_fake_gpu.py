"""A step of decoding on a GPU that there is not: what a CUDA graph could not hold is found before there is one."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

from benchmarks.plain_decoding import caches_and_state
from melle.model import Melle
from melle.model.noise import StepNoise
from melle.synthesis.postnet_streaming import StreamingPostNet
from melle.synthesis.quantize import quantize
from melle.synthesis.stopping import DecodingOptions, Stopping
from tests.conftest import TINY
from tests.fake_gpu import GPU, Moved, fake_gpu, put_on_gpu

KINDS = {
    "learned": {"reduction_factor": 1, "position": "learned", "max_text": 64, "max_steps": 64},
    "rope": {"position": "rope", "block": "sub_ln", "norm": "rms", "mlp": "gated"},
    "paced": {"position": "paced", "text_attention": "bidirectional"},
}
CHANCE = ("rand", "dropout", "bernoulli", "normal", "uniform", "multinomial")


@pytest.fixture
def watch(monkeypatch):
    with fake_gpu(monkeypatch) as watch:
        yield watch


def prepare(kind: str, weights: str, watch):
    """A network, its state after 21 positions of one row, the frames and the noise of the next step."""
    watch.lenient = True
    with unset_fake_temporarily():
        network = quantize(Melle(**{**TINY, "vocab_size": 12, **KINDS[kind]}).eval(), weights)
    put_on_gpu(network)
    caches, state = caches_and_state(network, 21, 9)
    state = state.fix(caches)
    frames = torch.empty(1, network.reduction_factor, 80, device=GPU)
    keep = torch.empty(1, 1, network.prenet.units, device=GPU)
    noise = StepNoise(keep, torch.empty(1, 1, network.group, device=GPU))
    watch.lenient = False
    watch.counts.clear()
    return network, caches, state, frames, noise


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_step_asks_nothing_moves_nothing_and_leaves_nothing_to_chance(kind, weights, watch):
    network, caches, state, frames, noise = prepare(kind, weights, watch)
    made, logits = network.step(caches, state, frames, 1.0, noise)
    assert made.device == logits.device == GPU and made.dtype == logits.dtype == torch.float32
    assert watch.counts and not [name for name in watch.counts if any(word in name for word in CHANCE)]


@torch.no_grad()
def test_without_noise_given_chance_would_be_found(watch):
    network, caches, state, frames, _ = prepare("rope", "float32", watch)
    network.step(caches, state, frames, 1.0, None)
    assert [name for name in watch.counts if any(word in name for word in CHANCE)]


@torch.no_grad()
def test_what_a_graph_cannot_hold_is_found(watch, monkeypatch):
    network, caches, state, frames, noise = prepare("rope", "float32", watch)
    with pytest.raises((RuntimeError, Moved), match="cpu"):
        network.step(caches, state, torch.empty(frames.shape), 1.0, noise)
    monkeypatch.setattr(network, "_rotation", lambda positions: torch.tensor([1.0, 2.0], device=GPU))
    with pytest.raises(Moved):
        network.step(caches, state, frames, 1.0, noise)


@torch.no_grad()
def test_stopping_and_the_post_net_do_not_wait_either(watch):
    network, *_ = prepare("rope", "float32", watch)
    watch.lenient = True
    r, rows = network.reduction_factor, 3
    prompt, lengths = torch.empty(rows, 16, 80, device=GPU), torch.empty(rows, dtype=torch.long, device=GPU)
    postnet = StreamingPostNet(network, prompt, lengths, 400)
    stopping = Stopping(DecodingOptions(), lengths, lengths, torch.empty(rows, device=GPU), 62.5, r)
    watch.lenient = False
    for count in range(1, 30):
        postnet.append(torch.empty(rows, r, 80, device=GPU))
        stopping.update(count, torch.empty(rows, device=GPU), postnet.raw(stopping.window))
