"""The commands as a user types them: what they write, and one line instead of a traceback."""

import argparse
import io
import json
import math
import re
import subprocess
import sys
from dataclasses import fields
from itertools import islice
from pathlib import Path

import pytest
import torch

from melle.audio import MelSpec, load_audio, save_audio
from melle.cli import main, make_parser
from melle.data.silence import SileroTrim
from melle.options import add_fields, from_fields
from melle.synthesis.options import DecodingOptions
from melle.synthesis.synthesizer import Synthesizer
from tests.conftest import install_ffmpeg

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
    said = capsys.readouterr().out
    assert re.search(rf"{re.escape(str(output))}: \d+\.\d\d s of speech in \d+\.\d s, Griffin-Lim", said)


def test_a_text_that_begins_with_a_hyphen_is_no_option(tiny_checkpoint, capsys):
    assert main(["synthesize", "--checkpoint", str(tiny_checkpoint), "--text", "-Ouch!"]) == 2
    assert "ouch" in capsys.readouterr().err


def test_options_of_decoding_are_the_dataclass():
    """Every field is an option, with its default."""
    parser = argparse.ArgumentParser()
    add_fields(parser, DecodingOptions)
    assert from_fields(DecodingOptions, parser.parse_args([])) == DecodingOptions()
    values = {"temperature": 0.5, "stop_threshold": 0.7, "min_length": 0.2, "max_length": 3.0, "max_silence": math.inf}
    line = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    found = from_fields(DecodingOptions, parser.parse_args([*line, "--max-still", "2"]))
    assert found == DecodingOptions(**values, max_still=2.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--text": "hello"}, "never learned: 'hello'"),
        ({"--text": " "}, "the text is empty"),
        ({"--text": "\udcff\udcfe hi"}, "half of a character"),
        ({"--prompt-text": "\udcff one"}, "half of a character"),
        ({"--checkpoint": "nowhere.ckpt"}, "no such checkpoint"),
        ({"--checkpoint": "voice.wav"}, "not a checkpoint"),
        ({"--prompt-text": None}, "belong together"),
        ({"--prompt": None}, "belong together"),
        ({"--prompt": "nowhere.wav"}, "no such file"),
        ({"--prompt": "text.wav"}, "not readable as audio"),
        ({"-o": "out.xyz"}, "unknown sound format"),
        ({"--vocoder": "world"}, "choose one of"),
        ({"--device": "tpu9"}, "--device tpu9"),
        ({"--weights": "int4"}, "choose one of float32"),
        ({"--asr": "base"}, "add --best-of"),
        ({"--retries": "-1"}, "must be 0 or more"),
        ({"--temperature": "-1"}, "temperature=-1"),
        ({"--temperature": "inf"}, "temperature=inf"),
        ({"--seed": str(2**63)}, "must be 0 or more and below"),
        ({"--seed": "-1"}, "must be 0 or more and below"),
        ({"--best-of": "3", "--prompt": None, "--prompt-text": None}, "give --prompt"),
        ({"-o": "a" * 300 + ".wav"}, "File name too long; give another place"),
        ({"-o": "out.wve"}, "unknown sound format"),
        ({"-o": "."}, "is a folder; give the name of a file"),
        ({"-o": "text.wav/out.wav"}, "text.wav is a file; give another place"),
        ({"--vocoder-model": "some"}, "give --vocoder vocos"),
        ({"--vocoder-model": "some", "--vocoder": "griffin_lim"}, "griffin_lim has no model"),
        ({"--vocoder": "vocos"}, "vocos needs its model"),
        ({"--device": "meta"}, "--device meta"),
        ({"--text": None, "--text-file": "words.txt", "--best-of": "3"}, "are for --text"),
        ({"--text": None, "--text-file": "empty.txt", "-o": "new/out.wav"}, "the text is empty"),
        ({"--text": None, "--jobs": "jobs.jsonl", "-o": "voice.wav"}, "is a file; give a folder"),
        ({"--text": None, "--jobs": "jobs.jsonl", "--asr": "base"}, "are for --text"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tiny_checkpoint, prompt, tmp_path, capsys, monkeypatch, change, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("not sound")
    (tmp_path / "words.txt").write_text("one two")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "jobs.jsonl").write_text('{"text": "one"}')
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


def test_a_text_of_any_length_is_read_from_a_file_or_standard_input(tiny_checkpoint, tmp_path, capsys, monkeypatch):
    text = "\ufeff" + "one two three.\n\nfour five six seven eight nine!\n" * 3
    (tmp_path / "page.txt").write_text(text.replace(".", "").replace("!", ""), encoding="utf-8")
    content = torch.load(tiny_checkpoint, weights_only=True)
    content["melle"]["most_tokens"] = 5
    torch.save(content, tiny_checkpoint)
    arguments = ["synthesize", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "page.flac")]
    assert main([*arguments, "--text-file", str(tmp_path / "page.txt")]) == 0
    said = load_audio(tmp_path / "page.flac", 16000)
    assert f"page.flac: {len(said) / 16000:.2f} s" in capsys.readouterr().out
    expected = Synthesizer.from_checkpoint(tiny_checkpoint)((tmp_path / "page.txt").read_text("utf-8-sig"))
    assert len(said) == len(expected.waveform)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "page.txt").open("rb")))
    assert main([*arguments[:-1], str(tmp_path / "again.flac"), "--text-file", "-"]) == 0
    assert torch.equal(load_audio(tmp_path / "again.flac", 16000), said)
    (tmp_path / "page.txt").write_bytes("café".encode("latin-1"))
    assert main([*arguments, "--text-file", str(tmp_path / "page.txt")]) == 2
    assert "not a text in UTF-8" in capsys.readouterr().err


