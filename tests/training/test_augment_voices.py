"""Voices and rooms that a corpus does not have."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.audio import LogMel, MelSpec
from melle.errors import UserError
from melle.training.augment.voices import VoicePerturbation, interpolate_bands

SPEC = MelSpec()
PLAIN = {"probability": 1.0, "warp": 1.0, "colour": 0.0, "noise_probability": 0.0}  # every row is changed, by nothing


def vowel(pitch: float, formants: tuple[float, ...], seconds: float = 0.5) -> torch.Tensor:
    """log10 mel of a steady sound: harmonics of ``pitch``, louder near ``formants``, in Hz."""
    time = np.arange(int(seconds * 16000)) / 16000
    harmonics = np.arange(pitch, 7600, pitch)
    gains = sum(np.exp(-(((harmonics - formant) / (0.15 * formant)) ** 2)) for formant in formants) + 1e-3
    wave = (gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
    return LogMel(SPEC)(torch.from_numpy(0.1 * wave).float())[4:-4]  # without the ends


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
def test_scaling_frequencies_is_what_a_scaled_sound_has(factor):
    pitch, formants = 240.0, (600.0, 1500.0, 2600.0)
    low = vowel(pitch, formants)
    places = VoicePerturbation(SPEC, **PLAIN).source_bands(torch.tensor([factor]))
    scaled = interpolate_bands(low[None], places)[0]
    truth = vowel(factor * pitch, tuple(factor * formant for formant in formants))
    centres = librosa.mel_frequencies(n_mels=82, fmin=80, fmax=7600)[1:-1]
    heard = (centres > 200) & (centres < 3000)  # below the knee, whatever the factor
    # A linear interpolation blurs the harmonics, hence the tenth of a Bel; unscaled, they are far from each other.
    near = (scaled.mean(0) - truth.mean(0))[heard].abs().mean()
    far = (low.mean(0) - truth.mean(0))[heard].abs().mean()
    assert near < 0.4 * far


@settings(deadline=None)
@given(st.floats(0.5, 2.0))
def test_scaled_bands_rise_and_keep_the_highest(factor):
    places = VoicePerturbation(SPEC, **PLAIN).source_bands(torch.tensor([factor]))[0]
    assert (places.diff() >= 0).all()
    assert places[-1] == 79 and places[0] >= 0


def test_a_factor_of_one_changes_nothing():
    places = VoicePerturbation(SPEC, **PLAIN).source_bands(torch.ones(1))[0]
    torch.testing.assert_close(places, torch.arange(80.0), atol=1e-3, rtol=0)


@settings(deadline=None)
@given(st.floats(0.6, 1.6))
def test_scaled_bands_are_numpys(factor):
    centres = librosa.mel_frequencies(n_mels=82, fmin=80, fmax=7600)[1:-1]
    knee = 0.63 * centres[-1] * min(factor, 1)
    straight = centres <= knee
    places = VoicePerturbation(SPEC, **PLAIN).source_bands(torch.tensor([factor]))[0].numpy()
    expected = np.interp(centres[straight] / factor, centres, np.arange(80))
    np.testing.assert_allclose(places[straight], expected, atol=2e-3)
    # Above, the way from the knee to the top is cut at the same share as the way to what is heard there.
    heard = np.interp(places[~straight], np.arange(80), centres)
    share = (centres[~straight] - knee) / (centres[-1] - knee)
    np.testing.assert_allclose(heard, knee / factor + share * (centres[-1] - knee / factor), rtol=1e-3)


def test_interpolation_is_numpys():
    mel, places = torch.randn(3, 4, 80), torch.rand(3, 80) * 79
    found = interpolate_bands(mel, places)
    for row in range(3):
        for frame in range(4):
            expected = np.interp(places[row].numpy(), np.arange(80), mel[row, frame].numpy())
            np.testing.assert_allclose(found[row, frame].numpy(), expected, atol=1e-5)


def batch(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Steady rows, and padding of zeros."""
    lengths = torch.tensor([40 - 3 * row for row in range(rows)])
    mel = torch.randn(rows, 1, 80).expand(-1, 40, -1) - 2
    return mel * (torch.arange(40) < lengths[:, None])[..., None], lengths


