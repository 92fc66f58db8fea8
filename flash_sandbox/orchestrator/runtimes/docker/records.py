"""What the orchestrator must know of a container to go on with it after having been killed.

A sandbox has a record from when its start is complete until its stop begins: a container without one is
half-made or half-removed.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from ....errors import SandboxError
from ....models import GetLogsResult, StartRequest
from ...guest.guest import Defaults
from ..base import Adopted, Created

__all__ = ["AgentRecord", "Record", "Records"]

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """What is kept of the agent of one sandbox.

    Attributes:
        link: How it is reached.
        defaults: What programs have.
        command: The main process; empty if the sandbox idles.
        secret: What it shows when it dials again, in hexadecimal.
    """

    link: Literal["dialled", "attached"]
    defaults: Defaults
    command: tuple[str, ...] = ()
    secret: str = ""

    @classmethod
    def parse(cls, fields: dict[str, Any]) -> Self:
        """Read what `asdict` returned.

        Raises:
            ValueError: It is none.
        """
        given = {"defaults": Defaults(**fields["defaults"]), "command": tuple(fields["command"])}
        read = cls(**fields | given)
        bytes.fromhex(read.secret)
        if read.link not in ("dialled", "attached"):
            raise ValueError(f"agents are not reached by way of {read.link!r}")
        return read


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one sandbox.

    Attributes:
        id: Its ID.
        request: What its start asked for.
        image: The image that it really runs.
        idempotency_key: Key that its start carried; empty for none.
        created_at: When it was started, in seconds of Unix time; 0 where that is not known.
        expires_at: When it expires, in seconds of Unix time; 0 for never.
        halted: Whether its processes were ended, and it is kept to be looked at.
        agent: What is kept of its agent; None for a container of an older version, which has none.
    """

    id: str
    request: StartRequest
    image: str
    idempotency_key: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    halted: bool = False
    agent: AgentRecord | None = None

    def created(self) -> Created:
        """Return what the service core is to know of how its programs run."""
        assert self.agent is not None
        return Created(self.image, self.agent.defaults, self.agent.command, reconnects=True)

    def adopted(self, state: str, log: GetLogsResult) -> Adopted:
        """Return what the service core is to know of it.

        Args:
            state: State of its container, as the engine names it.
            log: What is kept of the output of its main process.
        """
        known: Literal["running", "paused", "stopped"] = "paused" if state == "paused" else "running"
        return Adopted(
            self.id,
            self.request,
            "stopped" if self.halted else known,
            Created(self.image, Defaults({})) if self.agent is None else self.created(),
            self.idempotency_key,
            self.created_at,
            self.expires_at,
            log,
        )


class Records:
    """The directory of records, one file each.

    Args:
        directory: Directory in the orchestrator's state directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.owner = ""

    def open(self) -> None:
        """Make ready, and read (the first time: make) the name that these containers bear."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / "owner"
        if not path.exists():
            self._write(path, secrets.token_hex(16))
        self.owner = path.read_text()

    def add(self, record: Record) -> None:
        """Keep a record; once this returns, it outlives this process."""
        self._write(self._path(record.id), json.dumps(asdict(record)))

    def replace(self, record: Record) -> None:
        """Keep a record in place of the one that there is; where that was removed, it stays so."""
        if self._path(record.id).exists():
            self.add(record)

    def remove(self, sandbox_id: str) -> None:
        """Remove a record with its log, if there is one."""
        self._path(sandbox_id).unlink(missing_ok=True)
        self._log_path(sandbox_id).unlink(missing_ok=True)

    def add_log(self, sandbox_id: str, log: GetLogsResult) -> None:
        """Keep what the main process of a sandbox has printed, whose processes are about to be ended."""
        fields = {"output": base64.b64encode(log.output).decode(), "dropped": log.dropped}
        self._write(self._log_path(sandbox_id), json.dumps(fields))

    def read_log(self, sandbox_id: str) -> GetLogsResult:
        """Return what `add_log` kept; nothing if that cannot be read."""
        try:
            fields = json.loads(self._log_path(sandbox_id).read_text())
            return GetLogsResult(base64.b64decode(fields["output"]), int(fields["dropped"]))
        except (OSError, ValueError, TypeError, KeyError):
            return GetLogsResult(b"", 0)

    def read(self) -> tuple[dict[str, Record], dict[str, str]]:
        """Return every record by ID, and what is wrong with those that cannot be read.

        Those stay as they are: another version may have written them, and go on with their sandboxes.
        """
        found, unreadable = {}, {}
        for path in self._directory.glob(f"*{_SUFFIX}"):
            try:
                fields: dict[str, Any] = json.loads(path.read_text())
                fields["request"] = StartRequest(**fields["request"])
                if fields.get("agent"):
                    fields["agent"] = AgentRecord.parse(fields["agent"])
                record = Record(**fields)
            except (OSError, ValueError, TypeError, KeyError, SandboxError) as error:
                unreadable[path.stem] = f"{path} cannot be read: {error}"
            else:
                found[record.id] = record
        return found, unreadable

    def _log_path(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id}.log"

    def _path(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id}{_SUFFIX}"

    def _write(self, path: Path, text: str) -> None:
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        partial.rename(path)
