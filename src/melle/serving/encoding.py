"""Samples to the bytes of a sound file, whole or as they come."""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import soundfile
import torch
from torch import Tensor

from melle.audio import BLOCK, resample

OPENAI_RATE = 24000  # samples per second of "pcm" in OpenAI's API; Opus knows it too, as it does not every model's
CONTEXT = 240  # samples to each side that resampling looks at, more than its filter's


class Format(NamedTuple):
    """How a format is sent."""

    media_type: str
    streamed: bool  # sent as it is made; else whole, as its header says how long it is
    rate: int | None = None  # samples per second; None: the model's
    file: dict[str, Any] | None = None  # how libsndfile writes it; None: raw samples


# At a constant rate of bits, 66,000 a second at 16 kHz: else the length would be in the header, which is sent first.
MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.6}
FORMATS = {
    "mp3": Format("audio/mpeg", True, None, MP3),
    "opus": Format("audio/ogg", True, OPENAI_RATE, {"format": "OGG", "subtype": "OPUS"}),
    "pcm": Format("audio/pcm", True, OPENAI_RATE),
    "wav": Format("audio/wav", False, None, {"format": "WAV", "subtype": "PCM_16"}),
    "flac": Format("audio/flac", False, None, {"format": "FLAC", "subtype": "PCM_16"}),
}


class Encoder:
    """Mono samples (N,) at ``rate``, in chunks, to bytes of the format."""

    def __init__(self, name: str, rate: int):
        self.format = FORMATS[name]
        self.rate = self.format.rate or rate  # of what is written
        self._resample = StreamingResampler(rate, self.rate)
        self._bytes: io.BytesIO = _ForwardBytes() if self.format.streamed else io.BytesIO()
        self._file = None
        if self.format.file is not None:
            self._file = soundfile.SoundFile(self._bytes, "w", self.rate, 1, **self.format.file)

    def __call__(self, samples: Tensor, last: bool) -> bytes:
        """The bytes that are ready after these samples, all of them after the last."""
        samples = self._resample(samples.nan_to_num(0.0).clamp(-1, 1), last).clamp(-1, 1)
        if self._file is None:
            return (samples * 32767).round().to(torch.int16).numpy().astype("<i2").tobytes()
        for block in samples.split(BLOCK):
            self._file.write(block.numpy())
        if last:
            self._file.close()
        if not self.format.streamed:
            return self._bytes.getvalue() if last else b""
        return self._bytes.take()

    def close(self) -> None:
        """After speech that was given up before its last samples; afterwards nothing can be written."""
        if self._file is not None:
            self._file.close()  # before the memory that it writes to goes


class StreamingResampler:
    """Samples that come in chunks to another rate, the same as if they came at once."""

    def __init__(self, rate: int, new_rate: int):
        self.rate, self.new_rate = rate, new_rate
        self._known = torch.zeros(0)
        self._before = 0  # of the known samples those that were resampled already
        # Pieces begin where a sample of both rates falls together.
        self._unit = rate // math.gcd(rate, new_rate)

    def __call__(self, samples: Tensor, last: bool) -> Tensor:
        if self.rate == self.new_rate:
            return samples
        self._known = torch.cat((self._known, samples))
        ready = len(self._known) - self._before
        if not last:
            ready = max(0, ready - CONTEXT) // self._unit * self._unit
        if not ready:
            return samples.new_zeros(0)
        made = resample(self._known, self.rate, self.new_rate)
        begin = self._before * self.new_rate // self.rate
        made = made[begin:] if last else made[begin : begin + ready * self.new_rate // self.rate]
        end = self._before + ready
        kept = min(end, -(-CONTEXT // self._unit) * self._unit)
        self._known, self._before = self._known[end - kept :], kept
        return made


class _ForwardBytes(io.BytesIO):
    """A file whose bytes are sent as they are written; what a library goes back to change, once sent, stays."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    def take(self) -> bytes:
        """What was written since the last call."""
        with self.getbuffer() as written:
            new = bytes(written[self._sent :])
        self._sent += len(new)
        return new
