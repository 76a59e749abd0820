"""Weights & Biases, by a stand-in for its package: runs of both tasks give it their configuration."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from melle.training.run import train
from tests.training.test_train import configure
from tests.vocoders.test_training import configure as vocoder

ONE = "optim.schedule.warmup_steps=1"


class Wandb(ModuleType):
    """Stands for Weights & Biases: notes the configuration and what runs log."""

    def __init__(self):
        super().__init__("wandb")
        self.run, self.runs = None, []
        self.Image = self.Audio = lambda *arguments, **options: None

    def init(self, **options):
        config: dict = {}
        config_ = SimpleNamespace(update=lambda values, allow_val_change=False: config.update(values))
        run = SimpleNamespace(options=options, configuration=config, config=config_, logged={}, id="x", name="x")
        run.log = lambda metrics, step=None: run.logged.update(metrics)
        self.runs.append(run)
        return run

    def finish(self):
        pass


@pytest.fixture
def wandb(monkeypatch) -> Wandb:
    fake = Wandb()
    inner = {
        "wandb": fake,
        **{f"wandb.{name}": ModuleType(f"wandb.{name}") for name in ("sdk", "sdk.lib", "wandb_run")},
    }
    inner["wandb.sdk.lib"].RunDisabled = inner["wandb.wandb_run"].Run = type("Nobody", (), {})
    for name, module in inner.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", True)
    return fake


def test_weights_and_biases_gets_the_configuration(tmp_path, tone_manifests, wandb):
    options = ("logger=wandb", "seed=3", "optim.optimizer.lr=0.00123", "callbacks.speech=null")
    train(configure(tmp_path, tone_manifests, 2, ONE, *options))
    (run,) = wandb.runs
    assert run.options["project"] == "melle" and run.options["resume"] == "allow"
    assert run.configuration["seed"] == 3 and run.configuration["optim"]["optimizer"]["lr"] == 0.00123
    assert run.configuration["model"]["width"] == 32 and "validation/regression" in run.logged


def test_weights_and_biases_gets_that_of_a_vocoder_too(tmp_path, tone_manifests, wandb):
    train(vocoder(tmp_path, tone_manifests, 2, "logger=wandb", "vocoder_training.learning_rate=0.00123"))
    (run,) = wandb.runs
    assert run.configuration["task"] == "vocoder" and run.configuration["vocoder_training"]["learning_rate"] == 0.00123
    assert "validation/mel_distance" in run.logged
