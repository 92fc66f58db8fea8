"""The connection to Docker Engine: where it is, which version is spoken, and how it refuses.

https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ...cancellation import completed
from ..base import Missing

__all__ = ["Engine", "EngineError", "EngineMissing", "EngineVersion", "engine_host"]

_DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_OLDEST: Final = (1, 41)
"""Docker Engine 20.10: the first that reads statistics once, without waiting for a second reading."""
_NEWEST: Final = (1, 47)
"""What this module was written against; a newer engine is asked to speak it."""
_CONNECT_SECONDS: Final = 2.0
# Every call but a pull, an attachment and a wait: the engine that does not answer in this time hangs.
_CALL_SECONDS: Final = 120.0
# What is read ahead of what an agent sends; the engine, and so the agent, is held up beyond it.
_ATTACHED_BUFFER: Final = 256 * 1024
_CLOSED: Final = ("the connection to Docker Engine is closed", "start the orchestrator again")
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


class EngineError(Exception):
    """The engine refused.

    Args:
        status: HTTP status.
        message: What the engine said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def lacks_room(self) -> bool:
        """Whether the engine's disk is full."""
        return os.strerror(errno.ENOSPC).lower() in self.message.lower()


class EngineMissing(Missing):
    """There is no engine that can be used."""


@dataclass(frozen=True, slots=True, order=True)
class EngineVersion:
    """Version of the API, such as 1.41."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def engine_host() -> str:
    """Return where the engine is: ``$DOCKER_HOST``, or its usual socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT_HOST


