"""What a runtime is: the one small interface between the service core and what runs sandboxes.

It takes and returns plain models, and holds no request, client or event loop of its caller, so that it
can cross a process boundary. Failures are the errors of `flash_sandbox.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...models import StartRequest
from ..guest.guest import Defaults
from ..guest.streams import AgentStream
from ..linux.limits import Usage
from ..snapshots.manifest import Manifest
from .capabilities import Capabilities

__all__ = ["Adoption", "Availability", "Created", "Kept", "Missing", "Runtime", "unwritten"]


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


class Missing(Exception):
    """The host lacks what a runtime needs.

    Args:
        detail: What is missing.
        remedy: The one thing to do.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Created:
    """A sandbox that has been created, in which nothing runs but its guest agent.

    Attributes:
        image: The image that it really runs, with defaults filled in.
        defaults: What its programs have unless a call says otherwise.
        command: The main process to start; empty if it idles, or goes on with what a snapshot holds.
        reconnects: Whether `Runtime.stream` can give another stream when one has broken.
        details: What the runtime needs to go on with it after a restart, by names of its own.
    """

    image: str
    defaults: Defaults
    command: tuple[str, ...] = ()
    reconnects: bool = False
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A sandbox that an orchestrator before has started.

    Attributes:
        id: Its ID.
        request: What its start asked for.
        created: What `Runtime.create` returned.
        halted: Whether its processes were ended, or were about to be, and it is kept to be looked at.
    """

    id: str
    request: StartRequest
    created: Created
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Adoption:
    """The sandboxes that outlived their orchestrator.

    Attributes:
        states: Those that were found by this call, by ID: whether their processes run, are frozen, or have
            ended and were halted before.
        complete: Whether that is all: False if what runs them cannot be reached now.
    """

    states: Mapping[str, Literal["running", "paused", "stopped"]] = field(default_factory=dict)
    complete: bool = True


class Runtime(Protocol):
    """Runs sandboxes of one type. Every method may be called for many sandboxes at once."""

    name: str
    capabilities: Capabilities
    default_image: str

    async def check(self) -> Availability:
        """Tell whether this host can run such sandboxes, and what to do where it cannot."""

    async def open(self, kept: Sequence[Kept] = ()) -> None:
        """Make ready. Called once, first.

        What an orchestrator before left behind is removed, but not `kept`: those are for `adopt`. Does not
        fail where the host lacks the runtime: `start` does.
        """

    async def adopt(self) -> Adoption:
        """Find the kept sandboxes that are still there; remove those that cannot be gone on with.

        Called after `open`, again and again until the answer is complete. Does not fail.
        """

    async def close(self, *, end_sandboxes: bool = True) -> None:
        """Release everything. Called once, last.

        Without `end_sandboxes`, those that outlive an orchestrator go on.
        """

    async def create(
        self, sandbox_id: str, request: StartRequest, snapshot: Manifest | None = None
    ) -> Created:
        """Create a sandbox, of a snapshot that it has made or anew, and return once its guest agent runs.

        Leaves nothing behind if that fails or is cancelled. The snapshot stays for as long.
        """

    async def image_identity(self, image: str) -> str:
        """Return what the name of an image means now: something else once it means another image."""

    async def stream(self, sandbox_id: str) -> AgentStream:
        """Return a stream to the guest agent of a sandbox, in place of the one before, if there was one."""

    async def wait(self, sandbox_id: str) -> None:
        """Wait until nothing runs in a sandbox any more, its guest agent included."""

    async def usage(self, sandbox_id: str, *, sampled: bool = False) -> Usage:
        """Read what the sandbox uses now from the kernel.

        `sampled` for what is asked for all the time, and so must cost next to nothing: no program is run to
        count, what only one tells is what it told last.
        """

    async def pause(self, sandbox_id: str) -> None:
        """Freeze every process of the sandbox."""

    async def resume(self, sandbox_id: str) -> None:
        """Let every process of the sandbox run on."""

    async def snapshot(self, sandbox_id: str, start: StartRequest, *, for_forks: bool = False) -> Manifest:
        """Write what the paused sandbox holds to the store, and what its start asked for.

        Leaves nothing behind if that fails or is cancelled. A snapshot `for_forks` goes as soon as they have
        started: only this process need be able to start from it.
        """

    async def forget_snapshot(self, snapshot: Manifest) -> None:
        """Remove what is kept of a snapshot outside of the store, which nobody uses any more."""

    def exporting(self, snapshot: Manifest) -> AbstractAsyncContextManager[Manifest]:
        """Give a snapshot with all that another orchestrator needs in files, for the length of the block."""

    async def import_snapshot(self, snapshot: Manifest) -> Manifest:
        """Take over what `exporting` gave another orchestrator, and return what the snapshot is here.

        Its files have the digests that it tells, and are a stranger's all the same. Where this fails, nothing
        of it is kept outside of the store.

        Raises:
            InvalidArgumentError: No sandbox can be started from that.
        """

    async def suspend(self, sandbox_id: str) -> None:
        """Write what a paused sandbox has in memory to the disk, where it stays until `resume`."""

    async def oom_kills(self, sandbox_id: str) -> int:
        """Tell how often the kernel has ended a process of it for want of memory, as far as is known."""

    async def halt(self, sandbox_id: str) -> None:
        """End every process of the sandbox, be it paused or not, and keep what it holds. `stop` follows."""

    async def stop(self, sandbox_id: str) -> None:
        """End every process of the sandbox and remove all that it held, in whatever state it is."""


def unwritten(name: str, **fields: object) -> None:
    """Write nothing: the log of a runtime that was given none."""
