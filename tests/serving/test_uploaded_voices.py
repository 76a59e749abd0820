"""Voices are added, used and removed over HTTP, and kept where they belong."""

import gc
import io
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import soundfile

from melle.errors import UserError
from melle.serving.errors import ApiError
from melle.serving.voices import Voices
from melle.synthesis.voices import add_voice, read_voices, remove_voice
from tests.serving.test_speech_endpoint import ask, refused, samples


def recording(seconds=1.0, rate=22050, kind="FLAC", level=0.3, channels=1, hertz=150) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    sound = level * np.sin(2 * np.pi * hertz * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    file = io.BytesIO()
    soundfile.write(file, np.repeat(sound[:, None], channels, 1), rate, format=kind)
    return file.getvalue()


def upload(address, name="carl", content=None, text="three four", file="carl.flac") -> httpx.Response:
    content = recording() if content is None else content
    return httpx.post(f"{address}/v1/voices", data={"name": name, "text": text}, files={"audio": (file, content)})


def names(address) -> dict[str, str]:
    return {voice["id"]: voice["owned_by"] for voice in httpx.get(f"{address}/v1/voices").json()["data"]}


def test_a_voice_is_added_used_kept_and_removed(serve, tts, tmp_path):
    with serve() as address:
        assert names(address) == {"anna": "model", "bert": "model"}
        answer = upload(address, text=" three\n four ")
        assert answer.status_code == 201 and answer.json()["id"] == "carl"
        assert any("times as long as its transcript" in note for note in answer.json()["warnings"])
        spoken = samples(ask(address, voice="carl").content)
        assert not np.array_equal(spoken, samples(ask(address, voice="anna").content))
        assert refused(upload(address), 409) == refused(upload(address, "anna"), 409)
    with serve() as address:  # started again
        assert names(address) == {"anna": "model", "bert": "model", "carl": "user"}
        assert read_voices(tmp_path / "uploaded")["carl"].text == "three four"
        again = samples(ask(address, voice={"id": "carl"}).content)
        assert np.corrcoef(again, spoken)[0, 1] > 0.95  # its recording was rounded to 16 bits
        assert httpx.delete(f"{address}/v1/voices/carl").json()["deleted"] is True
        assert names(address) == {"anna": "model", "bert": "model"}
        refused(ask(address, voice="carl"), 400, "voice_not_found")
        refused(httpx.delete(f"{address}/v1/voices/carl"), 404)
        refused(httpx.delete(f"{address}/v1/voices/anna"), 403)
    assert [path.name for path in (tmp_path / "uploaded" / "voices").iterdir()] == ["voices.json"]


def test_a_voice_that_is_saved_anew_is_another(tts, model, tmp_path):
    voices = Voices(tts, model, tmp_path)
    for hertz in (150, 300):  # by the command, say, while the server runs
        path = tmp_path / f"{hertz}.flac"
        path.write_bytes(recording(hertz=hertz))
        add_voice("carl", path, "three four", tmp_path)
        first = voices.find("carl").mel.mean(dim=0).argmax()
        assert voices.find("carl") is voices.find("carl")
        voices.remove("carl")
        if hertz == 150:
            low = first
    assert first > low


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_formats_that_are_taken(serve, kind):
    with serve() as address:
        assert upload(address, content=recording(kind=kind, channels=2)).status_code == 201


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not readable"),
        (b"#EXTM3U\n/etc/passwd\n", "not readable"),
        (recording()[:200], "recording"),
        (recording(seconds=6), "longer than 5 s"),
        (recording(seconds=0.05), "too short"),
        (recording(level=0.0), "nothing but silence"),
        (recording(seconds=4, rate=47999, kind="WAV"), "samples per second"),
    ],
    ids=["empty", "playlist", "cut off", "long", "short", "silent", "odd rate"],
)
def test_recordings_that_cannot_be_voices(serve, tmp_path, content, message):
    with serve(prompt_seconds=5.0) as address:
        said = refused(upload(address, content=content), 400, "invalid_recording")
        assert message in said and "/tmp" not in said
        assert "carl" not in names(address)
    assert not (tmp_path / "uploaded").exists()


@pytest.mark.parametrize("name", ["../anna", "a/b", "", "Anna", "a" * 65, "-x", "a.b", "a\0", "ä"])
def test_names_that_are_none(serve, tmp_path, name):
    with serve() as address:
        refused(upload(address, name, file="../../x.wav"), 400)
        refused(upload(address, text=" "), 400)
        refused(upload(address, text="x" * 1001), 400, "invalid_text")
        refused(upload(address, text="hello"), 400, "invalid_text")  # a word that the model does not know
        form = {"data": {"name": "carl", "text": "one"}, "files": {"audio": (None, "notafile")}}
        assert refused(httpx.post(f"{address}/v1/voices", **form), 400).startswith("audio: give a file, such as")
    assert not (tmp_path / "uploaded").exists()


