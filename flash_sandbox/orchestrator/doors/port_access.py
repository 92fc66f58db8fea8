"""Who may reach a port of a sandbox over HTTP, and what of the headers goes through, either way.

A page that a sandbox serves is hostile. By its host name it has an origin of its own. By a path it would have
the orchestrator's: there it gets an opaque origin instead, without scripts and cookies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from ...errors import AuthenticationError, OriginRefusedError
from ..core.port_links import LINK, PortLinks, PortName
from ..network.one_connection import OF_ONE_CONNECTION, named_by_connection
from .auth import OWN_SITES, Gatekeeper, is_of_another_origin
from .connection import Connection
from .http_exchange import Headers, text_of

__all__ = ["Admission", "PortAccess", "Target"]

_Pairs = list[tuple[bytes, bytes]]

_PATH: Final = re.compile(
    rb"/sandboxes/([A-Za-z0-9][A-Za-z0-9_.-]{0,127})/ports/([0-9]{1,5})(/.*)?", re.DOTALL
)
_LINK_OF_QUERY: Final = LINK.encode() + b"="
# Of one connection alone, or of none that this server makes.
_HOP_BY_HOP: Final = OF_ONE_CONNECTION | {b"trailer", b"expect"}
# They speak for more than the origin of the port, or for the orchestrator's.
_NEVER_ANSWERED: Final = frozenset(
    b"strict-transport-security alt-svc clear-site-data nel report-to reporting-endpoints".split()
)
_NEVER_ANSWERED_BY_PATH: Final = _NEVER_ANSWERED | frozenset(
    b"set-cookie service-worker-allowed access-control-allow-origin access-control-allow-credentials".split()
)
_BY_PATH: Final[_Pairs] = [
    (b"content-security-policy", b"sandbox"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]
_BY_NAME: Final[_Pairs] = [(b"origin-agent-cluster", b"?1")]


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is for.

    Attributes:
        name: The port.
        path: Path of the request, as the program in the sandbox sees it; empty where its slash is missing.
        is_by_path: Whether the path of the URL named the port, and not the host.
    """

    name: PortName
    path: bytes
    is_by_path: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """How a caller was let in.

    Attributes:
        query: The query without what is the orchestrator's.
        by_key: Whether by the orchestrator's key, which goes no further.
        cookie: A cookie that lets a browser in from here on; empty where it needs none.
    """

    query: bytes
    by_key: bool = False
    cookie: bytes = b""


