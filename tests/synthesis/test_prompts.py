"""A prompt is heard as the training data was: trimmed, at its level; what makes a bad one is a warning."""

import re
from dataclasses import replace

import pytest
import torch
import torchaudio

from melle.audio import LogMel, save_audio, speech_level
from melle.checkpoint import ModelDescription
from melle.cli import main
from melle.errors import UserError
from melle.synthesis import rendering
from melle.synthesis.options import MAX_PROMPT
from melle.synthesis.prompt import Prompt, match_level, sound_faults, trim_silence
from melle.synthesis.synthesizer import Synthesizer
from tests.synthesis.test_decoding import bias_stop

RATE = 16000


@pytest.fixture
def speech(real_speech) -> torch.Tensor:
    """One to three seconds, without the silence around."""
    waveform = real_speech[0][1]
    loud = (waveform.abs() > 0.05 * waveform.abs().max()).nonzero()[:, 0]
    return waveform[loud[0] : loud[-1]]


@pytest.fixture
def tts(tiny_checkpoint, speech) -> Synthesizer:
    """Of training data as loud as the speech, that said "one two three" in as long, give or take."""
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    level, pace = speech_level(LogMel()(speech)), len(speech) / 256 / 3
    tts.description = replace(tts.description, speech_level=level, frames_per_token=pace)
    return tts


