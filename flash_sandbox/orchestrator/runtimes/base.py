"""What a runtime is: the one small interface between the service core and what runs sandboxes.

It takes and returns plain models, and holds no request, client or event loop of its caller, so that it
can cross a process boundary. Failures are the errors of `flash_sandbox.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...models import ExecResult, MetricsResult, SnapshotInfo, SnapshotResult, StartRequest

__all__ = ["Adopted", "Availability", "Register", "Runtime", "Started"]


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether this host has a runtime.

    Attributes:
        name: Name of the runtime: the `type` of a start.
        available: Whether sandboxes can be started.
        detail: What was found (its version), or what is missing.
        remedy: The one thing to do where it is missing; empty where it is not.
        warnings: What works, but less well than it could.
    """

    name: str
    available: bool
    detail: str
    remedy: str = ""
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Started:
    """A sandbox that has been started.

    Attributes:
        image: The image that it really runs, with defaults filled in.
    """

    image: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """A sandbox that outlived the orchestrator that started it.

    Attributes:
        id: Its ID.
        request: What its start asked for.
        state: Whether its processes run or are frozen.
        image: The image that it really runs.
        idempotency_key: Key that its start carried; empty for none.
    """

    id: str
    request: StartRequest
    state: Literal["running", "paused"]
    image: str = ""
    idempotency_key: str = ""


Register = Callable[[Adopted], Callable[[int], None]]
"""Makes an adopted sandbox known, and returns its `on_exit`, as `Runtime.start` takes it."""


class Runtime(Protocol):
    """Runs sandboxes of one type. Every method may be called for many sandboxes at once."""

    name: str

    async def check(self) -> Availability:
        """Tell whether this host can run such sandboxes, and what to do where it cannot."""

    async def open(self) -> None:
        """Make ready. Called once, first.

        What an orchestrator that was killed left behind is removed, unless `adopt` can go on with it. Does
        not fail where the host lacks the runtime: `start` does.
        """

    async def adopt(self, register: Register) -> None:
        """Register each sandbox that outlived its orchestrator and is alive. Called once, after `open`.

        A runtime whose engine cannot be reached may do it later. What cannot be gone on with is removed.
        Does not fail.
        """

    async def close(self) -> None:
        """End what is still there and release everything. Called once, last."""

    async def start(
        self,
        sandbox_id: str,
        request: StartRequest,
        on_exit: Callable[[int], None],
        *,
        idempotency_key: str = "",
    ) -> Started:
        """Start a sandbox and return once its main process runs.

        Leaves nothing behind where that fails or is cancelled. `on_exit` is called once, with the exit
        status, when the main process ends by itself; never after `stop`. `idempotency_key` is for the next
        orchestrator, where sandboxes outlive this one.
        """

    async def exec(self, sandbox_id: str, command: tuple[str, ...]) -> ExecResult:
        """Run a command, confined as the main process is. Cancelling ends all of its processes."""

    async def metrics(self, sandbox_id: str) -> MetricsResult:
        """Read what the sandbox uses now from the kernel."""

    async def pause(self, sandbox_id: str) -> None:
        """Freeze every process of the sandbox."""

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on."""

    async def snapshot(self, sandbox_id: str) -> SnapshotResult:
        """Write what the paused sandbox holds to the store."""

    async def list_snapshots(self) -> Sequence[SnapshotInfo]:
        """Tell what is known of each snapshot that this runtime has made, in any order."""

    async def remove_snapshot(self, path: str) -> bool:
        """Remove a snapshot; tell whether it was one that this runtime has made.

        What was started from it goes on, and so does what is being started from it.
        """

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""
