"""The loss and gradients of an optimiser step, however it is cut into batches, and what is passed over."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.losses import LossTerms, MelleLoss
from melle.model import Melle
from melle.text.symbols import SymbolTokenizer
from melle.training.augment.long_texts import LongTexts
from melle.training.callbacks.nonfinite import SkipNonFinite
from melle.training.module import MelleModule
from melle.training.run import train
from tests.conftest import TINY
from tests.training.test_train import configure

R = TINY["reduction_factor"]
DESCRIPTION = SimpleNamespace(tokenizer=SymbolTokenizer("words", ["one"]))


def rows() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    lengths = [(3, [13]), (7, [22, 9]), (2, [30]), (5, [8])]
    return [
        Row([[5] * tokens for _ in frames], [torch.randn(n, 80, generator=generator) for n in frames], ["a"])
        for tokens, frames in lengths
    ]


@pytest.fixture
def make(monkeypatch):
    """A module without chance in it, in a trainer that accumulates so many batches."""

    def make(accumulated: int, **arguments) -> MelleModule:
        torch.manual_seed(0)
        quiet = {"prenet_dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0, "latent_sampling": False}
        network = Melle(**{**TINY, "vocab_size": 12, "dropout": 0.0, "guided_layers": [1], **quiet, **arguments})
        module = MelleModule(network.train(), MelleLoss(kl_warmup_steps=0, guide_weight=0.3), DESCRIPTION)
        decide = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
        trainer = SimpleNamespace(accumulate_grad_batches=accumulated, world_size=1, global_step=0, global_rank=0)
        trainer = SimpleNamespace(**vars(trainer), strategy=decide, precision_plugin=None, is_global_zero=True)
        monkeypatch.setattr(MelleModule, "trainer", property(lambda self: trainer))
        monkeypatch.setattr(MelleModule, "global_rank", 0)
        monkeypatch.setattr(MelleModule, "global_step", 0)
        module.logged = {}
        module.log = lambda name, value, **_: module.logged.update({name: value})
        return module

    return make


def step(module: MelleModule, batches: list[list[Row]], frames: float) -> tuple[float, torch.Tensor]:
    """Loss and gradients of one step, accumulated over batches as Lightning does it."""
    module.zero_grad()
    module.expected_frames = frames / len(batches)
    total = 0.0
    for index, some in enumerate(batches):
        loss = module.training_step(collate(some, R), index) / len(batches)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in module.network.parameters() if p.grad is not None])


def test_one_big_batch_and_accumulated_small_ones_give_the_same_loss_and_gradients(make):
    all_rows = rows()
    expected, gradients = step(make(1, postnet="none"), [all_rows], 100.0)
    for cut in ([all_rows[:1], all_rows[1:2], all_rows[2:3], all_rows[3:]], [all_rows[:3], all_rows[3:]]):
        loss, parts = step(make(len(cut), postnet="none"), cut, 100.0)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert (parts - gradients).norm() < 1e-5 * gradients.norm()


def test_what_is_logged_is_the_loss_that_is_returned(make):
    module = make(1)
    batch = collate(rows(), R)
    module.expected_frames = float(batch.true_frames)
    loss = module.training_step(batch, 0)
    assert module.logged["train/total"] == loss
    torch.manual_seed(0)
    terms = LossTerms(*(term / batch.true_frames for term in module(batch)))
    for name in ("regression", "kl", "flux", "stop", "guide"):
        torch.testing.assert_close(module.logged[f"train/{name}"], getattr(terms, name))
    weighted = terms.regression + 0.1 * terms.kl + 0.5 * terms.flux + terms.stop + 0.3 * terms.guide
    torch.testing.assert_close(loss, weighted)


def test_training_learns_augmented_mels_and_validation_recorded_ones(make):
    module, batch = make(1), collate(rows(), R)
    plain = module.training_step(batch, 0)
    module.augment = nn.ModuleList([Changed(lambda batch: batch.mel + batch.mel_lengths[:, None, None])])
    module.augment.append(Changed(lambda batch: batch.mel / 10))
    augmented = module.training_step(batch, 0)
    module.augment = nn.ModuleList()
    louder = replace(batch, mel=(batch.mel + batch.mel_lengths[:, None, None]) / 10)
    assert augmented == module.training_step(louder, 0) != plain
    module.augment.append(Changed(lambda batch: pytest.fail("a validation is of what was recorded")))
    module.validation_step(batch, 0)


class Changed(nn.Module):
    """Batches with mels that ``change`` makes of them."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, batch):
        return replace(batch, mel=self.change(batch))


def test_losses_go_by_the_utterances_that_were_recorded(make):
    """Where the network reads two as one text: the guide's diagonals are theirs, and so are the ends of the flux."""
    module, batch = make(1, position="paced"), collate(rows(), R)
    joined = LongTexts(1.0)(batch)
    seen = []
    module.loss.forward = lambda *arguments: seen.append(arguments)
    for one in (batch, joined):
        torch.manual_seed(0)
        module(one)
    for arguments in seen:
        assert arguments[2] is batch.text_segments and arguments[3] is batch.segment_steps
    assert not torch.equal(seen[0][0].frames, seen[1][0].frames)  # the paced positions of the second text are others


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_leaves_no_trace(make, tmp_path, where):
    module, callback = make(2), SkipNonFinite(tmp_path / "skipped.jsonl")
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    names = ["good", "bad"]
    for index, name in enumerate(names):
        batch = collate([Row(row.tokens, row.mels, [name] * len(row.mels)) for row in rows()], R)
        callback.on_train_batch_start(module.trainer, module, batch, index)
        loss = module.training_step(batch, index)
        if where == "loss" and name == "bad":
            loss = loss * float("nan")
        callback.on_before_backward(module.trainer, module, loss)
        loss.backward()
    if where == "gradient":
        module.network.stop.weight.grad[0, 0] = float("inf")
    callback.on_before_optimizer_step(module.trainer, module, None)
    assert all(p.grad is None for p in module.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.network.state_dict().items())
    (line,) = map(json.loads, (tmp_path / "skipped.jsonl").read_text().splitlines())
    assert set(line["utterances"]) == ({"bad"} if where == "loss" else {"good", "bad"})  # of a gradient any may be why
    assert callback.skipped == 1


