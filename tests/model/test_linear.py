"""The matrix product of decoding is ``nn.Linear``'s, whatever the number of rows."""

import pytest
import torch
from torch import nn

from melle.model.linear import FEW, Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 1), (FEW, 1), (FEW + 1, 1), (3, 40), (0, 1), (2, 2, 2)])
def test_it_is_nn_linear(shape, bias):
    ours, theirs = Linear(48, 33, bias), nn.Linear(48, 33, bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(*shape, 48)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = ours(x)
        torch.testing.assert_close(found, theirs(x), rtol=1e-5, atol=1e-6)
        assert found.is_contiguous() and found.shape == (*shape, 33)
    with torch.no_grad():  # of rows that do not lie one after another
        for rows in (1, FEW, 20):
            turned = torch.randn(48, 2 * rows).t()[::2]
            torch.testing.assert_close(ours(turned), theirs(turned), rtol=1e-5, atol=1e-6)


def test_gradients_are_nn_linears():
    ours, theirs = Linear(8, 5), nn.Linear(8, 5)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 8)
    for one in (ours, theirs):
        one(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, theirs.weight.grad) and torch.equal(ours.bias.grad, theirs.bias.grad)


def test_other_precisions_are_left_alone():
    ours, x = Linear(8, 5), torch.randn(1, 8)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            assert ours(x).dtype == torch.bfloat16
        assert ours.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
        assert ours.double()(x.double()).dtype == torch.float64
