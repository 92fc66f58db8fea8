"""Long binary values in JSON, put in and taken out as base64 without being looked through for escapes.

What a program prints is most of a stream, and a JSON writer or reader takes as long for it as all else does.
Inside of a JSON text no quotation mark stands unescaped, so a key is found by its bytes.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Final

__all__ = ["LONG", "put_in", "taken_out"]

LONG: Final = 4096
"""From so many bytes on it is worth while."""


def put_in(encoded: bytes, values: Mapping[str, bytes]) -> bytes:
    """Return an object with values in the place of the empty texts that its fields have.

    Args:
        encoded: The object, written without spaces; none of its values is another object.
        values: Values by the name of the field.
    """
    for name, value in values.items():
        before, key, after = encoded.partition(_key(name))
        encoded = b"".join((before, key, binascii.b2a_base64(value, newline=False), after))
    return encoded


def taken_out(encoded: bytes, name: str) -> tuple[bytes, memoryview] | None:
    """Return an object with an empty text in the place of a value, and the base64 of that.

    None where it cannot be done: there is no such text, there are objects in the object, or it has escapes.
    """
    key = _key(name)
    start = encoded.find(key) + len(key)
    end = encoded.find(b'"', start)
    if start < len(key) or end < 0 or encoded.find(b"\\", start, end) >= 0:
        return None
    short = encoded[:start] + encoded[end:]
    return (short, memoryview(encoded)[start:end]) if short.count(b"{") == 1 else None


def _key(name: str) -> bytes:
    return f'"{name}":"'.encode()
