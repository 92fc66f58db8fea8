"""What a time-out means: the whole call, connecting included, and the end of the work at the server."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from faults import FaultProxy, hold, keep_secret
from foreign import SETTINGS, Announced, ForeignServer
from loop_server import LoopServer
from quartet import failure_of, quartet
from seen_inside import until_gone

from flash_sandbox import OutcomeUnknownError, SandboxAPI, SandboxError, SandboxTimeoutError
from flash_sandbox.orchestrator import Orchestrator

Connect = Callable[..., SandboxAPI]

# The three ways to say how long a call may take; each makes the call that it is given.
WAYS: dict[str, Callable[[Connect, str, float | None], SandboxAPI]] = {
    "client": lambda connect, address, timeout: connect(address, timeout=timeout),
    "options": lambda connect, address, timeout: connect(address).with_options(timeout=timeout),
}


@pytest.mark.parametrize("way", WAYS)
def test_connecting_counts(connect: Connect, unreachable: str, way: str) -> None:
    client = WAYS[way](connect, unreachable, 0.3)
    with pytest.raises(SandboxTimeoutError, match=r"no answer within 0.3 s"):
        client.get_status("a")


def test_connecting_counts_once_for_all_addresses_of_a_host(
    connect: Connect, unreachable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = unreachable.partition(":")[2]
    real: Any = socket.getaddrinfo
    addresses = [("127.0.0.1", int(port)), ("0.0.0.0", int(port)), ("127.1", int(port))] * 10
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", each) for each in addresses]

    def look_up(host: object, *arguments: Any, **options: Any) -> Any:
        return found if host in ("many", b"many") else real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began = time.monotonic()
    with pytest.raises(SandboxTimeoutError, match=r"no answer within 1 s"):
        connect(f"many:{port}", timeout=1).get_status("a")
    assert time.monotonic() - began < 10


def test_connecting_counts_for_one_call(connect: Connect, unreachable: str) -> None:
    with pytest.raises(SandboxTimeoutError, match=r"no answer within 0.3 s"):
        connect(unreachable, timeout=None).get_status("a", timeout=0.3)


def test_repeating_counts(connect: Connect) -> None:
    began = time.monotonic()
    with pytest.raises(SandboxError):
        connect("127.0.0.1:1", timeout=0.5, max_retries=100).get_status("a")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("way", WAYS)
def test_answer_that_is_held_back_is_not_asked_for_again(
    connect: Connect, address: str, sandbox_id: str, way: str
) -> None:
    with FaultProxy(address, [hold]) as proxy:
        with pytest.raises(SandboxTimeoutError, match=r"no answer within 0.3 s"):
            WAYS[way](connect, proxy.address, 0.3).get_status(sandbox_id)
        assert proxy.connections == 1


class SlowReader(LoopServer):
    """Reads ever on, but little at a time, and answers nothing."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end."""
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        while data := await reader.read(8 * 1024):
            if data.startswith(b"PRI"):
                writer.write(SETTINGS)
            await asyncio.sleep(0.03)


def test_sending_counts_though_it_gets_on(connect: Connect) -> None:
    with SlowReader() as server:
        began = time.monotonic()
        with pytest.raises(SandboxTimeoutError, match=r"no answer within 1 s"):
            connect(server.address, timeout=1).write_file("a", "/x", bytes(8_000_000))
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("kind", ["HTTPClient", "AsyncHTTPClient"], indirect=True)
def test_error_that_is_held_back_half_way_counts_for_a_stream(connect: Connect) -> None:
    with ForeignServer(Announced(100, status=404)) as server:
        with pytest.raises(SandboxTimeoutError, match=r"no answer within 0.3 s"):
            connect(server.address, timeout=0.3).exec_stream("a", "true")
        assert server.connections == 1


@pytest.mark.parametrize("way", WAYS)
def test_none_is_no_time_out(connect: Connect, address: str, sandbox_id: str, way: str) -> None:
    client = WAYS[way](connect, address, None)
    assert client.exec_command(sandbox_id, ["sleep", "0.5"]).exit_code == 0


