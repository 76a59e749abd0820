"""The whole way from cases to results, with judges that know a test set of tones."""

import csv
import json
import math
import time
from dataclasses import replace
from importlib import util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tones import TEXTS, ToneAsr, ToneSpeaker, write_checkpoint

from melle.audio import MelSpec, load_audio, save_audio
from melle.checkpoint import LoadedModel, load_model, save_model
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.evaluation.aggregate import aggregate, best_of_samples
from melle.evaluation.checkpoints import Checkpoint, read_checkpoints
from melle.evaluation.protocols import continuation, cross_sentence, plain
from melle.evaluation.records import source_digest
from melle.evaluation.report import write_report
from melle.evaluation.run import Evaluation, score
from melle.evaluation.scores import UtteranceScore, read_metrics
from melle.evaluation.systems import CODE, NamedVocoder
from melle.evaluation.tasks import sample_seeds
from melle.evaluation.wer import ErrorCounts, count_errors
from melle.files import file_name
from melle.model import Melle
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer

LENGTHS = (0.0, 99.0)


def griffin_lim(iterations: int, *names: str) -> dict:
    """Vocoders of these names."""
    return {name: {"name": "griffin_lim", "iterations": iterations} for name in names or ("griffin_lim",)}


@pytest.fixture
def utterances(manifest):
    return read_manifest(manifest)


@pytest.fixture
def make(utterances, checkpoint, tmp_path, asr, speaker, without_page):
    """An evaluation of the tiny checkpoint, cross-sentence, into a folder of that name."""

    def evaluation(output="out", **changes) -> Evaluation:
        cases = cross_sentence(utterances, LENGTHS, None, 0, 0.1)
        settings = {
            "checkpoints": read_checkpoints([checkpoint], utterances),
            "protocols": {"cross_sentence": cases},
            "judges": {"asr.tones": asr, "speaker.bands": speaker},
            "vocoders": griffin_lim(2),
            "options": DecodingOptions(max_length=2.0),
            "batch_size": 5,
        }
        return Evaluation(output=tmp_path / output, **(settings | changes))

    return evaluation


def test_each_model_speaks_as_it_was_exported_to_and_is_recorded_so(make, checkpoint, utterances, tmp_path):
    """At what is given, else at its own settings, as far as it was trained to."""
    model = load_model(checkpoint)
    description = replace(
        model.description, decoding={"temperature": 0.5, "attention_window": 4.0, "guidance_scale": 2.0}
    )
    network = {**model.description.network, "guided_layers": [0], "text_dropout": 0.1}
    guided = Melle(**network)
    guided.load_state_dict(model.network.state_dict())
    save_model(tmp_path / "guided.ckpt", LoadedModel(guided, replace(description, network=network), 7))
    found = read_checkpoints([checkpoint, tmp_path / "guided.ckpt"], utterances)
    evaluation = make(checkpoints=found, options=DecodingOptions(max_length=1.0, attention_window=3.0))
    results = score(evaluation)
    assert len(results.systems) == 4
    speaks = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["speaks_by"]
    names = ("temperature", "attention_window", "guidance_scale")
    assert sorted(tuple(speaks[model.name][name] for name in names) for model in found) == [
        (0.5, 3.0, 2.0),
        (1.0, math.inf, 1.0),
    ]
    own = {one.name: one.options(DecodingOptions()) for one in found}
    assert sorted((one.temperature, one.attention_window, one.guidance_scale) for one in own.values()) == [
        (0.5, 4.0, 2.0),
        (1.0, math.inf, 1.0),
    ]


def without_time(results):
    """What must be the same however often it is measured."""
    return [
        replace(
            row,
            metrics={n: v for n, v in row.metrics.items() if n != "real_time_factor"},
            deviations={},
            utterances=[replace(utterance, computing=None) for utterance in row.utterances],
        )
        for row in results.systems
    ]


