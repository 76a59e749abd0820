"""A pace is that of speech: silence before and after it counts neither in training data nor in prompts."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from melle.audio import LogMel, MelSpec, save_audio, speech_level
from melle.checkpoint import ModelDescription
from melle.data.datamodule import MelleDataModule
from melle.data.manifest import Utterance, write_manifest
from melle.data.silence import speech_frames
from melle.data.statistics import CorpusStatistics
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer
from tests.conftest import DIGITS
from tests.synthesis.test_decoding import bias_stop

RATE, FRAMES = 16000, 62.5  # a second


def words(count: int) -> torch.Tensor:
    """0.4 seconds of sound a word."""
    return 0.2 * torch.sin(torch.arange(int(0.4 * count * RATE)) / 10)


def padded(sound: torch.Tensor, before: float, after: float) -> torch.Tensor:
    return torch.cat((torch.zeros(int(before * RATE)), sound, torch.zeros(int(after * RATE))))


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (1.5, 0.0), (0.0, 1.5), (2.0, 3.0), (0.05, 0.05)])
def test_frames_of_speech(before, after):
    kept = min(before, 0.1) + min(after, 0.1)
    frames = speech_frames(LogMel()(padded(words(3), before, after)), MelSpec())
    assert frames == pytest.approx((1.2 + kept) * FRAMES, abs=4)


@pytest.mark.parametrize("zeros", [0.0, 0.5, 2.0])
def test_digital_zeros_outside_noise_hide_no_noise(zeros):
    """1.2 s of sound between twice 2 s of noise, louder than 40 dB below it in a band."""
    torch.manual_seed(0)
    noise = 0.02 * torch.randn(int(5.2 * RATE))
    frames = speech_frames(LogMel()(padded(noise + padded(words(3), 2.0, 2.0)[: len(noise)], zeros, zeros)), MelSpec())
    assert frames == pytest.approx((1.2 + 0.2) * FRAMES, abs=4)


def test_without_sustained_sound_all_frames_count():
    assert speech_frames(torch.full((40, 80), -10.0), MelSpec()) == 40
    assert speech_frames(torch.zeros(2, 80), MelSpec()) == 2


def statistics_of(folder, before: float, after: float) -> CorpusStatistics:
    utterances = []
    for number in range(1, 7):
        save_audio(folder / f"{number}.wav", padded(words(number), before, after), RATE)
        utterances.append(Utterance(" ".join(DIGITS[:number]), folder / f"{number}.wav", str(number)))
    write_manifest(folder / "train.jsonl", utterances)
    paths = (folder / "train.jsonl",) * 2
    fit = partial(SymbolTokenizer.fit, unit="words")
    return MelleDataModule(*paths, 4, fit, index=folder / "index").statistics()


@pytest.fixture
def silent(tmp_path) -> CorpusStatistics:
    """Of recordings of 1 to 6 words with 1.5 seconds of silence at either end."""
    return statistics_of(tmp_path / "silent", 1.5, 1.5)


def test_training_data_has_the_pace_of_its_speech(tmp_path, silent):
    bare = statistics_of(tmp_path / "bare", 0.1, 0.1)
    assert silent.frames_per_token == pytest.approx(bare.frames_per_token, rel=0.05)
    assert silent.pace_range == pytest.approx(bare.pace_range, rel=0.07)
    # What the model says has the silence that it has learned: one word takes 3.4 s, two take 3.8.
    longest = (0.95 * 3.4 + 0.05 * 3.8 / 2) * FRAMES / silent.frames_per_token  # 99 of 100, between the two longest
    assert silent.length_range[1] == pytest.approx(longest, rel=0.02)
    assert bare.length_range == pytest.approx(bare.pace_range, rel=0.05)


def test_a_prompt_of_usual_pace_is_no_fault_of_a_model_that_learned_silence(tiny_checkpoint, silent, caplog):
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    bias_stop(tts, -50.0)
    known = {name: getattr(silent, name) for name in ("frames_per_token", "length_range", "pace_range")}
    tts.description = replace(tts.description, speech_level=speech_level(LogMel()(words(3))), **known)
    endless = DecodingOptions(max_silence=math.inf, max_still=math.inf)
    speech = tts("four two", Prompt(padded(words(4), 0.5, 0.1), "zero one two three"), options=endless)
    assert not [record for record in caplog.records if "transcript" in record.message]
    # Two words take 0.9 s at the prompt's pace, and as much silence is allowed for as training had at most.
    assert len(speech.mel) == pytest.approx(0.9 * FRAMES * silent.length_range[1] * 1.25, rel=0.05)
    assert len(speech.mel) > 3.8 * FRAMES


def test_checkpoints_from_before_keep_their_numbers(tmp_path):
    tokenizer = SymbolTokenizer("words", DIGITS)
    old = ModelDescription({"n_mels": 80}, MelSpec(), tokenizer, 12.0, (0.6, 1.7)).as_dict()
    del old["pace_range"]
    assert ModelDescription.from_dict(old).paces == (0.6, 1.7)
    new = ModelDescription({"n_mels": 80}, MelSpec(), tokenizer, 12.0, (0.6, 1.7), pace_range=(0.8, 1.2))
    again = ModelDescription.from_dict(new.as_dict())
    assert again.paces == (0.8, 1.2) and again.length_range == (0.6, 1.7)
