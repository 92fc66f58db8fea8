"""The disk of the state directory is full: calls fail clearly, nothing that was acknowledged is lost."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from docker_engine import IMAGE, DockerEngine, running_engine
from inside import wait_until
from served import serve
from small_disk import SmallDisk, small_disk
from test_restart import Kind, Survivor, kind

from flash_sandbox import HTTPClient, SandboxNotFoundError, UnavailableError

__all__ = ["kind"]

NO_ROOM = r"(?i)no space left on device|disk is full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 300) as disk:
        yield disk


def refused(client: HTTPClient, survivor: Survivor) -> None:
    """Fail unless a start is refused for want of room."""
    with pytest.raises(UnavailableError, match=NO_ROOM):
        survivor.start(client.with_options(max_retries=0))


def has_started(client: HTTPClient, survivor: Survivor) -> bool:
    with suppress(UnavailableError):
        survivor.start(client.with_options(max_retries=0))
        return True
    return False


def test_it_goes_on_once_there_is_room(kind: Kind, disk: SmallDisk) -> None:
    survivor = Survivor(*kind, disk.path / "state", signal.SIGKILL)
    with survivor.serving() as (serving, client):
        one, other = survivor.start(client), survivor.start(client)
        process = client.start_process(one, ["sleep", "900"])
        kept = client.snapshot_sandbox(one, name="kept")
        client.resume_sandbox(one)
        # Of some room it is not certain before whether it is enough.
        disk.fill(leaving=3_000_000)
        with suppress(UnavailableError):
            client.remove_snapshot(client.with_options(max_retries=0).snapshot_sandbox(one).id)
            client.resume_sandbox(one)
        assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"
        disk.fill()
        refused(client, survivor)
        with pytest.raises(UnavailableError, match=NO_ROOM):
            client.with_options(max_retries=0).snapshot_sandbox(one)
        assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"
        client.stop_sandbox(other)
        assert [info.id for info in client.list_sandboxes().sandboxes] == [one]
        survivor.end(serving)
    disk.empty()
    with survivor.serving() as (serving, client):
        assert [info.id for info in client.list_sandboxes().sandboxes] == [one]
        assert [info.process_id for info in client.list_processes(one) if info.running] == [process]
        disk.fill()
        refused(client, survivor)
        disk.empty()
        wait_until(lambda: has_started(client, survivor), "room")
        assert [info.id for info in client.list_snapshots()] == [kept.id]
        client.snapshot_sandbox(one)
        client.resume_sandbox(one)
        survivor.end(serving)
    with survivor.last() as client:
        assert len(client.list_sandboxes().sandboxes) == 2
        client.stop_sandbox(client.start_sandbox(snapshot_path="kept", memory_mb=128))
        with pytest.raises(SandboxNotFoundError):
            client.get_status(other)


@contextmanager
def engine_on(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerEngine]:
    """Run an engine whose files are on a disk."""
    with ExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(disk.path))
            engine = stack.enter_context(running_engine())
        yield engine


def test_an_engine_without_room_is_told_of(
    docker_engine: DockerEngine, limits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "exported"
    with (
        # Short: the engine's sockets lie in it.
        tempfile.TemporaryDirectory(prefix="fsb-") as place,
        small_disk(Path(place, "disk"), 300) as disk,
        engine_on(disk, monkeypatch) as engine,
        serve(
            tmp_path / "state", "--end-sandboxes", limits=limits, environment={"DOCKER_HOST": engine.host}
        ) as serving,
        HTTPClient(address=serving.http, max_retries=0) as client,
    ):
        one = client.start_sandbox("docker", IMAGE)
        client.exec_command(one, "head -c 20000000 /dev/urandom > /file").check()
        snapshot = client.snapshot_sandbox(one)
        client.resume_sandbox(one)
        client.export_snapshot(snapshot.id, file)
        disk.fill(leaving=5_000_000)
        for fails in (lambda: client.snapshot_sandbox(one), lambda: client.import_snapshot(file)):
            with pytest.raises(UnavailableError, match=NO_ROOM):
                fails()
        assert client.exec_command(one, ["echo", "on"]).stdout == "on\n"
        disk.empty()
        client.remove_snapshot(client.import_snapshot(file).id)
        client.snapshot_sandbox(one)
        client.stop_sandbox(one)
