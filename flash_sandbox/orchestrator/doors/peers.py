"""Who owns the other end of a TCP connection within this machine: the kernel knows the user of every socket.

It is asked by sock_diag(7), which needs no privilege. It answers for this process's network namespace, and
numbers users as this process's user namespace does.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any, Final, Protocol

__all__ = ["Socket", "user_of_peer"]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1

# struct nlmsghdr; inet_diag_req_v2 before its inet_diag_sockid; inet_diag_msg before and after its own
# (linux/netlink.h, linux/inet_diag.h).
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI")
_ANSWER: Final = struct.Struct("=BBBB")
_OWNER: Final = struct.Struct("=IIIII")
# In network byte order: source and destination port, their addresses. The interface and the cookie follow:
# "any" here.
_SOCKET: Final = struct.Struct("!HH16s16s")
_ANY: Final = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_ALL_STATES: Final = 0xFFFFFFFF
# Of a connection (linux/tcp_states.h).
_ESTABLISHED: Final = 1
_SYN_SENT: Final = 2
_CLOSE_WAIT: Final = 8

_UNMAPPED: Final = Path("/proc/sys/kernel/overflowuid")
_USERS: Final = Path("/proc/self/uid_map")
_ALL_USERS: Final = ["0", "0", "4294967295"]

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_End = tuple[_IPAddress, int]


class Socket(Protocol):
    """What is needed of a socket, as `socket.socket` and the transports of event loops have it."""

    def getpeername(self) -> Any:
        """Return the address of the other end."""
        ...

    def getsockname(self) -> Any:
        """Return the address of this end."""
        ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option of the socket."""
        ...


def user_of_peer(connection: Socket) -> int | None:
    """Return the user ID that owns the other end of a TCP connection, or None where the kernel does not tell.

    It does not tell of a socket on another machine or in another network namespace, of one that has been
    closed, and of a user who has no number in this process's user namespace.

    Args:
        connection: This end.
    """
    try:
        found = _find(_end(connection.getpeername()), _end(connection.getsockname()))
        if found is None or _stands_for_others(found):
            return None
        # A connection that was reset can still be read from, and its port be another user's meanwhile. So
        # long as this end has not been, nobody else can have the other one.
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return found if state in (_ESTABLISHED, _CLOSE_WAIT) else None
    except (OSError, ValueError, LookupError, struct.error):
        # No netlink in this sandbox or container, or no inet_diag in this kernel.
        return None


def _find(peer: _End, local: _End) -> int | None:
    family = socket.AF_INET if peer[0].version == 4 else socket.AF_INET6
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES)
    body += _SOCKET.pack(peer[1], local[1], peer[0].packed, local[0].packed) + _ANY
    head = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG
    ) as kernel:
        # The kernel answers within `sendto`.
        kernel.sendto(head + body, (0, 0))
        answer, (sender, _) = kernel.recvfrom(8192)
    if sender != 0 or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    return _owner(answer, peer, local)


def _owner(answer: bytes, peer: _End, local: _End) -> int | None:
    at = _HEADER.size
    family, state, _, _ = _ANSWER.unpack_from(answer, at)
    at += _ANSWER.size
    peer_port, local_port, *packed = _SOCKET.unpack_from(answer, at)
    size = 4 if family == socket.AF_INET else 16
    peer_host, local_host = (_address(ipaddress.ip_address(each[:size])) for each in packed)
    # Where the connection has gone, the kernel answers with one that listens on the same port.
    if ((peer_host, peer_port), (local_host, local_port)) != (peer, local):
        return None
    user, inode = _OWNER.unpack_from(answer, at + _SOCKET.size + len(_ANY))[3:]
    # A socket that its program has closed, but whose connection goes on, is told as root's and has no inode.
    return int(user) if inode and state != _SYN_SENT else None


def _end(address: Any) -> _End:
    return _address(ipaddress.ip_address(str(address[0]).partition("%")[0])), int(address[1])


def _address(address: _IPAddress) -> _IPAddress:
    """Return the IPv4 address that an IPv6 socket uses, where it does."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _stands_for_others(user: int) -> bool:
    """Tell whether `user` is what everybody is called who has no number in this user namespace."""
    return user == int(_UNMAPPED.read_text()) and _USERS.read_text().split() != _ALL_USERS
