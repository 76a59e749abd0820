"""Voices that a user saves by name: added, spoken with, listed, removed, taken along by an export."""

import io
import json
import sys

import pytest
import torch

from melle.audio import save_audio
from melle.cli import main
from melle.console import note
from melle.errors import UserError
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import copy_voices, find_voice, read_voices


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MELLE_VOICES", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def recording(tmp_path):
    time = torch.arange(24000) / 24000
    save_audio(tmp_path / "a.wav", 0.3 * torch.sin(2 * torch.pi * 220 * time), 24000)
    return tmp_path / "a.wav"


def add(recording, name="anna", text="one two") -> int:
    return main(["voice", "add", name, "--prompt", str(recording), *(["--prompt-text", text] if text else [])])


def test_a_saved_voice_is_its_prompt(folder, recording, tiny_checkpoint, tmp_path, capsys):
    assert add(recording) == 0
    recording.rename(tmp_path / "elsewhere.wav")  # a voice does not need what it was made of
    how = ["--checkpoint", str(tiny_checkpoint), "--device", "cpu"]
    given = ["--prompt", str(tmp_path / "elsewhere.wav"), "--prompt-text", "one two"]
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(json.dumps({"text": "three", "voice": "anna", "id": "a"}) + "\n")
    for what in (["--voice", "anna", "-o", str(tmp_path / "1.wav")], [*given, "-o", str(tmp_path / "2.wav")]):
        assert main(["synthesize", *how, "--text", "three", *what]) == 0
    assert main(["synthesize", *how, "--jobs", str(jobs), "-o", str(tmp_path / "out")]) == 0
    sounds = [(tmp_path / name).read_bytes() for name in ("1.wav", "2.wav", "out/a.wav")]
    assert sounds[0] == sounds[1] == sounds[2]
    tts = Synthesizer.from_checkpoint(tiny_checkpoint, device="cpu")
    spoken = tts("three", *find_voice(None, "anna"))
    assert torch.equal(spoken.mel, tts("three", str(tmp_path / "elsewhere.wav"), "one two").mel)


def test_voices_are_listed_and_removed(folder, recording, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert add(recording) == 0 and add(recording, "bert-2", "three") == 0
    assert main(["voice", "remove", "anna"]) == 0
    capsys.readouterr()
    assert main(["voice", "list"]) == 0
    assert capsys.readouterr().out == f"{folder}:\n  bert-2  three\n"
    assert [path.name for path in (folder / "voices").glob("*.flac")] == ["bert-2.flac"]
    assert copy_voices(folder, tmp_path / "model") == 1 and list(read_voices(tmp_path / "model")) == ["bert-2"]


def test_the_models_own_voices_are_listed_too(folder, capsys):
    assert main(["voice", "list", "--checkpoint", "data/pretrained"]) == 0
    out = capsys.readouterr().out
    assert f"{folder}: none" in out and "\n  emma" in out


def test_what_cannot_be_a_voice_is_named(folder, recording, tmp_path, capsys):
    def error(*command) -> str:
        assert main(["voice", *map(str, command)]) == 2
        return capsys.readouterr().err

    for name in ("../anna", "an/na", "", "Anna", ".x", "a" * 65, "con\n"):
        assert "a voice's name has" in error("add", name, "--prompt", recording, "--prompt-text", "one")
    assert add(recording) == 0
    assert "there is a voice 'anna' already; add --replace" in error(
        "add", "anna", "--prompt", recording, "--prompt-text", "one"
    )
    for text, said in (("Привет, мир.", "written in Cyrillic"), ("\udcff hi", "half of a character")):
        assert said in error("add", "bert", "--prompt", recording, "--prompt-text", text)
    assert "needs its transcript" in error("add", "bert", "--prompt", recording, "--prompt-text", " ")
    assert "nowhere.wav" in error("add", "bert", "--prompt", tmp_path / "nowhere.wav", "--prompt-text", "one")
    save_audio(tmp_path / "silence.wav", torch.zeros(24000), 24000)
    assert "silence" in error("add", "bert", "--prompt", tmp_path / "silence.wav", "--prompt-text", "one")
    assert "saved are anna" in error("remove", "bert")
    assert list(read_voices(folder)) == ["anna"]


def test_without_a_transcript_whispers_is_taken_and_shown(folder, recording, capsys, monkeypatch):
    monkeypatch.setattr("melle.commands.voice.transcribe", lambda *_: "one two three")
    assert add(recording, text=None) == 0
    assert "transcript: one two three" in capsys.readouterr().out
    assert read_voices(folder)["anna"].text == "one two three"


def test_a_saved_voice_without_its_recording_disturbs_no_other(folder, recording, capsys):
    assert add(recording) == add(recording, "bert") == 0
    (folder / "voices/anna.flac").unlink()
    assert find_voice(None, "bert").text == "one two" and add(recording, "carl") == 0
    with pytest.raises(UserError, match=r"the recording of anna, anna\.flac, is missing"):
        find_voice(None, "anna")
    assert main(["voice", "remove", "anna"]) == 0
    assert list(read_voices(folder)) == ["bert", "carl"]


def test_a_voice_takes_the_place_of_another_where_that_is_said(folder, recording, capsys):
    assert add(recording, "emma") == 2
    assert "data/pretrained has a voice 'emma' of its own, which yours would hide" in capsys.readouterr().err
    assert not folder.exists() or not read_voices(folder)
    given = ["voice", "add", "emma", "--prompt", str(recording), "--prompt-text"]
    assert main([*given, "one two", "--replace"]) == 0 and main([*given, "three", "--replace"]) == 0
    assert read_voices(folder)["emma"].text == "three"


def test_a_saved_voice_that_hides_the_models_is_a_warning(folder, recording, caplog):
    assert main(["voice", "add", "emma", "--prompt", str(recording), "--prompt-text", "one", "--replace"]) == 0
    assert find_voice("data/pretrained", "emma").text == "one"
    assert "voice emma: the saved one is taken, not that of data/pretrained" in caplog.text
    caplog.clear()
    find_voice("data/pretrained", "bella")
    assert not caplog.text


def test_what_transcribing_lacks_is_named(folder, recording, capsys, monkeypatch):
    for package in ("jiwer", "faster_whisper"):
        monkeypatch.setitem(sys.modules, package, None)
    assert add(recording, text=None) == 2
    said = capsys.readouterr().err
    assert "--prompt-text is not given, and Whisper cannot transcribe the recording: it needs faster_whisper" in said
    assert 'pip install -e ".[eval]"' in said and "error rate" not in said


def test_notes_are_for_terminals(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), "loading x …\n"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        note("loading x …")
        assert stream.getvalue() == shown
