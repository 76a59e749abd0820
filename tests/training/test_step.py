"""The loss and gradients of an optimiser step, however it is cut into batches."""

import json
from types import SimpleNamespace

import pytest
import torch

from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.losses import MelleLoss
from melle.model import Melle
from melle.training.run import train
from melle.training.step import GradientStep
from tests.conftest import TINY
from tests.training.test_train import configure

R = TINY["reduction_factor"]


def rows() -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    lengths = [(3, [13]), (7, [22, 9]), (2, [30]), (5, [8])]
    return [
        Row([[5] * tokens for _ in frames], [torch.randn(n, 80, generator=generator) for n in frames], ["a"])
        for tokens, frames in lengths
    ]


def make(**arguments) -> tuple[Melle, MelleLoss]:
    torch.manual_seed(0)
    quiet = {"prenet_dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0, "latent_sampling": False}
    network = Melle(**{**TINY, "vocab_size": 12, "dropout": 0.0, "guided_layers": [1], **quiet, **arguments})
    return network.train(), MelleLoss(kl_warmup_steps=0, guide_weight=0.3)


def step(network: Melle, loss: MelleLoss, batches: list[list[Row]], clip: float | None = None):
    """The gradients of one step, accumulated over batches as Lightning does it."""
    taken = GradientStep(network)
    network.zero_grad()
    for some in batches:
        batch = collate(some, R)
        taken.begin()
        terms = loss(network(**batch.inputs()), batch.mel_lengths, batch.text_segments, batch.segment_steps, R, 0)
        (taken.add(terms, batch.ids, len(batches)) / len(batches)).backward()
    result = taken.finish(clip)
    return result, torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_one_big_batch_and_accumulated_small_ones_give_the_same_gradients():
    network, loss = make(postnet="none")
    all_rows = rows()
    whole, gradients = step(network, loss, [all_rows])
    for cut in ([all_rows[:1], all_rows[1:2], all_rows[2:3], all_rows[3:]], [all_rows[:3], all_rows[3:]]):
        result, parts = step(network, loss, cut)
        assert result.terms == pytest.approx(whole.terms, rel=1e-5)
        assert result.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-5)
        assert (parts - gradients).norm() < 1e-5 * gradients.norm()


def test_the_loss_is_the_mean_over_frames_not_over_batches():
    network, loss = make(postnet="none")
    all_rows = rows()
    batch = collate(all_rows, R)
    network.zero_grad()
    terms = loss(network(**batch.inputs()), batch.mel_lengths, batch.text_segments, batch.segment_steps, R, 0)
    (terms.total / batch.mel_lengths.sum()).backward()
    expected = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    result, gradients = step(network, loss, [all_rows[:1], all_rows[1:]])
    assert (gradients - expected).norm() < 1e-5 * expected.norm()
    assert result.terms.frames == sum(len(mel) for row in all_rows for mel in row.mels) - 22 % R


def test_clipping_is_that_of_torch():
    network, loss = make()
    result, gradients = step(network, loss, [rows()])
    for clip in (0.1 * result.gradient_norm, 10 * result.gradient_norm):
        for parameter, gradient in zip(network.parameters(), _split(network, gradients)):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        expected = torch.cat([p.grad.flatten() for p in network.parameters()])
        _, clipped = step(network, loss, [rows()], clip)
        torch.testing.assert_close(clipped, expected, rtol=1e-5, atol=1e-7)


def _split(network: Melle, gradients: torch.Tensor) -> list[torch.Tensor]:
    parts = gradients.split([p.numel() for p in network.parameters()])
    return [part.view_as(p) for part, p in zip(parts, network.parameters())]


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_leaves_no_trace(where):
    network, loss = make()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    taken, batch = GradientStep(network), collate(rows(), R)
    taken.begin()
    terms = loss(network(**batch.inputs()), batch.mel_lengths, batch.text_segments, batch.segment_steps, R, 0)
    if where == "loss":
        terms = terms._replace(total=terms.total * float("nan"))
    taken.add(terms, [["good"]], 1).backward()
    network.stop.weight.grad[0, 0] = float("inf")
    result = taken.finish(1.0)
    assert not result.finite and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert taken.suspects(result) == ["good"]


def test_suspects_are_of_the_batch_that_is_not_finite():
    taken = GradientStep(torch.nn.Linear(1, 1))
    for value, name in ((1.0, "good"), (float("inf"), "bad")):
        taken._terms.append(SimpleNamespace(total=torch.tensor(value)))
        taken._ids.append([name])
    result = SimpleNamespace(terms=SimpleNamespace(total=float("inf")))
    assert taken.suspects(result) == ["bad"]
    result.terms.total = 1.0  # a gradient overflowed: any of them may be why
    assert taken.suspects(result) == ["good", "bad"]
    taken._terms.pop(), taken._ids.pop()
    result.terms.total = float("nan")  # on another rank
    assert taken.suspects(result) == []


@pytest.fixture
def spoilt(monkeypatch):
    """Makes the loss of batches that hold an utterance not finite."""
    names: set[str] = set()
    forward = GradientStep.add

    def add(self, terms, ids, accumulated):
        if names & {name for row in ids for name in row}:
            terms = terms._replace(total=terms.total * float("nan"))
        return forward(self, terms, ids, accumulated)

    monkeypatch.setattr(GradientStep, "add", add)
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
    assert state["skipped_steps"][0] == len(bad)


def test_too_many_such_steps_in_a_row_end_the_run(tmp_path, tone_manifests, spoilt):
    spoilt.update(f"train-{voice}-{number}" for voice in "abc" for number in range(6))
    with pytest.raises(UserError, match=r"3 optimiser steps in a row had no finite loss.*train-.*optim.optimizer.lr"):
        train(configure(tmp_path, tone_manifests, 9, "optim.schedule.warmup_steps=1", "max_skipped=3"))


def test_step_frames_are_made_of_batches(tmp_path, tone_manifests, seen, losses):
    options = ("data.batch_frames=100", "step_frames=320", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 4, *options))
    assert len(losses) == 4 and len(seen) == 12
    state = torch.load(tmp_path / "run/checkpoints/step_000002.ckpt", weights_only=True)  # validated every 2 steps
    assert state["global_step"] == 2
    with pytest.raises(UserError, match="say the same"):
        train(configure(tmp_path / "b", tone_manifests, 4, *options, "trainer.accumulate_grad_batches=2"))
