"""Which checkpoints there are, and that each is whole, whatever happens while it is written."""

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
from lightning.pytorch.trainer.states import TrainerFn

from melle.checkpoint import load_model
from melle.errors import UserError
from melle.training.callbacks.checkpoint import StepCheckpoint, WholeFiles, step_files
from melle.training.module import MelleModule
from melle.training.resume import newest
from melle.training.run import train
from tests.training.test_train import ROOT, configure


class FakeTrainer(SimpleNamespace):
    """Saves its step, and says what a validation found."""

    def __init__(self):
        io = WholeFiles()
        strategy = SimpleNamespace(checkpoint_io=io, broadcast=lambda value: value, barrier=lambda: None)
        strategy.reduce_boolean_decision = lambda decision, all=True: decision
        strategy.remove_checkpoint = io.remove_checkpoint
        state = SimpleNamespace(fn=TrainerFn.FITTING)
        super().__init__(global_step=0, is_global_zero=True, sanity_checking=False, strategy=strategy, state=state)
        self.save_checkpoint = lambda path, weights_only: io.save_checkpoint({"step": self.global_step}, path)
        self.callback_metrics, self.loggers, self.current_epoch, self.ckpt_path = {}, [], 0, None
        self.should_stop, self.max_steps, self.fast_dev_run = False, 43, False
        self.check_val_every_n_epoch = None
        progress = SimpleNamespace(is_last_batch=False)
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))


MODULE = SimpleNamespace(automatic_optimization=True)


def go(folder, steps: int = 43, begin: int = 0, **options) -> list[str]:
    """Checkpoints every 10 steps, without validations; the names of all files."""
    checkpoints, trainer = StepCheckpoint(folder, every=10, **options), FakeTrainer()
    checkpoints.setup(trainer, MODULE, "fit")
    trainer.global_step = begin
    checkpoints.on_train_start(trainer, MODULE)
    for trainer.global_step in range(begin, steps + 1):
        checkpoints.on_train_batch_end(trainer, MODULE, None, None, 0)
        checkpoints.on_train_batch_end(trainer, MODULE, None, None, 1)  # of another step, accumulated
    checkpoints.on_train_end(trainer, MODULE)
    return sorted(path.name for path in folder.iterdir())


def step(path) -> int:
    return torch.load(path, weights_only=True)["step"]


def test_the_newest_stay_and_the_end_is_one_of_them(tmp_path):
    assert go(tmp_path / "a", keep=2) == ["last.ckpt", "step_000040.ckpt", "step_000043.ckpt"]
    assert step(tmp_path / "a/last.ckpt") == 43 and (tmp_path / "a/last.ckpt").readlink().name == "step_000043.ckpt"
    assert go(tmp_path / "b") == ["last.ckpt", *(f"step_0000{n}.ckpt" for n in (10, 20, 30, 40, 43))]
    with pytest.raises(ValueError, match="every=0"):
        StepCheckpoint(tmp_path, every=0)


@pytest.mark.parametrize(("keep", "left"), [(1, [43]), (3, [33, 40, 43]), (None, [10, 20, 30, 33, 40, 43])])
def test_a_run_that_goes_on_may_keep_another_number(tmp_path, keep, left):
    go(tmp_path, steps=33, keep=None)
    for name in ("step_000033.ckpt", "step_000030.ckpt"):
        if not (tmp_path / name).exists():
            (tmp_path / name).write_bytes((tmp_path / "step_000020.ckpt").read_bytes())
    go(tmp_path, begin=33, keep=keep)
    assert sorted(int(path.stem[5:]) for path in tmp_path.glob("step_*")) == left


def test_the_best_is_kept_by_the_metric_that_is_monitored(tmp_path, tone_manifests, monkeypatch):
    values = iter([0.5, float("nan"), 0.3, 0.4])
    log = lambda self: self.log("validation/regression", next(values))  # noqa: E731
    monkeypatch.setattr(MelleModule, "on_validation_epoch_end", log)
    options = ("optim.schedule.warmup_steps=1", "trainer.val_check_interval=1", "+trainer.limit_val_batches=1")
    train(configure(tmp_path, tone_manifests, 4, *options, "callbacks.speech=null"))
    assert load_model(tmp_path / "run/checkpoints/best.ckpt").step == 3
    assert load_model(tmp_path / "run/checkpoints/last.ckpt").step == 4


