"""What is asked and answered of sandboxes: their start, life, figures and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final

from ..display import html_table, size
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
    "DEFAULT_CPU_CORES",
    "DEFAULT_MEMORY_MB",
    "DEFAULT_PIDS",
    "DEFAULT_SHM_MB",
    "MAX_CPU_CORES",
    "MAX_HISTORY_POINTS",
    "MAX_MEMORY_MB",
    "MAX_PAGE_SIZE",
    "MAX_PIDS",
    "MAX_TTL_SECONDS",
    "MIN_PIDS",
    "NETWORKS",
    "Event",
    "GetInfoRequest",
    "GetInfoResult",
    "GetLogsRequest",
    "GetLogsResult",
    "GetMetricsHistoryRequest",
    "GetMetricsHistoryResult",
    "GetPlatformInfoRequest",
    "GetPlatformInfoResult",
    "KeepAliveRequest",
    "KeepAliveResult",
    "ListSandboxesRequest",
    "ListSandboxesResult",
    "MetricsPoint",
    "MetricsRequest",
    "MetricsResult",
    "PauseRequest",
    "PauseResult",
    "ResumeRequest",
    "ResumeResult",
    "SandboxInfo",
    "SnapshotRequest",
    "SnapshotResult",
    "StartRequest",
    "StartResult",
    "StatusRequest",
    "StatusResult",
    "StopRequest",
    "StopResult",
    "WatchEventsRequest",
]

DEFAULT_MEMORY_MB: Final = 512
DEFAULT_CPU_CORES: Final = 1.0
DEFAULT_PIDS: Final = 512
DEFAULT_SHM_MB: Final = 64

NETWORKS: Final = ("none", "bridge")
MAX_MEMORY_MB: Final = 2**31 - 1
MAX_CPU_CORES: Final = 1024.0
# With fewer, what starts a command in a sandbox may have too few itself.
MIN_PIDS: Final = 16
MAX_PIDS: Final = 2**22
"""Most that Linux ever has (PID_MAX_LIMIT)."""
MAX_PAGE_SIZE: Final = 1000
MAX_HISTORY_POINTS: Final = 720
MAX_TTL_SECONDS: Final = 10 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What `start_sandbox` asks for.

    Attributes:
        type: Runtime: ``bubblewrap``, ``docker``, ``gvisor``, ``firecracker``, or ``auto`` (also when
            empty) for the best one that the orchestrator's host has.
        image: Image to start from; empty is the runtime's default.
        command: Main process and its arguments; empty has the sandbox idle until it is stopped.
        memory_mb: Memory limit in MiB, 1 to 2**31 - 1; 0 is the snapshot's, or 512.
        cpu_cores: CPU limit in cores, above 0 and at most 1024; 0 is the snapshot's, or 1.
        kernel_image: Guest kernel on the orchestrator's host (Firecracker only).
        initrd_path: Initial RAM disk on the orchestrator's host (Firecracker only).
        snapshot_path: Snapshot to start from.
        mem_file_path: Memory file of that snapshot, where the runtime keeps one.
        network: ``none`` (nothing but its own loopback) or ``bridge`` (out through the host); empty is the
            snapshot's, or the orchestrator's default.
        name: Name that it can be found by, of the same form as an ID; empty for none.
        labels: Labels that it can be found by, each ``NAME=value``.
        ttl_seconds: Seconds after which it expires, at most ten years; 0 is the snapshot's, or never.
        pids: Most processes and threads, 16 to 2**22; 0 is the snapshot's, or 512.
        shm_mb: Size of ``/dev/shm`` in MiB, 1 to 2**31 - 1; 0 is the snapshot's, or 64.
        env: Variables of every process besides the image's, each ``NAME=value``; those of the snapshot stay
            where none of these has their name.
        user: User that the main process runs as, and each command that names none: a name, ``UID`` or
            ``UID:GID``; empty is the snapshot's, or the runtime's default.
        image_command: Whether the main process is the image's own command.
    """

    type: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    memory_mb: int = 0
    cpu_cores: float = 0.0
    kernel_image: str = ""
    initrd_path: str = ""
    snapshot_path: str = ""
    mem_file_path: str = ""
    network: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    ttl_seconds: float = 0.0
    pids: int = 0
    shm_mb: int = 0
    env: tuple[str, ...] = ()
    user: str = ""
    image_command: bool = False

    def __post_init__(self) -> None:
        for name in (
            "type",
            "image",
            "kernel_image",
            "initrd_path",
            "snapshot_path",
            "mem_file_path",
            "user",
        ):
            argument(name, getattr(self, name))
        if argument("network", self.network) not in ("", *NETWORKS):
            raise refuse(f"network must be {' or '.join(NETWORKS)}, not {self.network[:100]!r}")
        object.__setattr__(self, "command", command_line(self.command, may_be_empty=True))
        integer("memory_mb", self.memory_mb, (0, MAX_MEMORY_MB))
        cores = number("cpu_cores", self.cpu_cores)
        if not 0 <= cores <= MAX_CPU_CORES:
            raise refuse(f"cpu_cores must be 0 to {MAX_CPU_CORES:g}, not {cores}")
        object.__setattr__(self, "cpu_cores", cores)
        if self.name:
            sandbox_id(self.name, "name")
        text("name", self.name)
        object.__setattr__(self, "labels", variables("labels", self.labels))
        ttl = number("ttl_seconds", self.ttl_seconds)
        if not 0 <= ttl <= MAX_TTL_SECONDS:
            raise refuse(f"ttl_seconds must be 0 to {MAX_TTL_SECONDS:.0f}, not {ttl}")
        object.__setattr__(self, "ttl_seconds", ttl)
        if integer("pids", self.pids, (0, MAX_PIDS)) and self.pids < MIN_PIDS:
            raise refuse(f"pids must be {MIN_PIDS} to {MAX_PIDS}, or 0 for the default, not {self.pids}")
        integer("shm_mb", self.shm_mb, (0, MAX_MEMORY_MB))
        object.__setattr__(self, "env", variables("env", self.env))
        if boolean("image_command", self.image_command) and self.command:
            raise refuse("image_command is the image's own command, and a command is given, too")


