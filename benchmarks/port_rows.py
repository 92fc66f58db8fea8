"""TCP through a forwarded port to a server in a sandbox, beside socat to the same server on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from flash_sandbox import HTTPClient, Sandbox, SandboxAPI, SandboxClient

from .measure import Times, aim_at, measured
from .report import Answer, Bars, RatesTable, Report
from .serving import serving

__all__ = ["lacks_socat", "report"]

PEER: Final = "socat"
_AIM: Final = 0.4
_PORT: Final = 8000
_MIB: Final = 1024 * 1024
_ASKED: Final = 16
# Sends as many MiB as it is asked for; asked for none, it counts what comes.
_SERVER: Final = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
piece = bytes(1 << 20)
while True:
    peer, _ = listener.accept()
    with peer:
        asked, total = int(peer.recv(16, socket.MSG_WAITALL) or 0), 0
        for _ in range(asked):
            peer.sendall(piece)
        while not asked and (got := len(peer.recv(1 << 20))):
            total += got
        peer.sendall(b"%d" % total)
"""


def lacks_socat() -> str | None:
    """Return what this host lacks to run socat, or None."""
    return None if shutil.which(PEER) else "Debian's package socat is not installed"


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    size_mib = 4 if short else 1024
    with ExitStack() as stack:
        server = stack.enter_context(serving())
        rows: dict[str, Callable[[], Times]] = {
            PEER: partial(_round, stack.enter_context(_relayed()), size_mib)
        }
        http, grpc = server.http, f"grpc://{server.grpc}"
        for client, address in ((HTTPClient(address=http), http), (SandboxClient(address=grpc), grpc)):
            stack.enter_context(client)
            port = stack.enter_context(_forwarded(client, address))
            rows[type(client).__name__] = partial(_round, port, size_mib)
        table = measured(rows, rounds)
    text = "\n".join(
        (
            f"{size_mib} MiB each way over one connection. `{PEER}` carries them to the same server on this",
            "machine, in one process; a forward carries them through the client, the orchestrator and the",
            "guest agent of a bubblewrap sandbox without a network.",
        )
    )
    for by_who in table.values():
        aim_at(by_who, PEER, _AIM)
    answers = [Answer.lowest_rate(f"forward, {what}", by_who, PEER, _AIM) for what, by_who in table.items()]
    plot = Bars.of("ports", f"{size_mib} MiB through a forwarded port beside {PEER}", table)
    return Report("Ports", text, [RatesTable(table, PEER, size_mib, "MiB/s")], answers, [plot])


@contextmanager
def _relayed() -> Iterator[int]:
    """Run the server here with socat before it, and yield the port of that."""
    server_port, port = _free_port(), _free_port()
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
    lines = [
        [sys.executable, "-c", _SERVER, str(server_port)],
        [PEER, "-b65536", listen, f"TCP:127.0.0.1:{server_port}"],
    ]
    processes = [subprocess.Popen(line) for line in lines]
    try:
        for each in (server_port, port):
            _wait_for(each)
        yield port
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def _forwarded(client: SandboxAPI, address: str) -> Iterator[int]:
    """Run the server in a sandbox, and yield the port that leads to it."""
    sandbox_id = client.start_sandbox("bubblewrap", "host", memory_mb=256)
    sandbox = Sandbox(client, sandbox_id)
    try:
        sandbox.commands.start(["python3", "-c", _SERVER, str(_PORT)])
        sandbox.ports.wait(_PORT)
        # Not in this process, whose threads would take turns with those of the forward.
        line = [sys.executable, "-m", "flash_sandbox.cli", "port-forward", "--json", "--address", address]
        with subprocess.Popen(
            [*line, sandbox_id, f"0:{_PORT}"], stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                yield int(json.loads(process.stdout.readline())["address"].rpartition(":")[2])
            finally:
                process.terminate()
    finally:
        client.stop_sandbox(sandbox_id)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)


def _round(port: int, size_mib: int) -> Times:
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(str(size_mib).zfill(_ASKED).encode())
        received = 0
        while got := len(connection.recv(_MIB)):
            received += got
    downloaded = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"0" * _ASKED)
        piece = bytes(_MIB)
        for _ in range(size_mib):
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        counted = int(connection.makefile("rb").read())
    # The server tells last what it has counted, which was nothing.
    assert (received, counted) == (size_mib * _MIB + 1, size_mib * _MIB)
    return {"download": downloaded - began, "upload": time.perf_counter() - downloaded}
