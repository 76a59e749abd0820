import os
import shutil
from dataclasses import replace

import pytest
import torch
from tones import write_checkpoint

from melle.checkpoint import load_model
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.evaluation.checkpoints import VOCODER, Removed, exported_vocoder, find_checkpoints, read_checkpoints
from melle.evaluation.folder import evaluation_folder
from melle.pretrained import save_pretrained
from melle.text.symbols import SymbolTokenizer


@pytest.fixture
def utterances(manifest):
    return read_manifest(manifest)


def test_they_are_found_and_ordered(tmp_path, utterances):
    folder = tmp_path / "runs" / "a" / "checkpoints"
    paths = [write_checkpoint(folder / f"step_{step}.ckpt", step) for step in (1000, 200, 30)]
    found = find_checkpoints(str(tmp_path / "runs/*/checkpoints/*.ckpt"))
    assert sorted(found) == sorted(paths)
    read = read_checkpoints(found, utterances)
    assert [c.step for c in read] == [30, 200, 1000] and {c.run for c in read} == {"a"}
    assert [c.name for c in read] == ["a/step_30", "a/step_200", "a/step_1000"]
    names = {"last.ckpt": 200, "best.ckpt": 30, "other.ckpt": 200}
    again = [write_checkpoint(paths[0].with_name(name), step) for name, step in names.items()]
    kept = {c.path.name for c in read_checkpoints([*paths, *again], utterances)}
    assert kept == {*(p.name for p in paths), "other.ckpt"}
    assert [c.path.name for c in read_checkpoints(again[:1], utterances)] == ["last.ckpt"]
    assert read_checkpoints(paths[:1], utterances)[0].folder == tmp_path / "runs" / "a"
    assert find_checkpoints([paths[0], str(paths[0]), paths[1]]) == paths[:2]
    assert find_checkpoints(None) == []


def test_a_pattern_passes_over_what_is_no_model_of_speech(tmp_path, checkpoint, caplog):
    folder = tmp_path / "runs" / "vocoder" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"state_dict": {}, "global_step": 3}, folder / "last.ckpt")
    (folder / "notes.txt").touch()
    assert find_checkpoints(f"{tmp_path}/runs/*/checkpoints/*") == [checkpoint]
    (line,) = caplog.messages
    assert line.startswith(f"skipped: {folder / 'last.ckpt'}: a checkpoint of something else")
    with pytest.raises(UserError, match="no such checkpoint"):
        find_checkpoints(f"{folder}/*.ckpt")


def test_exported_folders_stand_beside_checkpoints(tmp_path, checkpoint, utterances):
    save_pretrained(load_model(checkpoint), tmp_path / "exported" / "small")
    found = find_checkpoints([f"{tmp_path}/exported/*", str(checkpoint), str(tmp_path / "exported" / "small")])
    assert found == [tmp_path / "exported" / "small", checkpoint]
    names = {c.name: c for c in read_checkpoints(found, utterances)}
    assert names.keys() == {"small", "tiny/last"} and names["small"].step == 7
    before = names["small"]
    save_pretrained(load_model(checkpoint), tmp_path / "exported" / "small", torch.float16)
    (again,) = read_checkpoints(found[:1], utterances)
    assert before.identity() != again.identity()
    again.check()
    with pytest.raises(UserError, match="was replaced"):
        before.check()


def test_runs_of_one_name_are_told_apart(tmp_path, checkpoint, utterances):
    other = tmp_path / "elsewhere" / "tiny" / "checkpoints" / "last.ckpt"
    other.parent.mkdir(parents=True)
    shutil.copy(checkpoint, other)
    names = [(c.run, c.name) for c in read_checkpoints([checkpoint, other], utterances)]
    folders = [os.path.relpath(path.parents[1]) for path in (checkpoint, other)]
    assert sorted(names) == sorted((folder, f"{folder}/last") for folder in folders)


