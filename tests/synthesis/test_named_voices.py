"""An exported model speaks in voices of its own, by name."""

import json

import pytest
import torch

from melle.audio import save_audio
from melle.cli import main
from melle.errors import UserError
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import read_voices


@pytest.fixture
def voices(tmp_path):
    """A folder of two voices, as a person would make it."""
    folder = tmp_path / "mine" / "voices"
    folder.mkdir(parents=True)
    for name, hertz in (("anna", 220), ("bert", 110)):
        time = torch.arange(16000) / 16000
        save_audio(folder / f"{name}.wav", 0.3 * torch.sin(2 * torch.pi * hertz * time), 16000)
    entries = {name: {"audio": f"{name}.wav", "text": "one two"} for name in ("bert", "anna")}
    (folder / "voices.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def model(tiny_checkpoint, voices, tmp_path):
    folder = tmp_path / "model"
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(folder), "--voices", str(voices)]
    assert main(command) == 0
    return folder


def speak(model, tmp_path, *options) -> bytes:
    output = tmp_path / "out.wav"
    command = ["synthesize", "--checkpoint", str(model), "--text", "three", "-o", str(output), "--device", "cpu"]
    assert main([*command, *options]) == 0
    return output.read_bytes()


def test_a_named_voice_is_its_prompt(model, voices, tmp_path, capsys):
    prompt = ["--prompt", str(voices / "anna.wav"), "--prompt-text", "one two"]
    assert speak(model, tmp_path, "--voice", "anna") == speak(model, tmp_path, *prompt)
    capsys.readouterr()
    first = speak(model, tmp_path)
    assert "voice: bert, the model's first" in capsys.readouterr().out
    assert first == speak(model, tmp_path, "--voice", "bert") != speak(model, tmp_path, "--voice", "anna")


def test_a_voice_is_named_in_python_beside_a_prompt(model, voices):
    tts = Synthesizer.from_pretrained(model, device="cpu")
    anna = tts("three", voices / "anna.wav", "one two").waveform
    assert torch.equal(tts("three", voice="anna").waveform, anna)
    assert torch.allclose(tts(["three", "three"], voice=["anna", None])[0].waveform, anna, atol=0.02)
    frames = torch.cat([chunk.mel for chunk in tts.stream("three", voice="anna")])
    torch.testing.assert_close(frames, tts("three", voice="anna").mel)
    with pytest.raises(UserError, match="give one of them"):
        tts("three", voices / "anna.wav", "one two", voice="anna")
    with pytest.raises(UserError, match="has no voice 'eve': it has bert, anna"):
        tts("three", voice="eve")
    with pytest.raises(UserError, match=r"has no voice 'Ana' \(did you mean anna\?\): it has bert, anna"):
        tts("three", voice="Ana")


def test_voices_travel_with_an_export(model, tmp_path):
    again = tmp_path / "again"
    assert main(["export", "--checkpoint", str(model), "-o", str(again), "--dtype", "float16"]) == 0
    assert list(read_voices(again)) == ["bert", "anna"]
    assert {path.name for path in (again / "voices").iterdir()} == {"anna.wav", "bert.wav", "voices.json"}


def test_what_cannot_be_used_is_named(model, tiny_checkpoint, tmp_path, capsys):
    def error(*options) -> str:
        command = ["synthesize", "--text", "three", "-o", str(tmp_path / "out.wav"), *map(str, options)]
        assert main(command) == 2
        return capsys.readouterr().err

    assert "no voice 'carla': it has bert, anna" in error("--checkpoint", model, "--voice", "carla")
    assert "it has none" in error("--checkpoint", tiny_checkpoint, "--voice", "anna")
    prompt = ["--prompt", "a.wav", "--prompt-text", "one"]
    assert "give one of them" in error("--checkpoint", model, "--voice", "anna", *prompt)
    (model / "voices" / "anna.wav").unlink()
    assert "the recording of anna, anna.wav, is missing" in error("--checkpoint", model, "--voice", "bert")
    (model / "voices" / "voices.json").write_text('{"anna": {"audio": "../../x.wav", "text": "one"}}')
    assert "lies outside this folder" in error("--checkpoint", model)
    (model / "voices" / "voices.json").write_text("[]")
    assert "voices.json: damaged" in error("--checkpoint", model)
