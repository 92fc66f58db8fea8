"""How the orchestrator reaches the agents of containers, and what images they need: none of anything."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import flash_sandbox_guest as guest
import pytest
from docker_engine import BUSYBOX, IMAGE, DockerEngine
from fake_agent import framed
from inside import begin, run_in, wait_until
from serving import kill, owner, serving

from flash_sandbox import HTTPClient
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.guest.program import agent_program
from flash_sandbox.orchestrator.guest.programs import Program
from flash_sandbox.orchestrator.runtimes.docker import agent_links
from flash_sandbox.orchestrator.runtimes.docker.api import Engine
from flash_sandbox.orchestrator.runtimes.docker.runtime import DockerRuntime

# Prints numbers for a second, and then waits.
COUNT = "n=0; while [ $n -lt 5000 ]; do n=$((n+1)); echo $n; usleep 200; done; touch /done; exec sleep 1000"
COUNTED = b"".join(b"%d\n" % number for number in range(1, 5001))


class Forwarder:
    """A TCP port that leads to an engine, which so is not this host's as far as an orchestrator can tell.

    Args:
        engine: The engine.

    Attributes:
        address: Its address, as in ``$DOCKER_HOST``.
    """

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine.host.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection off."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Break every connection off, and take no others."""
        # To close it does not wake the thread that waits for it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                to_engine = socket.socket(socket.AF_UNIX)
                self._ends += [client, to_engine]
                to_engine.connect(self._engine)
                for pair in ((client, to_engine), (to_engine, client)):
                    threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(262_144):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def over_tcp(engine: DockerEngine) -> Iterator[Forwarder]:
    forwarder = Forwarder(engine)
    try:
        yield forwarder
    finally:
        forwarder.close()


