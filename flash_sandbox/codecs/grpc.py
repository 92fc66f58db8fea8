"""Models to and from gRPC: the generated messages, their binary form, status and status details.

Used by both ends. `CLIENT_CODEC` or `SERVER_CODEC` and `ErrorDetailsCodec` are given to grpclib's
Channel and Server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

import betterproto2
import flash_sandbox_grpc as generated
from grpclib.const import Status
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from ..errors import (
    InvalidArgumentError,
    PayloadTooLargeError,
    ProtocolError,
    SandboxError,
    error_for,
    reason_of_grpc_status,
    reason_of_status_code,
    statuses_of,
)
from ..operations import OPERATIONS, Operation
from . import MAX_REQUEST_BYTES
from .fields import ModelReader, answer_name
from .retry_after import parse_retry_after
from .wire import MalformedMessageError, dump_message, load_message

__all__ = [
    "CLIENT_CODEC",
    "SERVER_CODEC",
    "ErrorDetailsCodec",
    "MessageCodec",
    "decode_error",
    "decode_request",
    "decode_result",
    "encode_error",
    "encode_request",
    "encode_result",
    "message_classes",
    "method_path",
    "parse_answer",
]

Req = TypeVar("Req")
Res = TypeVar("Res")


class _MessageModel:
    """A model of ours beside the generated message that carries it."""

    def __init__(self, message_class: type[Any], reader: ModelReader) -> None:
        self.message_class = message_class
        self._reader = reader
        self._nested = {
            name: _MessageModel(getattr(generated, item.model.__name__), item)
            for name, item in reader.nested.items()
        }

    def encode(self, model: object) -> betterproto2.Message:
        fields = {name: getattr(model, name) for name in self._reader.names}
        for name, item in self._nested.items():
            value = fields[name]
            many = isinstance(value, tuple)
            fields[name] = [item.encode(each) for each in value] if many else item.encode(value)
        message: betterproto2.Message = self.message_class(
            **{name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
        )
        return message

    def decode(self, message: betterproto2.Message) -> Any:
        return self._reader.read(self._values(message))

    def _values(self, message: betterproto2.Message) -> Mapping[str, object]:
        values = vars(message)
        if not self._nested:
            return values
        more: dict[str, object] = {}
        for name, item in self._nested.items():
            value = values[name]
            if isinstance(value, list):
                more[name] = [item._values(each) for each in value]
            else:
                more[name] = {} if value is None else item._values(value)
        return values | more


class _Plan:
    """All that can be known of an operation before it is called."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self.path = f"/sandbox.SandboxService/{operation.rpc}"
        request: type[Any] = getattr(generated, operation.request.__name__)
        result: type[Any] = getattr(generated, answer_name(operation))
        self.request = _MessageModel(request, ModelReader(operation.request))
        self.result = _MessageModel(result, ModelReader(operation.result))


_PLANS: Final[dict[str, _Plan]] = {operation.name: _Plan(operation) for operation in OPERATIONS}


def method_path(operation: Operation[Any, Any]) -> str:
    """Return the `:path` of an operation, without a prefix."""
    return _PLANS[operation.name].path


def message_classes(operation: Operation[Any, Any]) -> tuple[type[Any], type[Any]]:
    """Return the generated classes of the request and of the answer."""
    plan = _PLANS[operation.name]
    return plan.request.message_class, plan.result.message_class


def encode_request(operation: Operation[Req, Res], request: Req) -> betterproto2.Message:
    """Return the generated message that asks for `request`."""
    return _PLANS[operation.name].request.encode(request)


def decode_request(operation: Operation[Req, Res], message: betterproto2.Message) -> Req:
    """Return what a generated message asks for.

    Raises:
        InvalidArgumentError: A value has the wrong type or is out of range.
    """
    request: Req = _PLANS[operation.name].request.decode(message)
    return request


def encode_result(operation: Operation[Req, Res], result: Res) -> betterproto2.Message:
    """Return the generated message that tells `result`."""
    return _PLANS[operation.name].result.encode(result)


def decode_result(operation: Operation[Req, Res], message: betterproto2.Message) -> Res:
    """Return what the generated message of an answer tells.

    Raises:
        ProtocolError: It is no answer of an orchestrator.
    """
    try:
        result: Res = _PLANS[operation.name].result.decode(message)
    except InvalidArgumentError as error:
        raise ProtocolError(f"unexpected answer: {error.detail}") from error
    return result


