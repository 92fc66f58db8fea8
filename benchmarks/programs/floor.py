"""What the kernel and bwrap alone take, measured in a bare interpreter: ``python -I -S floor.py BWRAP``.

Reads one word a line, does it once and answers with the seconds it took:

``start``  fork, execve of bwrap with the namespaces of our sandboxes, its command running and ended;
``exec``   fork, setns into a sandbox, fork, drop every privilege, execve of ``true``, waited for;
``stop``   SIGKILL to a sandbox's PID 1, waited for.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

NAMESPACES = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000 | 0x2000000
NO_CAPABILITIES = ((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
libc = ctypes.CDLL(None, use_errno=True)


class Floor:
    """The three measures, with one idle sandbox to exec in."""

    def __init__(self, bwrap: str) -> None:
        self._bwrap = bwrap
        self._monitor, self._init = self._sandbox(["/bin/sleep", "1000000"])

    def start(self) -> float:
        """Return the seconds from nothing to a command that has run."""
        begun = time.perf_counter()
        pid = self.spawn(["/bin/true"], None)
        os.waitpid(pid, 0)
        return time.perf_counter() - begun

    def exec(self) -> float:
        """Return the seconds of a command in the idle sandbox."""
        begun = time.perf_counter()
        descriptor = os.pidfd_open(self._init)
        pid = os.fork()
        if pid == 0:
            self._join(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        return time.perf_counter() - begun

    def stop(self) -> float:
        """Return the seconds that it takes a sandbox to end."""
        monitor, init = self._sandbox(["/bin/sleep", "1000000"])
        begun = time.perf_counter()
        os.kill(init, signal.SIGKILL)
        os.waitpid(monitor, 0)
        return time.perf_counter() - begun

    def close(self) -> None:
        """End the idle sandbox."""
        os.kill(self._init, signal.SIGKILL)
        os.waitpid(self._monitor, 0)

    def _sandbox(self, command: list[str]) -> tuple[int, int]:
        status_read, status_write = os.pipe()
        pid = self.spawn(command, status_write)
        os.close(status_write)
        text = ""
        while "\n" not in text:
            text += os.read(status_read, 4096).decode()
        # Left open: bwrap writes to it once more, when it ends.
        init: int = json.loads(text.splitlines()[0])["child-pid"]
        while os.readlink(f"/proc/{self._main(init)}/exe") == self._bwrap:
            time.sleep(0.001)
        return pid, init

    def _main(self, init: int) -> str:
        while True:
            with open(f"/proc/{init}/task/{init}/children") as file:
                children = file.read().split()
            if children:
                return children[0]

    def spawn(self, command: list[str], status: int | None) -> int:
        """Start bwrap with a command, and return its process ID."""
        line = [self._bwrap, "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-ipc", "--unshare-pid"]
        line += ["--unshare-net", "--unshare-uts", "--unshare-cgroup", "--die-with-parent", "--new-session"]
        line += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink("/" + name):
                line += ["--symlink", os.readlink("/" + name), "/" + name]
            elif os.path.isdir("/" + name):
                line += ["--ro-bind", "/" + name, "/" + name]
        if status is not None:
            line += ["--json-status-fd", str(status)]
            os.set_inheritable(status, True)
        pid = os.fork()
        if pid == 0:
            try:
                os.execve(self._bwrap, [*line, "--", *command], {})
            finally:
                os._exit(1)
        return pid

    def _join(self, descriptor: int) -> None:
        try:
            if libc.setns(descriptor, NAMESPACES) != 0:
                os._exit(2)
            pid = os.fork()
            if pid == 0:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                for capability in range(41):
                    libc.prctl(24, capability, 0, 0, 0)
                libc.prctl(38, 1, 0, 0, 0)
                libc.capset(*NO_CAPABILITIES)
                os.execve("/bin/true", ["true"], {})
            _, status = os.waitpid(pid, 0)
            os._exit(os.waitstatus_to_exitcode(status))
        finally:
            os._exit(3)


def main() -> None:
    floor = Floor(sys.argv[1])
    measures = {"start": floor.start, "exec": floor.exec, "stop": floor.stop}
    for line in sys.stdin:
        print(measures[line.strip()](), flush=True)
    floor.close()


if __name__ == "__main__":
    main()