class PortAccess:
    """Lets in what carries the key or a link.

    Args:
        links: Reads links.
        gatekeeper: Knows the key.
    """

    def __init__(self, links: PortLinks, gatekeeper: Gatekeeper) -> None:
        self._links = links
        self._gatekeeper = gatekeeper

    def target(self, headers: Headers, path: bytes) -> Target | None:
        """Return what a request is for; None for the orchestrator itself."""
        name = self._links.named_by(headers.get(b"host", b"").decode("latin-1"))
        if name is not None:
            return Target(name, path, is_by_path=False)
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        return Target(PortName(found[1].decode(), int(found[2])), found[3] or b"", is_by_path=True)

    def admit(
        self, target: Target, method: str, headers: Headers, query: bytes, connection: Connection
    ) -> Admission:
        """Let a caller in.

        Raises:
            AuthenticationError: It has neither the key nor a link that is good.
            OriginRefusedError: A web page of another origin may have sent it.
        """
        parts = query.split(b"&") if query else []
        given = [part for part in parts if part.startswith(_LINK_OF_QUERY)]
        rest = b"&".join(part for part in parts if not part.startswith(_LINK_OF_QUERY))
        if target.is_by_path and headers.get(b"service-worker") is not None:
            raise OriginRefusedError("a sandbox may not serve a service worker of the orchestrator's origin")
        if given:
            return self._by_link(
                target, method, headers, given[0][len(_LINK_OF_QUERY) :].decode("latin-1"), rest
            )
        if not target.is_by_path and self._has_cookie(target, headers):
            _require_own_page(headers, may_navigate=method in ("GET", "HEAD"))
            return Admission(rest)
        if target.is_by_path:
            self._gatekeeper.check_browser(
                text_of(headers, b"host"), text_of(headers, b"origin"), text_of(headers, b"sec-fetch-site")
            )
        elif connection.trusted:
            _require_own_page(headers, may_navigate=False)
        self._gatekeeper.check_key(text_of(headers, b"authorization"), trusted=connection.trusted)
        return Admission(rest, by_key=not connection.trusted)

    def to_send(self, target: Target, admission: Admission, headers: _Pairs) -> Iterator[tuple[bytes, bytes]]:
        """Yield the headers of a request that go to the sandbox."""
        hidden = _HOP_BY_HOP | named_by_connection(headers)
        if target.is_by_path:
            hidden |= {b"authorization", b"cookie"}
        elif admission.by_key:
            hidden |= {b"authorization"}
        for name, value in headers:
            if name == b"cookie" and name not in hidden:
                value = b"; ".join(
                    part
                    for part in re.split(rb"; *", value)
                    if part.partition(b"=")[0].strip() != LINK.encode()
                )
                if value:
                    yield name, value
            elif name not in hidden:
                yield name, value

    def to_answer(self, target: Target, headers: _Pairs) -> _Pairs:
        """Return the headers of an answer that go to the caller."""
        pairs = [(name.lower(), value) for name, value in headers]
        hidden = _HOP_BY_HOP | named_by_connection(pairs) | {b"transfer-encoding"}
        hidden |= _NEVER_ANSWERED_BY_PATH if target.is_by_path else _NEVER_ANSWERED
        answered = [(name, value) for name, value in pairs if name not in hidden and name != b"set-cookie"]
        if not target.is_by_path:
            cookies = (_host_only(value) for name, value in pairs if name == b"set-cookie")
            answered += [(b"set-cookie", cookie) for cookie in cookies if cookie]
        return answered + (_BY_PATH if target.is_by_path else _BY_NAME)

    def _by_link(self, target: Target, method: str, headers: Headers, token: str, rest: bytes) -> Admission:
        seconds = self._links.allows(token, target.name)
        if seconds is None:
            raise AuthenticationError("the link is not one of this port, or has expired")
        # Only what somebody looks at keeps cookies; a program sends the whole URL again.
        if target.is_by_path or method != "GET" or b"text/html" not in headers.get(b"accept", b""):
            return Admission(rest)
        secure = "; Secure" if self._links.is_secure else ""
        cookie = f"{LINK}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={int(seconds) + 1}{secure}"
        return Admission(rest, cookie=cookie.encode())

    def _has_cookie(self, target: Target, headers: Headers) -> bool:
        found = re.findall(
            rf"(?:^|; *){LINK}=([0-9a-f-]+)", headers.get(b"cookie", b"").decode("latin-1"), re.ASCII
        )
        return any(self._links.allows(token, target.name) is not None for token in found)


def _require_own_page(headers: Headers, *, may_navigate: bool) -> None:
    """Refuse what a page of another origin may have sent: what lets it in here comes by itself."""
    site = text_of(headers, b"sec-fetch-site")
    is_foreign = is_of_another_origin(text_of(headers, b"origin"), text_of(headers, b"host"))
    if site is not None and site not in OWN_SITES:
        # To follow a link from elsewhere is no harm.
        is_link = (headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")) == (
            b"navigate",
            b"document",
        )
        is_foreign = is_foreign or not (may_navigate and is_link)
    if is_foreign:
        raise OriginRefusedError("a web page of another origin may not use the ports of a sandbox")


def _host_only(cookie: bytes) -> bytes:
    """Return a cookie for the host of the port alone; nothing for one that would take a link's place."""
    try:
        read = SimpleCookie(cookie.decode("latin-1"))
    except CookieError:
        return b""
    if LINK in read or cookie.partition(b"=")[0].strip() == LINK.encode():
        return b""
    parts = cookie.split(b";")
    return b";".join(
        part for part in parts if part is parts[0] or part.strip().partition(b"=")[0].lower() != b"domain"
    )