def noise(seconds: float, level: float = 1e-4) -> torch.Tensor:
    return level * torch.randn(int(seconds * RATE), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("before", "after"), [(2.0, 2.0), (0.0, 3.0), (1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("floor", [0.0, 1e-4, 1e-3])
def test_silence_around_speech_is_cut(speech, before, after, floor):
    padded = torch.cat((noise(before, floor), speech, noise(after, floor)))
    trimmed = trim_silence(padded, LogMel())
    assert -0.01 < (len(trimmed) - len(speech)) / RATE < 0.3  # a tenth of a second at each end, and a window
    begin = trimmed.storage_offset()
    assert torch.equal(trimmed, padded[begin : begin + len(trimmed)])
    assert begin <= before * RATE and begin + len(trimmed) >= before * RATE + len(speech) - 1


def test_clicks_are_no_speech_and_a_tone_is_not_cut(speech):
    silence = torch.zeros(2 * RATE)
    silence[RATE] = 0.5
    trimmed = trim_silence(torch.cat((silence, speech, silence)), LogMel())
    assert (len(trimmed) - len(speech)) / RATE < 0.3
    tone = 0.1 * torch.sin(torch.arange(RATE) / 10)
    assert torch.equal(trim_silence(tone, LogMel()), tone)
    assert len(trim_silence(tone[:20], LogMel())) == 20


@pytest.mark.parametrize("levelled", [True, False])
def test_a_faint_prompt_is_silence_only_where_its_level_is_not_matched(tts, speech, levelled):
    faint = speech * (5e-4 / speech.abs().max())
    tts.description = replace(tts.description, speech_level=0.0 if levelled else None)
    if levelled:
        assert tts.read_prompt(faint, "one two three").mel is not None
    else:
        with pytest.raises(UserError, match="holds nothing but silence"):
            tts.read_prompt(faint, "one two three")


def test_silence_around_a_prompt_changes_neither_pace_nor_speech(tts, speech, caplog):
    bias_stop(tts, -50.0)
    padded = torch.cat((torch.zeros(2 * RATE), speech, torch.zeros(2 * RATE)))
    bare, long = (tts("four two seven", Prompt(sound, "one two three")) for sound in (speech, padded))
    assert len(bare.mel) == pytest.approx(len(long.mel), rel=0.15)
    assert not caplog.records


@pytest.mark.parametrize("decibels", [-55, -40, -25, -4, 0, 4, 12])
def test_a_prompt_is_brought_to_the_training_datas_level(tts, speech, caplog, decibels):
    read = tts.read_prompt(speech * 10 ** (decibels / 20), "one two three")
    left = decibels if abs(decibels) <= 6 else 0
    assert 20 * (speech_level(read.mel) - tts.description.speech_level) == pytest.approx(left, abs=0.5)
    words = {True: "softer", False: "louder"}[decibels < 0]
    assert [f"{abs(decibels)} dB {words}" in record.message for record in caplog.records] == [True] * (
        left == 0 != decibels
    )


def test_without_a_known_level_a_prompt_keeps_its_own(tts, speech, caplog):
    tts.description = replace(tts.description, speech_level=None)
    read = tts.read_prompt(0.1 * speech, "one two three")
    loudness = speech_level(tts.read_prompt(speech, "one two three").mel)
    assert 20 * (speech_level(read.mel) - loudness) == pytest.approx(-20, abs=0.5)
    assert not any("training data" in record.message for record in caplog.records)
    values = tts.description.as_dict()
    for written in (None, 0.0):  # 0.0 was written where nobody had measured it
        assert ModelDescription.from_dict(values | {"speech_level": written}).speech_level is None


def test_levels_by_hand():
    tone = 0.1 * torch.sin(torch.arange(RATE) / 10)
    level = speech_level(LogMel()(tone))
    louder, gain = match_level(tone, level + 1.0, LogMel())
    assert gain == pytest.approx(20.0, abs=1e-3)
    torch.testing.assert_close(louder, 10 * tone, rtol=1e-4, atol=1e-5)
    same, gain = match_level(tone, level + 0.2, LogMel())
    assert same is tone and gain == 0


def telephone(waveform: torch.Tensor) -> torch.Tensor:
    narrow = torchaudio.functional.resample(waveform, RATE, 8000)
    return torchaudio.functional.resample(narrow, 8000, RATE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda speech: speech, None),
        (lambda speech: (4 * speech / speech.abs().max()).clamp(-1, 1), "is clipped"),
        (lambda speech: 0.3 * (4 * speech / speech.abs().max()).clamp(-1, 1), "is clipped"),  # and made softer
        (telephone, "nothing above 4 kHz"),
        (lambda speech: speech + noise(9.0, 0.5 * float(speech.std()))[: len(speech)], "is noisy"),
    ],
)
def test_what_makes_a_bad_prompt_is_one_warning_each(speech, change, says):
    faults = sound_faults(change(speech), LogMel())
    assert [says in fault for fault in faults] == [True] * (says is not None)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda speech: (4 * speech / speech.abs().max()).clamp(-1, 1), "is clipped"),
        (telephone, "nothing above 4 kHz"),
        (lambda speech: speech + noise(9.0, 0.5 * float(speech.std()))[: len(speech)], "is noisy"),
    ],
)
def test_a_prompt_that_is_read_warns_of_its_sound_once(tts, speech, tmp_path, caplog, change, says):
    bad = change(speech)
    tts.description = replace(tts.description, speech_level=speech_level(LogMel()(bad)))
    tts.read_prompt(bad, "one two three")
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.message.startswith("the prompt: ") and says in record.message
    caplog.clear()
    save_audio(tmp_path / "voice.wav", bad, RATE)
    for _ in range(2):  # of a file once, however often it is the prompt
        tts("four two", tmp_path / "voice.wav", "one two three")
    (record,) = caplog.records
    assert record.message.startswith(str(tmp_path / "voice.wav")) and says in record.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("one two three", None),
        ("nine", "3.0 times as long as its transcript"),
        ("one two three four five six seven", "times as short as its transcript"),
    ],
)
def test_a_transcript_that_does_not_fit_is_a_warning(tts, speech, caplog, text, says):
    tts("four two", speech, text)
    assert [says in record.message for record in caplog.records] == [True] * (says is not None)
    assert all("check that the transcript" in record.message for record in caplog.records)


