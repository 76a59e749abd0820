"""Lists of jobs are read as people and their machines write them."""

import json

import pytest
import torch

from melle.cli import main
from melle.errors import UserError
from melle.synthesis import rendering
from melle.synthesis.jobs import Job, read_jobs, run_jobs
from melle.synthesis.synthesizer import Synthesizer
from tests.conftest import DIGITS


def test_joined_files_and_paths_of_windows(tmp_path):
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "a.wav").touch()
    job = {"text": "one", "prompt": "voices\\a.wav", "prompt_text": "two"}
    lines = ["\ufeff" + json.dumps(job | {"id": str(number)}) + "\n" for number in range(2)]
    (tmp_path / "jobs.jsonl").write_text("".join(lines), encoding="utf-8")
    jobs = read_jobs(tmp_path / "jobs.jsonl", {"prompt": None, "prompt_text": None}, 0)
    assert [job.id for job in jobs] == ["0", "1"]
    assert all(job.prompt == tmp_path / "voices" / "a.wav" for job in jobs)


def broken(*_):
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
    yield


def gone(*_):
    raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")
    yield


@pytest.mark.parametrize("fail", [broken, gone])
def test_jobs_stop_where_the_device_broke(tiny_checkpoint, tmp_path, monkeypatch, capsys, fail):
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps({"text": word}) + "\n" for word in DIGITS))
    decode, calls = rendering.decode, []

    def second_fails(*arguments):
        calls.append(1)
        return fail() if len(calls) == 2 else decode(*arguments)

    def probe(device):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(rendering, "decode", second_fails)
    monkeypatch.setattr("melle.devices.probe", probe)
    out = tmp_path / "out"
    command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--jobs", str(tmp_path / "jobs.jsonl")]
    assert main([*command, "-o", str(out), "--batch-size", "4"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "cpu does not work any more" in error and "goes on with the 6 texts left" in error
    assert len(calls) == 2 and len(list(out.glob("*.wav"))) == 4
    monkeypatch.undo()
    assert main([*command, "-o", str(out)]) == 0 and len(list(out.glob("*.wav"))) == 10


def test_a_fault_of_one_job_alone_is_no_broken_device(tiny_checkpoint, tmp_path, monkeypatch):
    decode, calls = rendering.decode, []

    def fails(network, requests, *rest):
        calls.append(1)
        if any(request.text == "two" for request in requests):
            raise RuntimeError("shapes do not fit")
        yield from decode(network, requests, *rest)

    monkeypatch.setattr(rendering, "decode", fails)
    jobs = [Job(word, word, None, None, 0) for word in ("one", "two", "three")]
    assert run_jobs(Synthesizer.from_checkpoint(tiny_checkpoint), jobs, tmp_path / "out") == 1
    (line,) = [each for each in map(json.loads, (tmp_path / "out/results.jsonl").open()) if "error" in each]
    assert line["id"] == "two" and line["error"] == "RuntimeError: shapes do not fit"


def test_one_text_on_a_broken_device_is_a_sentence_too(tiny_checkpoint, monkeypatch):
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    monkeypatch.setattr(rendering, "decode", broken)
    for speak in (lambda: tts("one"), lambda: list(tts.stream("one"))):
        with pytest.raises(UserError, match=r"cpu does not work any more \(AcceleratorError: CUDA error"):
            speak()
