"""The stream between orchestrator and guest agent: lost, broken off, taken up again, and full of nonsense."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import WINDOW, Host, running_agent, sandbox_command
from fake_agent import framed
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wire import TO_GUEST, uint64

from flash_sandbox.orchestrator.guest.frames import MAX_TO_GUEST, SYNCHRONISING

KEPT = 1_048_576


class Dialled:
    """An agent that dials a socket, which can be lost and found again."""

    def __init__(self, agent: Path, directory: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / "socket"))
        self._listener.listen()
        self._listener.settimeout(20)
        mount = ("--bind", str(directory), "/mnt")
        self.process = subprocess.Popen([*sandbox_command(agent, "/", *mount), "--dial", "/mnt/socket"])
        self.host: Host | None = None

    def connect(self) -> tuple[Host, bytes]:
        """Accept the agent's next connection; return it, and the secret that the agent showed."""
        if self.host is not None:
            self.host.sock.close()
        connection, _ = self._listener.accept()
        connection.settimeout(20)
        head = connection.recv(5, socket.MSG_WAITALL)
        payload = connection.recv(int.from_bytes(head[1:], "little") + 1, socket.MSG_WAITALL)[:-1]
        dialled = guest.FromGuest.parse(payload).dialled
        assert dialled is not None
        self.host = Host(connection)
        return self.host, dialled.secret

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.close()
        if self.host is not None:
            self.host.sock.close()


@pytest.fixture
def dialled(agent: Path, tmp_path: Path) -> Iterator[Dialled]:
    running = Dialled(agent, tmp_path)
    yield running
    running.close()


def _adopt(host: Host, before: Host, task: int) -> None:
    """Go on with a task of the host before, from what that had received of it."""
    host.tasks[task] = before.tasks[task]
    host.tasks[task].sent, host.tasks[task].credit = host.known[task].input, host.known[task].credit
    host.acknowledge(task, resend=True)


