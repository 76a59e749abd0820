"""Requests that no honest client makes, for a server of ours on loopback: broken, huge, slow, and cut off."""

from __future__ import annotations

import io
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import numpy as np
import soundfile

LEAKS = ("Traceback", 'File "', ".py", "site-packages")  # what no answer may hold
PATHS = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    "a/b",
    "con\0",
    "%2e%2e%2fx",
    ".",
    "..",
    "~",
    "A" * 5000,
    "ä",
    "",
)
DIGITS = "1" * 4000  # within the limit, and far longer when it is read aloud
TEXTS = (
    "\0",
    "\ud800",
    "\u202e" * 50,
    "’" * 4000,
    "a" * 4096,
    "🎉" * 500,
    "1" * 3000,
    DIGITS,
    "<script>",
    "{{7*7}}",
    " \n\t ",
)
VALUES = (None, True, -1, 1e308, 2**70, "", "x", [], {}, [[]], {"id": 1}, {"id": "../x"}, "9" * 5000)
FIELDS = ("model", "input", "voice", "response_format", "speed", "stream_format", "seed", "instructions", "__class__")


@dataclass(frozen=True)
class Reply:
    """What came back: a status, or None where the server closed the connection or the client left."""

    kind: str
    status: int | None
    text: str = ""

    @property
    def fault(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.status is not None and self.status >= 500 and self.status not in (503, 504):
            return f"{self.kind}: status {self.status}: {self.text[:200]}"
        leak = next((leak for leak in LEAKS if leak in self.text), None)
        return leak and f"{self.kind}: the answer holds {leak!r}: {self.text[:200]}"


class Attacker:
    """Makes hostile requests of a server; ``seed`` decides which."""

    def __init__(self, address: str, seed: int):
        self._random = random.Random(seed)
        self._client = httpx.Client(base_url=address, timeout=60, trust_env=False)
        parts = urlsplit(address)
        self._place = (parts.hostname, parts.port)
        self._kinds: list[Callable[[], httpx.Response | bytes | None]] = [
            self.broken_json, self.wrong_type, self.odd_text, self.odd_voice, self.odd_path, self.odd_upload_name,
            self.odd_recording, self.giant, self.broken_form, self.not_http, self.lying_length, self.bad_chunks,
            self.leaves_while_sending, self.leaves_while_hearing, self.is_slow, self.deep,
        ]  # fmt: skip

    def attack(self, number: int) -> Reply:
        """Request number so-and-so; kinds come by turns."""
        act = self._kinds[number % len(self._kinds)]
        try:
            answer = act()
        except (httpx.HTTPError, OSError):
            return Reply(act.__name__, None)
        if isinstance(answer, httpx.Response):
            sound = answer.headers.get("content-type", "").startswith("audio/")
            return Reply(act.__name__, answer.status_code, "" if sound else answer.text)
        text = (answer or b"").decode("latin-1")
        status = int(text[9:12]) if text.startswith("HTTP/1.1 ") else None
        return Reply(act.__name__, status, text)

    def broken_json(self) -> httpx.Response:
        whole = json.dumps({"model": "tts-1", "input": "one"}).encode()
        cut = self._random.choice(
            (whole[:-3], b"\xff\xfe" + whole, b"", b"NaN", b"[" + whole, whole + b"}", b"9" * 9000)
        )
        return self._client.post("/v1/audio/speech", content=cut)

    def wrong_type(self) -> httpx.Response:
        body = {"model": "tts-1", "input": "one", "response_format": "wav"}
        for _ in range(self._random.randint(1, 3)):
            body[self._random.choice(FIELDS)] = self._random.choice(VALUES)
        return self._client.post("/v1/audio/speech", content=json.dumps(body).encode())

    def odd_text(self) -> httpx.Response:
        body = {"model": "tts-1", "input": self._random.choice(TEXTS)}
        if len(body["input"]) > 1000 and body["input"] != DIGITS:  # most are too long to wait for
            body["input"] *= 2
        return self._client.post("/v1/audio/speech", content=json.dumps(body).encode())

    def odd_voice(self) -> httpx.Response:
        body = {"model": "tts-1", "input": "one", "voice": self._random.choice(PATHS)}
        return self._client.post("/v1/audio/speech", content=json.dumps(body).encode())

    def odd_path(self) -> httpx.Response:
        path = self._random.choice(PATHS).replace("\0", "%00")
        where = self._random.choice(
            (f"/v1/voices/{path}", f"/{path}", f"/v1/audio/speech/{path}", f"/v1/{path}?x={path}")
        )
        return self._client.request(self._random.choice(("DELETE", "GET", "PUT", "OPTIONS", "PATCH")), where)

    def odd_upload_name(self) -> httpx.Response:
        name = self._random.choice(PATHS)
        return self._upload(name, self._sound(1.0), "one two", file=self._random.choice(PATHS) or "x")

    def odd_recording(self) -> httpx.Response:
        sound = self._sound(1.0)
        lying = bytearray(sound)
        lying[40:44] = b"\xff\xff\xff\x7f"  # a data chunk of 2 GB
        many = bytearray(sound)
        many[22:24] = b"\xff\xff"  # channels
        fast = bytearray(sound)
        fast[24:28] = b"\xff\xff\xff\x7f"  # samples per second
        cuts = (
            sound[: self._random.randrange(60)],
            sound[:1000],
            bytes(lying),
            bytes(many),
            bytes(fast),
            self._sound(40.0),
        )
        junk = (self._random.randbytes(5000), b"", b"#EXTM3U\n/etc/passwd\n", b"\0" * 10000, self._silence())
        return self._upload("x", self._random.choice(cuts + junk), "one two")

    def giant(self) -> httpx.Response:
        if self._random.random() < 0.5:
            return self._upload("x", b"RIFF" + bytes(12 * 2**20), "one two")
        body = {"model": "tts-1", "input": "one " * self._random.choice((2000, 200_000))}
        return self._client.post("/v1/audio/speech", content=json.dumps(body).encode())

    def broken_form(self) -> httpx.Response:
        kind = self._random.choice(("multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""))
        content = self._random.choice(
            (b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n", b"--x--", b"name=x")
        )
        return self._client.post("/v1/voices", content=content, headers={"Content-Type": kind})

    def not_http(self) -> bytes:
        return self._send(
            self._random.choice((b"\x16\x03\x01\x02\x00", self._random.randbytes(3000), b"GET\r\n\r\n", b"\r\n" * 50))
        )

    def lying_length(self) -> bytes:
        length = self._random.choice(("5", "-1", "99999999999999999999", "x", "5, 6"))
        return self._send(
            f"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{{}}".encode()
        )

    def bad_chunks(self) -> bytes:
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        return self._send(
            head + self._random.choice((b"zz\r\n", b"ffffffffffffffff\r\n{}", b"2\r\n{}\r\n", b"5\r\n{}"))
        )

    def leaves_while_sending(self) -> None:
        with socket.create_connection(self._place, timeout=5) as connection:
            connection.sendall(
                b'POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"model": '
            )

    def leaves_while_hearing(self) -> None:
        body = json.dumps(
            {"model": "tts-1", "input": "one two three, four five six.", "response_format": "pcm"}
        ).encode()
        head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(self._place, timeout=20) as connection:
            connection.sendall(head.encode() + body)
            if self._random.random() < 0.7:
                connection.recv(self._random.choice((1, 300)))

    def is_slow(self) -> bytes:
        with socket.create_connection(self._place, timeout=5) as connection:
            for byte in b"POST /v1/audio/speech HTTP/1.1\r\n"[: self._random.randrange(5, 30)]:
                connection.sendall(bytes([byte]))
                time.sleep(0.002)
        return b""

    def slow_body(self, seconds: float) -> Reply:
        """A body of which a byte is sent every now and then, until the server answers or so many seconds are over."""
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
        answer, end = b"", time.monotonic() + seconds
        with socket.create_connection(self._place, timeout=0.1) as connection:
            connection.sendall(head)
            while not answer and time.monotonic() < end:
                try:
                    connection.sendall(b" ")
                    answer = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:  # the server has closed the connection
                    break
        text = answer.decode("latin-1")
        return Reply("slow_body", int(text[9:12]) if text.startswith("HTTP/1.1 ") else None, text)

    def deep(self) -> httpx.Response:
        opening, closing = self._random.choice((("[", "]"), ('{"a":', "}"), ('{"input":', "}")))
        depth = self._random.choice((100, 5000, 20_000))
        return self._client.post("/v1/audio/speech", content=(opening * depth + "1" + closing * depth).encode())

    def _upload(self, name: str, recording: bytes, text: str, file: str = "a.wav") -> httpx.Response:
        form = {"name": name, "text": text}
        return self._client.post("/v1/voices", data=form, files={"audio": (file, recording, "audio/wav")})

    def _send(self, content: bytes) -> bytes:
        """Raw bytes; returns what comes back within a moment."""
        with socket.create_connection(self._place, timeout=0.3) as connection:
            connection.sendall(content)
            return connection.recv(4096)

    def _sound(self, seconds: float) -> bytes:
        samples = 0.3 * np.sin(np.arange(int(16000 * seconds)) * 0.1)
        return _wave(samples)

    def _silence(self) -> bytes:
        return _wave(np.zeros(16000))


def _wave(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV")
    return file.getvalue()
