import json

import numpy as np
import pytest
import soundfile

from melle.cli import read_command
from melle.data.check import check_manifest
from melle.data.filters import CheckLimits
from melle.data.manifest import read_manifest
from melle.errors import UserError


def tone(path, seconds=1.0, level=0.3, frequency=200.0, rate=16000):
    """A tone (mono, 16 bits), cut at full scale where ``level`` is more than 1."""
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(str(path), (level * np.sin(2 * np.pi * frequency * time)).clip(-1, 1), rate)


def manifest_of(folder, items):
    path = folder / "my.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def items_of(folder, count=4, **fields):
    for number in range(count):
        tone(folder / f"{number}.wav", 1 + number / 10, frequency=200 + 10 * number)
    return [
        {"transcription": f"twelve chars{number}", "audio_path": f"{number}.wav", "speaker": f"s{number % 2}", **fields}
        for number in range(count)
    ]


def rejects(folder, name="my"):
    return [json.loads(line) for line in (folder / f"{name}.rejected.jsonl").read_text("utf-8").splitlines()]


def test_a_clean_manifest_elsewhere_names_its_audio(tmp_path):
    manifest = manifest_of(tmp_path, [*items_of(tmp_path, language="en"), {"transcription": "gone"}])
    report = check_manifest(manifest, tmp_path / "deep/er/clean.jsonl", workers=1)
    kept = read_manifest(tmp_path / "deep/er/clean.jsonl")
    assert [u.audio_path for u in kept] == [(tmp_path / f"{n}.wav").resolve() for n in range(4)]
    assert [u.duration for u in kept] == pytest.approx([1.0, 1.1, 1.2, 1.3])
    assert {(u.speaker, u.language) for u in kept} == {("s0", "en"), ("s1", "en")} and kept[2].id == "my-3"
    (reject,) = rejects(tmp_path / "deep/er", "clean")
    assert reject["line"] == 5 and reject["kind"] == "no audio_path" and reject["id"] is None
    assert report.kept == 4 and report.rejected == {"no audio_path": 1} and not report.warnings


def test_the_report(tmp_path, capsys):
    items = items_of(tmp_path, 6)
    items[5]["transcription"] = "Ωmega\u200bnine"
    items.append({"transcription": "a", "audio_path": "none.wav"})
    read_command(["check", str(manifest_of(tmp_path, items)), "--workers", "1"]).run()
    text = capsys.readouterr().out
    for part in (
        "7 items, 1 rejected, 6 kept; kept hours: 0.00, speakers: 2",
        "missing: 1",
        "line 7, ",
        "Seconds per item: min 1.00, median 1.25, max 1.50",
        "Seconds per speaker: min 3.6 (s0), median 3.8, max 3.9 (s1)",
        "Ω 1 (line 6)",
        "U+200B 1 (line 6)",
        "█",
        "my.clean.jsonl",
        "my.rejected.jsonl",
    ):
        assert part in text
    assert read_manifest(tmp_path / "my.clean.jsonl")[0].audio_path == tmp_path / "0.wav"


def test_warnings_are_kept_unless_strict(tmp_path):
    items = items_of(tmp_path)
    tone(tmp_path / "loud.wav", level=3.0)
    items.append({"transcription": "twelve chars!", "audio_path": "loud.wav"})
    items[0]["transcription"] = "far too long for one second " * 9
    items[1]["transcription"] = "-"
    manifest = manifest_of(tmp_path, items)
    report = check_manifest(manifest, workers=1)
    assert report.kept == 5 and report.warnings == {"clipped": 1, "odd pace": 2} and not rejects(tmp_path)
    report = check_manifest(manifest, workers=1, strict=True)
    assert report.kept == 2 and report.rejected == {"clipped": 1, "odd pace": 2} and not report.warnings
    assert [reject["kind"] for reject in rejects(tmp_path)] == ["odd pace", "odd pace", "clipped"]


