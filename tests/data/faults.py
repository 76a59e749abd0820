"""Bad items by the thousand, each with the kinds of fault that may be found in it, and good ones that look unusual."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

FORMATS = {  # name's ending: what libsndfile calls it
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
SECONDS = 0.6


@dataclass(frozen=True)
class Item:
    """A line of a manifest. ``kinds`` are the faults that it may be given, empty for a good one."""

    line: bytes
    kinds: frozenset[str]
    what: str


class Faults:
    """Writes files into ``folder``/data and gathers the lines of a manifest that lies there. Seeded."""

    def __init__(self, folder: Path, seed: int = 0):
        self.folder = folder / "data"
        self.folder.mkdir(parents=True)
        self.numbers, self.bytes = np.random.default_rng(seed), random.Random(seed)
        self.items: list[Item] = []

    def all(self) -> list[Item]:
        """Every kind, in a shuffled order that leaves duplicates behind what they repeat."""
        for kind in (self.good, self.truncated, self.not_audio, self.bad_sound, self.bad_lengths, self.bad_places):
            kind()
        self.bad_lines()
        self.bytes.shuffle(self.items)
        self.duplicates()
        return self.items

    # What a test asks for

    def add(self, what: str, audio_path: str, kinds: str = "", **fields: object) -> dict:
        """An item about a file; ``kinds`` separated by "|"."""
        item = {"transcription": "good day", "audio_path": audio_path, "id": f"{what} {len(self.items)}", **fields}
        self.add_line(what, json.dumps(item).encode(), kinds)
        return item

    def add_line(self, what: str, line: bytes, kinds: str) -> None:
        self.items.append(Item(line, frozenset(kinds.split("|")) - {""}, what))

    def name(self, ending: str) -> str:
        return f"{len(self.items):05}.{ending}"

    def noise(self, seconds: float = SECONDS, rate: int = 8000, channels: int = 1) -> np.ndarray:
        """(N, channels), never the same twice."""
        return self.numbers.uniform(-0.5, 0.5, (round(seconds * rate), channels))

    def write(
        self, name: str, samples: np.ndarray | None = None, rate: int = 8000, form: str = "", sub: str = ""
    ) -> str:
        samples = self.noise(rate=rate) if samples is None else samples
        ending = FORMATS.get(name.rsplit(".", 1)[-1], ("WAV", "PCM_16"))
        soundfile.write(str(self.folder / name), samples, rate, format=form or ending[0], subtype=sub or ending[1])
        return name

    def raw(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return name

    # Kinds

    def good(self) -> None:
        for ending in FORMATS:
            for rate in (8000, 16000, 44100, 48000):
                name = self.write(self.name(ending), self.noise(rate=rate), rate)
                self.add(f"{ending} at {rate}", name, duration=SECONDS)
                name = self.write(self.name(ending), self.noise(rate=rate, channels=2), rate)
                self.add(f"stereo {ending} at {rate}", name)
        for sub in ("PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8", "ULAW"):
            self.add(f"wav {sub}", self.write(self.name("wav"), sub=sub))
        self.add("flac 24", self.write(self.name("flac"), sub="PCM_24"))
        self.add("opus", self.write(self.name("opus"), rate=48000, form="OGG", sub="OPUS"))
        for form in ("AIFF", "CAF", "W64", "AU"):
            self.add(form, self.write(self.name(form.lower()), form=form))
        for ending, (form, sub) in FORMATS.items():
            for wrong in ("wav", "flac", "ogg", "mp3", "txt"):
                if wrong != ending:
                    self.add(f"{ending} named {wrong}", self.write(self.name(wrong), form=form, sub=sub))
        self.write("../outside.wav")
        self.add("upward", "../outside.wav")
        self.add("no id, odd text", self.write(self.name("wav")), id=None, transcription="ß\u200d😀\t日本 \\ \"'")
        self.add("a name with blanks, umlauts", self.write("ä ö 日本.wav"), speaker=7)

    def truncated(self) -> None:
        faults = {
            "wav": "unreadable|no sound|too short|wrong duration",
            "flac": "unreadable",
            "ogg": "unreadable|no sound|too short|wrong duration",
            "mp3": "unreadable|no sound|cut short|too short",
        }
        for ending, kinds in faults.items():
            whole = (self.folder / self.write(f"whole.{ending}")).read_bytes()
            for _ in range(80):
                end = self.bytes.randrange(1, int(0.8 * len(whole)))
                name = self.raw(self.name(ending), whole[:end])
                self.add(f"{ending} cut at {end}", name, kinds, duration=SECONDS)

    def not_audio(self) -> None:
        for ending in (*FORMATS, "txt", "raw", "opus"):
            for _ in range(5):
                self.add("zero bytes", self.raw(self.name(ending), b""), "unreadable")
                text = b"This is no sound at all.\n" * self.bytes.randrange(1, 200)
                self.add("text", self.raw(self.name(ending), text), "unreadable")
                noise = self.bytes.randbytes(self.bytes.randrange(1, 3000))
                self.add("random bytes", self.raw(self.name("wav" if ending == "mp3" else ending), noise), "unreadable")
        whole = bytearray((self.folder / self.write("counted.flac")).read_bytes())
        for frames in (0, 2**36 - 1):  # "unknown", and 49 days
            whole[21] = whole[21] & 0xF0 | frames >> 32
            whole[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
            self.add(f"flac of {frames} frames", self.raw(self.name("flac"), bytes(whole)), "unreadable|too long")

    def bad_sound(self) -> None:
        for value in (np.nan, np.inf, -np.inf):
            for _ in range(12):
                samples = self.noise()
                samples[self.numbers.integers(len(samples))] = value
                self.add(f"{value}", self.write(self.name("wav"), samples, sub="FLOAT"), "not finite")
        for ending in FORMATS:
            for _ in range(5):
                self.add("silence", self.write(self.name(ending), 1e-4 * self.noise(), sub=""), "silent")
        for ending in FORMATS:
            self.add("no samples", self.write(self.name(ending), self.noise(0.0)), "no sound|unreadable|too short")

    def bad_lengths(self) -> None:
        for _ in range(40):
            name = self.write(self.name("wav"), self.noise(0.005))
            self.add("5 ms", name, "too short")
            claimed = self.bytes.choice([0.1, 0.5, 0.66, 3, 1e8, 1e-300])
            self.add("claims another length", self.write(self.name("flac")), "wrong duration", duration=claimed)
        for _ in range(10):
            self.add("an hour of wav", self.an_hour(self.name("wav")), "too long")
        hour = self.write(self.name("flac"), np.zeros(3600 * 1000, np.int16), 1000)
        self.add("an hour of flac", hour, "too long")

    def an_hour(self, name: str) -> str:
        """8-bit WAV at 8 kHz, a file with a hole in it: it takes no room."""
        size = 3600 * 8000
        header = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt "
        header += struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", size)
        with (self.folder / name).open("wb") as file:
            file.write(header)
            file.truncate(44 + size)
        return name

    def bad_places(self) -> None:
        for number in range(20):
            self.add("missing", f"none{number}.wav", "missing")
            self.add("missing above", f"../none{number}.wav", "missing")
            (self.folder / f"folder{number}.wav").mkdir()
            self.add("folder", f"folder{number}.wav", "not a file")
        self.add("a file as a folder", f"{self.write('file.wav')}/x.wav", "missing")
        self.add("a name beyond all names", "x" * 5000 + ".wav", "missing|unreadable")
        self.add("far above", "../" * 100 + "none.wav", "missing")
        self.add("absolute", "/none/none.wav", "missing")
        for number in range(3):
            os.symlink(f"loop{number}.wav", self.folder / f"loop{number}.wav")
            self.add("a link to itself", f"loop{number}.wav", "not a file|missing|unreadable")
            os.symlink("nowhere.wav", self.folder / f"dangling{number}.wav")
            self.add("a link to nothing", f"dangling{number}.wav", "not a file|missing")
            if hasattr(os, "mkfifo"):
                os.mkfifo(self.folder / f"pipe{number}.wav")
                self.add("a pipe", f"pipe{number}.wav", "not a file")

    def bad_lines(self) -> None:
        whole = {"transcription": "good day", "audio_path": self.write("line.wav"), "id": "x"}
        line = json.dumps(whole).encode()
        for _ in range(60):
            self.add_line("broken", line[: self.bytes.randrange(1, len(line))], "not JSON")
            junk = self.bytes.choice([b"{", b"}", b"nul", b'{"a":}', b"{'a': 1}", b"1 2", b"[" * 9999])
            self.add_line("junk", junk, "not JSON")
            place = self.bytes.randrange(len(line))
            bad = self.bytes.choice([b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\x80", "é".encode("latin-1")])
            self.add_line("not UTF-8", line[:place] + bad + line[place:], "not UTF-8")
        for value in ("[]", "1", "null", '"text"', "true", "-1.5e3", "NaN"):
            for _ in range(4):
                self.add_line("another value", value.encode(), "not an object")
        wrong = ("", "  \t", None, 0, 1.5, True, [], ["a"], {}, {"a": 1}, "a\0b", "\ud800", "x\udfff")
        for field in ("transcription", "audio_path"):
            for value in wrong:
                for _ in range(4):
                    self.add_line(f"{field} {value!r}", json.dumps({**whole, field: value}).encode(), f"no {field}")
            rest = {name: value for name, value in whole.items() if name != field}
            for _ in range(15):
                self.add_line(f"without {field}", json.dumps(rest).encode(), f"no {field}")
        for field in ("id", "speaker", "language"):
            for value in (1.5, [], {}, ["a"], "\ud800", "a\udfffb", "a\0b"):
                self.add_line(f"{field} {value!r}", json.dumps({**whole, field: value}).encode(), "wrong field")
        for value in ("1", 0, -1, True, [], float("nan"), float("inf"), 10**400):
            for _ in range(3):
                self.add_line(
                    f"duration {value!s:.9}", json.dumps({**whole, "duration": value}).encode(), "wrong field"
                )
        for value in ("1", -0.01, 1.01, True, [], float("nan"), 10**400):
            self.add_line(
                f"score {value!s:.9}", json.dumps({**whole, "alignment_score": value}).encode(), "wrong field"
            )
        self.add_line("5000 digits", line[:-1] + b', "x": ' + b"1" * 5000 + b"}", "not JSON")

    def duplicates(self) -> None:
        for number in range(20):
            first = self.add("first", self.write(self.name("wav")))
            self.add("same id", self.write(self.name("wav")), "duplicate id", id=first["id"])
            self.add("same file", first["audio_path"], "duplicate audio")
            self.add("same file by another way", f"../data/./{first['audio_path']}", "duplicate audio")
            samples, rate = soundfile.read(str(self.folder / first["audio_path"]))
            copy = self.write(self.name("flac"), samples, rate)
            self.add("same sound", copy, "duplicate audio", transcription=f"another text {number}")


def mutations(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """The content with bytes changed, taken out, put in."""
    chance = random.Random(seed)
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(min(len(changed), chance.choice([64, len(changed)])))
            changed[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        yield bytes(changed)
