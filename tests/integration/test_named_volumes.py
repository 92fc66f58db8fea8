"""Volumes that outlive sandboxes, on every runtime, and their orchestrator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker_engine
import pytest
from every_runtime import Runtime

import flash_sandbox
from flash_sandbox import HTTPClient, Volume
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

Need = Callable[[str, str | None], None]

every_runtime = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)


@pytest.fixture
def volume(runtime: Runtime) -> Iterator[str]:
    runtime.client.create_volume("data")
    yield "data"
    runtime.client.remove_volume("data")


@every_runtime
def test_what_one_sandbox_writes_others_read(runtime: Runtime, volume: str) -> None:
    with runtime.sandbox(volumes={"/data": volume}) as first:
        runtime.sh(first, "mkdir /data/directory && echo content > /data/directory/file")
        with runtime.sandbox(volumes={"/other": Volume(volume, read_only=True)}) as second:
            assert runtime.sh(second, "cat /other/directory/file; touch /other/new || true") == "content\n"
    with runtime.sandbox(volumes={"/data": volume}) as third:
        assert runtime.sh(third, "cat /data/directory/file; ls /data/new || true") == "content\n"


@every_runtime
def test_files_of_other_users_keep_their_owner(runtime: Runtime, volume: str) -> None:
    if runtime.type == "gvisor" and runtime.image == "host":
        pytest.skip("image host is served by one user")
    if os.stat(runtime.state_dir).st_uid == 65534:
        pytest.skip("there is one ID")
    with runtime.sandbox(volumes={"/data": volume}) as first:
        runtime.sh(first, "touch /data/file && chown 33:42 /data/file && chmod 600 /data/file")
    script = "my @s = lstat('/data/file'); print qq($s[4]:$s[5])"
    with runtime.sandbox(volumes={"/data": volume}) as second:
        result = runtime.client.exec_command(second, [*runtime.perl(second), "-e", script])
        assert (result.stdout, result.exit_code) == ("33:42", 0), result


@every_runtime
def test_one_in_use_is_not_removed(runtime: Runtime, volume: str) -> None:
    with runtime.sandbox(volumes={"/data": volume}) as sandbox_id:
        (info,) = runtime.client.list_volumes()
        assert (info.name, info.sandboxes, info.created_at > 0) == ("data", (sandbox_id,), True)
        with pytest.raises(flash_sandbox.ConflictError, match=sandbox_id):
            runtime.client.remove_volume(volume)
    (info,) = runtime.client.list_volumes()
    assert info.sandboxes == ()


@every_runtime
def test_one_that_is_not_there_is_told(runtime: Runtime) -> None:
    with pytest.raises(flash_sandbox.NotFoundError, match="nothing"):
        runtime.client.remove_volume("nothing")
    with (
        pytest.raises(flash_sandbox.NotFoundError, match="nothing"),
        runtime.sandbox(volumes={"/a": "nothing"}),
    ):
        pass
    assert runtime.client.list_volumes() == []


@every_runtime
def test_two_have_no_name_together(runtime: Runtime, volume: str) -> None:
    with pytest.raises(flash_sandbox.AlreadyExistsError, match=volume):
        runtime.client.create_volume(volume)


@every_runtime
@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 129])
def test_a_name_that_could_be_a_path_is_refused(runtime: Runtime, name: str) -> None:
    with pytest.raises(flash_sandbox.InvalidArgumentError, match="name"):
        runtime.client.create_volume(name)


def test_one_outlives_its_orchestrator_and_leaves_nothing_behind(limits: Limits, tmp_path: Path) -> None:
    for round in range(2):
        with (
            running_orchestrator(state_dir=tmp_path / "state", limits=limits) as running,
            HTTPClient(address=running.http_address) as client,
        ):
            if round == 0:
                client.create_volume("kept")
            assert [info.name for info in client.list_volumes()] == ["kept"]
            sandbox_id = client.start_sandbox("bubblewrap", memory_mb=64, volumes={"/data": "kept"})
            done = client.exec_command(sandbox_id, ["sh", "-c", "echo round >> /data/file; cat /data/file"])
            assert done.stdout == "round\n" * (round + 1)
            client.stop_sandbox(sandbox_id)
            if round == 1:
                client.remove_volume("kept")
    assert list((tmp_path / "state/volumes").iterdir()) == []


@pytest.mark.parametrize("kind", ["gvisor", "docker"])
def test_a_sandbox_has_its_volume_also_after_its_orchestrator(
    kind: str, limits: Limits, need: Need, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Of gvisor it is mounted anew: the sandbox lies in a checkpoint meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        image = "host"
        if kind == "docker":
            patch.setenv("DOCKER_HOST", request.getfixturevalue("docker_engine").host)
            image = docker_engine.IMAGE
        else:
            found = asyncio.run(GvisorRuntime(tmp_path / "gvisor").check())
            need("gvisor", None if found.available else found.detail)
        for round in range(2):
            with (
                running_orchestrator(
                    state_dir=tmp_path / "state", limits=limits, end_sandboxes=bool(round)
                ) as running,
                HTTPClient(address=running.http_address) as client,
            ):
                if round == 0:
                    client.create_volume("kept")
                    volumes = {"/data": "kept"}
                    sandbox_id = client.start_sandbox(kind, image, memory_mb=128, volumes=volumes)
                    client.exec_command(sandbox_id, ["sh", "-c", "echo content > /data/file"]).check()
                    client.snapshot_sandbox(sandbox_id)
                else:
                    with pytest.raises(flash_sandbox.ConflictError):
                        client.remove_volume("kept")
                    client.resume_sandbox(sandbox_id)
                    assert client.exec_command(sandbox_id, ["cat", "/data/file"]).stdout == "content\n"
                    client.stop_sandbox(sandbox_id)
                    client.remove_volume("kept")
