"""The HTTP proxy that the environment names for an address, and connections that go through it.

The variables are those of most programs: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from ..address import Address
from ..errors import InvalidArgumentError
from .limits import MOST_CONNECTIONS, MOST_IDLE

__all__ = ["async_proxy_pool", "proxy_for", "proxy_pool", "without_password"]

Pool = TypeVar("Pool", httpcore.ConnectionPool, httpcore.AsyncConnectionPool)


def proxy_for(address: Address) -> str | None:
    """Return the URL of the proxy for `address`; None for none, and always so on this machine."""
    if address.is_loopback or proxy_bypass(address.host) or proxy_bypass(address.authority):
        return None
    known = getproxies()
    proxy = known.get("https" if address.tls else "http") or known.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_pool(proxy: str, settings: dict[str, Any]) -> httpcore.ConnectionPool:
    """Return connections that go through a proxy.

    Args:
        proxy: URL of the proxy.
        settings: Of each connection, as httpcore names them.

    Raises:
        InvalidArgumentError: The URL is malformed, or httpcore lacks a package for its scheme.
    """
    return _through(proxy, httpcore.HTTPProxy, httpcore.SOCKSProxy, settings)


def async_proxy_pool(proxy: str, settings: dict[str, Any]) -> httpcore.AsyncConnectionPool:
    """Return the same for an event loop."""
    return _through(proxy, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy, settings)


def _through(
    proxy: str, http: Callable[..., Pool], socks: Callable[..., Pool], settings: dict[str, Any]
) -> Pool:
    limits = {"max_connections": MOST_CONNECTIONS, "max_keepalive_connections": MOST_IDLE}
    try:
        # Which takes the user name and the password out of the URL.
        known = httpx.Proxy(proxy)
        url = httpcore.URL(
            scheme=known.url.raw_scheme,
            host=known.url.raw_host,
            port=known.url.port,
            target=known.url.raw_path,
        )
        if known.url.scheme.startswith("socks5"):
            settings = {name: value for name, value in settings.items() if name != "socket_options"}
            return socks(url, known.raw_auth, **settings, **limits)
        return http(url, known.raw_auth, **settings, **limits)
    except (ValueError, ImportError, RuntimeError, httpx.InvalidURL) as error:
        shown = without_password(proxy)
        raise InvalidArgumentError(f"the environment names the proxy {shown}: {error}") from error


def without_password(proxy: str) -> str:
    """Return the URL of a proxy without the user name and the password that it may hold."""
    scheme, separator, rest = proxy.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
