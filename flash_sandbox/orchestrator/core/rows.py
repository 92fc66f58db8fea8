"""The rows of sandboxes in the database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from ...errors import SandboxError
from ...models import GetLogsResult, SandboxInfo, StartRequest
from ..guest.guest import Defaults
from ..runtimes.base import Created, Kept
from ..state.database import Database, Statement
from ..state.directory import StateDirError

if TYPE_CHECKING:
    from .sandboxes import Sandbox

__all__ = [
    "REMOVING",
    "Row",
    "added",
    "asked",
    "changed",
    "ended",
    "ended_info",
    "log",
    "read",
    "removed",
    "removing",
    "started",
]

REMOVING: Final = "removing"
"""State of a sandbox whose removal has begun."""

_COLUMNS: Final = (
    "id, runtime, request, idempotency_key, state, created, created_at, expires_at, exit_code, "
    "log, log_dropped"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A sandbox that was not removed, as the orchestrator before has left it.

    Attributes:
        id: Its ID.
        runtime: Name of its runtime.
        request: What its start asked for.
        idempotency_key: Key that its start carried; empty for none.
        state: Its state.
        created: What its runtime has returned; None if its start was not completed.
        created_at: When it was started, in seconds of Unix time.
        expires_at: When it expires, in seconds of Unix time; 0 for never.
        exit_code: Exit status of its main process, once that has ended by itself.
        log: The last output of its main process, if the guest agent could not be asked any more.
    """

    id: str
    runtime: str
    request: StartRequest
    idempotency_key: str
    state: str
    created: Created | None
    created_at: float
    expires_at: float
    exit_code: int | None
    log: GetLogsResult

    def kept(self) -> Kept | None:
        """Return what its runtime is to know of it; None if it was half-made or half-removed."""
        if self.created is None or self.state not in ("running", "paused", "stopped"):
            return None
        return Kept(self.id, self.request, self.created, halted=self.state == "stopped")


def read(database: Database) -> Iterator[Row]:
    """Yield the sandboxes that were not removed.

    Raises:
        StateDirError: A row cannot be read.
    """
    for row in database.read(f"SELECT {_COLUMNS} FROM sandboxes WHERE ended_at = 0"):
        id, runtime, request, key, state, created, created_at, expires_at, exit_code, output, dropped = row
        try:
            yield Row(
                id,
                runtime,
                StartRequest(**json.loads(request)),
                key,
                state,
                None if created is None else _created(created),
                created_at,
                expires_at,
                exit_code,
                GetLogsResult(output, dropped),
            )
        except (ValueError, TypeError, KeyError, SandboxError) as error:
            raise StateDirError(
                f"sandbox {id} in the database cannot be read: {error}; go on with the release that used "
                "it last"
            ) from error


def added(sandbox: Sandbox) -> Statement:
    """Return what adds a sandbox whose start begins."""
    return (
        "INSERT INTO sandboxes (id, runtime, request, idempotency_key, state, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            sandbox.id,
            sandbox.runtime.name,
            json.dumps(asdict(sandbox.request)),
            sandbox.idempotency_key,
            sandbox.state,
            sandbox.created_at,
        ),
    )


def started(sandbox: Sandbox) -> Statement:
    """Return what notes all that the next orchestrator must know to go on with a sandbox that runs."""
    assert sandbox.created is not None
    state = "running" if sandbox.state == "creating" else sandbox.state
    return (
        "UPDATE sandboxes SET state = ?, created = ?, expires_at = ? WHERE id = ?",
        (state, json.dumps(asdict(sandbox.created)), sandbox.life.expires_at, sandbox.id),
    )


def changed(sandbox: Sandbox) -> Statement:
    """Return what notes the state of a sandbox."""
    return (
        "UPDATE sandboxes SET state = ?, expires_at = ?, exit_code = ? WHERE id = ?",
        (sandbox.state, sandbox.life.expires_at, sandbox.exit_code, sandbox.id),
    )


def asked(sandbox: Sandbox) -> Statement:
    """Return what notes what a sandbox is to have, which was changed."""
    return (
        "UPDATE sandboxes SET request = ? WHERE id = ?",
        (json.dumps(asdict(sandbox.request)), sandbox.id),
    )


def log(sandbox: Sandbox) -> Statement:
    """Return what notes the last output of the main process of a sandbox, with its state."""
    kept = sandbox.log
    return (
        "UPDATE sandboxes SET state = ?, log = ?, log_dropped = ? WHERE id = ?",
        (sandbox.state, kept.output, kept.dropped, sandbox.id),
    )


def removing(sandbox_id: str) -> Statement:
    """Return what notes that a sandbox is about to be removed: nobody goes on with it."""
    return ("UPDATE sandboxes SET state = ? WHERE id = ?", (REMOVING, sandbox_id))


def ended(sandbox: Sandbox) -> Statement:
    """Return what notes that a sandbox has been removed, with what is told of it for a while."""
    kept = sandbox.log
    return (
        "UPDATE sandboxes SET state = 'ended', request = '{}', idempotency_key = '', created = NULL, "
        "ended_at = ?, info = ?, log = ?, log_dropped = ? WHERE id = ?",
        (time.time(), json.dumps(asdict(ended_info(sandbox))), kept.output, kept.dropped, sandbox.id),
    )


def ended_info(sandbox: Sandbox) -> SandboxInfo:
    """Return what is told of a sandbox that has been removed."""
    return replace(sandbox.info(), status="ended")


def removed(sandbox_id: str) -> Statement:
    """Return what removes a sandbox of which nothing is told any more."""
    return ("DELETE FROM sandboxes WHERE id = ?", (sandbox_id,))


def _created(text: str) -> Created:
    fields = json.loads(text)
    defaults, command = Defaults(**fields.pop("defaults")), tuple(fields.pop("command"))
    return Created(defaults=defaults, command=command, **fields)
