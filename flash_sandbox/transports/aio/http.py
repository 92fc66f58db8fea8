"""Operations over HTTP, through the generated functions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, TypeVar

import httpx

from ...address import Address
from ...codecs.http_client import Answer, Codec, codec_of, decode_error
from ...errors import ProtocolError
from ..call import Call
from ..http_base import Body, HTTPBase
from ..http_connections import AsyncHTTPConnections
from ..http_timing import Timing
from ..pieces import Pieces
from .chunks import AsyncChunks

__all__ = ["AsyncHTTPWire"]

Res = TypeVar("Res")


class AsyncHTTPWire(HTTPBase):
    """Make attempts of calls over HTTP.

    Args:
        address: Where the orchestrator listens.
        api_key: Sent as a bearer token; None to send none.
        session: ``httpx.AsyncClient`` to use; it is not closed. None to make connections.

    Raises:
        InvalidArgumentError: The session is of another kind, or the environment names a malformed proxy.
    """

    def __init__(self, address: Address, api_key: str | None, session: object = None) -> None:
        self._connections = AsyncHTTPConnections(address, session)
        super().__init__(address, api_key, self._connections)

    async def call(self, call: Call[Any, Res]) -> Res:
        """Return the answer, within the call's deadline."""
        attempt = partial(self._call, call, Timing(call.deadline))
        result: Res = await self._connections.within(call.deadline, attempt)
        return result

    async def send(self, call: Call[Any, Res], chunks: AsyncChunks) -> Res:
        """Send the request and then `chunks`, and return the answer."""
        result: Res = await self._call(call, Timing(call.deadline, "connection"), chunks)
        return result

    async def _call(self, call: Call[Any, Any], timing: Timing, content: AsyncChunks | None = None) -> Any:
        codec = codec_of(call.operation)
        client = _AsyncEndpointClient(self, call, codec, timing)
        answer = await codec.endpoint.call_async(client=client, **codec.arguments(call.request, content))
        return codec.result(answer.parsed)

    async def stream(self, call: Call[Any, Res]) -> AsyncGenerator[Res, None]:
        """Yield the messages of a streamed answer; the deadline bounds the time to the first."""
        codec = codec_of(call.operation)
        built = codec.endpoint.build(**codec.arguments(call.request))
        attempt = partial(self.open, call, built, Timing(call.deadline, "beginning"))
        response: httpx.Response = await self._connections.within(call.deadline, attempt)
        call.limit = call.patience
        try:
            pieces = Pieces(call.operation)
            async for chunk in response.aiter_bytes():
                for piece in pieces.feed(chunk):
                    yield piece
            pieces.finish()
        finally:
            await response.aclose()

    async def open(self, call: Call[Any, Any], built: dict[str, Any], timing: Timing) -> httpx.Response:
        """Send what a generated function has built, and return the answer once its body begins.

        Raises:
            SandboxError: What the server answers is that the call failed.
            ProtocolError: The answer is compressed.
        """
        client = self._connections.client()
        request = client.build_request(**self._to_send(call, built, timing))
        response = await client.send(request, stream=True, follow_redirects=False)
        plain = self._is_plain(response)
        if response.is_success and plain:
            return response
        content = await self.collect(call, response) if plain else b""
        await response.aclose()
        if response.is_success:
            raise ProtocolError("the answer is compressed, which was not asked for")
        raise decode_error(call.operation.name, response.status_code, response.headers, content)

    async def collect(self, call: Call[Any, Any], response: httpx.Response) -> bytes:
        """Return the whole body of an answer, up to the largest that is taken."""
        body = Body(call.limit)
        try:
            async for chunk in response.aiter_bytes():
                body.add(chunk)
        finally:
            await response.aclose()
        return body.content()

    async def close(self) -> None:
        """Release the connections, finally. Closing twice does nothing."""
        await self._connections.close()


class _AsyncEndpointClient:
    """What a generated function takes for its client: sends its request as an attempt of one call."""

    def __init__(self, wire: AsyncHTTPWire, call: Call[Any, Any], codec: Codec, timing: Timing) -> None:
        self._wire = wire
        self._call = call
        self._codec = codec
        self._timing = timing

    def get_async_httpx_client(self) -> _AsyncEndpointClient:
        """Return what the generated function calls `request` of."""
        return self

    async def request(self, **built: Any) -> Answer:
        """Send a request, and return its answer."""
        response = await self._wire.open(self._call, built, self._timing)
        content = await self._wire.collect(self._call, response)
        return self._codec.answer(content, response.headers)
