"""The agent's codec, the host's and the generated one understand the same bytes in the same way."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import flash_sandbox_guest as guest
import pytest
from agents import SANITIZERS, SOURCES
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox.orchestrator.guest.entries import parsed_entry
from flash_sandbox.orchestrator.guest.messages import parse, serialize
from hatch_build import FLAGS

_MALFORMED: Final = 0xFFFFFFFF
_CASES: Final = Path(__file__).parent

Echo = Callable[[bytes], bytes | None]


@pytest.fixture(scope="module")
def echo(compiler: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Echo]:
    """Return a function that sends a message through the agent's codec; None where it says malformed."""
    program = tmp_path_factory.mktemp("codec") / "echo_fields"
    sources = [str(_CASES / "echo_fields.c"), str(SOURCES / "wire.c")]
    subprocess.run(["cc", *FLAGS, *SANITIZERS, "-o", str(program), *sources], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def send(message: bytes) -> bytes | None:
            to.write(struct.pack("<I", len(message)) + message)
            to.flush()
            (size,) = struct.unpack("<I", back.read(4))
            return None if size == _MALFORMED else back.read(size)

        yield send
        to.close()
        assert process.wait(10) == 0


uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
some_bytes = st.binary(max_size=300)
terminals = st.builds(guest.Terminal, rows=uint32, columns=uint32)

# A message in a message in a message is bytes to `echo_fields`.
TO_GUEST: Final = {
    "hello": st.builds(guest.Hello, nonce=some_bytes, secret=some_bytes),
    "ping": st.builds(guest.Ping),
    "run": st.builds(
        guest.Run,
        argv=st.lists(some_bytes.filter(bool), max_size=5),
        env=st.lists(some_bytes.filter(bool), max_size=5),
        cwd=some_bytes,
        user=some_bytes,
        terminal=st.none() | terminals.filter(lambda one: bytes(one) != b""),
        takes_input=st.booleans(),
        detached=st.booleans(),
        window=uint64,
        limits=st.lists(
            st.builds(guest.ResourceLimit, resource=uint32, value=st.integers(1, 2**64 - 1)), max_size=3
        ),
        label=some_bytes,
    ),
    "files": st.builds(guest.FileWorker, window=uint64),
    "dial": st.builds(guest.Dial, port=uint32, path=some_bytes, window=uint64),
    "input": st.builds(guest.Input, data=st.binary(max_size=70_000), end=st.booleans()),
    "window": st.builds(guest.Window, received=uint64, limit=uint64, resend=st.booleans()),
    "signal": st.builds(guest.Signal, number=uint32),
    "forget": st.builds(guest.Forget),
}
FROM_GUEST: Final = {
    "known": st.builds(
        guest.Known,
        received=uint64,
        produced=uint64,
        dropped=uint64,
        credit=uint64,
        ended=st.booleans(),
        input=uint64,
        label=some_bytes,
    ),
    "started": st.builds(guest.Started, pid=uint32),
    "output": st.builds(
        guest.Output, stream=st.sampled_from(guest.OutputStream), offset=uint64, data=some_bytes
    ),
    "credit": st.builds(guest.Credit, limit=uint64),
    "ended": st.builds(
        guest.Ended,
        status=uint32,
        signal=uint32,
        unknown=st.booleans(),
        dropped=uint64,
        not_run=st.sampled_from(guest.NotRun),
    ),
}


def _messages(kind: type, bodies: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[object]:
    one = [st.fixed_dictionaries({"task": uint64, name: body}) for name, body in bodies.items()]
    return st.one_of(*one).map(lambda fields: kind(**fields))


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        (guest.ToGuest, _messages(guest.ToGuest, TO_GUEST)),
        (guest.FromGuest, _messages(guest.FromGuest, FROM_GUEST)),
    ],
    ids=["to_guest", "from_guest"],
)
def test_every_codec_reads_and_writes_the_same(echo: Echo, kind: type, messages: st.SearchStrategy) -> None:
    @given(messages)
    def holds(message: object) -> None:
        assert b"".join(serialize(message)) == bytes(message)
        written = echo(bytes(message))
        assert written is not None
        assert parse(kind, b"x" + written + b"x", 1, 1 + len(written)) == kind.parse(written) == message

    holds()


@given(st.data())
def test_what_is_cut_short_is_malformed(echo: Echo, data: st.DataObject) -> None:
    message = bytes(guest.ToGuest(task=2**40, input=guest.Input(data=b"x" * 200, end=True)))
    size = data.draw(st.integers(1, len(message) - 1).filter(lambda at: at != 7))
    assert echo(message[:size]) is None
    with pytest.raises(ValueError, match="cut short"):
        parse(guest.ToGuest, message[:size])


@given(st.binary(max_size=200))
def test_no_bytes_break_the_agents_codec(echo: Echo, message: bytes) -> None:
    understood = echo(message)
    if understood is not None:
        assert echo(understood) == understood


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_to_the_host_or_refused(data: bytes) -> None:
    try:
        message = parse(guest.FromGuest, data)
    except ValueError:
        return
    assert parse(guest.FromGuest, b"".join(serialize(message))) == message


@given(
    st.builds(
        guest.Entry,
        name=some_bytes,
        mode=st.integers(0, 0xFFFF),
        size=st.integers(0, 2**63 - 1),
        uid=uint32,
        gid=uint32,
        modified_ns=st.integers(-(2**63), 2**63 - 1),
        link=some_bytes,
        device=uint64,
        inode=uint64,
        names=uint64,
    )
)
def test_entries_are_read_as_they_were_written(entry: guest.Entry) -> None:
    assert parsed_entry(bytes(entry)) == entry
    assert b"".join(serialize(entry)) == bytes(entry)


def test_fields_that_the_host_does_not_know_are_skipped() -> None:
    known = guest.Output(data=b"x")
    unknown = b"\x38\x05", b"\x39" + bytes(8), b"\x3a\x01x", b"\x3d" + bytes(4)
    assert parse(guest.Output, b"".join(unknown) + bytes(known)) == known


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x07",
        b"\x08\x80",
        b"\x08" + b"\xff" * 10,
        b"\x1a\x05x",
        b"\x39\0",
        b"\x3f",
    ],
    ids=["enum", "number", "large number", "bytes", "fixed", "type"],
)
def test_what_the_host_cannot_read_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse(guest.Output, data)