@pytest.fixture(params=["dialled", "attached"])
def address(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[str]:
    """Give the engine's address, by which agents dial or are attached."""
    if request.param == "dialled":
        yield docker_engine.host
    else:
        with over_tcp(docker_engine) as forwarder:
            yield forwarder.address


@asynccontextmanager
async def opened(state_dir: Path, address: str) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(state_dir, host=address)
    await runtime.open()
    await runtime.adopt()
    try:
        yield runtime
    finally:
        await runtime.close()


def imported(engine: DockerEngine, name: str, files: dict[str, bytes]) -> str:
    """Make an image that has some programs and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    query = {"fromSrc": "-", "repo": name, "tag": "latest"}
    headers = {"content-type": "application/x-tar"}
    engine.call("POST", "/images/create", params=query, content=buffer.getvalue(), headers=headers)
    return f"{name}:latest"


class TestImages:
    async def test_an_empty_one_starts(
        self, docker_engine: DockerEngine, address: str, tmp_path: Path
    ) -> None:
        image = imported(docker_engine, "nothing", {})
        async with opened(tmp_path, address) as runtime:
            await begin(runtime, "one", StartRequest(image=image))
            result = await run_in(runtime, "one", "true")
            assert (result.exit_code, "No such file" in result.stderr) == (127, True)

    async def test_one_with_a_single_static_program_runs_it(
        self, docker_engine: DockerEngine, address: str, tmp_path: Path
    ) -> None:
        image = imported(docker_engine, "single", {"echo": BUSYBOX.read_bytes()})
        async with opened(tmp_path, address) as runtime:
            request = StartRequest(image=image, command=("/echo", "from", "main"))
            guest = await begin(runtime, "one", request)
            assert await guest.main_exit == 0
            assert guest.logs().output == b"from main\n"
            assert (await run_in(runtime, "one", "/echo", "on")).stdout == "on\n"

    async def test_a_snapshot_has_nothing_of_the_agent(
        self, docker_engine: DockerEngine, address: str, tmp_path: Path
    ) -> None:
        body = {"Entrypoint": ["sh"], "Cmd": ["-c", "true"], "User": "12:34"}
        created = docker_engine.call("POST", "/containers/create", json={"Image": IMAGE, **body})["Id"]
        query = {"container": created, "repo": "configured", "tag": "latest"}
        docker_engine.call("POST", "/commit", params=query)
        docker_engine.call("DELETE", f"/containers/{created}")
        async with opened(tmp_path, address) as runtime:
            await begin(runtime, "one", StartRequest(image="configured:latest"))
            assert (await run_in(runtime, "one", "id", "-u")).stdout == "12\n"
            await runtime.pause("one")
            assert docker_engine.call("GET", "/containers/flash-sandbox-one/changes") is None
            snapshot = await runtime.snapshot("one", StartRequest())
            inspected = docker_engine.call("GET", f"/images/{snapshot.details['engine_image']}/json")
            assert {name: inspected["Config"][name] for name in body} == body
            await runtime.forget_snapshot(snapshot)


async def test_a_command_goes_on_where_the_connection_to_the_engine_breaks_off(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo $n; done; cat"
    whole = b"".join(b"%d\n" % number for number in range(1, 20_001))
    with over_tcp(docker_engine) as forwarder:
        async with opened(tmp_path, forwarder.address) as runtime:
            guest = await begin(runtime, "one", StartRequest(image=IMAGE))
            printed, cuts = b"", 0
            async with guest.run(Program(("sh", "-c", script)), keep_stdin=True) as execution:
                async for output in execution.output():
                    printed += output.data
                    if len(printed) > 20_000 * (cuts + 1) and cuts < 3:
                        cuts += 1
                        forwarder.cut()
                    if printed == whole:
                        forwarder.cut()
                        await execution.write(b"the end", end=True)
                assert (await execution.exit()).exit_code == 0
            assert (printed == whole + b"the end", cuts) == (True, 3)


class TestAKilledOrchestrator:
    def test_programs_go_on_and_what_they_print_meanwhile_is_not_lost(
        self, docker_engine: DockerEngine, address: str, tmp_path: Path
    ) -> None:
        with serving(tmp_path, address) as (process, http), HTTPClient(address=http) as client:
            sandbox_id = client.start_sandbox("docker", IMAGE, ["sh", "-c", COUNT], memory_mb=64)
            wait_until(lambda: client.get_logs(sandbox_id).output, "it to print")
            kill(process)
        root = docker_engine.root_of(sandbox_id)
        wait_until((root / "done").exists, "the program to go on")
        with serving(tmp_path, address) as (_, http), HTTPClient(address=http) as client:
            wait_until(lambda: client.get_logs(sandbox_id).output.endswith(b"\n5000\n"), "the rest of it")
            log = client.get_logs(sandbox_id)
            assert COUNTED[log.dropped :] == log.output
            client.stop_sandbox(sandbox_id)

    def test_one_that_is_paused_is_gone_on_with_once_it_is_resumed(
        self, address: str, tmp_path: Path
    ) -> None:
        with serving(tmp_path, address) as (process, http), HTTPClient(address=http) as client:
            sandbox_id = client.start_sandbox("docker", IMAGE, ["sh", "-c", COUNT], memory_mb=64)
            client.pause_sandbox(sandbox_id)
            kill(process)
        with serving(tmp_path, address) as (_, http), HTTPClient(address=http) as client:
            assert client.get_status(sandbox_id) == "paused"
            client.resume_sandbox(sandbox_id)
            wait_until(lambda: client.get_logs(sandbox_id).output.endswith(b"\n5000\n"), "the rest of it")
            assert client.exec_command(sandbox_id, ["echo", "on"]).stdout == "on\n"
            client.stop_sandbox(sandbox_id)

    def test_nobody_else_passes_for_the_agent(self, docker_engine: DockerEngine, tmp_path: Path) -> None:
        with serving(tmp_path, docker_engine.host) as (process, http), HTTPClient(address=http) as client:
            sandbox_id = client.start_sandbox("docker", IMAGE, memory_mb=64)
            assert os.listdir(tmp_path / "containers/docker/agents" / sandbox_id) == ["agent"]
            kill(process)
        refused = Intruder(tmp_path / "containers/docker/agents" / sandbox_id / "socket")
        with (
            refused,
            serving(tmp_path, docker_engine.host) as (_, http),
            HTTPClient(address=http) as client,
        ):
            assert client.exec_command(sandbox_id, ["echo", "on"]).stdout == "on\n"
            client.stop_sandbox(sandbox_id)
        assert refused.refusals


class Intruder:
    """Connects to a socket as often as it can, and shows what the agent does not have.

    Attributes:
        refusals: How often it was refused.
    """

    def __init__(self, path: Path) -> None:
        self.refusals = 0
        self._directory = os.open(path.parent, os.O_PATH)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._connect, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._directory)

    def _connect(self) -> None:
        greeting = framed(bytes(guest.FromGuest(dialled=guest.Dialled(secret=b"guessed"))))
        while not self._over.is_set():
            with suppress(OSError), socket.socket(socket.AF_UNIX) as intruder:
                intruder.settimeout(10)
                # The path of a socket has room for 107 bytes only.
                intruder.connect(f"/proc/self/fd/{self._directory}/socket")
                intruder.sendall(greeting)
                with suppress(ConnectionResetError):
                    assert intruder.recv(1) == b""
                self.refusals += 1


class TestTheWay:
    """An engine at a Unix socket need not see this host's directories."""

    @pytest.fixture
    def created(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Note whether each container that is made has a mount."""
        noted: list[bool] = []
        call = Engine.call

        async def elsewhere(engine: Engine, method: str, path: str, body: Any = None, **options: Any) -> Any:
            if path == "/containers/create":
                noted.append("Mounts" in body["HostConfig"])
                for mount in body["HostConfig"].get("Mounts", ()):
                    mount["Source"] = self.elsewhere
            return await call(engine, method, path, body, **options)

        monkeypatch.setattr(Engine, "call", elsewhere)
        return noted

    elsewhere = "/no/such/directory"

    async def two_starts(self, state_dir: Path, engine: DockerEngine) -> None:
        async with opened(state_dir, engine.host) as runtime:
            for name in ("one", "two"):
                await begin(runtime, name, StartRequest(image=IMAGE))
                assert (await run_in(runtime, name, "echo", name)).stdout == f"{name}\n"
            assert len(engine.containers(owner=owner(state_dir))) == 2

    async def test_one_without_the_directory_is_found_out_once(
        self, docker_engine: DockerEngine, tmp_path: Path, created: list[bool]
    ) -> None:
        await self.two_starts(tmp_path, docker_engine)
        assert created == [True, False, False]

    async def test_one_with_another_directory_is_found_out_once(
        self,
        docker_engine: DockerEngine,
        tmp_path: Path,
        created: list[bool],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        directory = tmp_path / "elsewhere"
        directory.mkdir()
        shutil.copy(agent_program(), directory / "agent")
        monkeypatch.setattr(self.__class__, "elsewhere", str(directory))
        # What runs there is not this host's.
        monkeypatch.setattr(agent_links, "on_this_host", lambda container, pid: False)
        await self.two_starts(tmp_path / "state", docker_engine)
        assert created == [True, False, False]
