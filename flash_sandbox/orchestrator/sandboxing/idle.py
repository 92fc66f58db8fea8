"""A main process that does nothing but keep a sandbox there, and that lets no zombie stay.

A process whose parent has ended becomes a child of the first one, which must take notice of its end. What
idles in most images (``tail``, ``sleep``) never does, wakes up every second, takes milliseconds to load its
libraries, and many an image has not even that. This program is written down as what it is, machine code of
x86_64 with its listing, since no compiler can be counted on where this is installed.
"""

from __future__ import annotations

import platform
import struct
from pathlib import Path
from typing import Final

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
# One segment, readable and executable, at the usual address (elf(5)).
_ADDRESS: Final = 0x400000
_HEADERS: Final = 64 + 56


def install(path: Path) -> bool:
    """Write the program to a file, unless it is there; tell whether this machine can run it."""
    if platform.machine() != "x86_64":
        return False
    content = program()
    if not path.exists() or path.read_bytes() != content:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
    path.chmod(0o555)
    return True


def program() -> bytes:
    """Return the program: an ELF file for x86_64."""
    code = b"".join(bytes.fromhex(line) for line, _ in _LISTING)
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return identity + header + segment + code