def test_an_agent_whose_stream_has_ended_ends(agent: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [*sandbox_command(agent), "--inherited", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()
    Host(ours).start("sleep", "600")
    ours.close()
    assert process.wait(10) == 0


def test_an_agent_dials_again_and_shows_the_secret(dialled: Dialled) -> None:
    assert dialled.connect()[1] == b""
    for _ in range(3):
        host, secret = dialled.connect()
        assert secret == b"secret"
        assert host.run("echo", "hi").stdout == b"hi\n"


def test_a_program_and_its_output_outlive_the_orchestrator(dialled: Dialled) -> None:
    host, _ = dialled.connect()
    task = host.start(
        "sh", "-c", "echo before; read go; echo after; exit 7", takes_input=True, label=b"a label"
    )
    host.wait_for_output(task, b"before")
    again, _ = dialled.connect()
    assert again.known[task].produced == len(b"before\n")
    assert again.known[task].label == b"a label"
    _adopt(again, host, task)
    again.write(task, b"go\n")
    result = again.finish(task)
    assert (result.status, result.stdout) == (7, b"before\nafter\n")
    assert again.new_task() > task


def test_output_that_was_on_its_way_is_sent_again(dialled: Dialled) -> None:
    host, _ = dialled.connect()
    task = host.start("seq", "100000")
    while host.tasks[task].received < 100_000:
        host.take()
    expected = "".join(f"{number}\n" for number in range(1, 100_001)).encode()
    # Whatever this host was sent and had not yet taken into account is lost with it.
    for _ in range(4):
        again, _ = dialled.connect()
        _adopt(again, host, task)
        again.take()
        host = again
    assert host.finish(task).stdout == expected


def test_a_program_that_has_ended_meanwhile_is_told_of(dialled: Dialled) -> None:
    host, _ = dialled.connect()
    task = host.start("sh", "-c", "read go; echo done; exit 3", takes_input=True)
    host.write(task, b"go\n")
    again, _ = dialled.connect()
    _adopt(again, host, task)
    result = again.finish(task)
    assert (result.status, result.stdout) == (3, b"done\n")


def test_a_detached_program_goes_on_and_the_last_of_its_output_is_kept(dialled: Dialled) -> None:
    host, _ = dialled.connect()
    task = host.start(
        "sh", "-c", "read go; head -c 5000000 /dev/zero; echo last", takes_input=True, detached=True
    )
    host.write(task, b"go\n")
    host.sock.close()
    again, _ = dialled.connect()
    while not again.known[task].ended:
        again, _ = dialled.connect()
    known = again.known[task]
    assert known.produced == 5_000_005
    assert known.dropped >= 5_000_005 - KEPT - 65536
    assert known.received == known.dropped
    again.tasks[task] = host.tasks[task]
    again.tasks[task].received = known.received
    again.acknowledge(task, resend=True)
    result = again.finish(task)
    assert len(result.stdout) == known.produced - known.received
    assert result.stdout.endswith(b"\0last\n")
    assert result.ended.dropped == known.dropped


def test_output_comes_whole_though_the_orchestrator_says_nothing_meanwhile(agent: Path) -> None:
    with running_agent(agent) as host:
        tasks = [host.start("head", "-c", "1000000", "/dev/zero", window=KEPT) for _ in range(6)]
        while any(host.tasks[task].ended is None for task in tasks):
            host.take(acknowledge=False)
        assert [host.tasks[task].received for task in tasks] == [1_000_000] * len(tasks)


# Streams that break off inside a frame


class Pipes:
    """An agent on two named pipes, as gVisor and an attached container give it."""

    def __init__(self, agent: Path, directory: Path) -> None:
        self._paths = [directory / "in", directory / "out"]
        for path in self._paths:
            os.mkfifo(path)
        # For reading and writing: no end of a pipe is ever the last one. The agent's do not block; ours do.
        theirs = [os.open(path, os.O_RDWR) for path in self._paths]
        self._held = [os.open(path, os.O_RDWR) for path in self._paths]
        self.process = subprocess.Popen(
            [*sandbox_command(agent), "--stdio"], stdin=theirs[0], stdout=theirs[1]
        )
        for descriptor in theirs:
            os.close(descriptor)

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """Yield a socket that stands for the pipes, until the block is left."""
        yield _PipePair(*self._held)  # type: ignore[misc]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for descriptor in self._held:
            os.close(descriptor)


class _PipePair:
    """What `Host` needs of a socket."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back

    def settimeout(self, seconds: float) -> None:
        """The timeout of the test is enough."""

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._to, data) :]

    def recv(self, size: int) -> bytes:
        return os.read(self._back, size)


@pytest.fixture
def pipes(agent: Path, tmp_path: Path) -> Iterator[Pipes]:
    running = Pipes(agent, tmp_path)
    yield running
    running.close()


@pytest.mark.parametrize("size", [1, 3, 5, 6, 20, 60])
def test_half_a_frame_of_a_dead_orchestrator_swallows_nothing_of_the_next(pipes: Pipes, size: int) -> None:
    with pipes.connected() as stream:
        host = Host(stream, synchronise=True)
        message = guest.ToGuest(task=1, run=guest.Run(argv=[b"echo", b"x" * 60], window=65536))
        stream.sendall(framed(bytes(message))[:size])
        again = Host(stream, synchronise=True)
        assert again.run("echo", "hi").stdout == b"hi\n"
        assert host.tasks == {}


def test_what_was_on_its_way_to_a_dead_orchestrator_does_not_mislead_the_next(pipes: Pipes) -> None:
    with pipes.connected() as stream:
        host = Host(stream, synchronise=True)
        # What a program prints may look like a frame, and like a welcome.
        forged = framed(bytes(guest.FromGuest(welcome=guest.Welcome(nonce=bytes(16))))) * 100
        task = host.start(
            "sh", "-c", "cat > /tmp/forged; while :; do cat /tmp/forged; done", takes_input=True
        )
        host.write(task, forged, end=True)
        host.wait_for_output(task, forged)
        while host.tasks[task].received < WINDOW // 2:
            host.take(acknowledge=False)
        again = Host(stream, synchronise=True)
        _adopt(again, host, task)
        while again.tasks[task].received < 2 * WINDOW:
            again.take()
        printed = bytes(again.tasks[task].output[0])
        assert printed == (forged * (len(printed) // len(forged) + 1))[: len(printed)]
        again.send(task, kill=guest.Kill())
        assert again.finish(task).ended.signal == signal.SIGKILL


def test_a_stream_is_silent_between_hold_and_hello(pipes: Pipes) -> None:
    with pipes.connected() as stream:
        host = Host(stream, synchronise=True)
        task = host.start("sh", "-c", "while :; do echo more; sleep 0.001; done")
        host.send(hold=guest.Hold())
        while host.receive().held is None:
            pass
        assert not _readable(stream)
        again = Host(stream, synchronise=True)
        _adopt(again, host, task)
        again.tasks[task].output[0].clear()
        again.wait_for_output(task, b"more")
        again.send(task, kill=guest.Kill())
        assert again.finish(task).ended.signal == signal.SIGKILL


def _readable(stream: object) -> bool:
    import select

    return bool(select.select([stream._back], [], [], 0.2)[0])  # type: ignore[attr-defined]


def test_an_agent_that_nobody_is_connected_to_does_not_spin(agent: Path) -> None:
    with subprocess.Popen(
        [*sandbox_command(agent), "--stdio"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        # At the end of its input poll(2) returns at once, each time.
        time.sleep(1)
        used = os.times().children_user
        process.kill()
        process.wait()
        assert os.times().children_user - used < 0.2


# Nonsense


def test_a_frame_that_is_none_is_dropped(agent: Path) -> None:
    with running_agent(agent) as host:
        for nonsense in (
            b"\0" * 1000,
            b"\x01\x02\x03",
            b"\xf5\xff\xff\xff\xff",
            framed(b"\xff" * 50),
            framed(bytes(guest.ToGuest(task=99, kill=guest.Kill()))),
            framed(bytes(guest.ToGuest(ping=guest.Ping())))[:-1] + b"\xfb",
            framed(b""),
        ):
            host.sock.sendall(nonsense)
            host.ping()
            assert host.pongs == 1
            host.pongs = 0


def test_the_largest_frame_is_taken(agent: Path) -> None:
    with running_agent(agent) as host:

        def message(size: int) -> bytes:
            run = guest.Run(argv=[b"true"], cwd=b"/" * size, window=WINDOW)
            return bytes(guest.ToGuest(task=host.new_task(), run=run))

        largest = message(MAX_TO_GUEST - len(message(2 << 20)) + (2 << 20))
        assert len(largest) == MAX_TO_GUEST
        host.sock.sendall(framed(largest))
        assert host.finish(2).status == 126
        host.ping()


def _nonsense() -> st.SearchStrategy[bytes]:
    bodies = [
        st.builds(lambda task, body, name=name: guest.ToGuest(task=task, **{name: body}), task, body)
        for name, body in TO_GUEST.items()
        for task in (uint64, st.integers(0, 5))
        if name not in ("file", "run")
    ]
    whole = st.one_of(*bodies).map(bytes)
    mangled = st.builds(
        lambda data, at, byte: (
            data[: at % (len(data) + 1)] + bytes([byte]) + data[at % (len(data) + 1) + 1 :]
        ),
        whole,
        st.integers(0, 10_000),
        st.integers(0, 255),
    )
    return st.one_of(whole.map(framed), mangled.map(framed), st.binary(max_size=100), mangled)


@given(st.lists(_nonsense(), max_size=200))
@settings(max_examples=20)
def test_no_bytes_break_the_agent(checked_agent: Path, sent: list[bytes]) -> None:
    with running_agent(checked_agent) as host:
        task = host.start("cat", takes_input=True)
        for each in sent:
            host.sock.sendall(each)
        # Whatever half a frame is left: it is ended as a new orchestrator would.
        nonce = secrets.token_bytes(16)
        host.sock.sendall(SYNCHRONISING + framed(bytes(guest.ToGuest(hello=guest.Hello(nonce=nonce)))))
        while (welcome := host.receive().welcome) is None or welcome.nonce != nonce:
            pass
        host.ping()
        assert task == 1
