"""The official client of OpenAI's API is answered, with the audio that the same seed gives alone."""

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import httpx
import numpy as np
import openai
import pytest
import soundfile
import torch

from melle.audio import resample
from melle.errors import UserError
from melle.synthesis.options import DecodingOptions
from melle.synthesis.voices import read_voices


@pytest.fixture
def client(serve):
    with serve() as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(address, text="one two", **more) -> httpx.Response:
    body = {"model": "tiny", "input": text, "response_format": "wav", **more}
    return httpx.post(f"{address}/v1/audio/speech", json=body, timeout=60)


def alone(tts, model, text, voice="anna", **how) -> np.ndarray:
    named = read_voices(model)[voice]
    return tts(text, named.audio, named.text, **how).waveform.numpy()


def assert_same(sound: np.ndarray, expected: np.ndarray) -> None:
    """But for rounding, which Griffin-Lim's phases make larger."""
    assert sound.shape == expected.shape
    assert np.mean((sound - expected) ** 2) < 1e-3 * np.mean(expected**2)


def samples(content: bytes) -> np.ndarray:
    waveform, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 16000
    return waveform


def test_the_official_client(client, tts, model):
    assert [one.id for one in client.models.list()] == ["tiny"]
    how = {"model": "tts-1", "voice": "bert", "response_format": "wav"}
    answer = client.audio.speech.create(input="three four", extra_body={"seed": 5}, **how)
    assert answer.response.headers["content-type"] == "audio/wav"
    expected = alone(tts, model, "three four", "bert", seed=5)
    assert_same(samples(answer.content), expected)
    assert np.abs(expected).max() > 0.01
    with pytest.raises(openai.BadRequestError, match="anna, bert") as error:
        client.audio.speech.create(input="one", **{**how, "voice": "nobody"})
    assert error.value.param == "voice" and error.value.code == "voice_not_found"
    for theirs, ours in (("alloy", "anna"), ("echo", "bert"), ("fable", "anna")):  # all that some clients offer
        answer = client.audio.speech.create(input="three four", extra_body={"seed": 5}, **{**how, "voice": theirs})
        assert_same(samples(answer.content), alone(tts, model, "three four", ours, seed=5))
    assert client.models.retrieve("tiny").id == "tiny" and client.models.retrieve("tts-1").id == "tts-1"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(input="one", **{**how, "model": "other"})


def test_it_streams_to_the_official_client(client, tts, model):
    how = {"model": "tiny", "voice": "anna", "response_format": "pcm"}
    text = "one two three four five six seven eight"
    with client.audio.speech.with_streaming_response.create(input=text, **how) as answer:
        parts = list(answer.iter_bytes())
    assert len(parts) > 2
    streamed = np.frombuffer(b"".join(parts), "<i2") / 32767
    named = read_voices(model)["anna"]
    whole = torch.cat([chunk.waveform for chunk in tts.stream(text, named.audio, named.text)])
    assert_same(streamed, resample(whole, 16000, 24000).clamp(-1, 1).numpy())


def test_the_official_client_reads_events(client):
    how = {"model": "tiny", "voice": "anna", "response_format": "pcm", "stream_format": "sse"}
    how["extra_body"] = {"words": True}
    with client.audio.speech.with_streaming_response.create(input="one two three", **how) as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    *deltas, done = events
    assert {event["type"] for event in deltas} == {"speech.audio.delta"} and done["type"] == "speech.audio.done"
    sound = b"".join(base64.b64decode(event["audio"]) for event in deltas)
    assert len(sound) == 2 * done["seconds"] * done["sample_rate"] and done["finish_reason"] == "length"
    assert [word["word"] for word in done["words"]] == ["one", "two", "three"]
    times = [word[edge] for word in done["words"] for edge in ("start", "end")]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= done["seconds"]


def test_speed_and_pauses(client, tts, model):
    how = {"model": "tiny", "voice": "anna", "response_format": "wav"}
    fast = client.audio.speech.create(input="one two three", speed=1.5, **how)
    named = read_voices(model)["anna"]
    expected = tts("one two three", named.audio, named.text, DecodingOptions(speed=1.5)).waveform.numpy()
    assert_same(samples(fast.content), expected)
    paused = client.audio.speech.create(input="one [pause 1s] two", **how)
    assert_same(samples(paused.content), alone(tts, model, "one [pause 1s] two"))
    for speed, text in ((3.0, "one"), (1.0, "one [pause 9s] " * 8)):
        with pytest.raises(openai.BadRequestError) as error:
            client.audio.speech.create(input=text, speed=speed, **how)
        assert error.value.param == ("input" if speed == 1 else "speed")


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "wav", "pcm"])
def test_formats(serve, tts, model, name):
    with serve() as address:
        answer = ask(address, response_format=name)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("audio/")
    raw = {"format": "RAW", "samplerate": 24000, "channels": 1, "subtype": "PCM_16"} if name == "pcm" else {}
    waveform, rate = soundfile.read(io.BytesIO(answer.content), **raw)
    expected = alone(tts, model, "one two")
    assert len(waveform) / rate == pytest.approx(len(expected) / 16000, abs=0.15 if name == "mp3" else 0.03)
    assert np.sqrt(np.mean(waveform**2)) == pytest.approx(
        np.sqrt(np.mean(expected**2)), rel=0.3
    )  # MP3 begins with silence


