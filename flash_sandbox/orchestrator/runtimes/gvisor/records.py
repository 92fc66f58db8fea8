"""What the next orchestrator must know of a container, in its directory.

A container has a record from when its start is complete until its stop begins: one without is half-made or
half-removed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ....errors import SandboxError
from ....models import GetLogsResult, StartRequest
from ...guest.guest import Defaults
from ..base import Adopted, Created

__all__ = [
    "Phase",
    "Record",
    "UnreadableRecord",
    "has_record",
    "read_record",
    "remove_record",
    "write_record",
]

_NAME: Final = "record.json"

Phase = Literal["running", "paused", "saving", "saved", "halted"]
"""Where a container is: ``saved`` is one that lies in a checkpoint and has no process, ``halted`` one whose
processes were ended, and that is kept to be looked at."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one container.

    Attributes:
        id: ID of its sandbox.
        request: What its start asked for.
        idempotency_key: Key that its start carried; empty for none.
        image: The image that it really runs.
        digest: Digest of that image; empty where it has none.
        chain: What the unpacked image goes by in the image store; empty where it lies elsewhere.
        lower: Where its image is.
        environment: Variables of its programs, by name.
        cwd: Working directory of its programs.
        command: Its main process; empty if it idles.
        phase: Where it is.
        created_at: When it was started, in seconds of Unix time; 0 where that is not known.
        expires_at: When it expires, in seconds of Unix time; 0 for never.
    """

    id: str
    request: StartRequest
    idempotency_key: str
    image: str
    digest: str
    chain: str
    lower: str
    environment: dict[str, str]
    cwd: str
    command: tuple[str, ...] = ()
    phase: Phase = "running"
    created_at: float = 0.0
    expires_at: float = 0.0

    def created(self) -> Created:
        """Return what the service core is to know of how its programs run."""
        defaults = Defaults(self.environment, self.cwd, self.request.user)
        # Of a sandbox that was started from a snapshot, the main process may have ended before.
        command = () if self.request.snapshot_path else self.command
        return Created(self.image, defaults, command)

    def adopted(self, log: GetLogsResult) -> Adopted:
        """Return what the service core is to know of it."""
        state: Literal["running", "paused", "stopped"] = "paused"
        if self.phase in ("running", "halted"):
            state = "running" if self.phase == "running" else "stopped"
        return Adopted(
            self.id,
            self.request,
            state,
            self.created(),
            self.idempotency_key,
            self.created_at,
            self.expires_at,
            log,
        )


def write_record(directory: Path, record: Record) -> None:
    """Keep a record; once this returns, it outlives this process."""
    partial = directory / f"{_NAME}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(record), file)
    partial.rename(directory / _NAME)


class UnreadableRecord(Exception):
    """There is a record that cannot be read; the text says why. Another version may have written it.

    Attributes:
        chain: What it says of the image's `chain`; empty for nothing.
    """

    def __init__(self, detail: str, chain: str = "") -> None:
        super().__init__(detail)
        self.chain = chain


def read_record(directory: Path) -> Record | None:
    """Return the record of a container; None where there is none.

    Raises:
        UnreadableRecord: If it cannot be read.
    """
    fields: Any = None
    try:
        fields = json.loads((directory / _NAME).read_text())
        if "pipes" in fields:
            raise UnreadableRecord(_without_agent(directory), str(fields["chain"]))
        request, command = StartRequest(**fields["request"]), tuple(fields["command"])
        return Record(**fields | {"request": request, "command": command})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, SandboxError) as error:
        chain = str(fields.get("chain", "")) if isinstance(fields, dict) else ""
        raise UnreadableRecord(f"{directory / _NAME} cannot be read: {error}", chain) from error


def _without_agent(directory: Path) -> str:
    return (
        "an older version started it, without a guest agent: it runs on, but this version cannot use it; go "
        f"on with it by that version, or end it with runsc delete --force and remove {directory}"
    )


def has_record(directory: Path) -> bool:
    """Tell whether a container has a record, be it readable or not."""
    return (directory / _NAME).exists()


def remove_record(directory: Path) -> None:
    """Remove the record of a container, which is the first step of its end."""
    (directory / _NAME).unlink(missing_ok=True)
