"""Kept records."""

import json

from melle.evaluation.records import Records


def keep(records: Records, *inputs: str, **more) -> None:
    with records.appending() as append:
        for one in inputs:
            append({"inputs": one, **more})


def test_records_come_back_from_parts_and_from_the_whole(tmp_path):
    records = Records(tmp_path / "a [1]" / "asr-x.jsonl", {"path": tmp_path, "settings": (1, 2)})
    assert records.read() == {}
    keep(records, "one", "two", text="é")
    keep(records, "three")
    expected = {name: {"inputs": name, "text": "é"} for name in ("one", "two")} | {"three": {"inputs": "three"}}
    assert records.read() == expected and not records.path.exists()
    assert records.merge() == records.read() == expected
    assert [path.name for path in records.path.parent.iterdir()] == ["asr-x.jsonl"]
    header, *lines = map(json.loads, records.path.read_text(encoding="utf-8").splitlines())
    assert header == {"depends_on": {"path": str(tmp_path), "settings": [1, 2]}} and len(lines) == 3
    keep(records, "four")
    assert records.merge().keys() == {*expected, "four"}


def test_records_of_other_dependencies_are_void_and_stay_so(tmp_path):
    one, other = (Records(tmp_path / "speech.jsonl", {"version": version}) for version in (1, 2))
    keep(one, "a")
    one.merge()
    assert other.read() == {} and one.read().keys() == {"a"}
    keep(other, "b")  # replaces the audio that the first ones are about
    assert one.read() == {} and other.read().keys() == {"b"}


def test_of_a_process_that_was_killed_the_whole_lines_count(tmp_path):
    records = Records(tmp_path / "speech.jsonl", {})
    keep(records, "a", "b")
    (part,) = tmp_path.iterdir()
    part.write_bytes(part.read_bytes()[:-3])
    assert records.merge().keys() == {"a"} and len(list(tmp_path.iterdir())) == 1


def test_names_that_begin_alike_are_apart(tmp_path):
    short, long = (Records(tmp_path / f"{name}.jsonl", {}) for name in ("asr", "asr.x"))
    keep(long, "a")
    assert short.read() == {} and long.read().keys() == {"a"}
