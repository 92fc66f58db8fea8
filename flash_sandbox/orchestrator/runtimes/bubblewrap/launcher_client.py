"""The orchestrator's end of the launcher: start it, ask it, hear from it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ....errors import InternalServerError
from .bwrap import Bubblewrap

__all__ = ["LauncherClient", "Process"]

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")


@dataclass(slots=True)
class Process:
    """A process that the launcher started.

    Attributes:
        key: Number under which the launcher knows it.
        pid: Process ID, as this process sees it.
        exited: Result: its exit status, negative for the number of a signal that ended it.
    """

    key: int
    pid: int
    exited: asyncio.Future[int]


class LauncherClient:
    """Talks to one launcher process. Bound to the event loop that `open` ran in.

    Args:
        program: Has the guest agent's program, which starts bwrap.
    """

    def __init__(self, program: Bubblewrap) -> None:
        self._program = program
        self._next_key = 0
        self._gone: list[int] = []
        self._started: dict[int, asyncio.Future[int]] = {}
        self._exited: dict[int, asyncio.Future[int]] = {}
        self._received = bytearray()
        self._sending = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def open(self) -> None:
        """Start the launcher."""
        self._loop = asyncio.get_running_loop()
        settings = {"program": str(self._program.agent)}
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as stack:
            stack.enter_context(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(settings)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                cwd="/",
            )
            stack.pop_all()
        ours.setblocking(False)
        self._socket = ours
        self._loop.add_reader(ours.fileno(), self._on_readable)

    async def close(self) -> None:
        """End the launcher, and with it whatever it started and that still runs."""
        if self._socket is None or self._process is None:
            return
        self._detach()
        await asyncio.to_thread(self._process.wait)
        self._process = None

    @property
    def pid(self) -> int:
        """Process ID of the launcher."""
        assert self._process is not None
        return self._process.pid

    async def start(
        self,
        steps: Sequence[str],
        descriptors: Mapping[int, int],
        *,
        held: Sequence[int],
        remains: dict[str, Any],
    ) -> Process:
        """Start a sandbox.

        Args:
            steps: What its process does, to bwrap (``guest/launch.c``).
            descriptors: What it is given, by the numbers that it has them under.
            held: Descriptors that the launcher keeps open until it has cleaned up after this process.
            remains: What is to be done when the launcher ends before the sandbox: files to be written so
                that its processes end, and cgroups to be removed.
        """
        # Made again if somebody changed it.
        _ = self._program.agent
        request = {"steps": list(steps), "numbers": list(descriptors), "remains": remains}
        return await self._ask(request, [*descriptors.values(), *held])

    def forget(self, process: Process) -> None:
        """Tell, with the next request, that nothing is left of a sandbox that would have to be cleaned up."""
        self._gone.append(process.key)

    async def _ask(self, request: dict[str, Any], descriptors: Sequence[int]) -> Process:
        if self._socket is None:
            raise InternalServerError("the launcher is not running")
        self._next_key += 1
        key = self._next_key
        started = self._started[key] = self._loop.create_future()
        exited = self._exited[key] = self._loop.create_future()
        gone, self._gone = self._gone, []
        body = json.dumps({"id": key, "gone": gone, **request}).encode()
        try:
            async with self._sending:
                await self._send(body, descriptors)
            # The launcher holds what it was asked to start, also when the caller no longer waits for it.
            return Process(key, await asyncio.shield(started), exited)
        except OSError as error:
            self._exited.pop(key, None)
            raise InternalServerError(f"the launcher failed: {error}") from error

    async def _send(self, body: bytes, descriptors: Sequence[int]) -> None:
        if self._socket is None:
            raise InternalServerError("the launcher is not running")
        head = struct.pack("=I", len(body))
        while True:
            try:
                # Descriptors go with the length alone: the launcher reads exactly that first.
                sent = socket.send_fds(self._socket, [head], list(descriptors))
                break
            except BlockingIOError:
                await self._writable()
        await self._loop.sock_sendall(self._socket, head[sent:] + body)

    async def _writable(self) -> None:
        assert self._socket is not None
        waiter = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), waiter.set_result, None)
        try:
            await waiter
        finally:
            self._loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            chunk = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._detach()
            return
        self._received += chunk
        while len(self._received) >= 4:
            (size,) = struct.unpack_from("=I", self._received)
            if len(self._received) < 4 + size:
                return
            answer = json.loads(self._received[4 : 4 + size])
            del self._received[: 4 + size]
            self._on_answer(answer)

    def _on_answer(self, answer: dict[str, Any]) -> None:
        if "status" in answer:
            exited = self._exited.pop(answer["id"], None)
            if exited is not None and not exited.done():
                exited.set_result(answer["status"])
            return
        started = self._started.pop(answer["id"], None)
        if started is None or started.done():
            return
        if "error" in answer:
            started.set_exception(OSError(answer["errno"], answer["error"]))
            # A caller that was cancelled never looks.
            started.exception()
        else:
            started.set_result(answer["pid"])

    def _detach(self) -> None:
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        for started in self._started.values():
            if not started.done():
                started.set_exception(OSError("the launcher ended"))
                started.exception()
        for exited in self._exited.values():
            if not exited.done():
                exited.set_result(-signal.SIGKILL)
        self._started.clear()
        self._exited.clear()
