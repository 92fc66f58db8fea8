"""Which sandboxes there are, and what the orchestrator knows of each."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final, Literal, Self, cast

from ...errors import AlreadyExistsError, SandboxNotFoundError, UnavailableError, WrongStateError
from ...models import (
    EndCause,
    EventType,
    GetLogsResult,
    SandboxInfo,
    SandboxStatus,
    SandboxType,
    StartRequest,
)
from ..guest.guest import KILLED, Guest
from ..guest.ports import PortConnection
from ..network.gate import Gate
from ..runtimes.base import Created, Runtime
from ..snapshots.manifest import Manifest
from ..state.database import Statement
from . import rows
from .events import EventLog
from .history import History
from .lifetime import Lifetime
from .processes import Processes
from .rows import Row

__all__ = ["Registry", "Sandbox", "State"]

# What a main process ended with, where a signal ended it, less the number of the signal.
_SIGNALLED: Final = 128
_SIGNALS: Final = frozenset(signal.Signals)


class State(StrEnum):
    """Where a sandbox is in its life: ``creating`` → ``running`` ⇄ ``paused`` → ``stopped``.

    ``stopped`` is a sandbox whose main process has ended, ``error`` one that its runtime could not bring
    into a known state: it can only be stopped.
    """

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"


@dataclass(slots=True, eq=False)
class Sandbox:
    """What is known of one sandbox; a context manager for the length of a call that uses it.

    Attributes:
        id: Its ID: 20 hexadecimal digits, 80 random bits.
        runtime: What runs it.
        request: What was asked for.
        idempotency_key: Key that its start carried; empty for none.
        state: Where it is in its life.
        created: What its runtime has returned; None until then.
        exit_code: Exit status of its main process, once that has ended by itself.
        cause: Why it has ended; empty until then.
        ended_at: When it has ended, in seconds of Unix time; 0 until then.
        lock: Held while its state is being changed.
        processes: What `exec_stream` and `start_process` began in it.
        agent: Its guest agent, once that runs.
        gate: Its way out, once it has had one.
        watcher: Waits for its end.
        kept_log: The last output of its main process, as an orchestrator before recorded it.
        created_at: When it was started, in seconds of Unix time.
        life: When it expires, and when it was used.
        events: Where what happens to it is told.
        oom_kills: How often the kernel is known to have ended a process of it for want of memory.
        telling: Tells of the end of its main process, while that takes.
        cpu_reading: When its CPU time was last asked for, in seconds of `time.monotonic`, and what it was.
        history: What it has used.
        connections: What is connected to its ports, by ID.
        listening: The ports that were listened on when somebody looked last.
        warm_image: What its image was, if it was made before anybody asked for it.
        snapshot: The snapshot that it is started from; None for none.
    """

    runtime: Runtime
    request: StartRequest
    events: EventLog
    idempotency_key: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(10))
    state: State = State.CREATING
    created: Created | None = None
    exit_code: int | None = None
    cause: EndCause | Literal[""] = ""
    ended_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    processes: Processes = field(default_factory=Processes)
    agent: Guest | None = None
    gate: Gate | None = None
    watcher: asyncio.Task[None] | None = None
    kept_log: GetLogsResult = field(default_factory=GetLogsResult)
    created_at: float = field(default_factory=time.time)
    life: Lifetime = field(default_factory=Lifetime)
    oom_kills: int = 0
    telling: asyncio.Task[None] | None = None
    cpu_reading: tuple[float, float] | None = None
    history: History = field(default_factory=History)
    connections: dict[str, PortConnection] = field(default_factory=dict)
    listening: set[int] = field(default_factory=set)
    warm_image: str = ""
    snapshot: Manifest | None = None

    def __enter__(self) -> Self:
        self.life.calls += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.life.calls -= 1
        self.life.use()

    @property
    def log(self) -> GetLogsResult:
        """The last output of its main process."""
        return self.agent.logs() if self.agent is not None and self.agent.has_main else self.kept_log

    @property
    def guest(self) -> Guest:
        """Its guest agent; raise WrongStateError if it has none any more."""
        if self.agent is None:
            raise WrongStateError(f"sandbox {self.id} has no guest agent")
        return self.agent

    def require(self, *states: State) -> None:
        """Raise WrongStateError, which names the state and its cause, unless it is one of `states`."""
        if self.state not in states:
            wanted, how = " or ".join(states), self._how_it_ended()
            raise WrongStateError(
                f"sandbox {self.id} is {self.state}{how}; this needs a sandbox that is {wanted}"
            )

    def _how_it_ended(self) -> str:
        """Return how the main process has ended, in words; nothing where it has not ended by itself."""
        if self.exit_code is None:
            return ""
        number = self.exit_code - _SIGNALLED
        by = f" ({signal.Signals(number).name})" if number in _SIGNALS else ""
        memory = ", and processes had been ended for want of memory" if self.oom_kills else ""
        return f": its main process ended with exit status {self.exit_code}{by}{memory}"

    @property
    def has_ended(self) -> bool:
        """Tell whether nothing runs in it any more."""
        return self.state in (State.STOPPED, State.ERROR)

    @property
    def place(self) -> tuple[float, str]:
        """Return its place among all sandboxes, the oldest first."""
        return (self.created_at, self.id)

    def tell(self, type: EventType, detail: str = "", *more: Statement) -> asyncio.Future[bool]:
        """Tell those who watch that something has happened to it, and note its state.

        Args:
            type: What has happened.
            detail: More about it.
            more: What is noted instead of its state.

        Returns:
            What `Database.note` does.
        """
        return self.events.add(type, self.id, detail, *(more or [rows.changed(self)]))

    def tell_refused(self, what: str) -> None:
        """Tell that it may not be connected to something."""
        if not self.has_ended:
            self.tell("network_refused", what)

    @property
    def status(self) -> SandboxStatus:
        """What clients call its state."""
        return self.state.value

    async def told(self, type: EventType, detail: str = "", *more: Statement) -> None:
        """Do what `tell` does; return once it may be acknowledged."""
        told = self.tell(type, detail, *more)
        if self.runtime.capabilities.outlives:
            await told

    def info(self) -> SandboxInfo:
        """Return what is known of it."""
        request = self.request
        return SandboxInfo(
            id=self.id,
            name=request.name,
            status=self.status,
            type=cast(SandboxType, self.runtime.name),
            image=self.created.image if self.created is not None else request.image,
            command=request.command,
            labels=request.labels,
            memory_mb=request.memory_mb,
            cpu_cores=request.cpu_cores,
            network=request.network,
            network_allow=request.network_allow,
            network_deny=request.network_deny,
            created_at=self.created_at,
            expires_at=self.life.expires_at,
            exit_code=self.exit_code or 0,
            pids=request.pids,
            shm_mb=request.shm_mb,
            disk_mb=request.disk_mb,
            env=request.env,
            user=request.user,
            image_command=request.image_command,
            idle_timeout=request.idle_timeout,
            on_idle=request.on_idle or ("stop" if request.idle_timeout else ""),
            auto_resume=request.auto_resume,
            volumes=request.volumes,
            ended_at=self.ended_at,
            end_cause=self.end_cause,
        )

    def end(self, cause: EndCause) -> None:
        """Note why it has ended, unless something else has ended it before."""
        self.cause = self.cause or cause
        self.ended_at = self.ended_at or time.time()

    @property
    def end_cause(self) -> EndCause | Literal[""]:
        """Why it has ended; empty for one that has not."""
        # What the kernel has ended for want of memory was no less killed by it where the agent was it.
        if self.cause in ("exited", "lost") and self.oom_kills and self.exit_code == KILLED:
            return "out_of_memory"
        return self.cause

    def main_process_ended(self, exit_code: int) -> bool:
        """Note that the main process ended by itself, with `exit_code`; tell whether that has stopped it."""
        self.exit_code = exit_code
        if self.state not in (State.RUNNING, State.PAUSED):
            return False
        self.state = State.STOPPED
        return True


class Registry:
    """The sandboxes by ID, by age, by name and by the idempotency key of their start.

    Attributes:
        unreachable: By ID those of an orchestrator before that no runtime has found yet, nor said to be gone.
    """

    def __init__(self) -> None:
        self.unreachable: dict[str, Row] = {}
        self._sandboxes: dict[str, Sandbox] = {}
        self._places: list[tuple[float, str]] = []
        self._by_name: dict[str, Sandbox] = {}
        self._by_key: dict[str, Sandbox] = {}

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(tuple(self._sandboxes.values()))

    def __len__(self) -> int:
        return len(self._sandboxes)

    def __contains__(self, sandbox: Sandbox) -> bool:
        return sandbox.id in self._sandboxes

    def add(self, sandbox: Sandbox) -> None:
        """Register a sandbox, under its name and its idempotency key, too, where it has them."""
        self._sandboxes[sandbox.id] = sandbox
        insort(self._places, sandbox.place)
        if sandbox.request.name:
            self._by_name.setdefault(sandbox.request.name, sandbox)
        if sandbox.idempotency_key:
            self._by_key[sandbox.idempotency_key] = sandbox

    def get(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox by its ID.

        Raises:
            SandboxNotFoundError: There is none.
            UnavailableError: What runs it cannot be reached.
        """
        if sandbox_id in self.unreachable:
            raise _unreachable(sandbox_id)
        try:
            return self._sandboxes[sandbox_id]
        except KeyError:
            raise SandboxNotFoundError(f"there is no sandbox {sandbox_id}") from None

    def find(self, sandbox_id: str) -> Sandbox | None:
        """Return a sandbox by its ID; None where there is none."""
        return self._sandboxes.get(sandbox_id)

    def after(self, place: tuple[float, str]) -> Iterator[Sandbox]:
        """Yield the sandboxes that come after a place, the oldest first, none of which may go meanwhile."""
        for index in range(bisect_right(self._places, place), len(self._places)):
            yield self._sandboxes[self._places[index][1]]

    def require_free(self, name: str) -> None:
        """Raise AlreadyExistsError where a sandbox that is there has that name."""
        for row in self.unreachable.values():
            if name and row.request.name == name:
                raise AlreadyExistsError(f"sandbox {row.id} is named {name!r}")
        other = self._by_name.get(name)
        if other is not None:
            raise AlreadyExistsError(f"sandbox {other.id} is named {name!r}")

    def with_key(self, idempotency_key: str) -> Sandbox | None:
        """Return the sandbox whose start carried `idempotency_key`, if there is one.

        Raises:
            UnavailableError: What runs it cannot be reached.
        """
        if not idempotency_key:
            return None
        for row in self.unreachable.values():
            if row.idempotency_key == idempotency_key:
                raise _unreachable(row.id)
        return self._by_key.get(idempotency_key)

    def remove(self, sandbox: Sandbox) -> None:
        """Forget a sandbox, its name and its idempotency key."""
        if self._sandboxes.pop(sandbox.id, None) is not None:
            del self._places[bisect_left(self._places, sandbox.place)]
        if self._by_name.get(sandbox.request.name) is sandbox:
            del self._by_name[sandbox.request.name]
        self.forget_key(sandbox)

    def forget_key(self, sandbox: Sandbox) -> None:
        """Forget the idempotency key of a sandbox, so that a later start with it begins anew."""
        if self._by_key.get(sandbox.idempotency_key) is sandbox:
            del self._by_key[sandbox.idempotency_key]


def _unreachable(sandbox_id: str) -> UnavailableError:
    return UnavailableError(f"sandbox {sandbox_id} outlived the orchestrator before; what runs it is away")
