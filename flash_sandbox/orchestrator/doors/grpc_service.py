"""The gRPC front door: the methods of ``sandbox.SandboxService``, made from the table of operations.

It decodes, calls the service core and encodes. Every status but OK has the ``Error`` message as its details.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from flash_sandbox_grpc import SandboxServiceBase
from grpclib.metadata import decode_timeout
from h2.exceptions import StreamClosedError

from ...codecs.grpc import decode_request, encode_error, encode_result
from ...errors import InvalidArgumentError, Reason, SandboxError, UnsupportedError, statuses_of
from ...operations import OPERATIONS, START_SANDBOX, Operation
from ..core.service import SandboxService
from .auth import Gatekeeper
from .call import Call
from .calls import Calls
from .grpc_calls import Answer, IncomingCall
from .streaming import send_all

__all__ = ["GRPCService"]

_Respond = Callable[[IncomingCall, Call], Awaitable[Any]]

_OPERATIONS: Final = {operation.rpc: operation for operation in OPERATIONS}
# Longer than any call takes; a timer of more seconds than this does not fit every event loop.
_MAX_TIMEOUT: Final = 1e9


class GRPCService(SandboxServiceBase):
    """What answers the calls of `GRPCServer`.

    Args:
        service: The service core.
        calls: The calls in flight, shared with the other front door.
        gatekeeper: Who may call.
    """

    def __init__(self, service: SandboxService, calls: Calls, gatekeeper: Gatekeeper) -> None:
        self._service = service
        self._calls = calls
        self._gatekeeper = gatekeeper
        self._methods = {
            path: self._method(_OPERATIONS[path.rpartition("/")[2]], method.request_type)
            for path, method in self.__mapping__().items()
        }

    def accept(self, incoming: IncomingCall) -> Answer | None:
        """Return what answers a call; None where it has been refused, since its caller may not call."""
        if incoming.malformed is not None:
            self._refuse(incoming, InvalidArgumentError(incoming.malformed[1]))
            return None
        operation, respond = self._methods.get(incoming.path) or (incoming.path[:200], _unknown)
        try:
            self._gatekeeper.check_key(
                incoming.headers.get("authorization"), trusted=incoming.connection.trusted
            )
        except SandboxError as error:
            call = _begin(incoming, operation)
            error.request_id = call.request_id
            self._refuse(incoming, error)
            self._calls.ended(call, statuses_of(error)[1] or "INTERNAL", error.reason)
            return None
        incoming.connection.prove()
        return lambda: self._answer(incoming, operation, respond)

    def _method(self, operation: Operation[Any, Any], message_type: type[Any]) -> tuple[str, _Respond]:
        perform = getattr(self._service, operation.name)

        async def respond(incoming: IncomingCall, call: Call) -> Any:
            request = decode_request(operation, await incoming.receive(message_type))
            if operation is START_SANDBOX:
                result = await perform(request, incoming.headers.get("idempotency-key", ""))
                call.sandbox = result.id
            else:
                call.sandbox = getattr(request, "id", "")
                result = await perform(request)
            return encode_result(operation, result)

        async def respond_with_stream(incoming: IncomingCall, call: Call) -> None:
            request = decode_request(operation, await incoming.receive(message_type))
            call.sandbox = getattr(request, "id", "")

            async def send(piece: Any) -> None:
                await incoming.send(encode_result(operation, piece), _metadata(call))

            await send_all(operation, perform(request), send)

        async def respond_to_stream(incoming: IncomingCall, call: Call) -> Any:
            first = await incoming.receive(message_type)
            request = decode_request(operation, first)
            call.sandbox = getattr(request, "id", "")
            return encode_result(operation, await perform(request, _chunks(incoming, first, message_type)))

        answer = respond
        if operation.streams == "request":
            answer = respond_to_stream
        elif operation.streams:
            answer = respond_with_stream
        return operation.name, answer

    async def _answer(self, incoming: IncomingCall, operation: str, respond: _Respond) -> None:
        call = _begin(incoming, operation)
        status, reason = "OK", ""
        try:
            try:
                timeout = _timeout(incoming)
                reply = await self._calls.perform(call, timeout, lambda: respond(incoming, call))
            except SandboxError as error:
                error.request_id = call.request_id
                status, reason = statuses_of(error)[1] or "INTERNAL", error.reason
                await incoming.fail(encode_error(error), _error_metadata(error))
            else:
                if reply is not None:
                    await incoming.send(reply, _metadata(call))
                await incoming.succeed(_metadata(call))
        except (asyncio.CancelledError, StreamClosedError) as gone:
            status, reason = "CANCELLED", Reason.CANCELLED
            if isinstance(gone, asyncio.CancelledError):
                raise
        finally:
            self._calls.ended(call, status, reason)

    def _refuse(self, incoming: IncomingCall, error: SandboxError) -> None:
        error.request_id = error.request_id or secrets.token_hex(8)
        incoming.refuse(encode_error(error), _error_metadata(error))


def _begin(incoming: IncomingCall, operation: str) -> Call:
    headers = incoming.headers
    return Call.begin("grpc", headers.get("x-request-id"), operation, lambda: headers)


async def _unknown(incoming: IncomingCall, call: Call) -> None:
    raise UnsupportedError(f"there is no method {incoming.path[:200]}")


async def _chunks(incoming: IncomingCall, first: Any, message_type: type[Any]) -> AsyncGenerator[bytes]:
    """Yield the data of every message, of the first one, too."""
    message = first
    while message is not None:
        if message.data:
            yield message.data
        message = await incoming.receive(message_type, may_end=True)


def _metadata(call: Call) -> dict[str, str]:
    return {"x-request-id": call.request_id}


def _error_metadata(error: SandboxError) -> dict[str, str]:
    metadata = {"x-request-id": error.request_id}
    if error.retry_after is not None:
        metadata["retry-after"] = str(math.ceil(error.retry_after))
    return metadata


def _timeout(incoming: IncomingCall) -> float | None:
    value = incoming.headers.get("grpc-timeout")
    if value is None:
        return None
    try:
        return min(decode_timeout(value), _MAX_TIMEOUT)
    except ValueError:
        raise InvalidArgumentError("grpc-timeout must be digits and one of H, M, S, m, u, n") from None
