"""URLs of the ports of sandboxes: a host name for each port, and a signature that lets its bearer in.

Each port of each sandbox is an origin of its own, so that a page that it serves can act neither on another
port nor on the orchestrator. Browsers resolve every name below ``localhost`` to their own machine.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

__all__ = ["LINK", "PortLinks", "PortName"]

LINK: Final = "flash_sandbox_link"
"""The parameter of a URL, and the cookie, that has the signature."""

_LOCAL: Final = "http://localhost"
_LABEL: Final = re.compile(r"([0-9a-z]{1,40})--([0-9]{1,5})", re.ASCII)
_TOKEN: Final = re.compile(r"([0-9]{1,12})-([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class PortName:
    """A port of a sandbox, as a host name or a path names it."""

    sandbox_id: str
    port: int


class PortLinks:
    """Makes and reads what names a port.

    Args:
        domain: Domain that the names of ports are below, with ``https://`` before it where a proxy adds TLS,
            and with a port behind it where that is not the orchestrator's own. None for ``localhost``.

    Raises:
        ValueError: `domain` is malformed.

    Attributes:
        key: What signatures are made with.
        http_port: Where the orchestrator listens for HTTP.
        is_secure: Whether browsers reach the names by TLS.
    """

    def __init__(self, domain: str | None = None) -> None:
        parts = urlsplit(_LOCAL if domain is None else domain if "//" in domain else f"http://{domain}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{domain!r} is no domain for ports, such as ports.example.com")
        self.key = secrets.token_bytes(32)
        self.http_port = 0
        self.is_secure = parts.scheme == "https"
        self._domain = parts.hostname
        self._port = parts.port

    def url(self, name: PortName, ttl: float) -> str:
        """Return a URL that reaches a port for `ttl` seconds."""
        scheme = "https" if self.is_secure else "http"
        port = self._port or (None if self.is_secure else self.http_port)
        host = f"{name.sandbox_id}--{name.port}.{self._domain}" + (f":{port}" if port else "")
        return f"{scheme}://{host}/?{LINK}={self._token(name, int(time.time() + ttl) + 1)}"

    def allows(self, token: str, name: PortName) -> float | None:
        """Return the seconds for which a signature still lets its bearer in; None where it does not."""
        found = _TOKEN.fullmatch(token)
        if found is None or not hmac.compare_digest(token, self._token(name, int(found[1]))):
            return None
        left = int(found[1]) - time.time()
        return left if left > 0 else None

    def named_by(self, host: str) -> PortName | None:
        """Return the port that a host name, with or without a port behind it, names; None for none."""
        label, _, domain = host.lower().partition(".")
        found = _LABEL.fullmatch(label)
        if found is None or re.sub(r":[0-9]*$", "", domain) != self._domain:
            return None
        return PortName(found[1], int(found[2]))

    def _token(self, name: PortName, expires_at: int) -> str:
        signed = f"{name.sandbox_id} {name.port} {expires_at}".encode()
        return f"{expires_at}-{hmac.digest(self.key, signed, 'sha256').hex()}"
