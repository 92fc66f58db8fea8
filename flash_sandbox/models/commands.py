"""What is asked and answered of the commands that run in a sandbox."""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass
from typing import Final, Self

from ..display import html_table, shortened
from ..errors import CommandFailedError
from .bases import Empty, OneSandbox
from .checks import (
    INT32,
    INT64,
    UINT64,
    argument,
    boolean,
    command_line,
    content,
    integer,
    number,
    refuse,
    sandbox_id,
    text,
    texts,
    variables,
)

__all__ = [
    "DEFAULT_MAX_OUTPUT_BYTES",
    "DEFAULT_TERMINAL",
    "MAX_OUTPUT_BYTES",
    "ExecFrame",
    "ExecRequest",
    "ExecResult",
    "ExecStreamRequest",
    "FollowProcessRequest",
    "ListProcessesRequest",
    "ListProcessesResult",
    "ProcessInfo",
    "ResizeProcessRequest",
    "ResizeProcessResult",
    "SignalProcessRequest",
    "SignalProcessResult",
    "StartProcessRequest",
    "StartProcessResult",
    "WaitProcessRequest",
    "WriteStdinRequest",
    "WriteStdinResult",
    "signal_number",
]

DEFAULT_MAX_OUTPUT_BYTES: Final = 8 * 1024 * 1024
MAX_OUTPUT_BYTES: Final = 32 * 1024 * 1024
"""Most that may be kept of each stream: both of them, in the longer form that JSON has, fit an answer."""

DEFAULT_TERMINAL: Final = (24, 80)
_SHELL: Final = ("/bin/sh", "-c")
_MAX_TIMEOUT_MS: Final = 99_999_999_000
_TERMINAL_SIDE: Final = (0, 2**16 - 1)
_LAST_SIGNAL: Final = 64
_TAIL: Final = 500
_TOLD_WHERE_SET: Final = (
    "stdout_dropped",
    "stderr_dropped",
    "signal",
    "timed_out",
    "duration_ms",
    "oom_killed",
)


