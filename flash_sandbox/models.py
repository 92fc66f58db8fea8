"""The vocabulary of every operation: what is asked and what is answered.

Frozen dataclasses, validated when they are made, so that a bad value fails in the same way
before any transport sees it. Nothing here does I/O or knows a transport. Field names are those of
both specs (``specs/openapi.yaml``, ``specs/sandbox.proto``); `codecs` convert by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from .errors import InvalidArgumentError

__all__ = [
    "DEFAULT_CPU_CORES",
    "DEFAULT_MEMORY_MB",
    "ExecRequest",
    "ExecResult",
    "ListSnapshotsRequest",
    "ListSnapshotsResult",
    "MetricsRequest",
    "MetricsResult",
    "RemoveSnapshotRequest",
    "RemoveSnapshotResult",
    "ResumeRequest",
    "ResumeResult",
    "SnapshotInfo",
    "SnapshotRequest",
    "SnapshotResult",
    "StartRequest",
    "StartResult",
    "StatusRequest",
    "StatusResult",
    "StopRequest",
    "StopResult",
]

DEFAULT_MEMORY_MB: Final = 512
DEFAULT_CPU_CORES: Final = 1.0

NETWORKS: Final = ("none", "bridge")
MAX_MEMORY_MB: Final = 2**31 - 1
MAX_CPU_CORES: Final = 1024.0
# 128 KiB is the longest single argument that Linux takes (MAX_ARG_STRLEN, execve(2)), NUL included.
MAX_ARGUMENT_BYTES: Final = 128 * 1024 - 1
# Half of what the least stack limit leaves for all arguments together (ARG_MAX, execve(2)).
MAX_COMMAND_BYTES: Final = 1024 * 1024
# The longest path that Linux takes (PATH_MAX, path_resolution(7)), without its NUL.
MAX_PATH_BYTES: Final = 4095

_ID_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_INT32: Final = (-(2**31), 2**31 - 1)
_UINT64: Final = (0, 2**64 - 1)


def _refuse(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(f"{name} must be a str, not {type(value).__name__}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _refuse(f"{name} holds a lone surrogate, which UTF-8 cannot carry") from None
    return value


def _argument(name: str, value: object) -> str:
    text = _text(name, value)
    if "\0" in text:
        raise _refuse(f"{name} holds a NUL character")
    return text


def _sandbox_id(value: object) -> str:
    text = _text("sandbox ID", value)
    if not _ID_PATTERN.fullmatch(text):
        raise _refuse(
            f"sandbox ID {text[:140]!r} must be 1 to 128 letters, digits, '_', '-' or '.', "
            "the first one a letter or a digit"
        )
    return text


def _integer(name: str, value: object, bounds: tuple[int, int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse(f"{name} must be an int, not {type(value).__name__}")
    low, high = bounds
    if not low <= value <= high:
        raise _refuse(f"{name} must be {low} to {high}, not {value}")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refuse(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise _refuse(f"{name} is out of range") from None
    if not math.isfinite(number):
        raise _refuse(f"{name} must be finite, not {number}")
    # The wire of gRPC does not tell -0.0 from 0.0.
    return number + 0.0


def _command(value: object, *, may_be_empty: bool) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise _refuse(f"command must be a sequence of str, not {type(value).__name__}")
    command = tuple(_argument(f"command[{index}]", item) for index, item in enumerate(value))
    if not command and not may_be_empty:
        raise _refuse("command must have at least one element")
    if command and not command[0]:
        raise _refuse("command[0] must not be empty")
    sizes = [len(item.encode()) for item in command]
    if any(size > MAX_ARGUMENT_BYTES for size in sizes):
        raise _refuse(f"an element of command is longer than {MAX_ARGUMENT_BYTES} bytes")
    if sum(sizes) + len(sizes) > MAX_COMMAND_BYTES:
        raise _refuse(f"command is longer than {MAX_COMMAND_BYTES} bytes")
    return command


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What `start_sandbox` asks for.

    Attributes:
        type: Runtime: ``bubblewrap``, ``docker``, ``gvisor``, ``firecracker``, or ``auto`` (also when
            empty) for the best one that the orchestrator's host has.
        image: Image to start from; empty is the runtime's default.
        command: Main process and its arguments; empty is the image's own command, and without one (or where
            that is a lone shell) the sandbox idles until it is stopped.
        memory_mb: Memory limit in MiB, 1 to 2**31 - 1.
        cpu_cores: CPU limit in cores, above 0 and at most 1024.
        kernel_image: Guest kernel on the orchestrator's host (Firecracker only).
        initrd_path: Initial RAM disk on the orchestrator's host (Firecracker only).
        snapshot_path: Snapshot to start from.
        mem_file_path: Memory file of that snapshot, where the runtime keeps one.
        network: ``none`` (nothing but its own loopback) or ``bridge`` (out through the host); empty is the
            orchestrator's default.
    """

    type: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    memory_mb: int = DEFAULT_MEMORY_MB
    cpu_cores: float = DEFAULT_CPU_CORES
    kernel_image: str = ""
    initrd_path: str = ""
    snapshot_path: str = ""
    mem_file_path: str = ""
    network: str = ""

    def __post_init__(self) -> None:
        for name in ("type", "image", "kernel_image", "initrd_path", "snapshot_path", "mem_file_path"):
            _argument(name, getattr(self, name))
        if _argument("network", self.network) not in ("", *NETWORKS):
            raise _refuse(f"network must be {' or '.join(NETWORKS)}, not {self.network[:100]!r}")
        object.__setattr__(self, "command", _command(self.command, may_be_empty=True))
        _integer("memory_mb", self.memory_mb, (1, MAX_MEMORY_MB))
        cores = _number("cpu_cores", self.cpu_cores)
        if not 0 < cores <= MAX_CPU_CORES:
            raise _refuse(f"cpu_cores must be above 0 and at most {MAX_CPU_CORES:g}, not {cores}")
        object.__setattr__(self, "cpu_cores", cores)


