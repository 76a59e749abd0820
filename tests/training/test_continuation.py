"""A run that is resumed sees the batches that an uninterrupted one would have seen, and bad data does not end it."""

import json
from pathlib import Path

import pytest
import torch

from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.training.run import train
from tests.training.test_train import configure


@pytest.mark.parametrize(("workers", "accumulate"), [(0, 1), (2, 1), (0, 3), (2, 3)])
def test_resuming_anywhere_gives_an_uninterrupted_run(tmp_path, tone_manifests, seen, losses, workers, accumulate):
    """The same batches and, bit for bit, the same losses."""
    options = ("callbacks.checkpoint.every=1", "callbacks.checkpoint.keep=null", "callbacks.speech.count=0")
    options += (f"data.workers={workers}", f"trainer.accumulate_grad_batches={accumulate}", "data.batch_frames=300")
    options += ("optim.schedule.warmup_steps=1", "trainer.val_check_interval=4", "model.dropout=0.1")
    steps = 11 if accumulate == 1 else 5
    train(configure(tmp_path, tone_manifests, steps, *options))
    whole, values = list(seen), list(losses)
    assert len(whole) == steps * accumulate and len(set(values)) == steps
    per_epoch = next(n for n in range(1, len(whole)) if sum(len(r) for b in whole[:n] for r in b) == 18)
    assert 2 <= per_epoch <= 5  # so that resumptions fall into epochs and on their ends
    assert sorted(map(str, whole[:per_epoch])) != sorted(map(str, whole[per_epoch : 2 * per_epoch]))
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    for done in range(1, steps) if workers == 0 else (1, steps - 2):
        seen.clear(), losses.clear()
        checkpoint = tmp_path / f"run/checkpoints/step_{done:06d}.ckpt"
        train(configure(tmp_path / str(done), tone_manifests, steps, *options, f"resume={checkpoint}"))
        assert seen == whole[done * accumulate :] and losses == values[done:], done
        again = torch.load(tmp_path / str(done) / "run/checkpoints/last.ckpt", weights_only=True)
        for kind in ("state_dict", "current_model_state"):
            assert all(torch.equal(value, again[kind][name]) for name, value in last[kind].items())


def broken(tmp_path: Path, tones: Path, bad: dict[str, bytes | None]) -> Path:
    """The training manifest with durations, and with the recordings named in ``bad`` replaced or removed."""
    lines = []
    for utterance in read_manifest(tones / "train.jsonl"):
        path = utterance.audio_path
        if utterance.id in bad:
            path = tmp_path / path.name
            if bad[utterance.id] is not None:
                path.write_bytes(bad[utterance.id])
        line = {"transcription": utterance.transcription, "audio_path": str(path), "id": utterance.id}
        lines.append({**line, "speaker": utterance.speaker, "duration": 0.6})
    manifest = tmp_path / "train.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def test_bad_recordings_are_skipped_and_reported(tmp_path, tone_manifests, seen, capsys, caplog):
    bad = {"train-a-1": b"RIFF", "train-b-2": None}
    manifest = broken(tmp_path, tone_manifests, bad)
    with manifest.open("a") as file:
        file.write("{broken\n")
    options = (f"data.train={manifest}", "optim.schedule.warmup_steps=1", "data.max_skipped=0.2")
    train(configure(tmp_path, tone_manifests, 4, *options, "data.workers=1", f"data.skipped_items={tmp_path / 'out'}"))
    ids = {name for batch in seen for row in batch for name in row}
    assert len(ids) == 16 and not ids & set(bad)
    listed = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()]
    assert {fault["utterance"]: fault["kind"] for fault in listed} == {
        "train-a-1": "unreadable",
        "train-b-2": "missing",
        "train-19": "not JSON",
    }
    printed = capsys.readouterr().err + caplog.text
    assert printed.count("train-b-2") >= 1 and "3 of 19 utterances skipped" in printed


def test_too_much_bad_data_is_an_error_that_says_what(tmp_path, tone_manifests):
    manifest = broken(tmp_path, tone_manifests, {"train-a-1": b"RIFF", "train-b-2": None})
    options = (f"data.train={manifest}", "optim.schedule.warmup_steps=1", "data.max_skipped=0")
    with pytest.raises(UserError, match=r"1 of 18 utterances skipped .*max_skipped=0;.*melle check"):
        train(configure(tmp_path, tone_manifests, 4, *options))


