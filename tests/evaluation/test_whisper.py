"""The code around Whisper, without its package or weights."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from melle.errors import UserError
from melle.evaluation.judges.whisper import Whisper


class FakeModel:
    """Of faster-whisper's WhisperModel what is used: windows of 30 s, padded with zeros, and a text about each."""

    max_length = 448
    hf_tokenizer = SimpleNamespace(encode=lambda text: SimpleNamespace(ids=text.split()))

    class feature_extractor:
        sampling_rate, time_per_frame, mel_filters = 16000, 0.01, np.ones((80, 201))

    def __init__(self, name, device, compute_type, cpu_threads, num_workers):
        if name.endswith("broken"):
            raise ValueError("Unsupported model\nand more")
        assert cpu_threads == 1
        self.device, self.encoded, self.calls = device, [], []

    def encode(self, features):
        self.encoded.append(features.shape)
        return int(features[0].sum())

    def transcribe(self, samples, **options):
        self.calls.append(options)
        features = np.ones((80, len(samples) // 160), dtype=np.float32)
        starts = range(0, features.shape[1], 3000)
        windows = [np.pad(w, ((0, 0), (0, 3000 - w.shape[1]))) for w in (features[:, n : n + 3000] for n in starts)]
        prompted = ", prompted" if options["initial_prompt"] else ""
        return (SimpleNamespace(text=f" {self.encode(window)} frames{prompted}") for window in windows), None


@pytest.fixture
def fake_whisper(monkeypatch, tmp_path):
    def download(name, files, what, hint):
        """As ``melle.hub.download``: a folder named after the commit."""
        folder = tmp_path / name.rpartition("@")[2].replace("/", "-")
        folder.mkdir(exist_ok=True)
        return folder

    monkeypatch.setattr("melle.evaluation.judges.whisper.download", download)
    package, library = ModuleType("faster_whisper"), ModuleType("ctranslate2")
    package.WhisperModel, library.get_cuda_device_count = FakeModel, lambda: 0
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    monkeypatch.setitem(sys.modules, "ctranslate2", library)


def test_whisper_decodes_with_and_without_the_prompt_from_one_pass_of_the_encoder(fake_whisper):
    asr = Whisper("base", initial_prompt="one two three", cpu_threads=2)
    assert asr.threads == 2 and asr.name == "whisper base"
    assert asr.settings["initial_prompt"] == "one two three" and asr.settings["pad_seconds"] == 30
    first, second = asr.transcribe([torch.zeros(16000), torch.zeros(4000)], 8000)
    assert (first.text, first.plain) == ("200 frames, prompted", "200 frames")
    assert (second.text, second.plain) == ("50 frames, prompted", "50 frames")
    assert len(asr.network.encoded) == 2


def test_whisper_without_a_prompt_has_one_transcript(fake_whisper):
    asr = Whisper("base", cpu_threads=1)
    (transcript,) = asr.transcribe([torch.zeros(32000)], 16000)
    assert (transcript.text, transcript.plain) == ("200 frames", None)


def test_decoding_is_deterministic_and_ends(fake_whisper):
    asr = Whisper("base", cpu_threads=1, beam_size=3, language="de", initial_prompt="a b c")
    list(asr.transcribe([torch.zeros(int(16000 * seconds)) for seconds in (0.1, 40)], 16000))
    for options in asr.network.calls:
        assert options["temperature"] == 0.0 and options["compression_ratio_threshold"] is None
        assert options["without_timestamps"] and not options["condition_on_previous_text"]
        assert options["beam_size"] == 3 and options["language"] == "de"
    limits = [options["max_new_tokens"] for options in asr.network.calls]
    assert limits == [11, 11, 310, 310]  # ten, and ten a second of at most 30
    long = Whisper("base", cpu_threads=1, initial_prompt="a " * 223)
    list(long.transcribe([torch.zeros(16000 * 30)], 16000))
    assert long.network.calls[-1]["max_new_tokens"] == 448 - 223 - 5


def test_whisper_normalises_as_configured(fake_whisper):
    asr = Whisper("base", cpu_threads=1)
    assert asr.settings["normaliser"] == "english" and asr.normalise("I'm 21.") == "i am 21"
    asr = Whisper("base", cpu_threads=1, normaliser="digits")
    assert asr.settings["normaliser"] == "digits" and asr.normalise("I'm 21.") == "im two one"
    with pytest.raises(UserError, match="normaliser=german"):
        Whisper("base", normaliser="german")


def test_whisper_uses_the_gpu_only_where_its_libraries_are(fake_whisper, monkeypatch):
    monkeypatch.setattr(sys.modules["ctranslate2"], "get_cuda_device_count", lambda: 1)
    asr = Whisper("base", cpu_threads=3)
    assert asr.network.device == "cuda" and asr.threads == 1

    def encode(self, features):
        raise RuntimeError("libcublas.so.12 is not found")

    monkeypatch.setattr(FakeModel, "encode", encode)
    asr = Whisper("base", cpu_threads=3)
    assert asr.network.device == "cpu" and asr.threads == 3


def test_whisper_takes_long_audio_in_windows(fake_whisper):
    asr = Whisper("base", cpu_threads=1)
    long, nothing = asr.transcribe([torch.zeros(16000 * 40), torch.zeros(0)], 16000)
    assert long.text == "3000 frames 1000 frames" and nothing.text == ""
    assert set(asr.network.encoded) == {(80, 3000)}


def test_short_clips_are_padded_as_configured_and_long_ones_as_in_training(fake_whisper):
    asr = Whisper("base", cpu_threads=1, pad_seconds=10)
    texts = [transcript.text for transcript in asr.transcribe([torch.zeros(16000 * n) for n in (2, 11)], 16000)]
    assert texts == ["200 frames", "1100 frames"]
    assert asr.network.encoded == [(80, 1000), (80, 3000)]


def test_a_size_without_a_revision_asks_for_one(fake_whisper):
    """Else two evaluations of one configuration might not be by one model."""
    with pytest.raises(
        UserError, match=r"model=large-v1: no .* of which a revision is known .* hf://USER/MODEL@REVISION"
    ):
        Whisper("large-v1")
    assert Whisper("hf://x/large-v1@abc", cpu_threads=1).settings["revision"] == "abc"


def test_whisper_that_cannot_be_loaded_asks_for_a_folder(fake_whisper, tmp_path):
    (tmp_path / "broken").mkdir()
    with pytest.raises(UserError, match=r"^model=.*broken: .*Unsupported model and more.*; .* by model=FOLDER$"):
        Whisper(str(tmp_path / "broken"))


def test_whisper_leaves_cores_to_the_processes_that_torch_leaves_them_to(fake_whisper, monkeypatch):
    pools, module = [], "melle.evaluation.judges.whisper"
    monkeypatch.setattr(f"{module}.ThreadPoolExecutor", lambda n: pools.append(n) or ThreadPoolExecutor(n))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    free, fixed = Whisper("base"), Whisper("base", cpu_threads=3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for asr in (free, fixed):
        list(asr.transcribe([torch.zeros(1600)], 16000))
    assert pools == [2, 3]
