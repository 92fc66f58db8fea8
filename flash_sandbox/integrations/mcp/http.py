"""Any number of clients over streamable HTTP, each with a session of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings

from ...clients.aio.api import AsyncSandboxAPI
from .sandbox_tools import IDLE_SECONDS
from .server import new_server
from .session import Session

__all__ = ["StreamableHTTP"]

_SESSION_ID: Final = "mcp-session-id"
_MOST_SESSIONS: Final = 1000

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _Open:
    """A session that is open, and how many requests of it are under way."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.requests = 0
        self.timer: asyncio.TimerHandle | None = None


class StreamableHTTP:
    """The tools over streamable HTTP: an ASGI application for one path, between `start` and `close`.

    It asks for no key and trusts every ``Host`` and ``Origin``: who calls it is to be checked before.

    A session ends when its client ends it, or is idle for half an hour. Protocol 2026-07-28 has no sessions
    over HTTP: a sandbox that is started by it ends when it is idle for as long.

    Args:
        client: Performs the calls; it is not closed.
        idle_seconds: Seconds after which an idle session ends.
    """

    def __init__(self, client: AsyncSandboxAPI, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._client = client
        self._idle_seconds = idle_seconds
        server = new_server(client, self._session_of)
        server.streamable_http_app(
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            session_idle_timeout=idle_seconds,
            max_sessions=_MOST_SESSIONS,
        )
        self._manager = server.session_manager
        self._open: dict[str, _Open] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve."""
        started = asyncio.Event()

        async def serve() -> None:
            # Entered and left by one task, as its task group needs.
            async with self._manager.run():
                started.set()
                await self._stop.wait()

        self._task = asyncio.create_task(serve())
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()

    async def close(self) -> None:
        """End all sessions, and their sandboxes."""
        self._stop.set()
        if self._task is not None:
            await self._task
        for session_id in list(self._open):
            self._end(session_id)
        if self._ending:
            await asyncio.wait(self._ending)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        entered = self._enter(_value(scope["headers"], _SESSION_ID))
        ended = ""

        async def watch(message: _Message) -> None:
            nonlocal entered, ended
            if message["type"] == "http.response.start":
                if message["status"] < 300 and not entered:
                    entered = self._enter(_value(message["headers"], _SESSION_ID), is_new=True)
                if message["status"] == 404 or (message["status"] < 300 and scope["method"] == "DELETE"):
                    ended = entered
            await send(message)

        try:
            await self._manager.handle_request(scope, receive, watch)
        finally:
            self._leave(entered)
            if ended:
                self._end(ended)

    def _session_of(self, context: Context[Any, Any]) -> Session | None:
        known = self._open.get((context.headers or {}).get(_SESSION_ID, ""))
        return None if known is None else known.session

    def _enter(self, session_id: str, *, is_new: bool = False) -> str:
        """Count a request of a session; return its ID, empty where there is no such session."""
        if session_id and is_new:
            self._open.setdefault(session_id, _Open(Session(self._client)))
        known = self._open.get(session_id)
        if known is None:
            return ""
        known.requests += 1
        if known.timer is not None:
            known.timer.cancel()
        return session_id

    def _leave(self, session_id: str) -> None:
        known = self._open.get(session_id)
        if known is not None:
            known.requests -= 1
            if not known.requests:
                # As the SDK does, which tells nobody of it.
                known.timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._end, session_id)

    def _end(self, session_id: str) -> None:
        known = self._open.pop(session_id, None)
        if known is not None:
            if known.timer is not None:
                known.timer.cancel()
            task = asyncio.create_task(known.session.end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def _value(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    return next((value.decode("latin-1") for key, value in headers if key.decode("latin-1") == name), "")
