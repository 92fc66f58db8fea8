"""Headers of HTTP that are about one connection, and go no further (RFC 9110, 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["OF_ONE_CONNECTION", "named_by_connection"]

OF_ONE_CONNECTION: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te upgrade".split()
)
"""Those that always are."""


def named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return those that a message itself calls so; the names of its headers are in small letters."""
    return frozenset(
        option.strip().lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    )
