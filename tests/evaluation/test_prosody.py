"""Pitch statistics of tones whose pitch is known."""

import math

import pytest
import torch

from melle.evaluation.prosody import pitch_statistics

RATE = 16000


def tone(pitch, seconds=2.0, vibrato=0.0, rate=RATE, harmonics=20, slope=1.0):
    """A voice-like tone of full harmonics, whose pitch swings by ``vibrato`` semitones five times a second."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    phase = 2 * math.pi * (pitch * 2 ** (vibrato / 12 * (2 * math.pi * 5 * time).sin())).cumsum(0) / rate
    highest = int(rate / 2 / pitch / 2 ** (vibrato / 12))
    wave = sum((n * phase).sin() / n**slope for n in range(1, min(harmonics, highest) + 1))
    return (0.3 * wave / wave.abs().max()).float()


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("pitch", [65, 80, 130, 200, 290, 400, 460])
def test_pitch_and_its_swing(pitch, slope):
    found = pitch_statistics(tone(pitch, vibrato=1.0, slope=slope), RATE)
    assert found["pitch"] == pytest.approx(pitch, rel=0.01)
    assert found["pitch_deviation"] == pytest.approx(1 / math.sqrt(2), rel=0.05)  # of a sine of height 1
    assert found["voiced"] > 0.95


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 48000])
def test_any_sample_rate(rate):
    found = pitch_statistics(tone(180, rate=rate), rate)
    assert found["pitch"] == pytest.approx(180, rel=0.002)
    assert found["pitch_deviation"] < 0.02


@pytest.mark.parametrize("pitch", [80, 150, 300, 400])
def test_noise_at_20_db_changes_little(pitch):
    wave = tone(pitch, vibrato=0.5)
    found = pitch_statistics(wave + 0.1 * wave.std() * torch.randn(len(wave)), RATE)
    assert found["pitch"] == pytest.approx(pitch, rel=0.01)
    assert found["pitch_deviation"] == pytest.approx(0.5 / math.sqrt(2), rel=0.05)


def test_weak_odd_harmonics_do_not_double_the_pitch_nor_a_missing_fundamental():
    time = torch.arange(RATE) / RATE
    one, two, three = ((2 * math.pi * n * 200 * time).sin() for n in (1, 2, 3))
    assert pitch_statistics(0.3 * one + two + 0.3 * three, RATE)["pitch"] == pytest.approx(200, rel=0.002)
    assert pitch_statistics(two + three, RATE)["pitch"] == pytest.approx(200, rel=0.002)


def test_share_of_voiced_frames():
    wave = tone(200, seconds=1)
    rest = {"silence": torch.zeros(RATE), "noise": 0.1 * torch.randn(RATE), "hum": 1e-3 * tone(100, seconds=1)}
    for what, sound in rest.items():
        found = pitch_statistics(torch.cat([wave, sound]), RATE)
        assert found["voiced"] == pytest.approx(0.5, abs=0.03), what
        assert found["pitch"] == pytest.approx(200, rel=0.002), what
        assert found["pitch_deviation"] < 0.1, what


def test_the_deviation_is_about_the_note_that_is_sung_longer():
    low, high = tone(100, seconds=1.1), tone(200, seconds=1)
    found = pitch_statistics(torch.cat([low, high]), RATE)
    assert found["pitch"] == pytest.approx(100, rel=0.01)
    assert found["pitch_deviation"] == pytest.approx(12 * math.sqrt(1 / 2.1), rel=0.03)


def test_where_nothing_is_voiced():
    assert pitch_statistics(torch.randn(RATE), RATE) == {"voiced": 0.0}
    assert pitch_statistics(torch.zeros(RATE), RATE) == {"voiced": 0.0}
    assert pitch_statistics(torch.full((RATE,), 0.5), RATE) == {"voiced": 0.0}
    assert pitch_statistics(torch.full((RATE,), torch.nan), RATE) == {"voiced": 0.0}


def test_short_clips():
    wave = tone(200)
    for length in (0, 1, 100, 600):
        assert pitch_statistics(wave[:length], RATE) == {}
    assert pitch_statistics(wave[:700], RATE)["pitch"] == pytest.approx(200, rel=0.005)
    assert pitch_statistics(torch.zeros(0), 24000) == {}


def test_pieces_of_a_long_clip_make_no_difference(monkeypatch):
    wave = tone(150, vibrato=1.0)
    whole = pitch_statistics(wave, RATE)
    monkeypatch.setattr("melle.evaluation.prosody.PIECE", 7)
    assert pitch_statistics(wave, RATE) == pytest.approx(whole)
