"""A main process that does nothing but keep a sandbox there, and that lets no zombie stay.

A process whose parent has ended becomes a child of the first one, which must take notice of its end. What
idles in most images (``tail``, ``sleep``) never does, wakes up every second, takes milliseconds to load its
libraries, and many an image has not even that.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from . import elf

__all__ = ["INSIDE", "MACHINES", "install", "program"]

MACHINES: Final = ("x86_64", "aarch64")
"""For which there is a program."""

INSIDE: Final = "/.flash-sandbox-idle"
"""Where it is inside a sandbox that it is mounted into."""

READY_FD: Final = 6
"""Where this descriptor is open, a byte is written to it and it is closed: the program runs."""

# prctl(PR_SET_DUMPABLE, 0), so that nothing in the sandbox can trace it or write to its memory;
# rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8), by which the kernel reaps all children (sigaction(2));
# write(READY_FD, stack, 1), close(READY_FD); then pause(), again and again. Numbers of system calls are
# those of the kernel's syscall_64.tbl.
_X86_64: Final = (
    ("bf 04 00 00 00", "mov edi, 4       ; PR_SET_DUMPABLE"),
    ("31 f6", "xor esi, esi"),
    ("b8 9d 00 00 00", "mov eax, 157     ; prctl"),
    ("0f 05", "syscall"),
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

# The same, with ppoll(NULL, 0, NULL, NULL) for want of a pause.
_AARCH64: Final = (
    ("d2800080", "mov x0, 4            ; PR_SET_DUMPABLE"),
    ("d2800001", "mov x1, 0"),
    ("d28014e8", "mov x8, 167          ; prctl"),
    ("d4000001", "svc 0"),
    ("d2800023", "mov x3, 1            ; SIG_IGN"),
    ("a9be7fe3", "stp x3, xzr, [sp, -32]!"),
    ("a9017fff", "stp xzr, xzr, [sp, 16]"),
    ("d2800220", "mov x0, 17           ; SIGCHLD"),
    ("910003e1", "mov x1, sp"),
    ("d2800002", "mov x2, 0"),
    ("d2800103", "mov x3, 8"),
    ("d28010c8", "mov x8, 134          ; rt_sigaction"),
    ("d4000001", "svc 0"),
    ("d28000c0", "mov x0, 6            ; READY_FD"),
    ("d2800022", "mov x2, 1"),
    ("d2800808", "mov x8, 64           ; write"),
    ("d4000001", "svc 0"),
    ("d28000c0", "mov x0, 6"),
    ("d2800728", "mov x8, 57           ; close"),
    ("d4000001", "svc 0"),
    ("d2800000", "mov x0, 0"),
    ("d2800001", "mov x1, 0"),
    ("d2800002", "mov x2, 0"),
    ("d2800003", "mov x3, 0"),
    ("d2800928", "mov x8, 73           ; ppoll"),
    ("d4000001", "svc 0"),
    ("17fffffa", "b -24                ; mov x0, 0"),
)


def install(path: Path) -> None:
    """Write the program of this machine to a file, unless it is there."""
    elf.install(path, program(platform.machine()))


def program(machine: str) -> bytes:
    """Return the program as a file.

    Args:
        machine: One of `MACHINES`.
    """
    return elf.executable(machine, elf.code_of(machine, x86_64=_X86_64, aarch64=_AARCH64))
