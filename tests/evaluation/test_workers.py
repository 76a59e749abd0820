"""What other processes are given, without starting any."""

import os
import pickle
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from test_evaluate_command import UNJUDGED, config

import melle.evaluation.folder  # noqa: F401  (a resolver that the configuration uses)
from melle.configs.resolvers import sweep_suffix
from melle.evaluation import workers as module
from melle.evaluation.run import score
from melle.evaluation.setup import evaluation_from


@pytest.fixture
def gpus():
    """What each process that was started sees."""
    return []


@pytest.fixture
def started(monkeypatch, gpus):
    """Processes that were started: each is a function that does what it would do."""
    processes = []

    class Process:
        def __init__(self, target, args, daemon):
            given = pickle.dumps((target, args))  # as a new process gets them
            self.run = lambda: (lambda work, values: work(*values))(*pickle.loads(given))
            processes.append(self.run)

        def start(self):
            gpus.append(os.environ.get(module.VISIBLE))

        def terminate(self):
            pass

        join = terminate

    monkeypatch.setattr(module.multiprocessing, "get_context", lambda how: SimpleNamespace(Process=Process))
    monkeypatch.setattr(module, "follow_parent", lambda: None)
    return processes


def test_every_process_has_its_share_in_the_folder_of_a_sweeps_job(checkpoint, manifest, started):
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED, "utterances=6", "processes=3")
    try:
        OmegaConf.register_new_resolver("sweep_suffix", lambda: "-job", replace=True)
        evaluation = evaluation_from(cfg)
        with module.start_workers(cfg, evaluation) as share:
            pass
    finally:
        OmegaConf.register_new_resolver("sweep_suffix", sweep_suffix, replace=True)
    assert share == slice(0, None, 3) and len(started) == 2
    for process in started:
        process()  # where nothing is known of the sweep
    assert {path.name for path in checkpoint.parents[1].iterdir()} == {"checkpoints", "evaluation-job"}
    queue = evaluation.queue()
    assert queue.missing() == queue.missing(share) == 4  # two utterances of the vocoder, two of the model


@pytest.mark.parametrize(("visible", "seen"), [(None, ["1", "2"]), ("5,GPU-x,7", ["GPU-x", "7"])])
def test_every_process_has_a_gpu_of_its_own(checkpoint, manifest, started, gpus, monkeypatch, visible, seen):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv(module.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(module.VISIBLE, visible)
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED, "utterances=2")
    evaluation = evaluation_from(cfg)
    with module.start_workers(OmegaConf.merge(cfg, {"device": "cuda"}), evaluation) as share:
        assert share == slice(0, None, 3) and gpus == seen
    assert os.environ.get(module.VISIBLE) == visible


def test_processes_are_there_while_there_is_work_and_what_they_leave_is_done(checkpoint, manifest):
    evaluation = evaluation_from(
        config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED, "utterances=2", "keep_audio=false")
    )
    audio, seen = evaluation.output / "audio", []

    @contextmanager
    def workers():
        seen.append(audio.exists())
        yield slice(0, None, 2)  # the other half is never done
        seen.append(audio.exists())

    score(evaluation, workers())
    assert seen == [False, True] and not audio.exists()
    score(replace(evaluation, keep_audio=True), workers())
    score(replace(evaluation, keep_audio=True), workers())
    assert seen == [False, True, False, True]
