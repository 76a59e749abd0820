"""Between the prompt and what it says a model reads silence, where it is asked to."""

import math
from dataclasses import replace

import pytest
import torch

from melle.errors import UserError
from melle.model import Melle
from melle.synthesis import rendering
from melle.synthesis.options import DecodingOptions, make_seeds
from melle.synthesis.prompt import steps_of_pause, with_pause
from melle.synthesis.request import make_request
from melle.synthesis.synthesizer import Synthesizer
from tests.synthesis.test_decoding import PROMPT

FREE = {"min_length": 0.0, "max_length": 3.0, "max_silence": math.inf, "max_still": math.inf}


@pytest.fixture
def tts(tiny_checkpoint):
    return Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")


def silence(tts, frames):
    return torch.full((frames, 80), math.log10(tts.spec.floor))


def request(tts, prompt, pause, **options):
    how = DecodingOptions(prompt_pause=pause, **options).with_defaults()
    return make_request("one", tts.tokenizer.encode("one"), prompt, 3, how, tts.description, tts.network)


@pytest.mark.parametrize("reduction_factor, seconds, frames", [(1, 0.5, 31), (2, 0.5, 32), (4, 0.5, 32), (4, 0.02, 0)])
def test_the_pause_is_digital_silence_of_whole_steps(tts, reduction_factor, seconds, frames):
    prompt = tts.read_prompt(PROMPT)
    steps = steps_of_pause(seconds, tts.spec, reduction_factor)
    longer = with_pause(prompt, steps * reduction_factor, tts.spec)
    assert torch.equal(longer.mel, torch.cat((prompt.mel, silence(tts, frames))))
    assert longer.tokens == prompt.tokens and longer.text == prompt.text


def test_the_pause_counts_neither_for_the_pace_nor_for_the_length(tts):
    prompt, r = tts.read_prompt(PROMPT), tts.network.reduction_factor
    plain, paused = request(tts, prompt, 0.0), request(tts, prompt, 0.5)
    pause = len(paused.prompt.mel) - len(prompt.mel)
    assert torch.equal(plain.prompt.mel, prompt.mel) and plain.tempo == plain.pace == paused.pace == 1.0
    assert abs(pause - 0.5 * tts.spec.frame_rate) <= r / 2 and pause % r == 0
    # Positions take the steps of all that was read before; a token of the text is to take as long as one of the prompt.
    steps_a_token = len(paused.prompt.mel) / r / len(prompt.tokens) / paused.tempo
    assert steps_a_token == pytest.approx(len(prompt.mel) / r / len(prompt.tokens))
    assert (paused.min_steps, paused.max_steps, paused.level) == (plain.min_steps, plain.max_steps, plain.level)
    assert request(tts, prompt, 0.5, pace=0.8).tempo == pytest.approx(0.8 * paused.tempo)


def test_it_speaks_as_after_a_prompt_that_ends_in_silence(tts):
    prompt = tts.read_prompt(PROMPT)
    said = tts("one two three", prompt, seed=1, options=DecodingOptions(prompt_pause=0.5, **FREE))
    pause = len(request(tts, prompt, 0.5).prompt.mel) - len(prompt.mel)
    by_hand = replace(prompt, mel=torch.cat((prompt.mel, silence(tts, pause))))
    pace = len(by_hand.mel) / len(prompt.mel)
    wanted = tts("one two three", by_hand, seed=1, options=DecodingOptions(pace=pace, **FREE))
    torch.testing.assert_close(said.mel, wanted.mel)
    without = tts("one two three", prompt, seed=1, options=DecodingOptions(**FREE)).mel
    shared = min(len(without), len(said.mel))
    assert (without[:shared] - said.mel[:shared]).abs().max() > 1e-3


def test_beside_it_guidance_has_rows_without_prompt_and_pause(tts, monkeypatch):
    found, join = [], Melle.join

    def watched(self, text, lengths, segments, read, steps, longest=None, tempo=None):
        found.append((steps.tolist(), tempo.tolist()))
        return join(self, text, lengths, segments, read, steps, longest, tempo)

    monkeypatch.setattr(Melle, "join", watched)
    tts.description.network["text_dropout"] = 0.1
    prompt, options = tts.read_prompt(PROMPT), DecodingOptions(prompt_pause=0.5, pace=0.8, guidance_scale=1.5)
    options = replace(options, prompt_guidance=0.5)
    tts("one two three", prompt, seed=1, options=options)
    paused = request(tts, prompt, 0.5, pace=0.8)
    (steps, tempo), *_ = found
    assert steps == [[len(paused.prompt.mel) // tts.network.reduction_factor, 0], [0, 0], [0, 0]]
    # The last reads its text at as many steps a token as the first, which goes by its prompt.
    pace = steps[0][0] / len(prompt.tokens) / paused.tempo
    assert tempo == pytest.approx([paused.tempo, 0.8, tts.network.pace / pace]) and paused.tempo > 0.8


def test_where_positions_are_learned_what_leads_leaves_room_for_the_pause(tts, monkeypatch):
    monkeypatch.setattr(Melle, "max_positions", (100, 60))
    tokens = tts.tokenizer.encode("one") * 20
    for pause, steps in ((0.0, 30), (1.0, (60 - round(tts.spec.frame_rate / tts.network.reduction_factor)) // 2)):
        how = DecodingOptions(prompt_pause=pause).with_defaults()
        led = make_request("one", tokens, None, 3, how, tts.description, tts.network, leads=True)
        assert led.max_steps == steps


def test_each_part_has_it_and_what_goes_on_has_not(tts, monkeypatch):
    lengths, decode = [], rendering.decode

    def watched(network, requests, *rest):
        lengths.append([0 if one.prompt is None else len(one.prompt.mel) for one in requests])
        return decode(network, requests, *rest)

    monkeypatch.setattr(rendering, "decode", watched)
    tts.description.decoding["prompt_pause"] = 0.5  # as a model was exported to
    prompt, options = tts.read_prompt(PROMPT), DecodingOptions(sentence_gap=0.0)
    longer = len(request(tts, prompt, 0.5).prompt.mel)
    tts("one two. three four.", prompt, options=options, seed=1)
    assert [length for each in lengths for length in each] == [longer, longer]
    lengths.clear()
    first = tts("one two.", options=options, seed=make_seeds(1, 1)[0])
    tts("one two. three four.", options=options, seed=1)
    assert lengths[1:] == [[0], [len(first.mel) + longer - len(prompt.mel)]]  # the second is in the voice of the first
    lengths.clear()
    tts.continuation("one two three four", PROMPT.audio[:8000])
    assert lengths == [[1 + 8000 // 256 - (1 + 8000 // 256) % tts.network.reduction_factor]]


@pytest.mark.parametrize("pause", [-0.1, 2.5, math.nan])
def test_a_pause_is_refused_out_of_range(pause):
    with pytest.raises(UserError, match=r"prompt_pause=.* must be between 0 and 2 seconds"):
        DecodingOptions(prompt_pause=pause)
