"""Naturalness predictors: tiny ones in the places of UTMOS and DNSMOS, and DNSMOS itself where it is installed."""

import re
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import torchaudio

from melle.errors import UserError
from melle.evaluation.judges.quality import Dnsmos, Utmos

HUBCONF = """
dependencies = ["torch"]
from speechmos.mos import Loudness

def loudness(scale=2.0):
    return Loudness(scale)
"""
MODEL = """
import torch

class Loudness(torch.nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def forward(self, wave, sr):
        assert sr == 16000 and not self.training and not torch.is_grad_enabled()
        return 1 + self.scale * wave.square().mean(dim=1)
"""


@pytest.fixture
def clone(tmp_path):
    """A folder as torch.hub knows it, whose package has the name of another's, as UTMOS's has."""
    (tmp_path / "clone" / "speechmos").mkdir(parents=True)
    (tmp_path / "clone" / "hubconf.py").write_text(HUBCONF)
    (tmp_path / "clone" / "speechmos" / "__init__.py").write_text("")
    (tmp_path / "clone" / "speechmos" / "mos.py").write_text(MODEL)
    return tmp_path / "clone"


class Mean(torch.nn.Module):
    def forward(self, wave: torch.Tensor, sr: int) -> torch.Tensor:
        return wave.mean(dim=1) + sr / 16000


def test_a_clone_of_a_hub_repository(clone):
    utmos = Utmos(str(clone), "loudness", device="cpu")
    wave = 0.5 * torch.randn(16000)
    assert utmos.rate(wave, 16000) == {"utmos": pytest.approx(1 + 2 * float(wave.square().mean()))}
    resampled = torchaudio.functional.resample(wave, 24000, 16000)
    assert utmos.rate(wave, 24000) == {"utmos": pytest.approx(1 + 2 * float(resampled.square().mean()))}
    assert utmos.name == "utmos" and utmos.settings == {
        "revision": None,
        "model": str(clone),
        "entry": "loudness",
        "device": "cpu",
    }


def test_a_repository_on_github_is_named_to_the_hub(clone, monkeypatch):
    load, asked = torch.hub.load, {}

    def answer(name, entry, **options):
        asked.update(name=name, entry=entry, **options)
        return load(str(clone), "loudness", source="local")

    monkeypatch.setattr(torch.hub, "load", answer)
    assert Utmos(device="cpu").rate(torch.ones(16000), 16000) == {"utmos": pytest.approx(3)}
    repository, _, commit = asked["name"].partition(":")
    assert repository == "tarepan/SpeechMOS" and asked["entry"] == "utmos22_strong" and asked["source"] == "github"
    assert re.fullmatch("[0-9a-f]{40}", commit)  # which nobody can move to other code, as a tag


@pytest.mark.parametrize("model", ["tarepan/SpeechMOS:v1.2.0", "tarepan/SpeechMOS", "runs/foo", "a/b:0123abc"])
def test_code_that_may_be_replaced_is_not_downloaded(monkeypatch, model):
    monkeypatch.setattr(torch.hub, "load", None)
    with pytest.raises(UserError, match=r"no such file or folder; .*full commit hash"):
        Utmos(model, device="cpu")


def test_a_torchscript_file(tmp_path):
    torch.jit.script(Mean()).save(str(tmp_path / "mean.pt"))
    utmos = Utmos(str(tmp_path / "mean.pt"), device="cpu")
    assert utmos.rate(torch.full((16000,), 0.25), 16000) == {"utmos": pytest.approx(1.25)}


def test_the_two_packages_named_speechmos_live_together(clone, fake_speechmos):
    for _ in range(2):
        assert Utmos(str(clone), "loudness", device="cpu").rate(torch.ones(16000), 16000)
        assert Dnsmos().rate(torch.ones(16000), 16000)
    assert sys.modules["speechmos"] is fake_speechmos


def test_what_cannot_be_loaded(tmp_path, clone):
    (tmp_path / "text.pt").write_text("no model")
    (tmp_path / "empty").mkdir()
    for model, entry in ((tmp_path / "text.pt", "a"), (tmp_path / "empty", "a"), (clone, "other")):
        with pytest.raises(UserError, match=r"^model=.*cannot be loaded.*TorchScript file$") as caught:
            Utmos(str(model), entry, device="cpu")
        assert "\n" not in str(caught.value)


@pytest.fixture
def no_speechmos(monkeypatch):
    """No package of that name has been imported."""
    for name in [name for name in sys.modules if name.split(".")[0] == "speechmos"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def fake_speechmos(no_speechmos, monkeypatch):
    """The part of Microsoft's speechmos that is used."""
    package, module = ModuleType("speechmos"), ModuleType("speechmos.dnsmos")

    def run(sample, sr, model_type="dnsmos"):
        assert isinstance(sample, np.ndarray) and sample.ndim == 1 and abs(sample).max() <= 1 and sr == 16000
        overall = np.float64("nan") if sample[0] == -1 else np.float64(len(sample))
        personalized = model_type == "dnsmos_personalized"
        return {"ovrl_mos": overall, "sig_mos": 2 + personalized, "bak_mos": 3, "p808_mos": np.float32(4), "file": "x"}

    package.dnsmos, module.run = module, run
    monkeypatch.setitem(sys.modules, "speechmos", package)
    monkeypatch.setitem(sys.modules, "speechmos.dnsmos", module)
    return package


def test_dnsmos_names_its_scores(fake_speechmos):
    dnsmos = Dnsmos()
    scores = dnsmos.rate(torch.full((8000,), 1.5), 8000)  # louder than full scale
    assert scores == {"dnsmos": 16000.0, "dnsmos_signal": 2.0, "dnsmos_background": 3.0, "dnsmos_p808": 4.0}
    assert all(type(score) is float for score in scores.values())
    assert dnsmos.settings["personalized"] is False and dnsmos.name == "dnsmos"
    assert Dnsmos(personalized=True).rate(torch.ones(8000), 8000)["dnsmos_signal"] == 3.0
    assert "dnsmos" not in dnsmos.rate(torch.full((8000,), -1.0), 16000)  # it was no number


def test_no_sound_is_not_rated(clone, fake_speechmos):
    for quality in (Utmos(str(clone), "loudness", device="cpu"), Dnsmos()):
        for clip in (torch.zeros(0), torch.zeros(16000), torch.ones(1599), torch.full((16000,), torch.nan)):
            assert quality.rate(clip, 16000) == {}
        assert quality.rate(torch.ones(1600), 16000)


def test_dnsmos_itself_prefers_a_clean_tone_to_noise(no_speechmos):
    pytest.importorskip("speechmos.dnsmos")
    dnsmos = Dnsmos()
    time = torch.arange(48000) / 16000
    pulses = sum((2 * torch.pi * 150 * n * time).sin() / n for n in range(1, 20))
    clean = 0.1 * pulses * (2 * torch.pi * 3 * time).sin().clamp(min=0)  # three syllables a second
    noisy = clean + 0.1 * torch.randn(len(clean))
    scores = [dnsmos.rate(wave, 16000) for wave in (clean, noisy)]
    assert all(0 < score < 5.5 for found in scores for score in found.values())
    assert scores[0].keys() == {"dnsmos", "dnsmos_signal", "dnsmos_background", "dnsmos_p808"}
    assert scores[0]["dnsmos_background"] > scores[1]["dnsmos_background"] + 0.5
