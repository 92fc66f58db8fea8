"""Who may call: the API key, who needs none, where to listen without one, and what a browser may send."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from ...errors import AuthenticationError, OriginRefusedError
from .peers import Socket, user_of_peer

__all__ = ["OWN_SITES", "Gatekeeper", "is_of_another_origin", "require_safe_bind"]

_LOCALHOST: Final = "localhost"

OWN_SITES: Final = frozenset({"same-origin", "none"})
"""What ``Sec-Fetch-Site`` is of a page's own; the second is typed in or opened from a bookmark."""


class Gatekeeper:
    """Lets in what carries the API key. Where there is no key: this process's own user, and root.

    Args:
        api_key: The key; None for none.
        insecure: Let everybody in without a key, also from beyond loopback and by any ``Host``.
        no_key: Let every user of this machine in without a key.
        hosts: Names that it answers to as ``Host``, also without a key, besides this machine's own.

    Raises:
        ValueError: The key is malformed, or given together with `no_key`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        insecure: bool = False,
        no_key: bool = False,
        hosts: Collection[str] = (),
    ) -> None:
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            raise ValueError("the API key must be visible ASCII characters, at least one")
        if api_key is not None and no_key:
            raise ValueError("--no-key contradicts the API key (--api-key or $FLASH_SANDBOX_API_KEY)")
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()
        self._is_open = api_key is None and (insecure or no_key)
        self._any_host = insecure or api_key is not None
        self._hosts = {host.lower() for host in hosts}

    def trusts(self, connection: Socket | None) -> bool:
        """Tell whether what comes by a connection may do without a key.

        Args:
            connection: This end; None where it has none, being closed.
        """
        if self._expected is not None or self._is_open:
            return self._is_open
        return connection is not None and user_of_peer(connection) in (os.geteuid(), 0)

    def check_key(self, authorization: str | None, *, trusted: bool) -> None:
        """Raise AuthenticationError unless `authorization`, the header's value, carries the key.

        A connection that `trusts` lets in needs none.
        """
        if trusted:
            return
        if self._expected is None:
            raise AuthenticationError(
                "without an API key this orchestrator answers only its own user and root, and this "
                "connection is not known to be theirs: start it with a key ($FLASH_SANDBOX_API_KEY) and give "
                "the client the same (api_key=), or start it with --no-key, which lets in every user of its "
                "machine"
            )
        if not authorization:
            raise AuthenticationError("this orchestrator asks for an API key: Authorization: Bearer KEY")
        scheme, _, key = authorization.partition(" ")
        # The scheme is case-insensitive (RFC 9110, 11.1); the key is compared in constant time.
        given = f"{scheme.capitalize()} {key.strip()}".encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            raise AuthenticationError("the API key is wrong")

    def check_browser(self, host: str | None, origin: str | None, site: str | None = None) -> None:
        """Raise OriginRefusedError for what only a web page of another origin would send.

        Such a page may make a browser call a port on this machine. Browsers then tell so themselves, in
        `site`, the header ``Sec-Fetch-Site`` (Fetch Metadata Request Headers), and that of the page itself
        is told, too, where a proxy has changed ``Host``. Where that header is missing, as in plain HTTP from
        another machine, such a page gives itself away by its ``Origin``.
        """
        is_foreign = is_of_another_origin(origin, host) if site is None else site not in OWN_SITES
        if is_foreign:
            raise OriginRefusedError("a web page of another origin may not call the orchestrator")
        self.check_host(host)

    def check_host(self, host: str | None) -> None:
        """Raise OriginRefusedError for a ``Host`` that is not this orchestrator's.

        It is that of a web page whose own name was made to resolve to this machine (DNS rebinding), which
        so has the same origin.
        """
        if not self._any_host and host and not self._is_ours(host):
            raise OriginRefusedError(
                "without an API key the orchestrator answers only to an IP address, localhost, or what "
                "--allow-host names, as Host"
            )

    def _is_ours(self, host: str) -> bool:
        return _names_this_machine(host) or (urlsplit(f"//{host}").hostname or "") in self._hosts


def is_of_another_origin(origin: str | None, host: str | None) -> bool:
    """Tell whether a request has an ``Origin`` that is not the ``Host`` that it is for."""
    return origin is not None and (host is None or urlsplit(origin).netloc.lower() != host.lower())


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
