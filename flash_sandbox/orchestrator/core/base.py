"""What every part of the service core works with: the sandboxes, their locks, their ends."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, TypeVar

from ...errors import SandboxError, SandboxNotFoundError, UnavailableError
from ...models import EndCause
from ...models.network import Network
from ..cancellation import completed
from ..guest.guest import Guest
from ..network.egress import INTERNET
from ..network.gate import ENVIRONMENT
from ..network.judge import Operator
from ..network.names import Names
from ..runtimes.base import unwritten
from ..snapshots.store import Snapshots
from ..state.database import Database, Statement
from . import rows
from .admission import Admission
from .ended import EndedSandboxes
from .events import EventLog
from .processes import Process
from .sandboxes import Registry, Sandbox, State
from .secrets import keep_secrets

__all__ = [
    "ServiceCore",
    "disk_errors",
    "end_guest",
    "freeze",
    "open_gate",
    "open_guest",
    "over",
    "pause",
    "retrieve",
    "settle",
    "thaw",
]

_Result = TypeVar("_Result")

# Ending a sandbox is mostly waiting for the kernel; more at once only makes each of them slower.
_ENDS_AT_ONCE: Final = 16


class ServiceCore:
    """The sandboxes that there are; what the operations of `SandboxService` have in common.

    Args:
        snapshots: The snapshots that there are.
        admission: What the operator lets every start have.
        database: What outlives this orchestrator.
        keep_ended: Seconds for which is told of a sandbox that has ended.
        log: Writes a line of the log: a name, and fields by name.
        operator: What the operator says of networks; None for the public Internet alone.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        admission: Admission,
        database: Database,
        keep_ended: float,
        log: Callable[..., None] = unwritten,
        operator: Operator | None = None,
    ) -> None:
        self.registry = Registry()
        self.snapshots = snapshots
        self.database = database
        self.events = EventLog(database)
        self.ended = EndedSandboxes(database, keep_ended)
        self._admission = admission
        self._log = log
        self._operator = operator or Operator(INTERNET, Names({}))
        self._background: set[asyncio.Task[Any]] = set()
        self._room_for_ends = asyncio.Semaphore(_ENDS_AT_ONCE)

    @asynccontextmanager
    async def _locked(self, sandbox_id: str) -> AsyncIterator[Sandbox]:
        sandbox = self.registry.get(sandbox_id)
        async with sandbox.lock:
            # It may have been stopped while this waited.
            yield self.registry.get(sandbox_id)

    async def _running(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox, to be used; raise WrongStateError unless it runs."""
        sandbox = await self._awake(sandbox_id)
        sandbox.require(State.RUNNING)
        return sandbox

    async def _awake(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox, to be used; resume it first where its start has asked for that."""
        sandbox = self.registry.get(sandbox_id)
        if sandbox.state is State.PAUSED and sandbox.request.auto_resume:
            await self._complete(self._wake(sandbox_id))
        return sandbox

    async def _wake(self, sandbox_id: str) -> None:
        async with self._locked(sandbox_id) as sandbox:
            if sandbox.state is State.PAUSED:
                await thaw(sandbox, "a call uses it")

    async def _stop(self, sandbox: Sandbox, cause: EndCause = "stopped") -> None:
        async with sandbox.lock:
            if sandbox not in self.registry:
                raise SandboxNotFoundError(f"there is no sandbox {sandbox.id}")
            await self._end(sandbox, cause)

    async def _end(self, sandbox: Sandbox, cause: EndCause) -> None:
        """End and remove a sandbox, whose lock is held, and tell of it."""
        failed_before = sandbox.state is State.ERROR
        sandbox.state = State.STOPPED
        if sandbox.watcher is not None:
            sandbox.watcher.cancel()
        if sandbox.telling is not None:
            await settle({sandbox.telling})
        await self._note(sandbox, rows.removing(sandbox.id))
        await end_guest(sandbox)
        try:
            await sandbox.runtime.stop(sandbox.id)
        except BaseException as error:
            # Still known, so that it can be stopped again.
            sandbox.state = State.ERROR
            if not failed_before:
                sandbox.tell("failed", f"it could not be stopped: {error}")
            raise
        self.registry.remove(sandbox)
        sandbox.end(cause)
        if cause in ("expired", "idle"):
            sandbox.tell(cause)
        written = sandbox.tell("removed", "", rows.ended(sandbox))
        self.ended.add(sandbox, written)
        if sandbox.runtime.capabilities.outlives:
            await written

    async def _note(self, sandbox: Sandbox, *statements: Statement) -> None:
        """Note what the next orchestrator must know of a sandbox, if it can outlive this one."""
        if sandbox.runtime.capabilities.outlives:
            await self.database.note(*statements)

    async def _complete(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` to its end, also where the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(retrieve)
        return await asyncio.shield(task)


async def end_guest(sandbox: Sandbox) -> None:
    """Give up the guest agent of a sandbox that has ended, with whatever waits for it."""
    if sandbox.gate is not None:
        await sandbox.gate.close()
    if sandbox.agent is not None:
        await sandbox.agent.close()
        await sandbox.processes.settled()


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise UnavailableError where the orchestrator's disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnavailableError(f"the orchestrator's disk is full: {error.strerror}") from error


async def open_guest(sandbox: Sandbox) -> None:
    """Connect to the guest agent of a sandbox, and go on with the processes that it knows."""
    for adopted in await sandbox.guest.open():
        process = await Process.adopted(sandbox.guest, adopted)
        if process is not None:
            sandbox.processes.add(process)
    await open_gate(sandbox)


async def open_gate(sandbox: Sandbox) -> None:
    """Have the gate of a sandbox, whose agent is connected, hold to what its start asks for."""
    request, gate = sandbox.request, sandbox.gate
    assert gate is not None
    if request.network == "policy":
        channel = sandbox.guest.channel
        await gate.open(channel, Network(request.network_allow, request.network_deny))
        found = await keep_secrets(request.secrets, sandbox.id, channel, gate)
        sandbox.guest.environment = {**ENVIRONMENT, **found}
    else:
        await gate.close()
        sandbox.guest.environment = {}


@asynccontextmanager
async def over(sandbox: Sandbox, guest: Guest) -> AsyncIterator[None]:
    """Do the block as soon as the main process of a sandbox has ended, or nothing runs in it any more.

    Nothing is given up before the block: whose command has failed with the agent may ask for the state next.
    """
    end: asyncio.Future[Any] = asyncio.create_task(sandbox.runtime.wait(sandbox.id))
    try:
        await asyncio.wait({end, guest.main_exit}, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            # What its runtime does not know any more is over, too.
            with suppress(SandboxError):
                end.result()
        yield
    finally:
        end.cancel()
        await completed(asyncio.gather(end, return_exceptions=True))


async def freeze(sandbox: Sandbox, why: str = "") -> None:
    """Freeze what runs in a running sandbox, whose lock is held, and tell of it."""
    if sandbox.runtime.capabilities.snapshots_agent:
        # A snapshot must not hold anything that is on its way to the agent: every copy would read it.
        await sandbox.guest.hold()
    try:
        await sandbox.runtime.pause(sandbox.id)
    except BaseException:
        if sandbox.guest.is_held:
            await completed(open_guest(sandbox))
        raise
    # Its main process may have ended meanwhile.
    sandbox.require(State.RUNNING)
    sandbox.guest.channel.is_frozen = True
    sandbox.state = State.PAUSED
    # The next orchestrator cannot ask a frozen agent for the log.
    await sandbox.told("paused", why, rows.log(sandbox))


async def pause(sandbox: Sandbox, why: str = "") -> None:
    """Freeze what runs in a running sandbox, whose lock is held; where that fails, it runs on."""
    try:
        await freeze(sandbox, why)
    except BaseException:
        if sandbox.state is State.RUNNING:
            await sandbox.runtime.resume(sandbox.id)
        raise


async def thaw(sandbox: Sandbox, why: str = "") -> None:
    """Let what was frozen in a sandbox, whose lock is held, run on, and tell of it."""
    await sandbox.runtime.resume(sandbox.id)
    sandbox.guest.channel.is_frozen = False
    if sandbox.guest.is_held:
        await open_guest(sandbox)
    if sandbox.state is State.PAUSED:
        sandbox.state = State.RUNNING
        sandbox.life.use()
        sandbox.life.look_again()
        await sandbox.told("running", why)


async def settle(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until `tasks` have ended, however they do."""
    if tasks:
        await asyncio.wait(tuple(tasks))


def retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of the error of a task whose caller may have gone away: asyncio complains otherwise."""
    if not task.cancelled():
        task.exception()
