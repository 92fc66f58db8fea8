"""Following a sandbox until its end, be it of this orchestrator or of one before that it outlived."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from ...errors import InternalServerError, SandboxError
from ...models import EndCause, EventType
from ..cancellation import completed, done_before
from ..guest.guest import KILLED, Guest
from ..network.gate import Gate
from ..runtimes.base import Runtime
from . import rows
from .base import end_guest, open_guest, over
from .defaults import filled_in
from .lifetime import Lifetime
from .listing import ListingOperations
from .networks import NetworkOperations
from .rows import Row
from .sandboxes import Sandbox, State

__all__ = ["AdoptionOperations", "unless_ended"]

_ADOPT_SECONDS: Final = (0.5, 30.0)


class AdoptionOperations(ListingOperations, NetworkOperations):
    """Adopt sandboxes, and take note of their ends; a part of `SandboxService`."""

    _runtimes: Mapping[str, Runtime]

    def _read_kept(self) -> None:
        """Read which sandboxes an orchestrator before has left, and take note of the end of the others."""
        for row in rows.read(self.database):
            runtime = self._runtimes.get(row.runtime)
            if runtime is None:
                continue
            if row.kept() is not None and runtime.capabilities.outlives:
                self.registry.unreachable[row.id] = row
            elif row.state == State.CREATING:
                why = "the orchestrator ended while it was being started"
                self.events.add("failed", row.id, why, rows.removed(row.id))
            else:
                self._note_missing(row, "stopped" if row.state == rows.REMOVING else "shutdown")

    async def _open(self, runtime: Runtime) -> None:
        kept = [row.kept() for row in self.registry.unreachable.values() if row.runtime == runtime.name]
        await runtime.open([one for one in kept if one is not None])

    async def _adopt(self, runtime: Runtime) -> bool:
        """Go on with the sandboxes that outlived their orchestrator; tell whether those are all."""
        adoption = await runtime.adopt()
        going_on = []
        for sandbox_id, state in adoption.states.items():
            sandbox = self._sandbox_of(self.registry.unreachable.pop(sandbox_id), State(state))
            self.registry.add(sandbox)
            self._expiry.expect(sandbox)
            sandbox.tell(cast(EventType, sandbox.state.value), "it outlived the orchestrator before")
            if sandbox.state is not State.STOPPED:
                going_on.append(self._go_on(sandbox))
        await asyncio.gather(*going_on)
        if adoption.complete:
            for row in [row for row in self.registry.unreachable.values() if row.runtime == runtime.name]:
                del self.registry.unreachable[row.id]
                self._note_missing(row, "lost")
        return adoption.complete

    def _sandbox_of(self, row: Row, state: State) -> Sandbox:
        runtime = self._runtimes[row.runtime]
        sandbox = Sandbox(
            runtime,
            # An older version knew fewer options.
            filled_in(row.request, runtime.capabilities.options, self._admission.default_network),
            self.events,
            row.idempotency_key,
            id=row.id,
            state=state,
            created=row.created,
            exit_code=row.exit_code,
            created_at=row.created_at,
            life=self._kept_life(row),
            kept_log=row.log,
        )
        if state is State.STOPPED:
            sandbox.end("stopped" if row.exit_code is None else "exited")
        return sandbox

    def _note_missing(self, row: Row, cause: EndCause) -> None:
        """Take note of the end of a sandbox that is not there any more."""
        sandbox = self._sandbox_of(row, State.RUNNING if row.exit_code is None else State.STOPPED)
        sandbox.end(cause)
        sandbox.tell("removed", "it is gone since the orchestrator before", rows.ended(sandbox))

    def _kept_life(self, row: Row) -> Lifetime:
        latest = row.created_at + (self._admission.max_ttl or math.inf)
        life = Lifetime(latest=latest, idle_timeout=row.request.idle_timeout)
        life.look_again()
        if row.expires_at:
            life.expire_at(row.expires_at, self._admission.renewed(row.request.ttl_seconds))
        return life

    async def _adopt_later(self, runtime: Runtime) -> None:
        """Adopt the rest, once what runs them can be reached again."""
        pause, longest = _ADOPT_SECONDS
        while True:
            await asyncio.sleep(pause)
            if await self._adopt(runtime):
                return
            pause = min(pause * 2, longest)

    async def _go_on(self, sandbox: Sandbox) -> None:
        """Go on with an adopted sandbox; if its agent cannot be reached, end it and keep what it holds."""
        self._attach_guest(sandbox)
        if sandbox.state is State.PAUSED:
            # The agent is frozen, too: `thaw` connects to it.
            sandbox.guest.channel.is_frozen = True
        else:
            try:
                await unless_ended(sandbox, open_guest(sandbox))
            except SandboxError as error:
                sandbox.guest.give_up(str(error))
        sandbox.watcher = asyncio.create_task(self._watch(sandbox, sandbox.guest))

    def _attach_guest(self, sandbox: Sandbox) -> None:
        """Give a sandbox that has been created its guest agent, not connected yet, and its gate."""
        runtime, created = sandbox.runtime, sandbox.created
        assert created is not None
        sandbox.agent = Guest(
            sandbox.id,
            partial(runtime.stream, sandbox.id),
            created.defaults,
            partial(runtime.oom_kills, sandbox.id),
            reconnects=created.reconnects,
        )
        sandbox.gate = Gate(self._operator, sandbox.tell_refused)

    async def _watch(self, sandbox: Sandbox, guest: Guest) -> None:
        """End a sandbox once its main process has ended, or nothing runs in it any more."""
        async with over(sandbox, guest):
            self._note_end(sandbox, guest)
            async with sandbox.lock:
                if sandbox in self.registry and sandbox.state is State.STOPPED:
                    # What runs it may be away. Its main process has ended in any case.
                    with suppress(SandboxError, OSError):
                        await self._end_processes(sandbox)

    def _note_end(self, sandbox: Sandbox, guest: Guest) -> None:
        """Take note that the main process of a sandbox has ended, or its agent."""
        code = guest.main_exit.result() if guest.main_exit.done() else KILLED
        if sandbox.main_process_ended(code):
            sandbox.end("exited" if guest.failure is None else "lost")
            if guest.failure is not None:
                self._log("guest agent failed", sandbox=sandbox.id, error=str(guest.failure))
            self._tell_later(sandbox)

    async def _end_processes(self, sandbox: Sandbox) -> None:
        """End every process of a sandbox, whose lock is held, and keep what it holds."""
        await end_guest(sandbox)
        # First, so that the next orchestrator does not take it for one that has ended by itself.
        await self._note(sandbox, rows.log(sandbox))
        await sandbox.runtime.halt(sandbox.id)


async def unless_ended(sandbox: Sandbox, work: Coroutine[Any, Any, None]) -> None:
    """Do what needs the guest agent of a sandbox; give it up if nothing runs in the sandbox any more."""
    ended = asyncio.create_task(sandbox.runtime.wait(sandbox.id))
    try:
        if not await done_before(work, ended):
            raise InternalServerError("the sandbox ended while it was being started")
    finally:
        ended.cancel()
        await completed(asyncio.wait({ended}))
