"""Send 3 MiB over each of many connections through one forward, and read what comes back only then.

Arguments: name of the client, address, ID of the sandbox, port of a server that sends all back, how many.
Printed: bytes that this process grew by.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from pathlib import Path

from transfer import resident_bytes

import flash_sandbox

SIZE = 3 * 1024 * 1024
PIECE = bytes(64 * 1024)


def send_all(locals: list[socket.socket]) -> None:
    """Send over every connection, none of which waits for another one."""
    left = dict.fromkeys(locals, SIZE)
    while left:
        for local in list(left):
            with contextlib.suppress(BlockingIOError):
                left[local] -= local.send(PIECE[: left[local]])
            if not left[local]:
                del left[local]
        time.sleep(0.001)


def read_back(local: socket.socket) -> None:
    """Read what the server has sent back, and the end."""
    local.setblocking(True)
    local.shutdown(socket.SHUT_WR)
    received = 0
    while data := local.recv(len(PIECE)):
        received += len(data)
    assert received == SIZE, received


def main(kind: str, address: str, sandbox_id: str, port: int, count: int) -> None:
    with (
        getattr(flash_sandbox, kind)(address=address) as client,
        flash_sandbox.Sandbox(client, sandbox_id).ports.forward(port) as forward,
        contextlib.ExitStack() as stack,
    ):
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        locals = [
            stack.enter_context(socket.create_connection(("127.0.0.1", forward.local_port)))
            for _ in range(count)
        ]
        for local in locals:
            local.sendall(b"once")
            assert local.recv(4, socket.MSG_WAITALL) == b"once"
            local.setblocking(False)
        send_all(locals)
        for local in locals:
            read_back(local)
        print(resident_bytes("VmHWM") - before)


if __name__ == "__main__":
    name, where, sandbox, inside, how_many = sys.argv[1:]
    main(name, where, sandbox, int(inside), int(how_many))
