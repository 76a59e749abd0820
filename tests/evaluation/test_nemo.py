"""The code around NeMo, which is not installed for the tests: a package of its name that answers as it does."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from melle.errors import UserError
from melle.evaluation.judges.nemo import NemoRecogniser


def as_text(texts):
    return texts


def as_hypotheses(texts):
    return [SimpleNamespace(text=text) for text in texts]


def as_best_and_all(texts):
    return as_hypotheses(texts), [as_hypotheses([text, "?"]) for text in texts]


def as_beams(texts):
    return [as_hypotheses([text, "?"]) for text in texts]


class FakeModel:
    """Of NeMo's ASRModel the parts that are used; its transcripts are numbers of samples."""

    answer = staticmethod(as_text)

    def __init__(self, source):
        self.source, self.batches = source, []

    @classmethod
    def from_pretrained(cls, model_name, map_location):
        assert "/" not in model_name
        if model_name == "missing":
            raise FileNotFoundError("Model missing was not found.\nCheck cls.list_available_models().")
        return cls(("name", model_name))

    @classmethod
    def restore_from(cls, restore_path, map_location):
        return cls(("file", restore_path))

    def to(self, device):
        self.device = device
        return self

    def eval(self):
        self.in_eval = True
        return self

    def transcribe(self, audio, batch_size, verbose):
        assert self.in_eval and not verbose
        assert all(isinstance(clip, np.ndarray) and clip.dtype == np.float32 and clip.ndim == 1 for clip in audio)
        self.batches.append([len(clip) for clip in audio])
        assert batch_size >= len(audio)
        return self.answer([f"{len(clip)} samples" for clip in audio])


@pytest.fixture
def nemo(monkeypatch):
    for name in ("nemo", "nemo.collections", "nemo.collections.asr", "nemo.collections.asr.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["nemo.collections.asr.models"].ASRModel = FakeModel


@pytest.mark.parametrize("answer", [as_text, as_hypotheses, as_best_and_all, as_beams])
def test_every_release_s_answer_is_read(nemo, monkeypatch, answer):
    monkeypatch.setattr(FakeModel, "answer", staticmethod(answer))
    asr = NemoRecogniser("stt_en", device="cpu", batch_size=2)
    seconds = [2.0, 0.5, 0.0, 1.0, 0.25]
    found = asr.transcribe([torch.zeros(int(8000 * s)) for s in seconds], 8000)
    expected = ["32000 samples", "8000 samples", "", "16000 samples", "4000 samples"]
    assert [transcript.text for transcript in found] == expected
    assert asr.network.batches == [[32000, 8000], [16000], [4000]]  # what is too short for a word is not recognised


def test_names_files_and_settings(nemo, tmp_path):
    asr = NemoRecogniser("stt_en", device="cpu", normaliser="basic")
    assert asr.name == "stt_en" and asr.network.source == ("name", "stt_en")
    assert asr.settings["normaliser"] == "basic" and asr.normalise("It's!") == "it s"
    (tmp_path / "own.nemo").touch()
    asr = NemoRecogniser(str(tmp_path / "own.nemo"), device="cpu")
    assert asr.name == "own" and asr.network.source == ("file", str(tmp_path / "own.nemo"))
    assert asr.network.device == torch.device("cpu")


def test_what_cannot_be_loaded_asks_for_a_file(nemo):
    with pytest.raises(
        UserError, match=r"^model=missing: cannot be loaded .*was not found.*; give .* model=FILE\.nemo$"
    ) as error:
        NemoRecogniser("missing", device="cpu")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="batch_size=0"):
        NemoRecogniser("stt_en", batch_size=0)
