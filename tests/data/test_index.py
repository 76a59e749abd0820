"""The columns of a manifest say what a plain reading of it says, and what is left out is counted."""

import json
import os
import pickle
import threading
from functools import partial

import numpy as np
import pytest

from melle.data import index as module
from melle.data.index import NOBODY, Fault, open_index, open_tokenizer
from melle.data.manifest import read_manifest
from melle.data.skipped import SkippedItems
from melle.errors import UserError
from melle.text.symbols import SymbolTokenizer

TEXTS = ["one two", "drei", "quatre, cinq", "sześć"]
fit = partial(SymbolTokenizer.fit, unit="characters")


def write(path, lines: list[dict | str]):
    text = "".join((line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)) + "\n" for line in lines)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # with a byte order mark, as some editors write
    return path


def make(tmp_path, count: int = 40):
    lines = [
        {
            "transcription": TEXTS[n % 4],
            "audio_path": f"{n}.wav",
            "duration": 1 + n / 7,
            **({"speaker": f"s{n % 3}"} if n % 5 else {}),
        }
        for n in range(count)
    ]
    return write(tmp_path / "m.jsonl", [*lines[:20], "", *lines[20:]])


def test_columns_equal_a_plain_reading(tmp_path):
    manifest = make(tmp_path)
    tokenizer = open_tokenizer(manifest, fit, tmp_path / "index")
    index = open_index(manifest, tokenizer, 62.5, tmp_path / "index")
    plain = read_manifest(manifest)
    assert len(index) == len(plain) == 40 and index.faults == []
    assert [index[n] for n in range(40)] == plain
    assert index.column("frames").tolist() == [round(u.duration * 62.5) + 1 for u in plain]
    assert index.column("tokens").tolist() == [len(tokenizer.encode(u.transcription)) for u in plain]
    numbers = dict(zip([u.speaker for u in plain], index.column("speaker").tolist()))
    assert index.column("speaker").tolist() == [numbers[u.speaker] for u in plain]
    assert numbers.pop(None) == NOBODY and sorted(numbers.values()) == [0, 1, 2]


