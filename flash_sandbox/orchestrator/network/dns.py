"""Questions about names and their answers, as DNS carries them (RFC 1035, 4)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

__all__ = ["NO_SUCH_NAME", "OK", "A", "Question", "answer", "read_question"]

OK, NO_SUCH_NAME = 0, 3

A: Final = 1
"""The type of a question for IPv4 addresses."""

_INTERNET: Final = 1
_HEAD: Final = 12
_TTL_SECONDS: Final = 5
# An answer, with recursion available; what was desired of that is kept of the question.
_ANSWER: Final = 0x8080
_KEPT: Final = 0x0100
_NOT_A_QUERY: Final = 0xF800


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        id: Number that the answer repeats.
        flags: What of the question's flags the answer repeats.
        name: The name, without a dot at its end.
        kind: What is asked for.
        raw: The question, which the answer repeats.
    """

    id: int
    flags: int
    name: str
    kind: int
    raw: bytes


def read_question(message: bytes) -> Question:
    """Read a message that asks one question.

    Raises:
        ValueError: It is something else, or malformed.
    """
    if len(message) < _HEAD:
        raise ValueError("the message is too short")
    number, flags, count = (int.from_bytes(message[at : at + 2], "big") for at in (0, 2, 4))
    if flags & _NOT_A_QUERY or count != 1:
        raise ValueError("the message is not one question")
    labels, at = [], _HEAD
    while at < len(message) and (size := message[at]):
        if size > 63 or at + 1 + size >= len(message):
            raise ValueError("a label is malformed")
        labels.append(message[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    end = at + 5
    if len(message) < end or int.from_bytes(message[end - 2 : end], "big") != _INTERNET:
        raise ValueError("the question is malformed")
    kind = int.from_bytes(message[end - 4 : end - 2], "big")
    return Question(number, flags & _KEPT, ".".join(labels), kind, message[_HEAD:end])


def answer(question: Question, code: int, address: IPv4Address | None = None) -> bytes:
    """Return the answer to a question: a code, and an address if there is one."""
    head = (question.id, question.flags | _ANSWER | code, 1, int(address is not None), 0, 0)
    message = b"".join(number.to_bytes(2, "big") for number in head) + question.raw
    if address is None:
        return message
    # The name is the question's, which begins behind the head.
    record = b"\xc0\x0c" + b"".join(number.to_bytes(2, "big") for number in (A, _INTERNET))
    return message + record + _TTL_SECONDS.to_bytes(4, "big") + b"\x00\x04" + address.packed
