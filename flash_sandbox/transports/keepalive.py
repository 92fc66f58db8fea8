"""Let TCP find out within a minute that a peer is gone, as far as the system can."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["SOCKET_OPTIONS", "keep_alive"]

_TCP: Final = (
    # Seconds before the first probe (macOS has the second name) and between probes; how many may be lost.
    ("TCP_KEEPIDLE", 30),
    ("TCP_KEEPALIVE", 30),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    # There are no probes while what was sent waits for its acknowledgement; this is in milliseconds (tcp(7)).
    ("TCP_USER_TIMEOUT", 60_000),
)

SOCKET_OPTIONS: Final[list[tuple[int, int, int]]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, option, value)
        for name, value in _TCP
        if (option := getattr(socket, name, None)) is not None
    ),
]
"""The options to set on a TCP socket."""


def keep_alive(sock: socket.socket) -> None:
    """Set `SOCKET_OPTIONS` on a TCP socket."""
    for level, option, value in SOCKET_OPTIONS:
        sock.setsockopt(level, option, value)
