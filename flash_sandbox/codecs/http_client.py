"""Models to and from the generated functions of the HTTP layer. The clients' half."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from http import HTTPStatus
from inspect import signature
from typing import Any, Final

from flash_sandbox_http.endpoints import Endpoint, endpoint
from flash_sandbox_http.routes import ROUTES
from flash_sandbox_http.types import UNSET, File

from ..errors import (
    InvalidArgumentError,
    ProtocolError,
    SandboxError,
    error_for,
    reason_of_status_code,
    shorten,
)
from ..operations import Operation
from .json_models import generated_name, load_object, request_model, result_model
from .retry_after import parse_retry_after

__all__ = ["MAX_FRAME_BYTES", "Answer", "Codec", "codec_of", "decode_error"]

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Longest line of a stream that a client takes."""


class Codec:
    """Calls the generated functions of one operation with models.

    Args:
        operation: The operation.

    Attributes:
        endpoint: Its generated functions.
    """

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self.endpoint: Endpoint = endpoint(operation.name)
        self._operation = operation
        self._route = ROUTES[operation.name]
        self._body = request_model(operation)
        self._result = result_model(operation)
        negated = dict(self._route.negated_params)
        known = signature(self.endpoint.build).parameters
        self._parameters = [
            (generated_name(name, known), negated.get(name, name), name in negated)
            for name in (*self._route.path_params, *self._route.query_params)
        ]

    def arguments(self, request: Any, content: object = None) -> dict[str, Any]:
        """Return the arguments of the generated functions that ask for `request`. Empty values stay out.

        Args:
            request: Model of what is asked for.
            content: An iterable of bytes, where the operation takes any.
        """
        given: dict[str, Any] = {}
        for name, field, negated in self._parameters:
            value = getattr(request, field)
            if isinstance(value, tuple):
                value = list(value)
            given[name] = UNSET if not value else not value if negated else value
        if self._body is not None:
            given["body"] = self._body.message(request)
        elif content is not None:
            # The generated function passes on whatever this is.
            given["body"] = File(content)  # type: ignore[arg-type]
        return given

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return a successful answer as the generated functions read it.

        Args:
            body: Its body, of any kind.
            headers: Its headers.
        """
        # Older orchestrators answer with any 2xx.
        return Answer(self._route.success_status, headers, body, self._complete)

    def _complete(self, body: bytes) -> dict[str, Any]:
        assert self._result is not None
        try:
            return self._result.complete(load_object(body), nulls=True)
        except InvalidArgumentError as error:
            raise _unexpected(error) from error

    def result(self, parsed: object) -> Any:
        """Return the model of what a generated function has read.

        Raises:
            ProtocolError: A value has the wrong type or is out of range.
        """
        if self._result is None:
            return self._operation.result()
        try:
            return self._result.read(parsed)
        except InvalidArgumentError as error:
            raise _unexpected(error) from error

    def frame(self, line: bytes) -> Any:
        """Return the piece of a streamed answer that a line tells.

        Raises:
            SandboxError: What the line tells is that the call failed.
            ProtocolError: It is no line of an orchestrator.
        """
        assert self._result is not None
        try:
            fields, long = self._result.load(line)
            failure = fields.get("error")
            if not isinstance(failure, dict):
                return self._result.decode(fields, long, nulls=True)
        except InvalidArgumentError as error:
            raise _unexpected(error) from error
        raise _frame_error(self._operation.name, failure)


class Answer:
    """What the generated functions read of an ``httpx.Response``.

    Attributes:
        status_code: HTTP status.
        headers: Headers.
        content: The whole body.
    """

    def __init__(
        self,
        status_code: int,
        headers: Mapping[str, str],
        content: bytes,
        load: Callable[[bytes], dict[str, Any]],
    ) -> None:
        self.status_code = status_code
        self.headers = headers
        self.content = content
        self._load = load

    def json(self) -> dict[str, Any]:
        """Return the object that the body is, with all that the generated classes need.

        Raises:
            InvalidArgumentError: It is no such object.
        """
        return self._load(self.content)


def _unexpected(error: InvalidArgumentError) -> ProtocolError:
    return ProtocolError(f"unexpected answer: {error.detail}")


@cache
def codec_of(operation: Operation[Any, Any]) -> Codec:
    """Return the codec of an operation, made when it is called first."""
    return Codec(operation)


def _frame_error(operation_name: str, fields: dict[str, Any]) -> SandboxError:
    status = fields.get("status")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = 500
    return _error(operation_name, status, {}, fields, json.dumps(fields).encode())


def decode_error(
    operation_name: str, status_code: int, headers: Mapping[str, str], body: bytes
) -> SandboxError:
    """Return the error that a non-2xx answer tells; the text of a foreign body is its detail.

    Args:
        operation_name: Name of the operation.
        status_code: HTTP status, of any value.
        headers: Headers of the answer, names in lower case or looked up without regard to case.
        body: Body of the answer, of any kind.
    """
    return _error(operation_name, status_code, headers, _error_fields(body), body)


def _error(
    operation_name: str,
    status_code: int,
    headers: Mapping[str, str],
    fields: Mapping[str, object],
    body: bytes,
) -> SandboxError:
    reason = fields.get("reason")
    retryable = fields.get("retryable")
    detail = fields.get("detail") or fields.get("error") or fields.get("message")
    if not isinstance(detail, str):
        detail = _foreign_detail(status_code, headers, body)
    if not 400 <= status_code <= 599:
        return ProtocolError(f"unexpected HTTP status {status_code}: {detail}", operation=operation_name)
    return error_for(
        reason if isinstance(reason, str) and reason else reason_of_status_code(status_code, detail),
        detail,
        status_code=status_code,
        retryable=retryable if isinstance(retryable, bool) else None,
        request_id=str(fields.get("request_id") or headers.get("x-request-id") or ""),
        transport="http",
        operation=operation_name,
        retry_after=parse_retry_after(headers.get("retry-after")),
    )


def _status_line(status_code: int) -> str:
    try:
        return f"HTTP {status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        return f"HTTP {status_code}"


def _error_fields(body: bytes) -> dict[str, object]:
    try:
        return load_object(body)
    except InvalidArgumentError:
        return {}


def _foreign_detail(status_code: int, headers: Mapping[str, str], body: bytes) -> str:
    # A page of a proxy says no more than its status does.
    text = shorten(body.decode("utf-8", "replace")).strip()
    is_page = "html" in headers.get("content-type", "").lower() or text[:1] == "<"
    return _status_line(status_code) if is_page or not text else text
