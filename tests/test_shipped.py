"""The model in data/pretrained speaks any sentence, in each of its voices, as the README says."""

import soundfile

from melle.cli import main
from melle.synthesis.voices import read_voices
from tests.test_readme import ROOT

SHIPPED = ROOT / "data" / "pretrained"


def test_it_is_small_and_has_voices():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 40 * 2**20
    voices = read_voices(SHIPPED)
    assert len(voices) >= 8
    assert all(2 < soundfile.info(voice.audio).duration < 6 for voice in voices.values())


def test_a_sentence_with_a_name_and_a_number(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    text = "Zachary counted 23 geese – or so he said."
    for voice in ("emma", "michael"):
        output = tmp_path / f"{voice}.wav"
        assert main(["synthesize", "--text", text, "--voice", voice, "-o", str(output), "--device", "cpu"]) == 0
        waveform, rate = soundfile.read(output)
        assert rate == 16000 and 1.5 < len(waveform) / rate < 6
        assert abs(waveform).max() > 0.05
    assert "warning" not in capsys.readouterr().err.lower()
