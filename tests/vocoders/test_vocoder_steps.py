"""A vocoder's training step does not make the device wait, and does what the plain way does."""

import copy
from types import SimpleNamespace

import pytest
import torch
from test_training import configure
from torch.utils._python_dispatch import TorchDispatchMode

from melle.audio import MelSpec
from melle.errors import UserError
from melle.training.run import train
from melle.vocoders.vocos.discriminators import Discriminators
from melle.vocoders.vocos.istft import istft
from melle.vocoders.vocos.losses import (
    MelDistance,
    PhaseAdvance,
    discriminator_loss,
    feature_distance,
    generator_loss,
)
from melle.vocoders.vocos.module import LOOK_EVERY, VocosLoss, VocosModule, fuse
from melle.vocoders.vocos.network import VocosNetwork, VocosSizes
from melle.vocoders.vocos.pitch import measure_pitch, pitch_loss
from melle.vocoders.vocos.vocoder import VocosDescription

# What needs the value of a tensor: on a GPU each waits until all that was asked for is done.
WAITS = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero")


class Waits(TorchDispatchMode):
    """Lists them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.overloadpacket.__name__ in WAITS:
            self.found.append(operation.overloadpacket.__name__)
        return operation(*arguments, **(options or {}))


@pytest.fixture
def module(monkeypatch) -> VocosModule:
    """Without a trainer, between two looks at the loss."""
    description = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, pitched=128), -3.0, 1.5)
    made = VocosModule(description, Discriminators(channels=2), VocosLoss(), 1e-3, lambda step: 1.0)
    monkeypatch.setattr(VocosModule, "global_step", property(lambda self: LOOK_EVERY + 1))
    made.logged = {}
    monkeypatch.setattr(made, "log_dict", made.logged.update)
    monkeypatch.setattr(made, "log", lambda name, value, **_: made.logged.update({name: value}))
    return made


@pytest.fixture
def batch():
    buzz = torch.arange(8 * 256) * torch.tensor([[110.0], [170.0], [300.0]]) / 16000 % 1 - 0.5  # has a pitch
    return 0.2 * buzz + 0.02 * torch.randn(3, 8 * 256), torch.randn(3, 8, 80) - 3


@pytest.mark.parametrize(("n_fft", "hop", "rows", "frames"), [(1024, 256, 2, 9), (1024, 512, 1, 1), (90, 32, 3, 20)])
def test_the_inverse_is_the_librarys(n_fft, hop, rows, frames):
    spectrum = torch.randn(rows, n_fft // 2 + 1, frames, dtype=torch.cfloat, requires_grad=True)
    window, weights = torch.hann_window(n_fft), torch.randn(rows, frames * hop)
    expected = torch.istft(spectrum, n_fft, hop, window=window, length=frames * hop)
    found = istft(spectrum, n_fft, hop, window)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad((made * weights).sum(), spectrum)[0] for made in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_a_hop_that_leaves_gaps_is_refused():
    with pytest.raises(ValueError, match="at most half of n_fft=64"):
        VocosNetwork(80, 64, 33, VocosSizes(16, 32, 2))


def test_a_step_does_not_wait_for_the_device(module, batch, monkeypatch):
    with Waits() as waits:  # what would be found
        torch.istft(torch.randn(1, 9, 5, dtype=torch.cfloat), 16, 4, window=torch.hann_window(16))
        bool(torch.isfinite(torch.ones(())))
    assert len(waits.found) == 2
    monkeypatch.setattr(module._other, "step", lambda: None)  # counts its steps, on the CPU where it is not fused
    with Waits() as waits:
        module.training_step(batch, 0).backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), 1.0)
    assert waits.found == []


def test_a_step_is_the_plain_one(module, batch):
    real, mel = batch
    plain = copy.deepcopy(module)
    total = module.training_step(batch, 0)
    total.backward()

    made = plain.network(mel)
    loss = discriminator_loss(plain.discriminators(real)[0], plain.discriminators(made.detach())[0])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(plain.discriminators.parameters(), 1.0)
    for ours, theirs in zip(module.discriminators.parameters(), plain.discriminators.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)
    # Adam's first step takes a gradient's sign, and so makes much of its rounding: the rest from the same weights.
    plain.discriminators.load_state_dict(module.discriminators.state_dict())
    scores, seen = plain.discriminators(made)
    terms = {
        "mel": plain.mel_distance(real, made),
        "discriminator": loss.detach(),
        "phase": PhaseAdvance()(real, made),
        "pitch": pitch_loss(plain.network.pitch_logits(mel), *measure_pitch(real, 16000, 256)),
        "adversarial": generator_loss(scores),
        "features": feature_distance(plain.discriminators(real)[1], seen),
    }
    assert terms["pitch"] > 1
    expected = 15 * terms["mel"] + 5 * terms["phase"] + terms["pitch"] + terms["adversarial"] + 2 * terms["features"]
    for name, value in terms.items():
        torch.testing.assert_close(module.logged[f"train/{name}"], value.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)
    expected.backward()
    for ours, theirs in zip(module.network.parameters(), plain.network.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


def test_spectra_stay_exact_in_mixed_precision(module, batch):
    real, made = batch[0], batch[0] * 1.001  # closer than bfloat16 can tell
    distance = MelDistance(16000)
    expected, dtypes = distance(real, made), []
    module.network.head.register_forward_hook(lambda part, given, found: dtypes.append(found.dtype))
    module.network.blocks[0].up.register_forward_hook(lambda part, given, found: dtypes.append(found.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(distance(real, made), expected)
        assert module.network(batch[1]).dtype == torch.float32
    assert dtypes == [torch.bfloat16, torch.float32]


def test_a_fused_optimizer_goes_on_as_the_other(batch):
    def weights(*ways: bool):
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = torch.optim.AdamW([parameter], lr=1e-2, betas=(0.8, 0.99))
        for fused in ways:
            fuse(optimizer, fused)
            parameter.grad = (parameter.detach() * 3).cos()
            optimizer.step()
        assert float(optimizer.state[parameter]["step"]) == len(ways)
        assert not getattr(optimizer, "_step_supports_amp_scaling", False)  # or Lightning would not clip
        return parameter.detach()

    for ways in ((True,) * 5, (False, True, False, True, True)):
        torch.testing.assert_close(weights(*ways), weights(*(False,) * 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("every", [1, 1000])
def test_a_run_that_diverges_ends_and_saves_none_of_it(tmp_path, tone_manifests, monkeypatch, every):
    forward, asked = MelDistance.forward, SimpleNamespace(count=0)

    def diverging(self, real, made):
        asked.count += 1  # step 3 is the fourth
        return forward(self, real, made) * (torch.nan if asked.count == 4 else 1)

    monkeypatch.setattr(MelDistance, "forward", diverging)
    changes = (f"callbacks.checkpoint.every={every}", "vocoder_training.loss.adversarial_after=1000")
    cfg = configure(tmp_path, tone_manifests, 60, *changes)
    with pytest.raises(UserError, match=r"^step 3: the loss is not finite; lower learning_rate, or resume earlier$"):
        train(cfg)
    assert asked.count <= LOOK_EVERY + 1
    saved = sorted(path.name for path in (tmp_path / "run/checkpoints").glob("step_*.ckpt"))
    assert saved == (["step_000001.ckpt", "step_000002.ckpt", "step_000003.ckpt"] if every == 1 else [])