def test_the_whole_way(make, checkpoint, tmp_path, asr, speaker):
    results = score(make(options=DecodingOptions(stop_threshold=1.0)))
    recordings, vocoded, model = results.systems
    toplines = ["recordings", "recordings through mel and griffin_lim"]
    assert [row.system for row in results.systems] == [*toplines, "tiny/last"]
    assert {n: v for n, v in recordings.metrics.items() if n != "words_per_second"} == (
        pytest.approx(
            {
                "wer/tones": 0.0,
                "cer/tones": 0.0,
                "wer_plain/tones": 1.0,
                "sim_o/bands": 1.0,
                "sim_r/bands": 1.0,
                "sim_others/bands": recordings.metrics["sim_others/bands"],
                "nearest_right/bands": 1.0,
                "duration_ratio": 1.0,
            },
            abs=1e-3,
        )
    )
    assert recordings.metrics["sim_others/bands"] < 0.5
    assert vocoded.metrics["wer/tones"] == 0 and vocoded.metrics["nearest_right/bands"] == 1
    assert (model.run, model.step) == ("tiny", 7) and model.metrics["real_time_factor"] > 0
    assert model.metrics["eos_rate"] == 0  # a threshold of 1 is never reached: all are cut
    assert asr.calls == 36 and speaker.calls == 36  # the prompts are recordings that were scored before

    folder = tmp_path / "out"
    saved = json.loads((folder / "results.json").read_text())
    assert saved["settings"]["judges"]["asr.tones"] == {"name": "tones", "beam_size": 3}
    assert saved["settings"]["decoding"]["stop_threshold"] == 1.0
    assert saved["settings"]["checkpoints"] == [str(checkpoint)]
    assert [len(row["utterances"]) for row in saved["systems"]] == [12, 12, 12]
    assert read_metrics(folder) == model.metrics
    with (folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 36 and lines[-1]["system"] == "tiny/last" and lines[0]["transcript/tones"] in TEXTS
    for row in results.systems:
        for utterance in row.utterances:
            seconds = soundfile.info(str(folder / utterance.audio)).duration
            assert seconds == pytest.approx(utterance.seconds) and (folder / utterance.prompt_audio).is_file()
    targets = read_manifest(folder / "lists" / "cross_sentence_targets.jsonl")
    assert [u.id for u in targets] == [u.id for u in model.utterances]
    assert not list(folder.rglob("*.partial"))


def test_scores_are_what_a_naive_evaluation_finds(make, tmp_path):
    """Everything that the tables show of the model, anew from its audio."""
    results = score(make())
    model, folder = results.systems[2], tmp_path / "out"
    asr, speaker = ToneAsr(), ToneSpeaker()
    cases = {case.target.id: case for case in make().protocols["cross_sentence"]}
    prompts = {case.prompt.id: case.prompt for case in cases.values()}
    voices = {n: speaker.embed(load_audio(p.audio_path, 16000), 16000) for n, p in prompts.items()}

    def cosine(a, b):
        return float(a @ b / (a.norm() * b.norm() + 1e-12))

    errors, words, own, others, nearest, seconds = 0, 0, [], [], [], []
    for utterance in model.utterances:
        case, waveform = cases[utterance.id], load_audio(folder / utterance.audio, 16000)
        (transcript,) = asr.transcribe([waveform], 16000)
        errors += count_errors(case.target.transcription, transcript.text.lower().strip("!")).errors
        words += len(case.target.transcription.split())
        voice = speaker.embed(waveform, 16000)
        like = {n: cosine(voice, other) for n, other in voices.items()}
        own.append(like[case.prompt.id])
        others.append(np.mean([v for n, v in like.items() if prompts[n].speaker != case.target.speaker]))
        fair = {n: v for n, v in like.items() if n != case.target.id}
        nearest.append(prompts[max(fair, key=fair.get)].speaker == case.target.speaker)
        seconds.append(len(waveform) / 16000)
    assert model.metrics["wer/tones"] == pytest.approx(errors / words)
    assert model.metrics["sim_o/bands"] == pytest.approx(np.mean(own), abs=1e-5)
    assert model.metrics["sim_others/bands"] == pytest.approx(np.mean(others), abs=1e-5)
    assert model.metrics["nearest_right/bands"] == pytest.approx(np.mean(nearest))
    recorded = [case.target.duration for case in cases.values()]
    assert model.metrics["duration_ratio"] == pytest.approx(sum(seconds) / sum(recorded))
    # SIM-r compares with the prompt as the vocoder gives it back.
    files = sorted((folder / "audio/cross_sentence/prompts-through-mel-and-griffin_lim").glob("*.flac"))
    again = {p.stem.rpartition("-")[0]: speaker.embed(load_audio(p, 16000), 16000) for p in files}
    assert again.keys() == prompts.keys()
    said = [speaker.embed(load_audio(folder / u.audio, 16000), 16000) for u in model.utterances]
    resynthesised = [cosine(v, again[cases[u.id].prompt.id]) for v, u in zip(said, model.utterances)]
    assert model.metrics["sim_r/bands"] == pytest.approx(np.mean(resynthesised), abs=1e-5)


def test_an_interrupted_evaluation_goes_on_and_gives_the_same(make, asr, speaker):
    whole = score(make("whole"))
    calls = asr.calls

    class Interrupted(ToneAsr):
        def depends_on(self):
            return asr.depends_on()

        def transcribe(self, waveforms, sample_rate):
            for number, one in enumerate(super().transcribe(waveforms, sample_rate)):
                if self.calls == 17 and number:
                    raise KeyboardInterrupt
                yield one

    with pytest.raises(KeyboardInterrupt):
        score(make("broken", judges={"asr.tones": Interrupted(), "speaker.bands": speaker}))
    asr.calls = 0
    resumed = score(make("broken"))
    assert without_time(resumed) == without_time(whole)
    assert asr.calls == calls - 16  # of 17 transcripts the last was lost
    asr.calls = speaker.calls = 0
    assert score(make("broken")).systems == resumed.systems  # times as well: nothing is done again
    assert asr.calls == speaker.calls == 0


def test_what_changes_is_done_again_and_nothing_else(make, tmp_path, asr, speaker, utterances, checkpoint):
    score(make())
    sounds = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "audio").rglob("*.flac")}

    def changed():
        return {p.parent.name for p, time in sounds.items() if p.stat().st_mtime_ns != time}

    class Other(ToneAsr):
        name, settings = "other", {}

    asr.calls = speaker.calls = 0
    results = score(make(judges={"asr.tones": asr, "asr.other": Other(), "speaker.bands": speaker}))
    assert asr.calls == speaker.calls == 0 and changed() == set()
    assert {"wer/tones", "wer/other"} <= results.systems[2].metrics.keys()
    score(make(options=DecodingOptions(max_length=3.0)))
    assert changed() == {"tiny-last"} and asr.calls == 12
    sounds = {p: p.stat().st_mtime_ns for p in sounds}
    write_checkpoint(checkpoint, 8)
    assert score(make(options=DecodingOptions(max_length=3.0))).systems[2].step == 8
    assert changed() == {"tiny-last"}
    next((tmp_path / "out" / "audio" / "cross_sentence" / "tiny-last").iterdir()).unlink()
    score(make(options=DecodingOptions(max_length=3.0)))
    assert len(list((tmp_path / "out" / "audio" / "cross_sentence" / "tiny-last").iterdir())) == 12
    asr.calls = 0
    target = results.systems[0].utterances[0].id
    recording = next(u.audio_path for u in utterances if u.id == target)
    save_audio(recording, 0.3 * torch.sin(torch.arange(256 * 99) / 9), 16000)  # of a length that is no text's
    again = score(make(options=DecodingOptions(max_length=3.0)))
    assert again.systems[0].metrics["wer/tones"] > 0 and asr.calls > 0
    asr.calls = 0
    score(make(options=DecodingOptions(max_length=3.0), vocoders=griffin_lim(3)))
    assert asr.calls == 24  # all but the recordings


