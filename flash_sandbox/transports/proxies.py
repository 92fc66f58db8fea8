"""The HTTP proxy that the environment names for an address, and clients that go through it.

The variables are those of most programs: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx

from ..address import Address
from ..errors import InvalidArgumentError
from .tls import default_context

__all__ = ["client_through", "proxy_for", "without_password"]

Client = TypeVar("Client", httpx.Client, httpx.AsyncClient)


def proxy_for(address: Address) -> str | None:
    """Return the URL of the proxy for `address`; None for none, and always so on this machine."""
    if address.is_loopback or proxy_bypass(address.host) or proxy_bypass(address.authority):
        return None
    known = getproxies()
    proxy = known.get("https" if address.tls else "http") or known.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def client_through(proxy: str, make: Callable[..., Client]) -> Client:
    """Return a client of httpx that sends everything through `proxy`.

    Args:
        proxy: URL of the proxy.
        make: Class of the client.

    Raises:
        InvalidArgumentError: The URL is malformed, or httpx lacks a package for its scheme.
    """
    settings: dict[str, Any] = {"verify": default_context(), "trust_env": False}
    try:
        return make(proxy=proxy, **settings)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        shown = without_password(proxy)
        raise InvalidArgumentError(f"the environment names the proxy {shown}: {error}") from error


def without_password(proxy: str) -> str:
    """Return the URL of a proxy without the user name and the password that it may hold."""
    scheme, separator, rest = proxy.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
