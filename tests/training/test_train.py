"""Training as a user runs it, at tiny size: it learns, it resumes, its checkpoints speak."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from melle.checkpoint import load_model
from melle.errors import UserError
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.training.module import MelleModule
from melle.training.run import train

ROOT = Path(__file__).parents[2]
CONF = str(ROOT / "conf")
SMALL = [
    "experiment=quickstart",
    "name=test",
    "data.index=${run_dir}/index",
    "data.corpus=null",
    "data.batch_frames=600",
    "model.width=32",
    "model.layers=2",
    "model.heads=2",
    "model.guided_layers=[1]",
    "model.ff_width=64",
    "model.prenet_hidden=32",
    "model.latent_hidden=32",
    "model.postnet_channels=8",
    "optim.schedule.warmup_steps=5",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks.speech.count=1",
    "+trainer.enable_progress_bar=false",
]


def configure(tmp_path: Path, tones: Path, steps: int, *overrides: str) -> DictConfig:
    splits = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    lengths = [f"trainer.max_steps={steps}", f"trainer.val_check_interval={max(1, steps // 2)}"]
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", [*SMALL, *splits, *lengths, f"run_dir={tmp_path / 'run'}", *overrides])


@pytest.mark.parametrize("optim", ["muon", "adamw"])
def test_training_lowers_the_loss_and_the_checkpoint_speaks(tmp_path, tone_manifests, optim, capsys):
    first = train(configure(tmp_path / "short", tone_manifests, 2, f"optim={optim}", "optim.schedule.warmup_steps=1"))
    last = train(configure(tmp_path, tone_manifests, 60, f"optim={optim}", "optim.optimizer.lr=3e-3"))
    assert last["validation/regression"] < 0.5 * first["validation/regression"]
    assert {"train/kl", "train/flux", "train/stop", "train/guide", "validation/text_gap"} <= last.keys()

    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    assert load_model(checkpoint).step == 60
    said = capsys.readouterr()
    assert "Melle, 0.1 million parameters; 1 × cpu, 32-true\n" in said.err and "FLOPs" not in said.out
    tts = Synthesizer.from_checkpoint(checkpoint)
    speech = tts(["two three"], [Prompt(tone_manifests / "audio/test-e-0.wav", "zero")])[0]
    assert len(speech.waveform) > 0 and torch.isfinite(speech.waveform).all()
    assert list((tmp_path / "run/tensorboard").glob("events*"))


def test_resume_goes_on_where_it_stopped(tmp_path, tone_manifests):
    train(configure(tmp_path, tone_manifests, 6))
    path = tmp_path / "run/checkpoints/last.ckpt"
    before = torch.load(path, weights_only=True)
    train(configure(tmp_path, tone_manifests, 12))
    after = torch.load(path, weights_only=True)
    assert (before["global_step"], after["global_step"]) == (6, 12)
    adamw = [c["optimizer_states"][0]["adamw"]["state"][0]["step"].item() for c in (before, after)]
    assert adamw == [6, 12]
    # The averaged weights are what a checkpoint offers; the current ones are kept beside them for going on.
    name = "network.stop.weight"
    assert not torch.equal(after["state_dict"][name], after["current_model_state"][name])
    # The longer schedule holds, not the one that had come to its end.
    assert not torch.equal(before["current_model_state"][name], after["current_model_state"][name])
    assert all(group["lr"] == 0 for group in after["optimizer_states"][0]["adamw"]["param_groups"])
    # A finished run is left as it is.
    train(configure(tmp_path, tone_manifests, 12))
    assert torch.load(path, weights_only=True)["global_step"] == 12


def test_a_changed_learning_rate_holds_for_a_run_that_goes_on(tmp_path, tone_manifests):
    train(configure(tmp_path, tone_manifests, 4, "optim=adamw", "optim/schedule=constant"))
    changed = ("optim.optimizer.lr=1e-5", "optim.optimizer.weight_decay=0.5", "optim.schedule.warmup_steps=12")
    train(configure(tmp_path, tone_manifests, 6, "optim=adamw", "optim/schedule=constant", *changed))
    groups = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0][
        "param_groups"
    ]
    assert [group["lr"] for group in groups] == pytest.approx([1e-5 * 7 / 12] * 2)
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_another_model_does_not_touch_an_earlier_run(tmp_path, tone_manifests):
    train(configure(tmp_path, tone_manifests, 2, "optim.schedule.warmup_steps=1"))
    with pytest.raises(UserError, match=r"other settings \(ff_width\); choose another name"):
        train(configure(tmp_path, tone_manifests, 4, "optim.schedule.warmup_steps=1", "model.ff_width=32"))
    assert load_model(tmp_path / "run/checkpoints/last.ckpt").step == 2


def test_a_run_may_begin_to_drop_texts_late(tmp_path, tone_manifests):
    """Even one of an earlier version, which knew nothing of it; the checkpoint then says that it was trained so."""
    once = "optim.schedule.warmup_steps=1"
    train(configure(tmp_path, tone_manifests, 2, once))
    path = (tmp_path / "run/checkpoints/last.ckpt").resolve()
    content = torch.load(path, weights_only=True)
    assert content["melle"]["network"].pop("text_dropout") == 0
    torch.save(content, path)
    train(configure(tmp_path, tone_manifests, 3, once))
    model = load_model(tmp_path / "run/checkpoints/last.ckpt")
    assert model.step == 3 and "guidance_scale" in model.description.unsupported()
    train(configure(tmp_path, tone_manifests, 4, once, "model.text_dropout=0.5"))
    model = load_model(tmp_path / "run/checkpoints/last.ckpt")
    assert model.step == 4 and "guidance_scale" not in model.description.unsupported()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.heads=5", "heads=5"),
        (["model/position=learned", "model.max_text=2"], r"tokens and .*model\.max_text=2.* \(utterance train-"),
        (["model/position=learned", "model.max_steps=5"], r"mel steps, but .*model\.max_steps=5"),
        ("model.reduction_factor=0", "reduction_factor=0"),
        ("model.activation=gelu", "activation='gelu'"),
        ("optim.schedule.warmup_steps=9", "warmup_steps=9"),
        ("tokenizer.unit=bytes", "characters or words"),
    ],
)
def test_impossible_settings_are_named(tmp_path, tone_manifests, override, says):
    with pytest.raises(UserError, match=says):
        overrides = [override] if isinstance(override, str) else override
        train(configure(tmp_path, tone_manifests, 2, "optim.schedule.warmup_steps=1", *overrides))
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize("choice", ["model=melle", "model=melle_rope", "experiment=quickstart"])
def test_presets_compose_and_paper_presets_carry_no_tricks(choice):
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", [choice, "name=x"])
    tricks = cfg.model.guided_layers or cfg.model.normalise_mel or cfg.model.text_attention != "causal"
    tricks = tricks or "muon" in cfg.optim.optimizer._target_ or cfg.loss.guide_weight
    assert bool(tricks) == (choice == "experiment=quickstart")
    assert cfg.trainer.max_steps == (2200 if choice == "experiment=quickstart" else 400000)


def test_a_model_preset_changes_the_model_alone():
    def rest(choice):
        with initialize_config_dir(CONF, version_base="1.3"):
            cfg = OmegaConf.to_container(compose("train", [choice, "name=x"]))
        return {key: value for key, value in cfg.items() if key != "model"}

    assert rest("model=quickstart") == rest("model=melle_rope") == rest("model=melle")


def test_missing_audio_and_unknown_words_are_reported_before_training(tmp_path, tone_manifests):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"transcription": "two", "audio_path": "gone.wav"}\n')
    one = "optim.schedule.warmup_steps=1"
    with pytest.raises(UserError, match=r"gone\.wav: no such file"):
        train(configure(tmp_path, tone_manifests, 2, one, f"data.train={broken}"))
    broken.write_text(f'{{"transcription": "hello", "audio_path": "{tone_manifests / "audio/test-e-0.wav"}"}}\n')
    with pytest.raises(UserError, match="never learned: 'hello'"):
        train(configure(tmp_path, tone_manifests, 2, one, f"data.val={broken}"))


def test_augmentation_is_the_same_in_a_run_that_is_resumed(tmp_path, tone_manifests, monkeypatch):
    made, build = [], MelleModule.__init__
    monkeypatch.setattr(MelleModule, "__init__", lambda self, *a, **k: (build(self, *a, **k), made.append(self))[0])
    same = ("optim=adamw", "optim/schedule=constant", "loss.guide_decay_steps=100", "callbacks.speech=null")
    options = ("augment=[voices,long_texts]", *same)
    train(configure(tmp_path / "whole", tone_manifests, 4, *options))
    assert [type(one).__name__ for one in made[0].augment] == ["VoicePerturbation", "LongTexts"]
    for steps in (2, 4):
        train(configure(tmp_path / "resumed", tone_manifests, steps, *options))
    train(configure(tmp_path / "plain", tone_manifests, 4, *same))
    whole, resumed, plain = (
        load_model(tmp_path / name / "run/checkpoints/last.ckpt").network.state_dict()
        for name in ("whole", "resumed", "plain")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not all(torch.equal(whole[name], plain[name]) for name in whole)
    with pytest.raises(UserError, match="augment=voices is for speech models"):
        train(configure(tmp_path / "vocoder", tone_manifests, 4, "task=vocoder", "augment=[voices]"))
