import json
from dataclasses import astuple, replace

import pytest
import soundfile
import torch
from tones import write_checkpoint

from melle.audio import MelSpec
from melle.data.manifest import read_manifest
from melle.data.pairs import cross_sentence_pairs
from melle.errors import UserError
from melle.evaluation.run import Scorer, or_left_out, score
from melle.evaluation.scores import format_table
from melle.evaluation.systems import Spoken, find_checkpoints, read_checkpoints, record
from melle.synthesis.guards import DecodingOptions


@pytest.fixture
def pairs(manifest):
    return cross_sentence_pairs(read_manifest(manifest), min_seconds=0.1)


def test_weights_and_devices_that_there_are_not_are_told_before_anything_is_heard(pairs, tmp_path):
    for wrong, says in (({"weights": "int4"}, "choose one of float32"), ({"device": "meta"}, "device=meta")):
        with pytest.raises(UserError, match=says):
            score([], pairs, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_the_whole_way(pairs, checkpoint, asr, speaker, tmp_path):
    checkpoints = read_checkpoints([checkpoint], pairs)
    scores = score(
        checkpoints, pairs, tmp_path / "out", asr, speaker, {"name": "griffin_lim", "iterations": 2},
        options=DecodingOptions(stop_threshold=1.0), batch_size=5, save_audio_of=2,
    )  # fmt: skip
    recordings, vocoded, model = scores
    assert [s.system for s in scores] == ["recordings", "recordings through mel and vocoder", "tiny/last"]
    assert recordings.metrics() == pytest.approx(
        {
            "wer": 0.0,
            "wer_plain": 1.0,
            "similarity": 1.0,
            "similarity_others": recordings.similarity_others,
            "nearest_right": 1.0,
            "duration_ratio": 1.0,
        },
        abs=1e-3,
    )
    assert recordings.similarity_others < 0.5
    assert vocoded.wer.rate == 0 and vocoded.duration_ratio == 1 and vocoded.nearest_right == 1
    assert model.step == 7 and model.wer.rate > 0.5 and model.real_time_factor > 0
    assert model.natural_stops == 0  # a threshold of 1 is never reached: the guard ends all
    assert asr.calls == 36 and speaker.calls == 36 + len({pair.prompt.id for pair in pairs})

    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["settings"]["asr"] == {"name": "tones", "beam_size": 3}
    assert results["settings"]["decoding"]["stop_threshold"] == 1.0
    assert results["settings"]["checkpoints"] == [str(checkpoint)]
    assert [len(system["utterances"]) for system in results["systems"]] == [12, 12, 12]
    assert results["systems"][2]["wer"]["rate"] == model.wer.rate
    first = results["systems"][2]["utterances"][0]
    assert first["id"] == pairs[0].target.id and first["prompt_id"] == pairs[0].prompt.id
    assert first["reference"] == pairs[0].target.transcription and first["finish_reason"] == "length"
    sounds = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.wav"))
    assert len(sounds) == 8 and f"evaluation/tiny-last/{pairs[0].target.id}.wav" in sounds
    spoken = soundfile.info(str(tmp_path / "out" / "evaluation" / "tiny-last" / f"{pairs[0].target.id}.wav"))
    assert spoken.duration == pytest.approx(first["seconds"])
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_second_time_gives_the_same(pairs, checkpoint, asr, speaker, tmp_path):
    vocoder = {"name": "griffin_lim", "iterations": 2}
    arguments = (read_checkpoints([checkpoint], pairs), pairs, tmp_path, asr, speaker, vocoder)
    first, second = ([replace(s, real_time_factor=0) for s in score(*arguments)] for _ in range(2))
    assert first == second


def test_errors_and_voices_are_counted_per_utterance(pairs, asr, speaker):
    recordings = record(pairs, 16000)
    scorer = Scorer(pairs, recordings, asr, speaker)
    silence = [torch.zeros(256), *recordings.waveforms[1:]]
    result = scorer(Spoken("broken", 16000, silence, ["length"] + ["stop"] * 11))
    words = len(pairs[0].target.transcription.split())
    assert result.utterances[0].errors == words and result.utterances[1].errors == 0
    assert astuple(result.wer.counts) == (21, 0, words, 0)
    assert result.utterances[0].similarity == 0
    assert result.natural_stops == pytest.approx(11 / 12)
    assert result.duration_ratio < 1


def test_a_recording_is_not_compared_with_itself(pairs, speaker):
    """All voices alike: the own recording, which is another pair's prompt, must not win by being the same sound."""

    class Distinct(type(speaker)):
        def embed(self, waveform, sample_rate):
            return torch.nn.functional.one_hot(torch.tensor(len(waveform) // 256 - 40), 12).float()

    recordings = record(pairs, 16000)
    result = Scorer(pairs, recordings, None, Distinct())(recordings)
    own = [pair.target.id for pair in pairs if pair.target.id in {other.prompt.id for other in pairs}]
    assert own and result.similarity == 0
    assert result.nearest_right < 1


def test_the_table_is_aligned_and_leaves_out_what_was_not_measured(pairs, asr, speaker):
    recordings = record(pairs, 16000)
    full = format_table([Scorer(pairs, recordings, asr, speaker)(recordings)])
    assert "WER %" in full and "0+0+0/21" in full and "own voice" in full and "stops %" not in full
    spoken = replace(recordings, system="model", step=1200, finish_reasons=["stop"] * 12, real_time_factor=0.5)
    lines = format_table([Scorer(pairs, recordings)(system) for system in (recordings, spoken)]).splitlines()
    assert lines[0].split() == ["system", "step", "stops", "%", "length", "RTF"]
    assert lines[3].split() == ["model", "1200", "100.0", "1.00", "0.50"]
    assert len(lines) == 4 and len(lines[0]) == len(lines[1]) == len(lines[3])


def test_one_speaker_alone_has_no_others(pairs, speaker):
    mine = [pair for pair in pairs if pair.target.speaker == "anna"]
    recordings = record(mine, 16000)
    result = Scorer(mine, recordings, None, speaker)(recordings)
    assert result.similarity_others is None and result.nearest_right is None and result.similarity > 0.99


def test_checkpoints_are_found_and_ordered(tmp_path, pairs):
    folder = tmp_path / "runs" / "a" / "checkpoints"
    paths = [write_checkpoint(folder / f"step_{step}.ckpt", step) for step in (1000, 200, 30)]
    found = find_checkpoints(str(tmp_path / "runs/*/checkpoints/*.ckpt"))
    assert sorted(found) == sorted(paths)
    assert [c.step for c in read_checkpoints(found, pairs)] == [30, 200, 1000]
    names = {"last.ckpt": 200, "best.ckpt": 30, "other.ckpt": 200}
    again = [write_checkpoint(paths[0].with_name(name), step) for name, step in names.items()]
    assert {c.path.name for c in read_checkpoints([*paths, *again], pairs)} == {*(p.name for p in paths), "other.ckpt"}
    assert [c.path.name for c in read_checkpoints(again[:1], pairs)] == ["last.ckpt"]
    assert read_checkpoints(paths[:1], pairs)[0].run == tmp_path / "runs" / "a"
    assert find_checkpoints([paths[0], str(paths[0]), paths[1]]) == paths[:2]
    assert find_checkpoints(None) == []


def test_bad_input(tmp_path, pairs, checkpoint):
    with pytest.raises(UserError, match="no such checkpoint"):
        find_checkpoints(str(tmp_path / "*.pt"))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoints([tmp_path / "text.ckpt"], pairs)
    strange = [replace(pairs[0], target=replace(pairs[0].target, transcription="nine"))]
    with pytest.raises(UserError, match=r"cannot speak utterance .*nine"):
        read_checkpoints([checkpoint], strange)
    with pytest.raises(UserError, match="vocoder=x"):
        score([], pairs, tmp_path, vocoder={"name": "x"})
    assert not (tmp_path / "results.json").exists()


def test_mel_of_the_ceiling_is_the_papers_without_a_checkpoint(pairs, tmp_path):
    score([], pairs[:2], tmp_path, vocoder={"name": "griffin_lim", "iterations": 1}, save_audio_of=0)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"]["mel"] == MelSpec().as_dict() and len(results["systems"]) == 2
    assert list(tmp_path.rglob("evaluation")) == []


def test_a_metric_that_cannot_be_had_is_left_out_with_a_line(capsys):
    def missing():
        raise UserError("install it")

    assert or_left_out("Beauty", missing) is None
    assert capsys.readouterr().err == "Beauty is left out: install it\n"
    assert or_left_out("Beauty", lambda: 5) == 5