def test_many_at_once_each_receive_their_own(serve, tts, model):
    texts = ["one", "two three four five", "six", "seven eight nine"] * 4
    step, met = tts.network.step, threading.Event()
    tts.network.step = lambda caches, state, *rest: (meet(state), step(caches, state, *rest))[1]

    def meet(state) -> None:
        """Nothing is spoken to its end before others are there."""
        if len(state.prefix) == 4:
            met.set()
        met.wait(0.05)

    with serve(rows=4) as address, ThreadPoolExecutor(16) as pool:
        hows = [{"voice": "anna" if n % 2 else "bert", "seed": n} for n in range(len(texts))]
        answers = list(pool.map(lambda text, how: ask(address, text, **how), texts, hows))
        metrics = httpx.get(f"{address}/metrics").text
    for text, how, answer in zip(texts, hows, answers):
        assert_same(samples(answer.content), alone(tts, model, text, **how))
    figures = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(figures['melle_requests_total{outcome="done"}']) == 16
    assert float(figures["melle_row_steps"]) > 1.5 * float(figures["melle_steps"])
    assert float(figures["melle_running_rows"]) == 0


@pytest.mark.parametrize("reads", [True, False], ids=["while it is spoken", "before the first sound"])
def test_a_client_that_leaves_frees_its_row(serve, tts, reads):
    step, steps = tts.network.step, []
    tts.network.step = lambda *arguments: (steps.append(time.sleep(0.05)), step(*arguments))[
        1
    ]  # a minute for this text
    text = " ".join(["one two three four five six seven eight nine"] * 40)
    with serve() as address:
        body = {"model": "tiny", "input": text, "response_format": "pcm" if reads else "wav"}
        with httpx.Client() as client:
            if reads:
                with client.stream("POST", f"{address}/v1/audio/speech", json=body, timeout=30) as answer:
                    next(answer.iter_raw())
            else:
                with pytest.raises(httpx.ReadTimeout):
                    client.post(f"{address}/v1/audio/speech", json=body, timeout=httpx.Timeout(5, read=0.3))
        assert steps
        for _ in range(200):
            if 'outcome="left"' in httpx.get(f"{address}/metrics").text:
                break
            time.sleep(0.02)
        time.sleep(0.1)  # the step that was being made
        before = len(steps)
        time.sleep(0.3)
        assert len(steps) == before
        assert httpx.get(f"{address}/health").json() == {"status": "ok", "running": 0, "waiting": 0}
        assert ask(address, "one").status_code == 200


def refused(answer: httpx.Response, status: int, code: str | None = None) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and (code is None or error["code"] == code)
    assert "Traceback" not in answer.text and ".py" not in answer.text
    return error["message"]


def test_limits_are_said(serve, tts):
    tts.tokenizer.normaliser = "en-1"
    with serve(text=20, body=1000) as address:
        assert "20 are taken" in refused(ask(address, "one " * 6), 400, "string_above_max_length")
        assert "written in Cyrillic" in refused(ask(address, "one мир"), 400, "unsupported_script")
        refused(ask(address, "one " * 600), 413, "request_too_large")
        assert "nothing to say" in refused(ask(address, "—…"), 400)
        assert "seed" in refused(ask(address, seed=-1), 400)
        for speed in (0.1, 3.5, 99):
            assert refused(ask(address, speed=speed), 400) == "speed: from 0.5 to 2 are taken"
        for half in ("\ud800 one", "one \udfff"):
            body = json.dumps({"model": "tiny", "input": half})  # escaped, as JSON has it
            how = {"content": body, "headers": {"Content-Type": "application/json"}}
            assert "half of a character" in refused(httpx.post(f"{address}/v1/audio/speech", **how), 400)
        figures = httpx.get(f"{address}/metrics").text
        assert 'melle_errors_total{status="400"} 9.0' in figures and 'melle_errors_total{status="413"} 1.0' in figures
        assert "colour" in refused(ask(address, colour="red"), 400)
        refused(httpx.post(f"{address}/v1/audio/speech", content=b'{"model": "tiny", "input'), 400)
        refused(httpx.get(f"{address}/v1/nothing"), 404)
        refused(httpx.get(f"{address}/v1/audio/speech"), 405)
        assert httpx.head(f"{address}/health").status_code == 200


