"""What helper processes are given, and when they begin and end, without starting any."""

import pickle
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from test_evaluate_command import DEAF, config

import melle.evaluation.folder  # noqa: F401  (a resolver that the configuration uses)
from melle.config import sweep_suffix
from melle.evaluation import helpers as module
from melle.evaluation.run import score
from melle.evaluation.setup import evaluation_from


@pytest.fixture
def started(monkeypatch):
    """Helpers that were started: each is a function that does what its process would do."""
    processes = []

    class Process:
        def __init__(self, target, args, daemon):
            given = pickle.dumps((target, args))  # as a new process gets them
            self.run = lambda: (lambda work, values: work(*values))(*pickle.loads(given))
            processes.append(self.run)

        def start(self):
            pass

        terminate = join = start

    monkeypatch.setattr(module.multiprocessing, "get_context", lambda how: SimpleNamespace(Process=Process))
    monkeypatch.setattr(module, "follow_parent", lambda: None)
    return processes


def test_a_helper_works_in_the_folder_of_a_sweeps_job(checkpoint, manifest, started):
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *DEAF, "utterances=2", "processes=2")
    try:
        OmegaConf.register_new_resolver("sweep_suffix", lambda: "-job", replace=True)
        evaluation = evaluation_from(cfg)
        with module.helpers(cfg, evaluation):
            pass
    finally:
        OmegaConf.register_new_resolver("sweep_suffix", sweep_suffix, replace=True)
    (help_out,) = started
    help_out()  # where nothing is known of the sweep
    assert {path.name for path in checkpoint.parents[1].iterdir()} == {"checkpoints", "evaluation-job"}


def test_helpers_are_there_while_there_is_work(checkpoint, manifest):
    evaluation = evaluation_from(
        config(f"checkpoint={checkpoint}", f"data.test={manifest}", *DEAF, "utterances=2", "keep_audio=false")
    )
    sound, seen = evaluation.output / "audio", []

    @contextmanager
    def helped():
        seen.append(sound.exists())
        yield
        seen.append(sound.exists())  # what is not kept was not removed while a helper might make it again

    score(evaluation, helped())
    assert seen == [False, True] and not sound.exists()
    score(replace(evaluation, keep_audio=True), helped())
    score(replace(evaluation, keep_audio=True), helped())
    assert seen == [False, True, False, True]


def test_helpers_are_ended_and_not_waited_for(checkpoint, manifest, monkeypatch):
    monkeypatch.setattr(module, "_help", sleep_long)
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *DEAF, "processes=2")
    begun = time.monotonic()
    with module.helpers(cfg, evaluation_from(cfg)):
        pass
    assert time.monotonic() - begun < 30


def sleep_long(*_):
    time.sleep(60)
