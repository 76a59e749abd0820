"""The best of N, with stand-ins for who listens."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from melle import DecodingOptions, Prompt, Synthesizer
from melle.errors import UserError
from melle.evaluation.judges.base import Transcript
from melle.evaluation.judges.normalisers import spell_digits
from melle.synthesis.best_of import Candidate, best_of
from tests.synthesis.test_decoding import PROMPT, bias_stop


class Pitch:
    """Takes a voice for the length of its recording."""

    def embed(self, waveform, sample_rate):
        angle = torch.tensor(len(waveform) / 16000)
        return torch.stack((angle.cos(), angle.sin()))


class Listener:
    normalise = staticmethod(spell_digits)

    def __init__(self, heard):
        self.heard = heard

    def transcribe(self, waveforms, sample_rate):
        assert len(waveforms) == len(self.heard) and sample_rate == 16000
        return (Transcript(text) for text in self.heard)


@pytest.fixture
def tts(tiny_checkpoint):
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    bias_stop(tts, -50.0)
    return tts


def test_the_voice_decides(tts):
    with torch.no_grad():  # lengths are a matter of luck
        tts.network.stop.weight.normal_(std=3.0)
        tts.network.stop.bias.zero_()
    options = DecodingOptions(min_length=0.1, max_length=9.0, stop_threshold=0.9)
    ranked = best_of(tts, "one two three", PROMPT, count=6, speaker=Pitch(), seed=3, options=options)
    assert len(ranked) == 6 and len({candidate.speech.seed for candidate in ranked}) == 6
    assert 3 in {candidate.speech.seed for candidate in ranked}
    for candidate in ranked:
        again = tts("one two three", PROMPT, seed=candidate.speech.seed, options=options)
        torch.testing.assert_close(again.mel, candidate.speech.mel, rtol=0, atol=1e-3)
        distance = candidate.speech.seconds - 1.0  # the prompt has one second
        assert candidate.similarity == pytest.approx(float(torch.tensor(distance).cos()), abs=1e-3)
    stopped = [candidate.similarity for candidate in ranked if candidate.speech.finish_reason == "stop"]
    assert stopped == sorted(stopped, reverse=True)
    reasons = [candidate.speech.finish_reason == "stop" for candidate in ranked]
    assert reasons == sorted(reasons, reverse=True) and any(reasons)


def test_any_form_of_prompt_and_seed_will_do(tts):
    as_array, as_list = np.asarray(PROMPT.audio), PROMPT.audio.tolist()
    ranked = best_of(tts, ["one"], [as_array], [PROMPT.text], count=2, speaker=Pitch(), seed=None)
    assert len(ranked[0]) == 2 and ranked[0][0].similarity is not None
    seeds = [candidate.speech.seed for candidate in ranked[0]]
    assert len(set(seeds)) == 2
    assert best_of(tts, [], count=2, speaker=Pitch()) == []
    with pytest.raises(ValueError, match="16000 values of prompt"):
        best_of(tts, "one", as_list, PROMPT.text, speaker=Pitch())


def test_texts_are_understood_first(tts):
    heard = ["one", "one two", "one two", "seven", "nine", "eight eight"]
    ranked = best_of(tts, ["one two", "nine"], count=3, asr=Listener(heard), seed=8)
    assert [[candidate.errors for candidate in candidates] for candidates in ranked] == [[0, 0, 1], [0, 1, 2]]
    assert ranked[0][-1].speech.seed == 8  # the first candidate of the first text
    assert ranked[0][0].similarity is None


def test_the_order_is_ending_then_words_then_voice():
    def candidate(reason, errors, similarity):
        return Candidate(SimpleNamespace(finish_reason=reason), similarity, errors)

    best = [candidate("stop", 0, 0.9), candidate("stop", 0, 0.5), candidate("stop", 2, 0.99)]
    best += [candidate("length", 0, 1.0), candidate("degenerate", 1, 1.0)]
    assert sorted(reversed(best), key=lambda one: one.rank) == best


def test_requests_that_make_no_sense(tts):
    with pytest.raises(ValueError, match="no judge"):
        best_of(tts, "one", PROMPT)
    with pytest.raises(UserError, match="no voice to compare"):
        best_of(tts, ["one", "two"], [PROMPT, None], speaker=Pitch())
    with pytest.raises(UserError, match="best of 0"):
        best_of(tts, "one", PROMPT, count=0, speaker=Pitch())
    with pytest.raises(UserError, match="needs its transcript"):
        best_of(tts, "one", Prompt(PROMPT.audio, ""), speaker=Pitch())