def test_what_fits_its_transcript_badly_is_reported_and_with_strict_rejected(tmp_path):
    items = items_of(tmp_path)  # the last one was not aligned
    for item, score in zip(items, (0.95, 0.39, 0.4)):
        item["alignment_score"] = score
    manifest = manifest_of(tmp_path, items)
    report = check_manifest(manifest, workers=1)
    assert report.kept == 4 and report.warnings == {"poor alignment": 1}
    assert "line 2, " in report.text and "alignment score 0.39, below 0.4" in report.text
    assert [u.alignment_score for u in read_manifest(tmp_path / "my.clean.jsonl")] == [0.95, 0.39, 0.4, None]
    assert check_manifest(manifest, workers=1, strict=True).rejected == {"poor alignment": 1}
    assert [(reject["line"], reject["kind"]) for reject in rejects(tmp_path)] == [(2, "poor alignment")]
    assert check_manifest(manifest, None, CheckLimits(min_alignment=0.96), workers=1).warnings == {"poor alignment": 3}
    with pytest.raises(UserError, match="--min-alignment 40: scores go from 0 to 1"):
        CheckLimits(min_alignment=40)


def test_a_peak_that_touches_full_scale_is_not_clipped(tmp_path):
    tone(tmp_path / "full.wav", level=1.0)
    report = check_manifest(manifest_of(tmp_path, [{"transcription": "a", "audio_path": "full.wav"}]), workers=1)
    assert report.kept == 1 and not report.warnings


def test_the_first_valid_of_duplicates_is_kept(tmp_path):
    items = items_of(tmp_path, 3)
    items[0]["audio_path"] = "gone.wav"
    items = [{**item, "id": "same"} for item in items] + [{**items[2], "id": "other"}]  # the sound of line 3, again
    check_manifest(manifest_of(tmp_path, items), workers=1)
    assert [(reject["line"], reject["kind"]) for reject in rejects(tmp_path)] == [(1, "missing"), (3, "duplicate id")]
    assert "line 2" in rejects(tmp_path)[1]["reason"]


def test_the_same_sound_with_another_transcript_says_so(tmp_path):
    items = items_of(tmp_path, 2)
    tone(tmp_path / "copy.wav", 1.0)
    items += [{**items[0], "audio_path": "copy.wav"}, {**items[1], "transcription": "something else"}]
    check_manifest(manifest_of(tmp_path, items), workers=1)
    reasons = [reject["reason"] for reject in rejects(tmp_path)]
    assert reasons == ["the samples of line 1, with the same transcript", "the file of line 2, with another transcript"]


def test_limits(tmp_path):
    manifest = manifest_of(tmp_path, items_of(tmp_path))
    report = check_manifest(manifest, limits=CheckLimits(1.05, 1.25), workers=1)
    assert report.rejected == {"too short": 1, "too long": 1}
    with pytest.raises(UserError, match="the smaller one first"):
        CheckLimits(3, 2)


def test_the_tokenizer_of_a_checkpoint(tmp_path, tiny_checkpoint, capsys):
    items = items_of(tmp_path)
    for item, text in zip(items, ["one two", "Three", "eleven", "four"]):
        item["transcription"] = text
    items += [{"transcription": "five", "audio_path": f"none{n}.wav"} for n in range(40)]  # enough for two processes
    manifest = str(manifest_of(tmp_path, items))
    read_command(["check", manifest, "--tokenizer", str(tiny_checkpoint), "--workers", "2"]).run()
    assert "unknown text: 1" in capsys.readouterr().out
    assert rejects(tmp_path)[0]["line"] == 3 and "eleven" in rejects(tmp_path)[0]["reason"]


def test_nothing_valid(tmp_path):
    manifest = manifest_of(tmp_path, [{"transcription": "a", "audio_path": "none.wav"}] * 3)
    with pytest.raises(UserError, match=r"none of its 3 items is valid \(missing 3\); see .*my.rejected.jsonl"):
        check_manifest(manifest, workers=1)
    assert len(rejects(tmp_path)) == 3 and not (tmp_path / "my.clean.jsonl").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.jsonl", "my.rejected.jsonl"]


def test_what_the_user_must_fix_first(tmp_path):
    manifest = manifest_of(tmp_path, items_of(tmp_path, 1))
    with pytest.raises(UserError, match="no such manifest"):
        check_manifest(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="give another name with -o"):
        check_manifest(manifest, manifest)
    with pytest.raises(UserError, match="is a file; give another place"):
        check_manifest(manifest, manifest / "clean.jsonl")  # a file is no folder
    with pytest.raises(UserError, match="is a folder"):
        check_manifest(manifest, tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match="has no line"):
        check_manifest(tmp_path / "empty.jsonl", workers=1)
