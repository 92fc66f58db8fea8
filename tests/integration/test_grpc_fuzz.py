"""Whatever bytes come, the gRPC front door answers with a status that says why, and lives on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import flash_sandbox_grpc as messages
import pytest
from flash_sandbox_grpc import SandboxServiceBase
from h2_peer import Outcome, Peer, framed, headers_of
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flash_sandbox.errors import GRPC_STATUS
from flash_sandbox.operations import OPERATIONS
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

PATHS = [f"/sandbox.SandboxService/{operation.rpc}" for operation in OPERATIONS]
START, STOP, EXEC, STATUS = PATHS[0], PATHS[1], PATHS[2], PATHS[3]
# What follows events ends with the time that the caller gave it, and no sooner.
BRIEF = {"/sandbox.SandboxService/WatchEvents": [("grpc-timeout", "50m")]}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Both would say that the orchestrator, not the caller, is at fault.
FAULTS = (GRPC_STATUS["UNKNOWN"], GRPC_STATUS["INTERNAL"])

VALID = [
    messages.StartRequest(type="bubblewrap", command=["sleep", "9"], memory_mb=64, cpu_cores=0.5),
    messages.StartRequest(image="/nowhere", snapshot_path="/nowhere", kernel_image="k", network="none"),
    messages.ExecRequest(id="some", command=["echo", "\u20ac"]),
    messages.StatusRequest(id="0123456789abcdef0123"),
]

HEADERS = [
    *("content-type", "te", "grpc-timeout", "grpc-encoding", "authorization", "x-request-id"),
    *("idempotency-key", "user-agent", "some-bin", "grpc-status-details-bin", "grpc-tags-bin"),
]

# With many more examples a test takes longer than others may.
pytestmark = pytest.mark.timeout(1800)

fuzz = settings(suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Served:
    """An orchestrator in a process of its own."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    def resident_bytes(self) -> int:
        """Return how much memory the process holds (proc(5), statm)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def served(limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run an orchestrator, which must still be there, without having complained, at the end."""
    folder = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, "-W", "error", "-m", "flash_sandbox.cli", "serve", "--limits", limits]
    command += ["--http-port", "0", "--grpc-port", "0", "--state-dir", str(folder / "state")]
    log = folder / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
        )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield Served(process, process.stdout.readline().split()[1], log)
        assert process.poll() is None
        assert not re.findall(r"^Traceback.*|^.*level=(?:error|critical).*", log.read_text(), re.MULTILINE)
    finally:
        process.terminate()
        process.communicate()


def call(served: Served, path: str, chunks: Iterable[bytes], *more: tuple[str, str]) -> Outcome:
    """Make a call on a connection of its own; a sandbox that it has started is stopped."""
    with Peer(served.address) as peer:
        outcome = peer.call(headers_of(path, *more), chunks)
        if path == START and outcome.status == 0:
            assert peer.call(headers_of(STOP), [outcome.body]).status == 0
    return outcome


def blames_the_caller(outcome: Outcome) -> None:
    """Check that a call was answered, with a status that is no fault of the orchestrator."""
    assert outcome.answered, outcome
    assert outcome.status is not None, outcome
    assert outcome.status not in FAULTS, outcome


