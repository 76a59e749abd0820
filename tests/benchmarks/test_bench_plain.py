"""The network says what it says as it is usually written first: padded apart, a dense mask, a cache that is copied."""

import copy

import pytest
import torch

from benchmarks.plain import PlainMelle
from benchmarks.plain_decoding import PlainDecoder
from melle.data.batch import Row, collate
from melle.losses import MelleLoss
from melle.model import Melle
from melle.model.cache import DecodingState, KVCache
from tests.conftest import TINY

CALM = {"dropout": 0.0, "prenet_dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0, "latent_sampling": False}
SIZES = {"vocab_size": 12, "n_mels": 5, "width": 16, "layers": 2, "heads": 2, "ff_width": 32, "reduction_factor": 2}
VARIANTS = {
    "paper": {},
    "reference": {"block": "sub_ln", "norm": "rms", "mlp": "gated", "activation": "silu", "position": "rope"},
    "quickstart": {"position": "paced", "text_attention": "bidirectional", "guided_layers": [1], "postnet": "none"},
}


def rows(*lengths: tuple[int, int]) -> list[Row]:
    return [Row([torch.randint(2, 12, (s,)).tolist()], [torch.randn(t, 5)], ["a"]) for s, t in lengths]


@pytest.mark.parametrize("variant", VARIANTS)
def test_plain_has_the_same_losses_and_gradients_where_nothing_is_padded(variant):
    network = Melle(**SIZES, **CALM, **VARIANTS[variant])
    plain = PlainMelle(copy.deepcopy(network))
    batch = collate(rows((5, 14), (5, 14), (5, 14)), 2)
    totals = []
    for one in (network, plain):
        terms = MelleLoss(guide_weight=1.0, kl_warmup_steps=0)(
            one(**batch.inputs()), batch.mel_lengths, batch.text_segments, batch.segment_steps, 2, 0
        )
        terms.total.backward()
        totals.append(terms.total.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    for ours, theirs in zip(network.blocks, plain.network.blocks):
        parts = torch.cat([part.weight.grad for part in (theirs.attention.q, theirs.attention.k, theirs.attention.v)])
        for a, b in ((ours.attention.qkv.weight.grad, parts), (ours.mlp.up.weight.grad, theirs.mlp.up.weight.grad)):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * b.abs().max())


def test_plain_does_not_look_at_padding():
    plain = PlainMelle(Melle(**SIZES, **CALM, postnet="none")).eval()
    batch = collate(rows((5, 14), (3, 8)), 2)
    before = plain(**batch.inputs())
    batch.text[1, 4:] = 7
    batch.mel[1, 8:] = 9.0
    after = plain(**batch.inputs())
    assert torch.allclose(before.refined[1, :8], after.refined[1, :8], atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"block": "sub_ln", "norm": "rms", "mlp": "gated", "position": "rope"}])
def test_the_plain_decoder_says_the_same(changes):
    network = Melle(
        **{**TINY, "vocab_size": 9, "position": "learned", "prenet_dropout": 0.0, "latent_sampling": False, **changes}
    ).eval()
    plain, caches = PlainDecoder(network, 7), []
    for block, (keys, values) in zip(network.blocks, plain.caches):
        cache = KVCache(1, block.attention.heads, 12, network.head_width, "cpu", torch.float32)
        cache.append(keys, values)
        caches.append(cache)
    # Seven positions: none of text, and <BOS> among them as step 0 of the row.
    state = DecodingState(torch.tensor([7]), 7, torch.tensor([6]), even=True)
    frames = torch.randn(1, network.reduction_factor, network.n_mels)
    with torch.inference_mode():
        for _ in range(4):
            (ours, stop), (theirs, other) = network.step(caches, state, frames), plain.step(frames)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(stop, other, rtol=1e-4, atol=1e-5)
            frames = ours
