"""Every preset and every option of every group: composes, takes one step of training, speaks."""

from dataclasses import asdict
from inspect import signature
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from melle.checkpoint import LoadedModel
from melle.configs.build import build
from melle.data.batch import Row, collate
from melle.model import heads
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.training.run import build_module

CONF = Path(__file__).parents[1] / "conf"
SMALL = [
    *("name=test", "model.width=16", "model.layers=2", "model.heads=2", "model.ff_width=32", "model.prenet_hidden=16"),
    *("model.latent_hidden=16", "data.corpus=null", "data.batch_frames=600"),
]
ONLINE = {"tokenizer=llama", "tokenizer=qwen", "tokenizer=huggingface"}  # need a hub or a folder
FROM_CHECKPOINT = {
    "model=from_checkpoint",
    "tokenizer=from_checkpoint",
}  # need a checkpoint: tests/training/test_from_checkpoint.py
MODELS = sorted(path.stem for path in CONF.glob("model/*.yaml") if f"model={path.stem}" not in FROM_CHECKPOINT)


def options() -> list[str]:
    found = [f"model={path.stem}" for path in CONF.glob("model/*.yaml")]
    for group in ("model/*", "loss", "optim", "tokenizer"):
        found += [
            f"{folder.relative_to(CONF).as_posix()}={path.stem}"
            for folder in CONF.glob(group)
            if folder.is_dir()
            for path in folder.glob("*.yaml")
        ]
    return sorted(found)


def configure(tones: Path, *overrides: str):
    small = list(SMALL)
    small += [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    small.append(f"data.index={tones / 'index'}")
    overrides = ["experiment=quickstart" if option == "model=quickstart" else option for option in overrides]
    if "experiment=quickstart" not in overrides:
        overrides = ("model=melle", *overrides) if not overrides[0].startswith("model=") else overrides
    else:
        small.append("model.guided_layers=[1]")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*overrides, *small])
    if cfg.model.postnet == "conv":
        cfg.model.postnet_channels = 8
    return cfg


def step_and_speak(cfg, tones: Path) -> None:
    data = build(cfg.data)
    module = build_module(cfg, data)
    batch = next(iter(data.train_dataloader()))
    optimizer = module.configure_optimizers()["optimizer"]
    before = [parameter.detach().clone() for parameter in module.network.blocks.parameters()]
    terms = module.loss(
        module.network(**batch.inputs()),
        batch.mel_lengths,
        batch.text_segments,
        batch.segment_steps,
        cfg.model.reduction_factor,
        10**6,
    )
    assert all(torch.isfinite(term) for term in terms)
    terms.total.backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, module.network.blocks.parameters()))

    tts = Synthesizer(LoadedModel(module.network.eval(), module.description, 1))
    voice = Prompt(tones / "audio/test-e-0.wav", "zero")
    for prompt in (voice, None):
        speech = tts(["two three"], [prompt], options=DecodingOptions(max_length=0.5))[0]
        assert len(speech.waveform) > 0 and torch.isfinite(speech.waveform).all()


@pytest.mark.parametrize("option", [option for option in options() if option not in ONLINE | FROM_CHECKPOINT])
def test_option_trains_and_speaks(option, tone_manifests):
    step_and_speak(configure(tone_manifests, option), tone_manifests)


def test_a_hugging_face_tokenizer_trains_and_speaks(tone_manifests, tmp_path):
    words = ["[UNK]", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", " "]
    library = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=library, unk_token="[UNK]").save_pretrained(tmp_path / "words")
    cfg = configure(tone_manifests, "tokenizer=huggingface", f"tokenizer.name={tmp_path / 'words'}")
    step_and_speak(cfg, tone_manifests)


def test_options_mix(tone_manifests):
    mix = ("model=melle", "model/norm=rms", "model/position=rope", "model.reduction_factor=2", "model/mlp=gated")
    cfg = configure(tone_manifests, *mix)
    assert (cfg.model.norm, cfg.model.position, cfg.model.reduction_factor, cfg.model.mlp) == (
        "rms",
        "rope",
        2,
        "gated",
    )
    step_and_speak(cfg, tone_manifests)


