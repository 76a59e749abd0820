"""What a run folder says of its run, and that loggers lose nothing when a run goes on."""

import csv
import json
import math
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from melle.training.record import git_state, read_metrics, write_metrics, write_record
from melle.training.run import train
from tests.training.test_train import CONF, configure


def test_each_start_is_an_entry_and_the_configuration_is_resolved(tmp_path, monkeypatch):
    cfg = OmegaConf.create({"name": "x", "run_dir": "runs/${name}", "steps": 3, "half": "${steps}"})
    monkeypatch.setattr(sys, "argv", ["train.py", "name=x", "data.train=my corpus.jsonl"])
    write_record(tmp_path, cfg)
    cfg.steps = 4
    write_record(tmp_path, cfg, world_size=2)
    first, second = json.loads((tmp_path / "record.json").read_text())
    assert first["command"] == "train.py name=x 'data.train=my corpus.jsonl'"
    assert (first["world_size"], second["world_size"]) == (1, 2)
    assert first["begun"] <= second["begun"]
    assert first["packages"]["torch"] == version("torch") and first["packages"]["hydra-core"] == version("hydra-core")
    assert first["python"] == ".".join(map(str, sys.version_info[:3]))
    assert first["cpu"] and isinstance(first["gpus"], list)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {
        "name": "x",
        "run_dir": "runs/x",
        "steps": 4,
        "half": 4,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "record.json"]


def test_git_state(tmp_path):
    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert git_state(package) is None  # no repository

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "other.txt").write_text("")
    git("add", "other.txt")
    git("commit", "-m", "other")
    assert git_state(package) is None  # somebody else's repository
    for name in ("conf/a.yaml", "pyproject.toml", "train.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    git("add", "--all")
    git("commit", "-m", "package")
    assert git_state(package) == {"revision": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "notes.txt").write_text("neither code nor configuration")
    assert git_state(package)["dirty"] is False
    (tmp_path / "conf/new.yaml").write_text("")
    assert git_state(package)["dirty"] is True


def test_no_git_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    write_record(tmp_path / "run", OmegaConf.create({}))
    assert json.loads((tmp_path / "run/record.json").read_text())[0]["git"] is None


def test_metrics_are_strict_json(tmp_path):
    assert read_metrics(tmp_path) == {}
    write_metrics(tmp_path, {"step": 2.0, "validation/total": math.inf, "validation/kl": 0.25})
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {
        "step": 2.0,
        "validation/total": None,
        "validation/kl": 0.25,
    }
    assert math.isnan(read_metrics(tmp_path)["validation/total"])


@pytest.mark.parametrize("logger", [path.stem for path in (Path(CONF) / "logger").glob("*.yaml")])
def test_loggers_write_into_the_run(tmp_path, logger):
    pytest.importorskip({"csv": "lightning"}.get(logger, logger))
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["name=x", f"run_dir={tmp_path}", f"logger={logger}"])
    assert Path(instantiate(cfg.logger[logger]).save_dir) == tmp_path


def test_csv_keeps_what_was_logged_before_a_run_goes_on(tmp_path, tone_manifests):
    options = ("logger=csv", "trainer.log_every_n_steps=1", "optim.schedule.warmup_steps=1")
    for steps in (2, 4):
        train(configure(tmp_path, tone_manifests, steps, *options))
    logged = []
    for version_ in (0, 1):
        with (tmp_path / f"run/csv/version_{version_}/metrics.csv").open() as file:
            logged.append([int(row["step"]) for row in csv.DictReader(file) if row.get("train/total")])
    assert logged == [[0, 1], [2, 3]]


def test_tensorboard_hides_what_a_run_that_goes_on_does_again(tmp_path, tone_manifests):
    options = ("trainer.log_every_n_steps=3", "optim.schedule.warmup_steps=1", "trainer.val_check_interval=4")
    train(configure(tmp_path, tone_manifests, 7, *options))
    checkpoints = tmp_path / "run/checkpoints"
    for name in ("step_000007.ckpt", "last.ckpt"):  # as if it had been killed before it saved
        (checkpoints / name).unlink()
    train(configure(tmp_path, tone_manifests, 9, *options))
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/total")] == [2, 5, 8]
    assert [event.step for event in events.Scalars("validation/total")] == [3, 7]
