"""A program that makes the system calls that it is given, each a step: what to call, and how to go on.

A process that is to be confined has some eighty calls to make before it becomes the command that was asked
for. Python makes them in a fork of itself, which copies its memory; this program starts in a fraction of the
time, and holds nothing but the steps of this one process. `steps` writes them down.

It reads them from file descriptor 0 to `DATA_ADDRESS`, and does the first. Each is thirteen words of eight
bytes: the number of the call; its six arguments; where its result is put; the address of the step that comes
next, and of the one that does where the result is zero; where the text of an error is put, as an address and
a length (struct iovec); the step that comes next after an error, and after one that says that something does
not exist (ENOENT, ENOTDIR). No step is the last: that one makes a call that does not return.
"""

from __future__ import annotations

import os
import platform
import struct
from pathlib import Path
from typing import Final

from . import elf

__all__ = ["MOST_BYTES", "STEP_WORDS", "install", "program"]

STEP_WORDS: Final = 13
"""Words of one step."""

MOST_BYTES: Final = 0x4000000
"""What steps, and all that they refer to, may take together: many times what a request may have."""

# pread64(0, DATA_ADDRESS, MOST_BYTES, 0). Then, again and again: make the call of the step that rbx (x19)
# points to, put the result away, and go on by its sign. Of an error, errno is looked up in the texts.
_X86_64: Final = (
    ("b8 11 00 00 00", "       mov eax, 17            ; pread64"),
    ("31 ff", "       xor edi, edi"),
    ("be 00 00 00 10", "       mov esi, 0x10000000    ; DATA_ADDRESS"),
    ("ba 00 00 00 04", "       mov edx, 0x4000000     ; MOST_BYTES"),
    ("45 31 d2", "       xor r10d, r10d"),
    ("0f 05", "       syscall"),
    ("bb 00 00 00 10", "       mov ebx, 0x10000000"),
    ("48 8b 03", "next:  mov rax, [rbx]         ; the call"),
    ("48 8b 7b 08", "       mov rdi, [rbx + 8]"),
    ("48 8b 73 10", "       mov rsi, [rbx + 16]"),
    ("48 8b 53 18", "       mov rdx, [rbx + 24]"),
    ("4c 8b 53 20", "       mov r10, [rbx + 32]"),
    ("4c 8b 43 28", "       mov r8, [rbx + 40]"),
    ("4c 8b 4b 30", "       mov r9, [rbx + 48]"),
    ("0f 05", "       syscall"),
    ("48 8b 53 38", "       mov rdx, [rbx + 56]    ; where its result is put"),
    ("48 89 02", "       mov [rdx], rax"),
    ("48 85 c0", "       test rax, rax"),
    ("78 0e", "       js failed"),
    ("74 06", "       je zero"),
    ("48 8b 5b 40", "       mov rbx, [rbx + 64]    ; what comes next"),
    ("eb cf", "       jmp next"),
    ("48 8b 5b 48", "zero:  mov rbx, [rbx + 72]    ; ... after zero"),
    ("eb c9", "       jmp next"),
    ("48 f7 d8", "failed: neg rax                ; errno"),
    ("89 c1", "       mov ecx, eax"),
    ("81 f9 86 00 00 00", "       cmp ecx, 134           ; the number of texts"),
    ("72 02", "       jb known"),
    ("31 c9", "       xor ecx, ecx"),
    ("c1 e1 04", "known: shl ecx, 4"),
    ("0f 10 81 00 02 40 00", "       movups xmm0, [rcx + 0x400200] ; its text"),
    ("48 8b 53 50", "       mov rdx, [rbx + 80]    ; where that is put"),
    ("0f 11 02", "       movups [rdx], xmm0"),
    ("83 f8 02", "       cmp eax, 2             ; ENOENT"),
    ("74 0b", "       je absent"),
    ("83 f8 14", "       cmp eax, 20            ; ENOTDIR"),
    ("74 06", "       je absent"),
    ("48 8b 5b 58", "       mov rbx, [rbx + 88]    ; what comes next after an error"),
    ("eb 99", "       jmp next"),
    ("48 8b 5b 60", "absent: mov rbx, [rbx + 96]    ; ... after one of these two"),
    ("eb 93", "       jmp next"),
)
_AARCH64: Final = (
    ("d2800000", "       mov x0, 0"),
    ("d2a20001", "       mov x1, 0x10000000     ; DATA_ADDRESS"),
    ("d2a08002", "       mov x2, 0x4000000      ; MOST_BYTES"),
    ("d2800003", "       mov x3, 0"),
    ("d2800868", "       mov x8, 67             ; pread64"),
    ("d4000001", "       svc 0"),
    ("d2a20013", "       mov x19, 0x10000000"),
    ("f9400268", "next:  ldr x8, [x19]          ; the call"),
    ("a9408660", "       ldp x0, x1, [x19, 8]"),
    ("a9418e62", "       ldp x2, x3, [x19, 24]"),
    ("a9429664", "       ldp x4, x5, [x19, 40]"),
    ("d4000001", "       svc 0"),
    ("f9401e69", "       ldr x9, [x19, 56]      ; where its result is put"),
    ("f9000120", "       str x0, [x9]"),
    ("b7f800c0", "       tbnz x0, 63, failed"),
    ("b4000060", "       cbz x0, zero"),
    ("f9402273", "       ldr x19, [x19, 64]     ; what comes next"),
    ("17fffff6", "       b next"),
    ("f9402673", "zero:  ldr x19, [x19, 72]     ; ... after zero"),
    ("17fffff4", "       b next"),
    ("cb0003ea", "failed: neg x10, x0            ; errno"),
    ("f102195f", "       cmp x10, 134           ; the number of texts"),
    ("9a9f314b", "       csel x11, x10, xzr, cc"),
    ("d280400c", "       mov x12, 0x200"),
    ("f2a0080c", "       movk x12, 0x40, lsl 16 ; 0x400200"),
    ("8b0b118c", "       add x12, x12, x11, lsl 4"),
    ("a940398d", "       ldp x13, x14, [x12]    ; its text"),
    ("f9402a69", "       ldr x9, [x19, 80]      ; where that is put"),
    ("a900392d", "       stp x13, x14, [x9]"),
    ("f100095f", "       cmp x10, 2             ; ENOENT"),
    ("fa541944", "       ccmp x10, 20, 4, ne    ; ENOTDIR"),
    ("54000060", "       b.eq absent"),
    ("f9402e73", "       ldr x19, [x19, 88]     ; what comes next after an error"),
    ("17ffffe6", "       b next"),
    ("f9403273", "absent: ldr x19, [x19, 96]     ; ... after one of these two"),
    ("17ffffe4", "       b next"),
)
_TEXTS_ADDRESS: Final = elf.CODE_ADDRESS + 0x100
# Up to EHWPOISON (errno(3)); the first is that of all others.
_TEXTS: Final = 134


def install(path: Path) -> None:
    """Write the program of this machine to a file, unless it is there."""
    elf.install(path, program(platform.machine()))


def program(machine: str) -> bytes:
    """Return the program as a file.

    Args:
        machine: ``x86_64`` or ``aarch64``.
    """
    code = elf.code_of(machine, x86_64=_X86_64, aarch64=_AARCH64)
    code = code.ljust(_TEXTS_ADDRESS - elf.CODE_ADDRESS, b"\0") + _texts()
    return elf.executable(machine, code, data_bytes=MOST_BYTES)


def _texts() -> bytes:
    """Return a table of addresses and lengths, and the texts that it tells of."""
    table = texts = b""
    address = _TEXTS_ADDRESS + _TEXTS * 16
    for number in range(_TEXTS):
        text = os.strerror(number).encode() if number else b"unknown error"
        table += struct.pack("<QQ", address + len(texts), len(text))
        texts += text
    return table + texts
