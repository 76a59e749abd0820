"""The example in data/example is what data/README.md says of it."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
import soundfile

from melle.cli import main
from melle.data.datamodule import MelleDataModule
from melle.data.manifest import read_manifest
from melle.text.symbols import SymbolTokenizer

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "data" / "example"


@pytest.mark.parametrize(("name", "count", "voices"), [("train", 18, 6), ("validation", 4, 2), ("test", 4, 2)])
def test_manifests(name, count, voices, tmp_path, capsys):
    path = EXAMPLE / f"{name}.jsonl"
    utterances = read_manifest(path)
    assert len(utterances) == count and len({utterance.speaker for utterance in utterances}) == voices
    for utterance in utterances:
        assert soundfile.info(utterance.audio_path).duration == pytest.approx(utterance.duration, abs=0.02)
        assert len(utterance.words) == len(utterance.transcription.split())
        assert utterance.words[-1][1] <= utterance.duration
    assert main(["check", str(path), "-o", str(tmp_path / "clean.jsonl")]) == 0, capsys.readouterr()
    assert len(read_manifest(tmp_path / "clean.jsonl")) == count


def test_as_the_page_says():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    shown = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    lines = [json.loads(line) for line in (EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any(shown.items() <= line.items() for line in lines)
    sizes = [file.stat().st_size for file in EXAMPLE.rglob("*") if file.is_file()]
    assert sum(sizes) < 500_000
    seconds = sum(
        u.duration for name in ("train", "validation", "test") for u in read_manifest(EXAMPLE / f"{name}.jsonl")
    )
    assert f"{round(seconds)} seconds" in text


def test_a_batch_of_it_knows_which_words_are_due(tmp_path):
    fit = partial(SymbolTokenizer.fit, unit="words")
    data = MelleDataModule(
        EXAMPLE / "train.jsonl", EXAMPLE / "validation.jsonl", 4, fit, batch_frames=2000, index=tmp_path
    )
    data.setup()
    batch = next(iter(data.val_dataloader()))
    assert sum(map(len, batch.ids)) == 4 and not batch.faults
    assert not batch.due.isnan().all()
