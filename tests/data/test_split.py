"""``prepare split``: each line comes to one part, whole, and no text or voice to two."""

import json
import os
from pathlib import Path

import pytest

from melle.cli import main
from melle.data.manifest import read_manifest
from melle.data.split import text_key

SENTENCES = ["Good morning.", "good  MORNING", "Good-morning!", "Wait", "Who's there?", "“Whos there”"]


def write(path: Path, lines: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    path.write_text("\ufeff" + text, encoding="utf-8")  # with a byte order mark, as some editors write
    return path


def make(tmp_path: Path, count: int = 60) -> Path:
    lines = [
        {
            "speaker": f"s{n % 5}",
            "transcription": SENTENCES[n // 2] if n < 12 else f"Sentence number {n}.",
            "audio_path": f"wavs/{n}.wav" if n % 2 else str(tmp_path / f"elsewhere/{n}.wav"),
            "duration": 36.0,
            "mood": {"glad": n, "said": "très 字"},
        }
        for n in range(count)
    ]
    return write(tmp_path / "my/all.jsonl", lines)


def split(manifest: Path, output: Path, *options: object) -> int:
    return main(["prepare", "split", "--manifest", str(manifest), "-o", str(output), *map(str, options)])


def parts(folder: Path) -> dict[str, list[dict]]:
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.glob("*.jsonl"))
        if path.stem in ("train", "validation", "test")
    }


def test_texts_that_say_the_same_have_one_key():
    assert len({text_key(text) for text in SENTENCES[:3]}) == len({text_key(text) for text in SENTENCES[4:]}) == 1
    assert text_key("Straße") == text_key("STRASSE") and text_key("e\u0301te\u0301") == text_key("ÉTÉ")
    assert text_key("दिन") != text_key("दन")  # vowel signs are marks, not punctuation
    assert len({text_key(text) for text in ("one", "two", "2", "...", "!")}) == 5


@pytest.mark.parametrize("counts", [(7, 11), (5, 0), (0, 9)])
def test_by_utterance(tmp_path, counts, capsys):
    manifest, output = make(tmp_path), tmp_path / "out"
    validation, test = counts
    assert split(manifest, output, "--validation", validation, "--test", test) == 0
    found = parts(output)
    sizes = {"train": 60 - validation - test, "validation": validation, "test": test}
    assert {name: len(lines) for name, lines in found.items()} == {name: n for name, n in sizes.items() if n}
    # By another road than text_key: letters and digits alone.
    texts = [{"".join(filter(str.isalnum, i["transcription"].lower())) for i in lines} for lines in found.values()]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert f"{output / 'train.jsonl'}: {sizes['train']} utterances, {sizes['train'] / 100:.2f} hours, 5 speakers" in (
        capsys.readouterr().out
    )


def test_lines_keep_what_they_say_and_recordings_are_found(tmp_path):
    manifest = make(tmp_path)
    assert split(manifest, tmp_path / "my", "--validation", 6, "--test", 6) == 0
    assert split(manifest, tmp_path / "far/away", "--validation", 6, "--test", 6) == 0
    before = {utterance.id: utterance for utterance in read_manifest(manifest)}
    lines = {f"all-{n}": json.loads(line) for n, line in enumerate(manifest.read_text("utf-8-sig").splitlines(), 1)}
    for folder in (tmp_path / "my", tmp_path / "far/away"):
        after = [u for name in ("train", "validation", "test") for u in read_manifest(folder / f"{name}.jsonl")]
        assert sorted(u.id for u in after) == sorted(before)
        for u in after:
            assert os.path.realpath(u.audio_path) == os.path.realpath(before[u.id].audio_path)
        items = {i["id"]: i for lines in parts(folder).values() for i in lines}
        for id, item in items.items():
            assert {**item, "audio_path": lines[id]["audio_path"]} == {**lines[id], "id": id}
    assert items["all-2"]["audio_path"] == str(tmp_path / "my/wavs/1.wav")
    assert {i["audio_path"][:5] for i in parts(tmp_path / "my")["train"]} == {"wavs/", str(tmp_path)[:5]}


def test_the_same_seed_draws_the_same_in_any_order_of_lines(tmp_path):
    manifest = make(tmp_path)
    lines = manifest.read_text("utf-8-sig").splitlines()
    turned = write(tmp_path / "my/turned.jsonl", lines[::-1])
    drawn = {}
    for name, source, seed in (("a", manifest, 0), ("b", manifest, 0), ("c", turned, 0), ("d", manifest, 1)):
        assert split(source, tmp_path / name, "--validation", 8, "--test", 8, "--seed", seed) == 0
        drawn[name] = {part: {i["audio_path"] for i in lines} for part, lines in parts(tmp_path / name).items()}
    assert drawn["a"] == drawn["b"] == drawn["c"] != drawn["d"]
    assert (tmp_path / "a/test.jsonl").read_bytes() == (tmp_path / "b/test.jsonl").read_bytes()


