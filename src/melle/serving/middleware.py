"""What stands before every request: who may ask, from where, how much may be sent, and for how long."""

from __future__ import annotations

import asyncio
import hmac
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melle.serving.errors import ApiError
from melle.serving.limits import Limits
from melle.serving.metrics import Metrics

OPEN = ("/", "/health", "/page.js", "/page.css")  # need no token
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DRAINED = 10  # times the limit that are read and forgotten, so that the client gets the reason for the refusal


class Middleware:
    """ASGI middleware: reads the whole body before the application runs.

    Args:
        metrics: in which every error is counted.
        token: that requests must bear; None for no token.
        host: that the server is bound to. On a loopback one only names of it may be asked for, so that no web page can
            reach the server by a name of its own that leads here (DNS rebinding).
        public_host: name under which a web server in front of this one is reached; None for none.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        limits: Limits,
        token: str | None,
        host: str,
        public_host: str | None = None,
    ):
        self.app, self._metrics, self._limits = app, metrics, limits
        self._token = None if token is None else f"Bearer {token}".encode()
        self._public = public_host
        self._hosts = (*LOOPBACK, host, public_host) if host in LOOPBACK else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = self._counted(send)
        try:
            self._check(scope)
            upload = scope["method"] == "POST" and scope["path"] == "/v1/voices"
            body = await self._read(receive, self._limits.upload if upload else self._limits.body)
        except ApiError as error:
            await error.response()(scope, receive, send)
        except ConnectionError:
            pass
        else:
            try:
                await self.app(scope, _replay(body, receive), send)
            except Exception:  # answered outside of this
                self._metrics.errors.labels("500").inc()
                raise

    def _counted(self, send: Send) -> Send:
        """Sends, and counts answers that are errors, whoever gives them."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                self._metrics.errors.labels(str(message["status"])).inc()
            await send(message)

        return counted

    def _check(self, scope: Scope) -> None:
        headers = {name: value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            raise ApiError(403, "this server answers to localhost only", "host_not_allowed")
        origin = headers.get(b"origin")
        if (
            origin is not None
            and scope["method"] not in ("GET", "HEAD")
            and not self._ours(origin.decode("latin-1"), host)
        ):
            raise ApiError(403, "requests from other web sites are refused", "origin_not_allowed")
        if self._token is None or scope["path"] in OPEN:
            return
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._token):
            raise ApiError(401, "give the server's token as Authorization: Bearer TOKEN", "invalid_api_key")

    def _ours(self, origin: str, host: str) -> bool:
        """Whether a page from there is the server's own."""
        return _place(origin) == host or (self._public is not None and _name(origin) == self._public)

    async def _read(self, receive: Receive, most: int) -> bytes:
        """The request's body. Raises ApiError for one too large or too slow, ConnectionError where nobody is left."""
        body, size = bytearray(), 0
        try:
            # wait_for, as asyncio.timeout came with Python 3.11
            loop = asyncio.get_running_loop()
            end = loop.time() + self._limits.receive_seconds
            while True:
                message = await asyncio.wait_for(receive(), max(0.0, end - loop.time()))
                if message["type"] == "http.disconnect":
                    raise ConnectionError
                part = message.get("body", b"")
                size += len(part)
                if size <= most:
                    body += part
                elif size > DRAINED * most:
                    break
                if not message.get("more_body", False):
                    break
        except asyncio.TimeoutError:
            raise ApiError(408, f"the request took longer than {self._limits.receive_seconds:g} s to arrive") from None
        if size > most:
            raise ApiError(413, f"the request is larger than {most / 2**20:.3g} MiB", "request_too_large")
        return bytes(body)


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _place(address: str) -> str | None:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body again, then whatever comes: the client's leaving."""
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
