"""RMSNorm, gated MLP and rotary positions against transformers' Qwen2 modules with the same weights."""

import torch
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm, Qwen2RotaryEmbedding, apply_rotary_pos_emb

from melle.model.attention import rotate, rotation
from melle.model.block import Mlp, make_norm

CONFIG = Qwen2Config(hidden_size=24, intermediate_size=40, num_attention_heads=3, hidden_act="silu", rope_theta=10000.0)


def test_rms_norm():
    ours, theirs = make_norm("rms", 24), Qwen2RMSNorm(24, eps=1e-6)
    torch.nn.init.normal_(theirs.weight)
    ours.load_state_dict(theirs.state_dict())
    for scale in (1e-4, 1.0, 1e4):
        x = scale * torch.randn(5, 7, 24)
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_gated_mlp():
    ours, theirs = Mlp(24, 40, "gated", "silu", dropout=0.0), Qwen2MLP(CONFIG)
    state = {name.replace("_proj", ""): weight for name, weight in theirs.state_dict().items()}
    ours.load_state_dict(state)
    x = torch.randn(2, 9, 24)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_rotary_positions():
    q, k = torch.randn(2, 3, 11, 8), torch.randn(2, 3, 11, 8)
    positions = torch.stack((torch.arange(11), 5 + 3 * torch.arange(11)))
    cos, sin = Qwen2RotaryEmbedding(CONFIG)(q, positions)
    theirs = apply_rotary_pos_emb(q, k, cos, sin)
    ours = rotation(positions, 8)
    for a, b in zip((rotate(q, ours), rotate(k, ours)), theirs):
        assert torch.allclose(a, b, atol=1e-5)
