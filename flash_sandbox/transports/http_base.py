"""Calls over HTTP, what both halves share: headers, and what the failures of httpx mean."""

from __future__ import annotations

import errno
import math
from typing import Any, ClassVar, Final

import httpx

from ..address import Address
from ..codecs import MAX_ANSWER_BYTES
from ..errors import (
    ClientClosedError,
    ProtocolError,
    SandboxConnectionError,
    SandboxError,
)
from ..operations import Operation
from ..tracing import TransportName
from .call import Call
from .http_connections import Connections
from .http_timing import Timing
from .proxies import without_password
from .retry import Limit, lost_answer

__all__ = ["Body", "HTTPBase"]

_NOT_BEGUN: Final = (httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_LOST: Final = (httpx.NetworkError, OSError)
# What httpx says where the server closed the connection rather than broke the protocol.
_CUT_OFF: Final = ("Server disconnected", "peer closed connection")
# All that is raised, a ValueError for what cannot be sent, a RuntimeError for a closed client.
_FAILURES: Final = (
    SandboxError,
    httpx.HTTPError,
    httpx.InvalidURL,
    OSError,
    RuntimeError,
    ValueError,
)


class HTTPBase:
    """What both halves share: everything but the waiting.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        connections: What the calls go through.

    Attributes:
        name: The protocol.
        address: Where the orchestrator listens.
    """

    name: ClassVar[TransportName] = "http"

    def __init__(self, address: Address, api_key: str | None, connections: Connections) -> None:
        self.address = address
        self._base_url = address.base_url.removesuffix("/")
        self._owner = connections
        # A compressed answer, however short, may become one of any size.
        self._headers = {"accept": "application/json", "accept-encoding": "identity"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"

    def _to_send(self, call: Call[Any, Any], built: dict[str, Any], timing: Timing) -> dict[str, Any]:
        """Complete what a generated function gives ``httpx.Client.build_request`` for a call."""
        headers = {**self._headers, **built.get("headers", {}), **dict(call.headers)}
        extensions = timing.extensions()
        if timing.bounds == "answer" and (left := extensions["timeout"]["pool"]) is not None:
            headers["x-request-timeout-ms"] = str(math.ceil(left * 1000))
        url = self._base_url + built["url"]
        return {**built, "url": url, "headers": headers, "extensions": extensions}

    @staticmethod
    def _is_plain(response: httpx.Response) -> bool:
        """Tell whether the body of an answer is as it was asked for: not compressed."""
        return response.headers.get("content-encoding", "").strip().lower() in ("", "identity")

    def translate(self, call: Call[Any, Any], failure: Exception) -> SandboxError | None:
        """Return the error that `failure` of an attempt means; None if it is no failure of the wire."""
        if not isinstance(failure, _FAILURES):
            return None
        limit = call.deadline if isinstance(failure, _NOT_BEGUN) else call.limit
        error = self._translated(call.operation, failure, limit)
        self._name_proxy(error)
        return error

    def _name_proxy(self, error: SandboxError) -> None:
        """Say in an error which proxy the call went through, unless an orchestrator has answered it."""
        if (
            self._owner.proxy is not None
            and not error.request_id
            and not isinstance(error, ClientClosedError)
        ):
            error.detail += (
                f" (through the proxy {without_password(self._owner.proxy)}, which the environment names)"
            )
            error.args = (error.detail,)

    def _translated(self, operation: Operation[Any, Any], error: Exception, limit: Limit) -> SandboxError:
        if isinstance(error, SandboxError):
            return error
        if self._owner.closed:
            return ClientClosedError("the client was closed during the call")
        text = str(error) or type(error).__name__
        dead_link = _found_dead_by_tcp(error)
        if isinstance(error, httpx.TimeoutException) and not dead_link:
            return limit.passed()
        if isinstance(error, _NEVER_SENT):
            return SandboxConnectionError(f"cannot connect to {self.address}: {text}")
        if isinstance(error, httpx.RemoteProtocolError) and not text.startswith(_CUT_OFF):
            return ProtocolError(f"the answer is not HTTP: {text}")
        if dead_link or isinstance(error, (*_LOST, httpx.RemoteProtocolError)):
            return lost_answer(operation, f"the connection to {self.address} was lost: {text}")
        if isinstance(error, RuntimeError) and "closed" in text:
            return ClientClosedError(f"the session was closed: {text}")
        return ProtocolError(f"unexpected answer: {text}")


class Body:
    """Collects the body of an answer, up to the largest that is taken.

    Args:
        limit: How long that may take.
    """

    def __init__(self, limit: Limit) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._limit = limit

    def add(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            ProtocolError: These are too many.
            SandboxTimeoutError: The time is over.
        """
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise ProtocolError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._limit.remaining()
        self._chunks.append(chunk)

    def content(self) -> bytes:
        """Return all of them."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


def _found_dead_by_tcp(error: BaseException | None) -> bool:
    """Tell whether the system gave the connection up, which httpx and httpcore call a time-out, too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
            return True
        error = error.__cause__ or error.__context__
    return False
