"""The server under load, on loopback: throughput, latency, memory, and whether answers are mixed up.

The server is a process of its own, ``python -m melle serve``. What it speaks is compared with what ``Synthesizer``
gives for the same text, voice and seed: the same but for rounding, which decoding, where every frame follows from the
last, makes larger from step to step.
"""

from __future__ import annotations

import io
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.common import run_benchmark
from melle.errors import UserError
from melle.options import option
from melle.synthesis.synthesizer import Synthesizer
from melle.synthesis.voices import read_voices

SENTENCES = (
    "The kettle has been boiling for an hour.",
    "Nobody asked the gardener.",
    "A letter came for you this morning, with a foreign stamp.",
    "It will rain before the evening.",
    "We took the early train along the coast.",
    "Please close the window.",
    "The old bridge was painted green last summer.",
    "They sold the piano and kept the stool.",
)
MAX_OFF = 0.1  # mean difference of two sounds' log10 mels, 2 dB, beyond which they are not the same speech
WHAT = ("load", "latency", "memory")
WORDS = ("Yes.", "Good morning.", "Not today.", "Come in.")


@contextmanager
def serving(model: Path, voices: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start a server; yields its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "melle", "serve", "--model", str(model), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--voices", str(voices), "--device", "cpu", *options], stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{address}/health", trust_env=False)
                break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise UserError("the server did not start; its error is above") from None
                time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        process.wait(30)


def ask(client: httpx.Client, number: int, text: str, voice: str, kind: str = "wav") -> tuple[bytes, float]:
    """One answer, and the seconds until its first bytes."""
    body = {"model": "tts-1", "input": text, "voice": voice, "seed": number, "response_format": kind}
    started = time.perf_counter()
    with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"request {number}: {answer.status_code} {answer.read().decode()}")
        parts = answer.iter_raw()
        content = next(parts)
        first = time.perf_counter() - started
        return b"".join((content, *parts)), first


def load(address: str, requests: Sequence[tuple[int, str, str]], clients: int, kind: str = "wav"):
    """All requests by so many clients; returns answers with their latency in order, and the seconds it took."""
    how = {"base_url": address, "timeout": 300, "trust_env": False}
    with httpx.Client(**how) as client, ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        answers = list(pool.map(lambda request: ask(client, *request, kind=kind), requests))
        return answers, time.perf_counter() - started


def plan(count: int, voices: Sequence[str], texts: Sequence[str] = SENTENCES) -> list[tuple[int, str, str]]:
    """Seed, text and voice of so many requests."""
    return [(number, texts[number % len(texts)], voices[number % len(voices)]) for number in range(count)]


def check_sound(
    tts: Synthesizer, model: Path, requests: Sequence[tuple[int, str, str]], answers
) -> tuple[float, float]:
    """The greatest distance from what each says alone, and the least from what any other says."""
    voices = read_voices(model)
    prompts = {name: tts.read_prompt(*voices[name]) for _, _, name in requests}
    spoken = [tts.log_mel(torch.from_numpy(decoded(content)[0])) for content, _ in answers]
    own, other = 0.0, math.inf
    for number, (seed, text, voice) in enumerate(requests):
        alone = tts.log_mel(tts(text, prompts[voice], seed=seed).waveform)
        own = max(own, distance(alone, spoken[number]) if len(alone) == len(spoken[number]) else math.inf)
        other = min(other, *(distance(alone, mel) for n, mel in enumerate(spoken) if n != number))
    return own, other


def decoded(content: bytes) -> tuple[np.ndarray, int]:
    """Samples (N,) and their rate."""
    return soundfile.read(io.BytesIO(content), dtype="float32")


def distance(a: Tensor, b: Tensor) -> float:
    """Mean difference of two log10 mels (T, M), as far as both go. Phases, which Griffin-Lim invents, do not count."""
    frames = min(len(a), len(b))
    return float((a[:frames] - b[:frames]).abs().mean())


def measure_load(address: str, tts: Synthesizer, model: Path, voices: list[str], count: int, clients: int) -> None:
    """Throughput together against one by one, and whether every answer is its own."""
    requests = plan(count, voices)
    load(address, requests[:4], 4)  # warm
    answers, together = load(address, requests, clients)
    _, one_by_one = load(address, requests, 1)
    seconds = sum(len(samples) / rate for samples, rate in (decoded(content) for content, _ in answers))
    print(
        f"{count} requests, {seconds:.0f} s of speech; {clients} clients {together:.1f} s, one by one {one_by_one:.1f}"
    )
    print(f"{one_by_one / together:.2f} times the throughput, {seconds / together:.1f} times real time")
    own, other = check_sound(tts, model, requests, answers)
    how = "none lost or mixed up" if len(answers) == count and own < min(MAX_OFF, other) else "LOST OR MIXED UP"
    print(
        f"log10 mel differs from the same seed alone by {own:.2g} at most, from others by {other:.2g} at least: {how}"
    )


def measure_latency(address: str, voices: list[str]) -> None:
    """Seconds until the first sound."""
    for clients in (1, 4, 16):
        answers, _ = load(address, plan(4 * max(clients, 2), voices), clients, "pcm")
        first = sorted(latency for _, latency in answers)
        late = first[int(0.95 * (len(first) - 1))]
        print(f"first sound, {clients:2} clients: median {first[len(first) // 2]:.2f} s, 95 of 100 within {late:.2f} s")


def measure_memory(address: str, process: subprocess.Popen, voices: list[str], count: int) -> None:
    """Resident memory of the server while it answers many short requests."""
    sizes = []
    for begin in range(0, count, count // 10):
        load(address, [(begin + n, text, voice) for n, text, voice in plan(count // 10, voices, WORDS)], 16)
        sizes.append(resident(process.pid))
    print(f"memory over {count} requests, MiB: {' '.join(f'{size:.0f}' for size in sizes)}")


def resident(process: int) -> float:
    """MiB, of Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Serving:
    what: Sequence[str] = option((), f"of {', '.join(WHAT)}; default: all", "WHAT", nargs="*", choices=[*WHAT, ()])
    model: Path = option(Path("data/pretrained"), "a folder of export, with voices")
    requests: int = option(64, "of the load test")
    clients: int = option(16, "of the load test")
    memory_requests: int = option(2000, "of the test of memory")

    def run(self) -> None:
        torch.set_num_threads(1)
        what = self.what or WHAT
        voices = list(read_voices(self.model))
        if not voices:
            raise UserError(f"{self.model}: has no voices; export one with --voices")
        with (
            tempfile.TemporaryDirectory() as folder,
            serving(self.model, Path(folder) / "voices", "--timeout", "300") as (address, process),
        ):
            if "load" in what:
                tts = Synthesizer.from_checkpoint(self.model, device="cpu")
                measure_load(address, tts, self.model, voices, self.requests, self.clients)
            if "latency" in what:
                measure_latency(address, voices)
            if "memory" in what:
                measure_memory(address, process, voices, self.memory_requests)


main = partial(run_benchmark, Serving)

if __name__ == "__main__":
    raise SystemExit(main())