class Engine:
    """Speaks to one engine, over as many connections as there are calls under way.

    The engine may come and go: the version is agreed on anew after it was not reached. `close` must follow.

    Args:
        host: ``unix://PATH`` or ``tcp://HOST:PORT``; None for what `engine_host` returns.
    """

    def __init__(self, host: str | None = None) -> None:
        self.host = host or engine_host()
        self._client: httpx.AsyncClient | None = None
        self._version: EngineVersion | None = None
        self._calls: dict[asyncio.Future[None], asyncio.Timeout] = {}
        self._closed = False

    @property
    def is_local(self) -> bool:
        """Whether its address is a socket of this host; what serves it may be elsewhere all the same."""
        return self.host.startswith("unix://")

    async def close(self) -> None:
        """Break off the calls under way, close every connection, and refuse every later call."""
        if not self._closed:
            self._closed = True
            await completed(self._close())

    async def _close(self) -> None:
        # First the calls: a connection that is still being made would be left open.
        for call in self._calls.values():
            call.reschedule(asyncio.get_running_loop().time())
        if self._calls:
            await asyncio.wait(self._calls.keys())
        client, self._client, self._version = self._client, None, None
        if client is not None:
            await client.aclose()

    @asynccontextmanager
    async def _until_closed(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give the client for a call, which `EngineMissing` ends where this is closed meanwhile."""
        client = self._connected()
        ended = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(None) as call:
                self._calls[ended] = call
                yield client
        except TimeoutError as error:
            if not call.expired():
                raise
            raise EngineMissing(*_CLOSED) from error
        finally:
            self._calls.pop(ended, None)
            ended.set_result(None)

    async def version(self) -> EngineVersion:
        """Return the version of the API that both sides speak; raise `EngineMissing` where there is none."""
        if self._version is None:
            self._version = await self._negotiate()
        return self._version

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        endless: bool = False,
    ) -> Any:
        """Make a call and return its answer, decoded; None where it has none.

        Args:
            method: HTTP method.
            path: Path without version, such as ``/containers/json``.
            body: What is sent: bytes or an iterator of them as a tar file, all else as JSON; None for
                nothing.
            query: Parameters of the query.
            endless: Whether the answer may take any time.

        Raises:
            EngineError: If the engine refuses.
            EngineMissing: If it cannot be reached, or breaks off.
        """
        async with self.stream(method, path, body, query=query, endless=endless) as response:
            content = await response.aread()
        if not content.strip():
            return None
        try:
            return json.loads(content)
        except ValueError as error:
            raise EngineError(502, f"Docker Engine's answer to {method} {path} is no JSON") from error

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        endless: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """Make a call and yield its answer while it comes in. Takes and raises what `call` does."""
        version = await self.version()
        seconds = None if endless else _CALL_SECONDS
        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        headers: dict[str, str] = {}
        content: bytes | AsyncIterable[bytes] | None = None
        if isinstance(body, bytes | AsyncIterable):
            headers, content = {"content-type": "application/x-tar"}, body
        elif body is not None:
            headers, content = {"content-type": "application/json"}, json.dumps(body).encode()
        try:
            async with (
                self._until_closed() as client,
                client.stream(
                    method,
                    f"/v{version}{path}",
                    params=query,
                    content=content,
                    headers=headers,
                    timeout=timeout,
                ) as response,
            ):
                if response.status_code >= 400:
                    await response.aread()
                    raise EngineError(response.status_code, _message(response))
                yield response
        except httpx.TransportError as error:
            self._version = None
            raise self._missing(error) from error

    @asynccontextmanager
    async def attached(self, path: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Make a call whose connection becomes a plain stream both ways, and yield its ends.

        Takes and raises what `call` does.
        """
        version = await self.version()
        scheme, _, place = self.host.partition("://")
        host, _, port = place.rstrip("/").rpartition(":")
        head = (
            f"POST /v{version}{path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        try:
            # Not asyncio.wait_for: before Python 3.12 it may lose that it is cancelled.
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await (
                    asyncio.open_unix_connection(place, limit=_ATTACHED_BUFFER)
                    if scheme == "unix"
                    else asyncio.open_connection(host.strip("[]"), int(port), limit=_ATTACHED_BUFFER)
                )
        except (OSError, ValueError) as error:
            self._version = None
            raise self._missing(error) from error
        try:
            writer.write(head.encode())
            await _require_attached(reader)
            yield reader, writer
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise EngineError(502, "Docker Engine broke the connection off") from error
        finally:
            writer.close()

    def _connected(self) -> httpx.AsyncClient:
        if self._closed:
            raise EngineMissing(*_CLOSED)
        if self._client is None:
            scheme, _, place = self.host.partition("://")
            if scheme not in ("unix", "tcp", "http") or not place:
                raise EngineMissing(
                    f"DOCKER_HOST={self.host} names no Docker Engine: it is no unix:// or tcp:// address",
                    "set DOCKER_HOST to the engine's unix:// socket, or unset it",
                )
            # A sandbox takes a connection for as long as it lives (its end is waited for). None is kept for
            # a later call: that would close all that are too old, and leave them open where it is cancelled.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            uds = place if scheme == "unix" else None
            base = "http://docker" if scheme == "unix" else f"http://{place}"
            try:
                transport = httpx.AsyncHTTPTransport(uds=uds, limits=limits)
                self._client = httpx.AsyncClient(transport=transport, base_url=base, trust_env=False)
            except httpx.InvalidURL as error:
                raise self._missing(error) from error
        return self._client

    async def _negotiate(self) -> EngineVersion:
        timeout = httpx.Timeout(_CONNECT_SECONDS)
        try:
            async with self._until_closed() as client:
                response = await client.get("/_ping", timeout=timeout)
        except httpx.TransportError as error:
            raise self._missing(error) from error
        found = _VERSION.fullmatch(response.headers.get("api-version", ""))
        if response.status_code != 200 or found is None:
            raise EngineMissing(
                f"what answers at {self.host} with HTTP {response.status_code} is no Docker Engine",
                "set DOCKER_HOST to the engine's address, or unset it",
            )
        offered = EngineVersion(int(found[1]), int(found[2]))
        if offered < EngineVersion(*_OLDEST):
            raise EngineMissing(
                f"Docker Engine at {self.host} speaks API {offered}; {EngineVersion(*_OLDEST)} is needed",
                "install Docker Engine 20.10 or newer",
            )
        return min(offered, EngineVersion(*_NEWEST))

    def _missing(self, error: Exception) -> EngineMissing:
        if isinstance(error.__cause__ or error, PermissionError) or "Permission denied" in str(error):
            return EngineMissing(
                f"Docker Engine at {self.host} may not be used by this user",
                "add the user to the docker group",
            )
        return EngineMissing(
            f"Docker Engine not reachable at {self.host}",
            "install docker.io and start its service, or set DOCKER_HOST",
        )


async def _require_attached(reader: asyncio.StreamReader) -> None:
    """Read the head of the answer to an upgrade; raise EngineError where it is a refusal."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status < 400:
        return
    length = re.search(rb"\r\ncontent-length: *(\d{1,6})\r\n", head, re.IGNORECASE)
    content = await reader.readexactly(int(length[1])) if length else b""
    raise EngineError(status, _message(httpx.Response(status, content=content)))


def _message(response: httpx.Response) -> str:
    try:
        body: Mapping[str, object] = response.json()
        return str(body["message"])
    except (ValueError, KeyError, TypeError):
        return response.text.strip() or f"HTTP {response.status_code}"
