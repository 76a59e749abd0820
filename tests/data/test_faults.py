"""A thousand bad items: each ends in its own kind of fault, and the good ones among them survive."""

import json
import random

import pytest
from faults import FORMATS, Faults, mutations

from melle.audio import MelSpec, load_audio
from melle.data.check import check_manifest
from melle.data.dataset import UtteranceDataset
from melle.data.filters import CheckLimits, check_item
from melle.data.index import open_index
from melle.data.manifest import read_manifest
from melle.errors import DataError
from melle.text.symbols import SymbolTokenizer


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    made = Faults(tmp_path_factory.mktemp("faults"))
    items = made.all()
    manifest = made.folder / "all.jsonl"
    manifest.write_bytes(b"".join(item.line + b"\n" for item in items))
    return manifest, items


def test_every_bad_item_has_its_kind_and_every_good_one_survives(faults):
    manifest, items = faults
    assert sum(bool(item.kinds) for item in items) >= 1000
    report = check_manifest(manifest, workers=1)
    rejects = [json.loads(line) for line in (manifest.parent / "all.rejected.jsonl").read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == sorted(reject["line"] for reject in rejects)
    found = {reject["line"]: reject for reject in rejects}
    for number, item in enumerate(items, start=1):
        kind = found[number]["kind"] if number in found else None
        assert kind in (item.kinds or {None}), f"{item.what}: {found.get(number)}"
        assert kind is None or found[number]["reason"]
    kept = read_manifest(manifest.parent / "all.clean.jsonl")
    assert len(kept) == report.kept == sum(not item.kinds for item in items)
    assert sum(report.rejected.values()) == len(found)
    assert all(load_audio(utterance.audio_path, 16000).numel() and utterance.duration for utterance in kept)


def test_training_takes_the_good_and_names_the_bad(faults, tmp_path):
    """On the unchecked manifest: faults of lines and headers at once, those of sound when their turn comes."""
    manifest, items = faults
    tokenizer = SymbolTokenizer.fit((json.loads(i.line)["transcription"] for i in items if not i.kinds), "characters")
    index = open_index(manifest, tokenizer, MelSpec().frame_rate, tmp_path / "index")
    found = {fault.line: fault.kind for fault in index.faults}
    data = UtteranceDataset(index, tokenizer, MelSpec())
    used = set()
    for number in range(len(index)):
        if index.column("frames")[number] < 2000:  # the hours are skipped by the budget of a batch
            row = data[(number,)]
            found |= {fault.line: fault.kind for fault in row.faults}
            used |= {int(index.column("line")[number])} if row.ids else set()
    harmless = {"too short", "silent", "clipped", "duplicate id", "duplicate audio", "wrong duration", "cut short"}
    for number, item in enumerate(items, start=1):
        if not item.kinds:
            assert number in used, item.what
        elif not item.kinds & harmless and "too long" not in item.kinds:
            assert found.get(number) in item.kinds | {"unknown text"}, (item.what, found.get(number))
            assert number not in used
    assert len(used) + len(found) > 900


def test_the_result_does_not_depend_on_the_number_of_processes(faults, tmp_path):
    manifest, _ = faults
    results = []
    for workers in (1, 2):
        output = tmp_path / str(workers) / "all.jsonl"
        text = check_manifest(manifest, output, workers=workers).text.replace(str(output.parent), "")
        results.append((text, output.read_bytes(), output.with_name("all.rejected.jsonl").read_bytes()))
    assert results[0] == results[1]


def test_no_permission(tmp_path, monkeypatch):
    (tmp_path / "a.wav").write_bytes(b"locked")  # a superuser could open anything: not even this is a sound
    monkeypatch.setattr("os.access", lambda *_: False)
    finding = check_item(b'{"transcription": "a", "audio_path": "a.wav"}', tmp_path / "m.jsonl", 1, CheckLimits())
    assert finding.kind == "no permission"


def test_any_bytes_as_a_line_are_a_finding(tmp_path):
    chance = random.Random(0)
    line = b'{"transcription": "good day", "audio_path": "a.wav", "duration": 1.25, "id": "a", "speaker": null}'
    lines = [chance.randbytes(chance.randrange(200)) for _ in range(1000)]
    for number, changed in enumerate([*lines, *mutations(line, 3000)], start=1):
        assert check_item(changed, tmp_path / "m.jsonl", number, CheckLimits()).kind


def test_any_bytes_as_audio_are_a_finding(tmp_path):
    """libsndfile answers for mutated headers and frames; whatever it says becomes a finding, or is sound."""
    made = Faults(tmp_path)
    line = b'{"transcription": "good day", "audio_path": "x.wav"}'
    limits, kinds = CheckLimits(), set()
    for ending in FORMATS:
        whole = (made.folder / made.write(f"whole.{ending}")).read_bytes()
        for content in [*mutations(whole, 100), *(made.bytes.randbytes(500) for _ in range(25))]:
            made.raw("x.wav", content)
            kinds.add(check_item(line, made.folder / "m.jsonl", 1, limits).kind)
    assert {None, "unreadable"} <= kinds


def test_loading_gives_a_missing_file_the_same_name(faults):
    manifest, items = faults
    found = [check_item(item.line, manifest, number, CheckLimits()) for number, item in enumerate(items, start=1)]
    missing = [finding for finding in found if finding.kind == "missing"]
    assert len(missing) >= 40
    for finding in missing:
        with pytest.raises(DataError) as caught:
            load_audio(finding.audio_path, 16000)
        assert caught.value.kind == "missing"