def test_jobs_are_spoken_to_a_folder_and_what_fails_is_reported(tiny_checkpoint, prompt, tmp_path, capsys):
    jobs = [
        {"text": "one two"},
        {"text": "three", "id": "mine", "prompt": "voice.wav", "prompt_text": "four", "seed": 3},
        {"text": "hello"},
        {"text": "nine", "prompt": "nowhere.wav", "prompt_text": "four"},
        {"text": "six seven eight nine", "id": "last"},
    ]
    path, out = tmp_path / "jobs.jsonl", tmp_path / "out"
    path.write_text("\n".join(json.dumps(job) for job in jobs) + "\n\n")
    command = [
        "synthesize",
        "--checkpoint",
        str(tiny_checkpoint),
        "--jobs",
        str(path),
        "-o",
        str(out),
        "--batch-size",
        "3",
    ]
    assert main(command) == 2
    assert "2 of 5 jobs failed" in capsys.readouterr().err
    assert {file.name for file in out.glob("*.wav")} == {"00001.wav", "mine.wav", "last.wav"}
    results = {line["id"]: line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}
    assert "never learned: 'hello'" in results["00003"]["error"] and "no such file" in results["00004"]["error"]
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    alone = tts("three", prompt, "four", seed=3)
    assert results["mine"]["seconds"] == round(alone.seconds, 3) and results["mine"]["seed"] == 3
    # What is there is left as it is, what failed is tried again.
    times = {file.name: file.stat().st_mtime_ns for file in out.glob("*.wav")}
    path.write_text("\n".join(json.dumps({**job, "text": job["text"].replace("hello", "five")}) for job in jobs[:3]))
    assert main(command) == 0
    assert {name: (out / name).stat().st_mtime_ns for name in times} == times and (out / "00003.wav").exists()


def test_an_error_of_one_job_is_its_own(tiny_checkpoint, tmp_path, capsys, monkeypatch):
    """Also where the machine, not the job, is at fault; and whatever white space a text holds."""
    real = Synthesizer._render

    def _render(self, jobs, *rest):
        if any(job.text == "four" for job in jobs):
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2.00 GiB")
        return real(self, jobs, *rest)

    monkeypatch.setattr(Synthesizer, "_render", _render)
    texts = ["one\u2028two", "four", "nine\x85six"]
    path = tmp_path / "jobs.jsonl"
    path.write_text("\r\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts), encoding="utf-8")
    out = tmp_path / "out"
    command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--jobs", str(path), "-o", str(out)]
    assert main(command) == 2
    assert "1 of 3 jobs failed" in capsys.readouterr().err
    results = {line["id"]: line for line in map(json.loads, (out / "results.jsonl").read_text().split("\n")[:-1])}
    assert results["00002"]["error"].startswith("out of memory while speaking a batch of 1 on cpu; give fewer")
    assert {file.name for file in out.glob("*.wav")} == {"00001.wav", "00003.wav"}


def test_an_interruption_keeps_what_was_read_aloud(tiny_checkpoint, tmp_path, capsys, monkeypatch):
    stream = Synthesizer.stream

    def interrupted(self, *arguments, **options):
        def chunks():
            yield from islice(stream(self, *arguments, **options), left)
            raise KeyboardInterrupt

        return chunks()

    monkeypatch.setattr(Synthesizer, "stream", interrupted)
    (tmp_path / "page.txt").write_text("one two three four five six")
    command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--text-file", str(tmp_path / "page.txt")]
    left = 1
    assert main([*command, "-o", str(tmp_path / "page.wav")]) == 2
    seconds = len(load_audio(tmp_path / "page.wav", 16000)) / 16000
    assert f"interrupted; its {seconds:.2f} s are the beginning" in capsys.readouterr().err
    left = 0
    assert main([*command, "-o", str(tmp_path / "none.wav")]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert not (tmp_path / "none.wav").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello", "not JSON"),
        ('{"txt": "one"}', 'has no "text"'),
        ('{"text": 3}', '"text" is 3; give str'),
        ('{"text": "one", "speed": 2}', 'unknown field "speed"'),
        ('{"text": "one", "prompt": "a.wav"}', "belong together"),
        ('{"text": "one", "id": "../x"}', "cannot name a file"),
        ('{"text": "one", "id": "a"}\n{"text": "two", "id": "a"}', "was there before"),
        ('{"text": "one", "id": "' + "a" * 300 + '"}', "200 bytes at most"),
        ('{"text": "one", "seed": ' + "9" * 30 + "}", "jobs.jsonl:1: seed=999"),
        ('{"text": "one", "seed": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100000, "not JSON"),
        ('{"text": "one \\ud800"}', "holds half of a character"),
        ("", "holds no job"),
    ],
)
def test_lines_that_are_no_jobs_are_named(tiny_checkpoint, tmp_path, capsys, line, says):
    (tmp_path / "jobs.jsonl").write_text(line)
    command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "out")]
    assert main([*command, "--jobs", str(tmp_path / "jobs.jsonl")]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_unknown_key_is_no_traceback():
    command = [sys.executable, "train.py", "modle=quickstart"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert "modle" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("synthesize --txt hello", "melle synthesize: error: --txt: no such option; did you mean --text?"),
        ("serve --modle=X", "melle serve: error: --modle: no such option; did you mean --model?"),
        ("serve -x 3", "melle serve: error: -x 3: no such option"),
        ("synthesise", "melle: error: synthesise: no such command; did you mean synthesize? There are synthesize, "),
        ("split", "did you mean prepare split?"),
        ("voice ad", "melle voice: error: ad: no such command; did you mean voice add? There are add, list, remove"),
    ],
)
def test_a_mistyped_command_or_option_is_answered_by_the_nearest(capsys, line, says):
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    assert says in capsys.readouterr().err


