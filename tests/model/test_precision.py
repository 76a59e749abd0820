"""bfloat16 autocast: no NaN with extreme inputs and weights, and what the losses read stays in float32."""

import pytest
import torch
from test_melle import VARIANTS, make, make_rows

from melle.data.batch import collate
from melle.losses import MelleLoss
from melle.model.block import make_norm


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
def test_norms_reckon_in_float32(norm):
    """Only the result is rounded: to within one step of bfloat16, 2 ** -8 of the value, of the float32 norm."""
    x = (torch.randn(64, 512) * torch.logspace(-3, 3, 512)).to(torch.bfloat16)
    layer = make_norm(norm, 512)
    expected = layer(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        actual = layer(x).float()
    assert ((actual - expected).abs() <= 2**-8 * expected.abs() + 1e-6).all()
