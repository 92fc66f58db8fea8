"""The agent's codec and the generated one understand the same bytes in the same way."""

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
    ),
    "file": st.builds(
        guest.FileTask,
        kind=st.sampled_from(guest.FileKind),
        path=some_bytes,
        target=some_bytes,
        mode=uint32,
        parents=st.booleans(),
        recursive=st.booleans(),
        window=uint64,
    ),
    "dial": st.builds(guest.Dial, port=uint32, path=some_bytes, window=uint64),
    "input": st.builds(guest.Input, data=st.binary(max_size=70_000), end=st.booleans()),
    "window": st.builds(guest.Window, received=uint64, limit=uint64, resend=st.booleans()),
    "signal": st.builds(guest.Signal, number=uint32),
}
FROM_GUEST: Final = {
    "known": st.builds(
        guest.Known, received=uint64, produced=uint64, dropped=uint64, credit=uint64, ended=st.booleans()
    ),
    "started": st.builds(guest.Started, pid=uint32),
    "output": st.builds(
        guest.Output, stream=st.sampled_from(guest.OutputStream), offset=uint64, data=some_bytes
    ),
    "credit": st.builds(guest.Credit, limit=uint64),
    "ended": st.builds(guest.Ended, status=uint32, signal=uint32, unknown=st.booleans(), dropped=uint64),
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
def test_both_codecs_read_and_write_the_same(echo: Echo, kind: type, messages: st.SearchStrategy) -> None:
    @given(messages)
    def holds(message: object) -> None:
        written = echo(bytes(message))
        assert written is not None
        assert kind.parse(written) == message

    holds()


@given(st.data())
def test_what_is_cut_short_is_malformed(echo: Echo, data: st.DataObject) -> None:
    message = bytes(guest.ToGuest(task=2**40, input=guest.Input(data=b"x" * 200, end=True)))
    size = data.draw(st.integers(1, len(message) - 1).filter(lambda at: at != 7))
    assert echo(message[:size]) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_agents_codec(echo: Echo, message: bytes) -> None:
    understood = echo(message)
    if understood is not None:
        assert echo(understood) == understood
