"""The guest agent under test: how it is built, and an orchestrator's side of its protocol that waits."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import flash_sandbox_guest as guest
from fake_agent import framed

from flash_sandbox.orchestrator.guest.frames import SYNCHRONISING, FrameReader
from flash_sandbox.orchestrator.guest.messages import encoded_number
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ROOT / "guest"
SANITIZERS: Final = (
    *("-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    # Only so do both write their reports to where their options say.
    *("-static-libasan", "-static-libubsan"),
)

CAPABILITIES: Final = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SETFCAP", "KILL"),
    *("NET_BIND_SERVICE", "SYS_CHROOT"),
)
"""What root of a sandbox may."""

WINDOW: Final = 262_144
_PIECE: Final = 65_536
_SECONDS: Final = 30.0


@dataclass
class Result:
    """How a task ended, and what it printed."""

    ended: guest.Ended
    stdout: bytes
    stderr: bytes
    pid: int = 0

    @property
    def status(self) -> int:
        return self.ended.status

    @property
    def entry(self) -> guest.Entry:
        """The entry that a worker for files has answered."""
        (entry,) = Answers(self.stdout).entries()
        return entry

    @property
    def content(self) -> bytes:
        """The content of the file that a worker has read."""
        return Answers(self.stdout).file()[1]


@dataclass
class Answers:
    """Reads what a worker for files has answered."""

    data: bytes
    at: int = 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            value |= (byte & 0x7F) << shift
            self.at, shift = self.at + 1, shift + 7
            if byte < 0x80:
                return value

    def bytes(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def entries(self) -> list[guest.Entry]:
        """Return the entries of the next answer."""
        found = []
        while size := self.number():
            found.append(guest.Entry.parse(self.bytes(size)))
        return found

    def file(self) -> tuple[guest.Entry, bytes]:
        """Return the next answer, that of a READ."""
        entry, content = guest.Entry.parse(self.bytes(self.number())), bytearray()
        while True:
            content += bytes(self.number())
            size = self.number()
            content += self.bytes(size)
            if not size:
                assert self.number() == 0
                return entry, bytes(content)


@dataclass
class _Task:
    output: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])
    received: int = 0
    credit: int = WINDOW
    sent: int = 0
    pid: int = 0
    ended: guest.Ended | None = None


def request(kind: guest.FileKind, path: str | bytes, content: bytes | None = None, **more: Any) -> bytes:
    """Return a request to a worker for files, with content that follows it."""
    asked = bytes(guest.FileRequest(kind=kind, path=os.fsencode(path), **more))
    pieces = b"" if content is None else b"".join(map(piece, (content, b"") if content else (b"",)))
    return encoded_number(len(asked)) + asked + pieces


def piece(data: bytes, skipped: int = 0) -> bytes:
    """Return a piece of content."""
    return encoded_number(skipped) + encoded_number(len(data)) + data


def payloads(reader: FrameReader, data: bytes) -> list[bytes]:
    """Return the messages that these bytes complete."""
    return [within[begin:end] for within, begin, end in reader.feed(data)]


class Host:
    """What an orchestrator does on one stream: it asks, and takes what comes.

    Args:
        sock: The stream.
        synchronise: Whether the stream may have been broken off inside a frame.
    """

    def __init__(self, sock: socket.socket, *, synchronise: bool = False) -> None:
        self.sock = sock
        self.tasks: dict[int, _Task] = {}
        self.known: dict[int, guest.Known] = {}
        self.pongs = 0
        self.guarded = False
        self._reader = FrameReader()
        self._payloads: deque[bytes] = deque()
        self._last = 0
        sock.settimeout(_SECONDS)
        nonce = secrets.token_bytes(16)
        if synchronise:
            sock.sendall(SYNCHRONISING)
        self.send(hello=guest.Hello(nonce=nonce, secret=b"secret"))
        while (message := self.receive()).welcome is None or message.welcome.nonce != nonce:
            if message.known is not None:
                self.known[message.task] = message.known
        self._last = message.welcome.last_task
        self.guarded = message.welcome.guarded

    def send(self, task: int = 0, **body: Any) -> None:
        """Send one message."""
        self.sock.sendall(framed(bytes(guest.ToGuest(task=task, **body))))

    def receive(self) -> guest.FromGuest:
        """Return the next message."""
        while not self._payloads:
            received = self.sock.recv(1 << 20)
            if not received:
                raise EOFError("the agent has gone")
            self._payloads += payloads(self._reader, received)
        return guest.FromGuest.parse(self._payloads.popleft())

    # Tasks

    def new_task(self) -> int:
        self._last += 1
        self.tasks[self._last] = _Task()
        return self._last

    def start(self, *argv: str | bytes, path: str = "/usr/bin:/bin", **options: Any) -> int:
        """Start a program and return its number."""
        task = self.new_task()
        options.setdefault("env", [b"PATH=" + path.encode()])
        options.setdefault("window", WINDOW)
        self.send(task, run=guest.Run(argv=[os.fsencode(each) for each in argv], **options))
        return task

    def adopt(self, task: int) -> None:
        """Go on with a task that the agent knows, from the first output that it still has."""
        known = self.known[task]
        self.tasks[task] = _Task(received=known.received, credit=known.credit, sent=known.input)
        self.acknowledge(task, resend=True)

    def run(self, *argv: str | bytes, stdin: bytes | None = None, **options: Any) -> Result:
        """Run a program to its end."""
        task = self.start(*argv, takes_input=stdin is not None, **options)
        if stdin is not None:
            self.write(task, stdin, end=True)
        return self.finish(task)

    def sh(self, script: str, **options: Any) -> Result:
        """Run a script to its end."""
        return self.run("sh", "-c", script, **options)

    def files(self) -> int:
        """Start a worker for files and return its number."""
        task = self.new_task()
        self.send(task, files=guest.FileWorker(window=WINDOW))
        return task

    def file(
        self, kind: guest.FileKind, path: str | bytes, content: bytes | None = None, **more: Any
    ) -> Result:
        """Do something to a file, with a worker of its own."""
        task = self.files()
        self.write(task, request(kind, path, content, **more), end=True)
        return self.finish(task)

    def write(self, task: int, data: bytes, *, end: bool = False) -> None:
        """Send input, as far as that is allowed at any time."""
        state = self.tasks[task]
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)] or [b""]
        for number, piece in enumerate(pieces, 1):
            while state.sent + len(piece) > state.credit and state.ended is None:
                self.take()
            self.send(task, input=guest.Input(data=piece, end=end and number == len(pieces)))
            state.sent += len(piece)

    def take(self, *, acknowledge: bool = True) -> guest.FromGuest:
        """Take one message into account and return it."""
        message = self.receive()
        state = self.tasks.get(message.task)
        if message.pong is not None:
            self.pongs += 1
        if state is None:
            return message
        if message.started is not None:
            state.pid = message.started.pid
        elif message.credit is not None:
            state.credit = message.credit.limit
        elif message.ended is not None:
            state.ended = message.ended
        elif message.output is not None:
            assert message.output.offset == state.received, "output is missing, or came twice"
            state.output[int(message.output.stream)] += message.output.data
            state.received += len(message.output.data)
            if acknowledge:
                self.acknowledge(message.task)
        return message

    def acknowledge(self, task: int, *, resend: bool = False) -> None:
        """Say what has arrived of a task, and allow more."""
        at = self.tasks[task].received
        self.send(task, window=guest.Window(received=at, limit=at + WINDOW, resend=resend))

    def finish(self, task: int) -> Result:
        """Wait until a task has ended, and have it forgotten."""
        state = self.tasks[task]
        while state.ended is None:
            self.take()
        self.send(task, forget=guest.Forget())
        del self.tasks[task]
        return Result(state.ended, bytes(state.output[0]), bytes(state.output[1]), state.pid)

    def ping(self) -> None:
        """Return once the agent has answered."""
        before = self.pongs
        self.send(ping=guest.Ping())
        while self.pongs == before:
            self.take()

    def wait_for_output(self, task: int, expected: bytes) -> None:
        """Return once a task has printed something."""
        state = self.tasks[task]
        while expected not in state.output[0] and state.ended is None:
            self.take()
        assert expected in state.output[0], state


def sandbox_command(agent: Path, root: Path | str = "/", *more: str, users: bool = False) -> list[str]:
    """Return the command line of a sandbox whose PID 1 is the agent, which finds itself as ``/tmp/agent``.

    `users`, for root alone, leaves it this host's users.
    """
    own_users = () if users else ("--unshare-user", "--uid", "0", "--gid", "0")
    given = [part for name in CAPABILITIES for part in ("--cap-add", f"CAP_{name}")]
    return [
        *(str(installed_program()), *own_users, "--unshare-pid", "--unshare-ipc", "--unshare-net"),
        *("--cap-drop", "ALL", *given, "--die-with-parent", "--as-pid-1", "--clearenv"),
        *("--ro-bind", str(root), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
        *("--ro-bind", str(agent), "/tmp/agent", *more, "/tmp/agent"),
    ]


@contextmanager
def running_agent(
    agent: Path,
    root: Path | str = "/",
    *more: str,
    users: bool = False,
    cgroup: int | None = None,
    before: Sequence[str] = (),
) -> Iterator[Host]:
    """Run an agent as PID 1 of a sandbox, on a socket pair.

    Args:
        cgroup: Directory of cgroup v2 for the agent to make others in.
        before: Command that executes the sandbox's, which follows it.
    """
    command = [*before, *sandbox_command(agent, root, *more, users=users)]
    options = () if cgroup is None else ("--cgroup", str(cgroup))
    inherited = () if cgroup is None else (cgroup,)
    with agent_of(command, *options, inherited=inherited) as host:
        yield host


@contextmanager
def agent_of(command: Sequence[str], *options: str, inherited: Sequence[int] = ()) -> Iterator[Host]:
    """Run a command that ends in the path of the agent as PID 1 of a sandbox, on a socket pair."""
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    command = [*command, "--inherited", str(number), *options]
    with ours, subprocess.Popen(command, pass_fds=[number, *inherited]) as process:
        theirs.close()
        try:
            yield Host(ours)
        finally:
            ours.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