def test_shares_of_several_processes_are_the_whole(make, asr):
    alone = score(make("alone", batch_size=1))  # in other batches the last digits are others
    for share in (slice(1, None, 3), slice(0, None, 3)):
        queue = make("shared", batch_size=1).queue()
        queue.work(share)
        assert queue.missing(share) == 0 < queue.missing()
    make("shared", batch_size=1).queue().work(slice(2, None, 3))
    asr.calls = 0
    assert without_time(score(make("shared"))) == without_time(alone)
    assert asr.calls == 0


def test_more_utterances_of_the_same_manifest_score_recordings_once(make, asr):
    cases = make().protocols["cross_sentence"]
    score(make(checkpoints=[], protocols={"cross_sentence": cases[5:]}))
    asr.calls = 0
    score(make(checkpoints=[]))
    assert asr.calls == 2 * 5


def test_a_second_call_after_other_settings_does_not_mix_audio(make, tmp_path, asr):
    """Settings A, then B interrupted after some utterances, then A again: all must be A's."""
    first = score(make())
    other = make(options=DecodingOptions(max_length=3.0)).queue()
    other.work(slice(0, None, 4))
    assert without_time(score(make())) == without_time(first)
    model = other.trials[-1]
    assert len(model.unspoken(model.items)) == 12


