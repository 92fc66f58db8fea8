"""The binary form of generated messages, written and read strictly.

The format: https://protobuf.dev/programming-guides/encoding.

betterproto2's own reader takes truncated data and wrong wire types for valid, and its writer wraps integers
that are out of range and swaps the process-wide warning filters for every field, which races with other
threads. This one refuses instead, knows no warnings, and works from the same generated message classes.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any, Final, cast, get_args, get_type_hints

import betterproto2
from betterproto2 import FieldMetadata

__all__ = ["MalformedMessageError", "dump_message", "load_message"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UINT64_MAX: Final = 2**64 - 1


class MalformedMessageError(ValueError):
    """Bytes that are not a message of the type that is due."""


def dump_message(message: betterproto2.Message) -> bytes:
    """Return the binary form of `message`; fields that have their default are left out."""
    output = bytearray()
    for name, key, encode in _layout(type(message)).writers:
        value = getattr(message, name)
        # A message is false where all of its fields have their default.
        if not value and not isinstance(value, betterproto2.Message):
            continue
        for item in value if isinstance(value, list) else (value,):
            output += key
            output += encode(item)
    return bytes(output)


def load_message(message_class: type[Any], data: bytes) -> Any:
    """Return the message of `message_class` that `data` tells; unknown fields are ignored.

    Raises:
        MalformedMessageError: `data` is cut short, or a known field is of another type.
    """
    layout = _layout(message_class)
    fields: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        key, position = _read_varint(data, position)
        wire_type = key & 7
        value, position = _read_value(data, position, wire_type)
        reader = layout.readers.get(key >> 3)
        if reader is None:
            if not key >> 3:
                raise MalformedMessageError("field number 0")
            continue
        name, due, decode, repeated = reader
        if wire_type != due:
            raise MalformedMessageError(f"{name} has wire type {wire_type} instead of {due}")
        try:
            item = decode(value)
        except ValueError as error:
            raise MalformedMessageError(f"{name}: {error}") from error
        if repeated:
            fields.setdefault(name, []).append(item)
        else:
            fields[name] = item
    return message_class(**fields)


class _Layout:
    """How one message class is written and read."""

    def __init__(self, message_class: type[betterproto2.Message]) -> None:
        types = get_type_hints(message_class)
        self.writers: list[tuple[str, bytes, Callable[[Any], bytes]]] = []
        self.readers: dict[int, tuple[str, int, Callable[[Any], Any], bool]] = {}
        described = (
            (each.name, FieldMetadata.get(each)) for each in dataclasses.fields(cast(Any, message_class))
        )
        for name, field in sorted(described, key=lambda item: item[1].number):
            kind = field.proto_type
            if kind == "message":
                # The type is `Message | None` or `list[Message]`.
                wire_type, encode, decode = _nested(get_args(types[name])[0])
            elif kind in _TYPES and (kind == "string" or not field.repeated):
                wire_type, encode, decode = _TYPES[kind]
            else:
                raise NotImplementedError(f"{message_class.__name__}.{name} is of type {kind}")
            key = _write_varint(field.number << 3 | wire_type)
            self.writers.append((name, key, encode))
            self.readers[field.number] = (name, wire_type, decode, bool(field.repeated))


_LAYOUTS: Final[dict[type[Any], _Layout]] = {}


def _layout(message_class: type[Any]) -> _Layout:
    layout = _LAYOUTS.get(message_class)
    if layout is None:
        layout = _LAYOUTS[message_class] = _Layout(message_class)
    return layout


def _read_value(data: bytes, position: int, wire_type: int) -> tuple[Any, int]:
    if wire_type == _VARINT:
        return _read_varint(data, position)
    if wire_type == _BYTES:
        size, position = _read_varint(data, position)
    elif wire_type == _FIXED64:
        size = 8
    elif wire_type == _FIXED32:
        size = 4
    else:
        raise MalformedMessageError(f"wire type {wire_type}")
    stop = position + size
    if stop > len(data):
        raise MalformedMessageError("cut short")
    return data[position:stop], stop


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    try:
        byte = data[position]
        if byte < 0x80:
            return byte, position + 1
        value, shift = byte & 0x7F, 7
        while True:
            position += 1
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise MalformedMessageError("integer of more than 10 bytes")
    except IndexError:
        raise MalformedMessageError("cut short") from None
    if value > _UINT64_MAX:
        raise MalformedMessageError("integer of more than 64 bits")
    return value, position + 1


def _write_varint(value: int) -> bytes:
    if value < 0x80:
        return value.to_bytes(1, "little")
    output = bytearray()
    while value >= 0x80:
        output.append(value & 0x7F | 0x80)
        value >>= 7
    output.append(value)
    return bytes(output)


def _integer(low: int, high: int) -> tuple[int, Callable[[int], bytes], Callable[[int], int]]:
    def encode(value: int) -> bytes:
        if not low <= value <= high:
            raise MalformedMessageError(f"{value} is not {low} to {high}")
        return _write_varint(value & _UINT64_MAX)

    def decode(value: int) -> int:
        if low < 0 and value >= 2**63:
            value -= 2**64
        if not low <= value <= high:
            raise MalformedMessageError(f"{value} is not {low} to {high}")
        return value

    return _VARINT, encode, decode


def _encode_bytes(value: bytes) -> bytes:
    return _write_varint(len(value)) + value


def _encode_text(value: str) -> bytes:
    return _encode_bytes(value.encode("utf-8"))


def _decode_text(value: bytes) -> str:
    return value.decode("utf-8")


def _decode_double(value: bytes) -> float:
    number: float = struct.unpack("<d", value)[0]
    return number


def _nested(message_class: type[Any]) -> tuple[int, Callable[[Any], bytes], Callable[[Any], Any]]:
    def encode(value: Any) -> bytes:
        return _encode_bytes(dump_message(value))

    def decode(value: bytes) -> Any:
        return load_message(message_class, value)

    return _BYTES, encode, decode


_TYPES: Final[dict[str, tuple[int, Callable[[Any], bytes], Callable[[Any], Any]]]] = {
    "bool": (_VARINT, _write_varint, bool),
    "int32": _integer(-(2**31), 2**31 - 1),
    "int64": _integer(-(2**63), 2**63 - 1),
    "uint32": _integer(0, 2**32 - 1),
    "uint64": _integer(0, _UINT64_MAX),
    "double": (_FIXED64, struct.Struct("<d").pack, _decode_double),
    "string": (_BYTES, _encode_text, _decode_text),
    "bytes": (_BYTES, _encode_bytes, bytes),
}
