"""What a runtime is: the one small interface between the service core and what runs sandboxes.

It takes and returns plain models, and holds no request, client or event loop of its caller, so that it
can cross a process boundary. Failures are the errors of `flash_sandbox.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from ...models import GetLogsResult, SnapshotInfo, SnapshotResult, StartRequest
from ..guest.programs import Control, Ended, Happening, Kill, Printed, Program, Resize, Signal
from ..sandboxing.limits import Usage

__all__ = [
    "LOG_BYTES",
    "Adopted",
    "Availability",
    "Control",
    "Ended",
    "Happening",
    "Kill",
    "Printed",
    "Program",
    "Register",
    "Resize",
    "Runtime",
    "Signal",
    "Started",
    "unwritten",
]


LOG_BYTES: Final = 64 * 1024
"""What is kept at least of the output of a main process: the last of it."""


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
        state: Whether its processes run, are frozen, or were ended by `Runtime.halt`.
        image: The image that it really runs.
        idempotency_key: Key that its start carried; empty for none.
        created_at: When it was started, in seconds of Unix time; 0 where that is not known.
        expires_at: When it expires, as `Runtime.keep` was told it; 0 where it was not.
    """

    id: str
    request: StartRequest
    state: Literal["running", "paused", "stopped"]
    image: str = ""
    idempotency_key: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0


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
        created_at: float = 0.0,
    ) -> Started:
        """Start a sandbox and return once its main process runs.

        Leaves nothing behind where that fails or is cancelled. `on_exit` is called once, with the exit
        status, when the main process ends by itself; never after `halt` or `stop`. `idempotency_key` and
        `created_at` (seconds of Unix time) are for the next orchestrator, where sandboxes outlive this one.
        """

    def run(
        self,
        sandbox_id: str,
        program: Program,
        stdin: AsyncIterator[bytes] | None,
        controls: AsyncIterator[Control],
    ) -> AsyncGenerator[Happening]:
        """Run a program, confined as the main process is, and tell what it prints, at last how it ended.

        No more is read of what it prints than is asked for: a program that nobody listens to is held up. It
        has ended when its first process has; a process that it left behind with its output open is not
        waited for. Cancelling, or closing the iterator, ends all of its processes.

        Args:
            sandbox_id: Where to run it.
            program: What to run.
            stdin: Its input, to its end; None for none.
            controls: What is done to it meanwhile.
        """

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        """Read what the sandbox uses now from the kernel.

        `sampled` for what is asked for all the time, and so must cost next to nothing: no program is run to
        count, what only one tells is what it told last.
        """

    async def pause(self, sandbox_id: str) -> None:
        """Freeze every process of the sandbox."""

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on."""

    async def snapshot(self, sandbox_id: str, start: StartRequest) -> SnapshotResult:
        """Write what the paused sandbox holds to the store, and what its start asked for."""

    async def origin(self, snapshot_path: str) -> StartRequest:
        """Return what a start from a snapshot asks for where it says nothing.

        Raises InvalidArgumentError where there is no such snapshot.
        """

    async def list_snapshots(self) -> Sequence[SnapshotInfo]:
        """Tell what is known of each snapshot that this runtime has made, in any order."""

    async def remove_snapshot(self, path: str) -> bool:
        """Remove a snapshot; tell whether it was one that this runtime has made.

        What was started from it goes on, and so does what is being started from it.
        """

    async def logs(self, sandbox_id: str) -> GetLogsResult:
        """Tell the last of what the main process has printed, also once that has ended."""

    async def oom_kills(self, sandbox_id: str) -> int:
        """Tell how often the kernel has ended a process of it for want of memory, as far as is known."""

    async def keep(self, sandbox_id: str, expires_at: float) -> None:
        """Write down for the next orchestrator, where sandboxes outlive this one, when the sandbox expires.

        `expires_at` is in seconds of Unix time. Ending it then is not this runtime's affair.
        """

    async def halt(self, sandbox_id: str) -> None:
        """End every process of the sandbox, be it paused or not, and keep what it holds. `stop` follows."""

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""


def unwritten(name: str, **fields: object) -> None:
    """Write nothing: the log of a runtime that was given none."""
