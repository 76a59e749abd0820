"""A request for speech as OpenAI's API has it, and the bytes of its answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from melle.errors import UserError
from melle.serving.encoding import FORMATS, Encoder
from melle.synthesis.chunking import split_pauses
from melle.synthesis.options import DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.speech import Chunk, Speech
from melle.synthesis.synthesizer import Synthesizer

MAX_SILENCE = 60.0  # seconds that a text may ask for in all: they cost memory, and no time to ask for
Names = Literal["mp3", "opus", "pcm", "wav", "flac"]


class VoiceId(BaseModel):
    """A voice as newer clients name it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str


class SpeechRequest(BaseModel):
    """The body of ``POST /v1/audio/speech``.

    ``seed`` is ours, and ``words``: events have the times of words, where the model knows them. ``instructions`` is
    taken, and has no effect.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    input: str
    voice: str | VoiceId | None = None  # None: the first
    response_format: Names = "mp3"
    speed: float = Field(1.0, allow_inf_nan=False)  # its range is checked by the route
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)
    words: bool = False

    @property
    def voice_name(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice

    @property
    def media_type(self) -> str:
        return "text/event-stream" if self.stream_format == "sse" else FORMATS[self.response_format].media_type


@dataclass
class EncodedChunk:
    """The next bytes of an answer, and the seconds of speech that they hold."""

    content: bytes
    seconds: float


def speak(
    tts: Synthesizer, request: SpeechRequest, prompt: Prompt | None, options: DecodingOptions
) -> Iterator[EncodedChunk]:
    """The answer, in chunks: as it is spoken where the format can be streamed, else whole."""
    with closing(Encoder(request.response_format, tts.spec.sample_rate)) as encode:
        yield from _speak(tts, request, prompt, options, encode)


def _speak(
    tts: Synthesizer, request: SpeechRequest, prompt: Prompt | None, options: DecodingOptions, encode: Encoder
) -> Iterator[EncodedChunk]:
    pieces, after = split_pauses(request.input)
    silence = sum(piece.pause for piece in pieces) + after
    if silence > MAX_SILENCE:
        raise UserError(f"the text asks for {silence:g} s of silence; {MAX_SILENCE:g} s are taken")
    sse = request.stream_format == "sse"
    how: dict[str, Any] = {"options": options, "seed": request.seed}
    how["words"] = request.words and sse and bool(tts.network.guided_layers)
    if encode.format.streamed:
        chunks: Iterator[Chunk | Speech] = tts.stream(request.input, prompt, **how)
    else:
        chunks = iter([tts(request.input, prompt, **how)])
    seconds, words = 0.0, []
    for chunk in chunks:
        last = chunk.finish_reason is not None
        content, length = encode(chunk.waveform, last), len(chunk.waveform) / chunk.sample_rate
        seconds += length
        if sse:
            words += [
                {"word": word, "start": round(start, 3), "end": round(end, 3)} for word, start, end in chunk.words
            ]
            content = b"" if not content else event("speech.audio.delta", audio=base64.b64encode(content).decode())
            if last:
                content += event("speech.audio.done", **ending(chunk, encode.rate, request.seed, seconds), words=words)
        if content:
            yield EncodedChunk(content, length)


def ending(chunk: Chunk | Speech, rate: int, seed: int, seconds: float) -> dict[str, Any]:
    """What the last event says of the whole."""
    return {
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},  # clients expect it; nothing is charged
        "sample_rate": rate,
        "seconds": round(seconds, 3),
        "seed": seed,
        "finish_reason": chunk.finish_reason,
    }


def event(kind: str, **values: Any) -> bytes:
    """A server-sent event as OpenAI's API has it."""
    return f"data: {json.dumps({'type': kind, **values})}\n\n".encode()