def _program(request: ExecRequest | ExecStreamRequest | StartProcessRequest) -> None:
    """Check what all requests to run a command have in common."""
    sandbox_id(request.id)
    command: object = request.command
    if isinstance(command, str):
        argument("command", command)
        if not command:
            raise refuse("command must not be empty")
        command = (*_SHELL, command)
    object.__setattr__(request, "command", command_line(command, may_be_empty=False))
    object.__setattr__(request, "env", variables("env", request.env))
    argument("cwd", request.cwd)
    if request.cwd and not request.cwd.startswith("/"):
        raise refuse(f"cwd must be an absolute path, not {request.cwd[:200]!r}")
    argument("user", request.user)
    object.__setattr__(request, "stdin", content("stdin", request.stdin))
    integer("timeout_ms", request.timeout_ms, (0, _MAX_TIMEOUT_MS))


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What `exec_command` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments, at least one element; a text is run by the sandbox's shell.
        env: Variables that the command has besides the sandbox's own, each ``NAME=value``.
        cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
        user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's.
        stdin: Input of the command, at most 8 MiB; a text is sent as UTF-8.
        timeout_ms: Milliseconds after which it is ended with all that it started; 0 is no limit.
        max_output_bytes: Bytes of each output stream that are kept, at most 32 MiB; 0 is the default, 8 MiB.
    """

    id: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    stdin: bytes = b""
    timeout_ms: int = 0
    max_output_bytes: int = 0

    def __post_init__(self) -> None:
        _program(self)
        integer("max_output_bytes", self.max_output_bytes, (0, MAX_OUTPUT_BYTES))


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command printed and how it ended.

    Attributes:
        stdout: Standard output as text; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr: Standard error, likewise.
        exit_code: Exit status; 128 + N where signal N ended it, 127 where the command was not
            found, 126 where it could not be run.
        stdout_dropped: Bytes of standard output beyond what was kept.
        stderr_dropped: Bytes of standard error beyond what was kept.
        stdout_raw: Standard output as it was, where it is not UTF-8; see `stdout_bytes`.
        stderr_raw: Standard error, likewise.
        signal: The signal that ended it; 0 where none did.
        timed_out: Whether it was ended because its time had passed.
        duration_ms: Milliseconds from its start to its end.
        oom_killed: Whether the kernel ended a process of it because the sandbox's memory was used up, as far
            as the runtime can tell.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    stdout_dropped: int = 0
    stderr_dropped: int = 0
    stdout_raw: bytes = b""
    stderr_raw: bytes = b""
    signal: int = 0
    timed_out: bool = False
    duration_ms: int = 0
    oom_killed: bool = False

    def __post_init__(self) -> None:
        text("stdout", self.stdout)
        text("stderr", self.stderr)
        integer("exit_code", self.exit_code, INT32)
        integer("stdout_dropped", self.stdout_dropped, UINT64)
        integer("stderr_dropped", self.stderr_dropped, UINT64)
        content("stdout_raw", self.stdout_raw, limit=None)
        content("stderr_raw", self.stderr_raw, limit=None)
        integer("signal", self.signal, INT32)
        boolean("timed_out", self.timed_out)
        integer("duration_ms", self.duration_ms, INT64)
        boolean("oom_killed", self.oom_killed)

    @classmethod
    def of(
        cls,
        stdout: bytes,
        stderr: bytes,
        exit_code: int,
        *,
        signal: int = 0,
        timed_out: bool = False,
        duration_ms: int = 0,
        stdout_dropped: int = 0,
        stderr_dropped: int = 0,
        oom_killed: bool = False,
    ) -> Self:
        """Return the result of a command that printed these bytes."""
        out, out_raw = _text_of(stdout)
        err, err_raw = _text_of(stderr)
        return cls(
            stdout=out,
            stderr=err,
            exit_code=exit_code,
            stdout_dropped=stdout_dropped,
            stderr_dropped=stderr_dropped,
            stdout_raw=out_raw,
            stderr_raw=err_raw,
            signal=signal,
            timed_out=timed_out,
            duration_ms=duration_ms,
            oom_killed=oom_killed,
        )

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output, bit for bit."""
        return self.stdout_raw or self.stdout.encode()

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error, bit for bit."""
        return self.stderr_raw or self.stderr.encode()

    @property
    def ok(self) -> bool:
        """Whether the command ended by itself with status 0."""
        return self.exit_code == 0 and not self.timed_out

    def __repr__(self) -> str:
        # Of megabytes of output the beginning: a repr is printed by debuggers and by failed tests.
        told = [f"exit_code={self.exit_code}"]
        for name in ("stdout", "stderr"):
            value = getattr(self, name)
            if value:
                told.append(f"{name}={shortened(value)}")
        for name in _TOLD_WHERE_SET:
            value = getattr(self, name)
            if value:
                told.append(f"{name}={value}")
        return f"{type(self).__name__}({', '.join(told)})"

    def _repr_html_(self) -> str:
        rows = [("ended", self._ending())]
        if self.duration_ms:
            rows.append(("duration", f"{self.duration_ms} ms"))
        for name in ("stdout", "stderr"):
            printed, dropped = getattr(self, name), getattr(self, f"{name}_dropped")
            if printed:
                rows.append((name, printed.removesuffix("\n")))
            if dropped:
                rows.append((f"{name} dropped", f"{dropped} bytes"))
        return html_table("Command", rows)

    def _ending(self) -> str:
        how = f"with exit status {self.exit_code}"
        if self.signal:
            how += f", by {_signal_name(self.signal)}"
        if self.timed_out:
            how += ", when its time had passed"
        if self.oom_killed:
            how += ", for want of memory"
        return how

    def check(self) -> Self:
        """Return this result if the command succeeded.

        Raises:
            CommandFailedError: It did not; the error has this result, and tells the end of what was printed.
        """
        if self.ok:
            return self
        error = CommandFailedError(self._failure())
        error.result = self
        raise error

    def _failure(self) -> str:
        if self.timed_out:
            how = f"the command was ended after {self.duration_ms} ms, when its time had passed"
        elif self.oom_killed:
            how = f"the command ended with exit status {self.exit_code}, for want of memory"
        elif self.signal:
            how = f"the command was ended by {_signal_name(self.signal)}"
        else:
            how = f"the command ended with exit status {self.exit_code}"
        said = (self.stderr.strip() or self.stdout.strip())[-_TAIL:]
        return f"{how}: {said}" if said else how


def _text_of(data: bytes) -> tuple[str, bytes]:
    """Return bytes as text, and, where that loses something, as they are."""
    try:
        return data.decode("utf-8"), b""
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), data


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True)
class ExecStreamRequest:
    """What `exec_stream` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments, at least one element; a text is run by the sandbox's shell.
        env: Variables that the command has besides the sandbox's own, each ``NAME=value``.
        cwd: Directory in the sandbox to run in, absolute; empty is the sandbox's own.
        user: User to run as: a name, ``UID`` or ``UID:GID``; empty is the main process's.
        stdin: Input of the command, or the beginning of it, at most 8 MiB.
        timeout_ms: Milliseconds after which it is ended with all that it started; 0 is no limit.
        keep_stdin: Whether more input may come.
        tty: Whether it gets a terminal for all of its streams.
        rows: Rows of the terminal; 0 is 24.
        columns: Columns of the terminal; 0 is 80.
    """

    id: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    stdin: bytes = b""
    timeout_ms: int = 0
    keep_stdin: bool = False
    tty: bool = False
    rows: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        _program(self)
        boolean("keep_stdin", self.keep_stdin)
        boolean("tty", self.tty)
        integer("rows", self.rows, _TERMINAL_SIDE)
        integer("columns", self.columns, _TERMINAL_SIDE)


class StartProcessRequest(ExecStreamRequest):
    """What `start_process` asks for: the same as `exec_stream`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StartProcessResult:
    """The answer to `start_process`: the ID of the process."""

    process_id: str = ""

    def __post_init__(self) -> None:
        text("process_id", self.process_id)


