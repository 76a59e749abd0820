"""What predictions of the prompt lack is added to like frames that are spoken."""

import gc
import math
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from melle.checkpoint import LoadedModel
from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.model.prompt_correction import PromptCorrection
from melle.synthesis import rendering
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.request import make_request
from melle.synthesis.synthesizer import Synthesizer
from melle.text import marks_of
from tests.synthesis.test_decoding import PROMPT
from tests.synthesis.test_prenet_dropout import FREE, TEXTS


@pytest.fixture
def tts(tiny_checkpoint):
    tts = Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")
    tts.network.prenet.dropout = 0.0
    return tts


def by_hand(mel, predicted, true, share):
    """One frame, one frame of the prompt, one band after the other."""
    corrected = []
    for frame in mel.tolist():
        weights = []
        for other in predicted.tolist():
            weights.append(math.exp(-10 * sum((a - b) ** 2 for a, b in zip(frame, other)) / len(frame)))
        lacked = [0.0] * len(frame)
        for weight, was, is_ in zip(weights, predicted.tolist(), true.tolist()):
            lacked = [sum_ + weight * (b - a) for sum_, a, b in zip(lacked, was, is_)]
        corrected.append([a + share * b / (sum(weights) + 1) for a, b in zip(frame, lacked)])
    return torch.tensor(corrected)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_frames_get_what_like_predictions_lacked(share):
    torch.manual_seed(1)
    predicted, mel = torch.randn(7, 5), torch.randn(4, 5)
    true = predicted + torch.randn(7, 5)
    found = PromptCorrection(predicted, true)(mel, share)
    torch.testing.assert_close(found, by_hand(mel, predicted, true, share))


def test_what_is_like_nothing_in_the_prompt_stays_as_it_is():
    predicted = torch.randn(50, 80)
    mel = predicted[:6] + 4
    torch.testing.assert_close(PromptCorrection(predicted, predicted + 1)(mel, 1.0), mel)