def test_samples_have_a_mean_a_deviation_and_the_best_of_them(make):
    row = score(make(samples=3, batch_size=12)).systems[2]
    assert row.samples == 3 and len(row.utterances) == 36
    by_sample = [[u for u in row.utterances if u.sample == n] for n in range(3)]
    first = score(make("one", batch_size=12)).systems[2].utterances
    assert [replace(u, audio=None, computing=None) for u in by_sample[0]] == [
        replace(u, audio=None, computing=None) for u in first
    ]
    assert len({u.audio for u in row.utterances}) == 36
    errors = np.array([[u.counts["wer/tones"].errors for u in of] for of in by_sample])
    words = np.array([u.counts["wer/tones"].length for u in by_sample[0]])
    rates = errors.sum(1) / words.sum()
    assert row.metrics["wer/tones"] == pytest.approx(rates.mean())
    assert row.deviations["wer/tones"] == pytest.approx(rates.std(ddof=1))
    assert row.best["wer/tones"] == pytest.approx(errors.min(0).sum() / words.sum())
    like = np.array([[u.values["sim_o/bands"] for u in of] for of in by_sample])
    assert len(np.unique(like)) > 12
    assert row.metrics["sim_o/bands"] == pytest.approx(like.mean())
    assert row.best["sim_o/bands"] == pytest.approx(like.max(0).mean())
    low, high = row.intervals["wer/tones"]
    assert low <= row.metrics["wer/tones"] <= high
    assert row.edits["wer/tones"].length == 3 * words.sum()


def test_continuation_and_plain_beside_each_other(make, utterances, asr, speaker):
    protocols = {
        "continuation": continuation(utterances, LENGTHS, None, 0, 0.2),
        "plain": plain(utterances, LENGTHS, None, 0),
    }
    results = score(make(protocols=protocols))
    assert results.protocols == ["continuation", "plain"] and len(results.systems) == 6
    # The recordings are scored once, though under two protocols.
    models = sum(len(row.utterances) for row in results.systems if row.run)
    toplines = {u.id for row in results.systems if not row.run for u in row.utterances}
    assert asr.calls == models + 2 * len(toplines)
    recordings, _, model = results.of("continuation")
    assert recordings.metrics["wer/tones"] == 0 and recordings.metrics["sim_o/bands"] > 0.99
    for utterance, case in zip(model.utterances, protocols["continuation"]):
        assert utterance.recording_seconds == pytest.approx(case.target.duration - 0.2, abs=1e-3)
        assert utterance.prompt_audio is None and utterance.finish_reason
    assert "sim_o/bands" in model.metrics
    spoken = results.of("plain")[2]
    assert "sim_o/bands" not in spoken.metrics and "wer/tones" in spoken.metrics


def test_a_continuation_holds_its_beginning(make, utterances, tmp_path):
    cases = continuation(utterances, LENGTHS, None, 0, 0.3)
    model = score(make(protocols={"continuation": cases}, vocoders=griffin_lim(8))).systems[2]
    for utterance, case in zip(model.utterances, cases):
        whole = load_audio(tmp_path / "out" / utterance.audio, 16000)
        # 0.3 s are 19 frames, of which 16 are four whole steps.
        assert len(whole) / 16000 == pytest.approx(utterance.seconds + 16 * 256 / 16000, abs=1e-6)
        given = load_audio(case.target.audio_path, 16000)[: 16 * 256]
        spectra = [torch.fft.rfft(part[500:3500]).abs() for part in (whole, given)]
        peaks = [int(s.argmax()) for s in spectra]
        assert abs(peaks[0] - peaks[1]) <= 3


