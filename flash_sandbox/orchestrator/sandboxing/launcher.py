"""The launcher: a small process of its own that starts sandboxes and the commands in them.

The orchestrator runs this file by its path in a bare interpreter (``python -I -S``), so that it is small and
has one thread. It therefore imports nothing but the standard library, and nothing of this package. It is
the parent of every sandbox: when it goes, they go (``bwrap --die-with-parent``); when the orchestrator goes,
it thaws, ends and removes what is left, and goes.

What it starts is `stepper` at first, with steps that make of it what was asked for.

Requests and answers are JSON behind a four-byte length, on the socket at file descriptor 0;
descriptors travel with the length. See `launcher_client` for the other end.
"""

from __future__ import annotations

import array
import ctypes
import errno
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# Constants of the kernel: linux/sched.h, linux/prctl.h.
CLONE_VM = 0x00000100
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
PR_SET_CHILD_SUBREAPER = 36

NOT_RUNNABLE = 126
# bwrap's exit status where it gives up.
BWRAP_FAILED = 1
# Descriptors are copied by each fork, so that it takes as long as there are many.
KEPT_ID_MAPS = 16
# Most that come with one request.
MOST_DESCRIPTORS = 16
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STACK_BYTES = 65536

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

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """Return the result of a libc call, or raise OSError saying `what` failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class Launcher:
    """Serves one orchestrator until the socket to it closes or it dies."""

    def __init__(self, connection: socket.socket, settings: dict[str, Any]) -> None:
        self._connection = connection
        self._stepper: str = settings["stepper"]
        self._first: int = settings["first_descriptor"]
        for descriptor in settings["held"]:
            # By this process alone, and none that it starts.
            os.set_inheritable(descriptor, False)
        self._own = {
            kind: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for kind, name in ((CLONE_NEWPID, "pid"), (CLONE_NEWUTS, "uts"))
        }
        # Only root may join one of a sandbox without its user namespace, from which nobody comes back.
        self._comes_back = libc.setns(self._own[CLONE_NEWPID], CLONE_NEWPID) == 0
        self._running: dict[int, int] = {}
        self._remains: dict[int, dict[str, Any]] = {}
        self._id_maps: dict[int, int] = {}

    def serve(self) -> None:
        """Answer requests until the orchestrator is gone, then clean up after it."""
        wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Blocked, too: one that is sent to a command before it has undone this waits, and is not lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        parent = os.pidfd_open(os.getppid())
        self._tell(0, comes_back=self._comes_back)
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
            perform = getattr(self, "_do_" + request["do"])
            self._tell(request["id"], pid=perform(request, list(descriptors)))
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
                pid, status, used = os.wait4(-1, os.WNOHANG)
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
                self._tell(
                    request_id,
                    status=os.waitstatus_to_exitcode(status),
                    # Blocks of 512 bytes (getrusage(2)).
                    usage=[used.ru_utime + used.ru_stime, used.ru_inblock * 512, used.ru_oublock * 512],
                )

    def _end_orphans(self) -> None:
        """End each PID 1 whose bwrap has ended before the one could ask to end with the other.

        One that ends by itself ends after its PID 1.
        """
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            orphans = set(map(int, file.read().split())) - self._running.keys()
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)

    # Starting sandboxes, and commands in them

    def _do_spawn(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Start a process that does the steps that the first descriptor has, and is given the others.

        With `user`, it is given an ID map besides. With `joins`, it is in the PID namespace of the first.
        """
        steps, *given = descriptors
        if request["user"] is not None:
            given.append(self._id_map(request["user"]))
        if not request["joins"]:
            pid = self._spawn(steps, given)
        elif self._comes_back:
            with self._in(given[0], CLONE_NEWPID):
                pid = self._spawn(steps, given)
        else:
            pid = self._spawn_within(steps, given)
        self._running[pid] = request["id"]
        if request["remains"] is not None:
            self._remains[request["id"]] = request["remains"]
        return pid

    def _spawn(self, steps: int, given: list[int]) -> int:
        # Without a copy of this memory, which a fork makes: the parent waits until the child is the program.
        numbers = enumerate(given, self._first)
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in numbers]
        return os.posix_spawn(
            self._stepper,
            ["flash-sandbox"],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, steps, 0), *actions],
            # Undone is this process's own treatment of signals, which would be handed on.
            setsigdef=[*IGNORED, signal.SIGPIPE, signal.SIGXFSZ],
            setsigmask=[],
        )

    def _spawn_within(self, steps: int, given: list[int]) -> int:
        """Have a child join the sandbox and leave there a child of its own, whose parent is the launcher."""
        pid_read, pid_write = os.pipe2(os.O_CLOEXEC)
        try:
            middle = self._spawn(steps, [*given, pid_write])
            os.close(pid_write)
            pid_write = -1
            message = os.read(pid_read, 4096)
            os.waitpid(middle, 0)
        finally:
            for descriptor in (pid_read, pid_write):
                if descriptor >= 0:
                    os.close(descriptor)
        # A number is of eight bytes, the last of them zero; anything else is text.
        if len(message) == 8 and message[-1] == 0:
            return int.from_bytes(message, sys.byteorder)
        raise OSError(errno.EIO, message.decode() or "the process that joins the sandbox died")

    @contextmanager
    def _in(self, init: int, namespace: int) -> Iterator[None]:
        """Be in a namespace of a sandbox for the length of a block; in one of PIDs, what is started is."""
        check(libc.setns(init, namespace), "join the sandbox")
        try:
            yield
        finally:
            check(libc.setns(self._own[namespace], namespace), "leave the sandbox")

    def _id_map(self, uid: int) -> int:
        """Return a user namespace that maps root to `uid`; the last ones are kept for the next sandbox."""
        if uid not in self._id_maps:
            if len(self._id_maps) == KEPT_ID_MAPS:
                os.close(self._id_maps.pop(next(iter(self._id_maps))))
            self._id_maps[uid] = make_id_map(uid)
        return self._id_maps[uid]

    def _do_signal(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Send a signal to a process that was started and has not been reaped yet."""
        for pid, key in self._running.items():
            if key == request["process"]:
                os.kill(pid, request["signal"])
        return 0

    def _do_name(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Give a sandbox another host name."""
        if self._comes_back:
            with self._in(descriptors[0], CLONE_NEWUTS):
                socket.sethostname(request["name"])
            return 0
        pid = os.fork()
        if pid == 0:
            try:
                check(libc.setns(descriptors[0], CLONE_NEWUSER | CLONE_NEWUTS), "join the sandbox")
                socket.sethostname(request["name"])
                os._exit(0)
            finally:
                os._exit(NOT_RUNNABLE)
        if os.waitpid(pid, 0)[1] != 0:
            raise OSError(errno.EIO, "the sandbox could not be given its name")
        return 0

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


def make_id_map(uid: int) -> int:
    """Return a descriptor of a new user namespace that maps its root to `uid` and nothing else."""
    # A child is in it that shares this memory, where a fork would copy it (4 ms), and that does nothing but
    # wait, in libc, on a stack of its own.
    stack = ctypes.create_string_buffer(STACK_BYTES)
    top = (ctypes.addressof(stack) + STACK_BYTES) & ~15
    flags = CLONE_VM | CLONE_NEWUSER | signal.SIGCHLD
    pid = check(libc.clone(libc.pause, ctypes.c_void_p(top), flags, None), "make a user namespace")
    try:
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w", encoding="ascii") as file:
                file.write(f"0 {uid} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


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
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become a subreaper")
    Launcher(connection, json.loads(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
