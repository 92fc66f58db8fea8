"""Makes a call over a link that dies: CLIENT MOMENT, in a network namespace of its own, which it cuts off.

MOMENT is when that happens: "waiting" for the answer, or before "sending". Prints what the call raised.
"""

import asyncio
import fcntl
import inspect
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import flash_sandbox
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.transports import keepalive

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

# What a minute is outside tests.
PATIENCE = {"TCP_KEEPIDLE": 1, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 1, "TCP_USER_TIMEOUT": 1000}


def set_loopback(flags: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


def hasten() -> None:
    """Let TCP give up within seconds, by the options that the clients set."""
    hasty = {getattr(socket, name): value for name, value in PATIENCE.items()}
    keepalive.SOCKET_OPTIONS[:] = [
        (level, option, hasty.get(option, value) if level == socket.IPPROTO_TCP else value)
        for level, option, value in keepalive.SOCKET_OPTIONS
    ]


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except flash_sandbox.SandboxError as error:
        return type(error).__name__
    return "nothing"


def main(name: str, moment: str) -> None:
    set_loopback(_IFF_UP)
    hasten()
    with running_orchestrator(limits="best-effort") as orchestrator, asyncio.Runner() as runner:
        address = orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address
        client = getattr(flash_sandbox, name)(address=address, timeout=None, max_retries=0)

        def wait_for(result: Any) -> Any:
            async def waited() -> Any:
                return await result

            return runner.run(waited()) if inspect.isawaitable(result) else result

        sandbox_id = wait_for(client.start_sandbox())
        if moment == "sending":
            set_loopback(0)
        else:
            threading.Timer(0.5, set_loopback, [0]).start()
        print(outcome(lambda: wait_for(client.exec_command(sandbox_id, ["sleep", "3600"]))))
        set_loopback(_IFF_UP)
        wait_for(client.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
