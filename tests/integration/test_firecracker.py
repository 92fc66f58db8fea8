"""The firecracker runtime chooses the engine's OCI runtime for it, and passes on what only that understands.

The engine lists runc under the name of Kata's runtime. Between the two stands a proxy that notes each
request; where a test says so, it offers the API of a newer engine than Debian's.
"""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from docker_engine import IMAGE, DockerEngine
from inside import begin, run_in

from flash_sandbox import HTTPClient, InvalidArgumentError, RuntimeUnavailableError, UnsupportedError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.cancellation import alongside
from flash_sandbox.orchestrator.runtimes.docker.firecracker import FirecrackerRuntime


class Proxy:
    """Passes requests on to an engine and notes them.

    Attributes:
        created: The bodies of the containers that were asked for.
        offers: Version of the API that it claims to speak; empty for the engine's own.
    """

    def __init__(self, engine: DockerEngine) -> None:
        self.created: list[dict[str, Any]] = []
        self.offers = ""
        self._socket = engine.host.removeprefix("unix://")

    @asynccontextmanager
    async def running(self, path: Path) -> AsyncIterator[str]:
        """Run it and yield its address."""
        answers: set[asyncio.Task[None]] = set()

        def answer(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
            answers.add(asyncio.create_task(self._answer(client, to_client)))

        async with await asyncio.start_unix_server(answer, path):
            yield f"unix://{path}"
            for task in answers:
                task.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    async def _answer(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Pass one request on, and what comes back; whatever follows it goes through as it is."""
        with suppress(OSError, asyncio.IncompleteReadError), closing(to_client):
            head = await client.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            body = await client.readexactly(int(length[1])) if length else b""
            if b"/containers/create" in head.split(b"\r\n")[0]:
                self.created.append(json.loads(body))
            if self.offers:
                head = head.replace(f"/v{self.offers}/".encode(), b"/", 1)
            if b"\r\nUpgrade:" not in head:
                # So that the next request comes over a connection of its own.
                head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
                head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            engine, to_engine = await asyncio.open_unix_connection(self._socket)
            with closing(to_engine):
                to_engine.write(head + body)
                answer = await engine.readuntil(b"\r\n\r\n")
                if self.offers:
                    offered = b"\r\nApi-Version: " + self.offers.encode()
                    answer = re.sub(rb"(?i)\r\napi-version:[^\r]*", offered, answer)
                to_client.write(answer)
                async with alongside(_copy(client, to_engine)):
                    await _copy(engine, to_client)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end."""
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.write_eof()


@pytest.fixture
def proxy(docker_engine: DockerEngine) -> Proxy:
    return Proxy(docker_engine)


@pytest.fixture
async def runtime(proxy: Proxy, tmp_path: Path) -> AsyncIterator[FirecrackerRuntime]:
    async with proxy.running(tmp_path / "proxy.sock") as host:
        runtime = FirecrackerRuntime(tmp_path, host=host)
        (tmp_path / "rootfs").mkdir()
        await runtime.open()
        await runtime.adopt()
        yield runtime
        await runtime.close()


async def test_the_container_runs_under_the_engines_runtime_for_it(
    runtime: FirecrackerRuntime, docker_engine: DockerEngine
) -> None:
    await begin(runtime, "one", StartRequest(image=IMAGE, memory_mb=64))
    inspected = docker_engine.inspect("one")
    assert inspected["HostConfig"]["Runtime"] == "kata-fc"
    assert inspected["Config"]["Labels"]["flash-sandbox.runtime"] == "firecracker"
    assert (await run_in(runtime, "one", "echo", "on")).stdout == "on\n"


async def test_kernel_and_ram_disk_are_passed_on_as_katas_annotations(
    runtime: FirecrackerRuntime, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.offers = "1.43"
    kernel, initrd = tmp_path / "rootfs/vmlinux", tmp_path / "rootfs/initrd.img"
    kernel.write_text("kernel")
    initrd.write_text("disk")
    runtime._engine._version = None  # as after it was not reached
    request = StartRequest(image=IMAGE, kernel_image=str(kernel), initrd_path=str(initrd))
    await begin(runtime, "one", request)
    annotations = proxy.created[-1]["HostConfig"]["Annotations"]
    # Nobody who may exchange the files may exchange what Kata opens.
    kernel.write_text("another")
    assert {name: Path(path).read_text() for name, path in annotations.items()} == {
        "io.katacontainers.config.hypervisor.kernel": "kernel",
        "io.katacontainers.config.hypervisor.initrd": "disk",
    }
    assert all(Path(path).parent == tmp_path / "boot" for path in annotations.values())
    assert stat.S_IMODE((tmp_path / "boot").stat().st_mode) == 0o700


async def test_an_engine_that_would_drop_annotations_is_not_given_any(
    runtime: FirecrackerRuntime, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.offers = "1.42"
    kernel = tmp_path / "rootfs/vmlinux"
    kernel.touch()
    runtime._engine._version = None  # as after it was not reached
    with pytest.raises(UnsupportedError, match=r"kernel_image.* API 1\.43 .* this one speaks 1\.42"):
        await begin(runtime, "one", StartRequest(image=IMAGE, kernel_image=str(kernel)))
    assert proxy.created == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/no/such/file", "{rootfs}/../secret", "{rootfs}/link", "{rootfs}"]
)
async def test_a_file_that_no_operator_named_is_refused(
    runtime: FirecrackerRuntime, proxy: Proxy, tmp_path: Path, path: str
) -> None:
    proxy.offers = "1.43"
    (tmp_path / "secret").touch()
    (tmp_path / "rootfs/link").symlink_to(tmp_path / "secret")
    runtime._engine._version = None  # as after it was not reached
    request = StartRequest(image=IMAGE, initrd_path=path.format(rootfs=tmp_path / "rootfs"))
    with pytest.raises(InvalidArgumentError, match="no file in a directory"):
        await begin(runtime, "one", request)
    assert proxy.created == []


async def test_an_engine_without_such_a_runtime_is_told(docker_engine: DockerEngine, tmp_path: Path) -> None:
    runtime = FirecrackerRuntime(tmp_path, oci_runtime="no-such", host=docker_engine.host)
    await runtime.open()
    await runtime.adopt()
    with pytest.raises(RuntimeUnavailableError, match=r"no OCI runtime no-such .* lists .*kata-fc.*runc"):
        await begin(runtime, "one", StartRequest(image=IMAGE))
    assert (await runtime.check()).available is False
    await runtime.close()


async def test_a_command_is_ended_from_inside_where_its_processes_are_not_the_hosts(
    runtime: FirecrackerRuntime,
) -> None:
    await begin(runtime, "one", StartRequest(image=IMAGE, memory_mb=64))
    script = "setsid sleep 9341 > /dev/null 2>&1 & (sleep 9342 &) ; touch /begun; sleep 9343"
    command = asyncio.create_task(run_in(runtime, "one", "sh", "-c", script))
    while (await run_in(runtime, "one", "test", "-e", "/begun")).exit_code != 0:
        pass
    command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    assert "sleep 934" not in (await run_in(runtime, "one", "ps")).stdout


async def test_metrics_come_from_the_engine_where_the_processes_are_not_the_hosts(
    runtime: FirecrackerRuntime,
) -> None:
    await begin(runtime, "one", StartRequest(image=IMAGE, memory_mb=64))
    usage = await runtime.usage("one")
    assert usage.memory_limit_bytes == 64 * 1024 * 1024
    assert 0 < usage.memory_bytes < usage.memory_limit_bytes
    assert usage.pids >= 1


def test_it_is_reached_by_its_name(docker_orchestrator) -> None:
    with HTTPClient(address=docker_orchestrator.http_address) as client:
        sandbox_id = client.start_sandbox("firecracker", IMAGE, memory_mb=64)
        assert client.exec_command(sandbox_id, ["echo", "on"]).stdout == "on\n"
        client.stop_sandbox(sandbox_id)
