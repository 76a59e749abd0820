"""Recognisers of transformers: tiny random models in folders, run by the real classes and written out naively."""

from itertools import groupby

import pytest
import torch
import torchaudio
import transformers
from small_recognisers import LETTERS, WORDS, save_ctc, save_speech2text, save_whisper

from melle.errors import UserError
from melle.evaluation.judges.hf import HfRecogniser


@torch.inference_mode()
def naive_ctc(folder, waveforms):
    """Every clip by itself: zero mean, unit variance, the best label of each frame, repetitions joined, blanks out."""
    model = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    texts = []
    for waveform in waveforms:
        scaled = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
        letters = [LETTERS[label] for label, _ in groupby(model(scaled[None]).logits[0].argmax(1).tolist())]
        texts.append("".join(letter for letter in letters if letter != "<pad>").replace("|", " ").strip())
    return texts


@torch.inference_mode()
def naive_decoder(folder, waveform, prompt, most):
    """The likeliest token, again and again, to the end or to so many."""
    model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    features = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt").input_features
    said = []
    while len(said) < most:
        token = int(model(features, decoder_input_ids=torch.tensor([prompt + said])).logits[0, -1].argmax())
        if token == 16:
            break
        said.append(token)
    return " ".join(WORDS[token] for token in said if token < 16)


def naive_whisper(folder, waveform, prompt):
    """Ten tokens and ten a second, and with the prompt no more than it has positions."""
    return naive_decoder(folder, waveform, prompt, min(10 + len(waveform) / 1600, 40 - len(prompt)))


def sounds(*seconds):
    return [torch.randn(int(16000 * s)) * torch.rand(1) for s in seconds]


def texts(asr, waveforms, rate=16000):
    return [transcript.text for transcript in asr.transcribe(waveforms, rate)]


@pytest.mark.parametrize(
    ("kind", "norm"), [("Hubert", "layer"), ("Wav2Vec2", "layer"), ("WavLM", "layer"), ("Wav2Vec2", "group")]
)
def test_ctc_models_are_decoded_greedily(tmp_path, kind, norm):
    folder = save_ctc(tmp_path, kind, norm)
    waveforms = sounds(0.6, 2.0, 0.11, 1.3, 0.5, 0.3)
    asr = HfRecogniser(str(folder), device="cpu")
    found = texts(asr, waveforms)
    assert found == naive_ctc(folder, waveforms)
    assert len(set(found)) == 6 and any(" " in text for text in found)
    assert texts(asr, waveforms[::-1]) == found[::-1]


def test_other_rates_and_clips_with_no_sound_in_them(tmp_path):
    folder = save_ctc(tmp_path, "Hubert", "layer")
    asr = HfRecogniser(str(folder), device="cpu")
    (sound,) = sounds(0.8)
    resampled = torchaudio.functional.resample(sound, 24000, 16000)
    found = texts(asr, [torch.zeros(0), sound, torch.zeros(3), sound[:1200]], 24000)
    assert found == ["", *naive_ctc(folder, [resampled]), "", ""]
    assert found[1] != texts(asr, [sound])[0]
    assert texts(asr, []) == []


@pytest.mark.parametrize(("language", "prompt"), [("de", [17, 18, 20, 22]), ("en", [17, 19, 20, 22])])
def test_whisper_generates_in_the_language_given(tmp_path, caplog, language, prompt):
    folder = save_whisper(tmp_path)
    asr = HfRecogniser(str(folder), device="cpu", language=language)
    assert asr.settings["language"] == language and not asr.is_ctc
    waveforms = sounds(0.5, 1.9, 0.2)
    found = texts(asr, [*waveforms, torch.zeros(0)])
    assert found == [*(naive_whisper(folder, waveform, prompt) for waveform in waveforms), ""]
    assert any(found) and "max_new_tokens" not in caplog.text  # of which it would warn at every clip


def test_an_english_whisper_takes_no_language_and_long_sound_in_windows(tmp_path):
    folder = save_whisper(tmp_path, multilingual=False)
    asr = HfRecogniser(str(folder), device="cpu", language="en")
    (sound,) = sounds(5.05)
    windows = [naive_whisper(folder, window, [17, 22]) for window in sound.split(32000)]
    assert texts(asr, [sound]) == [" ".join(windows).strip()]
    assert texts(asr, [sound[: 32000 * 2 + 1500]]) == [" ".join(windows[:2]).strip()]  # what is over is too short


def test_other_decoders_do_not_sample(tmp_path):
    folder = save_speech2text(tmp_path)
    asr = HfRecogniser(str(folder), device="cpu", language="en")
    waveforms = sounds(0.5, 1.5, 0.2)
    found = texts(asr, waveforms)
    assert found == [naive_decoder(folder, waveform, [17], 9 + len(waveform) / 1600) for waveform in waveforms]
    assert len(set(found)) == 3


def test_name_settings_and_weights(tmp_path):
    folder = save_ctc(tmp_path / "tiny-hubert", "Hubert", "layer")
    asr = HfRecogniser(str(folder), device="cpu", normaliser="basic", dtype="bfloat16")
    expected = {"model": str(folder), "revision": None, "language": None, "dtype": "bfloat16", "device": "cpu"}
    assert asr.name == "tiny-hubert" and asr.settings == expected | {"normaliser": "basic"}
    assert asr.normalise("It's!") == "it s"
    assert next(asr.pipeline.model.parameters()).dtype == torch.bfloat16
    assert len(texts(asr, sounds(0.5, 0.7))) == 2


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    with pytest.raises(UserError, match=rf"^model={tmp_path}: .*cannot be loaded \(.*\); .* by model=FOLDER$") as error:
        HfRecogniser(str(tmp_path), device="cpu")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="dtype=int4"):
        HfRecogniser(str(tmp_path), dtype="int4")


def test_models_that_are_no_recognisers_are_refused(tmp_path):
    folder = save_ctc(tmp_path / "ctc", "Hubert", "layer")
    transformers.HubertModel.from_pretrained(folder).save_pretrained(tmp_path / "ctc")
    with pytest.raises(UserError, match=r"has no lm_head\..*fine-tuned for speech recognition"):
        HfRecogniser(str(folder), device="cpu")
    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="a bert, which is no speech recogniser"):
        HfRecogniser(str(tmp_path / "bert"), device="cpu")
