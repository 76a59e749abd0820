"""Vocoders beside each other in one table, and how far the mel of what they make is from the recording's."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from evaluate import LISTS
from melle.audio import LogMel, MelSpec, load_audio
from melle.configs.overrides import readable_arguments
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.evaluation import systems
from melle.evaluation.checkpoints import read_checkpoints
from melle.evaluation.protocols import cross_sentence
from melle.evaluation.report import write_report
from melle.evaluation.run import Evaluation, score
from melle.evaluation.setup import chosen_vocoders
from melle.evaluation.tables import format_tables
from melle.synthesis.options import DecodingOptions
from melle.vocoders import TARGETS, make_vocoder

CONF = str(Path(__file__).parents[2] / "conf")
COARSE = {"name": "griffin_lim", "iterations": 1}
FINE = {"name": "griffin_lim", "iterations": 12}


@pytest.fixture
def make(manifest, checkpoint, tmp_path, asr, speaker, without_page):
    """An evaluation of the tiny checkpoint over four utterances."""
    utterances = read_manifest(manifest)

    def evaluation(output: str, vocoders: dict, **changes) -> Evaluation:
        settings = {
            "checkpoints": read_checkpoints([checkpoint], utterances),
            "protocols": {"cross_sentence": cross_sentence(utterances, (0.0, 99.0), None, 0, 0.1)[::3]},
            "judges": {"asr.tones": asr, "speaker.bands": speaker},
            "options": DecodingOptions(max_length=1.0),
        }
        return Evaluation(output=tmp_path / output, vocoders=vocoders, **(settings | changes))

    return evaluation


def numpy_log_mel(waveform: torch.Tensor) -> np.ndarray:
    """(N,) to (T, 80), written again."""
    samples = np.pad(waveform.numpy().astype(np.float64), 512, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = [samples[start : start + 1024] * window for start in range(0, len(samples) - 1023, 256)]
    return np.log10(np.maximum(np.abs(np.fft.rfft(frames)) @ MelSpec().filters().double().numpy(), 1e-10))


def without_time(row):
    metrics = {name: value for name, value in row.metrics.items() if name != "real_time_factor"}
    return replace(row, metrics=metrics, utterances=[replace(u, computing=None) for u in row.utterances])


def test_vocoders_beside_each_other(make, manifest, tmp_path, asr):
    results = score(make("both", {"coarse": COARSE, "fine": FINE}))
    write_report(tmp_path / "both", results)
    recordings, coarse, fine, model = results.systems
    names = ["coarse", "fine"]
    assert [row.system for row in (coarse, fine)] == [f"recordings through mel and {name}" for name in names]

    # The distance is that of what the vocoder makes of the recording's mel, and of nobody else.
    paths = {utterance.id: utterance.audio_path for utterance in read_manifest(manifest)}
    for row, arguments in ((coarse, COARSE), (fine, FINE)):
        vocoder, expected = make_vocoder(spec=MelSpec(), **arguments), []
        for utterance in row.utterances:
            waveform = load_audio(paths[utterance.id], 16000)
            made = vocoder(LogMel()(waveform))[: len(waveform)].clamp(-1, 1)
            expected.append(np.abs(numpy_log_mel(waveform) - numpy_log_mel(made)).mean())
            assert utterance.values["mel_distance"] == pytest.approx(expected[-1], abs=2e-3)
        assert row.metrics["mel_distance"] == pytest.approx(np.mean(expected), abs=2e-3)
    assert fine.metrics["mel_distance"] < 0.95 * coarse.metrics["mel_distance"]
    assert "mel_distance" not in recordings.metrics and "mel_distance" not in model.metrics
    with (tmp_path / "both" / "results.csv").open(newline="") as file:
        rated = {row["system"] for row in csv.DictReader(file) if row["mel_distance"]}
    assert rated == {coarse.system, fine.system}
    page = (tmp_path / "both" / "report.html").read_text()
    assert "mel dist." in page and "checkpoints speak through coarse" in page
    assert "mel dist." in format_tables(results) and "\ncheckpoints speak through coarse" in format_tables(results)

    # Every row is what it would be alone: the models' of the first vocoder, and each vocoder's with prompts through it.
    alone = [score(make(name, {name: arguments})) for name, arguments in (("coarse", COARSE), ("fine", FINE))]
    assert [without_time(row) for row in (recordings, coarse, model)] == [without_time(r) for r in alone[0].systems]
    assert fine == alone[1].systems[1] and alone[0].speaking is None
    assert alone[1].systems[2].metrics["sim_r/bands"] != model.metrics["sim_r/bands"]

    # Records are kept, and with another vocoder first only the models speak anew.
    asr.calls = 0
    assert score(make("both", {"coarse": COARSE, "fine": FINE})).systems == results.systems and asr.calls == 0
    turned = score(make("both", {"fine": FINE, "coarse": COARSE}))
    assert asr.calls == len(model.utterances) and turned.speaking == "fine"
    assert turned.systems[1:3] == [fine, coarse]


def test_the_distance_of_mels():
    one, other = torch.zeros(3, 2), torch.tensor([[1.0, -1.0], [2.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    assert systems.mel_distance(one, other) == systems.mel_distance(other, one) == pytest.approx(4 / 6, abs=1e-6)


@pytest.mark.parametrize(
    ("way", "distance"),
    [("same", 0.0), ("softer", 1.0), ("shorter", 0.0), ("no number", None)],
)
def test_what_is_made_is_measured_against_the_recording(make, monkeypatch, manifest, way, distance):
    """A vocoder that knows the recordings by the length of their mel, and gives them back in some way."""
    waveforms = [load_audio(utterance.audio_path, 16000) for utterance in read_manifest(manifest)]
    known = {1 + len(waveform) // 256: waveform for waveform in waveforms}

    class Knowing(torch.nn.Module):
        def forward(self, mel):
            waveform = known[len(mel)]
            if way == "shorter":  # the frames that are left are the same, but for the mirror at the end
                return waveform[: -4 * 256]
            return {"same": waveform, "softer": waveform / 10, "no number": waveform * torch.nan}[way]

    monkeypatch.setattr(systems, "make_vocoder", lambda spec, **_: Knowing())
    row = score(make("out", {"knowing": {"name": "knowing"}}, checkpoints=[], judges={})).systems[1]
    found = row.metrics["mel_distance"]
    if distance is None:
        assert 3 < found < 10  # from silence
    else:
        assert found == pytest.approx(distance, abs=0.3 if way == "shorter" else 1e-3)


def test_how_vocoders_are_chosen():
    def chosen(*overrides: str) -> dict:
        with initialize_config_dir(CONF, version_base="1.3"):
            return chosen_vocoders(compose("evaluate", readable_arguments(list(overrides), LISTS)))

    assert chosen() == {"griffin_lim": {"_target_": TARGETS["griffin_lim"], "iterations": 32}}
    several = chosen("vocoder=vocos,griffin_lim,hifigan", "vocoder.vocos.model=a.ckpt", "vocoder.hifigan.model=b")
    assert list(several) == ["vocos", "griffin_lim", "hifigan"]
    assert several["vocos"] == {"_target_": TARGETS["vocos"], "model": "a.ckpt"} and several["hifigan"]["model"] == "b"
    both = chosen("vocoder=vocos", "+vocoder.other={_target_: melle.vocoders.vocos.vocoder.Vocos, model: b.ckpt}")
    assert both["other"] == {"_target_": TARGETS["vocos"], "model": "b.ckpt"}
    with pytest.raises(UserError, match="vocoder= names none"):
        chosen("vocoder=[]")
    with pytest.raises(UserError, match=r"such as vocoder\.vocos\.model=FILE"):
        chosen("+vocoder.model=a.ckpt")