def test_a_model_in_its_place_needs_no_name(tiny_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    speak = ["synthesize", "--text", "four two", "-o", "out.wav"]
    assert main(speak) == 2 and "--checkpoint is missing" in capsys.readouterr().err
    assert main(["export", "--checkpoint", str(tiny_checkpoint), "-o", "data/pretrained"]) == 0
    assert main(speak) == 0 and len(load_audio(tmp_path / "out.wav", 16000)) > 0


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Of all commands."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found += options_of(inner)
        elif action.help:
            found.append(action)
    return found


def test_help_names_the_defaults_that_hold():
    known = {**{f.name: f.default for f in fields(MelSpec)}, **{f"vad_{f.name}": f.default for f in fields(SileroTrim)}}
    checked = 0
    for action in options_of(make_parser(complete=True)):
        default = action.default if action.default is not None else known.get(action.dest)
        said = re.search(r"\(default: ([^\s,)]+)\)", action.help % {**vars(action), "prog": "melle"})
        if said and isinstance(default, float | int):
            assert float(said[1]) == default, action.dest
            checked += 1
        elif said and isinstance(default, str | Path):
            assert said[1] == str(default), action.dest
            checked += 1
    assert checked > 30


def test_help_promises_the_formats_of_prompts_that_are_read(tiny_checkpoint, tmp_path, monkeypatch):
    """With a stand-in for FFmpeg, which hands out the same sound whatever it is given."""
    actions = options_of(make_parser(complete=True))
    (prompt,) = [action for action in actions if action.dest == "prompt" and "WAV" in action.help]
    named = re.findall(r"WAV|FLAC|Ogg|MP3|\.\w+", prompt.help)
    assert {"WAV", "FLAC", "Ogg", "MP3", ".m4a", ".amr", ".webm"} <= set(named)
    sound = 0.1 * torch.sin(torch.arange(16000) / 10)
    save_audio(tmp_path / "decoded.wav", sound, 16000)
    install_ffmpeg(tmp_path, monkeypatch)
    tts = Synthesizer.from_checkpoint(tiny_checkpoint)
    for name in named:
        path = tmp_path / f"voice.{name.lower().lstrip('.')}"
        if name.startswith("."):
            path.write_bytes(b"what libsndfile cannot read")
        else:
            save_audio(path, sound, 16000)
        assert len(tts.read_prompt(path, "one two").mel) == pytest.approx(60, abs=4), name


def test_help_waits_for_no_package_and_speech_for_no_compiler():
    code = """
import sys
from melle.cli import main
for line in (["--help"], ["synthesize", "--help"], ["prepare", "split", "--help"]):
    try:
        main(line)
    except SystemExit:
        pass
assert "torch" not in sys.modules and "hydra" not in sys.modules
from melle import Synthesizer
assert "torch" in sys.modules and "torch._dynamo" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("given", "small", "expected"), [([], True, [1]), ([], False, []), (["--threads", "3"], True, [3])]
)
def test_a_small_model_takes_one_thread(given, small, expected, tiny_checkpoint, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("torch.set_num_threads", seen.append)
    monkeypatch.setattr("melle.commands.synthesize.SMALL", 10**9 if small else 10)
    command = ["synthesize", "--checkpoint", str(tiny_checkpoint), "--text", "one", "-o", str(tmp_path / "a.wav")]
    assert main([*command, *given]) == 0
    assert seen == expected
