"""The seccomp filter of a sandbox, as classic BPF (``Documentation/userspace-api/seccomp_filter.rst``).

What is not allowed fails with EPERM; what this filter does not know, and ``clone3``, whose flags a
filter cannot see, with ENOSYS, so that C libraries fall back to the calls before it.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache
from typing import Final

from . import syscalls

__all__ = ["build_filter"]

# Opcodes of classic BPF (linux/filter.h): load a word, compare and jump, and, return.
_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_GREATER_OR_EQUAL: Final = 0x35
_JUMP_GREATER: Final = 0x25
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06

# Offsets in struct seccomp_data (linux/seccomp.h); arguments are 64 bits wide, little-endian.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENT: Final = 16

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_REFUSE: Final = _ERRNO | errno.EPERM
_UNKNOWN: Final = _ERRNO | errno.ENOSYS

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE3: Final = 435  # the same number everywhere
_X32_BIT: Final = 0x40000000

# CLONE_NEWCGROUP, NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h).
_CLONE_NEW: Final = 0x7E020000
# PER_LINUX, PER_LINUX32, UNAME26 and both, and "only tell me" (sys/personality.h).
_PERSONALITIES: Final = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
# AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK (sys/socket.h).
_SOCKET_FAMILIES: Final = (1, 2, 10, 16)
# TIOCSTI and TIOCLINUX put input into a terminal as if its user had typed it (ioctl_tty(2)).
_TERMINAL_INJECTIONS: Final = (0x5412, 0x541C)


@cache
def build_filter(architecture: str | None = None) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.

    Args:
        architecture: ``x86_64`` or ``aarch64``; this machine's when absent.

    Raises:
        KeyError: For an architecture whose system calls are not listed.
    """
    architecture = architecture or platform.machine()
    allowed = syscalls.numbers(architecture)
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, _AUDIT_ARCH[architecture], 1, 0),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER),
    ]
    if architecture == "x86_64":
        program += _return_if(_JUMP_GREATER_OR_EQUAL, _X32_BIT, _UNKNOWN)
    program += _return_if(_JUMP_EQUAL, _CLONE3, _UNKNOWN)
    program += _return_if(_JUMP_GREATER, syscalls.HIGHEST_KNOWN, _UNKNOWN)
    program += _argument_rules(allowed)
    for first, last in _ranges(sorted(allowed.values())):
        program += _return_if_between(first, last)
    program.append(_instruction(_RETURN, _REFUSE))
    return b"".join(program)


def _argument_rules(allowed: dict[str, int]) -> list[bytes]:
    """Return the rules for calls whose arguments decide."""
    new_namespace = [
        _instruction(_LOAD, _ARGUMENT),
        *_return_if(_JUMP_ANY_BIT, _CLONE_NEW, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]
    rules = _for_call(allowed["clone"], new_namespace)
    rules += _for_call(allowed["personality"], _only(0, _PERSONALITIES))
    rules += _for_call(allowed["socket"], _only(0, _SOCKET_FAMILIES))
    rules += _for_call(allowed["ioctl"], _all_but(1, _TERMINAL_INJECTIONS))
    return rules


def _only(index: int, values: tuple[int, ...]) -> list[bytes]:
    body = [_instruction(_LOAD, _ARGUMENT + 8 * index)]
    for value in values:
        body += _return_if(_JUMP_EQUAL, value, _ALLOW)
    return [*body, _instruction(_RETURN, _REFUSE)]


def _all_but(index: int, values: tuple[int, ...]) -> list[bytes]:
    body = [_instruction(_LOAD, _ARGUMENT + 8 * index)]
    for value in values:
        body += _return_if(_JUMP_EQUAL, value, _REFUSE)
    return [*body, _instruction(_RETURN, _ALLOW)]


def _for_call(number: int, body: list[bytes]) -> list[bytes]:
    """Return `body`, which must end in a return, to be run for one system call only."""
    return [_instruction(_JUMP_EQUAL, number, 0, len(body)), *body]


def _return_if(jump: int, operand: int, verdict: int) -> list[bytes]:
    return [_instruction(jump, operand, 0, 1), _instruction(_RETURN, verdict)]


def _return_if_between(first: int, last: int) -> list[bytes]:
    if first == last:
        return _return_if(_JUMP_EQUAL, first, _ALLOW)
    return [
        _instruction(_JUMP_GREATER_OR_EQUAL, first, 0, 2),
        _instruction(_JUMP_GREATER, last, 1, 0),
        _instruction(_RETURN, _ALLOW),
    ]


def _ranges(values: list[int]) -> list[tuple[int, int]]:
    """Return sorted numbers as runs of neighbours, the first and the last of each."""
    runs: list[tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs


def _instruction(opcode: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", opcode, if_true, if_false, operand)
