"""Which checkpoints there are, and that each is whole, whatever happens while it is written."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest
import torch

from melle.checkpoint import load_model
from melle.errors import UserError
from melle.training.checkpoints import Checkpoints, WholeFiles
from melle.training.resume import newest
from melle.training.run import train
from tests.training.test_train import ROOT, configure


class FakeTrainer(SimpleNamespace):
    """Saves its step, and says what a validation found."""

    def __init__(self):
        io = WholeFiles()
        strategy = SimpleNamespace(checkpoint_io=io, broadcast=lambda value: value)
        super().__init__(global_step=0, is_global_zero=True, sanity_checking=False, strategy=strategy)
        self.save_checkpoint = lambda path, weights_only: io.save_checkpoint({"step": self.global_step}, path)
        self.callback_metrics = {}


def go(folder, metrics: list[float], **options) -> list[str]:
    checkpoints, trainer = Checkpoints(folder, every=10, **options), FakeTrainer()
    checkpoints.on_train_start(trainer, None)
    for n, value in enumerate(metrics, 1):
        for trainer.global_step in range(10 * n - 9, 10 * n + 1):
            checkpoints.on_train_batch_end(trainer)
        trainer.callback_metrics = {"validation/regression": torch.tensor(value), "train/total": torch.tensor(0.0)}
        checkpoints.on_validation_end(trainer, None)
    trainer.global_step += 3
    checkpoints.on_train_end(trainer, None)
    return sorted(path.name for path in folder.iterdir())


def step(path) -> int:
    return torch.load(path, weights_only=True)["step"]


def test_the_newest_and_the_best_stay(tmp_path):
    names = go(tmp_path / "a", [5.0, 2.0, 4.0, 3.0], keep=2, keep_best=1)
    assert names == ["best.ckpt", "last.ckpt", "scores.json"] + [f"step_0000{n}.ckpt" for n in (20, 40, 43)]
    assert step(tmp_path / "a/best.ckpt") == 20 and step(tmp_path / "a/last.ckpt") == 43
    assert (tmp_path / "a/best.ckpt").samefile(tmp_path / "a/step_000020.ckpt")  # no second copy
    names = go(tmp_path / "b", [5.0, 2.0, 4.0, 3.0], keep=None, mode="max")
    assert len(names) == 8 and step(tmp_path / "b/best.ckpt") == 10
    names = go(tmp_path / "c", [5.0, 2.0, 4.0, 3.0], keep=1, keep_best=2)
    assert [name for name in names if "step" in name] == [f"step_0000{n}.ckpt" for n in (20, 40, 43)]
    with pytest.raises(ValueError, match="every=0"):
        Checkpoints(tmp_path, every=0)


def test_a_score_that_is_not_a_number_is_not_the_best(tmp_path):
    go(tmp_path, [float("nan"), 2.0, float("nan"), 3.0])
    assert step(tmp_path / "best.ckpt") == 20


def test_validations_between_checkpoints_get_one(tmp_path, tone_manifests, losses):
    options = ("optim.schedule.warmup_steps=1", "callbacks.checkpoint.every=4", "trainer.val_check_interval=3")
    train(configure(tmp_path, tone_manifests, 9, *options))
    folder = tmp_path / "run/checkpoints"
    assert sorted(path.name for path in folder.glob("step_*")) == [f"step_00000{n}.ckpt" for n in (3, 4, 6, 8, 9)]
    assert set(json.loads((folder / "scores.json").read_text())) == {f"step_00000{n}.ckpt" for n in (3, 6, 9)}
    whole = list(losses)
    losses.clear()
    train(configure(tmp_path / "again", tone_manifests, 9, *options, f"resume={folder / 'step_000003.ckpt'}"))
    assert losses == whole[3:]


def test_going_on_from_an_earlier_step_puts_the_later_ones_aside(tmp_path, tone_manifests):
    options = ("optim.schedule.warmup_steps=1", "callbacks.checkpoint.every=1", "callbacks.checkpoint.keep=2")
    train(configure(tmp_path, tone_manifests, 6, *options, "callbacks.checkpoint.keep=null"))
    folder = tmp_path / "run/checkpoints"
    earlier = f"resume={folder / 'step_000002.ckpt'}"
    train(configure(tmp_path, tone_manifests, 4, *options, earlier))
    assert sorted(path.name for path in (folder / "left-1").iterdir()) == [f"step_00000{n}.ckpt" for n in (3, 4, 5, 6)]
    kept = {path.name for path in folder.glob("step_*")}
    assert {"step_000003.ckpt", "step_000004.ckpt"} <= kept and "step_000006.ckpt" not in kept
    assert load_model(folder / "last.ckpt").step == 4 and newest(folder) == folder / "step_000004.ckpt"
    assert "step_000006.ckpt" not in json.loads((folder / "scores.json").read_text())


def test_a_file_system_without_hard_links_gets_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    go(tmp_path / "a", [5.0, 2.0])
    assert step(tmp_path / "a/last.ckpt") == 23 and step(tmp_path / "a/best.ckpt") == 20


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path):
    """A process whose files may not grow past a limit, as on a full disk."""
    small, io = {"weights": torch.zeros(100)}, WholeFiles()
    io.save_checkpoint(small, tmp_path / "last.ckpt")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        io.save_checkpoint({"weights": torch.zeros(10**6)}, tmp_path / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "could not be written" in io.failure and "GiB are free" in io.failure
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.equal(io.load_checkpoint(tmp_path / "last.ckpt")["weights"], small["weights"])


def test_training_on_a_full_disk_ends_with_an_error_and_whole_files(tmp_path, tone_manifests):
    """In a file system of five megabytes, mounted in a name space of its own."""
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    disk = tmp_path / "disk"
    disk.mkdir()
    allowed = shutil.which("unshare") and subprocess.run([*mount, f"mount -t tmpfs none {disk}"], capture_output=True)
    if not allowed or allowed.returncode:
        pytest.skip("this machine lets no one mount a file system")
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        from melle.checkpoint import load_model
        from melle.errors import UserError
        from melle.training.run import train
        from tests.training.test_train import configure
        options = ("callbacks.checkpoint.every=1", "callbacks.checkpoint.keep=null", "callbacks.speech.count=0")
        options += ("optim.schedule.warmup_steps=1", "data.index={tmp_path}/index")
        cfg = configure(Path({str(disk)!r}), Path({str(tone_manifests)!r}), 50, *options)
        try:
            train(cfg)
        except UserError as error:
            print("told:", error)
        folder = Path({str(disk)!r}) / "run/checkpoints"
        print("files:", *sorted(path.name for path in folder.iterdir()))
        print("step:", load_model(folder / "last.ckpt").step)
    """)
    (tmp_path / "script.py").write_text(script)
    command = f"mount -t tmpfs -o size=5m none {disk} && exec {sys.executable} {tmp_path / 'script.py'}"
    done = subprocess.run([*mount, command], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "told:" in done.stdout and "could not be written" in done.stdout and "keep=" in done.stdout
    files = done.stdout.split("files: ")[1].splitlines()[0].split()
    last = int(done.stdout.split("step: ")[1])
    assert last >= 1 and f"step_{last:06d}.ckpt" in files and not any("partial" in name for name in files)
    assert f"step_{last + 1:06d}.ckpt" not in files


CONTENT = torch.arange(2 * 10**6)


def save_for_ever(folder, begin: int) -> None:
    trainer, checkpoints = FakeTrainer(), Checkpoints(folder, every=1, keep=2)
    io = trainer.strategy.checkpoint_io
    trainer.save_checkpoint = lambda path, weights_only: io.save_checkpoint(
        {"step": trainer.global_step, "content": CONTENT}, path
    )
    for trainer.global_step in range(begin + 1, 10**6):
        checkpoints.on_train_batch_end(trainer)


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    """A process that does nothing but save is killed at random moments."""
    rng, reached = random.Random(0), 0
    for _ in range(12):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(tmp_path, reached))
        process.start()
        while not (tmp_path / "last.ckpt").exists():
            assert process.is_alive()
        time.sleep(0.2 + 0.3 * rng.random())
        process.kill()
        process.join()
        for path in tmp_path.glob("*.ckpt"):
            assert torch.equal(torch.load(path, weights_only=True)["content"], CONTENT)
        assert step(tmp_path / "last.ckpt") >= reached
        reached = step(tmp_path / "last.ckpt")
    assert reached > 12


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, tone_manifests, capsys):
    options = ("callbacks.checkpoint.every=1", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 3, *options))
    folder = tmp_path / "run/checkpoints"
    for name in ("last.ckpt", "step_000003.ckpt"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(content[: len(content) // 2])
    assert newest(folder) == folder / "step_000002.ckpt"
    assert capsys.readouterr().err.count("trying the one before") == 1
    train(configure(tmp_path, tone_manifests, 3, *options))
    assert load_model(folder / "last.ckpt").step == 3
    for path in folder.glob("*.ckpt"):
        path.unlink()
        path.write_text("")
    with pytest.raises(UserError, match="resume=false puts them aside"):
        train(configure(tmp_path, tone_manifests, 3, *options))
