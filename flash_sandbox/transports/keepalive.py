"""Let TCP find out within a minute that a peer is gone, as far as the system can."""

from __future__ import annotations

import socket
from typing import Final

__all__ = ["SOCKET_OPTIONS", "keep_alive"]

# Seconds before the first probe and between probes, and how many may be lost; macOS has another name for one.
_TCP: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))

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