def test_audio_that_is_not_kept_is_not_named(make, tmp_path, monkeypatch):
    monkeypatch.setattr("melle.evaluation.run.write_report", write_report)
    results = score(make(keep_audio=False))
    assert not (tmp_path / "out" / "audio").exists()
    assert all(u.audio is None for row in results.systems[1:] for u in row.utterances)
    assert (tmp_path / "out" / results.systems[0].utterances[0].audio).is_file()
    assert (tmp_path / "out" / "report.html").stat().st_size > 10000


def test_a_recording_is_not_compared_with_itself(make, speaker):
    """All voices alike: the own recording, which is another case's prompt, must not win by being the same audio."""

    class Distinct(type(speaker)):
        def embed(self, waveform, sample_rate):
            number = len(waveform) // 256 - 40
            return torch.nn.functional.one_hot(torch.tensor(number if 0 <= number < 12 else 12), 13).float()

    recordings = score(make(checkpoints=[], judges={"speaker.bands": Distinct()})).systems[0]
    assert recordings.metrics["sim_o/bands"] == 0
    assert recordings.metrics["nearest_right/bands"] < 1


def test_one_speaker_alone_has_no_others(make, utterances):
    mine = cross_sentence([u for u in utterances if u.speaker == "anna"], LENGTHS, None, 0, 0.1)
    recordings = score(make(protocols={"cross_sentence": mine}, checkpoints=[])).systems[0]
    assert "sim_others/bands" not in recordings.metrics and "nearest_right/bands" not in recordings.metrics
    assert recordings.metrics["sim_o/bands"] > 0.99


def test_silence_counts_as_words_left_out(make, tmp_path, utterances):
    for utterance in utterances[:2]:
        samples = len(load_audio(utterance.audio_path, 16000))
        save_audio(utterance.audio_path, torch.zeros(samples + 256 * 100), 16000)  # of a length that is none's
    row = score(make(checkpoints=[])).systems[0]
    words = sum(len(u.transcription.split()) for u in utterances[:2])
    assert row.edits["wer/tones"] == ErrorCounts(21, 0, words, 0)


def test_bad_settings_are_refused_before_anything_is_spoken(make, tmp_path, checkpoint):
    for wrong, says in (
        ({"weights": "int4"}, "choose one of float32"),
        ({"device": "meta"}, "device=meta"),
        ({"vocoders": {"griffin_lim": {"name": "x"}}}, "vocoder=x"),
        ({"samples": 0}, "samples=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
    ):
        with pytest.raises(UserError, match=says):
            score(make(**wrong))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        score(make("file"))
    assert not (tmp_path / "out").exists()


def test_the_mel_of_the_toplines_is_the_papers_without_a_checkpoint(make, tmp_path):
    results = score(make(checkpoints=[], judges={}))
    assert results.settings["mel"] == MelSpec().as_dict() and len(results.systems) == 2


def test_damaged_records_are_made_anew(make, tmp_path):
    before = score(make())
    files = sorted((tmp_path / "out" / "work").rglob("*.jsonl"))
    for path, text in zip(files, ("", "{", "[]\n", '{"depends_on": 5}\n', files[4].read_text()[:-30])):
        path.write_text(text)
    files[-1].unlink()
    assert without_time(score(make())) == without_time(before)


def test_no_seed_is_used_twice():
    seeds = [seed for sample in range(5) for seed in sample_seeds(1000, sample, 3)]
    assert len(set(seeds)) == 5000 and sample_seeds(4, 0, 3) == [3, 4, 5, 6]
    assert all(b - a == 1 for a, b in pairwise(sample_seeds(9, 0, 0)))


def test_a_checkpoint_that_training_replaces_is_not_scored_under_the_old_step(make, checkpoint, asr):
    evaluation = make()
    write_checkpoint(checkpoint, 1500)
    with pytest.raises(UserError, match=r"last\.ckpt was replaced while being scored; give its step_NNNNNN\.ckpt"):
        score(evaluation)


def test_missing_records_are_named(make):
    evaluation = make(checkpoints=[])
    with pytest.raises(UserError, match=r"asr\.tones\.jsonl: incomplete"):
        aggregate(evaluation.queue().trials, evaluation.output, 0)


@pytest.mark.parametrize("changed", ["package", "judges", "model"])
def test_after_an_upgrade_everything_that_it_concerns_is_done_again(make, monkeypatch, tmp_path, asr, speaker, changed):
    """Kept records would else be reported under today's date, as if the new version had made them."""
    score(make())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "audio").rglob("*.flac")}
    asr.calls = speaker.calls = 0
    if changed == "package":
        monkeypatch.setattr(ToneAsr, "packages", ("jiwer",))
    elif changed == "judges":
        monkeypatch.setattr("melle.evaluation.judges.base.CODE", ("melle.files",))
    else:
        monkeypatch.setattr("melle.evaluation.systems.CODE", CODE | {"model": ("melle.files",)})
    score(make())
    expected = {"package": (36, 0, set()), "judges": (36, 36, set()), "model": (12, 12, {"tiny-last"})}
    written = {path.parent.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert (asr.calls, speaker.calls, written) == expected[changed]


@pytest.mark.parametrize(
    ("module", "concerned"),
    [
        ("melle.audio", {"recordings", "prompts", "vocoded", "model"}),
        ("melle.evaluation.systems", {"recordings", "prompts", "vocoded", "model"}),
        ("melle.vocoders.griffin_lim", {"vocoded", "model"}),
        ("melle.synthesis.decoding", {"model"}),
        ("melle.model.melle", {"model"}),
        ("melle.text.normalise", {"model"}),
        ("melle.data.silence", {"model"}),
        ("melle.data.batch", {"model"}),
        ("melle.checkpoint", {"model"}),
        ("melle.evaluation.report", set()),
    ],
)
def test_what_is_kept_depends_on_our_code_that_made_it(make, monkeypatch, module, concerned):
    def dependencies():
        source_digest.cache_clear()
        found = {}
        for trial in make().queue().trials:
            kind = "model" if trial.system.run else "vocoded" if trial.system.saves_audio else trial.system.name
            found.setdefault(kind, []).append(json.dumps(trial.system.depends_on(), default=str))
        return found

    before, path, read = dependencies(), Path(util.find_spec(module).origin), Path.read_bytes
    assert before == dependencies() and before.keys() == {"recordings", "prompts", "vocoded", "model"}
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if self == path else b""))
    after = dependencies()
    source_digest.cache_clear()
    assert {kind for kind in before if before[kind] != after[kind]} == concerned


