"""Two processes train together (DDP over gloo), and one goes on where they stopped."""

import math
import subprocess
import sys

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_train import ROOT, SMALL


def run(folder, tones, *overrides: str) -> None:
    splits = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val")]
    settings = ["data.test=null", "data.batch_frames=100", f"run_dir={folder}", "optim.schedule.warmup_steps=1"]
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *splits, *settings, "trainer.val_check_interval=2"]
    done = subprocess.run([*command, *overrides], cwd=folder.parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_ranks_and_then_one(tmp_path, tone_manifests):
    folder = tmp_path / "run"
    run(folder, tone_manifests, "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_steps=4")
    first = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    state = first["MelleDataModule"]
    assert state["steps"] == 4 and state["epoch"] * 8 + state["batches"] >= 8
    run(folder, tone_manifests, "trainer.devices=1", "trainer.max_steps=6")
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    after = last["MelleDataModule"]
    assert after["epoch"] > state["epoch"] or after["batches"] == state["batches"] + 2
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    gaps = [event.value for event in events.Scalars("validation/text_gap")]  # of batches of one row, on every rank
    assert len(gaps) == 3 and all(map(math.isfinite, gaps))
