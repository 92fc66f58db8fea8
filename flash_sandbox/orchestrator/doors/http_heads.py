"""Headers of HTTP that must have a certain form before anybody reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from ...errors import InvalidArgumentError

__all__ = ["require_wellformed"]

# A name or an IP address, and perhaps a port (RFC 9110, 7.2; RFC 3986, 3.2.2).
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?", re.ASCII)


def require_wellformed(headers: Mapping[bytes, bytes]) -> None:
    """Raise InvalidArgumentError for a ``Host`` or an ``Origin`` that cannot be read."""
    host = headers.get(b"host", b"")
    if not _HOST.fullmatch(host) or not _can_be_read(b"//" + host):
        raise InvalidArgumentError("the header Host is malformed")
    if not _can_be_read(headers.get(b"origin", b"")):
        raise InvalidArgumentError("the header Origin is malformed")


def _can_be_read(address: bytes) -> bool:
    try:
        urlsplit(address.decode("latin-1"))
    except ValueError:
        return False
    return True
