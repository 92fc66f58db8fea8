"""Models to and from HTTP: paths and JSON bodies, through the generated models. Used by both ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlencode

import flash_sandbox_http.models as generated
from flash_sandbox_http.routes import ROUTES, Route

from ..errors import (
    InvalidArgumentError,
    ProtocolError,
    SandboxError,
    error_for,
    reason_of_status_code,
    shorten,
)
from ..operations import OPERATIONS, Operation
from .fields import ModelReader

__all__ = [
    "HTTPCall",
    "decode_error",
    "decode_request",
    "decode_result",
    "encode_error",
    "encode_request",
    "encode_result",
]

Req = TypeVar("Req")
Res = TypeVar("Res")


@dataclass(frozen=True, slots=True)
class HTTPCall:
    """One request, relative to the base URL.

    Attributes:
        method: HTTP method, in capitals.
        path: Path without a leading slash, percent-encoded, with the query.
        body: JSON in UTF-8; None where the operation has no body.
    """

    method: str
    path: str
    body: bytes | None


class _Generated(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


class _JSONModel:
    """A model of ours beside the generated class that carries (a part of) its fields as JSON."""

    def __init__(self, generated_class: Any, names: tuple[str, ...], reader: ModelReader) -> None:
        # The generator appends "_" to a name that Python reserves ("type_").
        known = {attribute.name for attribute in generated_class.__attrs_attrs__}
        attributes = [name if name in known else name + "_" for name in names]
        self._generated_class = generated_class
        self._names = names
        self._attributes = tuple(attributes)
        self._values_of: Callable[[Any], Any] = attrgetter(*attributes) if names else _no_values
        self._one = len(names) == 1
        # Generated classes raise KeyError for what is missing; None reads as "not given".
        self._absent: dict[str, object] = dict.fromkeys(names)
        self._reader = reader
        self._nested = {
            name: _JSONModel(getattr(generated, item.model.__name__), item.names, item)
            for name, item in reader.nested.items()
            if name in names
        }

    def encode(self, model: object, *, omit_empty_text: bool) -> bytes:
        return _dump(self._message(model, omit_empty_text), omit=omit_empty_text)

    def _message(self, model: object, omit_empty_text: bool) -> _Generated:
        given = {
            attribute: list(value) if isinstance(value, tuple) else value
            for name, attribute in zip(self._names, self._attributes, strict=True)
            if (value := getattr(model, name)) != "" or not omit_empty_text
        }
        for name, item in self._nested.items():
            given[name] = [item._message(each, False) for each in given[name]]
        message: _Generated = self._generated_class(**given)
        return message

    def decode(self, body: bytes, more: dict[str, object], *, nulls: bool) -> Any:
        payload = self._completed(_load(body), nulls)
        try:
            message = self._generated_class.from_dict(payload)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"body does not fit: {error}") from error
        fields = self._values(message)
        return self._reader.read(fields | more if more else fields)

    def _completed(self, payload: dict[str, Any], nulls: bool) -> dict[str, Any]:
        """Return what came with what it lacks, as the generated class must have it."""
        if not nulls:
            for name in self._names:
                if payload.get(name, name) is None:
                    raise InvalidArgumentError(f"{name} must not be null")
        completed = self._absent | payload
        for name, item in self._nested.items():
            items = [] if completed[name] is None else completed[name]
            if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
                raise InvalidArgumentError(f"{name} must be a list of objects")
            completed[name] = [item._completed(each, nulls) for each in items]
        return completed

    def _values(self, message: object) -> dict[str, Any]:
        values = self._values_of(message)
        fields = {self._names[0]: values} if self._one else dict(zip(self._names, values, strict=True))
        for name, item in self._nested.items():
            fields[name] = [item._values(each) for each in fields[name]]
        return fields


def _no_values(_: object) -> tuple[()]:
    return ()


class _Plan:
    """All that can be known of an operation before it is called."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        route: Route = ROUTES[operation.name]
        elsewhere = {*route.path_params, *route.query_params}
        self.method = route.method.upper()
        self.path = route.path.lstrip("/")
        self.path_params = route.path_params
        self.query_params = route.query_params
        self.request_reader = ModelReader(operation.request)
        self.request: _JSONModel | None = None
        if route.has_body:
            names = tuple(name for name in self.request_reader.names if name not in elsewhere)
            generated_request = getattr(generated, operation.request.__name__)
            self.request = _JSONModel(generated_request, names, self.request_reader)
        reader = ModelReader(operation.result)
        self.result: _JSONModel | None = None
        self.empty_result: Any = None if reader.names else operation.result()
        if reader.names:
            response = getattr(generated, operation.result.__name__.removesuffix("Result") + "Response")
            self.result = _JSONModel(response, reader.names, reader)


