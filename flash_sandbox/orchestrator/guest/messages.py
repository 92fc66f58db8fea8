"""Reads and writes the messages between host and guest agent, in protobuf's format.

betterproto2 takes some 20 µs for each, which is most of the host's time for a small operation and for a large
transfer. This takes a few, for the kinds of fields that ``specs/guest.proto`` has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar, cast, get_args, get_type_hints

import betterproto2

__all__ = ["encoded_number", "parse", "serialize"]

_Message = TypeVar("_Message", bound=betterproto2.Message)

# Wire types (protobuf.dev, Encoding).
_VARINT: Final = 0
_LENGTH: Final = 2
_SIZES_OF_OTHERS: Final = {1: 8, 5: 4}


class _Field(NamedTuple):
    """A field of a message.

    Attributes:
        name: Its name.
        tag: The encoded number and wire type.
        read: Makes its value of a number; None for bytes and messages.
        kind: Class of a message; None for all else.
        is_repeated: Whether it is a list.
        is_signed: Whether it is zigzag-encoded.
    """

    name: str
    tag: bytes
    read: Callable[[int], object] | None
    kind: type[betterproto2.Message] | None
    is_repeated: bool
    is_signed: bool


def _below(bits: int) -> Callable[[int], int]:
    def read(value: int) -> int:
        if value >> bits:
            raise ValueError("a number is too large")
        return value

    return read


def _member_of(kind: type[IntEnum]) -> Callable[[int], object]:
    return {int(member): member for member in kind}.__getitem__


_READ: Final[dict[str, Callable[[int], object]]] = {
    "uint32": _below(32),
    "uint64": _below(64),
    "sint64": lambda value: (value >> 1) ^ -(value & 1),
    "bool": bool,
}


@cache
def _fields(kind: type[betterproto2.Message]) -> dict[int, _Field]:
    """Return the fields of a message by their encoded number and wire type."""
    found = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(cast(Any, kind)):
        meta = betterproto2.FieldMetadata.get(field)
        hint = hints[field.name]
        inner = get_args(hint)[0] if get_args(hint) else hint
        read = _member_of(inner) if meta.proto_type == "enum" else _READ.get(meta.proto_type)
        tag = meta.number << 3 | (_LENGTH if read is None else _VARINT)
        found[tag] = _Field(
            field.name,
            encoded_number(tag),
            read,
            inner if meta.proto_type == "message" else None,
            bool(meta.repeated),
            meta.proto_type == "sint64",
        )
    return found


def parse(kind: type[_Message], data: bytes, begin: int = 0, end: int | None = None) -> _Message:
    """Read a message. Unknown fields are skipped; of a field that comes twice the last counts.

    Args:
        kind: What it is.
        data: What it is in.
        begin: Where it begins.
        end: Where it ends; None for the end of `data`.

    Raises:
        ValueError: It is malformed.
    """
    try:
        return _parse(kind, data, begin, len(data) if end is None else end)
    except LookupError:
        raise ValueError("the message is cut short, or has a number that means nothing") from None


def _parse(kind: type[_Message], data: bytes, at: int, end: int) -> _Message:
    fields = _fields(kind)
    values: dict[str, Any] = {}
    while at < end:
        tag, at = _varint(data, at)
        field = fields.get(tag)
        if field is None:
            at = _behind(tag & 7, data, at)
            continue
        number, at = _varint(data, at)
        if field.read is not None:
            values[field.name] = field.read(number)
            continue
        start, at = at, at + number
        if at > end:
            break
        value = data[start:at] if field.kind is None else _parse(field.kind, data, start, at)
        if field.is_repeated:
            values.setdefault(field.name, []).append(value)
        else:
            values[field.name] = value
    if at != end:
        raise ValueError("the message is cut short")
    return kind(**values)


def _behind(wire_type: int, data: bytes, at: int) -> int:
    """Return where an unknown field ends."""
    if wire_type in _SIZES_OF_OTHERS:
        return at + _SIZES_OF_OTHERS[wire_type]
    number, at = _varint(data, at)
    if wire_type == _LENGTH:
        return at + number
    if wire_type != _VARINT:
        raise ValueError("a field has an unknown type")
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, and where it ends."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise ValueError("a number is too large")


def serialize(message: betterproto2.Message) -> list[bytes]:
    """Write a message, and return it in parts: what it holds is not copied."""
    parts: list[bytes] = []
    _serialize(message, parts)
    return parts


def _serialize(message: betterproto2.Message, parts: list[bytes]) -> None:
    for name, tag, read, kind, is_repeated, is_signed in _fields(type(message)).values():
        value = getattr(message, name)
        if value is None or (kind is None and not value):
            continue
        for one in value if is_repeated else (value,):
            if kind is not None:
                inner: list[bytes] = []
                _serialize(one, inner)
                parts += (tag, encoded_number(sum(map(len, inner))), *inner)
            elif read is None:
                parts += (tag, encoded_number(len(one)), one)
            else:
                parts += (tag, encoded_number(one << 1 ^ one >> 63 if is_signed else one))


_ONE_BYTE: Final = tuple(bytes([value]) for value in range(0x80))


def encoded_number(value: int) -> bytes:
    """Return a number as a varint."""
    if value < 0x80:
        return _ONE_BYTE[value]
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
