"""Starting ``runsc``, and hearing of the end of it and of the processes that it leaves behind.

``runsc run --detach`` ends as soon as the sandbox runs, and its processes become orphans. They are made
children of this process (PR_SET_CHILD_SUBREAPER, prctl(2)), for as long as that takes: so their exit status
is known, and they are reaped at once. Where the first process of the host is slow to reap, ``runsc delete``
waits for it, most of two seconds, since kill(2) cannot tell a zombie from a process.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["ProcessEnd", "adopting_orphans", "reap", "spawn"]

_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37


class _Adopting:
    """How many starts are under way that need orphans to come here, and what held before the first."""

    def __init__(self) -> None:
        self.starts = 0
        self.before = 0


_adopting = _Adopting()


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """Make orphaned descendants of this process its children, for the length of the block."""
    libc = ctypes.CDLL(None, use_errno=True)
    if _adopting.starts == 0:
        before = ctypes.c_int()
        libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
        _adopting.before = before.value
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _adopting.starts += 1
    try:
        yield
    finally:
        _adopting.starts -= 1
        if _adopting.starts == 0:
            libc.prctl(_PR_SET_CHILD_SUBREAPER, _adopting.before, 0, 0, 0)


class ProcessEnd:
    """The end of one process, child or not. Bound to the running event loop.

    Attributes:
        pid: The process.
        status: Done once it has ended; the exit status (128 + N for signal N), or None where the process
            was no child, so that nobody here can know.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self.status: asyncio.Future[int | None] = self._loop.create_future()
        self._descriptor = os.pidfd_open(pid)
        self._loop.add_reader(self._descriptor, self._on_end)

    def kill(self) -> None:
        """End it with SIGKILL, unless it has ended."""
        if self._descriptor >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Stop waiting."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_end(self) -> None:
        status: int | None = None
        with suppress(ChildProcessError):
            found = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED)
            if found is not None:
                status = found.si_status + (0 if found.si_code == os.CLD_EXITED else 128)
        self.close()
        if not self.status.done():
            self.status.set_result(status)


def spawn(
    line: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    held: Sequence[int] = (),
) -> ProcessEnd:
    """Start a program and return its end to be.

    An event loop of libuv's would do it by fork(2), which copies this process's page tables: 4 ms and more.
    The standard library uses vfork(2).

    Args:
        line: The program and its arguments.
        stdin: Descriptor that is its standard input.
        stdout: Descriptor that is its standard output.
        stderr: Descriptor that is its standard error.
        held: Descriptors that it and what it starts are to inherit.
    """
    process = subprocess.Popen(
        line,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(held),
        # What runsc starts keeps them, where it becomes another user, too.
        extra_groups=() if os.geteuid() == 0 else None,
    )
    end = ProcessEnd(process.pid)
    # Waited for by its descriptor alone; the object would complain that it was not.
    process.returncode = 0
    return end


def reap(pids: Iterable[int]) -> None:
    """Reap those of some processes that are children of this one and have ended."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
