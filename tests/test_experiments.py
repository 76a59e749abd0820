"""The experiments, at the smallest size at which all of their parts run."""

import math
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from melle import Synthesizer
from melle.corpora.english.lexicon import held_out
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.training.run import train
from tests.corpora.fake_teacher import VOICES, FakeTeacher

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


def test_english(tmp_path, monkeypatch):
    """Corpus, features, training and speech of words that nobody trained."""
    monkeypatch.setattr("melle.corpora.english.corpus.Kokoro", FakeTeacher)
    monkeypatch.setattr("melle.corpora.english.corpus.HELD_OUT", VOICES[:2])
    monkeypatch.setattr("melle.data.processes.cores", lambda: 1)
    data = tmp_path / "data"
    texts = [f"Again: {text}" for text in held_out("validation")[:4]] + [
        "Is this a zebra, or are these twelve of them?"
    ]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    cfg = composed(
        "experiment=english",
        f"run_dir={tmp_path / 'run'}",
        *(f"data.corpus.folder={data}", f"data.corpus.teacher_model={tmp_path}", "data.corpus.hours=0.01"),
        *(
            "+data.corpus.held_out_utterances=2",
            "data.corpus.voices=6",
            f"data.corpus.texts=[{tmp_path / 'texts.txt'}]",
        ),
        *(f"data.features={data / 'features'}", "data.make_features=true", f"data.index={tmp_path / 'index'}"),
        *("data.batch_frames=1500", "data.workers=0", "model.width=32", "model.heads=2", "model.ff_width=32"),
        *("trainer.max_steps=4", "trainer.val_check_interval=4", "optim.schedule.warmup_steps=1", "logger=csv"),
        *("report.utterances=0", "callbacks.speech=null"),
    )
    metrics = train(cfg)
    assert metrics["step"] == 4 and math.isfinite(metrics["validation/regression"])
    assert list((data / "features").rglob("*.npy"))
    assert all(utterance.words for utterance in read_manifest(data / "train.jsonl"))
    tts = Synthesizer.from_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert len(tts("Is that a zebra, or 12 of them?", seed=1).mel) > 0


def test_reference_published_has_the_flags_of_the_published_run():
    cfg = composed("experiment=reference_published")
    model = cfg.model
    assert (model.norm, model.position, model.activation) == ("layer", "learned", "relu")
    assert model.prenet_activation == "relu"
    assert (model.postnet, model.postnet_activation, model.latent_activation) == ("conv", "tanh", "tanh")
    assert (model.block, model.mlp, model.prenet_hidden, model.latent_hidden) == ("sub_ln", "plain", 256, 256)
    assert (cfg.loss.flux_weight, cfg.loss.stop_positive_weight, cfg.loss.stop_weight) == (0.8, 100.0, 1.0)
    assert (cfg.data.batch_frames, cfg.trainer.gradient_clip_val, cfg.trainer.max_steps) == (15000, 1.0, 400000)
    assert "llama" in cfg.tokenizer.name and cfg.optim.schedule._target_.endswith("InverseSqrt")


def test_english_without_its_corpus_says_how_to_make_it(tmp_path):
    cfg = composed("experiment=english", f"run_dir={tmp_path / 'run'}", f"data.corpus.folder={tmp_path / 'data'}")
    with pytest.raises(UserError, match="python -m melle prepare teacher --teacher-model DIR -o"):
        train(cfg)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name):
    cfg = composed(f"experiment={name}", "init_from=some.ckpt", "data.train=a.jsonl", "data.val=b.jsonl")
    assert cfg.name and cfg.task in ("speech", "vocoder")
    groups = ("data", "model", "loss", "optim", "tokenizer", "callbacks", "trainer", "vocoder_data", "vocoder_training")
    for node in (cfg[group] for group in groups if group in cfg):
        OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
        if "_target_" in node:
            get_object(node._target_)
