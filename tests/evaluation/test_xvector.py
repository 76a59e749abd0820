"""Speaker encoders of transformers, from a tiny model with random weights."""

import pytest
import torch
import torch.nn.functional as F
import torchaudio

from melle.errors import UserError
from melle.evaluation.judges.speaker import XVector

transformers = pytest.importorskip("transformers")
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 3,
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
HEAD = {
    "tdnn_dim": [12, 12, 20],
    "tdnn_kernel": [5, 3, 1],
    "tdnn_dilation": [1, 2, 1],
    "xvector_output_dim": 6,
    "use_weighted_layer_sum": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("models") / "tiny-sv"
    model = transformers.WavLMForXVector(transformers.WavLMConfig(**SIZES, **HEAD))
    with torch.no_grad():
        model.layer_weights.copy_(torch.randn(3))
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=16000).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def speaker(folder):
    return XVector(str(folder), device="cpu")


def naive(folder, samples):
    """The x-vector (Snyder et al. 2018) of samples (N,), written out over the hidden states of WavLM."""
    model = transformers.WavLMForXVector.from_pretrained(folder).eval()
    with torch.no_grad():
        samples = (samples - samples.mean()) / samples.var(unbiased=False).sqrt()
        states = model.wavlm(samples[None], output_hidden_states=True).hidden_states
        weights = model.layer_weights.exp() / model.layer_weights.exp().sum()
        x = model.projector(sum(weight * state[0] for weight, state in zip(weights, states)))  # (T, 12)
        for layer, kernel, step in zip(model.tdnn, HEAD["tdnn_kernel"], HEAD["tdnn_dilation"]):
            spliced = [x[n : n + len(x) - (kernel - 1) * step] for n in range(0, kernel * step, step)]
            x = torch.cat(spliced, dim=1) @ layer.kernel.weight.T + layer.kernel.bias
            x = x.relu()
        embedding = model.feature_extractor(torch.cat([x.mean(0), x.std(0)]))
    return embedding / embedding.norm()


def test_embedding_is_the_x_vector(folder, speaker):
    samples = 0.1 * torch.randn(4000)
    embedding = speaker.embed(samples, 16000)
    assert embedding.shape == (6,) and embedding.device.type == "cpu"
    assert float(embedding.norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(embedding, naive(folder, samples), atol=1e-5, rtol=1e-4)
    assert speaker.name == "tiny-sv" and speaker.settings == {"model": str(folder), "revision": None, "device": "cpu"}


def test_other_sample_rates_are_resampled(speaker):
    samples = 0.1 * torch.randn(3000)
    expected = speaker.embed(torchaudio.functional.resample(samples, 8000, 16000), 16000)
    torch.testing.assert_close(speaker.embed(samples, 8000), expected)
    assert not torch.allclose(speaker.embed(samples, 16000), expected, atol=1e-3)


def test_no_sound_has_no_voice(speaker):
    for clip in (torch.zeros(0), torch.zeros(5000), torch.full((5000,), 5e-5), torch.full((5000,), torch.nan)):
        assert speaker.embed(clip, 22050).tolist() == [0.0] * 6


def test_short_clips_end_in_silence(folder, speaker):
    # Ten frames for two x-vector frames (5, then 3 two apart): nine strides of 20 samples, and 30 samples of one frame.
    shortest = 9 * 20 + 30
    for length in (1, 50, shortest - 1):
        clip = 0.1 * torch.randn(length)
        expected = naive(folder, torch.cat([clip, torch.zeros(shortest - length)]))
        torch.testing.assert_close(speaker.embed(clip, 16000), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["UniSpeechSat", "Wav2Vec2"])
def test_other_kinds_and_older_files(tmp_path, kind):
    model = getattr(transformers, f"{kind}ForXVector")(getattr(transformers, f"{kind}Config")(**SIZES, **HEAD)).eval()
    model.config.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    older = {"original0": "weight_g", "original1": "weight_v"}  # what weight normalisation called them
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("objective.")}
    for new, old in older.items():
        name = next(name for name in weights if name.endswith(new))
        weights[name.replace(f"parametrizations.weight.{new}", old)] = weights.pop(name)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    samples = 0.1 * torch.randn(2000)
    with torch.no_grad():
        expected = F.normalize(model(samples[None]).embeddings[0], dim=0)
    torch.testing.assert_close(XVector(str(tmp_path), device="cpu").embed(samples, 16000), expected)


def test_what_cannot_be_loaded(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^model=.*cannot be loaded.*local folder$") as caught:
        XVector(str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)
    transformers.WavLMModel(transformers.WavLMConfig(**SIZES, **HEAD)).save_pretrained(tmp_path / "plain")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "plain")
    with pytest.raises(UserError, match=r"has no .*; give a model that was trained for speaker verification"):
        XVector(str(tmp_path / "plain"))
    with pytest.raises(UserError, match=r"^device=nonsense"):
        XVector(str(folder), device="nonsense")
