"""Which sandbox is meant: by its ID, the beginning of one, or its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from ..errors import NotFoundError, SandboxError, UnsupportedError
from ..models import SandboxInfo, SnapshotInfo, SnapshotResult
from .connection import Connection, Failure, TransportChoice

if TYPE_CHECKING:
    from ..clients.aio.api import AsyncSandboxAPI
    from ..clients.sync.api import SandboxAPI

__all__ = ["complete_sandboxes", "complete_snapshots", "in_sandbox", "in_sandbox_async", "snapshot_id"]

T = TypeVar("T")

_CANDIDATES: Final = 10
# Somebody waits for it at the prompt.
_COMPLETION_SECONDS: Final = 2.0


def in_sandbox(client: SandboxAPI, reference: str, call: Callable[[str], T]) -> T:
    """Make a call with the ID of the sandbox that is meant. An ID that is given whole is not looked up.

    Raises:
        Failure: Several sandboxes may be meant.
        SandboxError: What the call raises.
    """
    try:
        return call(reference)
    except NotFoundError:
        with suppress(UnsupportedError):
            found = _meant(reference, client.sandboxes())
            if found is not None:
                return call(found)
        raise


async def in_sandbox_async(client: AsyncSandboxAPI, reference: str, call: Callable[[str], Awaitable[T]]) -> T:
    """Do the same for asyncio."""
    try:
        return await call(reference)
    except NotFoundError:
        with suppress(UnsupportedError):
            found = _meant(reference, [info async for info in client.sandboxes()])
            if found is not None:
                return await call(found)
        raise


def _meant(reference: str, sandboxes: Iterable[SandboxInfo]) -> str | None:
    """Return the ID of the one that has the name, else of the only one whose ID begins so."""
    beginning = []
    for info in sandboxes:
        if info.name == reference:
            return info.id
        if info.id.startswith(reference):
            beginning.append(info)
    if len(beginning) <= 1:
        return beginning[0].id if beginning else None
    shown = [f"{info.id} {info.name}".strip() for info in beginning[:_CANDIDATES]]
    more = ["..."] if len(beginning) > _CANDIDATES else []
    raise Failure(f"{reference!r} may be any of {', '.join(shown + more)}")


def complete_sandboxes(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield what an argument that names a sandbox may become, and what that is. Never fails."""
    with suppress(SandboxError, Failure, OSError), _client_of(ctx) as client:
        hasty = client.with_options(timeout=_COMPLETION_SECONDS, max_retries=0)
        for info in hasty.sandboxes():
            if info.id.startswith(incomplete):
                yield info.id, " ".join(filter(None, (info.name, info.image, info.status)))
            if info.name and info.name.startswith(incomplete):
                yield info.name, f"{info.id} {info.image} {info.status}"


def complete_snapshots(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield what an argument that names a snapshot may become, and what that is. Never fails."""
    with suppress(SandboxError, Failure, OSError), _client_of(ctx) as client:
        hasty = client.with_options(timeout=_COMPLETION_SECONDS, max_retries=0)
        for snapshot in hasty.list_snapshots():
            for form in (snapshot.name, snapshot_id(snapshot), snapshot.snapshot_path):
                if form and form.startswith(incomplete):
                    yield form, f"{snapshot.type} {snapshot.image}"
                    break


def snapshot_id(snapshot: SnapshotInfo | SnapshotResult) -> str:
    """Return the ID of a snapshot; of an older orchestrator's, the last part of its path."""
    return snapshot.id or snapshot.snapshot_path.rpartition("/")[2]


def _client_of(ctx: typer.Context) -> SandboxAPI:
    """Return a client of the orchestrator that the words before name."""
    said = ctx.params
    transport = said.get("transport")
    return Connection(
        None if transport is None else TransportChoice(transport),
        said.get("address") or "",
        said.get("api_key") or None,
    ).client()