def test_a_row_has_one_voice_and_keeps_its_padding():
    mel, lengths = batch()
    torch.manual_seed(1)
    out = VoicePerturbation(SPEC, probability=1.0, noise_probability=0.0).perturb(mel, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(out[row, length:], mel[row, length:])
        assert torch.allclose(out[row, :length], out[row, :1].expand(length, -1), atol=1e-5)
        assert not torch.allclose(out[row, :length], mel[row, :length], atol=0.1)
    difference = out[:, 0] - mel[:, 0]
    assert torch.cdist(difference, difference).fill_diagonal_(9).min() > 0.5  # each is changed in a way of its own


def test_the_share_of_rows_is_changed_and_the_others_are_not_touched():
    mel = torch.randn(2000, 3, 80)
    torch.manual_seed(2)
    out = VoicePerturbation(SPEC, probability=0.3).perturb(mel, torch.full((2000,), 3))
    same = (out == mel).all(-1).all(-1)
    assert 0.66 < same.float().mean() < 0.74
    assert torch.equal(VoicePerturbation(SPEC, probability=0.0).perturb(mel, torch.full((2000,), 3)), mel)


def test_the_factors_are_even_in_their_logarithm(monkeypatch):
    factors = []
    perturbation = VoicePerturbation(SPEC, probability=1.0, warp=1.25)
    bands = perturbation.source_bands
    monkeypatch.setattr(perturbation, "source_bands", lambda given: factors.append(given) or bands(given))
    torch.manual_seed(3)
    perturbation.perturb(torch.randn(2000, 1, 80), torch.ones(2000, dtype=torch.long))
    logs = np.log(torch.cat(factors).numpy()) / np.log(1.25)
    assert -1 <= logs.min() < -0.99 and 0.99 < logs.max() <= 1
    assert abs(logs.mean()) < 0.04 and abs(logs.std() - 1 / np.sqrt(3)) < 0.03


def test_the_colour_has_its_spread_and_leaves_the_loudness():
    mel = torch.zeros(4000, 1, 80)
    torch.manual_seed(4)
    out = VoicePerturbation(SPEC, **PLAIN | {"colour": 6.0}).perturb(mel, torch.ones(4000, dtype=torch.long))
    decibels = 20 * out[:, 0]
    assert decibels.mean(-1).abs().max() < 1e-3
    # At a point of the curve, less what the mean over the bands takes away: the points are independent, and weigh an
    # eighth (the ends) or a quarter.
    weights = np.array([1, 2, 2, 2, 1]) / 8
    spread = 6 * np.sqrt((1 - weights[0]) ** 2 + (weights[1:] ** 2).sum())
    assert abs(decibels[:, 0].std() - spread) < 0.3


def test_noise_fills_silence_at_its_level_and_leaves_what_is_louder():
    mel = torch.full((500, 50, 80), -10.0)
    mel[:, :10, 20] = -0.5  # the loudest band
    torch.manual_seed(5)
    out = VoicePerturbation(SPEC, **PLAIN | {"noise_probability": 1.0, "noise_levels": (-40.0, -40.0)}).perturb(
        mel, torch.full((500,), 50)
    )
    assert torch.allclose(out[:, :10, 20], mel[:, :10, 20], atol=2e-3)
    magnitudes = (10 ** out[:, 10:]).mean((0, 1))
    assert 20 * magnitudes[0].log10() == pytest.approx(20 * -0.5 - 40, abs=0.2)
    assert 20 * magnitudes[79].log10() == pytest.approx(20 * -0.5 - 40 - 79 / 4, abs=0.2)


def test_nothing_falls_below_the_floor():
    spec = MelSpec(floor=1e-5)
    out = VoicePerturbation(spec, probability=1.0, colour=20.0).perturb(
        torch.full((50, 4, 80), -5.0), torch.full((50,), 4)
    )
    assert out.min() >= -5 - 1e-6


def test_half_precision_is_changed_alike():
    mel, lengths = batch()
    perturbation = VoicePerturbation(SPEC, probability=1.0)
    torch.manual_seed(8)
    exact = perturbation.perturb(mel.bfloat16().float(), lengths)
    torch.manual_seed(8)
    made = perturbation.perturb(mel.bfloat16(), lengths)
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made, exact.bfloat16())


def test_random_numbers_are_torchs():
    mel, lengths = batch()
    perturbation = VoicePerturbation(SPEC, probability=1.0, noise_probability=1.0)
    made = []
    for seed in (6, 6, 7):
        torch.manual_seed(seed)
        made.append(perturbation.perturb(mel, lengths))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    "given_values, said",
    [
        ({"probability": 1.5}, "augment.voices.probability=1.5: give a number from 0 to 1"),
        ({"noise_probability": -0.1}, "augment.voices.noise_probability=-0.1: give a number"),
        ({"warp": 0.8}, "augment.voices.warp=0.8: give a factor of 1"),
        ({"colour": 40}, "augment.voices.colour=40: give 0 to 20 dB"),
        ({"noise_levels": (-30, -60)}, "augment.voices.noise_levels=[-30, -60]: give the lowest"),
        ({"noise_levels": (-30,)}, "augment.voices.noise_levels=[-30]: give the lowest"),
        ({"noise_levels": -30}, "augment.voices.noise_levels=-30: give the lowest"),
    ],
)
def test_values_that_mean_nothing_are_refused(given_values, said):
    with pytest.raises(UserError) as error:
        VoicePerturbation(SPEC, **given_values)
    assert said in str(error.value)
