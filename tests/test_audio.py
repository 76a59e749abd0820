"""The mel against transformers' SpeechT5FeatureExtractor, which is the paper's feature; files in and out."""

import logging

import numpy as np
import pytest
import soundfile
import torch
from transformers import SpeechT5FeatureExtractor

from melle.audio import LogMel, MelSpec, audio_duration, load_audio, resample, save_audio
from melle.errors import DataError, UserError
from tests.conftest import install_ffmpeg


def speech_like(samples: int) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    voice = sum(torch.sin(2 * torch.pi * 120 * k * time) / k for k in range(1, 40))
    return 0.1 * voice * (1 + torch.sin(2 * torch.pi * 4 * time)) + 0.001 * torch.randn(samples)


@pytest.mark.parametrize(
    "waveform",
    [
        speech_like(32000),
        speech_like(16001),
        speech_like(700),  # shorter than a window
        speech_like(300),  # shorter than half a window: mirrored more than once
        torch.zeros(8000),
        (3 * speech_like(16000)).clamp(-1, 1),  # clipped
    ],
    ids=["two seconds", "odd length", "short", "very short", "silence", "clipped"],
)
def test_log_mel_is_speecht5s(waveform):
    extractor = SpeechT5FeatureExtractor()
    expected = extractor(audio_target=waveform.numpy(), sampling_rate=16000)["input_values"][0]
    actual = LogMel()(waveform)
    assert actual.shape == expected.shape
    assert np.abs(actual.numpy() - expected).max() < 1e-4


def test_log_mel_of_a_pure_tone_is_speecht5s():
    """Far from the tone the window's side lobes cancel to what float32 leaves: there magnitudes agree absolutely."""
    waveform = 0.5 * torch.sin(torch.arange(16000) / 7)
    expected = SpeechT5FeatureExtractor()(audio_target=waveform.numpy(), sampling_rate=16000)["input_values"][0]
    actual = LogMel()(waveform).numpy()
    assert np.abs(10**actual - 10**expected).max() < 1e-5
    assert np.abs(actual - expected)[expected > -4].max() < 1e-3


def test_log_mel_of_real_speech_is_speecht5s(real_speech):
    extractor = SpeechT5FeatureExtractor()
    for _, waveform in real_speech:
        expected = extractor(audio_target=waveform.numpy(), sampling_rate=16000)["input_values"][0]
        assert np.abs(LogMel()(waveform).numpy() - expected).max() < 1e-4


def test_floor_and_shape():
    spec = MelSpec(floor=1e-5)
    mel = LogMel(spec)(torch.zeros(1000))
    assert mel.shape == (1 + 1000 // 256, 80)
    assert torch.allclose(mel, torch.full_like(mel, -5.0))


def test_audio_survives_a_round_trip(tmp_path):
    waveform = speech_like(4000)
    for name in ("a.wav", "a.flac"):
        save_audio(tmp_path / name, waveform, 16000)
        assert (load_audio(tmp_path / name, 16000) - waveform).abs().max() < 1e-4
    assert not list(tmp_path.glob("*.partial"))


def test_stereo_at_another_rate_becomes_mono_at_ours(tmp_path):
    time = np.arange(44100) / 44100
    left = np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "s.wav", np.stack([left, left], axis=1), 44100)
    waveform = load_audio(tmp_path / "s.wav", 16000)
    assert waveform.shape == (16000,)
    spectrum = torch.fft.rfft(waveform).abs()
    assert spectrum.argmax() == 440


@pytest.mark.parametrize("content", [None, b"", b"not sound at all"])
def test_unreadable_audio_is_a_user_error(tmp_path, content):
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.wav"):
        load_audio(path, 16000)


@pytest.mark.parametrize("ending", ["ogg", "flac", "mp3"])
def test_minutes_of_sound_are_written_in_every_format(tmp_path, ending):
    seconds = 240
    sound = 0.1 * torch.sin(torch.arange(seconds * 16000) / 10)
    sound[1000] = torch.nan
    save_audio(tmp_path / f"long.{ending}", sound, 16000)
    read = load_audio(tmp_path / f"long.{ending}", 16000)
    assert len(read) == pytest.approx(len(sound), abs=3000) and 0.05 < float(read.abs().max()) < 0.2