@dataclass(frozen=True, slots=True)
class StartResult:
    """The answer to `start_sandbox`: the ID of the new sandbox."""

    id: str = ""

    def __post_init__(self) -> None:
        sandbox_id(self.id)


@dataclass(frozen=True, slots=True)
class StopRequest(OneSandbox):
    """What `stop_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
        skip_cleanup: Whether to keep what it holds, to be looked at, until it is stopped again.
    """

    skip_cleanup: bool = False

    def __post_init__(self) -> None:
        OneSandbox.__post_init__(self)
        boolean("skip_cleanup", self.skip_cleanup)


class StopResult(Empty):
    """The answer to `stop_sandbox`, which says nothing more."""

    __slots__ = ()


class StatusRequest(OneSandbox):
    """What `get_status` asks for: the ID of the sandbox."""

    __slots__ = ()


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
        text("id", self.id)
        text("status", self.status)


class MetricsRequest(OneSandbox):
    """What `get_metrics` asks for: the ID of the sandbox."""

    __slots__ = ()


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
            # Annotations are kept as texts.
            if field.type == "float":
                object.__setattr__(self, field.name, number(field.name, value))
            else:
                integer(field.name, value, UINT64)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._rows())

    def _repr_html_(self) -> str:
        return html_table("Metrics", self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        memory = size(self.memory_usage_bytes)
        if self.memory_limit_bytes:
            memory += f" of {size(self.memory_limit_bytes)} ({self.memory_percent:.1f} %)"
        return [
            ("memory", memory),
            ("CPU", f"{self.cpu_percent:.1f} % of a core"),
            ("processes and threads", str(self.pids_current)),
            ("network", f"{size(self.net_rx_bytes)} received / {size(self.net_tx_bytes)} sent"),
            ("disk", f"{size(self.block_read_bytes)} read / {size(self.block_write_bytes)} written"),
        ]


@dataclass(frozen=True, slots=True)
class GetMetricsHistoryRequest(OneSandbox):
    """What `get_metrics_history` asks for: the ID of the sandbox, and these.

    Attributes:
        since_ms: Only samples after this moment, in milliseconds of Unix time; 0 for all that are kept.
        max_points: Most points to answer, 1 to 720, evenly chosen; 0 for all.
    """

    since_ms: int = 0
    max_points: int = 0

    def __post_init__(self) -> None:
        OneSandbox.__post_init__(self)
        integer("since_ms", self.since_ms, (0, INT64[1]))
        integer("max_points", self.max_points, (0, MAX_HISTORY_POINTS))


@dataclass(frozen=True, slots=True)
class MetricsPoint(MetricsResult):
    """What a sandbox used at one moment, told as in `MetricsResult`, but for two figures.

    `cpu_percent` is that since the point before; `pids_current` of ``gvisor`` is what `get_metrics` has
    counted last.

    Attributes:
        at: When that was, in seconds of Unix time, to the millisecond.
    """

    at: float = 0.0


@dataclass(frozen=True, slots=True)
class GetMetricsHistoryResult:
    """The answer to `get_metrics_history`: the points, the oldest first."""

    points: tuple[MetricsPoint, ...] = ()


class SnapshotRequest(OneSandbox):
    """What `snapshot_sandbox` asks for: the ID of the sandbox."""

    __slots__ = ()


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
        text("snapshot_path", self.snapshot_path)
        text("mem_file_path", self.mem_file_path)

    def __getitem__(self, key: str) -> str:
        if key not in ("snapshot_path", "mem_file_path"):
            raise KeyError(key)
        value: str = getattr(self, key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(("snapshot_path", "mem_file_path"))

    def __len__(self) -> int:
        return 2


class PauseRequest(OneSandbox):
    """What `pause_sandbox` asks for: the ID of the sandbox."""

    __slots__ = ()


class PauseResult(Empty):
    """The answer to `pause_sandbox`, which says nothing more."""

    __slots__ = ()


class ResumeRequest(OneSandbox):
    """What `resume_sandbox` asks for: the ID of the sandbox."""

    __slots__ = ()


class ResumeResult(Empty):
    """The answer to `resume_sandbox`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ListSandboxesRequest:
    """What `list_sandboxes` asks for.

    Attributes:
        status: Only sandboxes in this state; empty for all.
        type: Only sandboxes of this runtime; empty for all.
        labels: Only sandboxes that have each of these labels, ``NAME=value``.
        page_size: Most sandboxes that a page holds, 1 to 1000; 0 is 100.
        page_token: Where to go on: `next_page_token` of the page before; empty for the first page.
    """

    status: str = ""
    type: str = ""
    labels: tuple[str, ...] = ()
    page_size: int = 0
    page_token: str = ""

    def __post_init__(self) -> None:
        for name in ("status", "type", "page_token"):
            argument(name, getattr(self, name))
        object.__setattr__(self, "labels", variables("labels", self.labels))
        integer("page_size", self.page_size, (0, MAX_PAGE_SIZE))


@dataclass(frozen=True, slots=True)
class SandboxInfo:
    """What is known of a sandbox.

    Attributes:
        id: Its ID.
        name: Name that its start gave it; empty for none.
        status: ``creating``, ``running``, ``paused``, ``stopped`` or ``error``.
        type: Runtime that runs it.
        image: Image that it runs.
        command: Main process and its arguments, as its start gave them.
        labels: Labels that its start gave it, each ``NAME=value``.
        memory_mb: Memory limit in MiB.
        cpu_cores: CPU limit in cores.
        network: ``none`` or ``bridge``.
        created_at: When it was started, in seconds of Unix time.
        expires_at: When it expires, in seconds of Unix time; 0 for never.
        exit_code: Exit status of its main process, once that has ended by itself.
        pids: Most processes and threads; 0 where that is not limited.
        shm_mb: Size of ``/dev/shm`` in MiB; 0 where it has none of its own.
        env: Variables of every process besides the image's, each ``NAME=value``.
        user: User that the main process and commands run as; empty for the runtime's default.
        image_command: Whether its main process is the image's own command.
    """

    id: str = ""
    name: str = ""
    status: str = ""
    type: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    memory_mb: int = 0
    cpu_cores: float = 0.0
    network: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    exit_code: int = 0
    pids: int = 0
    shm_mb: int = 0
    env: tuple[str, ...] = ()
    user: str = ""
    image_command: bool = False

    def __post_init__(self) -> None:
        for name in ("id", "name", "status", "type", "image", "network", "user"):
            text(name, getattr(self, name))
        for name in ("command", "labels", "env"):
            object.__setattr__(self, name, texts(name, getattr(self, name)))
        for name in ("cpu_cores", "created_at", "expires_at"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        for name in ("memory_mb", "pids", "shm_mb"):
            integer(name, getattr(self, name), INT64)
        integer("exit_code", self.exit_code, INT32)
        boolean("image_command", self.image_command)


@dataclass(frozen=True, slots=True)
class ListSandboxesResult:
    """The answer to `list_sandboxes`.

    Attributes:
        sandboxes: The sandboxes of this page, the oldest first.
        next_page_token: What asks for the next page; empty where this is the last.
    """

    sandboxes: tuple[SandboxInfo, ...] = ()
    next_page_token: str = ""

    def __post_init__(self) -> None:
        text("next_page_token", self.next_page_token)


class GetInfoRequest(OneSandbox):
    """What `get_info` asks for: the ID of the sandbox."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GetInfoResult:
    """The answer to `get_info`: what is known of the sandbox."""

    sandbox: SandboxInfo = SandboxInfo()


class GetLogsRequest(OneSandbox):
    """What `get_logs` asks for: the ID of the sandbox."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GetLogsResult:
    """The answer to `get_logs`.

    Attributes:
        output: The last of what the main process printed, both streams together.
        dropped: Bytes printed before that are not kept any more.
    """

    output: bytes = b""
    dropped: int = 0

    def __post_init__(self) -> None:
        content("output", self.output, limit=None)
        integer("dropped", self.dropped, UINT64)

    @property
    def text(self) -> str:
        """What was printed, as text; bytes that are not UTF-8 are replaced by U+FFFD."""
        return self.output.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class KeepAliveRequest(OneSandbox):
    """What `keep_alive` asks for: the sandbox, and the seconds from now after which it expires, above 0."""

    ttl_seconds: float = 0.0

    def __post_init__(self) -> None:
        OneSandbox.__post_init__(self)
        ttl = number("ttl_seconds", self.ttl_seconds)
        if not 0 < ttl <= MAX_TTL_SECONDS:
            raise refuse(f"ttl_seconds must be above 0 and at most {MAX_TTL_SECONDS:.0f}, not {ttl}")
        object.__setattr__(self, "ttl_seconds", ttl)


@dataclass(frozen=True, slots=True)
class KeepAliveResult:
    """The answer to `keep_alive`: when the sandbox expires, in seconds of Unix time."""

    expires_at: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "expires_at", number("expires_at", self.expires_at))


@dataclass(frozen=True, slots=True)
class WatchEventsRequest:
    """What `watch_events` asks for: the token of the last event that was seen; empty for what comes now."""

    token: str = ""

    def __post_init__(self) -> None:
        argument("token", self.token)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a sandbox.

    Attributes:
        type: ``created``, ``running``, ``paused``, ``stopped`` (its processes ended), ``expired``,
            ``out_of_memory``, ``failed`` (its start, or its end) or ``removed``; newer orchestrators may tell
            more.
        id: ID of the sandbox.
        token: What goes on after this event.
        at: When it happened, in seconds of Unix time.
        detail: More about it, in words.
    """

    type: str = ""
    id: str = ""
    token: str = ""
    at: float = 0.0
    detail: str = ""

    def __post_init__(self) -> None:
        for name in ("type", "id", "token", "detail"):
            text(name, getattr(self, name))
        object.__setattr__(self, "at", number("at", self.at))


class GetPlatformInfoRequest(OneSandbox):
    """What `get_platform_info` asks for: the ID of the sandbox."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GetPlatformInfoResult:
    """The answer to `get_platform_info`: a JSON object, as text."""

    info: str = ""

    def __post_init__(self) -> None:
        text("info", self.info)