@pytest.mark.parametrize("r", [1, 4])
def test_a_batch_of_which_nothing_can_be_used_teaches_nothing(tmp_path, tone_manifests, seen, r):
    manifest = broken(tmp_path, tone_manifests, {"train-a-1": b"RIFF"})
    good = read_manifest(manifest)
    lines = manifest.read_text().splitlines()
    manifest.write_text(next(line for line in lines if "train-a-1" in line) + "\n" + lines[0] + "\n")
    options = (f"data.train={manifest}", f"data.val={manifest}", "data.max_join=1", "data.batch_frames=60")
    options += ("data.max_skipped=0.5", f"model.reduction_factor={r}", "callbacks.checkpoint.every=1")
    options += ("report.utterances=0",)  # none of its texts could be spoken
    train(configure(tmp_path, tone_manifests, 4, *options, "optim.schedule.warmup_steps=1"))
    assert good and [[], [[good[0].id]]] in (seen[:2], seen[1::-1])
    states = [torch.load(tmp_path / f"run/checkpoints/step_00000{n}.ckpt", weights_only=True) for n in range(1, 5)]
    updates = [int(state["current_model_state"]["network.postnet.norms.0.num_batches_tracked"]) for state in states]
    assert updates == [sum(map(bool, seen[: n + 1])) for n in range(4)] and updates[-1] == 2
    assert all(torch.isfinite(value).all() for state in states for value in state["state_dict"].values())


def test_what_is_longer_than_a_batch_or_than_the_positions_is_left_out(tmp_path, tone_manifests, seen):
    options = ("optim.schedule.warmup_steps=1", "data.max_skipped=0.9", "data.max_join=1")
    train(configure(tmp_path / "a", tone_manifests, 3, *options, "data.batch_frames=30"))
    words = {u.id: len(u.transcription.split()) for u in read_manifest(tone_manifests / "train.jsonl")}
    assert {words[name] for batch in seen for row in batch for name in row} == {1, 2}  # 14, 28 and 42 positions
    seen.clear()
    learned = ("model/position=learned", "model.max_text=3", "model.max_steps=100", "callbacks.speech.count=0")
    train(configure(tmp_path / "b", tone_manifests, 3, *options, *learned))
    assert {words[name] for batch in seen for row in batch for name in row} == {1, 2}


def test_a_run_goes_on_with_changed_data_but_not_with_another_tokenizer(tmp_path, tone_manifests, seen, capsys, caplog):
    manifest = broken(tmp_path, tone_manifests, {})
    options = (f"data.train={manifest}", "optim.schedule.warmup_steps=1", "data.batch_frames=300")
    train(configure(tmp_path, tone_manifests, 2, *options))
    seen.clear()
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines + [line.replace('"id": "', '"id": "again-') for line in lines]) + "\n")
    train(configure(tmp_path, tone_manifests, 4, *options))
    assert len(seen) == 2 and "epoch 0 begins anew" in caplog.text
    manifest.write_text("\n".join(lines).replace('"zero', '"hello') + "\n")
    with pytest.raises(UserError, match=r"another tokenizer.*resume=false"):
        train(configure(tmp_path, tone_manifests, 6, *options, "data.max_skipped=1"))
    assert len(seen) == 2


def test_broken_validation_data_does_not_end_training(tmp_path, tone_manifests, seen):
    val = tmp_path / "val.jsonl"
    good = [json.loads(line) for line in (tone_manifests / "val.jsonl").read_text().splitlines()]
    for line in good:
        line["audio_path"] = str(tone_manifests / line["audio_path"])
    good[2]["audio_path"] = "gone.wav"
    val.write_text("".join(json.dumps(line) + "\n" for line in good) + "{\n")
    options = (f"data.val={val}", "data.max_skipped=0.5", "optim.schedule.warmup_steps=1")
    assert "validation/text_gap" in train(configure(tmp_path, tone_manifests, 2, *options))
    assert len(seen) == 2
