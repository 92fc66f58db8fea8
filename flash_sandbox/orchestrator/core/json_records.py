"""The JSON files in which versions before the database kept sandboxes: moved into it, once."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ...errors import SandboxError
from ...models import GetLogsResult, StartRequest
from ..guest.guest import Defaults
from ..runtimes.base import Created
from ..runtimes.docker.guest_containers import REDIALS_WITH
from ..state.database import Database, Statement
from ..state.directory import StateDirError, note_version

__all__ = ["move_json_records"]

_INSERT: Final = (
    "INSERT OR IGNORE INTO sandboxes (id, runtime, request, idempotency_key, state, created, created_at, "
    "expires_at, log, log_dropped) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_STATES: Final = {"running": "running", "halted": "stopped"}


async def move_json_records(state_dir: Path, database: Database) -> None:
    """Move what an older version has recorded in a state directory into its database.

    Raises:
        StateDirError: A record cannot be read, or its sandbox has no guest agent. Nothing is moved then.
        UnavailableError: The database cannot be written.
    """
    containers = state_dir / "containers"
    records: list[tuple[Path, Callable[[Path], Statement]]] = [
        *((path, _of_docker) for path in containers.glob("*/*.json")),
        *((path, _of_gvisor) for path in state_dir.glob("gvisor/sandboxes/*/record.json")),
    ]
    statements = []
    for path, read in records:
        try:
            statements.append(read(path))
        except (OSError, ValueError, TypeError, KeyError, SandboxError) as error:
            raise StateDirError(
                f"{path} cannot be read ({error}): go on with the release that wrote it and end its sandbox, "
                "or remove the file to have the sandbox removed"
            ) from error
    if statements:
        await database.write(*statements)
    note_version(state_dir)
    for path, _ in records:
        for file in _files(path):
            file.unlink()


def _of_docker(path: Path) -> Statement:
    fields = json.loads(path.read_text())
    agent, log = fields["agent"], path.with_suffix(".log")
    dialled = agent["link"] == "dialled"
    created = Created(
        fields["image"],
        Defaults(**agent["defaults"]),
        tuple(agent["command"]),
        reconnects=True,
        details={REDIALS_WITH: agent["secret"]} if dialled else {},
    )
    output = GetLogsResult()
    if log.exists():
        kept = json.loads(log.read_text())
        output = GetLogsResult(base64.b64decode(kept["output"]), kept["dropped"])
    return _insert(fields, path.parent.name, "stopped" if fields["halted"] else "running", created, output)


def _of_gvisor(path: Path) -> Statement:
    fields = json.loads(path.read_text())
    request = fields["request"]
    created = Created(
        fields["image"],
        Defaults(fields["environment"], fields["cwd"], request["user"]),
        () if request["snapshot_path"] else tuple(fields["command"]),
        details={name: fields[name] for name in ("digest", "chain", "lower")},
    )
    if "pipes" in fields:
        raise ValueError("its sandbox has no guest agent")
    saved = path.with_name("saved")
    if fields["phase"] == "running" and saved.exists():
        # It has gone on from there.
        saved.rename(path.with_name("saved.old"))
    logs = {int(file.suffix[1:]): file.read_bytes() for file in path.parent.glob("output.*")}
    output = GetLogsResult(logs[max(logs)], max(logs)) if logs else GetLogsResult()
    return _insert(fields, "gvisor", _STATES.get(fields["phase"], "paused"), created, output)


def _insert(
    fields: dict[str, Any], runtime: str, state: str, created: Created, log: GetLogsResult
) -> Statement:
    # As it is read: what this version does not know is refused here.
    request = StartRequest(**fields["request"])
    values = (
        fields["id"],
        runtime,
        json.dumps(asdict(request)),
        fields["idempotency_key"],
        state,
        json.dumps(asdict(created)),
        fields["created_at"],
        fields["expires_at"],
        log.output,
        log.dropped,
    )
    return (_INSERT, values)


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a record, itself last."""
    log = path.with_suffix(".log")
    if log.exists():
        yield log
    if path.name == "record.json":
        yield from path.parent.glob("output.*")
    yield path
