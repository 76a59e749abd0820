"""Speech is as fast as asked for, and silent where a text or an option asks for it."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from melle.cli import main
from melle.errors import UserError
from melle.model.layout import paced_text_positions
from melle.synthesis import rendering
from melle.synthesis.chunking import show_text
from melle.synthesis.options import DecodingOptions
from melle.synthesis.rendering import Stretch
from melle.synthesis.synthesizer import Synthesizer
from tests.synthesis.test_decoding import PROMPT

HOP = 256


@pytest.fixture
def tts(tiny_checkpoint):
    return Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")


def test_stretched_frames_are_those_of_linear_interpolation():
    mel = torch.randn(40, 3)
    for speed in (0.7, 1.25, 1.4):
        places = np.arange(0, 40, speed)
        expected = np.stack([np.interp(places, np.arange(40), band) for band in mel.T.numpy()], axis=1)
        np.testing.assert_allclose(Stretch(speed)(mel, last=True).numpy(), expected, atol=1e-5)
    assert Stretch(1.0)(mel, last=True) is mel


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.floats(0.5, 2.0))
@example([4, 5, 9], 1.2)  # 15 frames, whatever 1.2 rounds to
@example([5, 5, 0, 2, 9, 0], 1.4)  # 21 / 1.4 is a little more than 15
def test_pieces_give_the_frames_of_the_whole(sizes, speed):
    mel = torch.randn(sum(sizes), 2)
    stretch, pieces = Stretch(speed), []
    for number, piece in enumerate(mel.split(sizes)):
        pieces.append(stretch(piece, last=number == len(sizes) - 1))
    torch.testing.assert_close(torch.cat(pieces), Stretch(speed)(mel, last=True), atol=1e-4, rtol=0)


def test_paced_positions_of_the_last_segment_come_sooner():
    segments, steps = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, -1, -1]]), torch.tensor([[6.0, 0.0], [0.0, 0.0]])
    tempo = torch.tensor([2.0, 0.5])
    found = paced_text_positions(segments, steps, 2.0, tempo)
    # The prompt has its own pace; after it 3 steps a token at twice the tempo, without one 2 at half of it.
    assert found[0].tolist() == [1.0, 3.0, 6.75, 8.25, 9.75]
    assert found[1, :3].tolist() == [2.0, 6.0, 10.0]


def test_a_pace_widens_the_bounds_of_length_and_changes_what_is_said(tts):
    """The untrained model would end at once, or never: its length is a bound. How far one follows is not known."""
    assert tts.network.position == "paced"

    def lengths(pace, **options):
        options = DecodingOptions(pace=pace, max_silence=math.inf, max_still=math.inf, **options)
        return len(tts("one two three", PROMPT, seed=1, options=options).mel)

    assert lengths(0.7) == lengths(1.0) == lengths(None) == pytest.approx(1.4 * lengths(1.4), abs=4)
    never = {"stop_threshold": 1.0}
    assert lengths(1.4, **never) == lengths(1.0, **never) == pytest.approx(0.7 * lengths(0.7, **never), abs=4)
    usual, slow = (tts("one two three", PROMPT, seed=1, options=DecodingOptions(pace=pace)) for pace in (1.0, 0.7))
    assert (slow.mel - usual.mel).abs().max() > 1e-3  # by its positions alone: little, where nothing was learned


def test_a_pace_is_that_of_the_prompt_and_not_of_what_was_spoken_at_it(tts, monkeypatch):
    paces, decode = [], rendering.decode
    monkeypatch.setattr(
        rendering, "decode", lambda net, new, *rest: paces.append([one.pace for one in new]) or decode(net, new, *rest)
    )
    tts.description.decoding["pace"] = 0.8
    options = DecodingOptions(sentence_gap=0.0)
    tts("one two. three four.", PROMPT, options=options, seed=1)
    assert {pace for one in paces for pace in one} == {0.8}  # each part is in the prompt's voice
    paces.clear()
    tts("one two. three four.", options=options, seed=1)
    assert paces == [[0.8], [1.0]]  # the second is in the voice of the first, which has the pace
    paces.clear()
    tts.continuation("one two three four", PROMPT.audio[:4000])
    assert paces == [[1.0]]  # what is begun goes on as it was begun


def test_a_pace_is_refused_by_models_without_paced_positions(tts):
    tts.network.position = "rope"
    tts.description.network["position"] = "rope"
    with pytest.raises(UserError, match=r"pace=0\.7: this model was trained without paced positions; give 1"):
        tts("one", PROMPT, options=DecodingOptions(pace=0.7))


def test_frames_are_stretched_by_the_speed(tts):
    usual = tts("one two three", PROMPT, seed=1)
    slow = tts("one two three", PROMPT, options=DecodingOptions(speed=0.7), seed=1)
    assert len(slow.mel) == int(np.ceil(len(usual.mel) / 0.7)) and len(slow.waveform) == len(slow.mel) * HOP
    torch.testing.assert_close(slow.mel, Stretch(0.7)(usual.mel, last=True))
    streamed = torch.cat(
        [chunk.mel for chunk in tts.stream("one two three", PROMPT, options=DecodingOptions(speed=0.7), seed=1)]
    )
    torch.testing.assert_close(streamed, slow.mel, atol=1e-3, rtol=0)


def test_later_parts_take_the_speed_from_the_first_alone(tts):
    options = DecodingOptions(speed=1.4, sentence_gap=0.0)
    text = "one two. three four."
    whole = tts(text, seed=1, options=options)
    streamed = torch.cat([chunk.mel for chunk in tts.stream(text, seed=1, options=options)])
    torch.testing.assert_close(streamed, whole.mel, atol=1e-3, rtol=0)


def test_pauses_are_silent_and_the_rest_is_spoken_as_before(tts):
    speech = tts("[pause 0.32s] one [pause 0.64s] two [pause 0.16s]", PROMPT, seed=1)
    first = tts("one", PROMPT, seed=1)
    assert (speech.mel[:20] == -10).all() and (speech.waveform[: 20 * HOP] == 0).all()
    torch.testing.assert_close(speech.mel[20 : 20 + len(first.mel)], first.mel, atol=1e-3, rtol=0)
    gap = speech.mel[20 + len(first.mel) :][:40]
    assert (gap == -10).all() and (speech.mel[-10:] == -10).all() and len(speech.parts) == 2
    streamed = list(tts.stream("[pause 0.32s] one [pause 0.64s] two [pause 0.16s]", PROMPT, seed=1))
    torch.testing.assert_close(torch.cat([chunk.mel for chunk in streamed]), speech.mel, atol=1e-3, rtol=0)
    assert sum(len(chunk.waveform) for chunk in streamed) == len(speech.waveform) == len(speech.mel) * HOP


def test_sentences_stand_apart_by_the_gap(tts):
    speech = tts("One two. Three.", PROMPT, seed=1, options=DecodingOptions(sentence_gap=0.48))
    first = tts("One two.", PROMPT, seed=1)
    assert len(speech.parts) == 2
    assert (speech.mel[len(first.mel) : len(first.mel) + 30] == -10).all()
    assert (speech.mel[len(first.mel) + 30] > -10).any()


def test_what_cannot_be_is_named(tts):
    for text, says in (
        ("one [pause] two", r"\[pause\]: say how long"),
        ("one [pause soon] two", "say how long"),
        ("one [pause 100s] two", "10 s at a time"),
        ("[pause 1s]", "nothing to say"),
    ):
        with pytest.raises(UserError, match=says):
            tts(text)
    for options, says in (
        ({"speed": 3}, "speed=3 must be between 0.5 and 2"),
        ({"pace": 0.4}, "pace=0.4 must be between 0.5 and 2"),
        ({"sentence_gap": -1}, "between 0 and 10"),
    ):
        with pytest.raises(UserError, match=says):
            DecodingOptions(**options)
    assert show_text("one [pause 0.5s] two", tts.tokenizer) == "one [pause 0.5s] two"


def test_the_command_takes_them(tiny_checkpoint, tmp_path):
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps({"text": "one [pause 1s] two", "id": "a"}) + "\n")
    for speed in ("0.7", "1.4"):
        command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--jobs", str(jobs), "--speed", speed]
        assert main([*command, "--sentence-gap", "0.2", "-o", str(tmp_path / speed), "--device", "cpu"]) == 0
    sizes = [(tmp_path / speed / "a.wav").stat().st_size for speed in ("0.7", "1.4")]
    assert sizes[0] > sizes[1] > 2 * 16000
