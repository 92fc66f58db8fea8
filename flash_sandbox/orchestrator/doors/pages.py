"""What a browser shows: the page at ``/``, the reader of the OpenAPI document, and the document itself.

All of it is the same for everybody and holds no data, so that it needs no API key: what the page shows, it
asks the API for. Every address in it is relative, so that it works under whatever path a proxy gives it.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ...codecs.http import encode_error
from ...errors import Reason, SandboxError, error_for
from .auth import Gatekeeper
from .call import Call
from .http_heads import require_wellformed

__all__ = ["page_routes"]

_PAGE: Final = ("flash_sandbox.orchestrator", "page")
_HTML: Final = b"text/html; charset=utf-8"
_CSS: Final = b"text/css; charset=utf-8"
_JAVASCRIPT: Final = b"text/javascript; charset=utf-8"
_JSON: Final = b"application/json"

# By path: the package and the file in it, and what that is.
_FILES: Final[dict[str, tuple[tuple[str, ...], bytes]]] = {
    "/": ((*_PAGE, "index.html"), _HTML),
    "/docs": ((*_PAGE, "docs.html"), _HTML),
    "/openapi.json": (("flash_sandbox_http", "openapi.json"), _JSON),
    "/page/icon.svg": ((*_PAGE, "icon.svg"), b"image/svg+xml"),
    **{f"/page/{name}.css": ((*_PAGE, f"{name}.css"), _CSS) for name in ("style", "docs")},
    **{
        f"/page/{name}.js": ((*_PAGE, f"{name}.js"), _JAVASCRIPT)
        for name in (
            "api",
            "app",
            "details",
            "docs",
            "dom",
            "events",
            "list",
            "plots",
            "screen",
            "snapshots",
            "terminal",
        )
    },
}

# Nothing but what comes from here, and nobody else's frame around it (Content Security Policy, level 3).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]


def page_routes(gatekeeper: Gatekeeper) -> list[Route]:
    """Return the routes of all that there is."""
    return [Route(path, _File(gatekeeper, *entry)) for path, entry in _FILES.items()]


class _File:
    """One file, as an ASGI application."""

    def __init__(self, gatekeeper: Gatekeeper, place: tuple[str, ...], content_type: bytes) -> None:
        self._gatekeeper = gatekeeper
        self._place = place
        self._content_type = content_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        call = Call.begin("http", None, "page")
        more = [(b"x-request-id", call.request_id.encode())]
        status, content_type = 200, self._content_type
        try:
            require_wellformed(headers)
            self._gatekeeper.check_host(headers.get(b"host", b"").decode("latin-1"))
            if scope["method"] not in ("GET", "HEAD"):
                more.append((b"allow", b"GET, HEAD"))
                raise error_for(Reason.METHOD_NOT_ALLOWED, "this path takes GET, HEAD", status_code=405)
            body = _content(self._place)
        except SandboxError as error:
            error.request_id = call.request_id
            content_type = _JSON
            status, body = encode_error(error)
        more += [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, *more]})
        await send({"type": "http.response.body", "body": body})


@cache
def _content(place: tuple[str, ...]) -> bytes:
    package, *names = place
    return importlib.resources.files(package).joinpath(*names).read_bytes()
