"""What a model gets wrong of the prompt is taken from like frames that it says."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from melle.data.batch import Row, collate
from melle.errors import UserError
from melle.model.prompt_correction import PromptCorrection
from melle.synthesis.decoding import decode
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from melle.text import marks_of
from tests.synthesis.test_decoding import PROMPT

FREE = {"min_length": 0.0, "max_length": 3.0, "max_silence": math.inf, "max_still": math.inf}
TEXTS = ["one two three", "four five"]


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
    found = PromptCorrection(predicted, true, share)(mel)
    torch.testing.assert_close(found, by_hand(mel, predicted, true, share))


def test_what_is_like_nothing_in_the_prompt_stays_as_it_is():
    predicted = torch.randn(50, 80)
    mel = predicted[:6] + 4
    torch.testing.assert_close(PromptCorrection(predicted, predicted + 1, 1.0)(mel), mel)


@pytest.mark.parametrize("like, shift", [(1, 1 / 2), (9, 9 / 10)])
def test_the_more_like_frames_the_surer(like, shift):
    predicted = torch.randn(1, 80).expand(like, 80)
    found = PromptCorrection(predicted, predicted + 1, 1.0)(predicted[:1])
    torch.testing.assert_close(found, predicted[:1] + shift)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_frames_may_come_in_any_pieces(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    predicted, true, mel = (torch.randn(n, 8, generator=generator) for n in (12, 12, sum(sizes)))
    correction = PromptCorrection(predicted, true, 0.8)
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


def test_whatever_decodes_is_corrected(tts):
    """As the server's shared batch is."""
    prompt, options = tts.read_prompt(PROMPT), DecodingOptions(prompt_correction=1.0, **FREE)
    wanted = tts(TEXTS[0], prompt, seed=3, options=options).mel
    tts.decoder = lambda requests, how: decode(tts.network, requests, how, tts.spec.frame_rate)
    assert torch.equal(tts(TEXTS[0], prompt, seed=3, options=options).mel, wanted)


def test_without_a_prompt_that_has_a_text_there_is_nothing_to_correct_by(tts):
    plain, asked = DecodingOptions(**FREE), DecodingOptions(prompt_correction=1.0, **FREE)
    assert torch.equal(tts(TEXTS[0], seed=3, options=asked).mel, tts(TEXTS[0], seed=3, options=plain).mel)
    beginning = torch.randn(16000).clamp(-1, 1) * 0.1
    a, b = (tts.continuation(TEXTS[0], beginning, seed=3, options=how).mel for how in (asked, plain))
    assert torch.equal(a, b)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UserError, match="prompt_correction"):
        DecodingOptions(prompt_correction=share)