class Chance:
    """Dropout masks of the pre-net and noise of the latent by step: the same, whether steps come singly or at once."""

    def __init__(self, network, steps: int):
        hidden = network.prenet.layers[0].out_features
        self.layers = len(network.prenet.layers) - 1
        self.masks = [2.0 * (torch.rand(1, steps, hidden) < 0.5) for _ in range(self.layers)]
        self.noise = torch.randn(1, steps, network.group)
        self.begin(0)

    def begin(self, first_predicted: int) -> None:
        self.calls, self.read, self.predicted = 0, 0, first_predicted

    def dropout(self, x, p=0.5, training=True, inplace=False):
        if not training:
            return x
        layer = self.calls % self.layers
        self.calls += 1
        mask = self.masks[layer][:, self.read : self.read + x.shape[1]]
        if layer == self.layers - 1:
            self.read += x.shape[1]
        return x * mask

    def randn_like(self, mean):
        noise = self.noise[:, self.predicted : self.predicted + mean.shape[1]]
        self.predicted += mean.shape[1]
        return noise


@pytest.mark.parametrize("preset", MODELS)
def test_cached_decoding_equals_the_full_pass_with_the_same_chance(preset, tone_manifests, monkeypatch):
    cfg = configure(tone_manifests, f"model={preset}")
    network = build_module(cfg, build(cfg.data)).network.eval()
    r, prompt_steps, new_steps = cfg.model.reduction_factor, 5, 7
    prompt = torch.randn(prompt_steps * r, 80) - 3
    tokens = [[3, 4, 2], [5, 3]]
    chance = Chance(network, prompt_steps + new_steps)
    monkeypatch.setattr(heads.F, "dropout", chance.dropout)
    monkeypatch.setattr(torch, "randn_like", chance.randn_like)
    begun = collate([Row(tokens, [prompt, torch.zeros(r, 80)], ["a", "b"])], r)
    with torch.no_grad():
        chance.begin(first_predicted=prompt_steps)
        arguments = (begun.text, begun.text_lengths, begun.text_segments, prompt[None], torch.tensor([len(prompt)]))
        caches = network.make_caches(1, int(begun.text_lengths[0]) + 1 + prompt_steps + new_steps)
        state, frames, stop = network.prefill(caches, *arguments)
        made, stops = [frames], [stop]
        for _ in range(new_steps - 1):
            frames, stop = network.step(caches, state, frames)
            made, stops = [*made, frames], [*stops, stop]
        made = torch.cat(made, dim=1)
        chance.begin(first_predicted=0)
        full = collate([Row(tokens, [prompt, network.denormalise(made[0])], ["a", "b"])], r)
        output = network(**full.inputs())
    assert torch.allclose(output.frames[:, len(prompt) :], made, atol=1e-4)
    assert torch.allclose(output.stop[:, prompt_steps:], torch.stack(stops, dim=1), atol=1e-4)


# What has no default.
NEEDED = {
    "asr=transformers": ["asr.transformers.model=x"],
    "speaker=unispeech": ["speaker.unispeech.checkpoint=x"],
}


@pytest.mark.parametrize(
    "option",
    [
        *("tokenizer=llama", "tokenizer=qwen", "tokenizer=huggingface"),
        *(f"trainer={path.stem}" for path in CONF.glob("trainer/*.yaml")),
        *(f"data={path.stem}" for path in CONF.glob("data/*.yaml")),
        *(f"{group}={path.stem}" for group in ("asr", "speaker") for path in CONF.glob(f"{group}/*.yaml")),
    ],
)
def test_option_composes(option, tone_manifests):
    group, name = option.split("=")
    cfg = configure(tone_manifests, option, *NEEDED.get(option, ()))
    assert OmegaConf.select(cfg, group, throw_on_missing=True) is not None
    OmegaConf.to_container(cfg[group], resolve=True, throw_on_missing=True)
    if group == "tokenizer":
        assert cfg.tokenizer._target_.endswith("from_pretrained") and (cfg.tokenizer.name is None) == (
            name == "huggingface"
        )


