"""The code around Whisper and Resemblyzer, without their packages or weights."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from melle.errors import UserError
from melle.evaluation.ears import QualityEar, Recogniser, VoiceEar
from melle.evaluation.speaker import ResemblyzerSpeaker, similarities
from melle.evaluation.whisper import WhisperAsr


@pytest.mark.parametrize("package", ["faster_whisper", "ctranslate2", "jiwer"])
def test_missing_whisper_names_the_command(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"python -m pip install -e \"\.\[eval\]\""):
        WhisperAsr()


@pytest.mark.parametrize("package", ["resemblyzer", "webrtcvad"])
def test_missing_resemblyzer_names_the_command(monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("resemblyzer")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"python -m pip install -e \"\.\[speaker\]\".*C compiler"):
        ResemblyzerSpeaker()


class FakeWhisper:
    """The parts of faster-whisper's WhisperModel that are used; "hears" the window's length and whether it was told."""

    max_length = 448
    hf_tokenizer = None

    def __init__(self, name, device, compute_type, cpu_threads, num_workers):
        if name == "missing":
            raise ValueError("Invalid model size\nand more")
        self.model = SimpleNamespace(is_multilingual=True, generate=self.generate)
        self.device = device
        self.windows, self.sizes, self.limits = [], [], []

    class feature_extractor:
        sampling_rate, nb_max_frames, time_per_frame = 16000, 3000, 0.01

        def __new__(cls, samples):
            return np.ones((80, len(samples) // 160 + 1), dtype=np.float32)

    def get_prompt(self, tokenizer, previous, without_timestamps):
        assert without_timestamps
        return [*previous, 1]

    def encode(self, features):
        self.sizes.append(features.shape)
        self.windows.append(int(features[0].sum()))
        return self.windows[-1]

    def generate(self, encoded, prompts, max_length, **options):
        self.limits.append(max_length - len(prompts[0]))
        hinted, silent = len(prompts[0]) > 1, encoded < 50
        return [
            SimpleNamespace(sequences_ids=[[encoded, hinted]], scores=[-2.0], no_speech_prob=0.9 if silent else 0.1)
        ]


class FakeTokenizer:
    def __init__(self, *arguments, **options):
        assert options == {"task": "transcribe", "language": "en"}

    def encode(self, text):
        return [5] * len(text.split())

    def decode(self, tokens):
        return f" {tokens[0]} frames{', as told' if tokens[1] else ''}"


@pytest.fixture
def fake_whisper(monkeypatch):
    package, tokenizer = ModuleType("faster_whisper"), ModuleType("faster_whisper.tokenizer")
    package.WhisperModel, tokenizer.Tokenizer = FakeWhisper, FakeTokenizer
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    monkeypatch.setitem(sys.modules, "faster_whisper.tokenizer", tokenizer)
    library = ModuleType("ctranslate2")
    library.get_cuda_device_count = lambda: 0
    monkeypatch.setitem(sys.modules, "ctranslate2", library)


def test_whisper_listens_with_and_without_the_hint(fake_whisper):
    asr = WhisperAsr("base", initial_prompt="one two three", cpu_threads=2)
    assert asr.workers == 2 and asr.name == "whisper base"
    assert asr.settings["initial_prompt"] == "one two three" and asr.settings["pad_seconds"] == 30
    first, second = asr.transcribe([torch.zeros(16000), torch.zeros(4000)], 8000)
    assert (first.text, first.plain) == ("200 frames, as told", "200 frames")
    assert (second.text, second.plain) == ("50 frames, as told", "50 frames")
    assert sorted(asr.model.windows) == [50, 200]  # one pass of the encoder for both


def test_whisper_without_a_hint_has_one_reading(fake_whisper):
    asr = WhisperAsr("base", cpu_threads=1)
    (transcript,) = asr.transcribe([torch.zeros(32000)], 16000)
    assert (transcript.text, transcript.plain) == ("200 frames", None)


def test_whisper_normalises_as_told(fake_whisper):
    asr = WhisperAsr("base", cpu_threads=1)
    assert asr.settings["normaliser"] == "english" and asr.normalise("I'm 21.") == "i am 21"
    asr = WhisperAsr("base", cpu_threads=1, normaliser="digits")
    assert asr.settings["normaliser"] == "digits" and asr.normalise("I'm 21.") == "im two one"
    with pytest.raises(UserError, match="normaliser=german"):
        WhisperAsr("base", normaliser="german")


def test_whisper_goes_to_the_gpu_only_where_its_libraries_are(fake_whisper, monkeypatch):
    monkeypatch.setattr(sys.modules["ctranslate2"], "get_cuda_device_count", lambda: 1)
    asr = WhisperAsr("base", cpu_threads=3)
    assert asr.model.device == "cuda" and asr.workers == 1

    def encode(self, features):
        raise RuntimeError("libcublas.so.12 is not found")

    monkeypatch.setattr(FakeWhisper, "encode", encode)
    asr = WhisperAsr("base", cpu_threads=3)
    assert asr.model.device == "cpu" and asr.workers == 3


def test_whisper_takes_long_sound_in_windows_and_hears_nothing_in_silence(fake_whisper):
    asr = WhisperAsr("base", cpu_threads=1)
    long, silent, nothing = asr.transcribe([torch.zeros(16000 * 40), torch.zeros(1600), torch.zeros(0)], 16000)
    assert long.text == "3000 frames 1000 frames"
    assert silent.text == "" and nothing.text == ""
    assert asr.model.limits == [310, 110, 11, 10]  # tokens: ten, and ten a second
    assert set(asr.model.sizes) == {(80, 3000)}


def test_whisper_pads_as_told_but_long_sound_as_trained(fake_whisper):
    asr = WhisperAsr("base", cpu_threads=1, pad_seconds=10)
    texts = [transcript.text for transcript in asr.transcribe([torch.zeros(16000 * n) for n in (2, 11)], 16000)]
    assert texts == ["200 frames", "1100 frames"]
    assert asr.model.sizes == [(80, 1000), (80, 3000)]


def test_whisper_that_cannot_be_loaded_asks_for_a_folder(fake_whisper):
    with pytest.raises(UserError, match=r"^model=missing: .*\(Invalid model size\); .* by model=FOLDER$"):
        WhisperAsr("missing")


def test_a_recogniser_listens_again_where_its_files_change_and_not_for_another_normaliser(fake_whisper, tmp_path):
    def identity(folder, **options):
        return Recogniser("whisper", WhisperAsr(str(tmp_path / folder), cpu_threads=1, **options)).identity()

    for version in ("v1", "v2"):
        (tmp_path / version / "ct2").mkdir(parents=True)
        (tmp_path / version / "ct2" / "model.bin").write_text("weights")
    first = identity("v1/ct2")
    assert first == identity("v1/ct2", normaliser="digits") != identity("v2/ct2")
    (tmp_path / "v1" / "ct2" / "model.bin").write_text("other weights")
    assert identity("v1/ct2") != first


def test_every_judge_depends_on_the_file_that_it_names(tmp_path):
    (tmp_path / "file").touch()
    for setting in ("model", "weights", "checkpoint"):
        judge = SimpleNamespace(name="x", settings={setting: str(tmp_path / "file"), "device": None})
        for ear in (Recogniser("x", judge), VoiceEar("x", judge), QualityEar("x", judge)):
            (tmp_path / "file").write_text("")
            before = ear.identity()
            (tmp_path / "file").write_text("more")
            assert ear.identity() != before


def test_whisper_leaves_the_cores_to_helpers_that_torch_leaves_to_them(fake_whisper, monkeypatch):
    pools, module = [], "melle.evaluation.whisper"
    monkeypatch.setattr(f"{module}.ThreadPoolExecutor", lambda n: pools.append(n) or ThreadPoolExecutor(n))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    free, told = WhisperAsr("base"), WhisperAsr("base", cpu_threads=3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for asr in (free, told):
        list(asr.transcribe([torch.zeros(1600)], 16000))
    assert pools == [2, 3]


def test_similarity_is_the_cosine():
    embeddings, voices = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    expected = torch.tensor([[1.0, 0.0, 0.5**0.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(similarities(embeddings, voices), expected)