def test_a_prompt_longer_than_the_training_data_is_a_warning_and_the_limit_an_error(tts, speech, caplog):
    seconds = len(speech) / RATE
    tts.description = replace(tts.description, most_tokens=5)  # two and a half times as long at most
    tts.read_prompt(speech.repeat(2), "one two three four five six")
    assert not caplog.records
    tts.read_prompt(speech.repeat(3), "one two three four five six seven eight nine")
    (record,) = caplog.records
    assert f"longer than what the model was trained on (about {2.5 * seconds:.1f} s)" in record.message
    with pytest.raises(UserError, match=r"70 s are too long for a prompt \(60 s at most\)"):
        tts.read_prompt(noise(70.0, 0.1), "one")


def test_a_prompt_is_read_once_for_many_calls(tts, speech, tmp_path, caplog):
    save_audio(tmp_path / "voice.wav", speech, RATE)
    expected = tts("four two", tmp_path / "voice.wav", "nine")
    read = tts.read_prompt(tmp_path / "voice.wav", "nine")
    (tmp_path / "voice.wav").unlink()
    caplog.clear()
    assert torch.equal(tts("four two", read).mel, expected.mel) and tts.read_prompt(read) is read
    assert not caplog.records
    with pytest.raises(UserError, match="no prompt to read"):
        tts.read_prompt(None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), UserError),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), UserError),
        (MemoryError(), UserError),
        (RuntimeError("shapes do not fit"), RuntimeError),
    ],
)
def test_a_lack_of_memory_says_what_to_lower(tts, monkeypatch, error, expected):
    def decode(*arguments):
        raise error
        yield

    monkeypatch.setattr(rendering, "decode", decode)
    says = "while decoding 2 texts .* up to 3 tokens.*--batch-size" if expected is UserError else "do not fit"
    with pytest.raises(expected, match=says):
        tts(["one", "two three four"])


LACKS = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 9 bytes")]


@pytest.mark.parametrize("error", LACKS, ids=str)
@pytest.mark.parametrize("where", ["prompt", "vocoder", "stream", "beginning", "loading"])
def test_a_lack_of_memory_elsewhere_is_a_sentence_too(tts, tiny_checkpoint, speech, monkeypatch, where, error):
    def fail(*_, **__):
        raise error

    prompt, says = Prompt(speech, "one two three"), r"the prompt on cpu; cut out 3 to 10 seconds"
    if where in ("vocoder", "stream"):
        monkeypatch.setattr(type(tts.vocoder), "forward", fail)
        monkeypatch.setattr(type(tts.vocoder), "stream", lambda self: fail)
        says = r"the vocoder makes \d\.\d s of sound on cpu; take lighter weights \(--weights bfloat16\)"
    elif where == "loading":
        monkeypatch.setattr(rendering, "quantize", fail)
        says = "loading the model on cpu; take lighter weights"
    else:
        monkeypatch.setattr(LogMel, "forward", fail)
    actions = {
        "prompt": lambda: tts("four", prompt),
        "vocoder": lambda: tts("four"),
        "stream": lambda: list(tts.stream("four")),
        "beginning": lambda: tts.continuation("one two three four", speech),
        "loading": lambda: Synthesizer.from_checkpoint(tiny_checkpoint),
    }
    with pytest.raises(UserError, match=rf"out of memory while .*{says}") as caught:
        actions[where]()
    assert "\n" not in str(caught.value)


def test_limits_are_the_same_wherever_they_are_named(tts, speech, capsys, caplog, monkeypatch):
    with pytest.raises(SystemExit):
        main(["synthesize", "--help"])
    assert f"({MAX_PROMPT:g} at most)" in re.sub(r"\s+", " ", capsys.readouterr().out)
    monkeypatch.setattr("melle.synthesis.prompt.MAX_PROMPT", 45.0)
    with pytest.raises(UserError, match=r"50 s are too long for a prompt \(45 s at most\)"):
        tts.read_prompt(noise(50.0, 0.1), "one")
    tts.description = replace(tts.description, most_tokens=None)
    for seconds, warns in ((30, False), (31, True)):
        caplog.clear()
        tts.read_prompt(speech.repeat(40)[: seconds * RATE], "one")
        assert any("about 30.0 s" in record.message for record in caplog.records) == warns
