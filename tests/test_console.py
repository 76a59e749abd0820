"""What all entry points share: any text on any console, one line for a mistake, commands that can be pasted."""

import io
import os
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import evaluate
import train
from melle.cli import _with_texts
from melle.console import run_command, shell_command
from melle.errors import UserError
from tests.test_readme import ROOT


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "utf-8"])
def test_every_console_shows_every_text(monkeypatch, encoding):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for name in ("out", "err")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, f"std{name}", stream)

    def command() -> None:
        print("2 × 三月 🙂")
        raise UserError("the text holds ’")

    assert run_command(command) == 2
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams.values())
    assert out.startswith("2 ") and err.startswith("error: the text holds ")
    assert ("三月" in out) == (encoding == "utf-8") and ("\\u6708" in out) == (encoding != "utf-8")


def test_streams_that_are_none_or_not_consoles_do_no_harm(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)  # as pythonw.exe has it
    assert run_command(lambda: None) == 0


@pytest.mark.parametrize("script", [train, evaluate])
def test_scripts_set_up_the_console_first(monkeypatch, script):
    class SetUp(Exception):
        pass

    def set_up_console() -> None:
        raise SetUp

    monkeypatch.setattr(script, "set_up_console", set_up_console)
    with pytest.raises(SetUp):
        script.main.__wrapped__(None)  # as Hydra calls it


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_printed_commands_are_read_as_they_were_meant(words):
    assert shlex.split(shell_command(*words)) == words


def test_a_shell_reads_a_printed_command():
    words = ["it's", 'a "quote"', "$HOME", "`date`", "a b", "*", "-Ouch!", "é"]
    shown = subprocess.run(["sh", "-c", shell_command("printf", "%s\\n", *words)], capture_output=True, text=True)
    assert shown.stdout.splitlines() == words


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--text", "-Ouch!"], ["--text=-Ouch!"]),
        (["--prompt-text", "-3 degrees", "--text", "--- so"], ["--prompt-text=-3 degrees", "--text=--- so"]),
        (["--text", "--seed", "3"], ["--text", "--seed", "3"]),  # the text is missing
        (["--text", "-o", "x.wav"], ["--text", "-o", "x.wav"]),
        (["--text", "plain", "-Ouch!"], ["--text", "plain", "-Ouch!"]),
        (["--seed", "-1"], ["--seed", "-1"]),
    ],
)
def test_a_text_may_begin_with_a_hyphen(given, read):
    assert _with_texts(given) == read


@pytest.mark.parametrize("command", [["-m", "melle", "synthesize", "--help"], ["train.py", "name=Été", "--cfg", "job"]])
def test_what_is_printed_before_anything_runs_needs_no_unicode(command):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()[-500:]
    assert b"\\u2026" in run.stdout or b"\\xc9t\\xe9" in run.stdout  # an ellipsis, the name