def encode_error(error: SandboxError) -> GRPCError:
    """Return the gRPC status, message and details that tell `error`."""
    # Headers carry UTF-8; the text of an error may hold what is not.
    detail = error.detail.encode("utf-8", "replace").decode("utf-8")
    message = generated.Error(
        detail=detail, reason=error.reason, request_id=error.request_id, retryable=error.retryable
    )
    # A header that begins or ends with a space would end the connection (RFC 9113, 8.2.1).
    text = detail.strip(" ") or error.reason
    return GRPCError(Status[statuses_of(error)[1] or "INTERNAL"], text, message)


# What grpclib says where the answer is not gRPC at all (grpclib.client.Stream).
_HTTP_STATUS: Final = re.compile(r"Received :status = '(\d{3})'")
_NOT_GRPC: Final = (
    "Missing content-type header",
    "Invalid content-type",
    "Missing grpc-status",
    "Invalid grpc-status",
)


def decode_error(
    operation_name: str, exc: GRPCError, metadata: Mapping[str, Any] | None = None
) -> SandboxError:
    """Return the error that a gRPC status other than OK tells.

    Args:
        operation_name: Name of the operation.
        exc: What grpclib raised.
        metadata: Trailing metadata, where there was any.
    """
    trailers = metadata or {}
    request_id = str(trailers.get("x-request-id") or "")
    retry_after = parse_retry_after(trailers.get("retry-after"))
    common: dict[str, Any] = {"transport": "grpc", "operation": operation_name, "retry_after": retry_after}
    details = exc.details
    if isinstance(details, generated.Error) and details.reason:
        return error_for(
            details.reason,
            details.detail,
            grpc_status=exc.status.name,
            retryable=details.retryable,
            request_id=details.request_id or request_id,
            **common,
        )
    message = exc.message or ""
    foreign = _HTTP_STATUS.fullmatch(message)
    if foreign is not None:
        return _foreign_http_status(int(foreign[1]), request_id, common)
    if exc.status is Status.UNKNOWN and message.startswith(_NOT_GRPC):
        return ProtocolError(f"the answer is not gRPC: {message}", **common)
    return error_for(
        reason_of_grpc_status(exc.status.name, message),
        message or exc.status.name,
        grpc_status=exc.status.name,
        request_id=request_id,
        **common,
    )


def _foreign_http_status(status_code: int, request_id: str, common: dict[str, Any]) -> SandboxError:
    # The answer of a proxy; grpclib's own map would tell other errors than HTTP does.
    try:
        line = f"HTTP {status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        line = f"HTTP {status_code}"
    if not 400 <= status_code <= 599:
        return ProtocolError(f"unexpected HTTP status {status_code}: {line}", **common)
    return error_for(
        reason_of_status_code(status_code), line, status_code=status_code, request_id=request_id, **common
    )


class MessageCodec(CodecBase):
    """Write and read the generated messages in their binary form.

    Args:
        refuse: Makes the exception to raise from what is wrong with received data.
        limit: Largest message that is taken, in bytes.
    """

    __content_subtype__ = "proto"

    def __init__(self, refuse: Callable[[SandboxError], Exception], limit: int | None = None) -> None:
        self._refuse = refuse
        self._limit = limit

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Return the binary form of a message."""
        return dump_message(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Return the message of `message_type` that `data` tells."""
        if self._limit is not None and len(data) > self._limit:
            detail = f"message of {len(data)} bytes is larger than {self._limit}"
            raise self._refuse(PayloadTooLargeError(detail))
        try:
            return load_message(message_type, data)
        except MalformedMessageError as error:
            raise self._refuse(InvalidArgumentError(f"malformed message: {error}")) from error


CLIENT_CODEC: Final = MessageCodec(lambda error: ProtocolError(f"unexpected answer: {error.detail}"))
"""For a Channel: what is wrong with an answer is a `ProtocolError`."""


def parse_answer(message_class: type[Any], data: bytes) -> Any:
    """Return the message of an answer, by `CLIENT_CODEC`."""
    return CLIENT_CODEC.decode(data, message_class)


SERVER_CODEC: Final = MessageCodec(encode_error, MAX_REQUEST_BYTES)
"""For a Server: what is wrong with a request is answered as `invalid_argument` or `too_large`."""


class ErrorDetailsCodec(StatusDetailsCodecBase):
    """Carry the `Error` message in the status details."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """Return the binary form of an `Error`."""
        return dump_message(details)

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        """Return the `Error`, or None where the details are somebody else's."""
        try:
            return load_message(generated.Error, data)
        except MalformedMessageError:
            return None
