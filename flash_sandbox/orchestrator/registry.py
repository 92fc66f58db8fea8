"""Which sandboxes there are, and what the orchestrator knows of each."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ..errors import ConflictError, SandboxNotFoundError
from ..models import ExecResult, StartRequest
from .runtimes.base import Runtime

__all__ = ["Registry", "Sandbox", "State"]


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
    """What is known of one sandbox.

    Attributes:
        id: Its ID: 20 hexadecimal digits, 80 random bits.
        runtime: What runs it.
        request: What was asked for.
        idempotency_key: Key that its start carried; empty for none.
        state: Where it is in its life.
        image: The image that it really runs; empty until it has been started.
        exit_code: Exit status of its main process, once that has ended by itself.
        lock: Held while its state is being changed.
        execs: Commands that run in it now.
    """

    runtime: Runtime
    request: StartRequest
    idempotency_key: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(10))
    state: State = State.CREATING
    image: str = ""
    exit_code: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    execs: set[asyncio.Task[ExecResult]] = field(default_factory=set)

    def require(self, *states: State) -> None:
        """Raise ConflictError, which names the state, unless the sandbox is in one of `states`."""
        if self.state not in states:
            wanted = " or ".join(states)
            raise ConflictError(f"sandbox {self.id} is {self.state}; this needs a sandbox that is {wanted}")

    def main_process_ended(self, exit_code: int) -> None:
        """Note that the main process ended by itself, with `exit_code`."""
        self.exit_code = exit_code
        if self.state in (State.RUNNING, State.PAUSED):
            self.state = State.STOPPED


class Registry:
    """The sandboxes by ID and by the idempotency key of their start."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Sandbox] = {}
        self._by_key: dict[str, Sandbox] = {}

    def __iter__(self) -> Iterator[Sandbox]:
        return iter(tuple(self._sandboxes.values()))

    def __len__(self) -> int:
        return len(self._sandboxes)

    def __contains__(self, sandbox: Sandbox) -> bool:
        return sandbox.id in self._sandboxes

    def add(self, sandbox: Sandbox) -> None:
        """Register a sandbox, under its idempotency key, too, where it has one."""
        self._sandboxes[sandbox.id] = sandbox
        if sandbox.idempotency_key:
            self._by_key[sandbox.idempotency_key] = sandbox

    def get(self, sandbox_id: str) -> Sandbox:
        """Return a sandbox by its ID; raise SandboxNotFoundError where there is none."""
        try:
            return self._sandboxes[sandbox_id]
        except KeyError:
            raise SandboxNotFoundError(f"there is no sandbox {sandbox_id}") from None

    def with_key(self, idempotency_key: str) -> Sandbox | None:
        """Return the sandbox whose start carried `idempotency_key`, if there is one."""
        return self._by_key.get(idempotency_key) if idempotency_key else None

    def remove(self, sandbox: Sandbox) -> None:
        """Forget a sandbox and its idempotency key."""
        self._sandboxes.pop(sandbox.id, None)
        self.forget_key(sandbox)

    def forget_key(self, sandbox: Sandbox) -> None:
        """Forget the idempotency key of a sandbox, so that a later start with it begins anew."""
        if self._by_key.get(sandbox.idempotency_key) is sandbox:
            del self._by_key[sandbox.idempotency_key]
