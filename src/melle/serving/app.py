"""The server's routes: OpenAI's ``/v1/audio/speech`` and ``/v1/models``, voices, health, metrics and the page."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files

from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from melle.errors import UserError
from melle.serving.batcher import Batcher, Call
from melle.serving.errors import ApiError, add_error_handlers
from melle.serving.limits import Limits
from melle.serving.memory import EVERY, give_back_every
from melle.serving.metrics import Metrics
from melle.serving.middleware import Middleware
from melle.serving.response import Gate, SpeechResponse
from melle.serving.speech import EncodedChunk, SpeechRequest, speak
from melle.serving.voices import Voices
from melle.synthesis.options import SPEEDS, DecodingOptions
from melle.synthesis.prompt import Prompt
from melle.synthesis.synthesizer import Synthesizer
from melle.text.languages import check_script
from melle.text.normalise import check_text

ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")  # what clients of OpenAI's API ask for by default
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; img-src data:"


def create_app(
    tts: Synthesizer,
    voices: Voices,
    name: str = "melle",
    limits: Limits | None = None,
    options: DecodingOptions | None = None,
    token: str | None = None,
    host: str = "127.0.0.1",
    public_host: str | None = None,
) -> FastAPI:
    """An ASGI application that speaks.

    Args:
        name: of the model, as clients ask for it.
        options: of decoding, the same for all.
        token: that every request but those for the page and for health must bear.
        host: that the server will be bound to.  public_host: of a web server in front (see ``Middleware``).
    """
    limits = limits or Limits()
    options = (options or DecodingOptions()).with_defaults(tts.description.decoding)
    batcher = Batcher(tts.network, options, tts.spec.frame_rate, limits.rows)
    metrics = Metrics(batcher)
    at_once = limits.rows + (os.cpu_count() or 1)  # while some turn frames to sound, the batch stays full
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="speech")
    gate = Gate(at_once, limits.waiting, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with batcher:
            trimming = asyncio.create_task(give_back_every(EVERY))
            yield
            trimming.cancel()
        pool.shutdown(wait=True, cancel_futures=True)

    app = FastAPI(title="MELLE", lifespan=lifespan, docs_url=None, redoc_url=None)
    add_error_handlers(app)
    app.add_middleware(Middleware, metrics=metrics, limits=limits, token=token, host=host, public_host=public_host)

    def utter(call: Call, body: SpeechRequest, prompt: Prompt | None) -> Iterator[EncodedChunk]:
        own = copy.copy(tts)
        own.decoder = call.decode
        return speak(own, body, prompt, replace(options, speed=body.speed))

    def check_model(model: str) -> None:
        if model not in (name, *ALIASES):
            raise ApiError(404, f"this server has no such model; it has {name}", "model_not_found", "model")

    def describe(model: str) -> dict:
        own = {"max_characters": limits.text}  # which the page keeps to
        return {"id": model, "object": "model", "created": 0, "owned_by": "melle", **own}

    @app.post("/v1/audio/speech")
    async def speech(body: SpeechRequest) -> Response:
        check_model(body.model)
        if len(body.input) > limits.text:
            message = f"the text has {len(body.input)} characters, {limits.text} are taken"
            raise ApiError(400, message, "string_above_max_length", "input")
        least, most = SPEEDS
        if not least <= body.speed <= most:
            raise ApiError(400, f"speed: from {least:g} to {most:g} are taken", "unsupported_value", "speed")
        try:
            check_text(body.input)
        except UserError as error:
            raise ApiError(400, str(error), "invalid_value", "input") from None
        try:
            check_script(body.input, tts.tokenizer)  # a client would not be warned of words that are left out
        except UserError as error:
            raise ApiError(400, str(error), "unsupported_script", "input") from None
        prompt = await run_in_threadpool(voices.find, body.voice_name)
        return SpeechResponse(
            partial(utter, body=body, prompt=prompt), body.media_type, batcher, pool, gate, metrics, limits.seconds
        )

    @app.get("/v1/models")
    async def models() -> dict:
        return {"object": "list", "data": [describe(name)]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict:
        check_model(model)
        return describe(model)

    @app.get("/v1/voices")
    async def list_voices() -> dict:
        return {"object": "list", "data": await run_in_threadpool(voices.list)}

    @app.post("/v1/voices", status_code=201)
    async def add_voice(audio: UploadFile, name: str = Form(), text: str = Form()) -> dict:
        return await run_in_threadpool(voices.add, name, await audio.read(), text)

    @app.delete("/v1/voices/{name}")
    async def remove_voice(name: str) -> dict:
        await run_in_threadpool(voices.remove, name)
        return {"id": name, "object": "voice", "deleted": True}

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        state = {"status": "ok" if batcher.alive else "failed", "running": batcher.running, "waiting": gate.waiting}
        return JSONResponse(state, 200 if batcher.alive else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    async def page(request: Request) -> Response:
        file, media_type = PAGE[request.url.path]
        content = (files("melle.serving") / "page" / file).read_bytes()
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": POLICY})

    for path in PAGE:
        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    return app