def test_limits_of_uploads(serve):
    with serve(upload=50_000, voices=1) as address:
        refused(upload(address, content=recording(seconds=4, kind="WAV")), 413, "request_too_large")
        assert upload(address).status_code == 201
        assert "1 voices" in refused(upload(address, "dora"), 409, "too_many_voices")


def test_a_voice_without_its_recording_disturbs_no_other(serve, tmp_path):
    with serve() as address:
        for name in ("carl", "dora"):
            assert upload(address, name).status_code == 201
        (tmp_path / "uploaded/voices/carl.flac").unlink()
        assert names(address) == {"anna": "model", "bert": "model", "dora": "user"}
        assert ask(address, voice="dora").status_code == ask(address).status_code == 200
        refused(ask(address, voice="carl"), 400, "voice_not_found")
        doubtful = upload(address, "emil", text="one hello " + "two " * 30)  # 32 words in a second
        assert doubtful.status_code == 201
        warnings = " ".join(doubtful.json()["warnings"])
        assert "does not know 'hello'" in warnings and "times as short as its transcript would take" in warnings
        refused(upload(address, "carl"), 409, "exists")
        assert httpx.delete(f"{address}/v1/voices/carl").status_code == 200
        assert upload(address, "carl").status_code == 201


def test_faults_of_the_folder_are_the_servers_and_name_no_path(serve, tmp_path):
    with serve() as address:
        assert upload(address).status_code == 201
        (tmp_path / "uploaded/voices/carl.flac").write_bytes(b"no sound")
        said = [refused(ask(address, voice="carl"), 500, "internal_error")]
        (tmp_path / "uploaded/voices/voices.json").write_text("[")
        said += [refused(answer, 500, "internal_error") for answer in (ask(address), upload(address, "dora"))]
        said += [refused(httpx.get(f"{address}/v1/voices"), 500), refused(httpx.delete(f"{address}/v1/voices/x"), 500)]
        assert not any(str(tmp_path) in message or "/" in message for message in said)


def test_a_voice_removed_by_another_process_while_it_is_read(tts, model, tmp_path, monkeypatch):
    voices = Voices(tts, model, tmp_path)
    voices.add("carl", recording(), "three four")
    listed = read_voices(tmp_path)
    remove_voice("carl", tmp_path)
    monkeypatch.setattr("melle.serving.voices.read_voices", lambda *_: listed)
    with pytest.raises(ApiError) as error:
        voices.find("carl")
    assert error.value.status == 400 and error.value.code == "voice_not_found"


def test_prompts_of_removed_voices_are_dropped(tts, model, tmp_path):
    voices = Voices(tts, model, tmp_path)
    voices.add("carl", recording(), "three four")
    voices.add("dora", recording(), "three four")
    kept = [weakref.ref(voices.find(name)) for name in ("carl", "dora")]
    voices.remove("carl")
    remove_voice("dora", tmp_path)  # by another process
    voices.find("anna")
    gc.collect()
    assert [prompt() for prompt in kept] == [None, None]


def test_two_voices_are_added_at_a_time(tts, model, tmp_path, monkeypatch):
    voices, entered, leave = Voices(tts, model, tmp_path), threading.Semaphore(0), threading.Event()
    read_prompt = tts.read_prompt

    def slow(*arguments):
        entered.release()
        assert leave.wait(20)
        return read_prompt(*arguments)

    monkeypatch.setattr(tts, "read_prompt", slow)
    with ThreadPoolExecutor(2) as pool:
        added = [pool.submit(voices.add, name, recording(), "three four") for name in ("carl", "dora")]
        try:
            assert entered.acquire(timeout=20) and entered.acquire(timeout=20)
            with pytest.raises(ApiError) as error:
                voices.add("emil", recording(), "three four")
        finally:
            leave.set()
        assert [future.result()["id"] for future in added] == ["carl", "dora"]
    assert error.value.status == 503
    assert voices.add("emil", recording(), "three four")["id"] == "emil"


def test_a_damaged_folder_is_said_at_the_start(tts, model, tmp_path):
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices/voices.json").write_text("[")
    with pytest.raises(UserError, match="damaged"):
        Voices(tts, model, tmp_path)