@pytest.mark.parametrize("like, shift", [(1, 1 / 2), (9, 9 / 10)])
def test_the_more_like_frames_the_surer(like, shift):
    predicted = torch.randn(1, 80).expand(like, 80)
    found = PromptCorrection(predicted, predicted + 1)(predicted[:1], 1.0)
    torch.testing.assert_close(found, predicted[:1] + shift)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_frames_may_come_in_any_pieces(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    predicted, true, mel = (torch.randn(n, 8, generator=generator) for n in (12, 12, sum(sizes)))
    correction = partial(PromptCorrection(predicted, true), share=0.8)
    torch.testing.assert_close(torch.cat([correction(piece) for piece in mel.split(sizes)]), correction(mel))


def lacking(tts, prompt):
    """What the model predicts of a prompt, by the forward pass of training, and what it is; but for the first fifth."""
    network = tts.network
    row = Row([prompt.tokens], [prompt.mel], ["a"])
    batch = collate([row], network.reduction_factor, network.n_mels, marks_of(tts.tokenizer))
    with torch.no_grad():
        predicted = network.denormalise(network(**batch.inputs(), temperature=0.0).refined)[0]
    heard = len(prompt.mel) // 5
    return predicted[heard : len(prompt.mel)], prompt.mel[heard:]


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_speech_is_corrected_by_its_own_prompt(tts, pause):
    """Each row of a batch by its own, the same when it is streamed; a pause is no part of the prompt."""
    first = tts.read_prompt(PROMPT)
    second = replace(first, mel=first.mel[: len(first.mel) // 2 // 4 * 4] + 0.3)
    plain = DecodingOptions(prompt_pause=pause, **FREE)
    corrected = replace(plain, prompt_correction=0.9)
    was = tts(TEXTS, [first, second], seed=[3, 4], options=plain)
    found = tts(TEXTS, [first, second], seed=[3, 4], options=corrected)
    for text, prompt, seed, before, after in zip(TEXTS, (first, second), (3, 4), was, found, strict=True):
        wanted = by_hand(before.mel, *lacking(tts, prompt), 0.9)
        assert (wanted - before.mel).abs().max() > 0.01
        torch.testing.assert_close(after.mel, wanted, atol=1e-4, rtol=1e-4)
        assert torch.equal(after.stop, before.stop)
        streamed = torch.cat([chunk.mel for chunk in tts.stream(text, prompt, seed=seed, options=corrected)])
        torch.testing.assert_close(streamed, wanted, atol=1e-4, rtol=1e-4)


def test_a_frame_that_is_no_number_corrects_nothing():
    predicted, true, mel = (torch.randn(n, 8) for n in (9, 9, 4))
    broken = predicted.clone()
    broken[3, 2], broken[7] = math.nan, math.inf
    good = [0, 1, 2, 4, 5, 6, 8]
    found = PromptCorrection(broken, true)(mel, 1.0)
    torch.testing.assert_close(found, by_hand(mel, predicted[good], true[good], 1.0))
    nothing = PromptCorrection(torch.full((2, 8), math.nan), true[:2])(mel, 1.0)
    assert torch.equal(nothing, mel)


def test_what_was_decoded_is_judged_and_not_what_was_corrected(tts, monkeypatch):
    """Endings and times of words come from attention to frames that the model has read."""
    seen = []
    monkeypatch.setattr(rendering, "find_words", lambda *arguments: seen.append(arguments[3]) or ())
    monkeypatch.setattr(tts.network, "guided_layers", (0,))
    monkeypatch.setattr(rendering, "ends_early", lambda network, request, mel: seen.append(mel) or False)
    prompt = tts.read_prompt(PROMPT)
    for share in (0.0, 1.0):
        how = {
            "seed": 3,
            "options": DecodingOptions(prompt_correction=share, stop_threshold=1e-6, **FREE),
            "words": True,
        }
        tts(TEXTS[0], prompt, **how)
        list(tts.stream(TEXTS[0], prompt, **how))
    assert len(seen) == 8
    for mel in seen[1:]:
        torch.testing.assert_close(mel, seen[0])


def test_a_model_that_says_so_is_corrected(tts):
    """By its own description, as with everything else of how it speaks best."""
    prompt, asked = tts.read_prompt(PROMPT), DecodingOptions(prompt_correction=0.7, **FREE)
    wanted, plain = (tts(TEXTS[0], prompt, seed=3, options=how).mel for how in (asked, DecodingOptions(**FREE)))
    assert (wanted - plain).abs().max() > 0.01
    tts.description = replace(tts.description, decoding={"prompt_correction": 0.7})
    assert torch.equal(tts(TEXTS[0], prompt, seed=3, options=DecodingOptions(**FREE)).mel, wanted)
    off = DecodingOptions(prompt_correction=0.0, **FREE)
    assert torch.equal(tts(TEXTS[0], prompt, seed=3, options=off).mel, plain)


def test_a_voice_is_looked_at_once(tts, monkeypatch):
    """Whatever is said in it, at whatever pace and by whatever seed; another voice or dropout is another."""
    looked, look = [], rendering.predicted_frames
    monkeypatch.setattr(rendering, "predicted_frames", lambda *given: looked.append(given) or look(*given))
    prompt, options = tts.read_prompt(PROMPT), DecodingOptions(prompt_correction=1.0, **FREE)
    tts(TEXTS, prompt, seed=[3, 4], options=options)
    for how in ({"prompt_pause": 0.3}, {"prompt_correction": 0.5}):
        tts(TEXTS[0], prompt, seed=5, options=replace(options, **how))
    assert len(looked) == 1
    tts(TEXTS[0], prompt, seed=5, options=replace(options, prenet_dropout=0.4))
    tts(TEXTS[0], replace(prompt, mel=prompt.mel + 0.1), seed=5, options=options)
    tts(TEXTS[0], replace(prompt, tokens=prompt.tokens[:-1]), seed=5, options=options)
    assert len(looked) == 4
    assert (looked[0][1].keep == 1).all() and (looked[1][1].keep == 0).any()  # what is dropped
    again = tts.read_prompt(PROMPT)
    assert tts(TEXTS[0], again, seed=5, options=options).mel.equal(tts(TEXTS[0], prompt, seed=5, options=options).mel)


def test_what_is_known_of_a_voice_goes_with_its_prompt(tts):
    """A server that has removed a voice keeps nothing of its recording."""
    prompt = Prompt(PROMPT.audio, PROMPT.text)
    tts(TEXTS[0], prompt, seed=3, options=DecodingOptions(prompt_correction=1.0, **FREE))
    (made,) = prompt.known.values()
    kept = weakref.ref(made)
    del made, prompt
    gc.collect()
    assert kept() is None


def test_another_model_looks_for_itself(tts):
    other = Synthesizer(LoadedModel(tts.network, tts.description, 0), device="cpu")
    prompt, options = Prompt(PROMPT.audio, PROMPT.text), DecodingOptions(prompt_correction=1.0, **FREE)
    tts(TEXTS[0], prompt, options=options), other(TEXTS[0], prompt, options=options)
    a, b = prompt.known.values()
    assert a is not b and len({key[0] for key in prompt.known}) == 2


def test_the_pace_that_is_asked_for_is_not_the_prompts(tts):
    how = DecodingOptions(prompt_correction=1.0, pace=0.7, prompt_pause=0.5).with_defaults()
    prompt = tts.read_prompt(Prompt(PROMPT.audio, PROMPT.text))
    request = make_request("one", tts.tokenizer.encode("one"), prompt, 3, how, tts.description, tts.network)
    assert request.tempo != 1
    found = tts._correction(request, how).func
    torch.testing.assert_close(found._predicted, lacking(tts, prompt)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weights", ["bfloat16", "float16", "int8"])
def test_with_lighter_weights_it_is_about_the_same(tiny_checkpoint, weights):
    plain, lighter = (
        Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu", weights=w) for w in ("float32", weights)
    )
    prompt = plain.read_prompt(Prompt(PROMPT.audio, PROMPT.text))
    how = DecodingOptions(prenet_dropout=0.0).with_defaults()
    for tts in (plain, lighter):
        request = make_request("one", tts.tokenizer.encode("one"), prompt, 3, how, tts.description, tts.network)
        tts._correction(request, replace(how, prompt_correction=1.0))
    a, b = prompt.known.values()
    torch.testing.assert_close(b._predicted, a._predicted, atol=0.15, rtol=0)
    assert b._predicted.dtype == torch.float32


def test_without_a_prompt_that_has_a_text_there_is_nothing_to_correct_by(tts):
    plain, asked = DecodingOptions(**FREE), DecodingOptions(prompt_correction=1.0, **FREE)
    assert torch.equal(tts(TEXTS[0], seed=3, options=asked).mel, tts(TEXTS[0], seed=3, options=plain).mel)
    long, apart = "one two three. four five.", {"sentence_gap": 0.1}  # the first sentence is the prompt of the second
    a, b = (tts(long, seed=3, options=replace(how, **apart)) for how in (asked, plain))
    assert len(a.parts) == 2 and torch.equal(a.mel, b.mel)
    beginning = torch.randn(16000).clamp(-1, 1) * 0.1
    a, b = (tts.continuation(TEXTS[0], beginning, seed=3, options=how).mel for how in (asked, plain))
    assert torch.equal(a, b)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UserError, match="prompt_correction"):
        DecodingOptions(prompt_correction=share)