def is_alive(served: Served) -> None:
    """Check that a call of another connection is answered as ever."""
    outcome = call(served, STATUS, [framed(bytes(messages.StatusRequest(id="gone")))])
    assert outcome.status == GRPC_STATUS["NOT_FOUND"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a valid message with a few of its bytes changed, left out or added to."""
    data = bytearray(bytes(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 4)))
        data[start:stop] = draw(st.binary(max_size=4))
    return bytes(data)


prefixes = st.builds(
    lambda flag, size: bytes([flag]) + size.to_bytes(4, "big"),
    st.sampled_from([0, 0, 0, 1, 255]),
    st.integers(0, 64) | st.integers(0, 2**32 - 1),
)

frames = st.builds(
    lambda kind, flags, stream, body: (
        len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
    ),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 2, 3, 2**31 - 1]),
    st.binary(max_size=40),
)


def test_every_method_is_fuzzed() -> None:
    assert len(PATHS) == len([name for name in vars(SandboxServiceBase) if not name.startswith("_")])


class TestMessages:
    @pytest.mark.parametrize("path", PATHS)
    @fuzz
    @given(data=st.binary())
    @example(b"")
    @example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
    @example(b"\x0b\x0c" * 50_000)
    def test_bytes(self, served: Served, path: str, data: bytes) -> None:
        blames_the_caller(call(served, path, [framed(data)], *BRIEF.get(path, [])))

    @pytest.mark.parametrize("path", PATHS)
    @fuzz
    @given(data=mutated())
    def test_changed_messages(self, served: Served, path: str, data: bytes) -> None:
        blames_the_caller(call(served, path, [framed(data)], *BRIEF.get(path, [])))

    @pytest.mark.parametrize("path", [START, STATUS])
    @fuzz
    @given(parts=st.lists(prefixes | st.binary(max_size=20), max_size=6))
    def test_prefixes_that_lie(self, served: Served, path: str, parts: list[bytes]) -> None:
        blames_the_caller(call(served, path, parts))

    def test_message_that_is_too_large_whatever_is_sent_of_it(self, served: Served) -> None:
        outcome = call(served, STATUS, [framed(b"\x0a" * 17 * 2**20)])
        assert outcome.status == GRPC_STATUS["RESOURCE_EXHAUSTED"]


class TestHeaders:
    @fuzz
    @given(path=st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
    @example("")
    @example("*")
    @example(" a ")
    @example("/")
    @example("/sandbox.SandboxService/")
    @example("/sandbox.SandboxService/GetStatus/")
    @example("/sandbox.SandboxService/getstatus")
    def test_methods_that_there_are_not(self, served: Served, path: str) -> None:
        outcome = call(served, "/" + path, [framed(b"")])
        assert outcome.status == GRPC_STATUS["UNIMPLEMENTED"]

    @pytest.mark.parametrize(
        ("name", "value", "http_status"),
        [
            ("content-type", "application/json", "415"),
            ("content-type", "application/grpc+json", "415"),
            ("content-type", "application/grpc-web+proto", "415"),
            ("content-type", "", "415"),
            (":method", "GET", "405"),
            (":method", "PUT", "405"),
            (":method", "BREW", "405"),
            ("te", "gzip", "400"),
        ],
    )
    def test_request_that_is_not_grpc(self, served: Served, name: str, value: str, http_status: str) -> None:
        outcome = call(served, STATUS, [framed(b"")], (name, value))
        blames_the_caller(outcome)
        assert outcome.headers[":status"] == http_status

    @fuzz
    @given(
        name=st.sampled_from(HEADERS),
        value=st.text(st.characters(codec="ascii", exclude_categories=["Cc"])).map(str.strip),
    )
    @example("grpc-timeout", "")
    @example("grpc-timeout", "0n")
    @example("grpc-timeout", "-1S")
    @example("grpc-timeout", "99999999H")
    @example("grpc-timeout", "9" * 400 + "H")
    @example("idempotency-key", "x" * 300)
    @example("some-bin", "=")
    @example("grpc-encoding", "gzip")
    def test_odd_values(self, served: Served, name: str, value: str) -> None:
        blames_the_caller(call(served, STATUS, [framed(b"")], (name, value)))


class TestConnections:
    @fuzz
    @given(data=st.binary())
    @example(b"GET / HTTP/1.1\r\n\r\n")
    @example(PREFACE[:10])
    @example(PREFACE + b"\xff\xff\xff\x04\x00\x00\x00\x00\x00")
    def test_bytes(self, served: Served, data: bytes) -> None:
        for sent in (data, PREFACE + data, PREFACE + b"\0\0\0\x04\0\0\0\0\0" + data):
            with Peer(served.address) as peer:
                peer.write(sent)
                peer.until_closed()
        is_alive(served)

    @fuzz
    @given(data=st.lists(frames, max_size=8).map(b"".join))
    def test_frames(self, served: Served, data: bytes) -> None:
        with Peer(served.address) as peer:
            peer.write(PREFACE + b"\0\0\0\x04\0\0\0\0\0" + data)
            peer.until_closed()
        is_alive(served)

    def test_calls_that_are_given_up_at_once(self, served: Served) -> None:
        with Peer(served.address) as peer:
            for _ in range(1000):
                peer.reset(peer.begin(headers_of(EXEC)))
        is_alive(served)


def test_memory_does_not_grow(served: Served) -> None:
    def round_of_calls() -> None:
        for number in range(40):
            for path in PATHS[number % 4 :: 4]:
                message = bytes(VALID[number % len(VALID)]) + bytes([number])
                call(served, path, [framed(message)], *BRIEF.get(path, []))
            send_half_a_message(served, 2**20)
        is_alive(served)

    for _ in range(2):
        round_of_calls()
    before = served.resident_bytes()
    for _ in range(5):
        round_of_calls()
    # 1,600 calls and 200 MiB of data: what leaked 16 KiB a call, or one message in six, would be seen.
    assert served.resident_bytes() - before < 25 * 2**20


def send_half_a_message(served: Served, size: int) -> None:
    """Send half of a message, and close the connection."""
    with Peer(served.address) as peer:
        stream = peer.begin(headers_of(STATUS))
        peer.send(stream, framed(b"\x0a" * size)[: size // 2])
