"""The HTTP front door: one raw ASGI application, its routes those of the OpenAPI document and the page's.

It decodes, calls the service core and encodes. Every answer that is not 2xx has the ``Error`` body.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import parse_qs

from flash_sandbox_http.routes import ROUTES, Route
from starlette import routing
from starlette.types import Receive, Scope, Send

from ...codecs import MAX_REQUEST_BYTES
from ...codecs.http import decode_request, encode_error, encode_frame, encode_frame_error, encode_result
from ...errors import PayloadTooLargeError, Reason, SandboxError, error_for, statuses_of
from ...operations import OPERATIONS, START_SANDBOX, Operation
from ..core.service import SandboxService
from ..version import installed_version
from .auth import Gatekeeper
from .call import Call
from .calls import Calls, timeout_of_milliseconds
from .connection import Connection
from .http_heads import require_wellformed
from .pages import page_routes
from .prometheus import CONTENT_TYPE, Measures
from .streaming import send_all

__all__ = ["HTTPApp"]

# A call that is answered sooner is not worth watching its client for.
_WATCH_AFTER_SECONDS: Final = 0.02

_JSON: Final = (b"content-type", b"application/json")
_STREAMED: Final = {"frames": b"application/x-ndjson", "bytes": b"application/octet-stream"}
# Prometheus asks for it by this path; it is no operation, since its answer is no model's.
_MEASURES: Final = Route(
    method="GET",
    path="/metrics",
    path_params=(),
    query_params=(),
    negated_params=(),
    body="",
    answer="bytes",
    success_status=200,
    secured=True,
)
_NO_STORE: Final = (b"cache-control", b"no-store")

_Headers = dict[bytes, bytes]
# None where the answer has been sent already.
_Answer = tuple[int, bytes | None] | None
_Endpoint = Callable[["_Client", Call, _Headers], Awaitable[_Answer]]


class HTTPApp:
    """The ASGI application.

    Args:
        service: The service core.
        calls: The calls in flight, shared with the other front door.
        gatekeeper: Who may call.
        measures: What Prometheus may ask for.
    """

    def __init__(
        self, service: SandboxService, calls: Calls, gatekeeper: Gatekeeper, measures: Measures
    ) -> None:
        self._service = service
        self._calls = calls
        self._gatekeeper = gatekeeper
        self._measures = measures
        self._health = json.dumps({"status": "ok", "version": installed_version()}).encode()
        resources: defaultdict[str, _Resource] = defaultdict(lambda: _Resource(self))
        for operation in OPERATIONS:
            route = ROUTES[operation.name]
            resources[route.path].add(operation.name, route, self._endpoint(operation, route))
        health = ROUTES["get_health"]
        resources[health.path].add("get_health", health, self._answer_health)
        resources[_MEASURES.path].add("measures", _MEASURES, self._answer_measures)
        routes = [routing.Route(path, resource) for path, resource in resources.items()]
        routes += page_routes(gatekeeper)
        self._router = routing.Router(routes, redirect_slashes=False, default=_Resource(self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        connection: Connection = scope["state"]["connection"]
        connection.begin()
        try:
            await self._router(scope, receive, send)
        finally:
            connection.end()

    async def answer(
        self, endpoint: tuple[str, bool, _Endpoint], allow: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request by `endpoint`: its name, whether it needs the key, and what answers it."""
        name, secured, respond = endpoint
        headers: _Headers = dict(scope["headers"])
        call = Call.begin("http", _text(headers, b"x-request-id"), name, lambda: _texts(headers))
        client = _Client(scope, receive, _Reply(send, call))
        connection: Connection = scope["state"]["connection"]
        more: list[tuple[bytes, bytes]] = []
        reason = ""
        answer: _Answer
        try:
            try:
                require_wellformed(headers)
                self._gatekeeper.check_browser(
                    _text(headers, b"host"), _text(headers, b"origin"), _text(headers, b"sec-fetch-site")
                )
                if secured:
                    self._gatekeeper.check_key(_text(headers, b"authorization"), trusted=connection.trusted)
                    connection.prove()
                timeout_ms = _text(headers, b"x-request-timeout-ms")
                timeout = None if timeout_ms is None else timeout_of_milliseconds(timeout_ms)
                answer = await self._calls.perform(call, timeout, lambda: respond(client, call, headers))
            except SandboxError as error:
                error.request_id = call.request_id
                reason = error.reason
                answer = None if await client.reply.fail(error) else encode_error(error)
                more = _error_headers(error, allow)
                if not connection.proven:
                    # It is not worth reading what else it sends.
                    connection.lingers = True
                    more.append((b"connection", b"close"))
            finally:
                client.unwatch()
            status, body = answer or (200, None)
            if status == 204 and scope["method"] == "OPTIONS":
                more = [(b"allow", allow.encode())]
            if answer is not None:
                await _send(send, call, status, body, more)
        except asyncio.CancelledError:
            if not client.gone:
                raise
            status, reason = 499, Reason.CANCELLED
        self._calls.ended(call, status, reason)

    def _endpoint(self, operation: Operation[Any, Any], route: Route) -> _Endpoint:
        perform = getattr(self._service, operation.name)

        async def request_of(client: _Client, call: Call, headers: _Headers) -> Any:
            body = await client.body(headers) if route.body == "json" else b""
            query = client.queries if route.query_params else {}
            request = decode_request(operation, client.path_params, query, body)
            call.sandbox = getattr(request, "id", "")
            return request

        async def respond(client: _Client, call: Call, headers: _Headers) -> _Answer:
            request = await request_of(client, call, headers)
            client.watch()
            if operation is START_SANDBOX:
                result = await perform(request, _text(headers, b"idempotency-key") or "")
                call.sandbox = result.id
            else:
                result = await perform(request)
            return route.success_status, encode_result(operation, result)

        async def respond_with_stream(client: _Client, call: Call, headers: _Headers) -> _Answer:
            request = await request_of(client, call, headers)
            client.watch()
            is_binary = client.reply.is_binary = route.answer == "bytes"

            async def send(piece: Any) -> None:
                await client.reply.begin(_STREAMED[route.answer])
                await client.reply.send(piece.data if is_binary else encode_frame(operation, piece))

            await send_all(operation, perform(request), send)
            await client.reply.begin(_STREAMED[route.answer])
            await client.reply.end()
            return None

        async def respond_to_stream(client: _Client, call: Call, headers: _Headers) -> _Answer:
            request = await request_of(client, call, headers)
            result = await perform(request, client.chunks())
            return route.success_status, encode_result(operation, result)

        if operation.streams == "request":
            return respond_to_stream
        return respond_with_stream if operation.streams else respond

    async def _answer_health(self, client: _Client, call: Call, headers: _Headers) -> _Answer:
        return 200, self._health

    async def _answer_measures(self, client: _Client, call: Call, headers: _Headers) -> _Answer:
        await client.reply.begin(CONTENT_TYPE)
        await client.reply.send(self._measures.text())
        await client.reply.end()
        return None


