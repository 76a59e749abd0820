"""What the end of a run needs is looked at before its beginning; what fails there is a warning."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save_file

from melle.audio import MelSpec
from melle.checkpoint import load_model
from melle.data.manifest import read_manifest, write_manifest
from melle.errors import UserError
from melle.pretrained import save_pretrained
from melle.training.callbacks.samples import SpeechSamples
from melle.training.report import next_commands, write_report
from melle.training.run import train
from melle.training.trainer import check_monitors
from melle.vocoders.vocos.network import VocosSizes
from melle.vocoders.vocos.vocoder import KEY, PREFIX, VocosDescription
from tests.training.test_train import CONF, configure
from tests.vocoders.test_training import configure as vocoder

ONE = "optim.schedule.warmup_steps=1"


@pytest.fixture
def exported(tmp_path, tiny_checkpoint) -> Path:
    """An exported model with a vocoder of its own."""
    description = VocosDescription(MelSpec(), VocosSizes(16, 32, 2, 3), -2.0, 1.5)
    weights = {PREFIX + name: value for name, value in description.make().state_dict().items()}
    torch.save({"state_dict": weights, KEY: description.as_dict(), "global_step": 3}, tmp_path / "vocoder.ckpt")
    save_pretrained(load_model(tiny_checkpoint), tmp_path / "exported", vocoder=tmp_path / "vocoder.ckpt")
    return tmp_path / "exported"


def finetune(tmp_path: Path, tones: Path, exported: Path | str, *overrides: str):
    """A run of two steps that begins with an exported model."""
    own = ["experiment=finetune", "data.batch_frames=600", "data.index=${run_dir}/index", ONE, *overrides]
    own += ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.accelerator=cpu", "callbacks.speech=null"]
    own += ["+trainer.enable_progress_bar=false", "asr=none", "speaker=none"]
    splits = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", [*own, *splits, f"init_from={exported}", f"run_dir={tmp_path / 'run'}"])


class NoCorpus:
    """Stands for a corpus whose making takes days."""

    def prepare(self):
        raise AssertionError("the corpus was made before the configuration was checked")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "exported: no such file or folder|no such checkpoint"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"has no model\.safetensors"),
        (
            lambda folder: (folder / "vocoder.json").write_text("{"),
            r"the report at the end: .*damaged.*report\.utterances=0",
        ),
        (lambda folder: (folder / "vocoder.safetensors").unlink(), r"the report at the end: .*vocoder\.safetensors"),
    ],
)
def test_what_a_run_begins_with_is_looked_at_first(tmp_path, tone_manifests, exported, damage, says, seen):
    run = tmp_path / "run/checkpoints"
    run.mkdir(parents=True)
    (run / "last.ckpt").touch()
    damage(exported)
    corpus = "data.corpus={_target_: tests.training.test_checked_first.NoCorpus}"
    with pytest.raises(UserError, match=says):
        train(finetune(tmp_path, tone_manifests, exported, corpus, "resume=false"))
    assert (run / "last.ckpt").exists()  # the earlier run stays where it was
    assert not seen


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.schedule.warmup_steps=9", r"optim\.schedule\.warmup_steps=9 must be below total_steps=2"),
        ("optim/schedule=wsd optim.schedule.decay_share=1", r"optim\.schedule: warmup_steps=.*overlap"),
        ("model.heads=3", r"model: width=.*heads=3"),
        ("model.width=wide", r"model: "),
        ("augment=[voices] augment.voices.warp=0.5", "give a factor of 1"),
        ("trainer.val_check_interval=0.5", "share of an epoch"),
        ("callbacks.best.monitor=validation/kll", "nothing logs it; validation/kl"),
        ("trainer.accumulate_grad_batches=2 step_frames=999", "say the same"),
    ],
)
def test_what_needs_no_data_is_checked_before_a_corpus_is_made(tmp_path, tone_manifests, override, says, seen):
    run = tmp_path / "run/checkpoints"
    run.mkdir(parents=True)
    (run / "last.ckpt").touch()
    corpus = "data.corpus={_target_: tests.training.test_checked_first.NoCorpus}"
    with pytest.raises(UserError, match=says):
        train(configure(tmp_path, tone_manifests, 2, ONE, corpus, "resume=false", *override.split()))
    assert (run / "last.ckpt").exists() and not seen


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_manifests_are_looked_at_before_features_are_made_and_a_run_is_put_aside(
    tmp_path, tone_manifests, seen, split, monkeypatch
):
    monkeypatch.setattr("melle.data.datamodule.build_features", lambda *_: pytest.fail("features are made"))
    run = tmp_path / "run/checkpoints"
    run.mkdir(parents=True)
    (run / "last.ckpt").touch()
    options = [f"data.{split}=typo.jsonl", "data.make_features=true", f"data.features={tmp_path / 'mels'}"]
    with pytest.raises(UserError, match=rf"data\.{split}\W.*typo\.jsonl: no such manifest"):
        train(configure(tmp_path, tone_manifests, 2, ONE, "resume=false", *options))
    assert (run / "last.ckpt").exists() and not seen


@pytest.mark.parametrize(
    ("damage", "first", "says"),
    [
        (
            None,
            "exported",
            r"is a vocoder with data\.mel\.floor=1e-10 vocoder_training\.sizes\.kernel=3 "
            r"vocoder_training\.sizes\.pitched=0: give the",
        ),
        (
            "weights",
            "exported",
            r"exported: a damaged vocoder \(.*\); give init_from= a vocoder's checkpoint, or a folder",
        ),
        ("none", "exported", r"exported: has no vocoder\.json; give init_from= a vocoder's checkpoint"),
        (None, "speech.ckpt", r"speech\.ckpt: a checkpoint of something else; give init_from= a vocoder's"),
        (None, "odd.ckpt", r"odd\.ckpt: a damaged vocoder \(.*mel.*\); give init_from= a vocoder's"),
        (None, "other", r"init_from=.*other: the folder of a run; give its checkpoint, .*last\.ckpt"),
        (None, "nowhere.ckpt", r"nowhere\.ckpt: no such vocoder; give init_from="),
    ],
)
def test_what_a_vocoder_begins_with_is_looked_at_first(
    tmp_path, tone_manifests, exported, tiny_checkpoint, damage, first, says
):
    (tmp_path / "speech.ckpt").write_bytes(Path(tiny_checkpoint).read_bytes())
    torch.save({"state_dict": {}, KEY: {"format": 1}}, tmp_path / "odd.ckpt")
    for run in ("run", "other"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        (tmp_path / run / "checkpoints/last.ckpt").touch()
    if damage == "weights":
        save_file({"odd": torch.zeros(2)}, exported / "vocoder.safetensors")
        same = ["data.mel.floor=1e-10", "vocoder_training.sizes.kernel=3"]
    elif damage == "none":
        (exported / "vocoder.json").unlink()
    corpus = "data.corpus={_target_: tests.training.test_checked_first.NoCorpus}"
    options = [f"init_from={tmp_path / first}", corpus, "resume=false", *(same if damage == "weights" else [])]
    with pytest.raises(UserError, match=says):
        train(vocoder(tmp_path, tone_manifests, 2, *options))
    assert (tmp_path / "run/checkpoints/last.ckpt").exists()  # the earlier run stays where it was


def test_a_folder_that_cannot_be_written_is_known_first(tmp_path, tone_manifests, seen):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; give another place"):
        train(configure(tmp_path / "file", tone_manifests, 2, ONE))
    assert not seen


def test_texts_that_the_model_will_not_know_are_an_error_before_training(tmp_path, tone_manifests, seen):
    other = tmp_path / "other.jsonl"
    utterances = enumerate(read_manifest(tone_manifests / "test.jsonl"))
    write_manifest(other, [replace(u, transcription=f"bonjour {number}") for number, u in utterances])
    with pytest.raises(UserError, match=r"the report at the end: the model can speak none of .*report\.utterances=0"):
        train(configure(tmp_path, tone_manifests, 2, ONE, f"data.test={other}"))
    assert not seen


def score_nothing(monkeypatch) -> list:
    """What the report would score."""
    asked = []

    def score(evaluation):
        asked.append(evaluation)
        raise UserError("nothing is scored here")

    monkeypatch.setattr("melle.evaluation.run.score", score)
    return asked


def test_the_report_speaks_through_the_vocoder_of_the_model_that_was_fine_tuned(
    tmp_path, tone_manifests, exported, monkeypatch
):
    asked = score_nothing(monkeypatch)
    cfg = finetune(tmp_path, tone_manifests, exported)
    train(cfg)
    write_report(cfg)
    (evaluation,) = asked
    assert evaluation.vocoders == {"own": {"name": "vocos", "model": str(exported)}}
    evaluation.queue()  # which makes the vocoders
    systems = [trial.system for trial in evaluation.queue().trials]
    assert {system.named_vocoder.name for system in systems} == {"own"}


@pytest.mark.parametrize("change", ["gone", "other frames"])
def test_without_a_vocoder_that_fits_the_report_takes_another(
    tmp_path, tone_manifests, exported, monkeypatch, caplog, change
):
    asked = score_nothing(monkeypatch)
    options = ["data.mel.hop_length=200"] if change == "other frames" else []
    cfg = finetune(tmp_path, tone_manifests, exported, *options)
    train(cfg)
    if change == "gone":
        exported.rename(tmp_path / "elsewhere")
        cfg.init_from = "models/gone"  # what could be a name on the hub
    write_report(cfg)
    (evaluation,) = asked
    assert list(evaluation.vocoders) == ["griffin_lim"] and "speaks through another" in caplog.text


def test_braces_in_commands_stand_for_themselves_but_for_the_known_ones():
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["experiment=quickstart", "name=x", "data.test=null"])
    cfg.report.next = {"To try": ["echo", "{data}", "{odd} {", "a}"], "Lacking": ["echo", "{text}"]}
    assert next_commands(cfg, None) == ["To try:", "  echo jsonl '{odd} {' 'a}'"]


@pytest.mark.parametrize(
    ("monitor", "option", "says"),
    [
        ("samples/wer", "callbacks.speech.count=1", r"nothing logs it; it needs callbacks\.speech\.asr"),
        ("samples/eos_rate", "callbacks.speech.count=0", "nothing logs it"),
        ("samples/eos_rate", "callbacks.speech=null", "nothing logs it"),
    ],
)
def test_a_monitor_waits_for_nothing_that_will_not_come(tmp_path, tone_manifests, seen, monitor, option, says):
    with pytest.raises(UserError, match=f"monitor={monitor}: {says}"):
        train(configure(tmp_path, tone_manifests, 2, ONE, f"callbacks.best.monitor={monitor}", option))
    assert not seen


def test_word_errors_can_be_monitored_where_there_is_a_recogniser(tone_manifests):
    with_asr = SpeechSamples(tone_manifests / "val.jsonl", 1, asr=object())
    assert set(with_asr.METRICS) == {"samples/duration_error", "samples/eos_rate", "samples/wer"}
    check_monitors([with_asr, ModelCheckpoint(monitor="samples/wer")], [])
    assert "samples/wer" not in SpeechSamples(tone_manifests / "val.jsonl", 1).METRICS
