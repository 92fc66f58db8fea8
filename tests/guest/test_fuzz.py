"""100,000 random frames: an agent with sanitizers neither crashes nor hangs, and serves afterwards."""

from __future__ import annotations

import operator
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from resource import RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK
from typing import Any, Final

import flash_sandbox_guest as guest
import pytest
from agents import Host, sandbox_command
from fake_agent import framed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flash_sandbox.orchestrator.guest.messages import encoded_number

_EXAMPLES: Final = 112
_MESSAGES: Final = 100  # of one example, each of which is sent in nine forms
_STARTS: Final = ("run", "files", "dial")
_BEGIN, _END = b"\xf5", b"\xfa"
# A signal that is meant for a program may come to its process before that has become the program. The
# sanitizer takes it for a fault at the address that is the sender's process ID: for the agent, 1.
_SENT_BY_THE_AGENT: Final = re.compile(r"SEGV on unknown address 0x0+1 ")
_SANITIZERS: Final = "log_path=/tmp/reports/found:handle_sigbus=0:handle_sigfpe=0"

Message = tuple[int, tuple[str, Any], bytes]
"""Which task it is about, counted back from the newest; what it says; and how it is broken."""

_numbers = st.sampled_from([0, 1, 1000, 2**31, 2**32, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
_paths = st.sampled_from([b"/tmp/f", b"/tmp/f/a", b"/tmp/f/b", b"/tmp/g", b"/etc"]) | st.binary(max_size=20)
_programs = st.sampled_from(
    [
        [b"/bin/true"],
        [b"/bin/cat"],
        [b"/bin/sleep", b"600"],
        [b"/bin/sh", b"-c", b"yes & setsid sleep 600 & exit 3"],
        [b"/bin/sh", b"-c", b"kill -9 $PPID"],
        [b"/nowhere"],
    ]
)
# Those of memory would stop the sanitizers.
_resources = st.integers(0, 20).filter(lambda number: number not in (RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK))
_limits = st.builds(guest.ResourceLimit, resource=_resources, value=_numbers)
_terminals = st.builds(guest.Terminal, rows=st.integers(0, 2**32 - 1), columns=st.integers(0, 100))

_requests = st.lists(
    st.builds(
        guest.FileRequest,
        kind=st.sampled_from(guest.FileKind),
        path=_paths,
        target=_paths,
        mode=st.sampled_from([0, 0o700, 0o7777]) | st.integers(0, 2**32 - 1),
        modified_ns=st.integers(-(2**63), 2**63 - 1),
        tolerated=_numbers,
        follow=st.booleans(),
        whole=st.booleans(),
        list=st.booleans(),
        kept=st.integers(0, 4),
        keep=st.integers(0, 4),
    ).map(lambda request: encoded_number(len(bytes(request))) + bytes(request)),
    max_size=8,
).map(b"".join)

_BODIES: Final = {
    "run": st.builds(
        guest.Run,
        argv=_programs | st.lists(st.binary(max_size=8), max_size=3),
        env=st.lists(st.binary(max_size=8), max_size=2),
        cwd=_paths,
        user=st.sampled_from([b"", b"0", b"root", b"1000:1000"]) | st.binary(max_size=8),
        terminal=st.none() | _terminals,
        takes_input=st.booleans(),
        detached=st.booleans(),
        window=_numbers,
        limits=st.builds(operator.mul, st.lists(_limits, max_size=1), st.sampled_from([1, 20])),
        label=st.binary(max_size=8),
    ),
    "files": st.builds(guest.FileWorker, window=_numbers),
    "dial": st.builds(guest.Dial, port=st.integers(0, 70_000), path=_paths, window=_numbers),
    "input": st.builds(guest.Input, data=st.binary(max_size=60) | _requests, end=st.booleans()),
    "window": st.builds(guest.Window, received=_numbers, limit=_numbers, resend=st.booleans()),
    "signal": st.builds(guest.Signal, number=st.integers(0, 70)),
    "resize": st.builds(guest.Resize, rows=st.integers(0, 2**32 - 1), columns=st.integers(0, 100)),
    "kill": st.just(guest.Kill()),
    "forget": st.just(guest.Forget()),
    "ping": st.just(guest.Ping()),
    "hello": st.builds(guest.Hello, nonce=st.binary(max_size=20), secret=st.binary(max_size=80)),
    "hold": st.just(guest.Hold()),
}
_messages = st.tuples(
    st.integers(0, 9),
    st.one_of([body.map(lambda value, name=name: (name, value)) for name, body in _BODIES.items()]),
    st.binary(min_size=16, max_size=16),
)


def _broken(whole: bytes, noise: bytes) -> Iterator[bytes]:
    """Break a message, and its frame, in four ways."""
    at = noise[0] % (len(whole) + 1)
    changed = bytearray(whole or b"\0")
    changed[at % len(changed)] ^= noise[1]
    wrong_size = struct.pack("<I", len(whole) + noise[2] % 8)
    yield framed(whole[:at])
    yield framed(changed)
    yield framed(whole[:at] + noise + whole[at:])
    yield [noise, framed(whole)[:-1], _BEGIN + wrong_size + whole + _END][noise[3] % 3]


class Fuzzed:
    """An agent with sanitizers that is sent random frames.

    Args:
        agent: Its program.
        reports: Directory for what the sanitizers find.
    """

    def __init__(self, agent: Path, reports: Path) -> None:
        self.sent = 0
        self._reports = reports
        more = ["--bind", str(reports), "/tmp/reports"]
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            more += ["--setenv", name, _SANITIZERS]
        self._sandbox = sandbox_command(agent, "/", *more)
        self._start()

    def _start(self) -> None:
        self._task = 0
        self._sock, theirs = socket.socketpair()
        command = [*self._sandbox, "--inherited", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def send(self, message: Message) -> None:
        """Send a message, whole and broken in several ways."""
        back, (name, body), noise = message
        self._task += name in _STARTS
        task = self._task if name in _STARTS else max(0, self._task - back)
        if name == "input" and noise[4] < 32:
            body = guest.Input(data=bytes((65_536, 70_000)[noise[4] % 2]), end=body.end)
        whole = bytes(guest.ToGuest(task=task, **{name: body}))
        frames = [framed(whole), *_broken(whole, noise[:8]), *_broken(whole, noise[8:])]
        self._sock.sendall(b"".join(frames))
        self.sent += len(frames)

    def settle(self) -> None:
        """Greet the agent, end and forget all its tasks, and have it run a program."""
        # The answer to an earlier hello, which may be on its way, tells of tasks that were forgotten since.
        Host(self._sock, synchronise=True)
        host = Host(self._sock)
        for task in host.known:
            host.adopt(task)
            host.send(task, kill=guest.Kill())
        for task in host.known:
            host.finish(task)
        self._task = host.new_task()
        if self._task > 2**63:
            # Hardly any numbers are left for tasks, which only grow.
            self.stop()
            self._start()
            return
        assert host.run("/bin/echo", "served").stdout == b"served\n"
        host.ping()

    def stop(self) -> None:
        """End the agent, which does so by itself when its stream ends, and look at what was found."""
        self._sock.close()
        try:
            status: int | None = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = None
        reports = [path.read_text(errors="replace") for path in self._reports.iterdir()]
        found = [report for report in reports if not _SENT_BY_THE_AGENT.search(report)]
        assert (status, found) == (0, [])


@pytest.mark.timeout(300)
def test_no_frames_crash_or_stop_the_agent(checked_agent: Path, tmp_path: Path) -> None:
    fuzzed = Fuzzed(checked_agent, tmp_path)

    # Without a search for a smaller example, which would take as long again, many times.
    @settings(max_examples=_EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.data())
    def send(data: st.DataObject) -> None:
        for _ in range(_MESSAGES):
            fuzzed.send(data.draw(_messages))
        fuzzed.settle()

    try:
        send()
    finally:
        fuzzed.stop()
    assert fuzzed.sent >= 100_000
