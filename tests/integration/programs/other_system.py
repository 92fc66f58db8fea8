"""Runs ``all_clients`` where everything is taken away that not every operating system has."""

import asyncio
import functools
import os
import socket
import subprocess
import sys
import tempfile

# What Python's own modules take of these, they have taken: only what imports them from here on misses them.
_LOADED = (asyncio, subprocess, tempfile)
_MODULES = ("uvloop", "fcntl", "termios", "tty", "pty", "pwd", "grp", "resource", "readline", "syslog")
# Comes with what drives browsers in the tests, and is loaded by httpcore where it is there.
_NOT_OURS = ("trio",)
_OF_OS = (
    *("fork", "forkpty", "register_at_fork", "getuid", "geteuid", "getgid", "getegid", "setsid", "killpg"),
    *("waitid", "pidfd_open", "memfd_create", "eventfd", "pipe2", "sched_getaffinity", "sendfile", "uname"),
)


def main() -> None:
    for name in (*_MODULES, *_NOT_OURS):
        sys.modules[name] = None  # type: ignore[assignment]
    for name in _OF_OS:
        if hasattr(os, name):
            delattr(os, name)
    # The event loop wakes itself by a pair of sockets, which are others where there are no Unix sockets.
    socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)
    for name in ("AF_UNIX", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "SO_REUSEPORT"):
        delattr(socket, name)

    import all_clients

    all_clients.main(*sys.argv[1:])


if __name__ == "__main__":
    main()