@pytest.mark.parametrize(
    "option",
    [f"{g}={path.stem}" for g in ("protocol", "quality", "asr", "speaker") for path in CONF.glob(f"{g}/*.yaml")],
)
def test_option_of_an_evaluation_composes(option):
    group, name = option.split("=")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", [option, *NEEDED.get(option, ())])
    judges = OmegaConf.to_container(cfg[group] or OmegaConf.create(), resolve=True, throw_on_missing=True)
    for judge in judges.values():
        target, is_partial = signature(get_object(judge.pop("_target_"))), judge.pop("_partial_", False)
        (target.bind_partial if is_partial else target.bind)(**judge)
    assert list(judges) == ([] if name == "none" else [name.removesuffix("_digits")])


def composed(option):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [option, "name=x", "data=jsonl", "data.train=a", "data.val=b"])


def test_an_evaluation_decodes_as_synthesis_does():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert dict(compose("evaluate", ["checkpoint=null"]).decoding) == asdict(DecodingOptions())


@pytest.mark.parametrize("name", [path.stem for path in CONF.glob("model/*.yaml")])
def test_a_preset_of_the_model_changes_nothing_else(name):
    other, paper = (OmegaConf.to_container(composed(f"model={name}")) for name in (name, "melle"))
    for whole in (other, paper):
        del whole["model"]
    assert other == paper


def test_presets_are_what_they_say():
    def model(name):
        return composed(f"model={name}")

    paper = model("melle")
    assert (paper.model.width, paper.model.layers, paper.model.heads, paper.model.ff_width) == (1024, 12, 16, 4096)
    assert (paper.model.dropout, paper.model.prenet_dropout, paper.model.postnet_channels) == (0.1, 0.5, 256)
    assert (paper.loss.kl_weight, paper.loss.kl_warmup_steps, paper.loss.flux_weight) == (0.1, 10000, 0.5)
    assert (paper.loss.stop_weight, paper.loss.stop_positive_weight) == (1.0, 100.0)
    assert (paper.optim.optimizer.lr, paper.optim.schedule.warmup_steps, paper.trainer.max_steps) == (
        5e-4,
        32000,
        400000,
    )
    learned = ("position", "max_text", "max_steps")
    shared = {name: value for name, value in paper.model.items() if name not in learned}
    assert model("melle_rope").model == {**shared, "position": "rope", "rope_base": 10000.0}
    for r in (2, 4):
        assert model(f"melle_r{r}").model == {**paper.model, "reduction_factor": r}
    limited = composed("experiment=melle_limited")
    assert limited.model == paper.model and "phonemes" in limited.tokenizer._target_
    reference = model("reference")
    kinds = reference.model.block, reference.model.norm, reference.model.mlp, reference.model.position
    assert kinds == ("sub_ln", "rms", "plain", "learned") and reference.model.postnet == "none"
    assert (reference.model.activation, reference.model.latent_activation) == ("relu", "tanh")
    assert (reference.model.prenet_hidden, reference.model.latent_hidden) == (256, 256)
    assert (reference.model.max_text, reference.model.max_steps) == (5000, 5000)
    assert (reference.model.dropout, reference.model.attention_dropout, reference.model.mlp_dropout) == (0.1, 0, 0)
    reference = composed("experiment=reference")
    assert reference.model == model("reference").model and "llama" in reference.tokenizer.name
    network = torch.nn.Linear(2, 2)
    groups = build(reference.optim.optimizer, _partial_=True)(network).param_groups
    assert [(g["weight_decay"], len(g["params"]), g["betas"]) for g in groups] == [(0.01, 2, (0.9, 0.98))]
    weights = reference.loss.stop_positive_weight, reference.loss.flux_weight, reference.loss.kl_warmup_steps
    assert weights == (100.0, 1.0, 0)
    assert (reference.trainer.gradient_clip_val, paper.trainer.gradient_clip_val) == (1.0, 80.0)
    assert reference.optim.schedule.warmup_steps == 10000
