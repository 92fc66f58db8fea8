"""The gRPC front door: the methods of ``sandbox.SandboxService``, made from the table of operations.

It decodes, calls the service core and encodes. Every status but OK has the ``Error`` message as its details.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from flash_sandbox_grpc import SandboxServiceBase
from grpclib.const import Handler as Method
from grpclib.metadata import decode_timeout
from grpclib.server import Stream
from h2.exceptions import StreamClosedError

from ..codecs import MAX_REQUEST_BYTES
from ..codecs.grpc import decode_request, encode_error, encode_result
from ..codecs.wire import MalformedMessageError, load_message
from ..errors import InvalidArgumentError, PayloadTooLargeError, Reason, SandboxError, UnsupportedError
from ..operations import OPERATIONS, START_SANDBOX, Operation
from .auth import Gatekeeper
from .calls import Call, Calls
from .grpc_server import DEADLINE_KEY
from .service import SandboxService
from .streaming import send_all

__all__ = ["GRPCService"]

_Stream = Stream[Any, Any]
_Respond = Callable[[_Stream, Call], Awaitable[Any]]

_OPERATIONS: Final = {operation.rpc: operation for operation in OPERATIONS}
# Length-prefixed message: a flag and the length (gRPC over HTTP/2).
_PREFIX: Final = struct.Struct(">?I")
# Longer than any call takes; a timer of more seconds than this does not fit every event loop.
_MAX_TIMEOUT: Final = 1e9


class GRPCService(SandboxServiceBase):
    """The service that grpclib serves.

    Args:
        service: The service core.
        calls: The calls in flight, shared with the other front door.
        gatekeeper: Who may call.
    """

    def __init__(self, service: SandboxService, calls: Calls, gatekeeper: Gatekeeper) -> None:
        self._service = service
        self._calls = calls
        self._gatekeeper = gatekeeper

    def __mapping__(self) -> dict[str, Method]:
        """Return what answers each method, by its path."""
        return {
            path: method._replace(
                func=self._method(_OPERATIONS[path.rpartition("/")[2]], method.request_type)
            )
            for path, method in super().__mapping__().items()
        }

    async def unknown(self, stream: _Stream) -> None:
        """Refuse a call of a method that there is not."""
        path = stream._method_name[:200]

        async def respond(stream: _Stream, call: Call) -> None:
            raise UnsupportedError(f"there is no method {path}")

        await self._answer(stream, path, respond)

    def _method(
        self, operation: Operation[Any, Any], message_type: type[Any]
    ) -> Callable[[_Stream], Awaitable[None]]:
        perform = getattr(self._service, operation.name)

        async def respond(stream: _Stream, call: Call) -> Any:
            request = decode_request(operation, await _receive(stream, message_type))
            if operation is START_SANDBOX:
                result = await perform(request, _text(stream, "idempotency-key") or "")
                call.sandbox = result.id
            else:
                call.sandbox = getattr(request, "id", "")
                result = await perform(request)
            return encode_result(operation, result)

        async def respond_with_stream(stream: _Stream, call: Call) -> None:
            request = decode_request(operation, await _receive(stream, message_type))
            call.sandbox = getattr(request, "id", "")

            async def send(piece: Any) -> None:
                await _send(stream, call, encode_result(operation, piece))

            await send_all(operation, perform(request), send)

        async def respond_to_stream(stream: _Stream, call: Call) -> Any:
            first = await _receive(stream, message_type)
            request = decode_request(operation, first)
            call.sandbox = request.id
            return encode_result(operation, await perform(request, _chunks(stream, first, message_type)))

        answer = respond
        if operation.streams == "request":
            answer = respond_to_stream
        elif operation.streams:
            answer = respond_with_stream
        return lambda stream: self._answer(stream, operation.name, answer)

    async def _answer(self, stream: _Stream, operation: str, respond: _Respond) -> None:
        call = Call.begin("grpc", _text(stream, "x-request-id"), operation, lambda: _texts(stream))
        status, reason = "OK", ""
        try:
            try:
                self._gatekeeper.check_key(_text(stream, "authorization"))
                reply = await self._calls.perform(call, _timeout(stream), lambda: respond(stream, call))
            except SandboxError as error:
                error.request_id = call.request_id
                status, reason = error.grpc_status or "INTERNAL", error.reason
                await _send_error(stream, error)
            else:
                if reply is not None:
                    await _send(stream, call, reply)
        except (asyncio.CancelledError, StreamClosedError) as gone:
            status, reason = "CANCELLED", Reason.CANCELLED
            if isinstance(gone, asyncio.CancelledError):
                raise
        finally:
            self._calls.ended(call, status, reason)


async def _send(stream: _Stream, call: Call, message: Any) -> None:
    if not stream._send_initial_metadata_done:
        await stream.send_initial_metadata(metadata={"x-request-id": call.request_id})
    await stream.send_message(message)


async def _chunks(stream: _Stream, first: Any, message_type: type[Any]) -> AsyncGenerator[bytes]:
    """Yield the data of every message, of the first one, too."""
    message = first
    while message is not None:
        if message.data:
            yield message.data
        message = await _receive(stream, message_type, may_end=True)


async def _receive(stream: _Stream, message_type: type[Any], *, may_end: bool = False) -> Any:
    """Read the next message of a call; None for the end, where that may be.

    Raises InvalidArgumentError for a malformed one.
    grpclib would read a message of any length; this refuses what is too large before it comes.
    """
    try:
        prefix = await stream._stream.recv_data(_PREFIX.size)
        if not prefix and may_end:
            return None
        if not prefix:
            raise InvalidArgumentError("the call has no message")
        compressed, size = _PREFIX.unpack(prefix)
        if compressed:
            raise UnsupportedError("compressed messages are not taken; send grpc-encoding: identity")
        if size > MAX_REQUEST_BYTES:
            raise PayloadTooLargeError(f"a request may have {MAX_REQUEST_BYTES} bytes at most")
        data = await stream._stream.recv_data(size)
        if len(data) < size:
            raise InvalidArgumentError("the message is cut short")
        return load_message(message_type, data)
    except AssertionError:
        # This is how grpclib tells that the stream ended before the bytes came.
        raise InvalidArgumentError("the message is cut short") from None
    except MalformedMessageError as error:
        raise InvalidArgumentError(f"malformed message: {error}") from error


async def _send_error(stream: _Stream, error: SandboxError) -> None:
    failure = encode_error(error)
    metadata = {"x-request-id": error.request_id}
    if error.retry_after is not None:
        metadata["retry-after"] = str(math.ceil(error.retry_after))
    await stream.send_trailing_metadata(
        status=failure.status,
        status_message=failure.message,
        status_details=failure.details,
        metadata=metadata,
    )


def _text(stream: _Stream, key: str) -> str | None:
    value = None if stream.metadata is None else stream.metadata.get(key)
    return value if isinstance(value, str) else None


def _texts(stream: _Stream) -> dict[str, str]:
    pairs = () if stream.metadata is None else stream.metadata.items()
    return {name: value for name, value in pairs if isinstance(value, str)}


def _timeout(stream: _Stream) -> float | None:
    value = _text(stream, DEADLINE_KEY)
    if value is None:
        return None
    try:
        return min(decode_timeout(value), _MAX_TIMEOUT)
    except ValueError:
        raise InvalidArgumentError("grpc-timeout must be digits and one of H, M, S, m, u, n") from None
