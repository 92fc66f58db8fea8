"""Models to and from HTTP: paths and JSON bodies, through the generated models. Used by both ends."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Container, Mapping, Sequence, Set
from dataclasses import dataclass
from http import HTTPStatus
from operator import attrgetter
from typing import Any, Final, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlencode

import attrs
import flash_sandbox_http.models as generated
from flash_sandbox_http.routes import ROUTES, Route

from ..errors import (
    InvalidArgumentError,
    ProtocolError,
    SandboxError,
    error_for,
    reason_of_status_code,
    shorten,
    statuses_of,
)
from ..operations import OPERATIONS, Operation
from .fields import ModelReader, answer_name
from .long_values import LONG, put_in, taken_out
from .retry_after import parse_retry_after

__all__ = [
    "MAX_FRAME_BYTES",
    "HTTPCall",
    "decode_error",
    "decode_frame",
    "decode_request",
    "decode_result",
    "encode_error",
    "encode_frame",
    "encode_frame_error",
    "encode_request",
    "encode_result",
]

Req = TypeVar("Req")
Res = TypeVar("Res")


MAX_FRAME_BYTES: Final = 1024 * 1024
"""Longest line of a stream that a client takes."""

# What older orchestrators expect also where it is empty.
_ALWAYS_SENT: Final = frozenset({"command"})
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_TRUTHS: Final = {"true": True, "false": False}


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
        # Empty values are left out, but not those that the spec requires.
        required = {each.name for each in generated_class.__attrs_attrs__ if each.default is attrs.NOTHING}
        self._always_sent = _ALWAYS_SENT | {name for name in names if name in required}
        self._attributes = tuple(attributes)
        self._values_of: Callable[[Any], Any] = attrgetter(*attributes) if names else _no_values
        self._one = len(names) == 1
        # Generated classes raise KeyError for what is missing; None reads as "not given".
        self._absent: dict[str, object] = dict.fromkeys(names)
        self._reader = reader
        self._binary = tuple(name for name in names if reader.kinds[name] is bytes)
        self._nested = {
            name: _JSONModel(getattr(generated, item.model.__name__), item.names, item)
            for name, item in reader.nested.items()
            if name in names
        }

    def encode(self, model: object, *, omit_empty: bool) -> bytes:
        if omit_empty:
            return _dump(self._message(model, omit_empty), self._always_sent)
        binary = () if self._nested else self._binary
        long = {name: value for name in binary if len(value := getattr(model, name)) >= LONG}
        return put_in(_dump(self._message(model, omit_empty, without=long)), long)

    def _message(self, model: object, omit_empty: bool, without: Container[str] = ()) -> _Generated:
        given: dict[str, Any] = {
            attribute: list(value) if isinstance(value, tuple) else value
            for name, attribute in zip(self._names, self._attributes, strict=True)
            if (value := getattr(model, name)) or not omit_empty or name in self._always_sent
        }
        for name in self._binary:
            if name in given:
                value = b"" if name in without else given[name]
                given[name] = base64.b64encode(value).decode("ascii")
        for name, item in self._nested.items():
            value = given[name]
            many = isinstance(value, list)
            given[name] = (
                [item._message(each, False) for each in value] if many else item._message(value, False)
            )
        message: _Generated = self._generated_class(**given)
        return message

    def decode(self, body: bytes, more: dict[str, object], *, nulls: bool) -> Any:
        return self.decode_object(_load(body), more, nulls=nulls)

    def load(self, line: bytes) -> tuple[dict[str, object], dict[str, object]]:
        """Return the fields of an object and, apart from them, a binary one that is long, decoded."""
        if len(line) >= LONG and len(self._binary) == 1:
            (name,) = self._binary
            apart = taken_out(line, name)
            if apart is not None:
                short, text = apart
                return _load(short), {name: _bytes_of(name, text)}
        return _load(line), {}

    def decode_object(self, found: dict[str, object], more: dict[str, object], *, nulls: bool) -> Any:
        payload = self._completed(found, nulls)
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
            completed[name] = self._completed_part(name, item, completed[name], nulls)
        return completed

    def _completed_part(self, name: str, item: _JSONModel, value: object, nulls: bool) -> object:
        if self._reader.kinds[name] is item._reader.model:
            if not isinstance(value, dict | None):
                raise InvalidArgumentError(f"{name} must be an object")
            return item._completed(value or {}, nulls)
        items = [] if value is None else value
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise InvalidArgumentError(f"{name} must be a list of objects")
        return [item._completed(each, nulls) for each in items]

    def _values(self, message: object) -> dict[str, Any]:
        values = self._values_of(message)
        fields = {self._names[0]: values} if self._one else dict(zip(self._names, values, strict=True))
        for name, item in self._nested.items():
            value = fields[name]
            many = isinstance(value, list)
            fields[name] = [item._values(each) for each in value] if many else item._values(value)
        for name in self._binary:
            if isinstance(fields[name], str):
                fields[name] = _bytes_of(name, fields[name])
        return fields


def _bytes_of(name: str, text: str | memoryview) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(f"{name} is not base64: {error}") from error


def _no_values(_: object) -> tuple[()]:
    return ()


class _Plan:
    """All that can be known of an operation before it is called."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        route: Route = ROUTES[operation.name]
        self.negated = dict(route.negated_params)
        elsewhere = {*route.path_params, *(self.negated.get(name, name) for name in route.query_params)}
        self.method = route.method.upper()
        self.path = route.path.lstrip("/")
        self.path_params = route.path_params
        self.query_params = route.query_params
        self.request_reader = ModelReader(operation.request)
        self.request: _JSONModel | None = None
        if route.body == "json":
            names = tuple(name for name in self.request_reader.names if name not in elsewhere)
            generated_request = getattr(generated, operation.request.__name__)
            self.request = _JSONModel(generated_request, names, self.request_reader)
        reader = ModelReader(operation.result)
        self.result: _JSONModel | None = None
        self.empty_result: Any = None if reader.names else operation.result()
        if route.answer in ("json", "frames"):
            self.result = _JSONModel(getattr(generated, answer_name(operation)), reader.names, reader)

    def query_of(self, request: object) -> str:
        """Return the query that asks for `request`; zero values are left out."""
        pairs: list[tuple[str, str]] = []
        for name in self.query_params:
            field = self.negated.get(name)
            value = getattr(request, field or name)
            if isinstance(value, tuple):
                pairs += ((name, item) for item in value)
            elif value:
                truth = value if field is None else not value
                pairs.append((name, str(truth).lower() if isinstance(value, bool) else str(value)))
        return "?" + urlencode(pairs) if pairs else ""

    def read_query(self, query: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Return the fields that a query tells."""
        return {
            self.negated.get(name, name): self._from_query(name, query[name])
            for name in self.query_params
            if query.get(name)
        }

    def _from_query(self, name: str, texts: Sequence[str]) -> object:
        field = self.negated.get(name)
        kind = self.request_reader.kinds[field or name]
        last = texts[-1]
        if kind is bool:
            if last not in _TRUTHS:
                raise InvalidArgumentError(f"{name} must be true or false")
            return _TRUTHS[last] if field is None else not _TRUTHS[last]
        if kind is int:
            if not _INTEGER.fullmatch(last):
                raise InvalidArgumentError(f"{name} must be an integer")
            return int(last)
        return last if kind is str else tuple(texts)


_PLANS: Final[dict[str, _Plan]] = {operation.name: _Plan(operation) for operation in OPERATIONS}


def encode_request(operation: Operation[Req, Res], request: Req) -> HTTPCall:
    """Return the HTTP request that asks for `request`. Empty texts are left out."""
    plan = _PLANS[operation.name]
    path = plan.path
    for name in plan.path_params:
        path = path.replace(f"{{{name}}}", quote(str(getattr(request, name)), safe=""))
    path += plan.query_of(request)
    body = None if plan.request is None else plan.request.encode(request, omit_empty=True)
    return HTTPCall(plan.method, path, body)


def decode_request(
    operation: Operation[Req, Res],
    path_params: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    body: bytes,
) -> Req:
    """Return what a request asks for.

    Raises:
        InvalidArgumentError: The body is not JSON, or a value has the wrong type or is out of range.
    """
    plan = _PLANS[operation.name]
    outside: dict[str, object] = {name: path_params.get(name) for name in plan.path_params}
    outside |= plan.read_query(query)
    if plan.request is not None:
        request: Req = plan.request.decode(body, outside, nulls=False)
    else:
        request = plan.request_reader.read(outside)
    return request


def encode_result(operation: Operation[Req, Res], result: Res) -> bytes | None:
    """Return the body that tells `result`; None where there is nothing to tell (status 204)."""
    plan = _PLANS[operation.name]
    return None if plan.result is None else plan.result.encode(result, omit_empty=False)


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


def encode_frame(operation: Operation[Req, Res], frame: Res) -> bytes:
    """Return the line that tells a piece of a streamed answer."""
    plan = _PLANS[operation.name]
    assert plan.result is not None
    return plan.result.encode(frame, omit_empty=False) + b"\n"


def encode_frame_error(error: SandboxError) -> bytes:
    """Return the last line of a stream that failed, which tells the status, too."""
    status_code, body = encode_error(error)
    return b'{"error":' + body[:-1] + f',"status":{status_code}'.encode() + b"}}\n"


def decode_frame(operation: Operation[Req, Res], line: bytes) -> Res:
    """Return the piece of a streamed answer that a line tells.

    Raises:
        SandboxError: What the line tells is that the call failed.
        ProtocolError: It is no line of an orchestrator.
    """
    plan = _PLANS[operation.name]
    assert plan.result is not None
    try:
        fields, long = plan.result.load(line)
        if isinstance(fields.get("error"), dict):
            raise _frame_error(operation.name, fields["error"])
        frame: Res = plan.result.decode_object(fields, long, nulls=True)
    except InvalidArgumentError as error:
        if error.operation:
            raise
        raise ProtocolError(f"unexpected answer: {error.detail}") from error
    return frame


def _frame_error(operation_name: str, fields: Any) -> SandboxError:
    status = fields.get("status")
    known = isinstance(status, int) and 400 <= status <= 599
    body = json.dumps(fields).encode()
    return decode_error(operation_name, status if known else 500, {}, body)


def encode_error(error: SandboxError) -> tuple[int, bytes]:
    """Return the HTTP status and the body that tell `error`."""
    status_code = statuses_of(error)[0] or 500
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


def _dump(message: _Generated, kept: Set[str] | None = None) -> bytes:
    """Return a message as JSON; empty values only of the fields that are `kept`, where that is given."""
    fields = message.to_dict()
    if kept is not None:
        # The generated class fills in the schema's default for what was not given.
        fields = {name: value for name, value in fields.items() if value or name in kept}
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
