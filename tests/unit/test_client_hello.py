"""The server's name in the first message of TLS."""

from __future__ import annotations

import pytest
from gate_servers import client_hello
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.orchestrator.network.client_hello import Incomplete, server_name

HELLO = client_hello("name.test")


@pytest.mark.parametrize("name", ["name.test", "a" * 63 + ".test", None])
def test_name_is_read(name: str | None) -> None:
    assert server_name(client_hello(name)) == name


def test_what_follows_does_not_matter() -> None:
    assert server_name(HELLO + b"anything") == "name.test"


@given(st.integers(0, len(HELLO) - 1))
def test_beginning_is_not_enough(size: int) -> None:
    with pytest.raises(Incomplete):
        server_name(HELLO[:size])


@given(st.integers(1, 100))
def test_name_is_read_of_several_records(size: int) -> None:
    body = HELLO[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert (
        server_name(b"".join(HELLO[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces))
        == "name.test"
    )


@given(st.integers(5, len(HELLO) - 1), st.integers(0, 255))
def test_changed_byte_is_read_or_refused(at: int, value: int) -> None:
    changed = HELLO[:at] + bytes([value]) + HELLO[at + 1 :]
    try:
        name = server_name(changed)
    except (Incomplete, ValueError):
        return
    assert name is None or isinstance(name, str)


def test_two_names_are_refused() -> None:
    body = bytearray(HELLO[5:])
    at = body.index(b"\0\0\0\x0e\0\x0c\0\0\x09name.test")
    entry = b"\0\0\x09name.test"
    twice = (
        b"\0\0" + (2 + 2 * len(entry)).to_bytes(2, "big") + (2 * len(entry)).to_bytes(2, "big") + 2 * entry
    )
    body[at : at + 18] = twice
    grown = len(twice) - 18
    # The lengths of the extensions, the message and the record.
    lengths = 4 + 34 + 1 + body[38]
    lengths += 2 + int.from_bytes(body[lengths : lengths + 2], "big")
    lengths += 1 + body[lengths]
    body[lengths : lengths + 2] = (int.from_bytes(body[lengths : lengths + 2], "big") + grown).to_bytes(
        2, "big"
    )
    body[1:4] = (int.from_bytes(body[1:4], "big") + grown).to_bytes(3, "big")
    with pytest.raises(ValueError, match="several servers"):
        server_name(HELLO[:3] + len(body).to_bytes(2, "big") + bytes(body))