@dataclass(frozen=True, slots=True)
class ExecFrame:
    """One thing that happened to a process. ``started`` is the first one, ``exit`` the last.

    Attributes:
        type: What happened: ``started``, ``stdout`` or ``stderr`` (it printed), ``exit``; a newer
            orchestrator may tell more.
        process_id: ID of the process.
        data: What was printed.
        offset: Bytes printed before, of both streams together.
        exit_code: Exit status, in the last frame; 128 + N where signal N ended it.
        signal: The signal that ended it; 0 where none did.
        timed_out: Whether it was ended because its time had passed.
        duration_ms: Milliseconds from its start to its end.
        oom_killed: Whether the kernel ended a process of it because the sandbox's memory was used up, as far
            as the runtime can tell.
    """

    type: str = ""
    process_id: str = ""
    data: bytes = b""
    offset: int = 0
    exit_code: int = 0
    signal: int = 0
    timed_out: bool = False
    duration_ms: int = 0
    oom_killed: bool = False

    def __post_init__(self) -> None:
        text("type", self.type)
        text("process_id", self.process_id)
        content("data", self.data, limit=None)
        integer("offset", self.offset, UINT64)
        integer("exit_code", self.exit_code, INT32)
        integer("signal", self.signal, INT32)
        boolean("timed_out", self.timed_out)
        integer("duration_ms", self.duration_ms, INT64)
        boolean("oom_killed", self.oom_killed)

    @property
    def text(self) -> str:
        """What was printed, as text; a character that two frames share is replaced by U+FFFD."""
        return self.data.decode("utf-8", "replace")


