"""Fine-tuning: network, mel and tokenizer are those of the checkpoint that a run begins with."""

import json
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from melle.checkpoint import LoadedModel, load_model, save_model
from melle.configs.build import build
from melle.data.index import open_tokenizer
from melle.errors import UserError
from melle.model import Melle
from melle.pretrained import save_pretrained
from melle.text.symbols import SymbolTokenizer
from melle.training.from_checkpoint import fill_from_checkpoint, tokenizer_of
from melle.training.module import MelleModule
from melle.training.run import train
from tests.training.test_train import CONF, configure

QUIET = [
    "data.index=${run_dir}/index",
    "data.batch_frames=600",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks.speech=null",
    "+trainer.enable_progress_bar=false",
]


def finetune(run: Path, tones: Path, checkpoint: Path | None, steps: int, *overrides: str):
    manifests = [f"data.{split}={tones / f'{split}.jsonl'}" for split in ("train", "val", "test")]
    lengths = [f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", "optim.schedule.warmup_steps=1"]
    begin = [f"init_from={checkpoint or 'null'}", f"run_dir={run}"]
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", ["experiment=finetune", *begin, *manifests, *lengths, *QUIET, *overrides])


@pytest.fixture(scope="module")
def base(tmp_path_factory, tone_manifests) -> Path:
    """A model that has learned a little; in none of its settings what the configuration would say by itself."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    options = ("data=demo", "model.latent_layers=2", "optim.optimizer.lr=3e-3", "data.corpus=null")
    train(configure(folder, tone_manifests, 40, *options, "data.mel.f_max=7000", "callbacks.speech=null"))
    return folder / "run/checkpoints/last.ckpt"


def loss_of(network: Melle, cfg) -> float:
    """Per frame over the training data, as in training."""
    data, loss = build(cfg.data), build(cfg.loss)
    data.setup()
    total = frames = 0.0
    with torch.no_grad():
        for _ in range(8):
            for batch in data._make_sampler("train", shuffle=True):
                batch = data.train_dataloader().collate_fn([data.datasets["train"][row] for row in batch])
                output = network.train()(**batch.inputs())
                segments = (batch.text_segments, batch.segment_steps)
                terms = loss(output, batch.mel_lengths, *segments, network.reduction_factor, 0)
                total, frames = total + terms.total.item(), frames + terms.frames.item()
    return total / frames


def test_a_model_is_fine_tuned_from_where_it_was(tmp_path, tone_manifests, base, monkeypatch, capsys):
    losses, forward = [], MelleModule.forward  # per frame

    def watched(self, batch):
        terms = forward(self, batch)
        losses.append((terms.total / terms.frames).item())
        return terms

    monkeypatch.setattr(MelleModule, "forward", watched)
    folder = tmp_path / "exported"
    save_pretrained(load_model(base), folder)
    cfg = finetune(tmp_path / "run", tone_manifests, folder, 3)
    last = train(cfg)
    printed = capsys.readouterr().err
    assert f"Begins with the weights of {folder}" in printed and "not taken" not in printed
    before, after = load_model(base), load_model(tmp_path / "run/checkpoints/last.ckpt")
    assert after.step == 3 and after.description.mel == before.description.mel
    assert after.description.mel.floor == 1e-5 and after.description.mel.f_max == 7000
    assert after.description.tokenizer.as_dict() == before.description.tokenizer.as_dict()
    assert before.description.network.items() <= {**after.description.network, **_paces(before)}.items()
    # The first step's loss is that of the model as it was, and far from that of one with weights of chance.
    resolved = fill_from_checkpoint(cfg)
    usual = loss_of(before.network, resolved)
    fresh = loss_of(Melle(**before.description.network), resolved)
    assert losses[0] == pytest.approx(usual, rel=0.15) and losses[0] < 0.6 * fresh
    assert last["validation/regression"] > 0
    written = OmegaConf.load(tmp_path / "run/config.yaml")
    assert written.data.reduction_factor == written.model.reduction_factor == 4 and written.model.width == 32
    assert written.data.mel.floor == 1e-5 and written.model.normalise_mel is True


def test_a_fine_tuned_model_speaks_as_the_one_it_began_with(tmp_path, tone_manifests, base):
    model, folder = load_model(base), tmp_path / "exported"
    best = {"temperature": 0.5, "attention_window": 4.0, "prompt_pause": 0.5}
    # Without model.text_dropout there is no guidance, whatever the file says.
    description = replace(model.description, decoding={**best, "guidance_scale": 1.5})
    save_pretrained(replace(model, description=description), folder)
    for steps in (2, 3):  # begun, and gone on with
        train(finetune(tmp_path / "run", tone_manifests, folder, steps))
        tuned = load_model(tmp_path / "run/checkpoints/last.ckpt")
        assert tuned.step == steps and tuned.description.decoding == best
    train(finetune(tmp_path / "other", tone_manifests, folder, 2, "model.reduction_factor=2"))
    assert load_model(tmp_path / "other/checkpoints/last.ckpt").description.decoding == {}


def _paces(model: LoadedModel) -> dict:
    """What the data says, which may be others'."""
    return {"pace": model.description.network["pace"]}


def test_a_run_goes_on_by_itself_where_its_beginning_is_gone(tmp_path, tone_manifests, base, losses):
    moved = tmp_path / "base.ckpt"
    moved.write_bytes(base.read_bytes())
    train(finetune(tmp_path / "run", tone_manifests, moved, 2, "model.dropout=0.25"))
    moved.unlink()
    train(finetune(tmp_path / "run", tone_manifests, moved, 4))
    model = load_model(tmp_path / "run/checkpoints/last.ckpt")
    assert model.step == 4 and len(losses) == 4 and model.description.network["dropout"] == 0.25
    # What is said to be otherwise is an error, as in any run.
    with pytest.raises(UserError, match=r"other settings \(dropout\)"):
        train(finetune(tmp_path / "run", tone_manifests, moved, 6, "model.dropout=0.1"))


def test_what_is_said_wins(tmp_path, tone_manifests, base):
    options = ("model.dropout=0.1", "model.reduction_factor=2", "data.mel.floor=1e-9", "tokenizer=characters")
    cfg = fill_from_checkpoint(finetune(tmp_path, tone_manifests, base, 2, *options))
    assert (cfg.model.dropout, cfg.model.reduction_factor, cfg.data.reduction_factor) == (0.1, 2, 2)
    assert (cfg.data.mel.floor, cfg.data.mel.f_max, cfg.model.latent_layers) == (1e-9, 7000, 2)
    assert "checkpoint" not in cfg.tokenizer and cfg.model.position == "paced" and list(cfg.model.guided_layers) == [1]


def test_every_setting_of_the_network_can_be_inherited():
    inherited, data_says = OmegaConf.load(f"{CONF}/model/from_checkpoint.yaml"), {"vocab_size", "n_mels", "pace"}
    arguments = {*signature(Melle).parameters} - data_says - {"mel_mean", "mel_std"} | {"normalise_mel"}
    assert inherited.keys() == arguments
    assert {name for name, value in inherited.items() if value is not None} == {"gradient_checkpointing"}


def test_a_network_of_few_words_has_the_defaults_for_the_rest(tmp_path, tone_manifests, tiny_checkpoint):
    cfg = fill_from_checkpoint(finetune(tmp_path, tone_manifests, tiny_checkpoint, 2))
    assert (cfg.model.width, cfg.model.normalise_mel, cfg.model.latent_layers) == (16, False, 3)


def test_without_a_checkpoint_it_is_asked_for(tmp_path, tone_manifests):
    with pytest.raises(UserError, match=r"^model\.block and \d+ more settings are left .*init_from=PATH$"):
        train(finetune(tmp_path, tone_manifests, None, 2))
    with pytest.raises(UserError, match=r"^model\.width is left to a checkpoint"):
        train(configure(tmp_path, tone_manifests, 2, "model.width=null"))
    with pytest.raises(UserError, match=r"tokenizer=from_checkpoint: .*init_from=PATH"):
        train(configure(tmp_path, tone_manifests, 2, "tokenizer=from_checkpoint", "optim.schedule.warmup_steps=1"))
    with pytest.raises(UserError, match="no such checkpoint"):
        train(finetune(tmp_path, tone_manifests, tmp_path / "gone.ckpt", 2))


def test_another_checkpoint_at_the_same_place_gives_its_own_tokenizer(tmp_path, tone_manifests, tiny_checkpoint):
    fit, manifest = partial(tokenizer_of, checkpoint=str(tiny_checkpoint)), tone_manifests / "train.jsonl"
    model = load_model(tiny_checkpoint)
    save_model(tiny_checkpoint, model)
    first = open_tokenizer(manifest, fit, tmp_path / "index")
    assert first.as_dict() == open_tokenizer(manifest, fit, tmp_path / "index").as_dict()
    assert first.as_dict() == model.description.tokenizer.as_dict()
    assert len([path for path in (tmp_path / "index").iterdir() if path.is_dir()]) == 1
    size = tiny_checkpoint.stat().st_size
    words = [word[::-1] for word in first.symbols]  # as many and as long, so that the file's size tells nothing
    other = SymbolTokenizer("words", words)
    values = {**vars(model.description), "tokenizer": other}
    save_model(tiny_checkpoint, LoadedModel(model.network, type(model.description)(**values), 7))
    assert open_tokenizer(manifest, fit, tmp_path / "index").as_dict() == other.as_dict() != first.as_dict()
    assert tiny_checkpoint.stat().st_size == size


def test_texts_that_the_checkpoint_cannot_express_are_skipped_and_logged(
    tmp_path, tone_manifests, base, seen, capsys, caplog
):
    lines = [json.loads(line) for line in (tone_manifests / "train.jsonl").read_text().splitlines()]
    for item in lines:
        item["audio_path"] = str(tone_manifests / item["audio_path"])
    for number, text in ((0, "hello"), (4, "two elephants")):
        lines[number]["transcription"] = text
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("".join(json.dumps(item) + "\n" for item in lines))
    train(finetune(tmp_path / "run", tone_manifests, base, 3, f"data.train={mixed}"))
    printed = capsys.readouterr().err + caplog.text
    ids = {item["id"] for item in lines}
    assert {id for batch in seen for row in batch for id in row} == ids - {lines[0]["id"], lines[4]["id"]}
    assert "never learned: 'hello'" in printed and f"{mixed}: 2 of 18 utterances skipped (2 unknown text)" in printed
    assert "not taken" not in printed
    listed = [json.loads(line) for line in (tmp_path / "run/skipped_items/train.jsonl").read_text().splitlines()]
    assert [(item["line"], item["kind"]) for item in listed] == [(1, "unknown text"), (5, "unknown text")]
    with pytest.raises(UserError, match=rf"2 of 18 .*: python -m melle check {mixed} --tokenizer {base}"):
        train(finetune(tmp_path / "other", tone_manifests, base, 3, f"data.train={mixed}", "data.max_skipped=0"))
