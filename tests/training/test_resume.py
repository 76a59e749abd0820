"""Where a run begins."""

import shutil

import pytest
import torch

from melle.checkpoint import load_model
from melle.errors import UserError
from melle.training.resume import find_resume
from melle.training.run import train
from tests.training.test_train import configure

ONE = "optim.schedule.warmup_steps=1"


def test_starting_anew_puts_the_earlier_run_aside(tmp_path, tiny_checkpoint):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(tiny_checkpoint, run / "checkpoints/last.ckpt")
    assert find_resume("auto", run) == run / "checkpoints/last.ckpt"
    assert find_resume(False, run) is None
    assert load_model(run / "previous-1/checkpoints/last.ckpt").step == 7
    assert find_resume("auto", run) is None and find_resume(False, run) is None
    assert not (run / "previous-2").exists()
    with pytest.raises(UserError, match="choose auto, false or the path"):
        find_resume("nowhere.ckpt", run)


def test_a_job_that_is_started_again_goes_on(tmp_path, tone_manifests, pretrained, monkeypatch):
    run = pretrained.parents[1]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    for resume in (False, str(pretrained.with_name("step_000002.ckpt"))):
        assert find_resume(resume, run) == pretrained.with_name("step_000004.ckpt")
    assert find_resume(False, tmp_path / "new") is None


def test_other_frames_are_refused_or_named(tmp_path, tone_manifests, pretrained, capsys):
    with pytest.raises(UserError, match=r"other mel frames.*hop_length=256.*restore data\.mel"):
        train(configure(tmp_path / "first", tone_manifests, 6, ONE, "data.mel.hop_length=200"))
    begin(tmp_path, tone_manifests, pretrained, "data.mel.hop_length=200")
    assert "not taken: its mel frames" in capsys.readouterr().err


def test_weights_that_would_be_put_aside_are_refused(tmp_path, tone_manifests, pretrained):
    with pytest.raises(UserError, match="resume=false puts aside"):
        train(configure(tmp_path / "first", tone_manifests, 6, ONE, "resume=false", f"init_from={pretrained}"))
    assert pretrained.is_file()


@pytest.fixture
def pretrained(tmp_path, tone_manifests):
    train(configure(tmp_path / "first", tone_manifests, 4, ONE))
    return tmp_path / "first/run/checkpoints/last.ckpt"


def begin(tmp_path, tones, checkpoint, *overrides):
    """A run of one step at rate 0 that begins with the weights of a checkpoint, and its model."""
    options = ("optim.optimizer.lr=0", "optim.optimizer.muon_lr=0", ONE, f"init_from={checkpoint}", *overrides)
    train(configure(tmp_path / "second", tones, 2, *options))
    return load_model(tmp_path / "second/run/checkpoints/last.ckpt", average=False)


def test_a_new_run_begins_with_the_averaged_weights_of_another(tmp_path, tone_manifests, pretrained, capsys):
    model, given = begin(tmp_path, tone_manifests, pretrained), load_model(pretrained)
    for name, parameter in given.network.named_parameters():
        torch.testing.assert_close(dict(model.network.named_parameters())[name], parameter)
    assert model.step == 2 and model.description.network["mel_mean"] == given.description.network["mel_mean"]
    assert "not taken" not in capsys.readouterr().err


def test_what_does_not_fit_is_listed(tmp_path, tone_manifests, pretrained, capsys):
    options = ("model.reduction_factor=2", "tokenizer.unit=characters")
    model, given = begin(tmp_path, tone_manifests, pretrained, *options), load_model(pretrained)
    printed = capsys.readouterr().err
    for name in ("text_embedding.weight", "prenet.", "latent.project.weight"):
        assert f"not taken: {name}" in printed
    assert "not taken: blocks" not in printed and "here" in printed
    for block, other in zip(model.network.blocks, given.network.blocks):
        for value, expected in zip(block.parameters(), other.parameters()):
            torch.testing.assert_close(value, expected)


def test_symbols_that_mean_something_else_are_not_taken(tmp_path, tone_manifests, pretrained, capsys):
    folder = tmp_path / "other"
    shutil.copytree(tone_manifests, folder)
    for name in ("train", "val", "test"):
        text = (folder / f"{name}.jsonl").read_text()
        (folder / f"{name}.jsonl").write_text(text.replace("zero", "zulu").replace("nine", "november"))
    begin(tmp_path, folder, pretrained)
    assert "not taken: text_embedding.weight (another tokenizer)" in capsys.readouterr().err


def test_nothing_that_fits_is_an_error(tmp_path, tone_manifests, pretrained):
    with pytest.raises(UserError, match="no such checkpoint"):
        begin(tmp_path, tone_manifests, "nowhere.ckpt")
    sizes = ("model.width=8", "model.layers=1", "model.guided_layers=[]", "model.prenet_hidden=8", "model.heads=1")
    sizes += ("model.latent_hidden=8", "model.postnet_channels=4", "model.ff_width=8", "model.reduction_factor=1")
    with pytest.raises(UserError, match="none of its matrices fits"):
        begin(tmp_path, tone_manifests, pretrained, *sizes, "tokenizer.unit=characters", "data.mel.n_mels=40")


def test_a_run_that_has_begun_goes_on_without_looking_at_init_from(tmp_path, tone_manifests, pretrained):
    options = (ONE, f"init_from={pretrained}")
    train(configure(tmp_path / "c", tone_manifests, 2, *options))
    train(configure(tmp_path / "c", tone_manifests, 4, ONE, "init_from=gone.ckpt"))
    assert load_model(tmp_path / "c/run/checkpoints/last.ckpt").step == 4