@dataclass(frozen=True, slots=True)
class StartResult:
    """The answer to `start_sandbox`: the ID of the new sandbox."""

    id: str = ""

    def __post_init__(self) -> None:
        _sandbox_id(self.id)


@dataclass(frozen=True, slots=True)
class _OneSandbox:
    id: str

    def __post_init__(self) -> None:
        _sandbox_id(self.id)


@dataclass(frozen=True, slots=True)
class StopRequest(_OneSandbox):
    """What `stop_sandbox` asks for: the ID of the sandbox."""


@dataclass(frozen=True, slots=True)
class StopResult:
    """The answer to `stop_sandbox`, which says nothing more."""


@dataclass(frozen=True, slots=True)
class StatusRequest(_OneSandbox):
    """What `get_status` asks for: the ID of the sandbox."""


@dataclass(frozen=True, slots=True)
class StatusResult:
    """The answer to `get_status`.

    Attributes:
        id: ID of the sandbox.
        status: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``; a newer
            orchestrator may know more.
    """

    id: str = ""
    status: str = ""

    def __post_init__(self) -> None:
        _text("id", self.id)
        _text("status", self.status)


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What `exec_command` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments, at least one element.
    """

    id: str
    command: tuple[str, ...]

    def __post_init__(self) -> None:
        _sandbox_id(self.id)
        object.__setattr__(self, "command", _command(self.command, may_be_empty=False))


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command printed and how it ended.

    Attributes:
        stdout: Standard output; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr: Standard error, likewise.
        exit_code: Exit status; 128 + N where signal N ended it, 127 where the command was not
            found, 126 where it could not be run.
        stdout_dropped: Bytes of standard output beyond what the orchestrator keeps.
        stderr_dropped: Bytes of standard error beyond what the orchestrator keeps.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    stdout_dropped: int = 0
    stderr_dropped: int = 0

    def __post_init__(self) -> None:
        _text("stdout", self.stdout)
        _text("stderr", self.stderr)
        _integer("exit_code", self.exit_code, _INT32)
        _integer("stdout_dropped", self.stdout_dropped, _UINT64)
        _integer("stderr_dropped", self.stderr_dropped, _UINT64)


@dataclass(frozen=True, slots=True)
class MetricsRequest(_OneSandbox):
    """What `get_metrics` asks for: the ID of the sandbox."""


@dataclass(frozen=True, slots=True)
class MetricsResult:
    """What a sandbox uses at one moment.

    Attributes:
        memory_usage_bytes: Memory in use, without file cache that the kernel can drop at once.
        memory_limit_bytes: Memory limit; 0 where none is enforced.
        memory_percent: Memory in use as a percentage of the limit; 0 where none is enforced.
        cpu_percent: CPU time since the reading before (since the start, for the first one), as a
            percentage of one core: 200 is two cores kept busy.
        pids_current: Processes and threads.
        net_rx_bytes: Bytes received, loopback left out.
        net_tx_bytes: Bytes sent, loopback left out.
        block_read_bytes: Bytes read from block devices.
        block_write_bytes: Bytes written to block devices.
    """

    memory_usage_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_percent: float = 0.0
    cpu_percent: float = 0.0
    pids_current: int = 0
    net_rx_bytes: int = 0
    net_tx_bytes: int = 0
    block_read_bytes: int = 0
    block_write_bytes: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_percent"):
                object.__setattr__(self, field.name, _number(field.name, value))
            else:
                _integer(field.name, value, _UINT64)


@dataclass(frozen=True, slots=True)
class SnapshotRequest(_OneSandbox):
    """What `snapshot_sandbox` asks for: the ID of the sandbox."""


@dataclass(frozen=True, slots=True)
class SnapshotResult(Mapping[str, str]):
    """Where a snapshot lies. Reads as a mapping, too: ``snap["snapshot_path"]``.

    Attributes:
        snapshot_path: Path in the orchestrator's store; `start_sandbox` takes it.
        mem_file_path: Path of the memory file; empty where memory is not captured.
    """

    snapshot_path: str = ""
    mem_file_path: str = ""

    def __post_init__(self) -> None:
        _text("snapshot_path", self.snapshot_path)
        _text("mem_file_path", self.mem_file_path)

    def __getitem__(self, key: str) -> str:
        if key not in ("snapshot_path", "mem_file_path"):
            raise KeyError(key)
        value: str = getattr(self, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(("snapshot_path", "mem_file_path"))

    def __len__(self) -> int:
        return 2


@dataclass(frozen=True, slots=True)
class ResumeRequest(_OneSandbox):
    """What `resume_sandbox` asks for: the ID of the sandbox."""


@dataclass(frozen=True, slots=True)
class ResumeResult:
    """The answer to `resume_sandbox`, which says nothing more."""


@dataclass(frozen=True, slots=True)
class ListSnapshotsRequest:
    """What `list_snapshots` asks for, which is everything."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What is known of a snapshot.

    Attributes:
        snapshot_path: Path in the orchestrator's store; `start_sandbox` and `remove_snapshot` take it.
        type: Runtime that made it, and the only one that starts from it.
        image: Image that it lies on.
        size_bytes: Size of its files in the store; what an engine keeps of it is not counted.
        created_at: When it was made, in seconds of Unix time.
    """

    snapshot_path: str = ""
    type: str = ""
    image: str = ""
    size_bytes: int = 0
    created_at: float = 0.0

    def __post_init__(self) -> None:
        for name in ("snapshot_path", "type", "image"):
            _text(name, getattr(self, name))
        _integer("size_bytes", self.size_bytes, _UINT64)
        object.__setattr__(self, "created_at", _number("created_at", self.created_at))


@dataclass(frozen=True, slots=True)
class ListSnapshotsResult:
    """The answer to `list_snapshots`: the snapshots, the oldest first."""

    snapshots: tuple[SnapshotInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveSnapshotRequest:
    """What `remove_snapshot` asks for: the path of the snapshot."""

    snapshot_path: str

    def __post_init__(self) -> None:
        path = _argument("snapshot_path", self.snapshot_path)
        if not 1 <= len(path.encode()) <= MAX_PATH_BYTES:
            raise _refuse(f"snapshot_path must be 1 to {MAX_PATH_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class RemoveSnapshotResult:
    """The answer to `remove_snapshot`, which says nothing more."""