def test_what_takes_too_long_is_given_up(serve, tts):
    step, late = tts.network.step, threading.Event()
    long = " ".join(["one two three four five six seven eight nine"] * 4)
    steps = []

    def stuck(*arguments):
        """The first steps are made, others only after the time is up."""
        steps.append(1)
        if len(steps) > 15:
            late.wait(20)
        return step(*arguments)

    tts.network.step = stuck
    with serve(seconds=2.0) as address:
        steps += [1] * 15
        assert "2 s" in refused(ask(address, "one two three four five six"), 504, "timeout")
        late.set()
        ask(address, "one")
        late.clear(), steps.clear()
        with pytest.raises(httpx.RemoteProtocolError):  # what was begun is not ended as if it were whole
            ask(address, long, response_format="pcm")
        late.set()
        ask(address, "one")
        late.clear(), steps.clear()
        last = ask(address, long, response_format="pcm", stream_format="sse")
        assert '"code": "timeout"' in last.text.strip().splitlines()[-1]
        late.set()


def test_more_requests_than_may_wait_are_refused(serve, tts, monkeypatch):
    monkeypatch.setattr("melle.serving.app.os.cpu_count", lambda: 1)
    step, free = tts.network.step, threading.Event()
    tts.network.step = lambda *arguments: (free.wait(20), step(*arguments))[1]
    with serve(rows=1, waiting=2) as address, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, address, "one two three", seed=seed) for seed in range(8)]
        early = [one.result() for one in islice(as_completed(asked, timeout=20), 4)]
        for answer in early:
            assert "2 requests wait" in refused(answer, 503, "server_busy")
            assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{address}/health").json() == {"status": "ok", "running": 1, "waiting": 2}
        free.set()  # one is decoded, one may be turned to sound meanwhile, two wait
        assert sorted(one.result().status_code for one in asked) == [200] * 4 + [503] * 4


def test_a_fault_of_ours_is_in_the_log_alone(serve, tts, caplog):
    def fail(*_):
        raise ZeroDivisionError("a secret")

    step, tts.network.step = tts.network.step, fail
    with serve() as address:
        assert "log" in refused(ask(address), 500)
        assert "a secret" in caplog.text
        tts.network.step = step
        assert ask(address).status_code == 200  # the batch goes on
        tts.vocoder.forward = fail
        assert "log" in refused(ask(address), 500)
        tts.vocoder.forward = lambda mel: (_ for _ in ()).throw(UserError("too loud; speak softly"))
        assert "speak softly" in refused(ask(address), 400)
        broken = torch.AcceleratorError("CUDA error: an illegal memory access")
        tts.vocoder.forward = lambda mel: (_ for _ in ()).throw(broken)
        assert "log" in refused(ask(address), 500) and "cpu does not work any more" in caplog.text


def test_who_may_ask(serve):
    with serve(token="sésame") as address:
        refused(ask(address), 401, "invalid_api_key")
        refused(httpx.get(f"{address}/v1/voices", headers={"Authorization": "Bearer wrong"}), 401)
        right = {"Authorization": "Bearer sésame".encode()}
        assert httpx.get(f"{address}/v1/voices", headers=right).status_code == 200
        for path in ("/", "/health"):
            assert httpx.get(address + path).status_code == 200
        refused(httpx.get(f"{address}/v1/models", headers={**right, "Host": "evil.example"}), 403)
        refused(httpx.delete(f"{address}/v1/voices/x", headers={**right, "Origin": "https://evil.example"}), 403)
        assert httpx.delete(f"{address}/v1/voices/x", headers={**right, "Origin": address}).status_code == 404


def test_a_web_server_in_front(serve):
    front = {"Host": "speech.example", "Origin": "https://speech.example"}
    with serve(public_host="speech.example") as address:
        for headers in (front, {"Origin": "https://speech.example"}, {"Origin": address}):
            assert httpx.delete(f"{address}/v1/voices/x", headers=headers).status_code == 404
        refused(httpx.delete(f"{address}/v1/voices/x", headers={**front, "Origin": "https://evil.example"}), 403)
        refused(httpx.delete(f"{address}/v1/voices/x", headers={**front, "Host": "evil.example"}), 403)
