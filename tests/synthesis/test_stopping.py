"""Every utterance ends within its bounds, and says why."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.audio import LogMel, loudness, speech_level
from melle.errors import UserError
from melle.synthesis.prompt import Prompt
from melle.synthesis.stopping import REASONS, SILENT, DecodingOptions, Stopping
from melle.synthesis.synthesizer import Synthesizer
from tests.many_syntheses import check, random_model
from tests.synthesis.test_decoding import PROMPT, bias_stop

RATE = 62.5  # frames per second


@pytest.fixture
def tts(tiny_checkpoint) -> Synthesizer:
    return Synthesizer.from_checkpoint(tiny_checkpoint)


def watch(mel: torch.Tensor, stop: list[float], r: int, earliest=1, latest=10**6, level=0.0, **options) -> tuple:
    """(steps, reason) of one row with frames (T, M) and stop probabilities."""
    settings = DecodingOptions(**options)
    bounds = (torch.tensor([value]) for value in (earliest, latest))
    stopping = Stopping(settings, *bounds, torch.tensor([level]), RATE, r)
    for count, probability in enumerate(stop, 1):
        known = mel[None, max(0, count * r - stopping.window) : count * r]
        stopping.update(count, torch.tensor([probability]), known)
    return int(stopping.steps), REASONS[int(stopping.reason)]


def naive(mel: torch.Tensor, stop: list[float], r: int, earliest: int, latest: int, silence: float) -> tuple:
    """Another way to say the same, without the limit of one held sound."""
    heard, quiet = False, 0
    for step, probability in enumerate(stop, 1):
        for frame in mel[(step - 1) * r : step * r]:
            loud = max(frame.tolist()) >= -SILENT
            heard, quiet = heard or loud, 0 if loud else quiet + 1
        why = None
        if probability >= 0.5 and step >= earliest:
            why = "stop"
        elif quiet >= silence * RATE:
            why = "degenerate"
        elif step >= latest:
            why = "length"
        if why is not None:
            return step, why if heard else "empty"
    return 0, "stop"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 80),
    st.sampled_from([0.1, 0.3, 2.0]),
)
def test_stopping_is_a_naive_loop(r, steps, earliest, latest, silence):
    torch.manual_seed(0)
    frames = [torch.randn(8).clamp(max=-0.1) - (5 if silent else 0) for silent, _ in steps for _ in range(r)]
    mel, stop = torch.stack(frames), [probability for _, probability in steps]
    found = watch(mel, stop, r, earliest, latest, max_silence=silence, max_still=math.inf)
    assert found == naive(mel, stop, r, earliest, latest, silence)


@pytest.mark.parametrize("bad", [{"max_length": math.inf}, {"temperature": math.inf}, {"temperature": math.nan}])
@pytest.mark.parametrize("name", ["min_length", None])
def test_what_has_no_end_is_refused(bad, name):
    with pytest.raises(UserError, match="must be a number"):
        DecodingOptions(**bad, **({name: 1.0} if name else {}))


def test_a_held_sound_is_degenerate_and_speech_is_not(real_speech):
    for _, waveform in real_speech:
        mel = LogMel()(waveform)
        mel = mel[: len(mel) // 2 * 2]
        level = speech_level(mel)
        going = [0.0] * (len(mel) // 2)
        assert watch(mel, going, 2, level=level) == (0, "stop")  # it has not ended
        loudest = int(loudness(mel).argmax())
        held = mel[loudest] + 0.2 * torch.randn(200, mel.shape[1])  # a vowel, with the noise of sampling
        steps, reason = watch(torch.cat((mel, held)), [0.0] * (len(going) + 100), 2, level=level)
        assert reason == "degenerate" and 0 <= steps * 2 / RATE - len(mel) / RATE <= 1.2
        silent = torch.full((200, mel.shape[1]), -10.0)
        steps, reason = watch(torch.cat((mel, silent)), [0.0] * (len(going) + 100), 2, level=level, max_still=9)
        assert reason == "degenerate" and 1.2 <= steps * 2 / RATE - len(mel) / RATE <= 1.6


def test_bounds_are_the_training_datas(tts):
    bias_stop(tts, -50.0)
    tts.description = replace(tts.description, length_range=(0.5, 2.0))
    assert len(tts("one two").mel) == 2 * 12 * 2 * 1.25
    bias_stop(tts, 50.0)
    assert len(tts("one two three four").mel) == math.floor(4 * 12 / 4 * 0.5 * 0.8) * 4


def test_silence_is_not_passed_off_as_speech(tts):
    torch.nn.init.zeros_(tts.network.latent.project.weight)  # every frame the same …
    torch.nn.init.constant_(tts.network.latent.project.bias, -9.0)  # … and very soft
    tts.network.latent.perceptron.requires_grad_(False)
    for parameter in tts.network.latent.perceptron.parameters():
        parameter.zero_()
    bias_stop(tts, 50.0)
    assert tts("one two").finish_reason == "empty"
    bias_stop(tts, -50.0)
    assert tts("one two three").finish_reason == "empty"


def test_what_did_not_end_is_tried_again_with_another_seed(tts):
    texts, seeds = ["one two", "three", "nine nine nine", "six one"] * 3, list(range(12))
    options = DecodingOptions(min_length=0.0, max_length=1.5, stop_threshold=0.985)
    with torch.no_grad():
        tts.network.stop.weight.mul_(8)  # whether it stops is now a matter of luck
    once = tts(texts, options=options, seed=seeds)
    assert {speech.finish_reason for speech in once} == {"stop", "length"}
    again = tts(texts, options=options, seed=seeds, retries=40)
    assert {speech.finish_reason for speech in again} == {"stop"}
    for text, seed, first, last in zip(texts, seeds, once, again):
        assert (last.seed == seed) == (first.finish_reason == "stop")
        torch.testing.assert_close(tts(text, options=options, seed=last.seed).mel, last.mel, rtol=0, atol=1e-3)
    bias_stop(tts, -50.0)
    failed = tts("one two", options=options, seed=1, retries=2)
    assert failed.finish_reason == "length" and failed.seed == 1


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"stop_threshold": 0},
        {"max_silence": 0},
        {"max_still": -1},
        {"min_length": -0.1},
        {"min_length": 2, "max_length": 1},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=list(options)[-1]):
        DecodingOptions(**options)


@pytest.mark.parametrize("text", ["", "  ", "...", "?!", "🙂🙂", "—"])
def test_texts_without_words_are_refused(tts, text):
    with pytest.raises(UserError, match="at least one word"):
        tts(text)


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (torch.zeros(16000), "silence"),
        (0.1 * torch.ones(160), "too short"),
        (0.1 * torch.ones(300 * 16000), "too long"),
        (torch.full((16000,), math.nan), "not numbers"),
        (torch.ones(2, 16000), "mono"),
    ],
)
def test_prompts_of_no_use_are_refused(tts, audio, says):
    with pytest.raises(UserError, match=says):
        tts("one", Prompt(audio, "two"))


def test_prompts_without_text_or_sound_are_refused(tts, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"\0\0\0\x20ftypisom" + bytes(4000))
    with pytest.raises(UserError, match="not readable as audio"):
        tts("one", film, "two")
    with pytest.raises(UserError, match="needs its transcript"):
        tts("one", PROMPT.audio)
    with pytest.raises(UserError, match="belong together"):
        tts("one", prompt_text="two")


def test_models_that_cannot_speak_end_all_the_same():
    rng, found = random.Random(1), Counter()
    for _ in range(25):
        found += check(random_model(rng), rng, 4)
    assert found.total() == 100 and set(found) == set(REASONS)
