"""A program of about 300 bytes that watches over the processes of a sandbox, from inside.

What a command has started can be told from the rest only by its parent; and the parent of a process whose own
has ended is the first process of the sandbox, unless one between them takes its orphans
(PR_SET_CHILD_SUBREAPER, prctl(2)). This program does, and needs nothing of the image. It is put into each
sandbox, read-only. Its arguments::

    supervisor                                      be idle, and have the kernel reap every orphan
    supervisor PATH... "" COMMAND [ARGUMENT...]     run the first PATH that is there, under the name COMMAND,
                                                    take its orphans, and end as it ends: with its status, or
                                                    with 128 + N for signal N; 127 and 126 as a shell does

It is written down as what it is, machine code of x86_64 with its listing, since no compiler can be counted on
where this is installed. Numbers of system calls are those of the kernel's ``syscall_64.tbl``.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["INSIDE", "idle_command", "install", "supervised"]

INSIDE: Final = "/.flash-sandbox"
"""Where it is inside a sandbox."""

# Bytes, then what they do. prctl is 157, fork 57, wait4 61, exit_group 231, execve 59, write 1,
# rt_sigaction 13, pause 34; 36 is PR_SET_CHILD_SUBREAPER, 17 SIGCHLD, whose action 1 is to be ignored.
_LISTING: Final = """
_start:
    48 83 3c 24 01           cmp QWORD PTR [rsp],0x1
    0f 84 fe 00 00 00        je idle
    bf 24 00 00 00           mov edi,0x24
    be 01 00 00 00           mov esi,0x1
    b8 9d 00 00 00           mov eax,0x9d
    0f 05                    syscall
    b8 39 00 00 00           mov eax,0x39
    0f 05                    syscall
    85 c0                    test eax,eax
    74 46                    je child
    89 c3                    mov ebx,eax
    6a 00                    push 0x0
again:
    83 cf ff                 or edi,0xffffffff
    48 89 e6                 mov rsi,rsp
    31 d2                    xor edx,edx
    45 31 d2                 xor r10d,r10d
    b8 3d 00 00 00           mov eax,0x3d
    0f 05                    syscall
    39 d8                    cmp eax,ebx
    74 10                    je ended
    85 c0                    test eax,eax
    79 e6                    jns again
    83 f8 fc                 cmp eax,0xfffffffc
    74 e1                    je again
    bf ff 00 00 00           mov edi,0xff
    eb 15                    jmp exit
ended:
    8b 3c 24                 mov edi,DWORD PTR [rsp]
    89 f8                    mov eax,edi
    83 e0 7f                 and eax,0x7f
    74 08                    je exited
    8d b8 80 00 00 00        lea edi,[rax+0x80]
    eb 03                    jmp exit
exited:
    c1 ef 08                 shr edi,0x8
exit:
    b8 e7 00 00 00           mov eax,0xe7
    0f 05                    syscall
child:
    48 8b 04 24              mov rax,QWORD PTR [rsp]
    4c 8d 74 c4 10           lea r14,[rsp+rax*8+0x10]
    4c 8d 64 24 10           lea r12,[rsp+0x10]
    4d 89 e5                 mov r13,r12
find:
    49 8b 45 00              mov rax,QWORD PTR [r13+0x0]
    49 83 c5 08              add r13,0x8
    80 38 00                 cmp BYTE PTR [rax],0x0
    75 f3                    jne find
    bd 7f 00 00 00           mov ebp,0x7f
try:
    49 8b 3c 24              mov rdi,QWORD PTR [r12]
    49 83 c4 08              add r12,0x8
    80 3f 00                 cmp BYTE PTR [rdi],0x0
    74 1e                    je failed
    4c 89 ee                 mov rsi,r13
    4c 89 f2                 mov rdx,r14
    b8 3b 00 00 00           mov eax,0x3b
    0f 05                    syscall
    83 f8 fe                 cmp eax,0xfffffffe
    74 e1                    je try
    83 f8 ec                 cmp eax,0xffffffec
    74 dc                    je try
    bd 7e 00 00 00           mov ebp,0x7e
    eb d5                    jmp try
failed:
    49 8b 75 00              mov rsi,QWORD PTR [r13+0x0]
    48 89 f2                 mov rdx,rsi
length:
    48 ff c2                 inc rdx
    80 3a 00                 cmp BYTE PTR [rdx],0x0
    75 f8                    jne length
    48 29 f2                 sub rdx,rsi
    bf 02 00 00 00           mov edi,0x2
    b8 01 00 00 00           mov eax,0x1
    0f 05                    syscall
    48 8d 35 51 00 00 00     lea rsi,[rip+not_found]
    ba 0c 00 00 00           mov edx,0xc
    83 fd 7f                 cmp ebp,0x7f
    74 0c                    je say
    48 8d 35 4c 00 00 00     lea rsi,[rip+not_runnable]
    ba 10 00 00 00           mov edx,0x10
say:
    bf 02 00 00 00           mov edi,0x2
    b8 01 00 00 00           mov eax,0x1
    0f 05                    syscall
    89 ef                    mov edi,ebp
    e9 5d ff ff ff           jmp exit
idle:
    6a 00                    push 0x0
    6a 00                    push 0x0
    6a 00                    push 0x0
    6a 01                    push 0x1
    bf 11 00 00 00           mov edi,0x11
    48 89 e6                 mov rsi,rsp
    31 d2                    xor edx,edx
    41 ba 08 00 00 00        mov r10d,0x8
    b8 0d 00 00 00           mov eax,0xd
    0f 05                    syscall
rest:
    b8 22 00 00 00           mov eax,0x22
    0f 05                    syscall
    eb f7                    jmp rest
"""
_NOT_FOUND: Final = b": not found\n"
_NOT_RUNNABLE: Final = b": cannot be run\n"

# One segment, readable and executable, at the usual address (elf(5)).
_ADDRESS: Final = 0x400000
_HEADERS: Final = 64 + 56
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
    code = b"".join(_code()) + _NOT_FOUND + _NOT_RUNNABLE
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    return identity + header + segment + code


def idle_command() -> tuple[str, ...]:
    """Return the command line that does nothing, for ever."""
    return (INSIDE,)


def supervised(command: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command line that runs a command under the program."""
    name = command[0]
    if "/" in name:
        return (INSIDE, name, "", *command)
    directories = environment.get("PATH", _PATH).split(":")
    return (INSIDE, *(f"{directory or '.'}/{name}" for directory in directories), "", *command)


def _code() -> Iterator[bytes]:
    for line in _LISTING.splitlines():
        if line.startswith("    "):
            yield bytes.fromhex(line[4:28])
