"""The speech samples of a validation, in loggers and files."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from melle.audio import within_scale
from melle.checkpoint import load_model
from melle.data.manifest import read_manifest, write_manifest
from melle.errors import OutOfMemory, UserError
from melle.evaluation.judges.base import Transcript
from melle.evaluation.judges.normalisers import spell_digits
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer
from melle.training.callbacks import samples
from melle.training.callbacks.samples import SpeechSamples, log_audio, log_image
from melle.training.run import train
from tests.training.test_train import configure

ONE = "optim.schedule.warmup_steps=1"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tone_manifests):
    """The folder of a training of six steps with two validations and two samples at each."""
    folder = tmp_path_factory.mktemp("samples")
    metrics = train(configure(folder, tone_manifests, 6, ONE, "callbacks.speech.count=2"))
    return folder / "run", metrics


def test_files(run, tone_manifests):
    folder, _ = run
    assert sorted(path.name for path in (folder / "samples").iterdir()) == ["recordings", "step_000003", "step_000006"]
    lines = [json.loads(line) for line in (folder / "samples/step_000006/samples.jsonl").read_text().splitlines()]
    texts = {u.id: u.transcription for u in read_manifest(tone_manifests / "val.jsonl")}
    assert len(lines) == 2
    for line in lines:
        assert line["text"] == texts[line["id"]] and line["prompt_text"] in texts.values()
        assert line["finish_reason"] in ("stop", "length") and line["transcript"] is None
        waveform, rate = soundfile.read(folder / f"samples/step_000006/{line['name']}.wav")
        assert rate == 16000 and len(waveform) / rate == pytest.approx(line["seconds"], abs=0.001)
        recorded, _ = soundfile.read(folder / f"samples/recordings/{line['name']}.wav")
        assert len(recorded) / rate == pytest.approx(line["recording_seconds"], abs=0.001)
        picture = imread(folder / f"samples/step_000006/{line['name']}.png")
        assert picture.shape[0] > 300 and picture.std() > 0.1


def test_tensorboard_and_scores(run):
    folder, metrics = run
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"audio": 0, "images": 0}).Reload()
    lines = [json.loads(line) for line in (folder / "samples/step_000006/samples.jsonl").read_text().splitlines()]
    for line in lines:
        tag = f"samples/{line['name']}"
        assert [event.step for event in events.Images(tag)] == [3, 6]
        assert [event.step for event in events.Audio(tag)] == [3, 6]
        assert [event.step for event in events.Audio(f"{tag} recording")] == [3]  # it stays the same
    errors = [abs(line["seconds"] - line["recording_seconds"]) / line["recording_seconds"] for line in lines]
    assert metrics["samples/duration_error"] == pytest.approx(sum(errors) / 2, rel=0.01)
    assert metrics["samples/eos_rate"] == sum(line["finish_reason"] == "stop" for line in lines) / 2
    assert "samples/wer" not in metrics
    assert events.Scalars("samples/duration_error")[-1].value == pytest.approx(metrics["samples/duration_error"])


def test_files_need_no_logger(tmp_path, tone_manifests):
    train(configure(tmp_path, tone_manifests, 2, ONE, "logger=[]"))
    assert len(list((tmp_path / "run/samples/step_000002").iterdir())) == 3


class Constant:
    """A recogniser that always understands the same."""

    name, settings = "constant", {}
    normalise = staticmethod(spell_digits)

    def transcribe(self, waveforms, sample_rate):
        return [Transcript("zero") for _ in waveforms]


def test_word_errors_by_a_recogniser(tmp_path, tone_manifests, monkeypatch):
    monkeypatch.setattr(
        SpeechSamples, "asr", property(lambda self: Constant(), lambda self, value: None), raising=False
    )
    metrics = train(configure(tmp_path, tone_manifests, 2, ONE))
    (line,) = map(json.loads, (tmp_path / "run/samples/step_000002/samples.jsonl").read_text().splitlines())
    words = line["text"].split()
    errors = len(words) if "zero" not in words else len(words) - 1
    assert line["transcript"] == "zero" and metrics["samples/wer"] == pytest.approx(errors / len(words))


def test_averaged_weights_speak(tmp_path, tone_manifests, monkeypatch):
    spoke = []

    class Speaker(Synthesizer):
        def __init__(self, model, *arguments, **options):
            spoke.append(model.network.stop.weight.clone())
            super().__init__(model, *arguments, **options)

    monkeypatch.setattr(samples, "Synthesizer", Speaker)
    train(configure(tmp_path, tone_manifests, 6, ONE))
    kept = torch.load(tmp_path / "run/checkpoints/step_000003.ckpt", weights_only=True)
    assert torch.equal(spoke[0], kept["state_dict"]["network.stop.weight"])
    assert not torch.equal(spoke[0], kept["current_model_state"]["network.stop.weight"])
    assert len(spoke) == 2


def test_trouble_with_samples_does_not_end_training(tmp_path, tone_manifests, monkeypatch, capsys, losses):
    def fail(*_, **__):
        raise UserError("nothing to say")

    monkeypatch.setattr(samples, "Synthesizer", fail)
    train(configure(tmp_path, tone_manifests, 4, ONE))
    assert len(losses) == 4 and capsys.readouterr().err.count("no speech samples: nothing to say") == 1


def test_a_line_that_the_tokenizer_reads_wrongly_is_left_out(run, tone_manifests, tmp_path, monkeypatch, caplog):
    french, *others = read_manifest(tone_manifests / "val.jsonl")
    write_manifest(tmp_path / "val.jsonl", [replace(french, language="fr"), *others])
    monkeypatch.setattr(SymbolTokenizer, "speaks", lambda self, language: language is None)
    model, callback = (
        load_model(run[0] / "checkpoints/last.ckpt"),
        SpeechSamples(tmp_path / "val.jsonl", len(others) + 1),
    )
    concerned = {t.id for t, voice in callback.chosen if french.id in (t.id, voice.id)}
    kept = callback._read(model.description, model.network)
    assert concerned and {sample.target.id for sample in kept} == {t.id for t, _ in callback.chosen} - concerned
    assert f"no speech sample of utterance {french.id}: its language is fr, and " in caplog.text


LACKS = [
    *(OutOfMemory("give fewer (--batch-size)"), torch.OutOfMemoryError(), MemoryError()),
    torch.AcceleratorError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("error", LACKS, ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_names_the_setting_of_samples(tone_manifests, monkeypatch, caplog, error):
    def fail(*given):
        raise error

    monkeypatch.setattr(SpeechSamples, "_show", fail)
    assert SpeechSamples(tone_manifests / "val.jsonl")._try(None, SimpleNamespace(network=None)) == {}
    assert caplog.messages == ["no speech samples: out of memory; lower callbacks.speech.count"]


def test_samples_change_nothing_in_training(tmp_path, tone_manifests, losses):
    train(configure(tmp_path / "a", tone_manifests, 4, ONE, "model.dropout=0.1"))
    first = list(losses)
    losses.clear()
    train(configure(tmp_path / "b", tone_manifests, 4, ONE, "model.dropout=0.1", "callbacks.speech.count=0"))
    assert losses == first and not (tmp_path / "b/run/samples").exists()


def test_voices_with_one_utterance_get_no_prompt(tmp_path, tone_manifests):
    plain = tone_manifests / "without_speakers.jsonl"
    write_manifest(plain, [replace(u, speaker=None) for u in read_manifest(tone_manifests / "val.jsonl")])
    chosen = SpeechSamples(plain, 2).chosen
    assert len(chosen) == 2 and all(voice is None for _, voice in chosen)
    assert all(voice is not None for _, voice in SpeechSamples(tone_manifests / "test.jsonl", 2).chosen)
    metrics = train(configure(tmp_path, tone_manifests, 2, ONE, f"callbacks.speech.manifest={plain}"))
    assert "samples/duration_error" in metrics


def test_loggers_take_what_they_can():
    logged = []
    weights_and_biases = SimpleNamespace(
        log_image=lambda key, images, **options: logged.append((key, images[0].shape, options)),
        log_audio=lambda key, audios, **options: logged.append((key, audios[0].shape, options)),
    )
    image, waveform = np.zeros((4, 5, 3), np.uint8), torch.zeros(7)
    for logger in (weights_and_biases, SimpleNamespace(experiment=object())):  # the second one takes numbers only
        log_image(logger, "a", image, "text", 3)
        log_audio(logger, "b", waveform, 16000, "text", 3)
    assert logged == [
        ("a", (4, 5, 3), {"step": 3, "caption": ["text"]}),
        ("b", (7,), {"step": 3, "sample_rate": [16000], "caption": ["text"]}),
    ]
    assert within_scale(torch.tensor([0.5, -2.0])).tolist() == [0.25, -1.0]
    assert within_scale(torch.tensor([0.5, -0.1])).tolist() == pytest.approx([0.5, -0.1])


def test_a_plain_error_ends_training_only_where_the_device_is_broken(tmp_path, tone_manifests, monkeypatch, losses):
    def fail(*_, **__):
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    def probe(device):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(samples, "Synthesizer", fail)
    train(configure(tmp_path / "works", tone_manifests, 2, ONE))
    assert len(losses) == 2
    monkeypatch.setattr("melle.devices.probe", probe)
    with pytest.raises(RuntimeError, match="CUDNN_STATUS_EXECUTION_FAILED"):
        train(configure(tmp_path / "broken", tone_manifests, 2, ONE))


def test_a_device_that_breaks_while_samples_are_spoken_ends_training(tmp_path, tone_manifests, monkeypatch):
    def broken(*_):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        yield

    monkeypatch.setattr("melle.synthesis.rendering.decode", broken)
    with pytest.raises(UserError, match="cpu does not work any more"):
        train(configure(tmp_path, tone_manifests, 2, ONE))
