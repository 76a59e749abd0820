"""Going on from the beginning of a recording."""

from dataclasses import replace

import pytest
import torch

from melle.audio import save_audio
from melle.errors import UserError
from melle.synthesis import rendering
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from tests.synthesis.test_decoding import PROMPT, bias_stop

BEGINNING = PROMPT.audio[:9600]  # 0.6 s: 38 frames, 9 whole steps of 4


@pytest.fixture
def tts(tiny_checkpoint) -> Synthesizer:
    return Synthesizer.from_checkpoint(tiny_checkpoint)


def test_the_text_is_of_the_whole_and_the_beginning_counts(tts, monkeypatch):
    """12 frames a word: five words are due after 15 steps, of which 9 are there."""
    rows = []
    decode = rendering.decode

    def watched(network, new, *rest):
        rows.extend(new)
        return decode(network, new, *rest)

    monkeypatch.setattr(rendering, "decode", watched)
    tts.description = replace(tts.description, length_range=(0.5, 3.0))
    bias_stop(tts, -50.0)
    options = DecodingOptions(min_length=0.8, max_length=2.0, max_silence=1e9, max_still=1e9)
    speech = tts.continuation("one two three four five", BEGINNING, options)
    assert (len(speech.mel), speech.finish_reason) == ((2 * 15 - 9) * 4, "length")
    row = rows[0]
    assert row.segments == [tts.tokenizer.encode("one two three four five")]
    assert row.prompt.mel.shape == (36, 80) and row.min_steps == pytest.approx(0.8 * 15 - 9)
    bias_stop(tts, 50.0)
    eager = tts.continuation("one two three four five", BEGINNING, options)
    assert (len(eager.mel), eager.finish_reason) == (3 * 4, "stop")


def test_a_batch_files_and_seeds(tts, tmp_path):
    bias_stop(tts, -50.0)
    save_audio(tmp_path / "voice.wav", PROMPT.audio, 16000)
    texts = ["one two three", "two", "three four five six"]
    voices = [BEGINNING, tmp_path / "voice.wav", PROMPT.audio]
    several = tts.continuation(texts, voices, seed=[3, 4, 5])
    for text, voice, seed, speech in zip(texts, voices, [3, 4, 5], several):
        alone = tts.continuation(text, voice, seed=seed)
        torch.testing.assert_close(alone.mel, speech.mel, rtol=0, atol=1e-3)
        assert speech.seed == seed and len(speech.waveform) == len(speech.mel) * 256
    other = tts.continuation(texts[0], BEGINNING, seed=9)
    assert (other.mel[:8] - several[0].mel[:8]).abs().max() > 1e-3
    assert tts.continuation([], []) == []


def test_what_cannot_be_gone_on_from(tts):
    with pytest.raises(UserError, match="nothing but silence"):
        tts.continuation("one", torch.zeros(16000))
    with pytest.raises(UserError, match="too short"):
        tts.continuation("one", BEGINNING[:100])
    with pytest.raises(ValueError, match="2 texts, but 1 beginnings"):
        tts.continuation(["one", "two"], [BEGINNING])