def test_a_finite_step_keeps_its_gradients_and_its_statistics(make):
    module, callback = make(1), SkipNonFinite()
    batch = collate(rows(), R)
    callback.on_train_batch_start(module.trainer, module, batch, 0)
    module.training_step(batch, 0).backward()
    expected = torch.cat([p.grad.flatten() for p in module.network.parameters()]).norm()
    seen = int(module.network.postnet.norms[0].num_batches_tracked)
    callback.on_before_optimizer_step(module.trainer, module, None)
    torch.testing.assert_close(module.logged["train/gradient_norm"], expected)
    assert int(module.network.postnet.norms[0].num_batches_tracked) == seen == 1


@pytest.mark.parametrize("algorithm", ["norm", "value", None])
def test_clipping_is_that_of_torch(make, algorithm):
    module = make(1)
    _, gradients = step(module, [rows()], 100.0)
    module.configure_gradient_clipping(None, 0.1, algorithm)
    clipped = torch.cat([p.grad.flatten() for p in module.network.parameters()])
    by_value, by_norm = gradients.clamp(-0.1, 0.1), gradients * (0.1 / gradients.norm())
    torch.testing.assert_close(clipped, by_value if algorithm == "value" else by_norm, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_validation_is_the_same_on_any_number_of_ranks(make, monkeypatch, ranks):
    """Each batch counts once, with the random numbers of its place; ranks that lack one get a stand-in."""
    batches = [collate([row], R) for row in rows()[:3]]

    def validate(ranks: int) -> torch.Tensor:
        sums = []
        for rank in range(ranks):
            module = make(1).eval()
            module.trainer.world_size = ranks
            module.trainer.strategy.reduce = lambda value, reduce_op: sums.append(value) or value
            monkeypatch.setattr(MelleModule, "global_rank", rank)
            for index in range(-(-len(batches) // ranks)):
                number = index * ranks + rank
                with torch.no_grad():
                    module.validation_step(batches[number] if number < len(batches) else collate([], R), index)
            module.on_validation_epoch_end()
        return torch.stack(sums).sum(0)

    torch.testing.assert_close(validate(ranks), validate(1))


@pytest.fixture
def spoilt(monkeypatch):
    """Makes the loss of batches that hold an utterance not finite."""
    names: set[str] = set()
    forward = MelleModule.forward

    def spoilt(self, batch):
        terms = forward(self, batch)
        bad = self.training and names & {name for row in batch.ids for name in row}
        return terms._replace(total=terms.total * float("nan")) if bad else terms

    monkeypatch.setattr(MelleModule, "forward", spoilt)
    return names


def test_training_passes_over_a_batch_that_is_not_finite_and_tells(tmp_path, tone_manifests, spoilt, seen, capsys):
    spoilt.add("train-b-3")
    options = ("data.batch_frames=300", "optim.schedule.warmup_steps=1", "trainer.log_every_n_steps=1")
    metrics = train(configure(tmp_path, tone_manifests, 8, *options))
    bad = [n for n, batch in enumerate(seen) if any("train-b-3" in row for row in batch)]
    faults = [json.loads(line) for line in (tmp_path / "run/skipped.jsonl").read_text().splitlines()]
    assert bad and [fault["step"] for fault in faults] == bad
    assert all("train-b-3" in fault["utterances"] for fault in faults)
    assert metrics["train/skipped_steps"] == len(bad) and f"step {bad[0]} is skipped" in capsys.readouterr().err
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert all(torch.isfinite(v).all() for kind in ("state_dict", "current_model_state") for v in state[kind].values())
    assert state["callbacks"]["SkipNonFinite"]["skipped"] == len(bad)


def test_too_many_such_steps_in_a_row_end_the_run(tmp_path, tone_manifests, spoilt):
    spoilt.update(f"train-{voice}-{number}" for voice in "abc" for number in range(6))
    with pytest.raises(UserError, match=r"3 optimiser steps in a row had no finite loss.*train-.*optim.optimizer.lr"):
        train(configure(tmp_path, tone_manifests, 9, "optim.schedule.warmup_steps=1", "max_nonfinite_steps=3"))


def test_step_frames_are_made_of_batches(tmp_path, tone_manifests, seen, losses):
    options = ("data.batch_frames=100", "step_frames=320", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 4, *options))
    assert len(losses) == 4 and len(seen) == 12
    state = torch.load(tmp_path / "run/checkpoints/step_000002.ckpt", weights_only=True)  # validated every 2 steps
    assert state["global_step"] == 2
    with pytest.raises(UserError, match="say the same"):
        train(configure(tmp_path / "b", tone_manifests, 4, *options, "trainer.accumulate_grad_batches=2"))
