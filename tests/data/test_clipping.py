import numpy as np
import pytest

from melle.data.clipping import clipped_share


def test_runs_at_the_peak_by_hand():
    sound = np.zeros(1000)
    sound[10:14], sound[500:502], sound[700], sound[997:] = 0.8, -0.8, 0.8, -0.9  # the second and third: too short
    assert clipped_share(sound, 0.8) == pytest.approx(7 / 1000)
    assert clipped_share(sound, 0.85) == pytest.approx(3 / 1000)
    assert clipped_share(sound, 0.95) == 0


def test_what_nobody_hears_is_none():
    sound = np.zeros(10_000)
    sound[50:60] = 1.0
    assert clipped_share(sound, 1.0) == 0  # a thousandth of the samples
    sound[60] = 1.0
    assert clipped_share(sound, 1.0) == pytest.approx(11 / 10_000)


def test_an_empty_recording_is_not_clipped():
    assert clipped_share(np.zeros(0), 1.0) == 0
