"""The seccomp filter of a sandbox, as classic BPF (``Documentation/userspace-api/seccomp_filter.rst``).

What is not allowed fails with EPERM; what this filter does not know, and what `syscalls.absent` lists, with
ENOSYS, so that C libraries fall back to other calls. Calls about PID 1, the guest agent, are refused by its
own filter.

Tracing does not lead around the filter: since Linux 4.8 a tracer's changes are filtered, too.
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
_NO_SUCH_PROTOCOL: Final = _ERRNO | errno.EPROTONOSUPPORT
_NO_SUCH_OPTION: Final = _ERRNO | errno.ENOPROTOOPT
_PRETEND: Final = _ERRNO  # an error number of 0: the call returns 0, and nothing was done

_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000

# CLONE_NEWCGROUP, NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET (linux/sched.h).
_CLONE_NEW: Final = 0x7E020000
# PER_LINUX, PER_LINUX32, UNAME26 and both, and "only tell me" (sys/personality.h).
_PERSONALITIES: Final = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
# sys/socket.h
_AF_UNIX: Final = 1
_AF_INET: Final = 2
_AF_INET6: Final = 10
_AF_NETLINK: Final = 16
# Types from 4 on: SOCK_RDM, SOCK_SEQPACKET (SCTP), SOCK_DCCP and SOCK_PACKET. The flags are higher bits.
_UNUSUAL_TYPES: Final = 0xC
# "The usual one", ICMP, TCP, UDP, ICMPv6 (netinet/in.h): not MPTCP, UDP-Lite, SCTP, SMC or L2TP.
_INTERNET_PROTOCOLS: Final = (0, 1, 6, 17, 58)
# NETLINK_ROUTE, NETLINK_SOCK_DIAG and NETLINK_KOBJECT_UEVENT (linux/netlink.h): not netfilter, for one.
_NETLINK_PROTOCOLS: Final = (0, 4, 15)
# setsockopt(SOL_TCP, TCP_ULP) makes another protocol (TLS, SMC) of a TCP socket.
_SOL_TCP: Final = 6
_TCP_ULP: Final = 31
# TIOCSTI and TIOCLINUX put input into a terminal as if its user had typed it (ioctl_tty(2)).
_TERMINAL_INJECTIONS: Final = (0x5412, 0x541C)
_CHANGES_OF_OWNER: Final = ("chown", "fchown", "fchownat", "lchown")


@cache
def build_filter(architecture: str | None = None, *, one_user: bool = True) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.

    Args:
        architecture: ``x86_64`` or ``aarch64``; this machine's when absent.
        one_user: Whether root is the only user of the sandbox, so that no file can be given to another one.
            ``chown`` and its like then do nothing and return 0, also for a name that is not there: programs
            that unpack or install files as root take an error there for the end.

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
    for number in syscalls.absent(architecture).values():
        program += _return_if(_JUMP_EQUAL, number, _UNKNOWN)
    program += _return_if(_JUMP_GREATER, syscalls.HIGHEST_KNOWN, _UNKNOWN)
    if one_user:
        for name in _CHANGES_OF_OWNER:
            if name in allowed:
                program += _return_if(_JUMP_EQUAL, allowed[name], _PRETEND)
    program += _argument_rules(allowed)
    for first, last in _ranges(sorted(allowed.values())):
        program += _return_if_between(first, last)
    program.append(_instruction(_RETURN, _REFUSE))
    return b"".join(program)


def _argument_rules(allowed: dict[str, int]) -> list[bytes]:
    """Return the rules for calls whose arguments decide."""
    new_namespace = [
        _argument(0),
        *_return_if(_JUMP_ANY_BIT, _CLONE_NEW, _REFUSE),
        _instruction(_RETURN, _ALLOW),
    ]
    rules = _for(allowed["clone"], new_namespace)
    rules += _for(allowed["personality"], _only(0, _PERSONALITIES))
    rules += _for(allowed["socket"], _socket_rules())
    rules += _for(allowed["socketpair"], _only(0, (_AF_UNIX,)))
    rules += _for(allowed["setsockopt"], _socket_option_rules())
    rules += _for(allowed["ioctl"], _all_but(1, _TERMINAL_INJECTIONS))
    return rules


def _socket_rules() -> list[bytes]:
    """Return the rules for ``socket(family, type, protocol)``."""
    netlink = _only(2, _NETLINK_PROTOCOLS, _NO_SUCH_PROTOCOL)
    internet = [
        _argument(1),
        *_return_if(_JUMP_ANY_BIT, _UNUSUAL_TYPES, _NO_SUCH_PROTOCOL),
        *_only(2, _INTERNET_PROTOCOLS, _NO_SUCH_PROTOCOL),
    ]
    return [
        _argument(0),
        *_return_if(_JUMP_EQUAL, _AF_UNIX, _ALLOW),
        *_for(_AF_NETLINK, netlink),
        # Either of the two.
        _instruction(_JUMP_EQUAL, _AF_INET, 1, 0),
        _instruction(_JUMP_EQUAL, _AF_INET6, 0, len(internet)),
        *internet,
        _instruction(_RETURN, _REFUSE),
    ]


def _socket_option_rules() -> list[bytes]:
    """Return the rules for ``setsockopt(socket, level, name, ...)``."""
    of_tcp = _all_but(2, (_TCP_ULP,), _NO_SUCH_OPTION)
    return [_argument(1), *_for(_SOL_TCP, of_tcp), _instruction(_RETURN, _ALLOW)]


def _only(index: int, values: tuple[int, ...], otherwise: int = _REFUSE) -> list[bytes]:
    body = [_argument(index)]
    for value in values:
        body += _return_if(_JUMP_EQUAL, value, _ALLOW)
    return [*body, _instruction(_RETURN, otherwise)]


def _all_but(index: int, values: tuple[int, ...], verdict: int = _REFUSE) -> list[bytes]:
    body = [_argument(index)]
    for value in values:
        body += _return_if(_JUMP_EQUAL, value, verdict)
    return [*body, _instruction(_RETURN, _ALLOW)]


def _argument(index: int) -> bytes:
    """Return what loads the lower half of an argument: the kernel takes each of these for an int."""
    return _instruction(_LOAD, _ARGUMENT + 8 * index)


def _for(value: int, body: list[bytes]) -> list[bytes]:
    """Return `body`, which must end in a return, to be run where that value was loaded only."""
    return [_instruction(_JUMP_EQUAL, value, 0, len(body)), *body]


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
