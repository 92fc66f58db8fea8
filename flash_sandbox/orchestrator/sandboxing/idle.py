"""A main process that does nothing but keep a sandbox there, and that lets no zombie stay.

A process whose parent has ended becomes a child of the first one, which must take notice of its end. What
idles in most images (``tail``, ``sleep``) never does, wakes up every second, takes milliseconds to load its
libraries, and many an image has not even that. This program is machine code of x86_64 alone.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from . import elf

__all__ = ["INSIDE", "install", "program"]

INSIDE: Final = "/.flash-sandbox-idle"
"""Where it is inside a sandbox that it is mounted into."""

READY_FD: Final = 6
"""Where this descriptor is open, a byte is written to it and it is closed: the program runs."""

# rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8), by which the kernel reaps all children (sigaction(2));
# write(READY_FD, stack, 1), close(READY_FD); then pause(), again and again. Numbers of system calls are
# those of the kernel's syscall_64.tbl.
_LISTING: Final = (
    ("6a 00", "push 0"),
    ("6a 00", "push 0"),
    ("6a 00", "push 0"),
    ("6a 01", "push 1           ; SIG_IGN"),
    ("bf 11 00 00 00", "mov edi, 17      ; SIGCHLD"),
    ("48 89 e6", "mov rsi, rsp"),
    ("31 d2", "xor edx, edx"),
    ("41 ba 08 00 00 00", "mov r10d, 8"),
    ("b8 0d 00 00 00", "mov eax, 13      ; rt_sigaction"),
    ("0f 05", "syscall"),
    ("bf 06 00 00 00", "mov edi, 6       ; READY_FD"),
    ("ba 01 00 00 00", "mov edx, 1"),
    ("b8 01 00 00 00", "mov eax, 1       ; write"),
    ("0f 05", "syscall"),
    ("b8 03 00 00 00", "mov eax, 3       ; close"),
    ("0f 05", "syscall"),
    ("b8 22 00 00 00", "mov eax, 34      ; pause"),
    ("0f 05", "syscall"),
    ("eb f7", "jmp -9           ; pause"),
)


def install(path: Path) -> bool:
    """Write the program to a file, unless it is there; tell whether this machine can run it."""
    if platform.machine() != "x86_64":
        return False
    elf.install(path, program())
    return True


def program() -> bytes:
    """Return the program as a file."""
    return elf.executable("x86_64", b"".join(bytes.fromhex(line) for line, _ in _LISTING))
