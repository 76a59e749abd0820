import math
import pickle

import pytest
import torch
import torchaudio
from omegaconf import OmegaConf

from melle.configs.build import build
from melle.data import silence
from melle.data.silence import FADE, SileroTrim
from melle.errors import DataError, UserError

pytest.importorskip("silero_vad")
RATE = 16000
WINDOW = 0.032  # seconds, the grain of Silero's answers


def quiet(seconds, rate=RATE):
    return 1e-4 * torch.randn(round(seconds * rate))


@pytest.fixture(scope="module")
def spoken(real_speech):
    """Two utterances (N,) with nothing to trim but a little at their ends."""
    trim = SileroTrim(keep_seconds=0.05)
    return [trim(waveform, RATE) for _, waveform in real_speech[:2]]


def test_silence_around_is_cut_to_what_is_kept(spoken):
    padded = torch.cat([quiet(1.5), spoken[0], quiet(2.0)])
    for keep in (0.0, 0.1, 0.3):
        trimmed = SileroTrim(keep_seconds=keep)(padded, RATE)
        expected = len(spoken[0]) / RATE + 2 * (keep - 0.05)
        assert abs(len(trimmed) / RATE - expected) < 4 * WINDOW
        start = (padded.unfold(0, 2000, 1) == trimmed[:2000]).all(dim=1).nonzero()
        assert len(start) and torch.equal(padded[int(start[0]) :][: len(trimmed)], trimmed)  # nothing else has changed


def test_a_long_silence_within_is_cut_to_its_limit(spoken):
    whole = torch.cat([spoken[0], quiet(2.0), spoken[1]])
    unlimited = SileroTrim(max_inner_seconds=60)(whole, RATE)
    lengths = {limit: len(SileroTrim(max_inner_seconds=limit)(whole, RATE)) for limit in (0.3, 0.5, 1.0)}
    assert lengths[0.5] - lengths[0.3] == round(0.2 * RATE)
    assert lengths[1.0] - lengths[0.5] == round(0.5 * RATE)
    assert abs((len(unlimited) - lengths[0.5]) / RATE - 1.6) < 4 * WINDOW  # 2 s and a little of both utterances' ends


def test_the_cut_does_not_click(spoken):
    """A hum whose phase jumps at the cut moves by no more per sample than it does elsewhere."""
    time = torch.arange(round(2.0 * RATE)) / RATE
    hum = 0.01 * torch.sin(2 * torch.pi * 60.3 * time)
    whole = torch.cat([spoken[0], hum, spoken[1]])
    trimmed = SileroTrim(max_inner_seconds=0.4)(whole, RATE)
    assert len(trimmed) < len(whole) - RATE
    steps = hum.diff().abs().max()
    first = len(spoken[0]) + round(0.02 * RATE)
    begin = (trimmed.unfold(0, 400, 1) == whole[first : first + 400]).all(dim=1).nonzero()
    inside = trimmed[int(begin[0]) :][: round(0.3 * RATE)]
    fading = 0.01 * torch.pi / (FADE * RATE)
    assert inside.diff().abs().max() < 1.5 * steps + fading


def test_short_silences_stay(spoken):
    whole = torch.cat([spoken[0], quiet(0.2), spoken[1]])
    trimmed = SileroTrim(keep_seconds=1.0)(whole, RATE)
    assert torch.equal(trimmed, whole)


@pytest.mark.parametrize("waveform", [quiet(1.0), torch.zeros(100), torch.zeros(RATE)])
def test_no_speech_is_a_fault_of_the_data(waveform):
    with pytest.raises(DataError, match="no speech") as caught:
        SileroTrim()(waveform, RATE)
    assert caught.value.kind == "no speech"


def test_other_sample_rates(spoken):
    padded = torch.cat([quiet(1.0), spoken[0], quiet(1.0)])
    other = torchaudio.functional.resample(padded, RATE, 22050)
    seconds = len(SileroTrim()(padded, RATE)) / RATE
    assert abs(len(SileroTrim()(other, 22050)) / 22050 - seconds) < 4 * WINDOW


def test_the_same_every_time_and_after_pickling(spoken):
    whole = torch.cat([quiet(0.7), spoken[0], quiet(1.0), spoken[1], quiet(0.7)])
    trim = SileroTrim(keep_seconds=0.2)
    once = trim(whole, RATE)
    copy = pickle.loads(pickle.dumps(trim))
    assert copy == trim and len(pickle.dumps(trim)) < 1000
    for _ in range(4):
        assert torch.equal(copy(whole, RATE), once)


def test_the_description_tells_settings_apart():
    assert SileroTrim().description == SileroTrim(0.1, 0.5, 0.5).description
    others = {SileroTrim(0.2).description, SileroTrim(0.1, 1).description, SileroTrim(threshold=0.4).description}
    assert len(others | {SileroTrim().description}) == 4
    assert SileroTrim(1).description == SileroTrim(1.0).description


def test_threads_stay_as_they_were(spoken):
    silence._silero.cache_clear()
    torch.set_num_threads(2)
    SileroTrim()(spoken[0], RATE)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    "settings", [{"keep_seconds": -1}, {"keep_seconds": math.nan}, {"max_inner_seconds": math.nan}, {"threshold": 1.0}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(UserError, match="give keep_seconds"):
        SileroTrim(**settings)


def test_what_to_install_is_said(monkeypatch):
    def missing(name):
        raise silence.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(silence.metadata, "version", missing)
    with pytest.raises(UserError, match=r"\.\[vad\]"):
        SileroTrim()


def test_the_configuration_is_the_default(request):
    conf = request.config.rootpath / "conf/vad/silero.yaml"
    assert build(OmegaConf.load(conf)) == SileroTrim()