class _Resource:
    """What is at one path: an endpoint a method; without any, the answer for a path where nothing is."""

    def __init__(self, app: HTTPApp) -> None:
        self._app = app
        self._endpoints: dict[str, tuple[str, bool, _Endpoint]] = {}
        self._allow = ""

    def add(self, name: str, route: Route, respond: _Endpoint) -> None:
        """Add the endpoint of an operation; a GET answers HEAD, too."""
        endpoint = (name, route.secured, respond)
        self._endpoints[route.method] = endpoint
        if route.method == "GET":
            self._endpoints["HEAD"] = endpoint
        self._endpoints["OPTIONS"] = ("options", False, _answer_options)
        self._allow = ", ".join(sorted(self._endpoints))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            endpoint = (f"{scope['method'][:20]} {scope['path'][:200]}", True, self._refuse)
        await self._app.answer(endpoint, self._allow, scope, receive, send)

    async def _refuse(self, client: _Client, call: Call, headers: _Headers) -> _Answer:
        if self._allow:
            raise error_for(Reason.METHOD_NOT_ALLOWED, f"this path takes {self._allow}", status_code=405)
        raise error_for(Reason.NOT_FOUND, f"there is nothing at {client.path[:200]}")


async def _answer_options(client: _Client, call: Call, headers: _Headers) -> _Answer:
    return 204, None


class _Client:
    """The other end of one request: what it sends, and whether it is still there."""

    def __init__(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        self.reply = reply
        self.path: str = scope["path"]
        self.path_params: dict[str, str] = scope.get("path_params", {})
        self.query: str = scope["query_string"].decode("latin-1")
        self.gone = False
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def queries(self) -> dict[str, list[str]]:
        """The parameters of the query, each with its values."""
        return parse_qs(self.query, keep_blank_values=True)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes, however long it is."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise asyncio.CancelledError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def body(self, headers: _Headers) -> bytes:
        """Read the whole body; raise PayloadTooLargeError, before keeping it, where that is too large."""
        if int(headers.get(b"content-length", b"0")) > MAX_REQUEST_BYTES:
            raise _too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
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
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        async def until_gone() -> None:
            while (await self._receive())["type"] != "http.disconnect":
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


class _Reply:
    """An answer that is sent piece by piece."""

    def __init__(self, send: Send, call: Call) -> None:
        self.is_binary = False
        self._send = send
        self._call = call
        self._begun = False

    async def begin(self, content_type: bytes) -> None:
        """Send the head of the answer. Twice does no more."""
        if not self._begun:
            self._begun = True
            # Proxies such as nginx would keep it until it is complete.
            headers = [(b"content-type", content_type), (b"x-accel-buffering", b"no")]
            await _send_head(self._send, self._call, 200, headers)

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


def _text(headers: _Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def _texts(headers: _Headers) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}


def _error_headers(error: SandboxError, allow: str) -> list[tuple[bytes, bytes]]:
    headers = []
    status_code, _ = statuses_of(error)
    if status_code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status_code == 405:
        headers.append((b"allow", allow.encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after)).encode()))
    return headers


async def _send(
    send: Send, call: Call, status: int, body: bytes | None, more: list[tuple[bytes, bytes]]
) -> None:
    headers = list(more)
    if body is not None:
        headers += [_JSON, (b"content-length", str(len(body)).encode())]
    await _send_head(send, call, status, headers)
    await send({"type": "http.response.body", "body": body or b""})


async def _send_head(send: Send, call: Call, status: int, more: list[tuple[bytes, bytes]]) -> None:
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
