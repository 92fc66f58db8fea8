"""The HTTP front door: one raw ASGI application, its routes those of the OpenAPI document and the page's.

It decodes, calls the service core and encodes. Every answer that is not 2xx has the ``Error`` body.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from flash_sandbox_http.routes import ROUTES, Route
from starlette import routing
from starlette.types import ASGIApp, Receive, Scope, Send

from ...codecs.http import decode_request, encode_error, encode_frame, encode_result
from ...errors import Reason, SandboxError, error_for, statuses_of
from ...operations import OPERATIONS, START_SANDBOX, Operation
from ..core.service import SandboxService
from ..version import installed_version
from .auth import Gatekeeper
from .call import Call
from .calls import Calls, timeout_of_milliseconds
from .connection import Connection
from .http_exchange import Client, Reply, send_head
from .http_heads import require_wellformed
from .pages import page_routes
from .prometheus import CONTENT_TYPE, Measures
from .streaming import send_all

__all__ = ["HTTPApp"]

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
# Nor is this any: it has a protocol of its own.
_MCP: Final = tuple(replace(_MEASURES, method=method, path="/mcp") for method in ("GET", "POST", "DELETE"))

_Headers = dict[bytes, bytes]
# None where the answer has been sent already.
_Answer = tuple[int, bytes | None] | None
_Endpoint = Callable[["Client", Call, _Headers], Awaitable[_Answer]]


class HTTPApp:
    """The ASGI application.

    Args:
        service: The service core.
        calls: The calls in flight, shared with the other front door.
        gatekeeper: Who may call.
        measures: What Prometheus may ask for.
        mcp: The application at ``/mcp``.
    """

    def __init__(
        self, service: SandboxService, calls: Calls, gatekeeper: Gatekeeper, measures: Measures, mcp: ASGIApp
    ) -> None:
        self._service = service
        self._calls = calls
        self._gatekeeper = gatekeeper
        self._measures = measures
        self._mcp = mcp
        self._health = json.dumps({"status": "ok", "version": installed_version()}).encode()
        resources: defaultdict[str, _Resource] = defaultdict(lambda: _Resource(self))
        for operation in OPERATIONS:
            route = ROUTES[operation.name]
            resources[route.path].add(operation.name, route, self._endpoint(operation, route))
        health = ROUTES["get_health"]
        resources[health.path].add("get_health", health, self._answer_health)
        resources[_MEASURES.path].add("measures", _MEASURES, self._answer_measures)
        for route in _MCP:
            resources[route.path].add("mcp", route, self._pass_to_mcp)
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
        client = Client(scope, receive, Reply(send, call))
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
            status, body = answer or (client.reply.status, None)
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

        async def request_of(client: Client, call: Call, headers: _Headers) -> Any:
            body = await client.body(headers) if route.body == "json" else b""
            query = client.queries if route.query_params else {}
            request = decode_request(operation, client.path_params, query, body)
            call.sandbox = getattr(request, "id", "")
            return request

        async def respond(client: Client, call: Call, headers: _Headers) -> _Answer:
            request = await request_of(client, call, headers)
            client.watch()
            if operation is START_SANDBOX:
                result = await perform(request, _text(headers, b"idempotency-key") or "")
                call.sandbox = result.id
            else:
                result = await perform(request)
            return route.success_status, encode_result(operation, result)

        async def respond_with_stream(client: Client, call: Call, headers: _Headers) -> _Answer:
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

        async def respond_to_stream(client: Client, call: Call, headers: _Headers) -> _Answer:
            request = await request_of(client, call, headers)
            result = await perform(request, client.chunks())
            return route.success_status, encode_result(operation, result)

        if operation.streams == "request":
            return respond_to_stream
        return respond_with_stream if operation.streams else respond

    async def _answer_health(self, client: Client, call: Call, headers: _Headers) -> _Answer:
        return 200, self._health

    async def _answer_measures(self, client: Client, call: Call, headers: _Headers) -> _Answer:
        await client.reply.begin(CONTENT_TYPE)
        await client.reply.send(self._measures.text())
        await client.reply.end()
        return None

    async def _pass_to_mcp(self, client: Client, call: Call, headers: _Headers) -> _Answer:
        client.reply.is_binary = True
        await self._mcp(client.scope, client.receive, client.reply.pass_on)
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

    async def _refuse(self, client: Client, call: Call, headers: _Headers) -> _Answer:
        if self._allow:
            raise error_for(Reason.METHOD_NOT_ALLOWED, f"this path takes {self._allow}", status_code=405)
        raise error_for(Reason.NOT_FOUND, f"there is nothing at {client.path[:200]}")


async def _answer_options(client: Client, call: Call, headers: _Headers) -> _Answer:
    return 204, None


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
    await send_head(send, call, status, headers)
    await send({"type": "http.response.body", "body": body or b""})
