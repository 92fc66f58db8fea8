"""Connecting to the addresses of a host, one after the other, in the time of one."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import TypeVar

from .signal_handlers import handlers_exception

__all__ = ["first_connected"]

T = TypeVar("T")


def first_connected(host: str, port: int, connect: Callable[[str], T]) -> T:
    """Return what `connect` makes of the first IP address that takes it.

    `socket.create_connection` gives each address of a host the whole time.

    Raises:
        Exception: What `connect` raised for the last one.
        OSError: The host has no address.
    """
    handled = sys.exc_info()[1]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: Exception = OSError(f"{host} has no address")
    for address in dict.fromkeys(str(place[0]) for *_, place in found):
        try:
            return connect(address)
        except Exception as error:
            if handlers_exception(error, handled) is not None:
                raise
            failure = error
    raise failure
