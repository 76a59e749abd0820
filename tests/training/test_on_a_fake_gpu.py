"""A training step on a GPU that there is not: no value is asked for but once, and nothing is on the wrong device."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    unset_fake_temporarily,
)

from benchmarks.common import configure
from melle.audio import MelSpec
from melle.data.batch import Batch, Row, collate
from melle.losses import MelleLoss
from melle.model import Melle
from melle.training.augment.long_texts import LongTexts
from melle.training.augment.voices import VoicePerturbation
from melle.training.callbacks.nonfinite import SkipNonFinite
from melle.training.callbacks.speed import Throughput
from melle.training.module import MelleModule
from melle.training.optimizers import build_adamw, build_muon_adamw
from tests.fake_gpu import GPU, Moved, Watch, backward, fake_gpu, on_gpu

SMALL = {"width": 16, "layers": 2, "heads": 2, "ff_width": 32, "prenet_hidden": 16, "latent_hidden": 16}
PRESETS = {
    "quickstart": (("model.guided_layers=[1]",), build_muon_adamw),
    "melle": ((), build_adamw),
    "melle_rope": (("model.reduction_factor=3", "model/norm=rms", "model/mlp=gated"), build_adamw),
}


@functools.cache
def read(preset: str) -> tuple[dict, MelleLoss]:
    with unset_fake_temporarily():
        return configure(preset, PRESETS[preset][0])


@functools.cache
def make_batch(r: int) -> Batch:
    with unset_fake_temporarily():
        rows = [Row([[2, 3, 4], [5, 6]], [torch.zeros(20, 80), torch.zeros(13, 80)], ["a", "b"])]
        return collate([*rows, Row([[2, 3]], [torch.zeros(22, 80)], ["c"])], r)


class Run:
    """A module, its optimiser and a batch on the GPU, and what Lightning does with them in a step."""

    def __init__(self, preset: str, watch: Watch, monkeypatch: pytest.MonkeyPatch, checkpointing: bool = False):
        watch.lenient = True
        build = PRESETS[preset][1]
        arguments, loss = read(preset)
        arguments = arguments | {**SMALL, "postnet_channels": 8, "vocab_size": 12, "max_text": 32, "max_steps": 64}
        with GPU:
            network = Melle(**arguments, gradient_checkpointing=checkpointing).train()
        self.module = MelleModule(network, loss, None, None, None)
        self.module.log = lambda name, value, **_: self.logged.append(value)
        self.logged: list = []
        rates = {"lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.01, "fused": True}
        more = {"muon_lr": 1e-3, "iterations": 5} if build is build_muon_adamw else {}
        self.optimizer = build(network, **rates, **more)
        self.trainer = SimpleNamespace(
            global_step=0, world_size=1, global_rank=0, accumulate_grad_batches=1, precision_plugin=None
        )
        self.module._trainer = self.trainer
        self.skip = SkipNonFinite()
        monkeypatch.setattr(MelleModule, "global_step", property(lambda _: 0))
        monkeypatch.setattr(MelleModule, "global_rank", property(lambda _: 0))
        monkeypatch.setattr(MelleModule, "trainer", property(lambda module: module._trainer))
        monkeypatch.setattr(FakeTensor, "item", lambda tensor: self._answer(tensor))
        self.waits = 0
        self.batch = make_batch(network.reduction_factor).map(on_gpu)
        watch.lenient = False

    def _answer(self, tensor: torch.Tensor) -> float:
        self.waits += 1
        return 1.0

    def step(self) -> None:
        self.skip.on_train_batch_start(self.trainer, self.module, self.batch, 0)
        with torch.autocast("cuda", torch.bfloat16):
            total = self.module.training_step(self.batch, 0)
        assert total.dtype == torch.float32
        backward(total)
        self.skip.on_before_optimizer_step(self.trainer, self.module, self.optimizer)
        self.module.configure_gradient_clipping(self.optimizer, 1.0)
        self.optimizer.step()
        self.trainer.global_step += 1


@pytest.fixture
def watch(monkeypatch):
    with fake_gpu(monkeypatch) as watch:
        yield watch


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_waits_once_and_moves_nothing(preset, watch, monkeypatch):
    run = Run(preset, watch, monkeypatch)
    for _ in range(2):  # the second finds the optimiser's state
        run.step()
    assert run.waits == 2
    for name, parameter in run.module.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.device == GPU, name
        assert parameter.grad.dtype == parameter.dtype == torch.float32, name
    assert all(value.device == GPU for value in run.logged)  # Lightning would send others there, and wait for each


def test_nor_does_it_with_checkpointing(watch, monkeypatch):
    run = Run("melle", watch, monkeypatch, checkpointing=True)
    run.step()
    assert run.waits == 1 and all(p.grad is not None for p in run.module.network.parameters())


def test_nor_does_it_with_augmentation(watch, monkeypatch):
    run = Run("quickstart", watch, monkeypatch)
    with unset_fake_temporarily():
        voices = VoicePerturbation(MelSpec(), probability=1.0, noise_probability=0.5)
    watch.lenient = True
    voices.centres = on_gpu(voices.centres)
    run.module.augment.extend([voices, LongTexts(0.5)])
    watch.lenient = False
    run.step()
    assert run.waits == 1


def test_counting_the_speed_does_not_wait(watch, monkeypatch):
    run, throughput = Run("melle", watch, monkeypatch), Throughput()
    throughput.start()
    throughput.end(run.batch)


def test_what_would_wait_is_found(watch, monkeypatch):
    run = Run("melle", watch, monkeypatch)
    forward = MelleLoss.forward
    for plant in (lambda terms: float(terms.mean_distance), lambda terms: bool(terms.mean_distance > 0)):

        def planted(self, *arguments, plant=plant, **options):
            terms = forward(self, *arguments, **options)
            plant(terms)
            return terms

        monkeypatch.setattr(MelleLoss, "forward", planted)
        with pytest.raises(DataDependentOutputException):
            run.step()
    monkeypatch.setattr(MelleLoss, "forward", forward)
    run.batch.true_frames = None  # then the post-net asks
    with pytest.raises(DynamicOutputShapeException):
        run.step()


def test_what_is_on_the_wrong_device_is_found(watch, monkeypatch):
    for name in ("mel", "text_lengths", "segment_steps"):
        run = Run("melle", watch, monkeypatch)
        values = getattr(run.batch, name)
        setattr(run.batch, name, torch.empty(values.shape, dtype=values.dtype))
        with pytest.raises((RuntimeError, Moved), match="cpu"):
            run.step()
    x = torch.empty(3, device=GPU)
    for move in (
        lambda: torch.tensor([1.0, 2.0], device=GPU),
        lambda: torch.tensor(1.0, device=GPU),
        lambda: x.cpu(),
        lambda: x[torch.tensor([0, 2])],
        lambda: x.copy_(torch.zeros(3)),
    ):
        with pytest.raises(Moved):
            move()
