"""Attention in pieces, as CPUs do it with dropout, against the fused kernel."""

import pytest
import torch
import torch.nn.functional as F

from melle.model.attention import SelfAttention, causal_in_pieces


@pytest.mark.parametrize("length", [1, 5, 8, 37])
def test_pieces_equal_the_whole(length):
    q, k, v = (torch.randn(2, 3, length, 4, requires_grad=True) for _ in range(3))
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    pieces = causal_in_pieces(q, k, v, 0.0)
    assert torch.allclose(whole, pieces, atol=1e-6)
    ours, theirs = (torch.autograd.grad(x.square().sum(), (q, k, v)) for x in (pieces, whole))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs))


def test_dropout_takes_its_share_and_keeps_the_mean():
    q, k = torch.randn(2, 4, 2, 40, 8).unbind()
    weights = causal_in_pieces(q, k, torch.eye(40).expand(4, 2, 40, 40), 0.25)  # values that show the weights
    past = torch.ones(40, 40, dtype=torch.bool).tril()
    assert not weights[..., ~past].any()
    assert (weights[..., past] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    full = causal_in_pieces(q, k, torch.eye(40).expand(4, 2, 40, 40), 0.0)
    kept = weights[..., past] != 0
    assert torch.allclose(weights[..., past][kept], full[..., past][kept] / 0.75, atol=1e-6)


def test_training_drops_and_evaluation_does_not():
    attention = SelfAttention(16, 2, dropout=0.5)
    x = torch.randn(2, 9, 16)
    assert not torch.equal(attention(x, None)[0], attention(x, None)[0])
    attention.eval()
    assert torch.equal(attention(x, None)[0], attention(x, None)[0])
