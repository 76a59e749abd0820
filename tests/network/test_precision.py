"""bfloat16 autocast: no NaN with extreme inputs and weights, and what the losses read stays in float32."""

import pytest
import torch
from test_melle import VARIANTS, make, make_rows

from melle.data.batch import collate
from melle.losses import MelleLoss


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_extremes_stay_finite(variant, scale):
    network = make(**{**VARIANTS[variant], "latent_sampling": True, "guided_layers": [1]}).train()
    with torch.no_grad():
        network.latent.project.weight.mul_(scale)
    batch = collate(make_rows(), 2)
    batch.mel *= scale
    with torch.autocast("cpu", torch.bfloat16):
        output = network(**batch.inputs())
        arguments = (batch.mel_lengths, batch.text_segments, batch.segment_steps, 2, 0)
        terms = MelleLoss(kl_warmup_steps=0, guide_weight=1.0)(output, *arguments)
    for name in ("mean", "log_variance", "frames", "refined", "stop"):
        value = getattr(output, name)
        assert value.dtype == torch.float32 and torch.isfinite(value).all(), name
    for name, term in terms._asdict().items():
        assert term.dtype == torch.float32 and torch.isfinite(term), name
    terms.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_work_in_float32(norm):
    """Values whose squares bfloat16 would swallow: the norm of a large constant with a small ripple."""
    from melle.network.layers import make_norm

    x = (3.0 + 0.01 * torch.randn(4, 64)).to(torch.bfloat16)
    layer = make_norm(norm, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(layer(x).float(), layer(x.float()), atol=0.02)
