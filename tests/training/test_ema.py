"""The averaged weights: their formula, who sees them, and that they survive a resume."""

from types import SimpleNamespace

import lightning
import pytest
import torch
from torch import nn

from melle.checkpoint import load_model
from melle.cli import main
from melle.synthesis.synthesizer import Synthesizer
from melle.training.callbacks.ema import Ema
from melle.training.run import train
from tests.training.test_train import configure


class Part(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("statistic", torch.zeros(2))
        self.register_buffer("count", torch.tensor(0))


def advance(ema: Ema, part: Part, steps: int) -> SimpleNamespace:
    trainer = SimpleNamespace(global_step=0)
    ema.setup(trainer, part, "fit")
    for n in range(1, steps + 1):
        with torch.no_grad():
            part.weight.fill_(n), part.statistic.fill_(10 * n), part.count.fill_(n)
        trainer.global_step = n
        ema.on_train_batch_end(trainer, part, None, None, n)
        ema.on_train_batch_end(trainer, part, None, None, n)  # a batch that is only accumulated
    return trainer


def test_forgets_its_first_values_quickly_then_slowly():
    ema, part, expected = Ema(decay=0.9), Part(), 1.0
    trainer = advance(ema, part, 200)
    for n in range(1, 200):
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n + 1)
    checkpoint = {"state_dict": part.state_dict()}
    ema.on_save_checkpoint(trainer, part, checkpoint)
    average, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert average["weight"].tolist() == pytest.approx([expected] * 3, rel=1e-5)
    assert average["statistic"].tolist() == pytest.approx([10 * expected] * 2, rel=1e-5)
    assert average["count"] == 200 and current["weight"].tolist() == [200.0] * 3
    with pytest.raises(ValueError, match=r"decay=1"):
        Ema(1)


def test_validation_sees_the_average_and_training_does_not():
    ema, part = Ema(), Part()
    trainer = advance(ema, part, 5)
    checkpoint = {"state_dict": part.state_dict()}
    ema.on_save_checkpoint(trainer, part, checkpoint)
    average = checkpoint["state_dict"]["weight"].clone()
    ema.on_validation_epoch_start(trainer, part)
    assert torch.equal(part.weight, average) and not torch.equal(average, torch.full((3,), 5.0))
    ema.on_validation_epoch_end(trainer, part)
    ema.on_train_end(trainer, part)
    assert part.weight.tolist() == [5.0] * 3


def test_a_checkpoint_of_before_goes_on_exactly(tmp_path, tone_manifests, losses):
    """As it was written when the average was counted by ``ema_updates``."""
    options = ("callbacks.checkpoint.every=1", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 4, *options))
    whole, part = list(losses), tmp_path / "run/checkpoints/step_000002.ckpt"
    state = torch.load(part, weights_only=True)
    state["ema_updates"] = int(state.pop("averaging_state")["n_averaged"])
    state["callbacks"] = {}
    del state["hyper_parameters"]
    torch.save(state, tmp_path / "before.ckpt")
    losses.clear()
    train(configure(tmp_path / "b", tone_manifests, 4, *options, f"resume={tmp_path / 'before.ckpt'}"))
    assert losses == whole[2:]
    states = [
        torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True) for folder in (tmp_path, tmp_path / "b")
    ]
    assert all(torch.equal(value, states[1]["state_dict"][name]) for name, value in states[0]["state_dict"].items())


def test_survives_a_resume(tmp_path, tone_manifests):
    options = ("callbacks.checkpoint.every=1", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 6, *options))
    part = tmp_path / "run/checkpoints/step_000003.ckpt"
    train(configure(tmp_path / "b", tone_manifests, 6, *options, f"resume={part}"))
    paths = [folder / "run/checkpoints/last.ckpt" for folder in (tmp_path, tmp_path / "b")]
    whole, resumed = (torch.load(path, weights_only=True) for path in paths)
    assert whole["averaging_state"]["n_averaged"] == resumed["averaging_state"]["n_averaged"] == 6
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())
    # Both sets of weights can be had.
    average, raw = (load_model(paths[0], average=average).network.stop.weight for average in (True, False))
    assert not torch.equal(average, raw)
    assert torch.equal(raw, whole["current_model_state"]["network.stop.weight"])
    speakers = [Synthesizer.from_checkpoint(paths[0], average=average) for average in (True, False)]
    assert [torch.equal(s.network.stop.weight, average) for s in speakers] == [True, False]
    words = ["--text", "four two", "-o", str(tmp_path / "out.wav"), "--checkpoint", str(paths[0])]
    sounds = []
    for options in ([], ["--raw-weights"]):
        assert main(["synthesize", *words, *options]) == 0
        sounds.append((tmp_path / "out.wav").read_bytes())
    assert sounds[0] != sounds[1]


def test_a_run_without_it_goes_on_from_one_with_it_and_back(tmp_path, tone_manifests, losses):
    options = ("callbacks.checkpoint.every=2", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 6, *options))
    whole, part = list(losses), tmp_path / "run/checkpoints/step_000002.ckpt"
    losses.clear()
    train(configure(tmp_path / "b", tone_manifests, 6, *options, f"resume={part}", "~callbacks.ema"))
    assert losses == whole[2:]
    losses.clear()
    part = tmp_path / "b/run/checkpoints/step_000004.ckpt"
    assert torch.equal(*(load_model(part, average=a).network.stop.weight for a in (True, False)))
    train(configure(tmp_path / "c", tone_manifests, 6, *options, f"resume={part}"))
    assert losses == whole[4:]
