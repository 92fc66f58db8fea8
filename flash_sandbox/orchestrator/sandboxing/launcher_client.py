"""The orchestrator's end of the launcher: start it, ask it, hear from it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import InternalServerError
from .bwrap import Bubblewrap
from .process_steps import FIRST_DESCRIPTOR

__all__ = ["Exit", "LauncherClient", "Process"]

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")


@dataclass(slots=True)
class Process:
    """A process that the launcher started.

    Attributes:
        key: Number under which the launcher knows it.
        pid: Process ID, as this process sees it.
        exited: Result: how it ended.
    """

    key: int
    pid: int
    exited: asyncio.Future[Exit]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, and what it and the children that it reaped have used.

    Attributes:
        status: Exit status; 128 + N where signal N ended it.
        signal: The signal that ended it; 0 where none did.
        cpu_seconds: CPU time.
        block_read_bytes: Bytes read from block devices.
        block_write_bytes: Bytes written to block devices.
    """

    status: int
    signal: int = 0
    cpu_seconds: float = 0.0
    block_read_bytes: int = 0
    block_write_bytes: int = 0


class LauncherClient:
    """Talks to one launcher process. Bound to the event loop that `open` ran in.

    Args:
        program: Has the program of `stepper`.
        on_death: Called where the launcher ends by itself.
    """

    def __init__(self, program: Bubblewrap, on_death: Callable[[], None]) -> None:
        self._program = program
        self._on_death = on_death
        self._next_key = 0
        self._gone: list[int] = []
        self._started: dict[int, asyncio.Future[int]] = {}
        self._exited: dict[int, asyncio.Future[Exit]] = {}
        self._received = bytearray()
        self._sending = asyncio.Lock()
        # Whether it comes back from a PID namespace that it has joined: the first that it tells.
        self._comes_back: bool | None = None
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def open(self, held: Sequence[int] = ()) -> None:
        """Start the launcher.

        Args:
            held: Descriptors that are to stay open until it has cleaned up after this process.
        """
        self._loop = asyncio.get_running_loop()
        settings = {
            "stepper": str(self._program.stepper),
            "first_descriptor": FIRST_DESCRIPTOR,
            "held": list(held),
        }
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as stack:
            stack.enter_context(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(settings)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                pass_fds=tuple(held),
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
        self, steps: bytes, descriptors: Sequence[int], *, user: int | None, remains: dict[str, Any]
    ) -> Process:
        """Start a sandbox.

        Args:
            steps: Those of `sandbox_steps`.
            descriptors: What its process is given.
            user: The user that its image's owners are mapped to; None for none.
            remains: What is to be done when the launcher ends before the sandbox: files to be written so
                that its processes end, and cgroups to be removed.
        """
        return await self._spawn(steps, descriptors, user=user, remains=remains, joins=False)

    async def prepare(self, steps: bytes, descriptors: Sequence[int]) -> Exit:
        """Run steps that end by themselves, and return how they did.

        Args:
            steps: Those of `pool_steps`.
            descriptors: What their process is given.
        """
        process = await self._spawn(steps, descriptors, user=None, remains=None, joins=False)
        return await asyncio.shield(process.exited)

    async def exec(self, steps: Callable[[bool], bytes], descriptors: Sequence[int]) -> Process:
        """Start a command in the sandbox whose PID 1 the first descriptor is of.

        Args:
            steps: Returns those of `command_steps`, from within or not.
            descriptors: What its process is given.
        """
        # It has told before it started the sandbox.
        assert self._comes_back is not None
        from_within = not self._comes_back
        return await self._spawn(steps(from_within), descriptors, user=None, remains=None, joins=True)

    async def _spawn(self, steps: bytes, descriptors: Sequence[int], **request: object) -> Process:
        # Made again where somebody changed it.
        _ = self._program.stepper
        descriptor = os.memfd_create("steps")
        try:
            os.write(descriptor, steps)
            return await self._ask({"do": "spawn", **request}, [descriptor, *descriptors])
        finally:
            os.close(descriptor)

    async def signal(self, process: Process, number: int) -> None:
        """Send a signal to a process, unless it has ended."""
        await self._ask({"do": "signal", "process": process.key, "signal": number}, ())

    async def name(self, sandbox_init: int, name: str) -> None:
        """Give a sandbox, by a descriptor of its PID 1, another host name."""
        await self._ask({"do": "name", "name": name}, (sandbox_init,))

    def forget(self, process: Process) -> None:
        """Tell, with the next request, that nothing is left of a sandbox that would have to be cleaned up."""
        self._gone.append(process.key)

    async def _ask(self, request: dict[str, Any], descriptors: Sequence[int]) -> Process:
        if self._socket is None:
            raise InternalServerError("the launcher is not running")
        self._next_key += 1
        key = self._next_key
        started = self._started[key] = self._loop.create_future()
        exited: asyncio.Future[Exit] = self._loop.create_future()
        if request["do"] == "spawn":
            self._exited[key] = exited
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
            self._on_death()
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
        if "comes_back" in answer:
            self._comes_back = answer["comes_back"]
            return
        if "status" in answer:
            exited = self._exited.pop(answer["id"], None)
            if exited is not None and not exited.done():
                status: int = answer["status"]
                number = max(-status, 0)
                exited.set_result(Exit(128 + number if number else status, number, *answer["usage"]))
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
                exited.set_result(Exit(128 + signal.SIGKILL, signal.SIGKILL))
        self._started.clear()
        self._exited.clear()