def test_bad_input(tmp_path, checkpoint, utterances):
    with pytest.raises(UserError, match="no such checkpoint"):
        find_checkpoints(str(tmp_path / "*.pt"))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(UserError, match="not a checkpoint"):
        read_checkpoints(find_checkpoints(tmp_path / "text.ckpt"), utterances)
    with pytest.raises(UserError, match=r"cannot speak utterance .*nine"):
        strange = [type(utterances[0])("nine", utterances[0].audio_path, "n")]
        read_checkpoints([checkpoint], strange)


def test_a_line_of_a_language_that_the_model_reads_wrongly_is_refused(checkpoint, utterances, monkeypatch):
    """As ``tokenizer=phonemes`` does: it would speak French as English."""
    monkeypatch.setattr(SymbolTokenizer, "speaks", lambda self, language: language in (None, "en"))
    assert read_checkpoints([checkpoint], utterances)
    with pytest.raises(UserError, match=rf"cannot speak utterance {utterances[3].id}: its language is fr, and "):
        read_checkpoints([checkpoint], [*utterances[:3], replace(utterances[3], language="fr")])


@pytest.mark.parametrize(
    ("checkpoint", "folder"),
    [
        (None, "runs/recordings/evaluation"),
        ("runs/a/checkpoints/last.ckpt", "runs/a/evaluation"),
        ("runs/a/checkpoints/*.ckpt", "runs/a/evaluation"),
        ("runs/*/checkpoints/*.ckpt", "runs/evaluation"),
        ("runs/**/last.ckpt", "runs/evaluation"),
        (["runs/a/checkpoints/x.ckpt", "runs/b/checkpoints/y.ckpt"], "runs/evaluation"),
        ("exports/digits", "runs/digits/evaluation"),
        ("user/digits", "runs/digits/evaluation"),
        ("x.ckpt", "evaluation"),
    ],
)
def test_results_go_to_the_run_or_to_what_runs_share(checkpoint, folder):
    assert evaluation_folder(checkpoint) == folder


def test_of_a_name_that_training_gives_to_another_file_the_lasting_one_is_loaded(tmp_path, checkpoint, utterances):
    steps = [write_checkpoint(checkpoint.with_name(f"step_{step:06d}.ckpt"), step) for step in (7, 8)]
    checkpoint.unlink()
    os.link(steps[0], checkpoint)
    (found,) = read_checkpoints([checkpoint], utterances)
    assert (found.name, found.path, found.file) == ("tiny/last", checkpoint, steps[0])
    os.link(steps[1], tmp_path / "partial")
    (tmp_path / "partial").replace(checkpoint)
    found.check()
    steps[0].unlink()
    with pytest.raises(Removed, match=r"step_000007\.ckpt was removed"):
        found.check()


def test_a_look_makes_no_network(monkeypatch, tmp_path, checkpoint, utterances):
    save_pretrained(load_model(checkpoint), tmp_path / "small")
    for module in ("checkpoint", "pretrained"):
        monkeypatch.setattr(f"melle.{module}.Melle", None)
    assert [c.step for c in read_checkpoints([checkpoint, tmp_path / "small"], utterances)] == [7, 7]
    (tmp_path / "small" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        read_checkpoints([tmp_path / "small"], utterances)


def test_the_vocoder_that_a_model_was_exported_with(tmp_path, checkpoint, utterances):
    save_pretrained(load_model(checkpoint), tmp_path / "small")
    (plain,) = read_checkpoints([tmp_path / "small"], utterances)
    assert plain.own_vocoder is None
    (tmp_path / "small" / VOCODER).write_text("{}")
    (own,) = read_checkpoints([tmp_path / "small"], utterances)
    assert own.own_vocoder == {"name": "vocos", "model": str(tmp_path / "small")} == exported_vocoder(own.path)
    assert exported_vocoder(None) is exported_vocoder(checkpoint) is None