def test_an_index_is_made_once_and_anew_for_what_differs(tmp_path, monkeypatch):
    built = []
    build = module._build
    monkeypatch.setattr(module, "_build", lambda *arguments: built.append(1) or build(*arguments))
    manifest, folder = make(tmp_path), tmp_path / "index"
    tokenizer = open_tokenizer(manifest, fit, folder)
    for _ in range(2):
        open_index(manifest, tokenizer, 62.5, folder)
    assert len(built) == 1
    open_index(manifest, SymbolTokenizer.fit(TEXTS, "words"), 62.5, folder)
    open_index(manifest, tokenizer, 50.0, folder)
    assert len(built) == 3
    status = manifest.stat()
    with manifest.open("a") as file:
        file.write(json.dumps({"transcription": "drei", "audio_path": "x.wav", "duration": 1.0}) + "\n")
    os.utime(manifest, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(open_index(manifest, tokenizer, 62.5, folder)) == 41
    assert not list(folder.glob(".partial*"))


def test_several_processes_at_once_build_one_index(tmp_path, monkeypatch):
    built = []
    build = module._build
    monkeypatch.setattr(module, "_build", lambda *arguments: built.append(1) or build(*arguments))
    manifest, tokenizer = make(tmp_path), SymbolTokenizer.fit(TEXTS, "characters")
    sizes = []
    threads = [
        threading.Thread(target=lambda: sizes.append(len(open_index(manifest, tokenizer, 62.5, tmp_path / "index"))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [40] * 6 and len(built) == 1


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match=r"data\.index=.*No space left.*name a folder"):
        open_index(make(tmp_path), SymbolTokenizer.fit(TEXTS, "characters"), 62.5, tmp_path / "index")
    assert [path.name for path in (tmp_path / "index").iterdir() if not path.name.endswith(".lock")] == []


def test_faults_are_named_and_the_rest_is_kept(tmp_path, tone_manifests):
    good = {"transcription": "drei", "audio_path": str(tone_manifests / "audio/test-e-0.wav")}
    lines = ["{", {**good, "id": "a"}, {**good, "audio_path": "none.wav", "id": "b"}, {**good, "transcription": "ø"}]
    manifest = write(tmp_path / "m.jsonl", lines)
    index = open_index(manifest, SymbolTokenizer.fit(TEXTS, "characters"), 62.5, tmp_path / "index")
    assert [(fault.utterance, fault.kind) for fault in index.faults] == [
        ("m-1", "not JSON"),
        ("m-4", "unknown text"),
        ("b", "missing"),
    ]
    assert len(index) == 1 and index[0].id == "a"
    assert index.column("frames").tolist() == [round(0.2 * 62.5) + 1]


def test_a_loader_process_gets_no_columns(tmp_path):
    index = open_index(make(tmp_path, 1000), SymbolTokenizer.fit(TEXTS, "characters"), 62.5, tmp_path / "index")
    index.column("frames")
    copy = pickle.dumps(index)
    assert len(copy) < 1000
    assert pickle.loads(copy)[999] == index[999]


def test_nothing_valid_says_why(tmp_path):
    with pytest.raises(UserError, match=r"no valid line.*line 1: not JSON"):
        open_tokenizer(write(tmp_path / "m.jsonl", ["{"]), fit, tmp_path / "index")
    with pytest.raises(UserError, match="no such manifest"):
        open_tokenizer(tmp_path / "none.jsonl", fit, tmp_path / "index")


def test_skipped_items_are_logged_once_and_stop_at_their_share(tmp_path, caplog):
    skipped = SkippedItems("m.jsonl", 100, 0.3, tmp_path / "out/m.jsonl")
    for number in range(30):
        for _ in range(2):
            skipped.add(Fault(f"u{number}", "missing" if number % 3 else "silent", f"u{number} is bad"))
    assert len(caplog.messages) == 21 and caplog.messages[0] == "skipped: u0 is bad"
    assert len((tmp_path / "out/m.jsonl").read_text().splitlines()) == 30
    assert skipped.summary() == "m.jsonl: 30 of 100 utterances skipped (20 missing, 10 silent)"
    with pytest.raises(UserError, match=r"31 of 100 .*more than data\.max_skipped=0\.3; such as u0 is bad"):
        skipped.add(Fault("u30", "silent", "u30 is bad"))


def test_ranks_log_what_they_alone_know(tmp_path, caplog):
    skipped = SkippedItems("m.jsonl", 100, 0.3, tmp_path / "m.jsonl", rank=2)
    skipped.add(Fault("a", "missing", "a is bad"), known_to_all=True)
    skipped.add(Fault("b", "missing", "b is bad"))
    assert caplog.messages == ["skipped: b is bad"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.rank2.jsonl"]
    assert skipped.summary() == "m.jsonl, rank 2: 2 of 100 utterances skipped (2 missing)"


def test_a_recording_that_comes_later_is_found(tmp_path, tone_manifests):
    lines = [{"transcription": "drei", "audio_path": f"{name}.wav"} for name in "ab"]
    manifest, tokenizer = write(tmp_path / "m.jsonl", lines), SymbolTokenizer.fit(TEXTS, "characters")
    sound = (tone_manifests / "audio/test-e-0.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(sound)
    for _ in range(2):
        index = open_index(manifest, tokenizer, 62.5, tmp_path / "index")
        assert [fault.kind for fault in index.faults] == ["missing"] and len(index) == 1
    (tmp_path / "b.wav").write_bytes(sound)
    index = open_index(manifest, tokenizer, 62.5, tmp_path / "index")
    assert index.faults == [] and len(index) == 2


def test_a_manifest_that_changes_while_in_use_is_an_error(tmp_path):
    manifest = make(tmp_path)
    index = open_index(manifest, SymbolTokenizer.fit(TEXTS, "characters"), 62.5, tmp_path / "index")
    manifest.write_text("{}")
    with pytest.raises(UserError, match="was changed while it was in use; start again"):
        index[3]


def test_ways_of_making_tokenizers_are_told_apart(tmp_path):
    manifest, folder = make(tmp_path), tmp_path / "index"
    words = open_tokenizer(manifest, partial(SymbolTokenizer.fit, unit="words"), folder)
    assert words.as_dict() != open_tokenizer(manifest, fit, folder).as_dict()
    assert words.as_dict() == open_tokenizer(manifest, partial(SymbolTokenizer.fit, unit="words"), folder).as_dict()


def test_three_may_be_skipped_of_anything(tmp_path):
    skipped = SkippedItems("m.jsonl", 4, 0.01)
    for number in range(3):
        skipped.add(Fault("the same name", "missing", "bad", line=number))
    with pytest.raises(UserError, match="4 of 4"):
        skipped.add(Fault("the same name", "missing", "bad", line=9))
    with pytest.raises(UserError, match="1 of 1000"):
        SkippedItems("m.jsonl", 1000, 0).add(Fault("a", "missing", "bad"))


def test_texts_of_another_language_and_unknown_words_are_faults_and_unknown_marks_are_not(tmp_path, caplog):
    phonemizer = pytest.importorskip("phonemizer")
    assert phonemizer
    from melle.text.phonemes import PhonemeTokenizer

    def line(text: str, **fields) -> str:
        return json.dumps({"transcription": text, "audio_path": "a.wav", "duration": 1.0, **fields}) + "\n"

    languages = ("en", "en-GB", None, "fr", "de-DE")
    content = "".join(line("two nine", language=language) for language in languages)
    (tmp_path / "m.jsonl").write_text(content, encoding="utf-8")
    index = open_index(tmp_path / "m.jsonl", PhonemeTokenizer.fit(["two nine"]), 62.5, tmp_path / "index")
    assert len(index) == 3 and {fault.kind for fault in index.faults} == {"other language"}
    assert "fr" in index.faults[0].message and "en-us" in index.faults[0].message

    (tmp_path / "n.jsonl").write_text(line("two “nine” ×") + line("two three"), encoding="utf-8")
    index = open_index(tmp_path / "n.jsonl", SymbolTokenizer.fit(["two nine"], "words"), 62.5, tmp_path / "index")
    assert [(fault.line, fault.kind) for fault in index.faults] == [(2, "unknown text")]
    assert "'×' (1)" in caplog.text
