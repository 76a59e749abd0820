"""The commands as a user types them: what they write, and one line instead of a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from melle.audio import load_audio, save_audio
from melle.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def prompt(tmp_path) -> Path:
    save_audio(tmp_path / "voice.wav", 0.1 * torch.sin(torch.arange(16000) / 10), 16000)
    return tmp_path / "voice.wav"


def test_synthesize_writes_speech(tiny_checkpoint, prompt, tmp_path, capsys):
    output = tmp_path / "new" / "out.wav"
    arguments = ["--checkpoint", tiny_checkpoint, "--text", "four two", "--prompt", prompt, "--prompt-text", "one"]
    assert main(["synthesize", *map(str, arguments), "-o", str(output)]) == 0
    assert len(load_audio(output, 16000)) > 0
    assert str(output) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--text": "hello"}, "never learned: 'hello'"),
        ({"--text": " "}, "the text is empty"),
        ({"--checkpoint": "nowhere.ckpt"}, "no such checkpoint"),
        ({"--checkpoint": "voice.wav"}, "not a checkpoint"),
        ({"--prompt-text": None}, "belong together"),
        ({"--prompt": None}, "belong together"),
        ({"--prompt": "nowhere.wav"}, "no such file"),
        ({"--prompt": "text.wav"}, "not readable as audio"),
        ({"-o": "out.xyz"}, "unknown sound format"),
        ({"--vocoder": "world"}, "choose one of"),
        ({"--device": "tpu9"}, "--device tpu9"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tiny_checkpoint, prompt, tmp_path, capsys, monkeypatch, change, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("not sound")
    before = sorted(tmp_path.rglob("*"))
    options = {
        "--checkpoint": str(tiny_checkpoint),
        "--text": "one",
        "--prompt": "voice.wav",
        "--prompt-text": "two",
        "-o": "out.wav",
        **change,
    }
    assert main(["synthesize", *(part for k, v in options.items() if v is not None for part in (k, v))]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1 and error.startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_key_is_told_without_a_traceback():
    command = [sys.executable, "train.py", "modle=quickstart"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert "modle" in result.stderr and "Traceback" not in result.stderr
