"""Questions about names, and their answers."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.orchestrator.network.dns import NO_SUCH_NAME, OK, A, answer, read_question

ASKED = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04name\x04test\x00\x00\x01\x00\x01"


def test_question_is_read() -> None:
    question = read_question(ASKED)
    assert (question.id, question.name, question.kind, question.raw) == (0x1234, "name.test", A, ASKED[12:])


def test_what_follows_the_question_does_not_matter() -> None:
    extension = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
    assert read_question(ASKED[:11] + b"\x01" + ASKED[12:] + extension).name == "name.test"


def test_answer_has_the_address() -> None:
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x40\x00\x01"
    expected = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + ASKED[12:] + record
    assert answer(read_question(ASKED), OK, IPv4Address("127.64.0.1")) == expected


def test_answer_without_an_address() -> None:
    assert answer(read_question(ASKED), NO_SUCH_NAME) == b"\x12\x34\x81\x83" + ASKED[4:]


@pytest.mark.parametrize(
    "changed",
    [
        ASKED[:-1],
        b"",
        ASKED[:2] + b"\x81" + ASKED[3:],
        ASKED[:5] + b"\x02" + ASKED[6:],
        ASKED[:12] + b"\xc0\x0c" + ASKED[14:],
        ASKED[:-1] + b"\x03",
        ASKED[:13] + b"\xff" + ASKED[14:],
    ],
    ids=["short", "empty", "answer", "two", "pointer", "class", "not ASCII"],
)
def test_what_is_no_question(changed: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_question(changed)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_question_or_refused(data: bytes) -> None:
    for message in (data, ASKED[:12] + data):
        try:
            question = read_question(message)
        except ValueError:
            continue
        assert question.raw in message
