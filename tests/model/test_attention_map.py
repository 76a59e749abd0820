"""Attention read off a pass, against weights written out from the layers' own inputs."""

import pytest
import torch

from melle.data.batch import Row, collate
from melle.model.attention import rotate
from melle.model.attention_map import attention_map, attention_weights, diagonality
from tests.model.test_melle import VARIANTS, make


def batch():
    row = Row([[3, 4, 5], [6, 7]], [torch.randn(8, 5), torch.randn(7, 5)], ["a", "b"])
    return collate([row], 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_map_is_the_softmax_of_each_head(variant):
    network, one = make(**VARIANTS[variant]), batch()
    tokens, steps = 6, 4 + 4
    inputs = []
    hooks = [
        block.attention.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments))
        for block in network.blocks
    ]
    network(**one.inputs())
    for hook in hooks:
        hook.remove()
    found = attention_map(network, **one.inputs())
    assert found.shape == (2, 2, steps, tokens)
    for layer, (block, (x, rotation, mask, *_)) in enumerate(zip(network.blocks, inputs)):
        attention = block.attention
        q, k, _ = (attention.qkv(x[0]) @ torch.eye(48)).split(16, dim=1)
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            a, b = q[None, None, :, part], k[None, None, :, part]
            if rotation is not None:
                a, b = rotate(a, rotation), rotate(b, rotation)
            for step in range(steps):
                slot = tokens + step
                allowed = range(slot + 1) if mask is None else torch.nonzero(mask[0, 0, slot])[:, 0].tolist()
                scores = torch.stack([a[0, 0, slot] @ b[0, 0, other] / 8**0.5 for other in allowed])
                expected = scores.softmax(0)[:tokens]
                torch.testing.assert_close(found[layer, head, step], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(attention_weights(attention, x, rotation, mask).sum(3), torch.ones(1, 2, 14))
    assert not any(block.attention._forward_pre_hooks for block in network.blocks)


def test_the_pass_is_left_as_it_was():
    network, one = make(), batch()
    before = network(**one.inputs())
    attention_map(network, **one.inputs())
    assert torch.equal(network(**one.inputs()).frames, before.frames)


def test_diagonality():
    assert diagonality(torch.eye(50)).item() > 0.99
    assert diagonality(torch.eye(50).flip(1)).item() < 0.3
    assert diagonality(torch.full((3, 40, 20), 1 / 20)).tolist() == pytest.approx([0.235] * 3, abs=0.02)
