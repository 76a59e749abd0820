"""A run that is asked to end saves, ends with the status of the signal, and is gone on with exactly."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from melle.training.callbacks.stop import Stopped, requeue
from melle.training.module import MelleModule
from melle.training.run import train
from tests.training.test_train import ROOT, SMALL, configure

LENGTHS = ["trainer.max_steps=100000", "trainer.val_check_interval=50000", "optim.schedule.warmup_steps=1"]


def start(tmp_path, tones, *overrides, **environment) -> subprocess.Popen:
    splits = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    settings = [*splits, *LENGTHS, f"run_dir={tmp_path / 'run'}", "callbacks.speech.count=0", "logger=csv", *overrides]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *SMALL, *settings],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    metrics = tmp_path / "run/csv/version_0/metrics.csv"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.stat().st_size:  # it logs: it trains
            return process
        time.sleep(0.2)
    process.kill()
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_first(tmp_path, tone_manifests, losses, name):
    process = start(tmp_path, tone_manifests)
    process.send_signal(getattr(signal, name))
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name), printed[-2000:]
    assert f"{name}: saving after this step" in printed and "The same command goes on from there" in printed
    assert "Traceback" not in printed
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert state["global_step"] > 0 and state["MelleDataModule"]["steps"] == state["global_step"]
    again = configure(tmp_path, tone_manifests, state["global_step"] + 2, "callbacks.speech.count=0", *LENGTHS[2:])
    train(again)
    assert len(losses) == 2


def test_loader_processes_outlive_the_signal(tmp_path, tone_manifests):
    """Ctrl-C and launchers signal a whole group of processes."""
    process = start(tmp_path, tone_manifests, "data.workers=2", "trainer.accumulate_grad_batches=8")
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    _, printed = process.communicate(timeout=60)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM), printed[-2000:]
    assert "Traceback" not in printed and "The same command goes on from there" in printed
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] > 0


def test_a_signal_in_a_validation_does_not_wait_for_its_end(tmp_path, tone_manifests, monkeypatch):
    validate, batches = MelleModule.validation_step, []

    def validation_step(self, batch, index):
        os.kill(os.getpid(), signal.SIGTERM)
        batches.append(index)
        return validate(self, batch, index)

    monkeypatch.setattr(MelleModule, "validation_step", validation_step)
    options = ("optim.schedule.warmup_steps=1", "callbacks.checkpoint.every=100", "data.batch_frames=60")
    with pytest.raises(Stopped, match="SIGTERM after step 3"):
        train(configure(tmp_path, tone_manifests, 6, *options))
    assert batches == [0]
    assert getattr(signal.getsignal(signal.SIGTERM), "__name__", "") != "receive"  # none of ours stays behind
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 3


def test_slurm_gets_its_job_back(tmp_path, tone_manifests):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "bin/scontrol").chmod(0o755)
    slurm = {"SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3", "SLURM_NTASKS": "1"}
    slurm |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "melle"}
    process = start(tmp_path, tone_manifests, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", **slurm)
    process.send_signal(signal.SIGUSR1)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1 and "job 70_3 is queued again" in printed, printed[-2000:]
    assert (tmp_path / "asked").read_text() == "requeue 70_3\n"
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] > 0
    assert not list((tmp_path / "run").glob("hpc_ckpt*"))


def test_without_slurm_nothing_is_queued(monkeypatch, capsys):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    requeue()
    assert capsys.readouterr().err == ""
