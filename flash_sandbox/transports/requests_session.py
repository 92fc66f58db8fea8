"""An httpx transport over a requests.Session, with its adapters, auth, headers, cookies and TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any, Final, cast

import httpx
import requests

from ..address import Address

__all__ = ["RequestsTransport"]

# Names that httpx adds of itself; the session's own take their place.
_FROM_SESSION = frozenset({"user-agent", "connection", "host"})

# What cannot be sent, as requests finds before it connects.
_MALFORMED: Final = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)


class RequestsTransport(httpx.BaseTransport):
    """Send what httpx asks for by a requests.Session, which is not closed.

    Args:
        session: The session.
        address: Where everything is sent.
    """

    def __init__(self, session: requests.Session, address: Address) -> None:
        self._session = session
        # The proxies of the environment are for other machines than this one.
        self._reads_proxies = not address.is_loopback

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to `request`; failures are httpx's."""
        timeout = request.extensions.get("timeout", {})
        headers = {name: value for name, value in request.headers.items() if name not in _FROM_SESSION}
        headers.pop("content-length", None)
        chunked = headers.pop("transfer-encoding", None) is not None
        try:
            answer = self._session.request(
                request.method,
                str(request.url),
                data=iter(cast(httpx.SyncByteStream, request.stream)) if chunked else request.read() or None,
                headers=headers,
                timeout=(timeout.get("connect"), timeout.get("read")),
                allow_redirects=False,
                stream=True,
                proxies=None if self._reads_proxies else self._own_proxies(),
                # Else a netrc file, which may have an entry for every host, would take the key's place.
                auth=_keep if "authorization" in headers and not self._session.auth else None,
            )
        except requests.exceptions.RequestException as error:
            if error.response is not None:
                # What a hook has refused is still to be read.
                error.response.close()
            raise _translated(error) from error
        # requests undoes the chunks while the body is read.
        kept = [
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in ("transfer-encoding", "content-length")
        ]
        return httpx.Response(answer.status_code, headers=kept, stream=_Body(answer))

    def _own_proxies(self) -> Any:
        """Return the session's own proxies, and None for what requests would look for in the environment."""
        return {scheme: self._session.proxies.get(scheme) for scheme in ("http", "https", "all")}


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: requests.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._answer.iter_content(64 * 1024)
        except requests.exceptions.RequestException as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._answer.close()


def _keep(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate by the headers that the request has."""
    return request


def _translated(error: requests.exceptions.RequestException) -> httpx.HTTPError:
    text = str(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return httpx.ConnectTimeout(text)
    if isinstance(error, requests.exceptions.Timeout):
        return httpx.ReadTimeout(text)
    if isinstance(error, _MALFORMED) or _never_made(error):
        return httpx.ConnectError(text)
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return httpx.ReadError(text)
    # The session has refused an answer: by a hook, or as its adapter's retries have it.
    return httpx.DecodingError(text)


def _never_made(error: requests.exceptions.RequestException) -> bool:
    if isinstance(error, requests.exceptions.ProxyError):
        return True
    # urllib3 tells by its own classes, wrapped in MaxRetryError, whether a connection was made.
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    if isinstance(error, requests.exceptions.SSLError):
        # Any other may end a connection that has carried the request.
        inner = reason.args[0] if isinstance(reason, Exception) and reason.args else None
        return isinstance(inner, ssl.SSLCertVerificationError)
    return type(reason).__name__ in ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")
