"""Requests and answers of HTTP, written and read by the generated functions without a connection."""

from __future__ import annotations

from inspect import signature
from typing import Any, TypeVar

import httpx
from flash_sandbox_http.endpoints import endpoint
from flash_sandbox_http.routes import ROUTES

from flash_sandbox.codecs.http_client import Answer, codec_of
from flash_sandbox.operations import Operation

Model = TypeVar("Model")


def encode_request(operation: Operation[Model, Any], request: Model) -> httpx.Request:
    """Return the HTTP request that asks for `request`."""
    codec = codec_of(operation)
    content = b"" if ROUTES[operation.name].body == "bytes" else None
    built = codec.endpoint.build(**codec.arguments(request, content))
    with httpx.Client(base_url="http://localhost") as client:
        return client.build_request(**built)


def decode_result(operation: Operation[Any, Model], body: bytes) -> Model:
    """Return what the body of a 2xx answer tells."""
    client = _Answering(codec_of(operation).answer(body, {}))
    required = {
        name: "x"
        for name, parameter in signature(endpoint(operation.name).call).parameters.items()
        if parameter.default is parameter.empty and name not in ("client", "body")
    }
    if "body" in signature(endpoint(operation.name).call).parameters:
        required["body"] = _Empty()
    parsed = endpoint(operation.name).call(client=client, **required).parsed
    result: Model = codec_of(operation).result(parsed)
    return result


class _Answering:
    """A generated function's client that has the answer already."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def get_httpx_client(self) -> _Answering:
        return self

    def request(self, **_: object) -> Answer:
        return self._answer


class _Empty:
    """Any body."""

    payload = b""

    def to_dict(self) -> dict[str, object]:
        return {}