def test_a_metric_that_nothing_logs_is_an_error_before_training(tmp_path, tone_manifests, losses):
    wrong = "callbacks.best.monitor=validation/regresion"
    with pytest.raises(UserError, match=r"monitor=validation/regresion: nothing logs it; validation/regression\?"):
        train(configure(tmp_path, tone_manifests, 4, "optim.schedule.warmup_steps=1", wrong))
    assert not losses
    rate = ("callbacks.best.monitor=samples/eos_rate", "callbacks.best.mode=max")
    train(configure(tmp_path, tone_manifests, 2, "optim.schedule.warmup_steps=1", *rate))
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()


def test_validations_between_checkpoints_get_one(tmp_path, tone_manifests, losses):
    options = ("optim.schedule.warmup_steps=1", "callbacks.checkpoint.every=4", "trainer.val_check_interval=3")
    train(configure(tmp_path, tone_manifests, 9, *options))
    folder = tmp_path / "run/checkpoints"
    assert sorted(path.name for path in folder.glob("step_*")) == [f"step_00000{n}.ckpt" for n in (3, 4, 6, 8, 9)]
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
    left = [path.name for path in (folder / "left-1").iterdir()]
    assert sorted(left) == ["best.ckpt", *(f"step_00000{n}.ckpt" for n in (3, 4, 5, 6))]
    kept = {path.name for path in folder.glob("step_*")}
    assert {"step_000003.ckpt", "step_000004.ckpt"} <= kept and "step_000006.ckpt" not in kept
    assert load_model(folder / "last.ckpt").step == 4 and newest(folder) == folder / "step_000004.ckpt"


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "symlink", lambda *_, **__: (_ for _ in ()).throw(OSError("no links here")))
    go(tmp_path / "a", steps=20)
    assert step(tmp_path / "a/last.ckpt") == 20


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
            print("refused:", error)
        folder = Path({str(disk)!r}) / "run/checkpoints"
        print("files:", *sorted(path.name for path in folder.iterdir()))
        print("step:", load_model(folder / "last.ckpt").step)
    """)
    (tmp_path / "script.py").write_text(script)
    command = f"mount -t tmpfs -o size=5m none {disk} && exec {sys.executable} {tmp_path / 'script.py'}"
    done = subprocess.run([*mount, command], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "refused:" in done.stdout and "could not be written" in done.stdout and "keep=" in done.stdout
    files = done.stdout.split("files: ")[1].splitlines()[0].split()
    last = int(done.stdout.split("step: ")[1])
    assert last >= 1 and f"step_{last:06d}.ckpt" in files and not any("partial" in name for name in files)
    assert f"step_{last + 1:06d}.ckpt" not in files


CONTENT = torch.arange(2 * 10**6)


def save_for_ever(folder, begin: int) -> None:
    trainer, checkpoints = FakeTrainer(), StepCheckpoint(folder, every=1, keep=2)
    checkpoints.setup(trainer, MODULE, "fit")
    trainer.global_step = begin
    checkpoints.on_train_start(trainer, MODULE)
    io = trainer.strategy.checkpoint_io
    trainer.save_checkpoint = lambda path, weights_only: io.save_checkpoint(
        {"step": trainer.global_step, "content": CONTENT}, path
    )
    for trainer.global_step in range(begin + 1, 10**6):
        checkpoints.on_train_batch_end(trainer, MODULE, None, None, 0)


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    """A process that does nothing but save is killed at random moments."""
    rng, reached = random.Random(0), 0
    for _ in range(12):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(tmp_path, reached))
        process.start()
        while not step_files(tmp_path):
            assert process.is_alive()
        time.sleep(0.2 + 0.3 * rng.random())
        process.kill()
        process.join()
        for path in tmp_path.glob("step_*.ckpt"):
            assert torch.equal(torch.load(path, weights_only=True)["content"], CONTENT)
        assert step(step_files(tmp_path)[-1]) >= reached
        reached = step(step_files(tmp_path)[-1])
    assert reached > 12


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(tmp_path, tone_manifests, capsys):
    options = ("callbacks.checkpoint.every=1", "optim.schedule.warmup_steps=1")
    train(configure(tmp_path, tone_manifests, 3, *options))
    folder = tmp_path / "run/checkpoints"
    for name in ("last.ckpt", "step_000003.ckpt"):
        content = (folder / "step_000003.ckpt").read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(content[: len(content) // 2])
    (folder / "best.ckpt").unlink()
    assert newest(folder) == folder / "step_000002.ckpt"
    assert capsys.readouterr().err.count("trying the one before") == 1
    train(configure(tmp_path, tone_manifests, 3, *options))
    assert load_model(folder / "last.ckpt").step == 3
    for path in folder.glob("*.ckpt"):
        path.unlink()
        path.write_text("")
    with pytest.raises(UserError, match="resume=false puts them aside"):
        train(configure(tmp_path, tone_manifests, 3, *options))
