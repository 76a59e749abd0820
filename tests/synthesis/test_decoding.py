"""Bounds of length, seeds and the public interface."""

from dataclasses import replace

import pytest
import soundfile
import torch

from melle.audio import load_audio, save_audio
from melle.checkpoint import LoadedModel, load_model
from melle.errors import UserError
from melle.model import Melle
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer

PROMPT = Prompt(0.1 * torch.sin(torch.arange(16000) / 10), "one two")


@pytest.fixture
def tts(tiny_checkpoint) -> Synthesizer:
    return Synthesizer.from_checkpoint(tiny_checkpoint)


def bias_stop(tts: Synthesizer, value: float) -> None:
    torch.nn.init.zeros_(tts.network.stop.weight)
    torch.nn.init.constant_(tts.network.stop.bias, value)


def test_an_eager_stop_waits_for_the_minimum_and_a_missing_one_is_cut(tts):
    # Expected: 2 words × 12 frames = 24 frames, 6 steps.
    bias_stop(tts, 50.0)
    eager = tts(["one two"], options=DecodingOptions(min_length=0.5))[0]
    assert (len(eager.mel), eager.finish_reason) == (3 * 4, "stop")
    bias_stop(tts, -50.0)
    endless = tts(["one two"], options=DecodingOptions(max_length=2.0))[0]
    assert (len(endless.mel), endless.finish_reason) == (12 * 4, "length")
    assert endless.stop.shape == (12,)


def test_length_is_judged_by_the_prompts_pace(tts):
    bias_stop(tts, -50.0)
    tts.description = replace(tts.description, length_range=(0.5, 3.0))
    # 1 s is 63 frames, 15 whole steps for 2 words; 4 words are due after 30 steps.
    speech = tts(["one two three four"], [PROMPT], options=DecodingOptions(max_length=1.5))[0]
    assert len(speech.mel) == 45 * 4
    # Nobody speaks so: the training data's slowest, 12 frames × 2 a word.
    tts.description = replace(tts.description, length_range=(0.5, 2.0))
    speech = tts("one two three four", PROMPT, options=DecodingOptions(max_length=1.5))
    assert len(speech.mel) == 4 * 12 * 2 * 1.5


def test_learned_positions_bound_text_prompt_and_speech(tiny_checkpoint):
    model = load_model(tiny_checkpoint)
    arguments = {**model.description.network, "position": "learned", "max_text": 8, "max_steps": 20}
    tts = Synthesizer(LoadedModel(Melle(**arguments).eval(), model.description, 1))
    bias_stop(tts, -50.0)
    speech = tts(["one two three four", "one"], [PROMPT, None], options=DecodingOptions(max_length=9.0))
    # 15 of the 20 steps are the prompt's; without a prompt 1 word is cut at 9 × 3 steps, which is more than 20.
    assert [len(s.mel) for s in speech] == [5 * 4, 20 * 4]
    assert all(s.finish_reason == "length" for s in speech)
    bias_stop(tts, 50.0)  # a stop counts at the longest, though it is below the minimum
    patient = tts("one two", options=DecodingOptions(min_length=100.0, max_length=101.0))
    assert (len(patient.mel), patient.finish_reason) == (20 * 4, "stop")
    # In parts the first is the prompt of the others: 3 + 3 words and <EOS> fit into 8.
    assert len(tts(" ".join(["one"] * 9)).parts) == 3
    bias_stop(tts, -50.0)  # nor does the first take all the steps that there are
    long = tts(" ".join(["one"] * 9), options=DecodingOptions(max_length=9.0))
    assert long.parts == ("length",) * 3 and len(long.stop) == 10 + 10 + 10
    with pytest.raises(UserError, match="shorten the prompt"):
        tts("one two", Prompt(PROMPT.audio, " ".join(["one"] * 7)))
    with pytest.raises(UserError, match="9 tokens, the model takes 8; shorten the prompt"):
        tts("one", PROMPT.audio, "one two three four five six seven")
    bias_stop(tts, -50.0)
    assert tts("one two three four five six", PROMPT).finish_reason == "length"  # in two parts
    with pytest.raises(UserError, match="prompt has 25 mel steps, the model takes 19"):
        tts(["one"], [Prompt(PROMPT.audio.repeat(2)[: 25 * 4 * 256], "one")])


