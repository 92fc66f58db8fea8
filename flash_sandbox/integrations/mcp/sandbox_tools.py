"""Tools that start, find, copy and stop sandboxes."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from ...clients.aio.api import AsyncSandboxAPI
from ...clients.aio.sandbox import AsyncSandbox
from ...models import SandboxInfo, SnapshotInfo, StartType
from .arguments import Count, SandboxId
from .output import reporting
from .session import PATIENCE_SECONDS, SessionOf

__all__ = ["IDLE_SECONDS", "SandboxTools"]

IDLE_SECONDS: Final = 1800.0
"""After this much idleness an MCP session over HTTP ends, and so do sandboxes where there is no session."""

_MOST_LISTED: Final = 100

Keep = Annotated[
    bool,
    Field(description="Whether it outlives this MCP session. Otherwise it is stopped when the session ends."),
]


class SandboxView(BaseModel):
    """What is known of a sandbox."""

    id: str
    name: str = Field(description="Its name; empty for none.")
    status: str = Field(description="creating, running, paused, stopped, error or ended")
    type: str = Field(description="Runtime that runs it.")
    image: str
    memory_mb: int
    cpu_cores: float
    expires_in_seconds: int | None = Field(description="Seconds until it is removed; None for never.")

    @classmethod
    def of(cls, info: SandboxInfo) -> SandboxView:
        """Return what is shown of it."""
        shown = {name: getattr(info, name) for name in cls.model_fields.keys() - {"expires_in_seconds"}}
        left = math.ceil(max(0.0, info.expires_at - time.time())) if info.expires_at else None
        return cls(**shown, expires_in_seconds=left)


class SandboxList(BaseModel):
    """Sandboxes, the oldest first."""

    sandboxes: list[SandboxView]
    left_out: int = Field(description="How many more there are.")


class SnapshotView(BaseModel):
    """A snapshot, which create_sandbox starts from."""

    snapshot_path: str = Field(description="What create_sandbox takes as `snapshot`.")
    type: str
    image: str
    size_bytes: int


class SandboxTools:
    """The tools.

    Args:
        client: Performs the calls.
        session_of: Returns the session of a call, which its sandboxes end with.
    """

    def __init__(self, client: AsyncSandboxAPI, session_of: SessionOf) -> None:
        self._client = client
        self._session_of = session_of

    async def create_sandbox(
        self,
        context: Context[Any, Any],
        image: Annotated[
            str | None,
            Field(
                description="Image, such as python:3.12 or debian:12; host is this machine's own system, "
                "read-only. Default: the runtime's."
            ),
        ] = None,
        type: Annotated[
            StartType | None, Field(description="Runtime. Default: the best one that the host has.")
        ] = None,
        memory_mb: Annotated[int | None, Field(ge=1, description="Memory in MiB. Default: 512.")] = None,
        cpu_cores: Annotated[float | None, Field(gt=0, description="CPU limit in cores. Default: 1.")] = None,
        env: Annotated[
            dict[str, str] | None, Field(description="Variables of every process in the sandbox.")
        ] = None,
        name: Annotated[str | None, Field(description="Name that it can be found by.")] = None,
        snapshot: Annotated[
            str | None, Field(description="Snapshot to start from, as snapshot_sandbox told.")
        ] = None,
        ttl_seconds: Annotated[
            float | None,
            Field(gt=0, description="Seconds after which it is removed in any case. Default: the host's."),
        ] = None,
        keep: Keep = False,
    ) -> SandboxView:
        """Start a sandbox, an isolated Linux system to run untrusted code in, and return it once it runs."""
        session = self._session_of(context)
        is_on_its_own = session is None and not keep
        async with reporting(context):
            sandbox = await AsyncSandbox.create(
                image,
                type=type,
                memory_mb=memory_mb,
                cpu_cores=cpu_cores,
                env=env,
                name=name,
                snapshot=snapshot,
                ttl=ttl_seconds,
                idle_timeout=IDLE_SECONDS if is_on_its_own else None,
                client=self._client,
                timeout=PATIENCE_SECONDS,
            )
            if session is not None and not keep:
                await session.adopt(sandbox.id)
        return SandboxView.of(await sandbox.info())

    async def list_sandboxes(self) -> SandboxList:
        """List the sandboxes that there are, also those of other sessions."""
        views: list[SandboxView] = []
        left_out = 0
        async for info in self._client.sandboxes():
            if len(views) < _MOST_LISTED:
                views.append(SandboxView.of(info))
            else:
                left_out += 1
        return SandboxList(sandboxes=views, left_out=left_out)

    async def get_sandbox(self, sandbox_id: SandboxId) -> SandboxView:
        """Connect to a sandbox that was started before, by this session or another, and tell its state."""
        return SandboxView.of(await self._client.get_info(sandbox_id))

    async def stop_sandbox(self, context: Context[Any, Any], sandbox_id: SandboxId) -> str:
        """Stop a sandbox, end its processes and remove its files."""
        async with reporting(context):
            await self._client.stop_sandbox(sandbox_id, timeout=PATIENCE_SECONDS)
        session = self._session_of(context)
        if session is not None:
            session.forget(sandbox_id)
        return f"stopped {sandbox_id}"

    async def snapshot_sandbox(self, context: Context[Any, Any], sandbox_id: SandboxId) -> SnapshotView:
        """Save the state of a sandbox, which goes on, for create_sandbox to start others from.

        A snapshot stays after the session, until it is removed.
        """
        async with reporting(context):
            saved = await self._client.snapshot_sandbox(sandbox_id, timeout=PATIENCE_SECONDS)
            await self._client.resume_sandbox(sandbox_id, timeout=PATIENCE_SECONDS)
        for info in await self._client.list_snapshots():
            if info.snapshot_path == saved.snapshot_path:
                return _view(info)
        return SnapshotView(snapshot_path=saved.snapshot_path, type="", image="", size_bytes=0)

    async def list_snapshots(self) -> list[SnapshotView]:
        """List the snapshots that there are, the oldest first."""
        return [_view(info) for info in await self._client.list_snapshots()]

    async def remove_snapshot(
        self, snapshot_path: Annotated[str, Field(description="Its path, as snapshot_sandbox told.")]
    ) -> str:
        """Remove a snapshot. Sandboxes that were started from it go on."""
        await self._client.remove_snapshot(snapshot_path)
        return f"removed {snapshot_path}"

    async def fork_sandbox(
        self, context: Context[Any, Any], sandbox_id: SandboxId, count: Count = 1, keep: Keep = False
    ) -> list[str]:
        """Start copies of a sandbox with its files, to try several things from there; return their IDs."""
        session = self._session_of(context)
        async with reporting(context):
            copies = await self._client.fork_sandbox(sandbox_id, count, timeout=PATIENCE_SECONDS)
            if session is not None and not keep:
                for copy_id in copies:
                    await session.adopt(copy_id)
        return copies


def _view(info: SnapshotInfo) -> SnapshotView:
    return SnapshotView(**{name: getattr(info, name) for name in SnapshotView.model_fields})
