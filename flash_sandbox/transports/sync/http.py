# Derived from flash_sandbox/transports/aio/http.py by `python -m codegen`; do not edit.
"""Operations over HTTP, through the generated functions."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar

import httpx

from ...address import Address
from ...codecs.http_client import Answer, Codec, codec_of, decode_error
from ...errors import ProtocolError
from ..call import Call
from ..http_base import Body, HTTPBase
from ..http_connections import HTTPConnections
from ..http_timing import Timing
from ..pieces import Pieces
from .chunks import Chunks

__all__ = ["HTTPWire"]

Res = TypeVar("Res")


class HTTPWire(HTTPBase):
    """Make attempts of calls over HTTP.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: ``httpx.Client`` or ``requests.Session`` to use; it is not closed. None to make connections.

    Raises:
        InvalidArgumentError: The session is of another kind, or the environment names a malformed proxy.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        self._connections = HTTPConnections(address, session)
        super().__init__(address, api_key, self._connections)

    def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        attempt = partial(self._call, call, Timing(call.deadline))
        result: Res = self._connections.within(call.deadline, attempt)
        return result

    def send(self, call: Call[Any, Res], chunks: Chunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        result: Res = self._call(call, Timing(call.deadline, "connection"), chunks)
        return result

    def _call(self, call: Call[Any, Any], timing: Timing, content: Chunks | None = None) -> Any:
        codec = codec_of(call.operation)
        client = _EndpointClient(self, call, codec, timing)
        answer = codec.endpoint.call(client=client, **codec.arguments(call.request, content))
        return codec.result(answer.parsed)

    def stream(self, call: Call[Any, Res]) -> Generator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        codec = codec_of(call.operation)
        built = codec.endpoint.build(**codec.arguments(call.request))
        attempt = partial(self.open, call, built, Timing(call.deadline, "beginning"))
        response: httpx.Response = self._connections.within(call.deadline, attempt)
        call.limit = call.patience
        try:
            pieces = Pieces(call.operation)
            for chunk in response.iter_bytes():
                for piece in pieces.feed(chunk):
                    yield piece
            pieces.finish()
        finally:
            response.close()

    def open(self, call: Call[Any, Any], built: dict[str, Any], timing: Timing) -> httpx.Response:
        """Send what a generated function has built, and return the answer once its body begins.

        Raises:
            SandboxError: What the server answers is that the call failed.
            ProtocolError: The answer is compressed.
        """
        client = self._connections.client()
        request = client.build_request(**self._to_send(call, built, timing))
        response = client.send(request, stream=True, follow_redirects=False)
        plain = self._is_plain(response)
        if response.is_success and plain:
            return response
        content = self.collect(call, response) if plain else b""
        response.close()
        if response.is_success:
            raise ProtocolError("the answer is compressed, which was not asked for")
        raise decode_error(call.operation.name, response.status_code, response.headers, content)

    def collect(self, call: Call[Any, Any], response: httpx.Response) -> bytes:
        """Return the whole body of an answer, up to the largest that is taken."""
        body = Body(call.limit)
        try:
            for chunk in response.iter_bytes():
                body.add(chunk)
        finally:
            response.close()
        return body.content()

    def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        self._connections.close()


class _EndpointClient:
    """What a generated function takes for its client: sends its request as an attempt of one call."""

    def __init__(self, wire: HTTPWire, call: Call[Any, Any], codec: Codec, timing: Timing) -> None:
        self._wire = wire
        self._call = call
        self._codec = codec
        self._timing = timing

    def get_httpx_client(self) -> _EndpointClient:
        """Return what the generated function calls `request` of."""
        return self

    def request(self, **built: Any) -> Answer:
        """Send a request, and return its answer."""
        response = self._wire.open(self._call, built, self._timing)
        content = self._wire.collect(self._call, response)
        return self._codec.answer(content, response.headers)
