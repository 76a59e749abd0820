"""A stream is the whole, piece by piece; long texts are spoken in parts of one voice."""

from dataclasses import replace

import pytest
import torch

from melle.synthesis import rendering, synthesizer
from melle.synthesis.chunking import PAUSE
from melle.synthesis.crossfade import worst_reason
from melle.synthesis.options import derive_seed
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from tests.synthesis.test_decoding import PROMPT, bias_stop

LONG = " ".join(["one two three four five six seven eight"] * 2)
HOP = 256


@pytest.fixture
def tts(tiny_checkpoint) -> Synthesizer:
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    bias_stop(tts, -50.0)
    with torch.no_grad():  # within full scale
        tts.network.latent.project.bias[: tts.network.group] -= 2
    return tts


@pytest.mark.parametrize("prompt", [None, PROMPT])
@pytest.mark.parametrize("text", ["one two three", LONG])
def test_a_stream_is_the_whole_piece_by_piece(tts, text, prompt):
    tts.description = replace(tts.description, most_tokens=5)
    whole = tts(text, prompt, seed=5)
    chunks = list(tts.stream(text, prompt, seed=5))
    assert len(chunks) > 2
    mel, waveform = (torch.cat([getattr(chunk, name) for chunk in chunks]) for name in ("mel", "waveform"))
    torch.testing.assert_close(mel, whole.mel, rtol=0, atol=1e-4)
    assert chunks[-1].parts == whole.parts == (("length",) * 4 if text == LONG else ())
    assert [chunk.finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + [whole.finish_reason]
    assert len(waveform) == len(whole.waveform) == len(mel) * HOP
    times = [chunk.elapsed for chunk in chunks]
    assert times == sorted(times) and 0 < times[0] < times[-1]
    if text != LONG:  # alone in a batch, so nothing at all is different
        assert torch.equal(mel, whole.mel)


def test_streamed_samples_are_the_wholes_where_the_vocoder_knows_its_reach(tts, tmp_path):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    from melle.vocoders import make_vocoder

    SpeechT5HifiGan(SpeechT5HifiGanConfig(upsample_initial_channel=32)).save_pretrained(tmp_path / "gan")
    tts.vocoder = make_vocoder("hifigan", tts.spec, model=str(tmp_path / "gan"))
    whole = tts("one two three", PROMPT)
    streamed = torch.cat([chunk.waveform for chunk in tts.stream("one two three", PROMPT)])
    torch.testing.assert_close(streamed, whole.waveform, rtol=0, atol=1e-4)


def test_a_long_text_is_its_parts_in_one_voice(tts):
    tts.description = replace(tts.description, most_tokens=5)
    words = LONG.split()
    parts = [" ".join(words[start : start + 5]) for start in range(0, 16, 5)]
    for prompt in (PROMPT, None):
        whole = tts(LONG, prompt, seed=9)
        said = [tts(parts[0], prompt, seed=9)]
        voice = prompt
        for number, part in enumerate(parts[1:], 1):
            if prompt is None:  # goes on in the voice of the first part
                read = Prompt(None, parts[0], tts.tokenizer.encode(parts[0]), said[0].mel)
                said.append(tts(part, read, seed=derive_seed(9, "part", number)))
            else:
                said.append(tts(part, voice, seed=derive_seed(9, "part", number)))
        pause = round(PAUSE * 62.5)
        start = 0
        for number, speech in enumerate(said):
            end = start + len(speech.mel)
            torch.testing.assert_close(whole.mel[start:end], speech.mel, rtol=0, atol=1e-3)
            sound = whole.waveform[start * HOP : end * HOP]
            # The edges fade, so that nothing clicks.
            assert sound[0] == 0 and abs(float(sound[-1])) < 0.05 * float(sound.abs().max())
            if number < 3:
                assert (whole.mel[end : end + pause] == -10).all()
                assert (whole.waveform[end * HOP : (end + pause) * HOP] == 0).all()
            start = end + pause
        assert whole.finish_reason == "length" and len(whole.mel) == start - pause


def test_long_and_short_texts_share_a_call(tts):
    tts.description = replace(tts.description, most_tokens=5)
    texts, prompts = ["one", LONG, "two three", LONG], [None, None, PROMPT, PROMPT]
    together = tts(texts, prompts, seed=[1, 2, 3, 4])
    for text, prompt, seed, speech in zip(texts, prompts, (1, 2, 3, 4), together):
        torch.testing.assert_close(tts(text, prompt, seed=seed).mel, speech.mel, rtol=0, atol=1e-3)
        assert speech.seed == seed


def test_a_page_takes_no_more_memory_than_a_sentence(tts, monkeypatch):
    """What is alive at a time: one part's frames, whatever the length of the text."""
    tts.description = replace(tts.description, most_tokens=5)
    seen = []
    decode = rendering.decode
    monkeypatch.setattr(
        rendering, "decode", lambda network, rows, *rest: seen.append(len(rows)) or decode(network, rows, *rest)
    )
    frames = sum(len(chunk.mel) for chunk in tts.stream(" ".join([LONG] * 5), seed=1))
    assert seen == [1] * 16 and frames > 16 * 5 * 12
    seen.clear()
    monkeypatch.setattr(synthesizer, "ROWS", 8)
    tts(" ".join([LONG] * 5), seed=1)
    assert seen == [1, 8, 7]


def test_the_whole_is_as_bad_as_its_worst_part(tts):
    assert worst_reason(["stop", "stop"]) == "stop" and worst_reason(["length", "stop"]) == "length"
    assert (
        worst_reason(["length", "degenerate", "stop"]) == "degenerate" and worst_reason(["empty", "empty"]) == "empty"
    )
    assert worst_reason(["stop", "empty"]) == "degenerate"  # for something can be heard
    tts.description = replace(tts.description, most_tokens=5)
    with torch.no_grad():  # some parts end by themselves, after one retry or two
        tts.network.stop.weight.normal_(std=3.0)
        tts.network.stop.bias.fill_(-3.0)
    speech = tts(LONG, PROMPT, seed=11, retries=3)
    assert len(speech.parts) == 4 and speech.finish_reason == worst_reason(speech.parts)
    again = tts(LONG, PROMPT, seed=speech.seed, retries=3)
    assert torch.equal(again.mel, speech.mel) and speech.seed == 11
    assert tts("one", PROMPT).parts == ()
