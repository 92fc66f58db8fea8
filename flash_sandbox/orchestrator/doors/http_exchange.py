"""One request and its answer, as the HTTP front door has them in hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qs

from starlette.types import Message, Receive, Scope, Send

from ...codecs import MAX_REQUEST_BYTES
from ...codecs.http import encode_frame_error
from ...errors import PayloadTooLargeError, SandboxError
from ..cancellation import this_task
from .call import Call

__all__ = ["Client", "Headers", "Reply", "send_head", "text_of"]

# A call that is answered sooner is not worth watching its client for.
_WATCH_AFTER_SECONDS: Final = 0.02
_NO_STORE: Final = (b"cache-control", b"no-store")

Headers = dict[bytes, bytes]
"""The headers of a request, each with its last value."""


class Client:
    """The other end of one request: what it sends, and whether it is still there."""

    def __init__(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        self.reply = reply
        self.scope = scope
        self.receive = receive
        self.path: str = scope["path"]
        self.path_params: dict[str, str] = scope.get("path_params", {})
        self.query: str = scope["query_string"].decode("latin-1")
        self.gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def queries(self) -> dict[str, list[str]]:
        """The parameters of the query, each with its values."""
        return parse_qs(self.query, keep_blank_values=True)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes, however long it is."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise asyncio.CancelledError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def body(self, headers: Headers) -> bytes:
        """Read the whole body; raise PayloadTooLargeError, before keeping it, where that is too large."""
        if int(headers.get(b"content-length", b"0")) > MAX_REQUEST_BYTES:
            raise _too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise asyncio.CancelledError
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > MAX_REQUEST_BYTES:
                raise _too_large()
            if not message.get("more_body"):
                return b"".join(chunks)

    def watch(self) -> None:
        """Cancel the current task when the client goes away. The body must have been read."""
        task = this_task()
        loop = asyncio.get_running_loop()

        async def until_gone() -> None:
            while (await self.receive())["type"] != "http.disconnect":
                pass
            self.gone = True
            task.cancel()

        def begin() -> None:
            self._watching = loop.create_task(until_gone())

        self._timer = loop.call_later(_WATCH_AFTER_SECONDS, begin)

    def unwatch(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()


class Reply:
    """An answer that is sent piece by piece."""

    def __init__(self, send: Send, call: Call) -> None:
        self.is_binary = False
        self.status = 200
        self._send = send
        self._call = call
        self._begun = False

    async def begin(self, content_type: bytes) -> None:
        """Send the head of the answer. Twice does no more."""
        if not self._begun:
            self._begun = True
            # Proxies such as nginx would keep it until it is complete.
            headers = [(b"content-type", content_type), (b"x-accel-buffering", b"no")]
            await send_head(self._send, self._call, 200, headers)

    async def pass_on(self, message: Message) -> None:
        """Send what another application answers."""
        if message["type"] == "http.response.start":
            self._begun = True
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._call.request_id.encode())]
        await self._send(message)

    async def send(self, data: bytes) -> None:
        """Send a piece, once the client has taken enough of those before."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Send the end."""
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: SandboxError) -> bool:
        """Tell of a failure where the answer has begun; return whether it has."""
        if self._begun and not self.is_binary:
            await self.send(encode_frame_error(error))
            await self.end()
        # Of plain bytes only that their end does not come can tell.
        return self._begun


def _too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(f"a request may have {MAX_REQUEST_BYTES} bytes at most")


def text_of(headers: Headers, name: bytes) -> str | None:
    """Return the value of a header; None where it is missing."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


async def send_head(send: Send, call: Call, status: int, more: list[tuple[bytes, bytes]]) -> None:
    """Send the head of an answer."""
    headers = [(b"date", _now()), (b"x-request-id", call.request_id.encode()), _NO_STORE, *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})


_date: tuple[int, bytes] = (0, b"")


def _now() -> bytes:
    """Return the current time as an HTTP date (RFC 9110, 5.6.7), formatted once a second."""
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True).encode())
    return _date[1]
