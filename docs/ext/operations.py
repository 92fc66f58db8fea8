"""The reference of all operations: the method, HTTP and gRPC side by side, from both specs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import flash_sandbox
from codegen import openapi, protobuf
from codegen.docstrings import raised
from codegen.vocabulary import Field, Message, Operation, Vocabulary
from flash_sandbox.operations import OPERATIONS
from flash_sandbox.operations import Operation as Row

from .markdown import code, table

__all__ = ["reference"]

_ROOT: Final = Path(__file__).parents[2]
_JSON: Final = {
    "string": "string",
    "bytes": "string, base64",
    "bool": "boolean",
    "int32": "integer",
    "int64": "integer",
    "uint32": "integer",
    "uint64": "integer",
    "float": "number",
    "double": "number",
}
_STREAMS: Final = {
    "": ("JSON", "a message"),
    "frames": ("a line of JSON each", "a stream of messages"),
    "bytes": ("the bytes themselves", "a stream of messages"),
}
# As wide as a page shows without scrolling.
_LINE_LENGTH: Final = 88


def reference() -> str:
    """Return a section for each operation, in the order of the table, and for each message they share."""
    http, grpc = openapi.load(_ROOT), protobuf.load(_ROOT)
    parts = [
        _operation(row, http.operations[row.name], grpc.operations[row.name], grpc) for row in OPERATIONS
    ]
    return "\n".join([*parts, _shared(http, grpc)])


def _operation(row: Row[Any, Any], http: Operation, grpc: Operation, service: Vocabulary) -> str:
    route = http.route
    assert route is not None
    answer_http, answer_grpc = _STREAMS[route.answer if http.streams == "response" else ""]
    sent = "the bytes themselves" if route.body == "bytes" else "JSON" if route.body else "no body"
    rows = [
        ("call", code(f"{route.method} {route.path}"), code(f"/{service.name}/{grpc.rpc}")),
        ("asked", sent, "a stream of messages" if grpc.streams == "request" else code(grpc.request.name)),
        (
            "answered",
            f"{route.success_status}, {answer_http if http.response.fields else 'no body'}",
            f"{answer_grpc}, {code(grpc.response.name)}" if grpc.streams else code(grpc.response.name),
        ),
    ]
    repeated = (
        "A lost answer is asked again: the call carries an idempotency key."
        if row.keyed
        else "A lost answer is asked again."
        if row.repeatable
        else "A lost answer is an `OutcomeUnknownError`: it is never asked again."
    )
    return "\n".join(
        [
            f"## {row.name}\n",
            f"{' '.join(filter(None, (http.doc, http.details)))} {repeated}\n",
            f"```python\n{_signature(row.name)}\n```\n",
            table(("", "HTTP", "gRPC"), rows),
            *_fields("Asked", http.request, grpc.request, http),
            *_fields("Answered", http.response, grpc.response, None),
            *_errors(http),
        ]
    )


def _errors(operation: Operation) -> list[str]:
    # The last one stands for all others, which are the same for each operation.
    rows = [(code(name), when) for name, when in list(raised(operation).items())[:-1]]
    return ["Raised:\n", table(("error", "when"), rows)] if rows else []


def _signature(name: str) -> str:
    """Return a method of the clients as it is called, without `self`."""
    signature = inspect.signature(getattr(flash_sandbox.HTTPClient, name))
    parts = list(_parts(one for one in signature.parameters.values() if one.name != "self"))
    line = f"{name}({', '.join(parts)}) -> {signature.return_annotation}"
    if len(line) <= _LINE_LENGTH:
        return line
    inside = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{inside}) -> {signature.return_annotation}"


def _parts(parameters: Iterable[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for one in parameters:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        # Annotations are texts: nothing is imported for them.
        default = "" if one.default is inspect.Parameter.empty else f" = {one.default!r}"
        yield f"{one.name}: {one.annotation}{default}"


def _fields(title: str, http: Message, grpc: Message, operation: Operation | None) -> list[str]:
    if not grpc.fields:
        return []
    rows = [
        (
            code(name),
            _place(name, operation),
            _json(http.fields[name]),
            f"{field.number}, {_shape(field)}",
            http.fields[name].doc,
        )
        for name, field in grpc.fields.items()
    ]
    head = ("field", "in", "HTTP", "gRPC", "meaning")
    # What is answered is all in one place.
    kept = range(5) if operation is not None else (0, 2, 3, 4)
    return [f"{title}:\n", table([head[n] for n in kept], ([row[n] for n in kept] for row in rows))]


def _place(name: str, operation: Operation | None) -> str:
    if operation is None or operation.route is None:
        return ""
    route = operation.route
    negated = {field: parameter for parameter, field in route.negated_params}
    if name in route.path_params:
        return "path"
    if negated.get(name, name) in route.query_params:
        return f"query, as its opposite {code(negated[name])}" if name in negated else "query"
    return "body"


def _shape(field: Field) -> str:
    label = "repeated " if field.repeated else "optional " if field.optional else ""
    return label + _named(field)


def _json(field: Field) -> str:
    kind = "string" if field.values else _JSON.get(field.type) or _named(field)
    return ("array of " if field.repeated else "") + kind + (", required" if field.required else "")


def _named(field: Field) -> str:
    if field.values:
        return " or ".join(map(code, field.values))
    if field.type in _JSON:
        return field.type
    return f"[{code(field.type)}](#{field.type.lower()})"


def _shared(http: Vocabulary, grpc: Vocabulary) -> str:
    """Return a section for each message that fields of others are."""
    named = {
        field.type
        for message in grpc.messages.values()
        for field in message.fields.values()
        if field.type in grpc.messages
    }
    parts = []
    for name in sorted(named | {"Error"}):
        message = http.messages[name]
        parts += [f"## {name}\n", f"{message.doc}\n", *_fields("Fields", message, grpc.messages[name], None)]
    return "\n".join(parts)
