"""HuBERT of torchaudio's pipelines: the pipeline's own code on a tiny random model."""

from itertools import groupby

import pytest
import torch
import torchaudio

from melle.errors import UserError
from melle.evaluation.torchaudio_asr import HubertPipelineAsr

PARAMS = {
    "extractor_mode": "layer_norm",
    "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 4), (8, 4, 4)],
    "extractor_conv_bias": True,
    "encoder_embed_dim": 16,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 4,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 1,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 16,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": True,
    "encoder_layer_drop": 0.1,
    "aux_num_out": 29,
}


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """The file of a tiny pipeline, which takes the large one's place; with three outputs more, as there."""
    large = torchaudio.pipelines.HUBERT_ASR_LARGE
    tiny = torchaudio.pipelines.Wav2Vec2ASRBundle(
        _path="tiny.pth",
        _params=PARAMS,
        _sample_rate=16000,
        _normalize_waveform=True,
        _model_type="Wav2Vec2",
        _labels=large.get_labels()[1:],
    )
    monkeypatch.setattr(torchaudio.pipelines, "HUBERT_ASR_LARGE", tiny)
    state = torchaudio.models.wav2vec2_model(**{**PARAMS, "aux_num_out": 32}).state_dict()
    state["aux.weight"] *= 50
    state["aux.bias"][1:4] = 1e4  # must not win
    path = tmp_path / "hub" / "checkpoints" / "tiny.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return path


def naive(weights, waveform):
    """Layer norm of the clip, the model, and greedy CTC, by hand."""
    state = torch.load(weights)
    kept = [0, *range(4, 32)]
    state |= {name: state[name][kept] for name in ("aux.weight", "aux.bias")}
    model = torchaudio.models.wav2vec2_model(**PARAMS).eval()
    model.load_state_dict(state)
    centred = waveform - waveform.mean()
    with torch.inference_mode():
        frames = model((centred / (centred.square().mean() + 1e-5).sqrt())[None])[0][0].argmax(1).tolist()
    text = "".join("-|ETAONIHSRDLUMWCFGYPBVK'XJQZ"[label] for label, _ in groupby(frames))
    return text.replace("-", "").replace("|", " ").strip()


def test_texts_are_those_of_a_naive_reading(weights):
    asr = HubertPipelineAsr(weights, device="cpu")
    waveforms = [torch.randn(n) * 0.1 for n in (4000, 12000, 1700)]
    texts = [transcript.text for transcript in asr.transcribe(waveforms, 16000)]
    assert texts == [naive(weights, waveform) for waveform in waveforms]
    assert len(set(texts)) == 3 and any(" " in text for text in texts)


def test_greedy_ctc_joins_repetitions_unless_a_blank_parts_them(weights):
    asr = HubertPipelineAsr(weights, device="cpu")
    labels = [asr.labels.index(letter) for letter in "||-HHEL-LL--LO|-|A"]
    assert asr._read(torch.tensor(labels)) == "HELLLO  A"
    assert asr.normalise("HELLLO  A") == "helllo a"
    assert asr._read(torch.zeros(5, dtype=torch.long)) == ""


def test_other_rates_and_clips_with_no_sound_in_them(weights):
    asr = HubertPipelineAsr(weights, device="cpu", normaliser="digits")
    assert asr.settings == {"weights": str(weights), "normaliser": "digits"} and asr.name == "hubert-large"
    sound = torch.randn(6000)
    empty, short, text = (t.text for t in asr.transcribe([torch.zeros(0), torch.zeros(9), sound], 8000))
    assert (empty, short) == ("", "")
    assert text == naive(weights, torchaudio.functional.resample(sound, 8000, 16000))
    assert text != naive(weights, sound)


def test_without_a_file_torchaudio_finds_its_own(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    sound = torch.randn(6000)
    (heard,) = HubertPipelineAsr(device="cpu").transcribe([sound], 16000)
    assert heard.text == naive(weights, sound) != ""


def test_weights_that_cannot_be_read_ask_for_a_file(weights, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"weights=.*nowhere\.pth: there is no such file; download .* by weights=FILE$"):
        HubertPipelineAsr(tmp_path / "nowhere.pth", device="cpu")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not weights")
    other = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.zeros(2)}, other)
    for path in (broken, other):
        with pytest.raises(UserError, match=rf"weights=.*{path.name}: cannot be loaded \(.*by weights=FILE$"):
            HubertPipelineAsr(path, device="cpu")

    def fetch(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(UserError, match=r"^HuBERT: cannot be loaded \(OSError: no network\); download https://"):
        HubertPipelineAsr(device="cpu")
