"""Pitch of tones whose pitch is known."""

import math

import pytest
import torch

from melle.evaluation.judges.pitch import Pitch

RATE = 16000


def tone(pitch, seconds=1.0, vibrato=0.0, rate=RATE, harmonics=20):
    """A voice-like tone of full harmonics, whose pitch swings by ``vibrato`` semitones twice a second."""
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    phase = 2 * math.pi * (pitch * 2 ** (vibrato / 12 * (2 * math.pi * 2 * time).sin())).cumsum(0) / rate
    highest = int(rate / 2 / pitch / 2 ** (vibrato / 12))
    wave = sum((n * phase).sin() / n for n in range(1, min(harmonics, highest) + 1))
    return (0.3 * wave / wave.abs().max()).float()


@pytest.fixture(scope="module")
def pitch():
    pytest.importorskip("librosa")
    return Pitch()


@pytest.mark.parametrize("hertz", [80, 130, 200, 400])
def test_pitch_and_its_swing(pitch, hertz):
    found = pitch.rate(tone(hertz, vibrato=1.0), RATE)
    assert found["pitch"] == pytest.approx(hertz, rel=0.01)
    assert found["pitch_deviation"] == pytest.approx(1 / math.sqrt(2), rel=0.1)  # of a sine of height 1
    assert found["voiced"] > 0.9


def test_any_sample_rate(pitch):
    assert pitch.rate(tone(180, rate=24000), 24000)["pitch"] == pytest.approx(180, rel=0.01)


def test_share_of_voiced_frames(pitch):
    found = pitch.rate(torch.cat([tone(200), torch.zeros(RATE)]), RATE)
    assert found["voiced"] == pytest.approx(0.5, abs=0.1)
    assert found["pitch"] == pytest.approx(200, rel=0.01)


def test_clips_without_a_voice(pitch):
    assert pitch.rate(torch.zeros(RATE), RATE) == {"voiced": 0.0}
    assert pitch.rate(torch.full((RATE,), torch.nan), RATE) == {"voiced": 0.0}
    assert pitch.rate(torch.ones(100), RATE) == {} and pitch.rate(torch.zeros(0), 24000) == {}