_PLANS: Final[dict[str, _Plan]] = {operation.name: _Plan(operation) for operation in OPERATIONS}


def encode_request(operation: Operation[Req, Res], request: Req) -> HTTPCall:
    """Return the HTTP request that asks for `request`. Empty texts are left out."""
    plan = _PLANS[operation.name]
    path = plan.path
    for name in plan.path_params:
        path = path.replace(f"{{{name}}}", quote(str(getattr(request, name)), safe=""))
    if plan.query_params:
        path += "?" + urlencode({name: getattr(request, name) for name in plan.query_params})
    body = None if plan.request is None else plan.request.encode(request, omit_empty_text=True)
    return HTTPCall(plan.method, path, body)


def decode_request(
    operation: Operation[Req, Res], path_params: Mapping[str, str], query: Mapping[str, str], body: bytes
) -> Req:
    """Return what a request asks for.

    Raises:
        InvalidArgumentError: The body is not JSON, or a value has the wrong type or is out of range.
    """
    plan = _PLANS[operation.name]
    outside: dict[str, object] = {name: path_params.get(name) for name in plan.path_params}
    outside.update({name: query.get(name) for name in plan.query_params})
    if plan.request is not None:
        request: Req = plan.request.decode(body, outside, nulls=False)
    else:
        request = plan.request_reader.read(outside)
    return request


def encode_result(operation: Operation[Req, Res], result: Res) -> bytes | None:
    """Return the body that tells `result`; None where there is nothing to tell (status 204)."""
    plan = _PLANS[operation.name]
    return None if plan.result is None else plan.result.encode(result, omit_empty_text=False)


def decode_result(operation: Operation[Req, Res], body: bytes) -> Res:
    """Return what the body of a 2xx answer tells; missing and null fields read as the model's defaults.

    Raises:
        ProtocolError: The body is no answer of an orchestrator.
    """
    plan = _PLANS[operation.name]
    if plan.result is None:
        empty: Res = plan.empty_result
        return empty
    try:
        result: Res = plan.result.decode(body, {}, nulls=True)
    except InvalidArgumentError as error:
        raise ProtocolError(f"unexpected answer: {error.detail}") from error
    return result


def encode_error(error: SandboxError) -> tuple[int, bytes]:
    """Return the HTTP status and the body that tell `error`."""
    status_code = error.status_code if error.status_code is not None else 500
    message = generated.Error(
        detail=error.detail, reason=error.reason, request_id=error.request_id, retryable=error.retryable
    )
    return status_code, _dump(message)


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
    fields = _error_fields(body)
    reason = fields.get("reason")
    retryable = fields.get("retryable")
    detail = fields.get("detail") or fields.get("error") or fields.get("message")
    if not isinstance(detail, str):
        detail = _foreign_detail(status_code, headers, body)
    if not 400 <= status_code <= 599:
        return ProtocolError(f"unexpected HTTP status {status_code}: {detail}", operation=operation_name)
    return error_for(
        reason if isinstance(reason, str) and reason else reason_of_status_code(status_code),
        detail,
        status_code=status_code,
        retryable=retryable if isinstance(retryable, bool) else None,
        request_id=str(fields.get("request_id") or headers.get("x-request-id") or ""),
        transport="http",
        operation=operation_name,
        retry_after=parse_retry_after(headers.get("retry-after")),
    )


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110, section 10.2.3), or None."""
    if not value:
        return None
    try:
        seconds = float(value) if value.isascii() else -1.0
    except ValueError:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None


def status_line(status_code: int) -> str:
    """Return what an HTTP status says in words: ``HTTP 502 Bad Gateway``."""
    try:
        return f"HTTP {status_code} {HTTPStatus(status_code).phrase}"
    except ValueError:
        return f"HTTP {status_code}"


def _error_fields(body: bytes) -> dict[str, object]:
    try:
        return _load(body)
    except InvalidArgumentError:
        return {}


def _foreign_detail(status_code: int, headers: Mapping[str, str], body: bytes) -> str:
    # A page of a proxy says no more than its status does.
    text = shorten(body.decode("utf-8", "replace")).strip()
    is_page = "html" in headers.get("content-type", "").lower() or text[:1] == "<"
    return status_line(status_code) if is_page or not text else text


def _dump(message: _Generated, *, omit: bool = False) -> bytes:
    fields = message.to_dict()
    if omit:
        # The generated class fills in the schema's default for what was not given.
        fields = {name: value for name, value in fields.items() if value != ""}
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Only the text of an error can hold a lone surrogate: models refuse it.
    return text.encode("utf-8", "replace")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _load(body: bytes) -> dict[str, object]:
    try:
        payload = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"body is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise InvalidArgumentError("body is not a JSON object")
    return payload
