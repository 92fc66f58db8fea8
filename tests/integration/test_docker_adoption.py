"""Containers outlive the orchestrator that made them; the next one on its directory goes on with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from docker_engine import IMAGE, DockerEngine
from inside import begin, run_in, wait_until
from killed import killed
from serving import kill, owner, serving

from flash_sandbox import ConflictError, HTTPClient
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.runtimes.base import Kept
from flash_sandbox.orchestrator.runtimes.docker.runtime import DockerRuntime
from flash_sandbox.orchestrator.snapshots.store import Snapshots
from flash_sandbox.orchestrator.state.database import Database

REQUEST = StartRequest(image=IMAGE, memory_mb=64, network="none")


@asynccontextmanager
async def runtime_on(
    state_dir: Path, host: str, *kept: Kept, snapshots: Snapshots | None = None
) -> AsyncIterator[tuple[DockerRuntime, dict[str, str]]]:
    """Open a runtime and yield it with the states of what it adopts; what it has is removed at the end."""
    snapshots = snapshots or Snapshots(state_dir / "snapshots")
    runtime = DockerRuntime(state_dir, host=host, snapshots=snapshots)
    adopted: dict[str, str] = {}

    async def adopt() -> bool:
        adoption = await runtime.adopt()
        adopted.update(adoption.states)
        return adoption.complete

    async def adopt_the_rest() -> None:
        while not await adopt():
            await asyncio.sleep(0.05)

    await runtime.open(kept)
    adopting = None if await adopt() else asyncio.create_task(adopt_the_rest())
    try:
        yield runtime, adopted
    finally:
        if adopting is not None:
            adopting.cancel()
            await asyncio.wait({adopting})
        await runtime.close()


def images_of(engine: DockerEngine, state_dir: Path) -> set[str]:
    filters = json.dumps({"label": [f"flash-sandbox.snapshot={owner(state_dir)}"]})
    return {image["Id"] for image in engine.call("GET", "/images/json", params={"filters": filters})}


def test_what_ran_and_what_was_paused_goes_on_after_a_kill(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    with serving(tmp_path, docker_engine.host) as (process, address), HTTPClient(address=address) as client:
        ran = client.start_sandbox("docker", IMAGE, memory_mb=64)
        client.exec_command(ran, ["sh", "-c", "echo kept > /file"])
        paused = client.start_sandbox("docker", IMAGE, memory_mb=64)
        client.snapshot_sandbox(paused)
        kill(process)
    with serving(tmp_path, docker_engine.host) as (_, address), HTTPClient(address=address) as client:
        assert (client.get_status(ran), client.get_status(paused)) == ("running", "paused")
        assert client.exec_command(ran, ["cat", "/file"]).stdout == "kept\n"
        assert client.get_metrics(ran).memory_limit_bytes == 64 * 1024 * 1024
        client.resume_sandbox(paused)
        assert client.exec_command(paused, ["echo", "on"]).stdout == "on\n"
        client.stop_sandbox(ran)
        assert [
            c["Labels"]["flash-sandbox.sandbox"] for c in docker_engine.containers(owner=owner(tmp_path))
        ] == [paused]


def test_a_graceful_end_leaves_no_container_if_that_is_asked(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    with serving(tmp_path, docker_engine.host) as (process, address), HTTPClient(address=address) as client:
        client.start_sandbox("docker", IMAGE, memory_mb=64)
        process.terminate()
        process.wait()
    assert docker_engine.containers(owner=owner(tmp_path)) == []


def test_the_end_of_an_adopted_sandbox_is_heard_of(docker_engine: DockerEngine, tmp_path: Path) -> None:
    script = "until [ -e /end ]; do usleep 10000; done; echo last words; exit 5"
    with serving(tmp_path, docker_engine.host) as (process, address), HTTPClient(address=address) as client:
        sandbox_id = client.start_sandbox("docker", IMAGE, ["sh", "-c", script], memory_mb=64)
        kill(process)
    with serving(tmp_path, docker_engine.host) as (_, address), HTTPClient(address=address) as client:
        (docker_engine.root_of(sandbox_id) / "end").touch()
        wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end to be noticed")
        with pytest.raises(ConflictError, match="status 5"):
            client.exec_command(sandbox_id, ["true"])
        assert client.get_logs(sandbox_id).output == b"last words\n"
        client.stop_sandbox(sandbox_id)


async def test_it_happens_later_where_the_engine_is_away(docker_engine: DockerEngine, tmp_path: Path) -> None:
    first = DockerRuntime(tmp_path, host=docker_engine.host)
    await first.open()
    await first.adopt()
    kept = Kept("one", REQUEST, await first.create("one", REQUEST))
    assert kept.created.image == IMAGE
    alias = tmp_path / "alias.sock"
    async with runtime_on(tmp_path, f"unix://{alias}", kept) as (_, adopted):
        assert adopted == {}
        alias.symlink_to(docker_engine.host.removeprefix("unix://"))
        await until(lambda: adopted == {"one": "running"})
    await first.close()


async def test_a_container_of_another_directory_is_left_alone(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    async with runtime_on(tmp_path / "a", docker_engine.host) as (first, _):
        await begin(first, "one", REQUEST)
        async with runtime_on(tmp_path / "b", docker_engine.host) as (_, adopted):
            assert adopted == {}
        assert (await run_in(first, "one", "echo", "on")).stdout == "on\n"


async def test_one_that_has_ended_meanwhile_is_removed(docker_engine: DockerEngine, tmp_path: Path) -> None:
    first = DockerRuntime(tmp_path, host=docker_engine.host)
    await first.open()
    await first.adopt()
    kept = Kept("one", REQUEST, await first.create("one", REQUEST))
    docker_engine.call("POST", "/containers/flash-sandbox-one/kill")
    async with runtime_on(tmp_path, docker_engine.host, kept) as (_, adopted):
        assert (adopted, docker_engine.containers(owner=owner(tmp_path))) == ({}, [])
    await first.close()


# What the engine is asked: four calls to look around, then start (5 to 10), pause (11), snapshot (12 to 14),
# resume (15), start from the snapshot (16 to 21), stop (22, 23), removal of the snapshot (24). What only
# looks at something leaves what the call before it has left.
@pytest.mark.parametrize("point", [7, 8, 9, 10, 11, 12, 14, 15, 18, 19, 20, 21, 22, 23, 24, "end"])
async def test_a_kill_at_any_point_leaves_what_can_be_gone_on_with(
    docker_engine: DockerEngine, tmp_path: Path, point: object
) -> None:
    state_dir = tmp_path / "state"
    told = await killed(state_dir, "docker", docker_engine.host, IMAGE, "one", str(point))
    snapshots = Snapshots(state_dir / "snapshots", Database(state_dir))
    await snapshots.open()
    on = runtime_on(state_dir, docker_engine.host, *told.kept.values(), snapshots=snapshots)
    async with on as (runtime, adopted):
        assert adopted.keys() == told.kept.keys()
        assert {
            container["Labels"]["flash-sandbox.sandbox"]
            for container in docker_engine.containers(owner=owner(state_dir))
        } == set(adopted)
        listed = snapshots.listed()
        assert told.snapshots <= {snapshot.id for snapshot in listed}
        assert {snapshot.path for snapshot in listed} == set(state_dir.glob("snapshots/*"))
        assert not told.removed & {snapshot.id for snapshot in listed}
        for number, snapshot in enumerate(listed):
            await begin(runtime, f"copy-{number}", StartRequest(snapshot_path=snapshot.id), snapshot=snapshot)
            assert (await run_in(runtime, f"copy-{number}", "cat", "/file")).stdout == "kept\n"
        for sandbox_id in [*adopted, *(f"copy-{number}" for number in range(len(listed)))]:
            await runtime.stop(sandbox_id)
        assert len(images_of(docker_engine, state_dir)) == len(listed)
    assert docker_engine.containers(owner=owner(state_dir)) == []


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition of the event loop."""
    await asyncio.to_thread(wait_until, condition, "the runtime to take note")
