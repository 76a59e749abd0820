"""UniSpeech's speaker encoder, from a tiny file with random tensors by the original names."""

import re

import pytest
import torch
import torch.nn.functional as F
import torchaudio
from unispeech_file import CONVS, HEADS, INNER, KERNELS, LAYERS, SCALE, SIZE, WAVLM, WIDTH, random_file

from melle.errors import UserError
from melle.evaluation.judges import unispeech
from melle.evaluation.judges.unispeech import WAVLM_LARGE as LARGE
from melle.evaluation.judges.unispeech import Unispeech

transformers = pytest.importorskip("transformers")
WAVLM_SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "conv_dim": [CONVS] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "num_buckets": 32,
}


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(4)
    return random_file()


@pytest.fixture(scope="module")
def path(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save({"model": weights, "best_valid_eer": 0.5}, path)
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """The sizes of the tiny file in the place of the real one's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unispeech, "WAVLM_LARGE", unispeech.WAVLM_LARGE | WAVLM_SIZES)
        yield


@pytest.fixture(scope="module")
def speaker(path, tiny):
    return Unispeech(path, device="cpu")


def naive_ecapa(w, states):
    """States (S, T, WIDTH) to the embedding, operation by operation, in float64."""
    w = {name: value.double() for name, value in w.items()}

    def norm(name, x):
        mean, deviation = w[f"{name}.running_mean"], (w[f"{name}.running_var"] + 1e-5).sqrt()
        return (x - mean[:, None]) / deviation[:, None] * w[f"{name}.weight"][:, None] + w[f"{name}.bias"][:, None]

    def conv(name, x, dilation=1):
        kernel = w[f"{name}.weight"]
        reach = kernel.shape[2] // 2 * dilation
        padded = F.pad(x, (reach, reach))
        taps = [kernel[:, :, n] @ padded[:, n * dilation : n * dilation + x.shape[1]] for n in range(kernel.shape[2])]
        return sum(taps) + w[f"{name}.bias"][:, None]

    def block(name, x):
        return norm(f"{name}.bn", conv(f"{name}.conv", x).relu())

    share = w["feature_weight"].exp() / w["feature_weight"].exp().sum()
    x = sum(part * state.double().T for part, state in zip(share, states)) + 1e-6
    x = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    x = block("layer1", x)
    outputs = []
    for name, dilation in (("layer2", 2), ("layer3", 3), ("layer4", 4)):
        y = block(f"{name}.Conv1dReluBn1", x)
        groups = list(y.chunk(SCALE))
        for n in range(SCALE - 1):
            seen = groups[n] + (groups[n - 1] if n else 0)
            inner = f"{name}.Res2Conv1dReluBn"
            groups[n] = norm(f"{inner}.bns.{n}", conv(f"{inner}.convs.{n}", seen, dilation).relu())
        y = block(f"{name}.Conv1dReluBn2", torch.cat(groups))
        one, two = f"{name}.SE_Connect.linear1", f"{name}.SE_Connect.linear2"
        gate = (w[f"{one}.weight"] @ y.mean(1) + w[f"{one}.bias"]).relu()
        gate = torch.sigmoid(w[f"{two}.weight"] @ gate + w[f"{two}.bias"])
        x = x + y * gate[:, None]
        outputs.append(x)
    x = conv("conv", torch.cat(outputs)).relu()
    attention = conv("pooling.linear2", conv("pooling.linear1", x).tanh()).exp()
    attention = attention / attention.sum(1, keepdim=True)
    mean = (attention * x).sum(1)
    deviation = ((attention * x**2).sum(1) - mean**2).clamp(min=1e-9).sqrt()
    x = norm("bn", torch.cat([mean, deviation])[:, None])[:, 0]
    return (w["linear.weight"] @ x + w["linear.bias"]).float()


def original_name(name):
    """From transformers' name of a parameter of WavLM to the original's."""
    if name == "masked_spec_embed":
        return "mask_emb"
    name = re.sub(r"feature_projection\.layer_norm", "layer_norm", name)
    name = re.sub(r"feature_projection\.projection", "post_extract_proj", name)
    name = re.sub(r"(conv_layers\.\d)\.conv", r"\1.0", name)
    name = re.sub(r"(conv_layers\.\d)\.layer_norm", r"\1.2.1", name)
    name = re.sub(r"pos_conv_embed\.conv", "pos_conv.0", name)
    name = re.sub(r"parametrizations\.weight\.original0", "weight_g", name)
    name = re.sub(r"parametrizations\.weight\.original1", "weight_v", name)
    name = re.sub(r"(layers\.\d)\.layer_norm", r"\1.self_attn_layer_norm", name)
    name = re.sub(r"(layers\.\d)\.attention\.", r"\1.self_attn.", name)
    name = name.replace("gru_rel_pos_linear", "grep_linear").replace("gru_rel_pos_const", "grep_a")
    name = name.replace("rel_attn_embed", "relative_attention_bias")
    return name.replace("feed_forward.intermediate_dense", "fc1").replace("feed_forward.output_dense", "fc2")


def naive_states(weights, samples):
    """What the original gives its users: the input of every layer, then the encoder's output after its norm."""
    config = transformers.WavLMConfig(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        conv_dim=[CONVS] * 7,
        conv_kernel=list(KERNELS),
        conv_stride=[5, 2, 2, 2, 2, 2, 2],
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4,
        num_buckets=32,
        max_bucket_distance=800,
    )
    model = transformers.WavLMModel(config).eval()
    model.load_state_dict({name: weights[WAVLM + original_name(name)] for name in model.state_dict()})
    states = []
    for layer in model.encoder.layers:
        layer.register_forward_pre_hook(
            lambda _, positional, named: states.append(positional[0] if positional else named["hidden_states"]),
            with_kwargs=True,
        )
    model.encoder.layer_norm.register_forward_hook(lambda _, inputs, output: states.append(output))
    with torch.no_grad():
        samples = (samples - samples.mean()) / (samples.var(unbiased=False) + 1e-5).sqrt()
        model(samples[None])
    assert len(states) == LAYERS + 1
    return torch.cat(states)


def test_hidden_states_are_the_originals(speaker, weights):
    samples = 0.1 * torch.randn(8000)
    with torch.no_grad():
        states = speaker.states(samples)
    assert states.shape == (LAYERS + 1, 24, WIDTH)
    torch.testing.assert_close(states, naive_states(weights, samples), atol=1e-4, rtol=1e-4)


def test_embedding_is_the_originals(speaker, weights, path):
    samples = 0.1 * torch.randn(8000)
    expected = naive_ecapa(weights, naive_states(weights, samples))
    embedding = speaker.embed(samples, 16000)
    assert float(embedding.norm()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(embedding, expected / expected.norm(), atol=1e-4, rtol=1e-3)
    assert speaker.name == "wavlm-large-ecapa" and speaker.settings["checkpoint"] == path


def test_volume_is_no_matter_but_the_sound_is(speaker):
    samples = 0.2 * torch.randn(6000)
    embedding = speaker.embed(samples, 16000)
    torch.testing.assert_close(speaker.embed(samples, 16000), embedding)
    torch.testing.assert_close(speaker.embed(0.5 * samples, 16000), embedding, atol=1e-3, rtol=0)
    assert (speaker.embed(samples.flip(0), 16000) - embedding).abs().max() > 1e-2
    resampled = torchaudio.functional.resample(samples, 24000, 16000)
    torch.testing.assert_close(speaker.embed(samples, 24000), speaker.embed(resampled, 16000))


def test_silence_and_short_clips(speaker):
    for clip in (torch.zeros(0), torch.zeros(9000), torch.full((9000,), torch.nan)):
        assert speaker.embed(clip, 24000).tolist() == [0.0] * SIZE
    clip = 0.1 * torch.randn(100)
    padded = torch.cat([clip, torch.zeros(620)])  # 720 samples are two frames
    torch.testing.assert_close(speaker.embed(clip, 16000), speaker.embed(padded, 16000))
    assert float(speaker.embed(clip, 16000).norm()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer3.SE_Connect.linear2.bias": None}, "KeyError: .layer3.SE_Connect.linear2.bias"),
        ({f"{WAVLM}encoder.layers.2.fc1.bias": None}, "Missing.*layers.2.feed_forward.intermediate_dense.bias"),
        ({"linear.bias": torch.zeros(SIZE + 1)}, "RuntimeError: "),
        ({f"{WAVLM}odd": torch.zeros(3)}, "Unexpected.*odd"),
        ({f"{WAVLM}encoder.pos_conv.0.weight_v": torch.zeros(3)}, "size mismatch for encoder.pos_conv"),
    ],
)
def test_other_tensors_are_refused(tmp_path, weights, change, message):
    changed = {name: value for name, value in (weights | change).items() if value is not None}
    torch.save({"model": changed}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=message) as caught:
        Unispeech(str(tmp_path / "other.pth"), "cpu")
    assert str(caught.value).startswith("checkpoint=") and "\n" not in str(caught.value)


def test_the_sizes_are_those_of_the_published_checkpoint():
    """Of WavLM-Large as it is on the hub."""
    large = transformers.WavLMConfig(**LARGE)
    assert (large.hidden_size, large.num_hidden_layers, large.num_attention_heads) == (1024, 24, 16)
    assert large.intermediate_size == 4096 and large.num_buckets == 320 and large.max_bucket_distance == 800
    assert list(large.conv_kernel) == list(KERNELS) and list(large.conv_stride) == [5, 2, 2, 2, 2, 2, 2]
    assert set(large.conv_dim) == {512} and not large.conv_bias and large.num_conv_pos_embedding_groups == 16


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.pth").write_text("no tensors")
    torch.save({"weights": {}}, tmp_path / "other.pth")
    for name in ("missing.pth", "text.pth", "other.pth", "."):
        with pytest.raises(UserError, match=r"cannot be loaded .*give the path of wavlm_large_finetune\.pth"):
            Unispeech(str(tmp_path / name), "cpu")
