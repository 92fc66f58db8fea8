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
from functools import partial
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
from .http_exchange import Client, Headers, Reply, send_head, text_of
from .http_heads import require_wellformed
from .pages import page_routes
from .port_access import Admission, PortAccess, Target
from .port_proxy import PortProxy, Upgraded
from .prometheus import CONTENT_TYPE, Measures
from .streaming import send_all

__all__ = ["HTTPApp"]

_JSON: Final = (b"content-type", b"application/json")
_CLOSE: Final = (b"connection", b"close")
# As the log calls a request to a port of a sandbox.
_PORT: Final = "proxy_port"
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

# None where the answer has been sent already.
_Answer = tuple[int, bytes | None] | None
_Endpoint = Callable[[Client, Call, Headers], Awaitable[_Answer]]
_Guard = Callable[[Headers, Connection], None]


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
        self._port_access = PortAccess(service.links, gatekeeper)
        self._port_proxy = PortProxy(service, self._port_access)
        self._router = routing.Router(routes, redirect_slashes=False, default=_Resource(self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        connection: Connection = scope["state"]["connection"]
        connection.begin()
        try:
            target = self._port_access.target(dict(scope["headers"]), scope["raw_path"])
            if target is None:
                await self._router(scope, receive, send)
            else:
                await self.answer(self._to_port(target, scope), "", scope, receive, send)
        finally:
            connection.end()

    async def answer(
        self,
        endpoint: tuple[str, _Guard, _Endpoint],
        allow: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer one request by `endpoint`: its name, what lets its caller in, and what answers it."""
        name, guard, respond = endpoint
        headers: Headers = dict(scope["headers"])
        call = Call.begin("http", text_of(headers, b"x-request-id"), name, lambda: _texts(headers))
        client = Client(scope, receive, Reply(send, call))
        connection: Connection = scope["state"]["connection"]
        more: list[tuple[bytes, bytes]] = []
        reason = ""
        answer: _Answer
        try:
            try:
                require_wellformed(headers)
                guard(headers, connection)
                timeout_ms = text_of(headers, b"x-request-timeout-ms")
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
                    more.append(_CLOSE)
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

    def require_own_origin(self, headers: Headers, connection: Connection) -> None:
        """Let anybody in but web pages of other origins."""
        self._gatekeeper.check_browser(
            text_of(headers, b"host"), text_of(headers, b"origin"), text_of(headers, b"sec-fetch-site")
        )

    def require_key(self, headers: Headers, connection: Connection) -> None:
        """Let in what carries the key."""
        self.require_own_origin(headers, connection)
        self._gatekeeper.check_key(text_of(headers, b"authorization"), trusted=connection.trusted)
        connection.prove()

    def _to_port(self, target: Target, scope: Scope) -> tuple[str, _Guard, _Endpoint]:
        """Return what answers a request for a port of a sandbox."""
        admitted: list[Admission] = []
        method: str = scope["method"]

        def guard(headers: Headers, connection: Connection) -> None:
            query = scope["query_string"]
            admitted.append(self._port_access.admit(target, method, headers, query, connection))
            connection.prove()

        async def respond(client: Client, call: Call, headers: Headers) -> _Answer:
            await self._port_proxy.respond(target, admitted[0], method, client, call)
            return None

        return _PORT, guard, respond

    def upgrades(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], connection: Connection
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None:
        """Return what carries on where a request asks for WebSockets of a port; None for any other one."""
        path, _, query = target.partition(b"?")
        by_name = dict(headers)
        wanted = self._port_access.target(by_name, path)
        if wanted is None:
            return None

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            call = Call.begin("http", text_of(by_name, b"x-request-id"), _PORT, lambda: _texts(by_name))
            call.sandbox = wanted.name.sandbox_id
            upgraded = Upgraded(reader, writer)
            status, reason = 101, ""
            connection.begin()
            try:
                require_wellformed(by_name)
                admission = self._port_access.admit(wanted, method, by_name, query, connection)
                connection.prove()
                work = partial(self._port_proxy.upgrade, wanted, admission, method, headers, upgraded)
                status = await self._calls.perform(call, None, work)
            except SandboxError as error:
                error.request_id, reason = call.request_id, error.reason
                status, body = encode_error(error)
                if not upgraded.has_begun:
                    size = (b"content-length", str(len(body)).encode())
                    await upgraded.begin(status, [_JSON, size, _CLOSE])
                    await upgraded.send(body)
            except ConnectionError:
                status, reason = 499, Reason.CANCELLED
            finally:
                connection.end()
                self._calls.ended(call, status, reason)

        return carry

    def _endpoint(self, operation: Operation[Any, Any], route: Route) -> _Endpoint:
        perform = getattr(self._service, operation.name)

        async def request_of(client: Client, call: Call, headers: Headers) -> Any:
            body = await client.body(headers) if route.body == "json" else b""
            query = client.queries if route.query_params else {}
            request = decode_request(operation, client.path_params, query, body)
            call.sandbox = getattr(request, "id", "")
            return request

        async def respond(client: Client, call: Call, headers: Headers) -> _Answer:
            request = await request_of(client, call, headers)
            client.watch()
            if operation is START_SANDBOX:
                result = await perform(request, text_of(headers, b"idempotency-key") or "")
                call.sandbox = result.id
            else:
                result = await perform(request)
            return route.success_status, encode_result(operation, result)

        async def respond_with_stream(client: Client, call: Call, headers: Headers) -> _Answer:
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

        async def respond_to_stream(client: Client, call: Call, headers: Headers) -> _Answer:
            request = await request_of(client, call, headers)
            result = await perform(request, client.chunks())
            return route.success_status, encode_result(operation, result)

        if operation.streams == "request":
            return respond_to_stream
        return respond_with_stream if operation.streams else respond

    async def _answer_health(self, client: Client, call: Call, headers: Headers) -> _Answer:
        return 200, self._health

    async def _answer_measures(self, client: Client, call: Call, headers: Headers) -> _Answer:
        await client.reply.begin(CONTENT_TYPE)
        await client.reply.send(self._measures.text())
        await client.reply.end()
        return None

    async def _pass_to_mcp(self, client: Client, call: Call, headers: Headers) -> _Answer:
        client.reply.is_binary = True
        await self._mcp(client.scope, client.receive, client.reply.pass_on)
        return None


class _Resource:
    """What is at one path: an endpoint a method; without any, the answer for a path where nothing is."""

    def __init__(self, app: HTTPApp) -> None:
        self._app = app
        self._endpoints: dict[str, tuple[str, _Guard, _Endpoint]] = {}
        self._allow = ""

    def add(self, name: str, route: Route, respond: _Endpoint) -> None:
        """Add the endpoint of an operation; a GET answers HEAD, too."""
        guard = self._app.require_key if route.secured else self._app.require_own_origin
        endpoint = (name, guard, respond)
        self._endpoints[route.method] = endpoint
        if route.method == "GET":
            self._endpoints["HEAD"] = endpoint
        self._endpoints["OPTIONS"] = ("options", self._app.require_own_origin, _answer_options)
        self._allow = ", ".join(sorted(self._endpoints))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            name = f"{scope['method'][:20]} {scope['path'][:200]}"
            endpoint = (name, self._app.require_key, self._refuse)
        await self._app.answer(endpoint, self._allow, scope, receive, send)

    async def _refuse(self, client: Client, call: Call, headers: Headers) -> _Answer:
        if self._allow:
            raise error_for(Reason.METHOD_NOT_ALLOWED, f"this path takes {self._allow}", status_code=405)
        raise error_for(Reason.NOT_FOUND, f"there is nothing at {client.path[:200]}")


async def _answer_options(client: Client, call: Call, headers: Headers) -> _Answer:
    return 204, None


def _texts(headers: Headers) -> dict[str, str]:
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
