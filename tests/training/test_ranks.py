"""Two processes train together (over gloo), and one goes on where they stopped."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from melle.training.run import train
from tests.training.test_train import ROOT, SMALL, configure

SAME = ["data.batch_frames=60", "data.max_join=1", "optim.schedule.warmup_steps=1", "model.dropout=0.1"]


@pytest.fixture(scope="module")
def two(tmp_path_factory, tone_manifests) -> tuple[Path, list[dict]]:
    """The folder of trainings by two processes of torchrun (two_ranks.py), and what each process noted."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(script), str(folder), str(tone_manifests)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def mean(notes: list[dict], name: str) -> list[float]:
    """The losses of all ranks, of which each notes that of its own batches."""
    assert len(notes[0][name]) == len(notes[1][name])
    return [(a + b) / 2 for a, b in zip(notes[0][name], notes[1][name])]


def test_two_ranks_train_as_one_that_accumulates_their_batches(two, tmp_path, tone_manifests, losses, seen):
    _, notes = two
    options = ("trainer.accumulate_grad_batches=2", "trainer.val_check_interval=2")
    train(configure(tmp_path, tone_manifests, 5, *SAME, *options))
    assert len({str(batch) for batch in seen}) == 10  # within the first epoch, of which two ranks leave nothing out
    assert mean(notes, "ddp") == pytest.approx(losses, rel=1e-5)


def test_two_ranks_with_loader_processes_and_accumulation_resume_exactly(two):
    _, notes = two
    assert all(len(note["workers"]) == 3 and note["workers resumed"] == note["workers"][1:] for note in notes)


def test_two_ranks_resume_exactly(two):
    _, notes = two
    assert all(len(note["ddp"]) == 5 and note["ddp resumed"] == note["ddp"][2:] for note in notes)


@pytest.mark.parametrize("done", [2, 3])
def test_one_goes_on_where_two_stopped(two, tmp_path, tone_manifests, losses, done):
    """After an odd number of batches, too: two of them make a step then."""
    folder, notes = two
    options = ("trainer.accumulate_grad_batches=2", f"resume={folder / f'ddp/checkpoints/step_00000{done}.ckpt'}")
    train(configure(tmp_path, tone_manifests, 5, *SAME, *options))
    assert losses == pytest.approx(mean(notes, "ddp")[done:], rel=1e-4)
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["MelleDataModule"]
    assert (state["epoch"], state["batches"]) == (0, 10)


def test_a_loss_that_is_not_finite_on_one_rank_skips_the_step_on_all(two):
    folder, notes = two
    for note in notes:
        assert note["nan skipped"] == [1] and note["nan weights equal"] == [True, True]
        assert len(note["nan"]) == 4
    fault = json.loads((folder / "nan/skipped.jsonl").read_text().splitlines()[0])
    assert fault["step"] == 1 and fault["utterances"]


def test_ranks_judge_together_what_is_left_out(two):
    """One of them reads nothing any more: both end with the same error, after the same step."""
    _, (first, second) = two
    assert len(first["broken"]) == len(second["broken"]) and 2 <= len(first["broken"]) < 20
    message = first["broken failed"][0]
    assert second["broken failed"][0].replace(", rank 1", "") == message
    assert "utterances skipped" in message and "unreadable" in message and "cannot be read" in message


def test_a_signal_to_one_rank_saves_and_ends_all(two):
    folder, notes = two
    for note in notes:
        assert note["signal stopped"] == [15, 2] and len(note["signal"]) == 2
    last = torch.load(folder / "signal/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2


def test_the_command_starts_its_processes_itself(tmp_path, tone_manifests):
    folder = tmp_path / "run"
    splits = [f"data.{split}={tone_manifests / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    settings = ["data.batch_frames=100", f"run_dir={folder}", "optim.schedule.warmup_steps=1", "report.utterances=2"]
    settings += ["trainer.devices=2", "trainer.max_steps=4", "trainer.val_check_interval=2", "asr=none", "speaker=none"]
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *splits, *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Trained for") == 1 and done.stdout.count("To hear more") == 1
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    gaps = [event.value for event in events.Scalars("validation/text_gap")]
    assert len(gaps) == 2 and all(map(math.isfinite, gaps))
