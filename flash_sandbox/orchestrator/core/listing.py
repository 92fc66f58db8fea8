"""The service core's operations on many sandboxes, and on what is known of one: lists, expiry, events."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from itertools import islice
from typing import Final

from ...errors import InvalidArgumentError, SandboxError, SandboxNotFoundError
from ...models import (
    DEFAULT_PAGE_SIZE,
    Event,
    GetInfoRequest,
    GetInfoResult,
    GetLogsRequest,
    GetLogsResult,
    KeepAliveRequest,
    KeepAliveResult,
    ListSandboxesRequest,
    ListSandboxesResult,
    SandboxInfo,
    WatchEventsRequest,
)
from . import rows
from .base import ServiceCore, pause, thaw
from .expiry import Expiry
from .sandboxes import Sandbox, State

__all__ = ["ListingOperations"]

_PAGE_TOKEN: Final = re.compile(r"(0x1\.[0-9a-f]{13}p\+[0-9]{1,2})-([0-9A-Za-z_.-]{1,128})", re.ASCII)
_MEASURE_SECONDS: Final = 1.0
_FIRST: Final = (-math.inf, "")
# So many readings are made before anything else gets its turn.
_READINGS_AT_ONCE: Final = 50


class ListingOperations(ServiceCore):
    """List and follow sandboxes, and end them in time; a part of `SandboxService`."""

    _expiry: Expiry

    async def list_sandboxes(self, request: ListSandboxesRequest) -> ListSandboxesResult:
        """Tell what is known of each sandbox that has what is asked for, the oldest first, a page of them."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        place, wanted = _place_of(request.page_token), set(request.labels)
        known: Iterator[SandboxInfo]
        if request.status == "ended":
            known = self.ended.after(place)
        else:
            found = self.registry.after(place)
            known = (one.info() for one in found if request.status in ("", one.state))
        matching = (one for one in known if request.type in ("", one.type) and wanted.issubset(one.labels))
        page = tuple(islice(matching, size + 1))
        token = _token_of(page[size - 1]) if len(page) > size else ""
        return ListSandboxesResult(page[:size], token)

    async def get_info(self, request: GetInfoRequest) -> GetInfoResult:
        """Tell what is known of a sandbox, also for a while after its end."""
        try:
            return GetInfoResult(self.registry.get(request.id).info())
        except SandboxNotFoundError:
            return GetInfoResult(self.ended.info(request.id))

    async def get_logs(self, request: GetLogsRequest) -> GetLogsResult:
        """Tell the last of what the main process of a sandbox has printed, also for a while after its end."""
        try:
            sandbox = self.registry.get(request.id)
        except SandboxNotFoundError:
            return self.ended.log(request.id)
        sandbox.require(State.RUNNING, State.PAUSED, State.STOPPED)
        return sandbox.log

    async def keep_alive(self, request: KeepAliveRequest) -> KeepAliveResult:
        """Have a sandbox expire so many seconds from now, whatever state it is in."""
        self._admission.require_ttl(request.ttl_seconds)
        return KeepAliveResult(await self._complete(self._prolong(request)))

    async def watch_events(self, request: WatchEventsRequest) -> AsyncGenerator[Event]:
        """Tell what has happened since the token and what happens; first, at once, where that begins."""
        async with aclosing(self.events.watch(request.token)) as events:
            async for event in events:
                yield event

    async def _prolong(self, request: KeepAliveRequest) -> float:
        async with self._locked(request.id) as sandbox:
            deadline = time.time() + request.ttl_seconds
            await self._keep_until(sandbox, deadline)
            return deadline

    async def _keep_until(self, sandbox: Sandbox, deadline: float) -> None:
        """Have a sandbox expire at `deadline`, also where another orchestrator goes on with it."""
        life = sandbox.life
        before = (life.expires_at, life.renewed)
        life.expire_at(deadline)
        try:
            if sandbox.runtime.capabilities.outlives:
                await self.database.write(rows.changed(sandbox))
        except BaseException:
            life.expire_at(*before)
            raise
        self._expiry.expect(sandbox)

    def _give_time(self, sandbox: Sandbox) -> None:
        """Begin the time of a sandbox that has been started."""
        asked, admission = sandbox.request.ttl_seconds, self._admission
        if ttl := admission.ttl(asked):
            sandbox.life.latest = sandbox.created_at + (admission.max_ttl or math.inf)
            sandbox.life.expire_at(time.time() + ttl, admission.renewed(asked))
        sandbox.life.idle_timeout = sandbox.request.idle_timeout
        sandbox.life.use()
        sandbox.life.look_again()
        self._expiry.expect(sandbox)

    async def _is_idle(self, sandbox: Sandbox) -> bool:
        life = sandbox.life
        if not life.idle_timeout or sandbox.state is not State.RUNNING or time.time() < life.next_look:
            return False
        # One that cannot be measured now is not known to be idle.
        with suppress(SandboxError, OSError, TimeoutError):
            async with asyncio.timeout(_MEASURE_SECONDS):
                usage = await sandbox.runtime.usage(sandbox.id, sampled=True)
            return life.is_idle(usage.cpu_seconds, sandbox.guest.channel.heard)
        return False

    async def _act_on_idle(self, sandbox: Sandbox) -> None:
        """Do with an idle sandbox, whose lock is held, what its start has asked for."""
        action, why = sandbox.request.on_idle or "stop", f"idle for {sandbox.life.idle_timeout:g} seconds"
        if action == "stop":
            await self._end(sandbox, "idle")
            return
        sandbox.tell("idle", action)
        await pause(sandbox, why)
        # A call may have come while it was being frozen.
        if sandbox.life.calls:
            await thaw(sandbox, "a call uses it")
        elif action == "suspend":
            await sandbox.runtime.suspend(sandbox.id)

    async def _attend(self, sandbox: Sandbox) -> None:
        """End a sandbox that has expired, or warn of that, unless it was prolonged or removed meanwhile."""
        # Whoever waits for another operation on its sandbox does not hold up the others.
        async with sandbox.lock, self._room_for_ends:
            if sandbox not in self.registry:
                return
            life, now = sandbox.life, time.time()
            if life.calls:
                life.use()
            if life.has_expired(now):
                await self._end(sandbox, "expired")
            elif await self._is_idle(sandbox):
                await self._act_on_idle(sandbox)
            elif life.is_ending(now):
                life.warned_of = life.expires_at
                await sandbox.told("expiring", f"in {round(life.expires_at - now, 1):g} seconds")
            elif life.is_due(now):
                life.look_again(is_running=sandbox.state is State.RUNNING)
                if life.noted != life.expires_at:
                    life.noted = life.expires_at
                    await self._note(sandbox, rows.changed(sandbox))

    def _tell_later(self, sandbox: Sandbox) -> None:
        """Tell of the end of a main process, after what the kernel has ended it for."""

        async def tell() -> None:
            await self._tell_oom_kills(sandbox)
            sandbox.tell("stopped", f"exit code {sandbox.exit_code}")

        sandbox.telling = asyncio.create_task(tell())

    async def _tell_oom_kills(self, sandbox: Sandbox) -> None:
        # What has been removed meanwhile, or whose engine is away, tells nothing.
        with suppress(SandboxError, OSError):
            kills = await sandbox.runtime.oom_kills(sandbox.id)
            if kills > sandbox.oom_kills:
                sandbox.oom_kills = kills
                limit = sandbox.request.memory_mb
                sandbox.tell("out_of_memory", f"a process was ended: the limit is {limit} MiB")

    async def _sweep(self) -> None:
        """Forget what ended long ago; look for processes ended for want of memory that nobody waits for."""
        self.ended.purge()
        for number, sandbox in enumerate(self.registry):
            counts = sandbox.runtime.capabilities.counts_oom_kills
            if counts and sandbox.state is State.RUNNING:
                await self._tell_oom_kills(sandbox)
            if number % _READINGS_AT_ONCE == 0:
                await asyncio.sleep(0)


def _token_of(info: SandboxInfo) -> str:
    return f"{info.created_at.hex()}-{info.id}"


def _place_of(token: str) -> tuple[float, str]:
    """Return the place that a page token names; raise InvalidArgumentError where it is none."""
    if not token:
        return _FIRST
    found = _PAGE_TOKEN.fullmatch(token)
    if found is None:
        raise InvalidArgumentError(f"{token[:100]!r} is no token of a page")
    return (float.fromhex(found[1]), found[2])
