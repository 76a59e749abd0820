"""The smoke test of a device passes where the presets do, and names those that fail."""

import subprocess

import pytest

from benchmarks import smoke
from tests.test_readme import ROOT


def test_every_preset_is_tried(monkeypatch, capsys):
    monkeypatch.setattr(smoke, "presets", lambda: ["melle_r4", "quickstart"])
    assert smoke.main(["--device", "cpu", "--precision", "32", "--scale", "tiny", "--batch-frames", "1800"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["melle_r4", "ok,"], ["quickstart", "ok,"]]


def test_a_preset_that_fails_is_named_and_the_others_go_on(monkeypatch, capsys):
    def try_preset(name, *_):
        if name == "melle":
            raise RuntimeError("no kernel image")
        return "ok"

    monkeypatch.setattr(smoke, "try_preset", try_preset)
    assert smoke.main(["--device", "cpu"]) == 2
    printed = capsys.readouterr()
    assert "FAILED: RuntimeError: no kernel image" in printed.out and "melle_rope           ok" in printed.out
    assert "1 presets failed on cpu: melle" in printed.err


@pytest.mark.parametrize("name", ["gpu.sh"])
def test_scripts_are_shell(name):
    subprocess.run(["bash", "-n", ROOT / "benchmarks" / name], check=True)
