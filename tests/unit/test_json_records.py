"""What versions before the database have recorded in JSON files is moved into it, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flash_sandbox.models import GetLogsResult, StartRequest
from flash_sandbox.orchestrator.core import rows
from flash_sandbox.orchestrator.core.json_records import move_json_records
from flash_sandbox.orchestrator.core.rows import Row
from flash_sandbox.orchestrator.guest.guest import Defaults
from flash_sandbox.orchestrator.runtimes.base import Created
from flash_sandbox.orchestrator.state.database import Database
from flash_sandbox.orchestrator.state.directory import StateDirError

# As version 0.1 wrote them.
REQUEST: dict[str, Any] = {
    "type": "docker", "image": "busybox:latest", "command": ["sh", "-c", "echo printed"], "memory_mb": 128,
    "cpu_cores": 1.0, "kernel_image": "", "initrd_path": "", "snapshot_path": "", "mem_file_path": "",
    "network": "none", "name": "kept", "labels": ["a=b"], "ttl_seconds": 600.0, "pids": 512, "shm_mb": 64,
    "env": [], "user": "", "image_command": False,
}  # fmt: skip
DOCKER: dict[str, Any] = {
    "id": "one", "request": REQUEST, "image": "busybox:latest", "idempotency_key": "995e29c74eb6",
    "created_at": 1796029179.0147138, "expires_at": 1796029779.6932511, "halted": False,
    "agent": {
        "link": "dialled", "defaults": {"environment": {"PATH": "/bin"}, "cwd": "/", "user": ""},
        "command": ["sh", "-c", "echo printed"], "secret": "4d50b0",
    },
}  # fmt: skip
GVISOR: dict[str, Any] = {
    "id": "one", "request": REQUEST | {"type": "gvisor", "user": "me"}, "idempotency_key": "",
    "image": "host", "digest": "", "chain": "sha256:abc", "lower": "/roots/one",
    "environment": {"PATH": "/bin"}, "cwd": "/root",
    "command": ["sh", "-c", "echo printed"], "phase": "running", "created_at": 7.0, "expires_at": 0.0,
}  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.close()


def write(path: Path, fields: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))
    return path


def docker(state_dir: Path, **changes: Any) -> Path:
    return write(state_dir / "containers" / "docker" / "one.json", DOCKER | changes)


def gvisor(state_dir: Path, **changes: Any) -> Path:
    return write(state_dir / "gvisor" / "sandboxes" / "one" / "record.json", GVISOR | changes)


async def moved(state_dir: Path, database: Database) -> Row:
    await move_json_records(state_dir, database)
    (row,) = rows.read(database)
    return row


async def test_a_record_of_docker(tmp_path: Path, database: Database) -> None:
    path = docker(tmp_path)
    command = ("sh", "-c", "echo printed")
    created = Created("busybox:latest", Defaults({"PATH": "/bin"}), command, True, {"redials_with": "4d50b0"})
    assert await moved(tmp_path, database) == Row(
        "one",
        "docker",
        StartRequest(**REQUEST),
        "995e29c74eb6",
        "running",
        created,
        1796029179.0147138,
        1796029779.6932511,
        None,
        GetLogsResult(),
    )
    assert not path.exists()


async def test_one_whose_agent_is_attached_has_nothing_to_redial_with(
    tmp_path: Path, database: Database
) -> None:
    docker(tmp_path, agent=DOCKER["agent"] | {"link": "attached", "secret": ""})
    row = await moved(tmp_path, database)
    assert row.created is not None
    assert row.created.details == {}


async def test_one_that_was_halted_with_what_it_had_printed(tmp_path: Path, database: Database) -> None:
    log = write(tmp_path / "containers/docker/one.log", {"output": "cHJpbnRlZAo=", "dropped": 3})
    docker(tmp_path, halted=True)
    row = await moved(tmp_path, database)
    assert (row.state, row.log) == ("stopped", GetLogsResult(b"printed\n", 3))
    assert not log.exists()


async def test_a_record_of_gvisor(tmp_path: Path, database: Database) -> None:
    path = gvisor(tmp_path)
    (path.parent / "output.0").write_bytes(b"older")
    (path.parent / "output.5").write_bytes(b"newer")
    row = await moved(tmp_path, database)
    details = {"digest": "", "chain": "sha256:abc", "lower": "/roots/one"}
    defaults = Defaults({"PATH": "/bin"}, "/root", "me")
    assert row.created == Created("host", defaults, ("sh", "-c", "echo printed"), details=details)
    assert (row.runtime, row.state, row.log) == ("gvisor", "running", GetLogsResult(b"newer", 5))
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("phase", "state"),
    [("paused", "paused"), ("saving", "paused"), ("saved", "paused"), ("halted", "stopped")],
)
async def test_where_a_gvisor_sandbox_was(tmp_path: Path, database: Database, phase: str, state: str) -> None:
    saved = gvisor(tmp_path, phase=phase).with_name("saved")
    saved.mkdir()
    assert (await moved(tmp_path, database)).state == state
    assert saved.exists()


async def test_a_checkpoint_that_a_gvisor_sandbox_has_left_is_no_more(
    tmp_path: Path, database: Database
) -> None:
    saved = gvisor(tmp_path).with_name("saved")
    saved.mkdir()
    await moved(tmp_path, database)
    assert not saved.exists()


async def test_what_was_moved_before_a_kill_is_not_moved_over_what_has_happened_since(
    tmp_path: Path, database: Database
) -> None:
    docker(tmp_path)
    await moved(tmp_path, database)
    await database.write(("UPDATE sandboxes SET expires_at = 1", ()))
    docker(tmp_path)
    assert (await moved(tmp_path, database)).expires_at == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"request": REQUEST | {"of_tomorrow": 1}},
        {"request": {"type": 1}},
        {"agent": None},
        {"agent": {"link": "dialled"}},
    ],
    ids=str,
)
async def test_one_that_cannot_be_read_is_refused_and_nothing_is_moved(
    tmp_path: Path, database: Database, changes: dict[str, Any]
) -> None:
    paths = [docker(tmp_path, **changes), gvisor(tmp_path)]
    with pytest.raises(StateDirError, match=r"one.json cannot be read .*remove the file"):
        await move_json_records(tmp_path, database)
    assert list(rows.read(database)) == []
    assert all(path.exists() for path in paths)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
async def test_one_that_is_no_record_is_refused(tmp_path: Path, database: Database, text: str) -> None:
    gvisor(tmp_path).write_text(text)
    with pytest.raises(StateDirError, match=r"record\.json cannot be read"):
        await move_json_records(tmp_path, database)


async def test_a_gvisor_sandbox_without_an_agent_is_refused(tmp_path: Path, database: Database) -> None:
    gvisor(tmp_path, pipes=["pipe:[1]"])
    with pytest.raises(StateDirError, match="its sandbox has no guest agent"):
        await move_json_records(tmp_path, database)