def test_by_speaker(tmp_path, capsys, caplog):
    manifest = make(tmp_path)
    nobody = {"transcription": "Who am I?", "audio_path": "x.wav"}
    with manifest.open("a") as file:
        file.write(json.dumps(nobody) + "\n")
    assert split(manifest, tmp_path / "out", "--by", "speaker", "--validation", 1, "--test", 2) == 0
    found = parts(tmp_path / "out")
    speakers = {name: {item.get("speaker") for item in lines} for name, lines in found.items()}
    assert {name: len(voices - {None}) for name, voices in speakers.items()} == {"train": 2, "validation": 1, "test": 2}
    assert len(set().union(*speakers.values())) == 6 and None in speakers["train"]
    assert [len(found[name]) for name in ("train", "validation", "test")] == [25, 12, 24]
    assert "1 utterances that name no speaker are trained on" in caplog.text
    assert "25 utterances, 0.24 hours and 1 without a duration, 2 speakers" in capsys.readouterr().out


def test_texts_too_common_for_the_count_are_logged(tmp_path, capsys, caplog):
    manifest = write(tmp_path / "all.jsonl", [{"transcription": "ab"[n % 2], "audio_path": "x"} for n in range(20)])
    assert split(manifest, tmp_path / "out", "--validation", 12, "--test", 0) == 0
    assert "10 utterances instead of 12" in caplog.text
    assert "10 utterances, hours not known, no speakers" in capsys.readouterr().out
    assert split(manifest, tmp_path / "none", "--validation", 9, "--test", 0) == 2
    assert "no text has so few that --validation 9" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_what_cannot_be_is_refused_and_nothing_is_written(tmp_path, capsys):
    manifest = make(tmp_path)
    before, bad = manifest.read_bytes(), tmp_path / "bad.jsonl"
    bad.write_text("{\n[]\n")
    (tmp_path / "file").touch()
    cases = [
        ((manifest, tmp_path / "out", "--validation", 30, "--test", 30), "nothing would be left to train on"),
        ((manifest, tmp_path / "out", "--by", "speaker", "--validation", 5), "has 5 speakers"),
        ((manifest, tmp_path / "out", "--validation", -1), "give 0 or more"),
        ((manifest, tmp_path / "out", "--validation", 0), "not 0 for both"),
        ((tmp_path / "gone.jsonl", tmp_path / "out"), "no such manifest"),
        ((bad, tmp_path / "out"), "no valid line; "),
        ((manifest, tmp_path / "file"), "is a file"),
    ]
    for arguments, says in cases:
        assert split(*arguments) == 2, says
        assert says in capsys.readouterr().err
    for name in ("train", "test"):
        same = manifest.rename(manifest.with_name(f"{name}.jsonl"))
        assert split(same, same.parent, "--test", 5) == 2
        assert "is the manifest that is read" in capsys.readouterr().err
        assert same.read_bytes() == before and [path.name for path in same.parent.glob("*.jsonl*")] == [same.name]
        manifest = same
    assert not (tmp_path / "out").exists()


def test_broken_lines_and_files_of_before_are_logged(tmp_path, caplog):
    manifest = make(tmp_path)
    with manifest.open("a") as file:
        file.write("{broken\n\n" + '{"transcription": "odd", "audio_path": "o.wav", "note": "\\ud800"}\n')
    (tmp_path / "out").mkdir()
    (tmp_path / "out/test.jsonl").write_text("mine\n")
    assert split(manifest, tmp_path / "out", "--validation", 3, "--test", 0) == 0
    logged = caplog.text
    assert "1 lines skipped; the first: " in logged and "line 61: not JSON" in logged
    assert f"{tmp_path / 'out/test.jsonl'}: from an earlier split" in logged
    assert (tmp_path / "out/test.jsonl").read_text() == "mine\n"
    (tmp_path / "out/test.jsonl").unlink()
    lines = [item for lines in parts(tmp_path / "out").values() for item in lines]
    assert len(lines) == 61 and [item["note"] for item in lines if "note" in item] == ["\ud800"]
    assert len({item["id"] for item in lines}) == 61