def test_rows_of_a_batch_end_apart_and_seeds_repeat(tts):
    bias_stop(tts, -50.0)
    texts, prompts = ["one", "one two three"], [None, PROMPT]
    a, b = tts(texts, prompts, seed=3), tts(texts, prompts, seed=3)
    assert len(a[0].mel) < len(a[1].mel)
    for one, two in zip(a, b):
        assert torch.equal(one.waveform, two.waveform) and one.seed == 3
    assert not torch.equal(tts(texts, prompts, seed=4)[1].mel, a[1].mel)
    anew = [tts(texts, prompts, seed=None)[1].mel for _ in range(2)]
    assert not torch.equal(*anew)


def test_bad_requests_say_what_to_do(tts):
    with pytest.raises(UserError, match="never learned: 'hello'"):
        tts(["hello"])
    with pytest.raises(UserError, match="needs its transcript"):
        tts(["one"], [Prompt("x.wav", " ")])
    with pytest.raises(UserError, match="too short for a prompt"):
        tts(["one"], [Prompt(torch.zeros(300), "one")])
    with pytest.raises(UserError, match="no such file"):
        tts(["one"], [Prompt("nowhere.wav", "one")])
    with pytest.raises(ValueError, match="2 texts, but 1 values of prompt"):
        tts(["one", "two"], [None])


def test_arguments_come_in_any_form_and_results_are_plain_tensors(tts):
    as_array = tts("one", PROMPT.audio.numpy(), PROMPT.text)
    assert torch.equal(tts("one", PROMPT).mel, as_array.mel)
    assert [speech.seed for speech in tts(["one"] * 3, seed=range(4, 7))] == [4, 5, 6]
    assert tts("one", PROMPT, PROMPT.text).seed == 0
    with pytest.raises(UserError, match="has a text of its own"):
        tts("one", PROMPT, "nine")
    with pytest.raises(UserError, match="int16"):
        tts("one", torch.ones(16000, dtype=torch.int16), "nine")
    with pytest.raises(UserError, match="scale it down"):
        tts("one", 20000 * PROMPT.audio, "nine")
    with pytest.raises(UserError, match="cannot be read"):
        tts("one", PROMPT.audio.numpy().astype(">f4"), "nine")
    with pytest.raises(UserError, match="retries=-1"):
        tts("one", retries=-1)
    for seed in (-1, 2**63):
        with pytest.raises(UserError, match=f"seed={seed}"):
            tts("one", seed=seed)
    for chunk in (as_array, *tts.stream("one two")):
        chunk.mel.add_(1), chunk.waveform.mul_(2)
    assert as_array.stop.untyped_storage().nbytes() == 4 * len(as_array.stop)


def test_samples_match_a_file(tts, tmp_path):
    bias_stop(tts, -50.0)
    save_audio(tmp_path / "p.wav", PROMPT.audio, 16000)
    from_file = tts(["one"], [Prompt(tmp_path / "p.wav", PROMPT.text)])[0]
    from_samples = tts(["one"], [Prompt(load_audio(tmp_path / "p.wav", 16000), PROMPT.text)])[0]
    assert torch.equal(from_file.mel, from_samples.mel)


def test_speech_is_saved_as_its_name_ends(tiny_checkpoint, tmp_path):
    speech = Synthesizer.from_checkpoint(tiny_checkpoint)("one two", seed=1)
    speech.save(tmp_path / "out.flac")
    samples, rate = soundfile.read(tmp_path / "out.flac", dtype="float32")
    assert rate == speech.sample_rate and soundfile.info(tmp_path / "out.flac").format == "FLAC"
    torch.testing.assert_close(torch.from_numpy(samples), speech.waveform.clamp(-1, 1), atol=1e-4, rtol=0)
    with pytest.raises(UserError, match="format"):
        speech.save(tmp_path / "out.xyz")