@pytest.mark.parametrize("package", ["num2words", "sentencex", "tokenizers", "phonemizer", "espeakng-loader"])
def test_what_a_model_speaks_depends_on_the_packages_that_read_text(make, monkeypatch, package):
    system = make().queue().trials[-1].system
    before = system.depends_on()
    monkeypatch.setattr("melle.evaluation.records._version", lambda name: "9.9" if name == package else None)
    assert system.depends_on()["packages"][package] == "9.9" != before["packages"][package]


def test_what_hifigan_makes_depends_on_the_package_that_has_it(monkeypatch):
    monkeypatch.setattr("melle.evaluation.records._version", lambda name: f"9.9 of {name}")
    made = {
        name: NamedVocoder(name, MelSpec(), {"name": name}, torch.device("cpu")) for name in ("hifigan", "griffin_lim")
    }
    packages = {name: named_vocoder.depends_on()["vocoder_packages"] for name, named_vocoder in made.items()}
    assert packages["griffin_lim"] == {"torch": "9.9 of torch"}
    assert packages["hifigan"] == packages["griffin_lim"] | {"transformers": "9.9 of transformers"}


def test_what_is_kept_depends_on_the_kind_of_device(make):
    one, other = (NamedVocoder("v", MelSpec(), {"name": "griffin_lim"}, torch.device(kind)) for kind in ("cpu", "meta"))
    assert one.depends_on() != other.depends_on()
    model = make().queue().trials[-1].system
    assert model.depends_on()["device"] == "cpu" and model.depends_on()["checkpoint"] == model.checkpoint.identity()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (
            "melle.synthesis.rendering.decode",
            "tiny/last: out of memory at a batch of 3 utterances; lower batch_size=",
        ),
        (
            "melle.vocoders.griffin_lim.GriffinLim.forward",
            "tiny/last: out of memory at a batch of 3 utterances; lower ",
        ),
        ("melle.evaluation.tasks.save_audio", None),  # another error
        ("tones.ToneSpeaker.embed", "speaker.bands: out of memory at a batch of 3 .* give speaker.bands.device=cpu"),
        (
            "tones.ToneSpeaker.embed",
            r"speaker.bands failed at \S+ of tiny/last \(RuntimeError: shapes do not fit\); speaker=",
        ),
    ],
)
def test_a_lack_of_memory_names_the_option_of_this_command(make, monkeypatch, part, says):
    def fail(*given, **options):
        raise RuntimeError("CUDA out of memory" if says and "failed" not in says else "shapes do not fit")

    queue = make(batch_size=3).queue()
    queue.trials = queue.trials[-1:]
    monkeypatch.setattr(part, fail)
    with pytest.raises(UserError if says else RuntimeError, match=says or "shapes do not fit") as caught:
        queue.work()
    assert "--" not in str(caught.value)