def test_none_is_no_time_out_for_one_call(connect: Connect, address: str, sandbox_id: str) -> None:
    client = connect(address, timeout=0.2)
    assert client.exec_command(sandbox_id, ["sleep", "0.5"], timeout=None).exit_code == 0


def test_command_whose_time_passed_tells_what_it_printed_and_is_not_run_again(
    connect: Connect, client: SandboxAPI, address: str, sandbox_id: str
) -> None:
    command = ["/bin/sh", "-c", "echo ran | tee -a /tmp/runs; sleep 30"]
    with FaultProxy(address, []) as proxy:
        result = connect(proxy.address, max_retries=5).exec_command(sandbox_id, command, timeout=1)
        assert proxy.connections == 1
    assert (result.timed_out, result.signal, result.exit_code, result.ok) == (True, 9, 137, False)
    # On a busy machine the time may have passed before it began.
    assert result.stdout in ("", "ran\n")
    assert client.exec_command(sandbox_id, ["cat", "/tmp/runs"]).stdout in ("", "ran\n")


@pytest.mark.parametrize("way", WAYS)
def test_time_out_of_the_client_is_no_limit_of_the_command_and_raises(
    connect: Connect, client: SandboxAPI, address: str, sandbox_id: str, way: str
) -> None:
    with pytest.raises(SandboxTimeoutError) as caught:
        WAYS[way](connect, address, 0.5).exec_command(sandbox_id, ["sleep", "4714"])
    assert caught.value.reason == "deadline_exceeded"
    until_gone(client, sandbox_id, "sleep 4714")


@pytest.mark.parametrize("way", WAYS)
def test_time_out_of_the_client_raises_for_python_code(
    connect: Connect, client: SandboxAPI, address: str, sandbox_id: str, way: str
) -> None:
    code = "import os; os.execvp('sleep', ['sleep', '4715'])"
    with pytest.raises(SandboxTimeoutError):
        WAYS[way](connect, address, 0.5).run_python(sandbox_id, code)
    until_gone(client, sandbox_id, "sleep 4715")


def test_answer_of_a_command_that_is_held_back_is_given_up_some_seconds_after_its_time(
    connect: Connect, address: str, sandbox_id: str
) -> None:
    with FaultProxy(address, [hold]) as proxy:
        began = time.monotonic()
        with pytest.raises(SandboxTimeoutError):
            connect(proxy.address).exec_command(sandbox_id, ["true"], timeout=0.1)
        assert 0.1 < time.monotonic() - began < 30
        assert proxy.connections == 1


def test_command_ends_at_its_time_also_where_nothing_tells_that_the_client_left(
    connect: Connect, client: SandboxAPI, address: str, sandbox_id: str
) -> None:
    with FaultProxy(address, [keep_secret]) as proxy:
        with pytest.raises(OutcomeUnknownError):
            connect(proxy.address).exec_command(sandbox_id, ["sleep", "4712"], timeout=0.3)
        until_gone(client, sandbox_id, "sleep 4712")


def test_server_stops_when_the_client_leaves(
    connect: Connect, client: SandboxAPI, address: str, sandbox_id: str
) -> None:
    stream = connect(address).exec_stream(sandbox_id, ["sleep", "4713"])
    stream.close()
    until_gone(client, sandbox_id, "sleep 4713")


@pytest.mark.parametrize("timeout", [0.1, 2.5e-3, 1e-9])
def test_every_client_says_the_same(orchestrator: Orchestrator, timeout: float) -> None:
    failures = set()
    with quartet(orchestrator.http_address, orchestrator.grpc_address) as clients:
        sandbox_id = clients["HTTPClient"].start_sandbox(memory_mb=64)
        process_id = clients["HTTPClient"].start_process(sandbox_id, ["sleep", "30"])
        for client in clients.values():
            with pytest.raises(SandboxTimeoutError) as caught:
                client.wait_process(sandbox_id, process_id, timeout=timeout)
            failures.add(failure_of(caught.value))
        clients["HTTPClient"].stop_sandbox(sandbox_id)
    assert len(failures) == 1