def test_unknown_format_writes_nothing(tmp_path):
    with pytest.raises(UserError, match="end the name in"):
        save_audio(tmp_path / "x.xyz", torch.zeros(10), 16000)
    assert not list(tmp_path.iterdir())


def test_sound_on_another_scale_and_of_odd_rates_is_refused(tmp_path):
    wave = np.sin(np.arange(8000) / 10).astype(np.float32)
    soundfile.write(tmp_path / "loud.wav", wave * 8000, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "odd.wav", wave, 44101)
    soundfile.write(tmp_path / "over.wav", wave * 2, 16000, subtype="FLOAT")
    for name, kind in (("loud", "too loud"), ("odd", "odd rate")):
        with pytest.raises(DataError) as caught:
            load_audio(tmp_path / f"{name}.wav", 16000)
        assert caught.value.kind == kind
    assert load_audio(tmp_path / "over.wav", 16000).max() > 1.9
    with pytest.raises(DataError, match=r"0\.50 s where 0\.40 s are planned"):
        load_audio(tmp_path / "over.wav", 16000, 0.4)


@pytest.mark.parametrize(
    ("channels", "gain"),
    [((1, -1), 1.0), ((1, 0), 1.0), ((0, 0.5), 0.5), ((1, 1), 1.0), ((1, 0.9), 0.95), ((0, 0, 1, 0, 0, 0), 1.0)],
)
def test_channels_that_cancel_are_not_averaged(tmp_path, channels, gain, caplog):
    wave = 0.4 * np.sin(np.arange(8000) / 10)
    soundfile.write(tmp_path / "s.wav", np.stack([wave * factor for factor in channels], axis=1), 16000, "FLOAT")
    with caplog.at_level(logging.INFO):
        read = load_audio(tmp_path / "s.wav", 16000)
    assert np.abs(read.numpy() - gain * wave).max() < 1e-6
    averaged = gain == pytest.approx(np.mean(channels))
    assert len(caplog.records) == (0 if averaged else 1)


def test_unrelated_channels_are_averaged(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((16000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "s.wav", noise, 16000, "FLOAT")
    assert np.abs(load_audio(tmp_path / "s.wav", 16000).numpy() - noise.mean(axis=1)).max() < 1e-6


def test_resampling_keeps_a_tone_and_does_nothing_at_one_rate():
    wave = torch.sin(torch.arange(8000) / 8000 * 2 * torch.pi * 440)
    assert resample(wave, 8000, 8000) is wave
    expected = torch.sin(torch.arange(16000) / 16000 * 2 * torch.pi * 440)
    assert (resample(wave, 8000, 16000) - expected)[100:-100].abs().max() < 1e-2


def test_what_libsndfile_cannot_read_goes_through_ffmpeg_or_says_how(tmp_path, monkeypatch):
    """With a stand-in for FFmpeg, that writes the same sound whatever it is given but for a broken file."""
    soundfile.write(tmp_path / "decoded.wav", np.full(8000, 0.25), 8000, "FLOAT")
    recording, broken = tmp_path / "my voice.m4a", tmp_path / "broken.m4a"
    recording.write_bytes(b"ftypM4A"), broken.write_bytes(b"ftypM4A")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DataError, match=r"install FFmpeg, or convert .*: ffmpeg -i '.*my voice.m4a' '.*my voice.wav'"):
        load_audio(recording, 16000)
    install_ffmpeg(tmp_path, monkeypatch)
    read = load_audio(recording, 16000)
    assert len(read) == 16000 and (read[100:-100] - 0.25).abs().max() < 1e-2
    assert audio_duration(recording) == 1.0
    with pytest.raises(DataError, match=r"1\.00 s where 0\.40 s are planned"):
        load_audio(recording, 16000, 0.4)
    with pytest.raises(DataError, match="FFmpeg cannot read it either"):
        audio_duration(broken)
