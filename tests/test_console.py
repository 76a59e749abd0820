"""What all entry points share: any text on any console, one line for a mistake, commands that can be pasted."""

import importlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import evaluate
import train
from melle.audio import MelSpec, save_audio
from melle.cli import CommandParser, make_parser
from melle.commands.synthesize import Synthesize
from melle.console import run_command, shell_command
from melle.corpora.english.corpus import TeacherCorpus
from melle.data.index import Fault
from melle.data.manifest import Utterance, write_manifest
from melle.data.shar.reading import find_shards
from melle.data.skipped import SkippedItems
from melle.errors import UserError
from melle.options import add_fields
from melle.vocoders.vocos.segments import Recordings, SegmentBatches
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
        (["--text", "--wow"], ["--text=--wow"]),
        (["--prompt-text", "--yes", "--text", "--a=b"], ["--prompt-text=--yes", "--text=--a=b"]),
        (["--text", "--seed=3"], ["--text", "--seed=3"]),
        (["--text", "-h"], ["--text", "-h"]),
    ],
)
def test_a_text_may_begin_with_a_hyphen(given, read):
    parser = CommandParser()
    add_fields(parser, Synthesize)
    assert parser.with_texts(given) == read


FILES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
BENCHMARKS = sorted(name for name, code in FILES.items() if "\nmain = " in code)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_benchmarks_print_their_help_on_any_console(monkeypatch, name, encoding):
    try:
        main = importlib.import_module(f"benchmarks.{name}").main
    except ImportError as error:
        pytest.skip(str(error))  # an optional package
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    # What a description of one of them may hold at any time.
    monkeypatch.setattr(f"benchmarks.{name}.__doc__", "2 × 三月: …")
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    shown = stream.buffer.getvalue().decode(encoding)
    assert not end.value.code and "--help" in shown and "\\u6708" in shown


NASTY = "it's my $HOME"


def printed_commands(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Messages that hold a command, which ends the sentence, and what a shell should read of it, by the command."""
    missing = folder / "train.jsonl"
    skipped = SkippedItems(missing, 1000, 0.001, tokenizer=f"{folder}/last.ckpt")
    for number in range(4):
        skipped.count(Fault(str(number), "missing", "gone"), log=False)
    save_audio(folder / "a.wav", torch.zeros(800), 16000)
    write_manifest(missing, [Utterance("one", folder / "gone.wav", "a")])
    mel = MelSpec(n_mels=40)
    recordings = Recordings(missing, mel, False)
    actions = {
        "check --tokenizer": (skipped.check, ["check", missing, "--tokenizer", f"{folder}/last.ckpt"]),
        "prepare teacher": (
            TeacherCorpus(folder / "corpus").prepare,
            ["prepare", "teacher", "--teacher-model", "DIR", "-o", folder / "corpus"],
        ),
        "prepare shards": (
            lambda: find_shards(folder),
            ["prepare", "shards", "--manifest", "FILE", "-o", folder],
        ),
        "check": (
            lambda: SegmentBatches(recordings, 0, 1, 4, (0, 0), 0).batch(0),
            ["check", missing],
        ),
    }
    found = {}
    for name, (action, expected) in actions.items():
        with pytest.raises(UserError) as caught:
            action()
        found[name] = str(caught.value), [str(part) for part in expected]
    return found


def test_commands_in_messages_can_be_pasted(tmp_path):
    """Each is read by a shell as it was meant, whatever paths hold, and by the command line."""
    folder = tmp_path / NASTY
    folder.mkdir()
    for name, (message, expected) in printed_commands(folder).items():
        command = shlex.split(message[message.index("python -m melle") :])
        assert command == ["python", "-m", "melle", *expected], name
        make_parser().parse_args(command[3:])


def test_no_command_is_printed_without_quoting():
    """What names the project's commands together with a value goes through ``shell_command``."""
    pattern = re.compile(r"python (-m melle|train\.py|evaluate\.py)[^`\"]*\{")
    sources = [*ROOT.glob("src/**/*.py"), *ROOT.glob("*.py")]
    assert not [path for path in sources if pattern.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("command", [["-m", "melle", "synthesize", "--help"], ["train.py", "name=Été", "--cfg", "job"]])
def test_what_is_printed_before_anything_runs_needs_no_unicode(command):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    run = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()[-500:]
    assert b"\\u2026" in run.stdout or b"\\xc9t\\xe9" in run.stdout  # an ellipsis, the name


def test_a_reader_that_has_seen_enough_is_no_fault():
    """As ``melle … | head``: the pipe is closed before anything is written."""
    code = "from melle.console import run_command; import sys; sys.exit(run_command(lambda: print('much')))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
