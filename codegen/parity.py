"""Whether the two specs say the same: operations, messages, fields, types, optionality and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from .vocabulary import Field, Message, Operation, Vocabulary

__all__ = ["HTTP_ONLY", "mismatches"]

HTTP_ONLY: Final = frozenset({"get_health", "HealthResponse"})
"""Operations and schemas that gRPC has no counterpart of."""

ERROR: Final = "Error"
"""The message that is the answer of every call that fails."""

_Described: TypeAlias = Field | Message | Operation | Vocabulary


def mismatches(http: Vocabulary, grpc: Vocabulary) -> list[str]:
    """Return every disagreement, each with both places. Empty where the specs agree."""
    found = [
        *_words(f"service {grpc.name}", http, grpc),
        *_names("operation", http.operations, grpc.operations, http, grpc),
        *(
            text
            for name in http.operations.keys() & grpc.operations.keys()
            for text in _operations(http.operations[name], grpc.operations[name])
        ),
        *_shared_messages(http, grpc),
    ]
    # An input of two operations would be named twice.
    return sorted(set(found))


def _names(
    kind: str,
    left: dict[str, Operation] | dict[str, Message],
    right: dict[str, Operation] | dict[str, Message],
    http: Vocabulary,
    grpc: Vocabulary,
) -> Iterator[str]:
    for name in left.keys() - right.keys() - HTTP_ONLY:
        yield f"{kind} {name}: described at {left[name].place}, missing in {grpc.place.file}"
    for name in right.keys() - left.keys():
        yield f"{kind} {name}: described at {right[name].place}, missing in {http.place.file}"


def _operations(http: Operation, grpc: Operation) -> Iterator[str]:
    yield from _words(f"operation {http.name}", http, grpc)
    if http.streams != grpc.streams:
        yield (
            f"operation {http.name}: streams {http.streams or 'nothing'} at {http.place} "
            f"but {grpc.streams or 'nothing'} at {grpc.place}"
        )
    for way, left, right in (
        ("request", http.request, grpc.request),
        ("response", http.response, grpc.response),
    ):
        # A request of parameters alone and an answer without a body have no schema, so no name.
        if left.name and left.name != right.name:
            yield (f"{way} of {http.name}: is {left.name} at {left.place} but {right.name} at {right.place}")
        yield from _messages(right.name, left, right)
    yield from _always_there(grpc.response.name, http.response, grpc.response)


def _shared_messages(http: Vocabulary, grpc: Vocabulary) -> Iterator[str]:
    # What is part of an operation has been compared there, parameters included.
    used = {
        message.name
        for vocabulary in (http, grpc)
        for operation in vocabulary.operations.values()
        for message in (operation.request, operation.response)
    }
    left = {name: message for name, message in http.messages.items() if name not in used}
    right = {name: message for name, message in grpc.messages.items() if name not in used}
    yield from _names("message", left, right, http, grpc)
    answers = _parts_of_answers(grpc)
    for name in left.keys() & right.keys():
        yield from _messages(name, left[name], right[name])
        if name == ERROR or name in answers:
            yield from _always_there(name, left[name], right[name])


def _parts_of_answers(grpc: Vocabulary) -> set[str]:
    """Return the names of the messages that answers are made of."""
    found: set[str] = set()
    waiting = [operation.response for operation in grpc.operations.values()]
    while waiting:
        named = {field.type for field in waiting.pop().fields.values()} & grpc.messages.keys()
        waiting += [grpc.messages[name] for name in named - found]
        found |= named
    return found


def _messages(name: str, http: Message, grpc: Message) -> Iterator[str]:
    if http.name:
        yield from _words(f"message {name}", http, grpc)
    for field in http.fields.keys() - grpc.fields.keys():
        yield f"field {name}.{field}: described at {http.fields[field].place}, missing at {grpc.place}"
    for field in grpc.fields.keys() - http.fields.keys():
        yield f"field {name}.{field}: described at {grpc.fields[field].place}, missing at {http.place}"
    for field in http.fields.keys() & grpc.fields.keys():
        yield from _fields(f"field {name}.{field}", http.fields[field], grpc.fields[field])


def _always_there(name: str, http: Message, grpc: Message) -> Iterator[str]:
    # In a request a zero value means "not given" on both transports; an answer has no such rule.
    for field in http.fields.keys() & grpc.fields.keys():
        if http.fields[field].required == grpc.fields[field].optional:
            left, right = ("always", "optional") if grpc.fields[field].optional else ("not always", "always")
            yield (
                f"field {name}.{field}: is {left} there at {http.fields[field].place} "
                f"but {right} at {grpc.fields[field].place}"
            )


def _fields(what: str, http: Field, grpc: Field) -> Iterator[str]:
    if http.shape != grpc.shape:
        yield f"{what}: is {http.shape} at {http.place} but {grpc.shape} at {grpc.place}"
    yield from _words(what, http, grpc)


def _words(what: str, http: _Described, grpc: _Described) -> Iterator[str]:
    if http.doc != grpc.doc:
        yield f"{what}: reads {http.doc!r} at {http.place} but {grpc.doc!r} at {grpc.place}"
    elif not http.doc and not isinstance(http, Message):
        yield f"{what}: is not explained at {http.place} nor at {grpc.place}"
