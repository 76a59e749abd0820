"""An answer that is spoken in a thread while it is sent, and given up when the client leaves or time is up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from melle.devices import BrokenDevice
from melle.errors import UserError
from melle.serving.batcher import Batcher, Call, Cancelled
from melle.serving.errors import ApiError
from melle.serving.metrics import Metrics
from melle.serving.speech import EncodedChunk, event

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Gate:
    """Lets so many requests through at once, and so many wait."""

    def __init__(self, at_once: int, waiting: int, metrics: Metrics):
        self._free, self._most, self._metrics = asyncio.Semaphore(at_once), waiting, metrics
        self.waiting = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """Wait for a turn. Raises ApiError where too many wait."""
        if self._free.locked() and self.waiting >= self._most:
            raise ApiError(503, f"{self.waiting} requests wait already; try again later", "server_busy")
        self.waiting += 1
        self._metrics.waiting.set(self.waiting)
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
            self._metrics.waiting.set(self.waiting)
        try:
            yield
        finally:
            self._free.release()


class SpeechResponse(Response):
    """Sends what ``speak`` yields in a thread of ``pool``.

    Before the first bytes an error has a status; after them the connection is closed, or an event says what went wrong.
    """

    def __init__(
        self,
        speak: Callable[[Call], Iterator[EncodedChunk]],
        media_type: str,
        batcher: Batcher,
        pool: Executor,
        gate: Gate,
        metrics: Metrics,
        limit: float,
    ):
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._speak, self._call, self._pool, self._gate = speak, Call(batcher), pool, gate
        self._metrics, self._limit, self._started = metrics, limit, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, outcome = time.perf_counter(), "left"
        answer, gone = asyncio.ensure_future(self._answer(send, begun)), asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({answer, gone}, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
                outcome = "done"
            elif not gone.done():
                raise ApiError(504, f"not spoken within {self._limit:g} s; give a shorter text", "timeout")
        except ApiError as error:
            outcome = error.code or "refused"
            await self._say(error, scope, receive, send)
        finally:
            self._call.cancel()
            for task in (answer, gone):
                task.cancel()
            self._metrics.requests.labels(outcome).inc()
            self._metrics.seconds.observe(time.perf_counter() - begun)

    async def _answer(self, send: Send, begun: float) -> None:
        async with self._gate.enter():
            chunks = in_thread(self._pool, self._speak_safely)
            async for chunk in chunks:
                if not self._started:
                    self._started = True
                    self._metrics.first.observe(time.perf_counter() - begun)
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                self._metrics.speech.inc(chunk.seconds)
                await send({"type": "http.response.body", "body": chunk.content, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _speak_safely(self) -> Iterator[EncodedChunk]:
        """Whatever goes wrong is an ApiError."""
        try:
            for chunk in self._speak(self._call):
                if self._call.cancelled:
                    raise Cancelled
                yield chunk
        except Cancelled:
            raise ApiError(503, "the server stops", "stopping") from None
        except BrokenDevice as error:
            logger.error("speaking failed: %s", error)
            raise ApiError(500, "the server failed; its log says why", "internal_error") from None
        except UserError as error:
            raise ApiError(400, str(error), "invalid_value", "input") from None
        except Exception:
            logger.exception("speaking failed")
            raise ApiError(500, "the server failed; its log says why", "internal_error") from None

    async def _say(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._started:
            await error.response()(scope, receive, send)
        elif self.media_type == "text/event-stream":
            body = event("error", **error.as_dict())
            with suppress(asyncio.TimeoutError):  # a client that does not read
                await asyncio.wait_for(send({"type": "http.response.body", "body": body, "more_body": False}), 1.0)
        # Else the body has no proper end, by which clients see that it is not whole.


async def _gone(receive: Receive) -> None:
    """Until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def in_thread(pool: Executor, make: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """What an iterator gives that runs in a thread of ``pool``, at its own pace."""
    loop, given = asyncio.get_running_loop(), asyncio.Queue()

    def put(value: T | None, error: BaseException | None, last: bool) -> None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits
            loop.call_soon_threadsafe(given.put_nowait, (value, error, last))

    def run() -> None:
        try:
            for value in make():
                put(value, None, False)
            put(None, None, True)
        except BaseException as error:
            put(None, error, True)

    pool.submit(run)
    while True:
        value, error, last = await given.get()
        if error is not None:
            raise error
        if last:
            return
        yield value
