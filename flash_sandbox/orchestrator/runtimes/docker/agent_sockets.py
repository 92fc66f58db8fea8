"""The sockets that agents dial, each in a directory that its container sees read-only.

An agent finds a socket that is bound again under the same name, so that it reaches the next orchestrator.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Final

import flash_sandbox_guest as guest

from ...guest.frames import FRAME_HEAD, FrameReader
from ...guest.streams import AgentStream

__all__ = ["COMMAND", "INSIDE", "AgentSocket", "make_directory", "remove_directories", "remove_directory"]

INSIDE: Final = "/dev/.flash-sandbox"
"""Where a container sees its directory: below ``/dev``, so that no image of it holds even the mount point."""

_PROGRAM: Final = "agent"
_SOCKET: Final = "socket"

COMMAND: Final = (f"{INSIDE}/{_PROGRAM}", "--dial", f"{INSIDE}/{_SOCKET}")
"""The agent's command line inside."""

_CREDENTIALS: Final = struct.Struct("3i")
_BACKLOG: Final = 4
_GREETING_SECONDS: Final = 2.0
_MAX_GREETING: Final = 1024


def make_directory(directory: Path, program: Path) -> None:
    """Make the directory of one sandbox, with the agent's program in it.

    Args:
        directory: Its path, beside which those of other sandboxes are.
        program: Path of the program.
    """
    directory.parent.mkdir(mode=0o711, exist_ok=True)
    remove_directory(directory)
    directory.mkdir()
    # In a user namespace, the agent is neither the owner nor of his group.
    directory.chmod(0o711)
    os.link(_copy(program, directory.parent), directory / _PROGRAM)


def remove_directory(directory: Path) -> None:
    """Remove the directory of one sandbox, if it is there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)


def remove_directories(parent: Path, kept: Container[str]) -> None:
    """Remove the directories of sandboxes, but for some.

    Args:
        parent: Where they are.
        kept: Names of those that stay.
    """
    with suppress(FileNotFoundError):
        for name in os.listdir(parent):
            if name not in kept and not name.startswith("."):
                remove_directory(parent / name)


def _copy(program: Path, parent: Path) -> Path:
    """Return a copy of the program in the same file system, which all sandboxes share."""
    status = program.stat()
    copy = parent / f".{status.st_mtime_ns:x}-{status.st_size:x}"
    if not copy.exists():
        descriptor, partial = tempfile.mkstemp(prefix=".", dir=parent)
        os.close(descriptor)
        shutil.copyfile(program, partial)
        os.chmod(partial, 0o555)  # noqa: S103
        os.replace(partial, copy)
    return copy


class AgentSocket:
    """Where the agent of one container connects to.

    Args:
        directory: Directory that the container sees.
        secret: What the agent has to show when it connects again.
    """

    def __init__(self, directory: Path, secret: bytes) -> None:
        self._directory = directory
        self._secret = secret
        self._listener: socket.socket | None = None

    def listen(self) -> None:
        """Make the socket, in place of one that a killed orchestrator has left."""
        self.close()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The path of a socket has room for 107 bytes only.
            path = f"/proc/self/fd/{directory}/{_SOCKET}"
            with suppress(FileNotFoundError):
                os.unlink(path)
            listener.bind(path)
            os.chmod(path, 0o666)  # noqa: S103
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        finally:
            os.close(directory)
        self._listener = listener

    async def accept(self, is_agent: Callable[[int], bool], *, again: bool) -> AgentStream:
        """Wait until the agent connects, drop whoever else does, and remove the socket.

        Args:
            is_agent: Whether a process may be the agent, by its ID; 0 is one of another PID namespace.
            again: Whether the agent has connected before, and so shows the secret. The first time there is
                nobody else in the sandbox.
        """
        if self._listener is None:
            self.listen()
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            try:
                credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                shown = self._secret if again else b""
                if is_agent(_CREDENTIALS.unpack(credentials)[0]) and await _shows(connection, shown):
                    break
            except BaseException:
                connection.close()
                raise
            connection.close()
            # Also if others connect without end.
            await asyncio.sleep(0)
        self.close()
        descriptor = connection.detach()
        return AgentStream(descriptor, descriptor, secret=self._secret)

    def close(self) -> None:
        """Remove the socket, where there is one. Idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            with suppress(FileNotFoundError):
                (self._directory / _SOCKET).unlink()


async def _shows(connection: socket.socket, secret: bytes) -> bool:
    """Tell whether the first message of a connection is that of an agent that has a secret."""
    try:
        async with asyncio.timeout(_GREETING_SECONDS):
            head = await _read(connection, FRAME_HEAD)
            size = int.from_bytes(head[1:], "little")
            # Nothing of what follows is taken.
            rest = await _read(connection, min(size, _MAX_GREETING) + 1)
    except (TimeoutError, OSError):
        return False
    for data, begin, end in FrameReader().feed(head + rest):
        try:
            greeting = guest.FromGuest.parse(data[begin:end]).dialled
        except Exception:
            return False
        return greeting is not None and hmac.compare_digest(greeting.secret, secret)
    return False


async def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = await asyncio.get_running_loop().sock_recv(connection, size - len(received))
        if not data:
            raise ConnectionResetError
        received += data
    return received
