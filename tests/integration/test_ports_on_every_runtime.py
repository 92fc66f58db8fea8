"""Ports of a sandbox, reached from outside of it, whatever runs the sandbox and carries the calls."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import port_servers as servers
import pytest
from every_runtime import Runtime
from inside import wait_until

import flash_sandbox
from flash_sandbox import (
    InvalidArgumentError,
    PortClosedError,
    PortInfo,
    Sandbox,
    SandboxNotFoundError,
    SandboxTimeoutError,
    WrongStateError,
)

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def idle(runtime: Runtime) -> Iterator[str]:
    """One sandbox, with memory for hundreds of processes."""
    with runtime.sandbox(memory_mb=1024) as sandbox_id:
        yield sandbox_id


@pytest.fixture(scope="module")
def echo(runtime: Runtime, idle: str) -> Iterator[Sandbox]:
    """One sandbox with a server on port 8000 that sends back what it gets."""
    with servers.serving(runtime, idle, 8000, servers.ECHO):
        yield Sandbox(runtime.client, idle)


def received(local: socket.socket) -> bytes:
    """Return what comes until the end."""
    parts = []
    while data := local.recv(65536):
        parts.append(data)
    return b"".join(parts)


class TestConnection:
    def test_what_is_sent_comes_back_and_half_closing_ends_it(self, echo: Sandbox) -> None:
        data = os.urandom(3 * MIB)
        with echo.ports.connect(8000) as connection:
            sending = threading.Thread(target=connection.send, args=(data,), kwargs={"end": True})
            sending.start()
            assert b"".join(connection) == data
            sending.join()

    def test_a_server_that_has_closed_its_side_is_sent_more(self, runtime: Runtime, idle: str) -> None:
        with (
            servers.serving(runtime, idle, 8006, servers.CLOSES),
            runtime.client.connect_port(idle, 8006) as connection,
        ):
            assert list(connection) == [b"said"]
            assert connection.receive() == b""
            connection.send(bytes(MIB))
            connection.end()
            connection.wait_closed()
            assert_taken(runtime, idle, MIB)

    def test_pieces_are_sent_one_after_the_other(self, echo: Sandbox) -> None:
        with echo.ports.connect(8000) as connection:
            for piece in (b"one ", b"two ", b"three"):
                connection.send(piece)
                assert connection.receive() == piece
            connection.end()
            assert connection.receive() == b""

    def test_nothing_that_listens_is_an_error(self, echo: Sandbox) -> None:
        with pytest.raises(PortClosedError, match="nothing in the sandbox listens on port 7") as caught:
            echo.ports.connect(7)
        assert (caught.value.reason, caught.value.status_code) == ("port_closed", 409)

    def test_a_server_is_waited_for(self, runtime: Runtime, idle: str) -> None:
        sandbox = Sandbox(runtime.client, idle)
        with pytest.raises(SandboxTimeoutError, match="nothing in the sandbox listens on port 7"):
            sandbox.ports.wait(7, timeout=0.1)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(sandbox.ports.wait, 8005)
            with servers.serving(runtime, idle, 8005, servers.ECHO):
                waiting.result(10)

    @pytest.mark.parametrize("port", [0, 65536, -1])
    def test_what_is_no_port_is_refused(self, echo: Sandbox, port: int) -> None:
        with pytest.raises(InvalidArgumentError):
            echo.ports.connect(port)

    def test_an_unknown_sandbox_is_an_error(self, runtime: Runtime) -> None:
        with pytest.raises(SandboxNotFoundError):
            runtime.client.connect_port("nobody", 80)

    def test_a_connection_that_breaks_off_is_no_end(self, runtime: Runtime, idle: str) -> None:
        with (
            servers.serving(runtime, idle, 8001, servers.RESET),
            runtime.client.connect_port(idle, 8001) as connection,
        ):
            connection.send(b"go")
            with pytest.raises(PortClosedError):
                list(connection)

    def test_nothing_is_sent_over_one_that_has_ended(self, echo: Sandbox) -> None:
        with echo.ports.connect(8000) as connection:
            connection.end()
            assert list(connection) == []
            with pytest.raises(PortClosedError):
                connection.send(b"late")

    def test_another_thread_ends_it(self, echo: Sandbox) -> None:
        with echo.ports.connect(8000) as connection, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(list, connection)
            connection.disconnect()
            with contextlib.suppress(PortClosedError):
                assert waiting.result(10) == []

    def test_leaving_it_ends_it_inside(self, runtime: Runtime, idle: str) -> None:
        with servers.serving(runtime, idle, 8002, "sysread($peer, $data, 1); open(F, '>', '/tmp/left');"):
            runtime.client.connect_port(idle, 8002).close()
            runtime.wait_for(idle, "test -e /tmp/left", "the server has seen the end")

    def test_the_end_of_the_sandbox_ends_it(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id, servers.serving(runtime, sandbox_id, 8000, servers.ECHO):
            connection = runtime.client.connect_port(sandbox_id, 8000)
            halted = threading.Thread(
                target=runtime.client.stop_sandbox, args=(sandbox_id,), kwargs={"cleanup": False}
            )
            halted.start()
            with pytest.raises(PortClosedError):
                list(connection)
            halted.join()
            with pytest.raises(WrongStateError):
                runtime.client.connect_port(sandbox_id, 8000)


class TestList:
    def test_ports_are_listed_and_told_as_events(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id, runtime.client.watch_events() as events:
            ports = Sandbox(runtime.client, sandbox_id).ports
            assert ports.list() == ()
            with servers.serving(runtime, sandbox_id, 8000, servers.ECHO):
                assert ports.list() == (PortInfo(8000, "127.0.0.1"),)
                assert ports.list() == (PortInfo(8000, "127.0.0.1"),)
            wait_until(lambda: ports.list() == (), "the server has gone")
            about_ports = (each for each in events if each.id == sandbox_id and "port" in each.type)
            told = [(each.type, each.detail) for each in itertools.islice(about_ports, 2)]
            assert told == [("port_opened", "8000"), ("port_closed", "8000")]


class TestForward:
    def test_a_local_program_reaches_a_server(self, echo: Sandbox) -> None:
        with echo.ports.forward(8000) as forward, connected(forward) as local:
            local.sendall(b"hello")
            local.shutdown(socket.SHUT_WR)
            assert received(local) == b"hello"

    def test_a_server_that_has_closed_its_side_is_sent_more(self, runtime: Runtime, idle: str) -> None:
        with (
            servers.serving(runtime, idle, 8006, servers.CLOSES),
            Sandbox(runtime.client, idle).ports.forward(8006) as forward,
            connected(forward) as local,
        ):
            assert received(local) == b"said"
            for _ in range(3):
                local.sendall(bytes(MIB))
                time.sleep(0.1)
            local.shutdown(socket.SHUT_WR)
            assert_taken(runtime, idle, 3 * MIB)

    def test_it_listens_on_the_port_that_was_asked_for(self, echo: Sandbox) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with echo.ports.forward(8000, port) as forward:
            assert forward.local_port == port
            with pytest.raises(OSError, match="in use"):
                echo.ports.forward(8000, port)

    def test_nothing_that_listens_breaks_the_local_connection_off(self, echo: Sandbox) -> None:
        with (
            echo.ports.forward(7) as forward,
            connected(forward) as local,
            pytest.raises(ConnectionError),
        ):
            assert local.recv(1)

    def test_a_server_that_dies_breaks_the_local_connection_off(self, runtime: Runtime, idle: str) -> None:
        with servers.serving(runtime, idle, 8001, servers.RESET):
            sandbox = Sandbox(runtime.client, idle)
            with sandbox.ports.forward(8001) as forward, connected(forward) as local:
                local.sendall(b"go")
                assert local.recv(100) == b"half"
                with pytest.raises(ConnectionError):
                    local.recv(1)

    def test_closing_it_ends_its_connections(self, echo: Sandbox) -> None:
        forward = echo.ports.forward(8000)
        with connected(forward) as local:
            local.sendall(b"x")
            assert local.recv(1) == b"x"
            forward.close()
            with contextlib.suppress(ConnectionError):
                assert local.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connected(forward)

    def test_two_hundred_at_a_time(self, echo: Sandbox) -> None:
        with echo.ports.forward(8000) as forward, contextlib.ExitStack() as stack:
            locals = [stack.enter_context(connected(forward)) for _ in range(200)]
            for number, local in enumerate(locals):
                local.sendall(f"{number:4}".encode() * 1000)
            for number, local in reversed(list(enumerate(locals))):
                local.shutdown(socket.SHUT_WR)
                assert received(local) == f"{number:4}".encode() * 1000

    def test_a_slow_reader_holds_nobody_up_and_takes_no_memory(self, runtime: Runtime, idle: str) -> None:
        sandbox = Sandbox(runtime.client, idle)
        with (
            servers.serving(runtime, idle, 8003, servers.SOURCE),
            sandbox.ports.forward(8003) as forward,
            connected(forward) as slow,
            connected(forward) as quick,
        ):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            slow.sendall(b"4096")
            assert len(slow.recv(1000)) > 0
            time.sleep(1)
            quick.sendall(b"160")
            assert len(received(quick)) == 160 * 65536
            # In KiB; most of the 256 MiB would have come.
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024

    def test_what_is_sent_arrives_whole(self, runtime: Runtime, idle: str) -> None:
        sandbox = Sandbox(runtime.client, idle)
        with (
            servers.serving(runtime, idle, 8004, servers.COUNT),
            sandbox.ports.forward(8004) as forward,
            connected(forward) as local,
        ):
            for _ in range(64):
                local.sendall(bytes(MIB))
            local.shutdown(socket.SHUT_WR)
            assert received(local) == str(64 * MIB).encode()

    def test_a_connection_that_is_quiet_for_a_while_goes_on(
        self, echo: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flash_sandbox.clients.forwarding.QUIET_SECONDS", 0.2)
        with echo.ports.forward(8000) as forward, connected(forward) as local:
            for piece in (b"one", b"two"):
                local.sendall(piece)
                assert local.recv(100) == piece
                time.sleep(0.5)


class TestAsyncForward:
    def test_a_local_program_reaches_a_server(self, runtime: Runtime, echo: Sandbox) -> None:
        kind = getattr(flash_sandbox, f"Async{type(runtime.client).__name__}")

        async def exchange(forward: flash_sandbox.AsyncForward, text: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
            writer.write(text)
            writer.write_eof()
            try:
                return await reader.read()
            finally:
                writer.close()

        async def run() -> list[bytes]:
            async with kind(address=str(runtime.client._transport.address)) as client:
                sandbox = flash_sandbox.AsyncSandbox(client, echo.id)
                async with await sandbox.ports.forward(8000) as forward:
                    texts = [str(number).encode() * 10_000 for number in range(200)]
                    answers = await asyncio.gather(*(exchange(forward, text) for text in texts))
                    assert answers == texts
                async with await sandbox.ports.forward(7) as forward:
                    with contextlib.suppress(ConnectionError):
                        assert await exchange(forward, b"nobody") == b""
                    return answers

        assert asyncio.run(run())

    def test_a_server_that_has_closed_its_side_is_sent_more(self, runtime: Runtime, idle: str) -> None:
        kind = getattr(flash_sandbox, f"Async{type(runtime.client).__name__}")

        async def run() -> None:
            async with (
                kind(address=str(runtime.client._transport.address)) as client,
                await flash_sandbox.AsyncSandbox(client, idle).ports.forward(8006) as forward,
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
                assert await reader.read() == b"said"
                writer.write(bytes(MIB))
                await writer.drain()
                writer.close()
                await asyncio.to_thread(assert_taken, runtime, idle, MIB)

        with servers.serving(runtime, idle, 8006, servers.CLOSES):
            asyncio.run(run())

    def test_a_server_that_reads_nothing_holds_no_other_call_up(self, runtime: Runtime, idle: str) -> None:
        kind = getattr(flash_sandbox, f"Async{type(runtime.client).__name__}")

        async def run() -> None:
            async with (
                kind(address=str(runtime.client._transport.address)) as client,
                await client.connect_port(idle, 8007) as connection,
            ):
                sending = asyncio.create_task(connection.send(bytes(32 * MIB)))
                await asyncio.wait({sending}, timeout=1)
                await client.write_file(idle, "/tmp/written", bytes(MIB), timeout=10)
                assert not sending.done()
                await connection.disconnect()
                with pytest.raises(PortClosedError):
                    await sending

        with servers.serving(runtime, idle, 8007, servers.SILENT):
            asyncio.run(run())


def assert_taken(runtime: Runtime, sandbox_id: str, size: int) -> None:
    """Check that a server that has closed its side was sent so many bytes, and the end."""
    wait = f"until [ -s {servers.TAKEN} ]; do sleep 0.02; done; cat {servers.TAKEN}; rm {servers.TAKEN}"
    assert runtime.sh(sandbox_id, f"timeout 20 sh -c '{wait}'") == str(size)


def connected(forward: flash_sandbox.Forward) -> socket.socket:
    """Return a connection to where a forward listens."""
    return socket.create_connection(("127.0.0.1", forward.local_port), timeout=30)


def test_a_forward_that_is_closed_leaves_no_thread(echo: Sandbox) -> None:
    before = threading.active_count()
    with echo.ports.forward(8000) as forward, connected(forward) as local:
        local.sendall(b"x")
        assert local.recv(1) == b"x"
    wait_until(lambda: threading.active_count() <= before, "the threads have ended")
