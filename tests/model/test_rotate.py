"""Rotary positions by a gradient of our own: what autograd makes of the formula."""

import pytest
import torch

from melle.model.attention import rotate, rotation


def formula(x, by):
    cos, sin = by
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_the_formulas(dtype):
    by = rotation(torch.rand(2, 7) * 50, 6)
    parts = torch.randn(2, 7, 3, 4, 6, dtype=dtype).permute(2, 0, 3, 1, 4)  # as the layer cuts queries and keys
    ours, theirs = (parts[:2].clone().requires_grad_() for _ in range(2))
    weights = torch.randn(2, 2, 4, 7, 6)
    for x, turn in ((ours, rotate), (theirs, formula)):
        (turn(x, by).float() * weights).sum().backward()
    exact = 1e-6 if dtype == torch.float32 else 2**-8  # of bfloat16 one rounding
    for a, b in ((rotate(parts[:2], by), formula(parts[:2], by)), (ours.grad, theirs.grad)):
        assert a.dtype == b.dtype == dtype
        assert torch.allclose(a.float(), b.float(), rtol=exact, atol=exact)


def test_it_is_the_same_without_gradients_and_under_autocast():
    by, x = rotation(torch.arange(5)[None], 8), torch.randn(1, 2, 5, 8).bfloat16()
    with torch.no_grad():
        expected = rotate(x, by)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rotate(x, by), expected)
    assert torch.equal(rotate(x.requires_grad_(), by), expected)
