"""``python -m benchmarks.train``: the table has a line for every variant."""

import os

import numpy as np
import pytest
import torch

from benchmarks import train
from benchmarks.common import attempt, configure, in_own_process
from benchmarks.steps import padding, random_batches
from benchmarks.train import main
from melle.data.batch import Row, collate
from melle.errors import UserError

TINY = ["width=16", "layers=2", "heads=2", "ff_width=16", "prenet_hidden=16", "latent_hidden=16", "postnet_channels=8"]


def rows(*lengths: tuple[int, int]) -> list[Row]:
    return [Row([torch.randint(2, 12, (s,)).tolist()], [torch.randn(t, 5)], ["a"]) for s, t in lengths]


def test_padding_by_hand():
    batch = collate(rows((5, 14), (3, 8)), 2)  # with <EOS> and in steps of 2: 6 + 7 and 4 + 4 positions
    assert padding([batch], 2) == pytest.approx(1 - 21 / 26)
    batch = collate(rows((5, 8), (3, 14)), 2)  # 6 + 4 and 4 + 7, padded apart to 6 + 7
    assert padding([batch], 2, apart=True) == pytest.approx(1 - 21 / 26)


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
        speed, ratio, steps = line[len(f"  {name}") :].split()[:3]
        assert float(speed.replace(",", "")) > 0 and float(ratio) > 0 and float(steps) > 0
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
def test_what_cannot_be_measured_is_an_error(capsys, arguments, says):
    assert main(["--device", "cpu", *arguments]) == 2
    assert says in capsys.readouterr().err
