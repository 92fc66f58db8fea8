"""Send much through one forward to a server that sends it back, to a reader that is slow for a while.

Arguments: name of the client, address, ID of the sandbox, port of the server, size in MiB.
Printed: seconds that it took, bytes that this process grew by, digest of what was sent and of what came back.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
import sys
import threading
import time
from pathlib import Path

from transfer import MIB, resident_bytes

import flash_sandbox

PIECE = 256 * 1024
STUCK_SECONDS = 0.3


class Sender(threading.Thread):
    """Sends blocks no two of which are the same, and then the end."""

    def __init__(self, local: socket.socket, mib: int) -> None:
        super().__init__(daemon=True)
        self.digest = hashlib.sha256()
        self.sent = 0
        self._local = local
        self._mib = mib

    def run(self) -> None:
        """Send all."""
        block = bytearray(random.Random(7).randbytes(MIB))
        for number in range(self._mib):
            block[:8] = number.to_bytes(8, "big")
            self.digest.update(block)
            view = memoryview(block)
            while view:
                size = self._local.send(view)
                self.sent += size
                view = view[size:]
        self._local.shutdown(socket.SHUT_WR)

    def wait_until_stuck(self) -> None:
        """Return once everything on the way is full."""
        sent = -1
        while self.sent != sent:
            sent = self.sent
            time.sleep(STUCK_SECONDS)


def exchange(port: int, mib: int) -> None:
    """Send and receive through a port of this machine, and print what that took."""
    with socket.create_connection(("127.0.0.1", port)) as local:
        local.sendall(b"once")
        assert local.recv(4, socket.MSG_WAITALL) == b"once"
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_bytes("VmRSS")
        began = time.monotonic()
        sender = Sender(local, mib)
        sender.start()
        sender.wait_until_stuck()
        assert 0 < sender.sent < mib * MIB, sender.sent
        came = hashlib.sha256()
        while data := local.recv(PIECE):
            came.update(data)
        sender.join()
        print(time.monotonic() - began, resident_bytes("VmHWM") - before)
        print(sender.digest.hexdigest(), came.hexdigest())


async def exchange_asynchronously(kind: str, address: str, sandbox_id: str, port: int, mib: int) -> None:
    async with (
        getattr(flash_sandbox, kind)(address=address) as client,
        await flash_sandbox.AsyncSandbox(client, sandbox_id).ports.forward(port) as forward,
    ):
        await asyncio.to_thread(exchange, forward.local_port, mib)


def main(kind: str, address: str, sandbox_id: str, port: int, mib: int) -> None:
    if kind.startswith("Async"):
        asyncio.run(exchange_asynchronously(kind, address, sandbox_id, port, mib))
        return
    with (
        getattr(flash_sandbox, kind)(address=address) as client,
        flash_sandbox.Sandbox(client, sandbox_id).ports.forward(port) as forward,
    ):
        exchange(forward.local_port, mib)


if __name__ == "__main__":
    name, where, sandbox, inside, size = sys.argv[1:]
    main(name, where, sandbox, int(inside), int(size))
