"""The launcher: a small process of its own that starts sandboxes.

The orchestrator runs this file by its path in a bare interpreter (``python -I -S``), so that it is small and
has one thread. It therefore imports nothing but the standard library, and nothing of this package. It is
the parent of every sandbox: when it goes, they go (``bwrap --die-with-parent``); when the orchestrator goes,
it thaws, ends and removes what is left, and goes.

What it starts is the guest agent's program at first, as ``agent --launch``, which becomes bwrap.

Requests and answers are JSON behind a four-byte length, on the socket at file descriptor 0;
descriptors travel with the length. See `launcher_client` for the other end.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any

# linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

# bwrap's exit status where it gives up.
BWRAP_FAILED = 1
# Most that come with one request.
MOST_DESCRIPTORS = 48
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Limits of all that it starts. Besides a process's own share, most bound what all sandboxes of an ordinary
# user may take of that user's: the kernel holds a user namespace to the limits of who has made it.
INHERITED = {
    resource.RLIMIT_CORE: 0,
    # Locked memory.
    resource.RLIMIT_MEMLOCK: 8 * 1024 * 1024,
    # Bytes in POSIX message queues: half of what a user has by default.
    resource.RLIMIT_MSGQUEUE: 409_600,
    # Far less than the orchestrator's own: as many descriptors may be on their way through the sockets of one
    # user, and nobody of that user can send any if they are more than the sender may have open (unix(7)).
    resource.RLIMIT_NOFILE: 16_384,
    # Signals that wait, timers among them.
    resource.RLIMIT_SIGPENDING: 4096,
}


class Launcher:
    """Serves one orchestrator until the socket to it closes or it dies."""

    def __init__(self, connection: socket.socket, settings: dict[str, Any]) -> None:
        self._connection = connection
        self._program: str = settings["program"]
        self._running: dict[int, int] = {}
        self._remains: dict[int, dict[str, Any]] = {}
        self._held: list[int] = []

    def serve(self) -> None:
        """Answer requests until the orchestrator is gone, then clean up after it."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        parent = os.pidfd_open(os.getppid())
        poll = select.poll()
        for descriptor in (self._connection.fileno(), wake_read, parent):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake_read in ready:
                with suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self._reap()
            if self._connection.fileno() in ready and not self._answer():
                break
            if parent in ready:
                break
        self._clean_up()

    def _answer(self) -> bool:
        """Take one request, do it, and tell whether there may be more."""
        try:
            head, ancillary, _, _ = self._connection.recvmsg(
                4, socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            # The orchestrator was killed before it had read all that it was told.
            return False
        if len(head) < 4:
            return False
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        body = self._receive(struct.unpack("=I", head)[0])
        if body is None:
            return False
        request: dict[str, Any] = json.loads(body)
        for key in request["gone"]:
            self._remains.pop(key, None)
        try:
            self._tell(request["id"], pid=self._start(request, list(descriptors)))
        except OSError as error:
            self._tell(request["id"], error=str(error), errno=error.errno)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _receive(self, size: int) -> bytes | None:
        body = bytearray()
        while len(body) < size:
            try:
                chunk = self._connection.recv(size - len(body))
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            body += chunk
        return bytes(body)

    def _tell(self, request_id: int, **answer: object) -> None:
        body = json.dumps({"id": request_id, **answer}).encode()
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(struct.pack("=I", len(body)) + body)

    def _reap(self) -> bool:
        """Take note of the processes that have ended; tell whether there are others."""
        orphaned = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                if orphaned:
                    self._end_orphans()
                return True
            request_id = self._running.pop(pid, None)
            if request_id in self._remains and (
                os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == BWRAP_FAILED
            ):
                orphaned = True
            if request_id is not None:
                self._tell(request_id, status=os.waitstatus_to_exitcode(status))

    def _end_orphans(self) -> None:
        """End each PID 1 whose bwrap has ended before the one could ask to end with the other.

        One that ends by itself ends after its PID 1.
        """
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            orphans = set(map(int, file.read().split())) - self._running.keys()
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Start a process that has the descriptors under their numbers, and return its process ID.

        Those without a number are kept open until this process ends: they hold locks of what it cleans up.
        """
        # Out of the way of the numbers first. None of them is left where the process becomes another program.
        sources = [duplicate_high(descriptor) for descriptor in descriptors]
        numbers = request["numbers"]
        self._held += sources[len(numbers) :]
        del sources[len(numbers) :]
        try:
            # Without a copy of this memory, as a fork makes: this process waits until the other is a program.
            pid = os.posix_spawn(
                self._program,
                ["agent", "--launch", *request["steps"]],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, source, number)
                    for source, number in zip(sources, numbers, strict=True)
                ],
                # Undone is this process's own treatment of signals, which would be handed on.
                setsigdef=[*IGNORED, signal.SIGPIPE, signal.SIGXFSZ],
                setsigmask=[],
            )
        finally:
            for source in sources:
                os.close(source)
        self._running[pid] = request["id"]
        self._remains[request["id"]] = request["remains"]
        return pid

    # The end

    def _clean_up(self) -> None:
        """End every sandbox that is left, thaw those that are frozen, and remove their cgroups."""
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for remains in self._remains.values():
            for path, text in remains["thaw"]:
                with suppress(OSError), open(path, "w", encoding="ascii") as file:
                    file.write(text)
        deadline = time.monotonic() + 2
        while self._reap() and time.monotonic() < deadline:
            time.sleep(0.005)
        for remains in self._remains.values():
            for path in remains["cgroups"]:
                remove_cgroup(path, deadline)


def duplicate_high(descriptor: int) -> int:
    """Return a copy of a descriptor that is none of the low numbers which are assigned by hand."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 32)


def remove_cgroup(path: str, deadline: float) -> None:
    """End what a cgroup and those below it hold and remove them, deepest first, until `deadline`."""
    for directory, _, _ in os.walk(path, topdown=False):
        while True:
            with suppress(OSError), open(directory + "/cgroup.procs", encoding="ascii") as file:
                for pid in map(int, file.read().split()):
                    # 0 is a process of another PID namespace; here it would mean this process's own group.
                    if pid > 0:
                        os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
            else:
                break


def main() -> None:
    """Serve on the socket at file descriptor 0, with the settings in the first argument."""
    connection = socket.socket(fileno=duplicate_high(0))
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Denied to all but the host's root.
    with suppress(PermissionError):
        os.setgroups([])
    for number, most in INHERITED.items():
        _, hard = resource.getrlimit(number)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    # A sandbox's PID 1 whose bwrap was ended first is reaped here, not by the host's init some time later.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    Launcher(connection, json.loads(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
