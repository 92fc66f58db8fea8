"""A link that dies without a word, as when a cable is pulled: a call without a time-out ends all the same."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from quartet import CLIENTS

from flash_sandbox import OutcomeUnknownError, Sandbox, SandboxAPI
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.transports.http2_connection import Pings

PROGRAM = Path(__file__).parent / "programs" / "dead_link.py"
# A user namespace, too, would let others than root do this; but not start sandboxes in it.
NAMESPACE = ("unshare", "--net")


CALLS = [(kind, moment) for kind in CLIENTS for moment in ("waiting", "sending")]


@pytest.fixture(scope="module")
def calls() -> Iterator[dict[tuple[str, str], subprocess.Popen[str]]]:
    """Begin all of the calls: what each does is wait."""
    with ExitStack() as stack:
        begun = {}
        for kind, moment in CALLS:
            command = [*NAMESPACE, sys.executable, "-W", "error", str(PROGRAM), kind, moment]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            begun[kind, moment] = stack.enter_context(process)
            stack.callback(process.kill)
        yield begun


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace")
@pytest.mark.skipif(shutil.which(NAMESPACE[0]) is None, reason="there is no unshare")
@pytest.mark.parametrize("call", CALLS, ids="-".join)
def test_call_ends_when_tcp_finds_the_link_dead(
    calls: dict[tuple[str, str], subprocess.Popen[str]], call: tuple[str, str]
) -> None:
    assert calls[call].communicate(timeout=100) == ("OutcomeUnknownError\n", "")


@contextmanager
def relay(target: str) -> Iterator[tuple[str, threading.Event]]:
    """Pass one connection on to `target` until the event is set, then keep it open and pass nothing."""
    host, _, port = target.rpartition(":")
    dead = threading.Event()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not dead.is_set():
                    sink.sendall(data)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection((host, int(port))) as far,
    ):
        near: list[socket.socket] = []

        def serve() -> None:
            near.append(listener.accept()[0])
            back = threading.Thread(target=pump, args=(far, near[0]))
            back.start()
            pump(near[0], far)
            far.shutdown(socket.SHUT_RDWR)
            back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", dead
        with suppress(OSError):
            near[0].shutdown(socket.SHUT_RDWR)
        thread.join()
        near[0].close()


@pytest.mark.parametrize("kind", ["SandboxClient", "AsyncSandboxClient"], indirect=True)
def test_grpc_call_ends_when_pings_find_a_middlebox_dead(
    connect: Callable[..., SandboxAPI], orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TCP is alive here: only pings from end to end can tell. They are minutes apart outside tests.
    monkeypatch.setattr(Pings, "seconds", 0.2)
    monkeypatch.setattr(Pings, "patience", 0.2)
    with relay(orchestrator.grpc_address) as (address, dead):
        client = connect(address, timeout=None)
        sandbox_id = client.start_sandbox(memory_mb=64)
        dead.set()
        with pytest.raises(OutcomeUnknownError):
            client.exec_command(sandbox_id, ["sleep", "3600"])
        client.close()
    with Sandbox(connect(orchestrator.grpc_address), sandbox_id) as sandbox:
        assert sandbox.get_status() == "running"
