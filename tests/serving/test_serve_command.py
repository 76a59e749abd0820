"""``python -m melle serve`` as the documentation shows it."""

import re
import signal
import subprocess
import sys
from functools import partial

import httpx
import openai
import soundfile

from melle.cli import main
from tests.serving.test_uploaded_voices import names
from tests.test_readme import ROOT


def test_it_serves_until_it_is_interrupted(tiny_checkpoint, model, tmp_path, monkeypatch):
    monkeypatch.setenv("MELLE_VOICES", str(tmp_path / "mine"))
    exported = tmp_path / "exported"
    command = ["export", "--checkpoint", str(tiny_checkpoint), "-o", str(exported), "--voices", str(model)]
    assert main(command) == 0
    command = [sys.executable, "-m", "melle", "serve", "--model", str(exported), "--port", "0", "--device", "cpu"]
    # Where the tests themselves run in the background, their children would ignore Ctrl-C.
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*command, "--token", "sesame"], stdout=subprocess.PIPE, text=True, preexec_fn=heed
    ) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"2 voices; .* at (http://127\.0\.0\.1:\d+)/", line).group(1)
            assert httpx.get(f"{address}/health").json()["status"] == "ok"
            with openai.OpenAI(base_url=f"{address}/v1", api_key="sesame") as client:
                assert [one.id for one in client.models.list()] == ["exported"]
                answer = client.audio.speech.create(model="exported", voice="anna", input="one", response_format="pcm")
                assert len(answer.content) > 1000
            port = address.rsplit(":", 1)[1]
            assert main(["serve", "--model", str(exported), "--port", port]) == 2  # is taken
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_errors_that_a_user_can_fix(tmp_path, capsys):
    for options, message in (
        (["--port", "99999"], "another address or port"),
        (["--host", "203.0.113.1"], "another address or port"),
        (["--rows", "0"], "--rows"),
        (["--timeout", "nan"], "--timeout"),
        (["--max-prompt-seconds", "nan"], "--max-prompt-seconds"),
        (["--max-prompt-seconds", "inf"], "--max-prompt-seconds"),
        (["--port", "0", "--model", str(tmp_path / "none")], "no such checkpoint"),
    ):
        assert main(["serve", *options]) == 2
        assert message in capsys.readouterr().err


def test_the_example_of_the_documentation(serve, monkeypatch, tmp_path):
    page = (ROOT / "docs/howto/serve.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with serve() as address:
        assert names(address)
        assert example.count("http://127.0.0.1:8000") == example.count('"emma"') == example.count("Good morning.") == 1
        ours = {"http://127.0.0.1:8000": address, '"emma"': '"anna"', "Good morning.": "one two"}
        for shown, used in ours.items():
            example = example.replace(shown, used)
        exec(example, {})
    assert soundfile.info("out.wav").samplerate == 16000
