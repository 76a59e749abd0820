"""Kept records."""

import json

from melle.evaluation.records import Records


def keep(records: Records, *inputs: str, **more) -> None:
    records.start()
    for one in inputs:
        records.append({"inputs": one, **more})


def test_records_come_back_line_by_line(tmp_path):
    records = Records(tmp_path / "a [1]" / "asr-x.jsonl", {"path": tmp_path, "settings": (1, 2)})
    assert records.read() == {}
    keep(records, "one", "two", text="é")
    keep(records, "three")
    expected = {name: {"inputs": name, "text": "é"} for name in ("one", "two")} | {"three": {"inputs": "three"}}
    assert records.read() == expected
    header, *lines = map(json.loads, records.path.read_text(encoding="utf-8").splitlines())
    assert header == {"depends_on": {"path": str(tmp_path), "settings": [1, 2]}} and len(lines) == 3
    other = Records(records.path, {"path": tmp_path, "settings": (1, 2)})
    for number, each in enumerate((records, other, records)):  # two processes by turns
        each.append({"inputs": f"more {number}"})
    assert records.read().keys() == {*expected, "more 0", "more 1", "more 2"}


def test_names_that_are_not_utf_8_come_back(tmp_path):
    records = Records(tmp_path / "speech.jsonl", {"path": "a\udcff.wav"})
    keep(records, "a", text="é\udcff")
    assert records.read() == {"a": {"inputs": "a", "text": "é\udcff"}}


def test_records_of_other_dependencies_are_void_and_stay_so(tmp_path):
    one, other = (Records(tmp_path / "speech.jsonl", {"version": version}) for version in (1, 2))
    keep(one, "a")
    assert other.read() == {} and one.read().keys() == {"a"}
    keep(other, "b")  # replaces the audio that the first ones are about
    assert one.read() == {} and other.read().keys() == {"b"}


def test_of_a_process_that_was_killed_the_whole_lines_count(tmp_path):
    records = Records(tmp_path / "speech.jsonl", {})
    keep(records, "a", "b", text="é")
    records.path.write_bytes(records.path.read_bytes()[:-3])  # in the middle of the letter
    assert records.read().keys() == {"a"}
    keep(records, "c")
    assert records.read().keys() == {"a", "c"}
