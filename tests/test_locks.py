"""One process at a time, on file systems with and without locks."""

import errno
import fcntl
import re
import shutil
import threading

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

import evaluate
from melle.configs.sweeps import SweepTable
from melle.errors import UserError
from melle.locks import locked, making
from melle.training.resume import find_resume
from tests.test_readme import ROOT


@pytest.fixture(params=["locks", errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=str)
def file_system(request, monkeypatch):
    if request.param != "locks":

        def flock(*_):
            raise OSError(request.param, "no locks here")

        monkeypatch.setattr(fcntl, "flock", flock)


def test_one_holder_at_a_time(tmp_path, file_system):
    order = []

    def other() -> None:
        with locked(tmp_path / "new/x.lock"):
            order.append("second")

    with locked(tmp_path / "new/x.lock", "testing"):
        thread = threading.Thread(target=other)
        thread.start()
        with (
            pytest.raises(UserError, match="another process is testing"),
            locked(tmp_path / "new/x.lock", "testing", wait=False),
        ):
            order.append("never")
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_making_leaves_nothing_behind(tmp_path, file_system):
    with making(tmp_path / "corpus", "making this corpus"):
        (tmp_path / "corpus").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="give a folder that can be written to"), locked(tmp_path / "file/x.lock"):
        raise AssertionError


def test_a_run_that_begins_anew_needs_no_locks(tmp_path, file_system, tiny_checkpoint):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(tiny_checkpoint, run / "checkpoints/last.ckpt")
    assert find_resume(False, run) is None
    assert (run / "previous-1/checkpoints/last.ckpt").is_file() and not list(run.glob("*.held"))


def test_a_sweep_needs_no_locks(tmp_path, file_system, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hydra = {"sweep": {"dir": "sweep"}, "overrides": {"task": ["x=1"], "hydra": []}, "job": {"num": 0}}
    hydra["job"]["config"] = {"override_dirname": {"exclude_keys": []}}
    config, table = OmegaConf.create({"run_dir": "run", "hydra": hydra}), SweepTable()
    table.on_multirun_start(config)
    table.on_job_start(config)
    assert "not ended" in (tmp_path / "sweep/table.csv").read_text()
    table.on_job_end(config, JobReturn(status=JobStatus.COMPLETED))
    table.on_multirun_end(config)
    assert "done" in (tmp_path / "sweep/table.csv").read_text()


def test_an_evaluation_needs_no_locks(tmp_path, file_system, tiny_checkpoint, tone_manifests, capsys):
    options = [f"data.test={tone_manifests / 'test.jsonl'}", "data.test_seconds=[0,9]", "utterances=2", "device=cpu"]
    options += ["asr=none", "speaker=none", "processes=1", "data.corpus=null", "protocol=plain"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("evaluate", [f"checkpoint={tiny_checkpoint}", f"output={tmp_path / 'out'}", *options])
    assert "duration_ratio" in evaluate.evaluate(cfg)
    assert (tmp_path / "out/results.json").is_file()


def test_the_oldest_filelock_that_is_allowed_raises_what_is_answered():
    """Releases before 3.21 take ENOLCK and EOPNOTSUPP for a lock that another process holds, and wait for ever."""
    (least,) = re.findall(r'"filelock>=(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert tuple(map(int, least)) >= (3, 21)
