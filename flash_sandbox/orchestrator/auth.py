"""Who may call: the API key, where to listen without one, and what a browser may send."""

from __future__ import annotations

import hmac
import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ..errors import AuthenticationError, PermissionDeniedError

__all__ = ["Gatekeeper", "require_safe_bind"]

_LOCALHOST: Final = "localhost"


class Gatekeeper:
    """Lets through what carries the API key, or everything where there is none.

    Args:
        api_key: The key; None lets every caller in.
        insecure: Whether to do without a key also beyond loopback, and so to take any ``Host``.
    """

    def __init__(self, api_key: str | None = None, *, insecure: bool = False) -> None:
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("the API key must be visible ASCII characters, at least one")
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()
        self._any_host = insecure or api_key is not None

    def check_key(self, authorization: str | None) -> None:
        """Raise AuthenticationError unless `authorization`, the header's value, carries the key."""
        if self._expected is None:
            return
        if not authorization:
            raise AuthenticationError("this orchestrator asks for an API key: Authorization: Bearer KEY")
        scheme, _, key = authorization.partition(" ")
        # The scheme is case-insensitive (RFC 9110, 11.1); the key is compared in constant time.
        given = f"{scheme.capitalize()} {key.strip()}".encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise AuthenticationError("the API key is wrong")

    def check_browser(self, host: str | None, origin: str | None) -> None:
        """Raise PermissionDeniedError for what only a web page would send.

        A page of another site may make a browser call a port on this machine: it gives itself away by
        its ``Origin``, or, where its own name was made to resolve to this machine (DNS rebinding), by
        its ``Host``.
        """
        if origin is not None and (host is None or urlsplit(origin).netloc.lower() != host.lower()):
            raise PermissionDeniedError("a web page of another origin may not call the orchestrator")
        if not self._any_host and host and not _names_this_machine(host):
            raise PermissionDeniedError(
                "without an API key the orchestrator answers only to an IP address or localhost as Host"
            )


@lru_cache(maxsize=256)
def _names_this_machine(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == _LOCALHOST or name.endswith("." + _LOCALHOST):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def require_safe_bind(address: str, api_key: str | None, *, insecure: bool) -> None:
    """Raise ValueError where an IP address is reachable from elsewhere and no key is asked for."""
    if api_key is None and not insecure and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        raise ValueError(
            f"{address} can be reached from other machines: set an API key (--api-key or "
            "$FLASH_SANDBOX_API_KEY), or say --insecure to let everybody in"
        )
