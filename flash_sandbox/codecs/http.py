"""HTTP requests to models, and models to answers, through the generated models. The orchestrator's half."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import flash_sandbox_http.models as generated
from flash_sandbox_http.routes import ROUTES

from ..errors import InvalidArgumentError, SandboxError, statuses_of
from ..operations import Operation
from .fields import ModelReader
from .json_models import dump, load_object, request_model, result_model

__all__ = ["decode_request", "encode_error", "encode_frame", "encode_frame_error", "encode_result"]

Req = TypeVar("Req")
Res = TypeVar("Res")

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_TRUTHS: Final = {"true": True, "false": False}


class _Parameters:
    """Reads the fields that stand in the path and the query of a request."""

    def __init__(self, operation: Operation[Any, Any]) -> None:
        route = ROUTES[operation.name]
        self.reader = ModelReader(operation.request)
        self._path = route.path_params
        self._query = route.query_params
        self._negated = dict(route.negated_params)

    def read(self, path: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Return the fields by name."""
        found: dict[str, object] = {name: path.get(name) for name in self._path}
        for name in self._query:
            if query.get(name):
                found[self._negated.get(name, name)] = self._value(name, query[name])
        return found

    def _value(self, name: str, texts: Sequence[str]) -> object:
        field = self._negated.get(name)
        kind = self.reader.kinds[field or name]
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


@cache
def _parameters_of(operation: Operation[Any, Any]) -> _Parameters:
    return _Parameters(operation)


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
    parameters = _parameters_of(operation)
    outside = parameters.read(path_params, query)
    model = request_model(operation)
    if model is None:
        request: Req = parameters.reader.read(outside)
    else:
        request = model.decode(load_object(body), outside, nulls=False)
    return request


def encode_result(operation: Operation[Req, Res], result: Res) -> bytes | None:
    """Return the body that tells `result`; None where there is nothing to tell (status 204)."""
    model = result_model(operation)
    return None if model is None else model.encode(result)


def encode_frame(operation: Operation[Req, Res], frame: Res) -> bytes:
    """Return the line that tells a piece of a streamed answer."""
    model = result_model(operation)
    assert model is not None
    return model.encode(frame) + b"\n"


def encode_frame_error(error: SandboxError) -> bytes:
    """Return the last line of a stream that failed, which tells the status, too."""
    status_code, body = encode_error(error)
    return b'{"error":' + body[:-1] + f',"status":{status_code}'.encode() + b"}}\n"


def encode_error(error: SandboxError) -> tuple[int, bytes]:
    """Return the HTTP status and the body that tell `error`."""
    status_code = statuses_of(error)[0] or 500
    message = generated.Error(
        detail=error.detail, reason=error.reason, request_id=error.request_id, retryable=error.retryable
    )
    return status_code, dump(message)
