"""What a person has added to models: methods, and checks of several fields together.

`<Model>Behaviour` is a base of the generated `<Model>`, which has the attributes that are named here. Its
`validate`, where it has one, is called after the checks of the fields.
"""

from __future__ import annotations

import dataclasses
import signal as signals
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

from ..display import html_table, shortened, size
from ..errors import CommandFailedError
from .checks import refuse
from .limits import DEFAULT_CPU_CORES, DEFAULT_MEMORY_MB
from .model import Model

__all__ = [
    "ExecFrameBehaviour",
    "ExecResultBehaviour",
    "GetLogsResultBehaviour",
    "ListDirResultBehaviour",
    "MetricsResultBehaviour",
    "RunPythonResultBehaviour",
    "SetNetworkRequestBehaviour",
    "SnapshotResultBehaviour",
    "StartRequestBehaviour",
]

_TAIL: Final = 500
_TOLD_WHERE_SET: Final = (
    "stdout_dropped",
    "stderr_dropped",
    "signal",
    "timed_out",
    "duration_ms",
    "oom_killed",
)


class SetNetworkRequestBehaviour(Model):
    """Adds the check of what excludes each other."""

    __slots__ = ()

    network: str
    network_allow: tuple[str, ...]
    network_deny: tuple[str, ...]

    def validate(self) -> None:
        """Refuse the entries of a policy where there is none."""
        if self.network != "policy" and (self.network_allow or self.network_deny):
            raise refuse("network_allow and network_deny are for the network policy alone")


class StartRequestBehaviour(SetNetworkRequestBehaviour):
    """Adds the check of what excludes each other."""

    __slots__ = ()

    command: tuple[str, ...]
    image_command: bool
    memory_mb: int
    cpu_cores: float
    snapshot_path: str
    secrets: tuple[str, ...]

    def validate(self) -> None:
        """Refuse a command beside the image's own, too."""
        super().validate()
        if self.image_command and self.command:
            raise refuse("image_command is the image's own command, and a command is given, too")

    def __repr__(self) -> str:
        fields = ((one.name, getattr(self, one.name)) for one in dataclasses.fields(cast(Any, self)))
        shown = dict(fields) | {"secrets": tuple(map(_without_value, self.secrets))}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def completed(self) -> Self:
        """Return it with limits, for which older orchestrators have no default; a snapshot has its own."""
        if self.snapshot_path:
            return self
        memory, cores = self.memory_mb or DEFAULT_MEMORY_MB, self.cpu_cores or DEFAULT_CPU_CORES
        return cast("Self", dataclasses.replace(cast(Any, self), memory_mb=memory, cpu_cores=cores))


def _without_value(secret: str) -> str:
    return f"{secret.partition('=')[0]}=..."


class ExecResultBehaviour(Model):
    """Adds what a command's result means."""

    __slots__ = ()

    stdout: str
    stderr: str
    exit_code: int
    stdout_raw: bytes
    stderr_raw: bytes
    signal: int
    timed_out: bool
    duration_ms: int
    oom_killed: bool

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

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


class RunPythonResultBehaviour(ExecResultBehaviour):
    """Adds that ``str()`` is `result`, which is all that older orchestrators answer."""

    __slots__ = ()

    result: str

    def validate(self) -> None:
        """Fill in `result` from both outputs, or, of an older orchestrator, `stdout` from `result`."""
        if not self.result:
            object.__setattr__(self, "result", self.stdout + self.stderr)
        elif not self.stdout and not self.stderr:
            object.__setattr__(self, "stdout", self.result)

    @classmethod
    def from_exec(cls, ended: ExecResultBehaviour) -> Self:
        """Return the result of code whose interpreter ended so."""
        names = (field.name for field in dataclasses.fields(cast(Any, ended)))
        return cls(**{name: getattr(ended, name) for name in names})

    def __str__(self) -> str:
        return self.result


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


class ExecFrameBehaviour(Model):
    """Adds the output as text."""

    __slots__ = ()

    data: bytes

    @property
    def text(self) -> str:
        """What was printed, as text; a character that two frames share is replaced by U+FFFD."""
        return self.data.decode("utf-8", "replace")


class GetLogsResultBehaviour(Model):
    """Adds the output as text."""

    __slots__ = ()

    output: bytes

    @property
    def text(self) -> str:
        """What was printed, as text; bytes that are not UTF-8 are replaced by U+FFFD."""
        return self.output.decode("utf-8", "replace")


class MetricsResultBehaviour(Model):
    """Adds how figures are shown."""

    __slots__ = ()

    memory_usage_bytes: int
    memory_limit_bytes: int
    memory_percent: float
    cpu_percent: float
    pids_current: int
    net_rx_bytes: int
    net_tx_bytes: int
    block_read_bytes: int
    block_write_bytes: int
    disk_used_bytes: int
    disk_limit_bytes: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        return html_table("Metrics", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        memory = size(self.memory_usage_bytes)
        if self.memory_limit_bytes:
            memory += f" of {size(self.memory_limit_bytes)} ({self.memory_percent:.1f} %)"
        disk = f"{size(self.block_read_bytes)} read / {size(self.block_write_bytes)} written"
        if self.disk_limit_bytes:
            disk += f", {size(self.disk_used_bytes)} of {size(self.disk_limit_bytes)} in use"
        return [
            ("memory", memory),
            ("CPU", f"{self.cpu_percent:.1f} % of a core"),
            ("processes and threads", str(self.pids_current)),
            ("network", f"{size(self.net_rx_bytes)} received / {size(self.net_tx_bytes)} sent"),
            ("disk", disk),
        ]


class SnapshotResultBehaviour(Model, Mapping[str, str]):
    """Adds that it reads as a mapping: ``snap["snapshot_path"]``."""

    __slots__ = ()

    def __getitem__(self, key: str) -> str:
        if key not in ("snapshot_path", "mem_file_path"):
            raise KeyError(key)
        value: str = getattr(self, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(("snapshot_path", "mem_file_path"))

    def __len__(self) -> int:
        return 2


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class ListDirResultBehaviour(Model):
    """Adds the check that no name leads out of the directory."""

    __slots__ = ()

    entries: Sequence[_Named]

    def validate(self) -> None:
        """Refuse what is no name in a directory: the sandbox says it, and callers join it to a path."""
        for entry in self.entries:
            if entry.name in ("", ".", "..") or "/" in entry.name:
                raise refuse(f"{entry.name[:200]!r} is no name of a file in a directory")