def test_the_best_of_samples_does_not_depend_on_which_could_be_rated():
    """As UTMOS, which rates no silence: the first sample of the first case has no value."""

    def utterance(values):
        return UtteranceScore("x", 0, None, None, "", 1.0, 1.0, None, "stop", None, None, values=values)

    cases = [[{}, {"utmos": 2.0}], [{"utmos": 3.0}, {"utmos": 4.0}], [{}, {}]]
    found = best_of_samples([[utterance(values) for values in case] for case in cases])
    assert found == {"utmos": pytest.approx((2.0 + 4.0) / 2)}


def test_a_model_speaks_through_the_vocoder_that_it_was_exported_with(make, monkeypatch, checkpoint):
    own = {"name": "griffin_lim", "iterations": 5}
    monkeypatch.setattr(Checkpoint, "own_vocoder", own)
    results = score(make("own"))
    name = "the vocoder of tiny/last"
    assert [row.system for row in results.systems][2] == f"recordings through mel and {name}"
    assert results.settings["speaks_through"] == {"tiny/last": name} and results.speaking == name
    alone = score(make("alone", own_vocoder=False, vocoders={"five": own}))
    others = score(make("others", own_vocoder=False))
    assert alone.speaking is others.speaking is None
    models = [{**without_time(some)[-1].metrics, "sim_r/bands": 0} for some in (results, alone, others)]
    assert models[0] == models[1] != models[2]


def test_a_checkpoint_that_training_removes_is_left_out_unless_it_had_spoken_all(make, checkpoint, utterances, caplog):
    others = [write_checkpoint(checkpoint.with_name(f"step_{step}.ckpt"), step) for step in (1, 2)]
    settings = {
        "checkpoints": read_checkpoints([checkpoint, *others], utterances),
        "protocols": {"plain": plain(utterances, LENGTHS, 2, 0)},
        "judges": {},
    }
    score(make(**settings | {"checkpoints": settings["checkpoints"][:1]}))
    for path in others:
        path.unlink()
    with pytest.raises(UserError, match=r"step_2\.ckpt was removed .*; give one that stays"):
        score(make(**settings | {"checkpoints": settings["checkpoints"][1:2]}))
    found = score(make(**settings | {"judges": {"asr.tones": ToneAsr()}}))
    assert [row.step for row in found.systems] == [None, None, 1, 7] and "wer/tones" in found.systems[2].metrics
    (line,) = (line for line in caplog.messages if "left out" in line)
    assert line.startswith("tiny/step_2 is left out of plain: ") and line.endswith("removed while being scored")


def test_the_time_of_speaking_is_not_that_of_loading(make, monkeypatch):
    load = Synthesizer.from_checkpoint
    monkeypatch.setattr(Synthesizer, "from_checkpoint", lambda *given, **how: time.sleep(1) or load(*given, **how))
    case = make().protocols["cross_sentence"][0]
    assert make().queue().trials[-1].system.speak([case], [0])[0].seconds < 1


def test_an_utterance_of_a_long_name_in_characters_of_several_bytes_has_a_file(make, utterances):
    named = [replace(utterance, id="語" * 81) for utterance in utterances[:1]]
    row = score(make(checkpoints=[], protocols={"plain": plain(named, LENGTHS, None, 0)})).systems[1]
    assert row.utterances[0].id == "語" * 81
    assert file_name("語" * 81) == "語" * 60 and file_name("é" * 90) == "é" * 90 and file_name("a/b" * 60) == "a-b" * 40