class ListProcessesRequest(OneSandbox):
    """What `list_processes` asks for: the ID of the sandbox."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What is known of a process that `exec_stream` or `start_process` began.

    Attributes:
        process_id: Its ID.
        command: Command and its arguments.
        running: Whether it runs.
        attached: Whether it ends with the stream that began it.
        tty: Whether it has a terminal.
        started_at: When it was started, in seconds of Unix time.
        exit_code: Exit status, once it has ended; 128 + N where signal N ended it.
        signal: The signal that ended it; 0 where none did.
        timed_out: Whether it was ended because its time had passed.
        duration_ms: Milliseconds from its start to its end, or to now where it runs.
        oom_killed: Whether the kernel ended a process of it because the sandbox's memory was used up, as far
            as the runtime can tell.
    """

    process_id: str = ""
    command: tuple[str, ...] = ()
    running: bool = False
    attached: bool = False
    tty: bool = False
    started_at: float = 0.0
    exit_code: int = 0
    signal: int = 0
    timed_out: bool = False
    duration_ms: int = 0
    oom_killed: bool = False

    def __post_init__(self) -> None:
        text("process_id", self.process_id)
        object.__setattr__(self, "command", texts("command", self.command))
        for name in ("running", "attached", "tty", "timed_out", "oom_killed"):
            boolean(name, getattr(self, name))
        object.__setattr__(self, "started_at", number("started_at", self.started_at))
        integer("exit_code", self.exit_code, INT32)
        integer("signal", self.signal, INT32)
        integer("duration_ms", self.duration_ms, INT64)


@dataclass(frozen=True, slots=True)
class ListProcessesResult:
    """The answer to `list_processes`: the processes, the oldest first."""

    processes: tuple[ProcessInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class _OneProcess:
    id: str
    process_id: str

    def __post_init__(self) -> None:
        sandbox_id(self.id)
        sandbox_id(self.process_id, "process ID")


class WaitProcessRequest(_OneProcess):
    """What `wait_process` asks for: the IDs of sandbox and process."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FollowProcessRequest(_OneProcess):
    """What `follow_process` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        offset: Bytes printed before, of both streams together, that are not wanted.
        no_follow: Whether to end with what has been printed so far.
    """

    offset: int = 0
    no_follow: bool = False

    def __post_init__(self) -> None:
        _OneProcess.__post_init__(self)
        integer("offset", self.offset, UINT64)
        boolean("no_follow", self.no_follow)


@dataclass(frozen=True, slots=True)
class SignalProcessRequest(_OneProcess):
    """What `signal_process` asks for: the process, and the number of the signal, 1 to 64."""

    signal: int = 0

    def __post_init__(self) -> None:
        _OneProcess.__post_init__(self)
        object.__setattr__(self, "signal", signal_number(self.signal))


def signal_number(value: object) -> int:
    """Return the number of a signal that is named (``TERM``, ``SIGTERM``) or numbered."""
    if isinstance(value, str):
        name = value.upper()
        try:
            return signals.Signals[name if name.startswith("SIG") else f"SIG{name}"]
        except KeyError:
            raise refuse(f"there is no signal {value[:100]!r}") from None
    return integer("signal", value, (1, _LAST_SIGNAL))


class SignalProcessResult(Empty):
    """The answer to `signal_process`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class WriteStdinRequest(_OneProcess):
    """What `write_stdin` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        data: What it is to read, at most 8 MiB; a text is sent as UTF-8.
        end: Whether its input ends with that.
    """

    data: bytes = b""
    end: bool = False

    def __post_init__(self) -> None:
        _OneProcess.__post_init__(self)
        object.__setattr__(self, "data", content("data", self.data))
        boolean("end", self.end)


class WriteStdinResult(Empty):
    """The answer to `write_stdin`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ResizeProcessRequest(_OneProcess):
    """What `resize_process` asks for: the process, and rows and columns, each 1 to 65535."""

    rows: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        _OneProcess.__post_init__(self)
        integer("rows", self.rows, (1, _TERMINAL_SIDE[1]))
        integer("columns", self.columns, (1, _TERMINAL_SIDE[1]))


class ResizeProcessResult(Empty):
    """The answer to `resize_process`, which says nothing more."""

    __slots__ = ()
