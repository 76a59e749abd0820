"""Sound that is encoded in chunks is what it is at once."""

import io
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.audio import resample
from melle.serving.encoding import FORMATS, Encoder, StreamingResampler

RATES = [(16000, 24000), (22050, 24000), (24000, 24000), (44100, 24000)]


def chunks(samples: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    places = sorted({min(cut, len(samples)) for cut in cuts} | {0, len(samples)})
    return [samples[a:b] for a, b in pairwise(places)]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 5000), st.lists(st.integers(0, 5000), max_size=6))
def test_resampling_in_pieces_is_resampling(rates, count, cuts):
    samples = torch.randn(count, generator=torch.Generator().manual_seed(count))
    parts = chunks(samples, cuts)
    streaming = StreamingResampler(*rates)
    made = torch.cat([streaming(part, number == len(parts) - 1) for number, part in enumerate(parts)])
    torch.testing.assert_close(made, resample(samples, *rates), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_come_as_they_are_made_where_the_format_lets_them(name):
    time = torch.arange(64000) / 16000
    tone = 0.5 * torch.sin(2 * torch.pi * 300 * time)
    encode = Encoder(name, 16000)
    parts = [encode(part, False) for part in tone.split(4096)] + [encode(tone[:0], True)]
    assert (sum(map(bool, parts)) > 3) == FORMATS[name].streamed
    raw = {"format": "RAW", "samplerate": 24000, "channels": 1, "subtype": "PCM_16"} if name == "pcm" else {}
    decoded, rate = soundfile.read(io.BytesIO(b"".join(parts)), **raw)
    assert rate == encode.rate and len(decoded) / rate == pytest.approx(4.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(decoded[rate : 3 * rate]))
    assert np.argmax(spectrum) / 2 == pytest.approx(300, abs=1)
    assert np.sqrt(np.mean(decoded[rate : 3 * rate] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_what_is_no_sample_is_silence():
    content = Encoder("wav", 16000)(torch.tensor([torch.nan, torch.inf, -torch.inf, 2.0, 0.5]), True)
    decoded, _ = soundfile.read(io.BytesIO(content))
    np.testing.assert_allclose(decoded, [0, 1, -1, 1, 0.5], atol=1e-4)
