"""What a model predicts of recordings, against its decoding loop, and how it is kept."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from melle.audio import LogMel, MelSpec, load_audio, save_audio
from melle.checkpoint import LoadedModel, load_model, save_model
from melle.cli import main
from melle.data.features import FeatureStore
from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.errors import DataError, UserError
from melle.model import Melle
from melle.training.predictions import Predictor, predict_manifests


@pytest.fixture
def no_chance(tiny_checkpoint):
    """A model whose pre-net drops nothing and whose latent is its mean."""
    model = load_model(tiny_checkpoint)
    model.description.network.update(prenet_dropout=0.0, latent_sampling=False)
    torch.manual_seed(2)
    for parameter in model.network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    save_model(tiny_checkpoint, model)
    return tiny_checkpoint


@pytest.mark.parametrize("samples", [4000, 7937, 16000])
def test_each_step_is_predicted_from_the_true_frames_before_it(no_chance, tmp_path, samples):
    waveform = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    found = Predictor(no_chance)(Utterance("two four", tmp_path / "a.wav", "a"), waveform)

    model = load_model(no_chance)
    network, mel = model.network, LogMel()(waveform)
    assert found.shape == mel.shape
    true = torch.cat((mel, torch.zeros(-len(mel) % 4, 80)))  # as batches are padded
    text = torch.tensor([[*model.description.tokenizer.encode("two four"), 1]])
    caches = network.make_caches(1, text.shape[1] + 1 + len(true) // 4)
    nothing = torch.zeros(1, 0, 80), torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        lengths = torch.tensor([text.shape[1]])
        state, frames, _ = network.prefill(caches, text, lengths, torch.zeros_like(text), *nothing)
        steps = [frames]
        for step in range(len(true) // 4 - 1):
            frames, _ = network.step(caches, state, true[None, 4 * step : 4 * step + 4])
            steps.append(frames)
        spoken = torch.cat(steps, 1)[:, : len(mel)]
        expected = network.refine(spoken, torch.ones(1, len(mel), dtype=torch.bool))[0].clamp(min=-10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_run_goes_on_and_lists_what_it_cannot_predict(no_chance, tone_manifests, tmp_path, capsys):
    utterances = read_manifest(tone_manifests / "val.jsonl")
    write_manifest(tmp_path / "some.jsonl", utterances[:2])
    foreign = Utterance("eleven", utterances[3].audio_path, "foreign")
    command = ["prepare", "predictions", "--checkpoint", str(no_chance), "-o", str(tmp_path / "made"), "--workers", "1"]
    assert main([*command, "--manifest", str(tmp_path / "some.jsonl")]) == 0
    assert "made predictions of 2 recordings" in capsys.readouterr().out
    write_manifest(tmp_path / "all.jsonl", [*utterances[:3], foreign])
    assert main([*command, "--manifest", str(tmp_path / "all.jsonl")]) == 0
    assert "1 recordings" in (said := capsys.readouterr().out) and "2 were there, 1 skipped (1 unknown text" in said
    store = FeatureStore(tmp_path / "made", MelSpec(), predicted=True)
    (skipped,) = (store.folder / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(skipped)["utterance"] == "foreign"
    for utterance in utterances[:3]:
        waveform = load_audio(utterance.audio_path, 16000)
        expected = Predictor(no_chance)(utterance, waveform)
        torch.testing.assert_close(store.get(utterance.audio_path), expected, rtol=1e-3, atol=4e-3)
    assert FeatureStore(tmp_path / "made", MelSpec()).get(utterances[0].audio_path) is None  # no features for training


def test_chance_is_the_same_in_every_run(tiny_checkpoint, tone_manifests):
    utterance = read_manifest(tone_manifests / "val.jsonl")[0]
    waveform, predictor = load_audio(utterance.audio_path, 16000), Predictor(tiny_checkpoint)
    assert torch.equal(predictor(utterance, waveform), predictor(utterance, waveform))


def test_two_models_do_not_share_a_folder(tiny_checkpoint, tone_manifests, tmp_path):
    manifests = [tone_manifests / "val.jsonl"]
    predict_manifests(manifests, tiny_checkpoint, tmp_path / "made", workers=1)
    shutil.copy(tiny_checkpoint, tmp_path / "copy.ckpt")  # is the same model
    assert predict_manifests(manifests, tmp_path / "copy.ckpt", tmp_path / "made", workers=1).made == 0
    model = load_model(tiny_checkpoint)
    torch.nn.init.zeros_(model.network.stop.weight)
    save_model(tmp_path / "other.ckpt", model)
    with pytest.raises(UserError, match=r"holds what another model predicted .*step 7.*another folder"):
        predict_manifests(manifests, tmp_path / "other.ckpt", tmp_path / "made", workers=1)


def test_the_latent_is_drawn_at_the_temperature_at_which_the_model_speaks(tiny_checkpoint, tone_manifests):
    utterance = read_manifest(tone_manifests / "val.jsonl")[0]
    waveform = load_audio(utterance.audio_path, 16000)
    hot = Predictor(tiny_checkpoint)(utterance, waveform)
    model = load_model(tiny_checkpoint)
    for temperature, same in ((1.0, True), (0.0, False)):
        description = replace(model.description, decoding={"temperature": temperature})
        save_model(tiny_checkpoint, replace(model, description=description))
        assert torch.equal(Predictor(tiny_checkpoint)(utterance, waveform), hot) == same


def test_more_than_the_model_has_positions_for_is_a_fault(tiny_checkpoint, tmp_path):
    arguments = {**load_model(tiny_checkpoint).description.network, "position": "learned", "max_steps": 8}
    description = replace(load_model(tiny_checkpoint).description, network=arguments)
    save_model(tiny_checkpoint, LoadedModel(Melle(**arguments), description, 7))
    with pytest.raises(DataError, match="positions") as error:
        Predictor(tiny_checkpoint)(Utterance("one", tmp_path / "a.wav", "a"), torch.randn(16000))
    assert error.value.kind == "too long"


def test_a_text_that_the_model_does_not_know_is_a_fault(tiny_checkpoint, tmp_path):
    save_audio(tmp_path / "a.wav", 0.1 * torch.randn(4000), 16000)
    with pytest.raises(DataError, match="eleven"):
        Predictor(tiny_checkpoint)(Utterance("eleven", tmp_path / "a.wav", "a"), torch.randn(4000))
