"""``python -m benchmarks.train``: the plain implementation is the same model, and the table tells of every variant."""

import copy
import os

import numpy as np
import pytest
import torch

from benchmarks import train
from benchmarks.common import attempt, configure, in_own_process
from benchmarks.plain import PlainMelle, random_batches
from benchmarks.steps import padding
from benchmarks.train import main
from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.losses import MelleLoss
from melle.model import Melle

TINY = ["width=16", "layers=2", "heads=2", "ff_width=16", "prenet_hidden=16", "latent_hidden=16", "postnet_channels=8"]
CALM = {"dropout": 0.0, "prenet_dropout": 0.0, "latent_dropout": 0.0, "postnet_dropout": 0.0, "latent_sampling": False}
SIZES = {"vocab_size": 12, "n_mels": 5, "width": 16, "layers": 2, "heads": 2, "ff_width": 32, "reduction_factor": 2}
VARIANTS = {
    "paper": {},
    "reference": {"block": "sub_ln", "norm": "rms", "mlp": "gated", "activation": "silu", "position": "rope"},
    "quickstart": {"position": "paced", "text_attention": "bidirectional", "guided_layers": [1], "postnet": "none"},
}


def rows(*lengths: tuple[int, int]) -> list[Row]:
    return [Row([torch.randint(2, 12, (s,)).tolist()], [torch.randn(t, 5)], ["a"]) for s, t in lengths]


@pytest.mark.parametrize("variant", VARIANTS)
def test_plain_has_the_same_losses_and_gradients_where_nothing_is_padded(variant):
    network = Melle(**SIZES, **CALM, **VARIANTS[variant])
    plain = PlainMelle(copy.deepcopy(network))
    batch = collate(rows((5, 14), (5, 14), (5, 14)), 2)
    totals = []
    for one in (network, plain):
        terms = MelleLoss(guide_weight=1.0, kl_warmup_steps=0)(
            one(**batch.inputs()), batch.mel_lengths, batch.text_segments, batch.segment_steps, 2, 0
        )
        terms.total.backward()
        totals.append(terms.total.item())
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    for ours, theirs in zip(network.blocks, plain.network.blocks):
        parts = torch.cat([part.weight.grad for part in (theirs.attention.q, theirs.attention.k, theirs.attention.v)])
        for a, b in ((ours.attention.qkv.weight.grad, parts), (ours.mlp.up.weight.grad, theirs.mlp.up.weight.grad)):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * b.abs().max())


def test_plain_does_not_look_at_padding():
    plain = PlainMelle(Melle(**SIZES, **CALM, postnet="none")).eval()
    batch = collate(rows((5, 14), (3, 8)), 2)
    before = plain(**batch.inputs())
    batch.text[1, 4:] = 7
    batch.mel[1, 8:] = 9.0
    after = plain(**batch.inputs())
    assert torch.allclose(before.refined[1, :8], after.refined[1, :8], atol=1e-6)


def test_padding_by_hand():
    batch = collate(rows((5, 14), (3, 8)), 2)  # with <EOS> and in steps of 2: 6 + 7 and 4 + 4 positions
    assert padding([batch], 2, plain=False) == pytest.approx(1 - 21 / 26)
    batch = collate(rows((5, 8), (3, 14)), 2)  # 6 + 4 and 4 + 7, padded apart to 6 + 7
    assert padding([batch], 2, plain=True) == pytest.approx(1 - 21 / 26)


def test_random_batches_hold_every_utterance_once_and_keep_the_budget():
    rng = np.random.default_rng(0)
    frames, tokens = rng.integers(10, 200, 500), rng.integers(1, 40, 500)
    batches = list(random_batches(frames, tokens, 1000))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    assert all(len(b) * (frames[b].max() + tokens[b].max() + 1) <= 1000 for b in batches)
    assert np.mean([len(b) for b in batches]) > 3


def no_compiler() -> str:
    from torch._inductor.exc import InvalidCxxCompiler

    raise InvalidCxxCompiler


def test_every_variant_has_a_line_and_one_that_fails_says_why(monkeypatch, capsys):
    monkeypatch.setattr(train, "in_own_process", lambda *call: attempt(*call)[1])  # processes take their time to begin
    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", no_compiler)
    small = ["--model", "melle", "--device", "cpu", "--batch-frames", "1300", "--steps", "1", "--threads", "1"]
    assert main([*small, *(f"model.{size}" for size in TINY)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("eager", "eager, checkpointing", "plain"):
        line = next(line for line in lines if line.startswith(f"  {name}  "))
        speed, ratio = line[len(f"  {name}") :].split()[:2]
        assert float(speed.replace(",", "")) > 0 and float(ratio) > 0
        assert ratio == "1.00" or name != "plain"
    for name in ("compiled", "compiled, checkpointing"):
        assert any(line.startswith(f"  {name}  ") and "install g++" in line for line in lines)


def test_the_network_of_a_checkpoint_is_no_preset():
    with pytest.raises(UserError, match="choose another preset"):
        configure("from_checkpoint", ())


def test_a_killed_variant_says_so():
    assert "killed" in in_own_process(os._exit, 9)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "nothing"], "nothing"),
        (["--model", "melle", "--batch-frames", "100"], "--batch-frames 100"),
        (["--model", "melle", "model.heads=5"], "heads=5"),
        (["--model", "melle", "model.no_such=5"], "no_such"),
    ],
)
def test_what_cannot_be_measured_is_told(capsys, arguments, says):
    assert main(["--device", "cpu", *arguments]) == 2
    assert says in capsys.readouterr().err
