import pytest

from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.errors import UserError


def test_round_trip_with_relative_paths(tmp_path):
    utterances = [
        Utterance("grüß dich", tmp_path / "audio/a.wav", "a", speaker="s", language="de", duration=1.5),
        Utterance("two", tmp_path / "b.wav", "b"),
    ]
    write_manifest(tmp_path / "m.jsonl", utterances)
    assert '"audio/a.wav"' in (tmp_path / "m.jsonl").read_text(encoding="utf-8")
    assert read_manifest(tmp_path / "m.jsonl") == utterances
    assert not (tmp_path / "m.jsonl.partial").exists()


def test_the_references_form_is_enough(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"transcription": " hi ", "audio_path": "x.wav"}\n\n', encoding="utf-8")
    (utterance,) = read_manifest(tmp_path / "m.jsonl")
    assert utterance == Utterance("hi", tmp_path / "x.wav", "m-1")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{not json", "line 2: not JSON"),
        ("[1]", "line 2: expected an object"),
        ('{"audio_path": "x.wav"}', '"transcription" is missing'),
        ('{"transcription": "hi", "audio_path": ""}', '"audio_path" is missing'),
        ('{"transcription": "hi", "audio_path": "x", "duration": "long"}', '"duration" must be a number'),
        ('{"transcription": "hi", "audio_path": "x", "speaker": []}', '"speaker" must be a string'),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, says):
    path = tmp_path / "m.jsonl"
    path.write_text('{"transcription": "hi", "audio_path": "x.wav"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read_manifest(path)


def test_joined_files_and_lists_from_windows_are_read(tmp_path):
    line = '{"transcription": "hi", "audio_path": "audio\\\\a.wav", "id": "%s"}\n'
    both = ("\ufeff" + line % "a" + line % "b") + ("\ufeff" + line % "c") + "\ufeff\n"  # cat one.jsonl two.jsonl …
    (tmp_path / "m.jsonl").write_text(both, encoding="utf-8")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/a.wav").touch()
    found = read_manifest(tmp_path / "m.jsonl")
    assert [u.id for u in found] == ["a", "b", "c"] and {u.audio_path for u in found} == {tmp_path / "audio/a.wav"}
    (tmp_path / "audio\\a.wav").touch()  # such a name is possible here
    assert read_manifest(tmp_path / "m.jsonl")[0].audio_path == tmp_path / "audio\\a.wav"


def test_missing_and_empty_manifests(tmp_path):
    with pytest.raises(UserError, match="no such manifest"):
        read_manifest(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError, match="has no line"):
        read_manifest(tmp_path / "empty.jsonl")
