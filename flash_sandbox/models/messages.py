# Generated from specs/ by `python -m codegen`; do not edit.
"""What every operation asks for and answers: frozen, and checked when it is made."""

from dataclasses import dataclass
from typing import Literal

from .behaviour import (
    ExecFrameBehaviour,
    ExecResultBehaviour,
    GetLogsResultBehaviour,
    ListDirResultBehaviour,
    MetricsResultBehaviour,
    RunPythonResultBehaviour,
    SetNetworkRequestBehaviour,
    SnapshotResultBehaviour,
    StartRequestBehaviour,
)
from .checks import (
    INT32,
    INT64,
    UINT32,
    UINT64,
    above,
    argument,
    between,
    boolean,
    command_line,
    content,
    filled,
    integer,
    network_rules,
    number,
    optional_directory,
    optional_name,
    path_in_sandbox,
    program,
    sandbox_id,
    secrets,
    signal_number,
    text,
    texts,
    variables,
    volumes,
    word,
)
from .limits import IDLE_ACTIONS, NETWORKS
from .model import Model
from .words import (
    EndCause,
    EventType,
    FileType,
    FrameType,
    IdleAction,
    NetworkMode,
    SandboxStatus,
    SandboxType,
    StartType,
)

__all__ = [
    "ConnectPortChunk",
    "ConnectPortRequest",
    "CreateVolumeRequest",
    "CreateVolumeResult",
    "DisconnectPortRequest",
    "DisconnectPortResult",
    "DownloadArchiveChunk",
    "DownloadArchiveRequest",
    "Event",
    "ExecFrame",
    "ExecRequest",
    "ExecResult",
    "ExecStreamRequest",
    "ExportSnapshotChunk",
    "ExportSnapshotRequest",
    "FileInfo",
    "FollowProcessRequest",
    "ForkRequest",
    "ForkResult",
    "GetInfoRequest",
    "GetInfoResult",
    "GetLogsRequest",
    "GetLogsResult",
    "GetMetricsHistoryRequest",
    "GetMetricsHistoryResult",
    "GetPlatformInfoRequest",
    "GetPlatformInfoResult",
    "GetPortUrlRequest",
    "GetPortUrlResult",
    "ImportSnapshotRequest",
    "KeepAliveRequest",
    "KeepAliveResult",
    "ListDirRequest",
    "ListDirResult",
    "ListPortsRequest",
    "ListPortsResult",
    "ListProcessesRequest",
    "ListProcessesResult",
    "ListSandboxesRequest",
    "ListSandboxesResult",
    "ListSnapshotsRequest",
    "ListSnapshotsResult",
    "ListVolumesRequest",
    "ListVolumesResult",
    "MakeDirRequest",
    "MakeDirResult",
    "MetricsPoint",
    "MetricsRequest",
    "MetricsResult",
    "MoveRequest",
    "MoveResult",
    "PauseRequest",
    "PauseResult",
    "PortInfo",
    "ProcessInfo",
    "ReadFileRequest",
    "ReadFileResult",
    "RemoveRequest",
    "RemoveResult",
    "RemoveSnapshotRequest",
    "RemoveSnapshotResult",
    "RemoveVolumeRequest",
    "RemoveVolumeResult",
    "ResizeProcessRequest",
    "ResizeProcessResult",
    "ResumeRequest",
    "ResumeResult",
    "RunPythonRequest",
    "RunPythonResult",
    "SandboxInfo",
    "SendToPortRequest",
    "SendToPortResult",
    "SetNetworkRequest",
    "SetNetworkResult",
    "SignalProcessRequest",
    "SignalProcessResult",
    "SnapshotInfo",
    "SnapshotRequest",
    "SnapshotResult",
    "StartProcessRequest",
    "StartProcessResult",
    "StartRequest",
    "StartResult",
    "StatRequest",
    "StatResult",
    "StatusRequest",
    "StatusResult",
    "StopRequest",
    "StopResult",
    "UploadArchiveRequest",
    "UploadArchiveResult",
    "VolumeInfo",
    "WaitProcessRequest",
    "WatchEventsRequest",
    "WriteFileRequest",
    "WriteFileResult",
    "WriteStdinRequest",
    "WriteStdinResult",
]


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StartRequest(StartRequestBehaviour):
    """What `start_sandbox` asks for.

    Attributes:
        type: Runtime that runs the sandbox: bubblewrap, docker, gvisor, firecracker, or auto for the best one
            that the host has. Empty is auto.
        image: Image to start from; what names one depends on the runtime. Empty is the runtime's default.
        command: Main process and its arguments. Empty has the sandbox idle until it is stopped, whatever the
            image says; see image_command.
        memory_mb: Memory limit in MiB, 1 to 2147483647. 0 is the snapshot's, or 512.
        cpu_cores: CPU limit in cores, above 0 and at most 1024. 0 is the snapshot's, or 1.
        kernel_image: Path of a guest kernel on the orchestrator's host. Firecracker only. Empty is the
            engine's.
        initrd_path: Path of an initial RAM disk on the orchestrator's host. Firecracker only. Empty is the
            engine's.
        snapshot_path: Snapshot to start from, by its ID, its name or its path. Empty is no snapshot.
        mem_file_path: Memory file of that snapshot, where the runtime captures memory apart. Empty is no
            file.
        network: Network of the sandbox: none (nothing but its own loopback), policy (what network_allow
            names, through the orchestrator), or bridge, also called open (out through the host). Empty is the
            snapshot's, or the orchestrator's default.
        name: Name that the sandbox can be found by, of the same form as an ID. Empty is no name.
        labels: Labels that the sandbox can be found by, each NAME=value.
        ttl_seconds: Seconds after which the sandbox expires and is removed, at most ten years. 0 is the
            snapshot's, or the orchestrator's default.
        pids: Most processes and threads, 16 to 4194304. 0 is the snapshot's, or 512.
        shm_mb: Size of /dev/shm in MiB, 1 to 2147483647. 0 is the snapshot's, or 64.
        env: Variables of every process of the sandbox besides the image's, each NAME=value. Those of the
            snapshot stay where none of these has their name.
        user: User that the main process runs as, and each command that names none: a name, UID or UID:GID;
            which can be given depends on the runtime. Empty is the snapshot's, or the runtime's default.
        image_command: Whether the main process is the image's own command. Refused where a command is given,
            too, or the image has none.
        idle_timeout: Seconds after which a sandbox is idle that no call uses, that prints nothing and that
            needs less than 1 % of a core, at most ten years. 0 is never.
        on_idle: What is done with an idle sandbox: stop, pause, or suspend (paused, its memory on the disk;
            gvisor only). Empty is stop.
        auto_resume: Whether a call that uses the sandbox resumes it where it is paused.
        network_allow: What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME`` for
            all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports
            80 and 443; port * is every port.
        network_deny: What of that it does not reach, in the same form. Without a port it is every port.
        volumes: Volumes that the sandbox has, each SOURCE:TARGET, or SOURCE:TARGET:ro to be read alone. The
            source is the name of a volume, or the absolute path of a directory of the orchestrator's host.
            Those of the snapshot stay where none of these has their target.
        secrets: Secrets that programs have placeholders of, each NAME@HOST,HOST=VALUE: the gate of a network
            policy puts the value into requests to those hosts, each named as in network_allow. Never
            answered, and no part of snapshots.
        disk_mb: Most that the sandbox may have written, in MiB, 1 to 2147483647: files that it makes or
            changes, and what its file system needs for them. 0 is the snapshot's, or no limit.
    """

    type: StartType | Literal[""] = ""
    image: str = ""
    command: tuple[str, ...] = ()
    memory_mb: int = 0
    cpu_cores: float = 0.0
    kernel_image: str = ""
    initrd_path: str = ""
    snapshot_path: str = ""
    mem_file_path: str = ""
    network: NetworkMode | Literal[""] = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    ttl_seconds: float = 0.0
    pids: int = 0
    shm_mb: int = 0
    env: tuple[str, ...] = ()
    user: str = ""
    image_command: bool = False
    idle_timeout: float = 0.0
    on_idle: IdleAction | Literal[""] = ""
    auto_resume: bool = False
    network_allow: tuple[str, ...] = ()
    network_deny: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    disk_mb: int = 0

    def __init__(
        self,
        type: StartType | Literal[""] = "",
        image: str = "",
        command: tuple[str, ...] = (),
        memory_mb: int = 0,
        cpu_cores: float = 0.0,
        kernel_image: str = "",
        initrd_path: str = "",
        snapshot_path: str = "",
        mem_file_path: str = "",
        network: NetworkMode | Literal[""] = "",
        name: str = "",
        labels: tuple[str, ...] = (),
        ttl_seconds: float = 0.0,
        pids: int = 0,
        shm_mb: int = 0,
        env: tuple[str, ...] = (),
        user: str = "",
        image_command: bool = False,
        idle_timeout: float = 0.0,
        on_idle: IdleAction | Literal[""] = "",
        auto_resume: bool = False,
        network_allow: tuple[str, ...] = (),
        network_deny: tuple[str, ...] = (),
        volumes: tuple[str, ...] = (),
        secrets: tuple[str, ...] = (),
        disk_mb: int = 0,
    ) -> None:
        self._hold(
            type,
            image,
            command,
            memory_mb,
            cpu_cores,
            kernel_image,
            initrd_path,
            snapshot_path,
            mem_file_path,
            network,
            name,
            labels,
            ttl_seconds,
            pids,
            shm_mb,
            env,
            user,
            image_command,
            idle_timeout,
            on_idle,
            auto_resume,
            network_allow,
            network_deny,
            volumes,
            secrets,
            disk_mb,
        )

    def __post_init__(self) -> None:
        argument("type", self.type)
        argument("image", self.image)
        object.__setattr__(self, "command", command_line(self.command, "command"))
        integer("memory_mb", self.memory_mb, (0, 2147483647))
        object.__setattr__(self, "cpu_cores", between("cpu_cores", self.cpu_cores, 0, 1024))
        argument("kernel_image", self.kernel_image)
        argument("initrd_path", self.initrd_path)
        argument("snapshot_path", self.snapshot_path)
        argument("mem_file_path", self.mem_file_path)
        word("network", self.network, NETWORKS)
        optional_name("name", self.name)
        object.__setattr__(self, "labels", variables("labels", self.labels))
        object.__setattr__(self, "ttl_seconds", between("ttl_seconds", self.ttl_seconds, 0, 316224000))
        integer("pids", self.pids, (0, 4194304), least=16)
        integer("shm_mb", self.shm_mb, (0, 2147483647))
        object.__setattr__(self, "env", variables("env", self.env))
        argument("user", self.user)
        boolean("image_command", self.image_command)
        object.__setattr__(self, "idle_timeout", between("idle_timeout", self.idle_timeout, 0, 316224000))
        word("on_idle", self.on_idle, IDLE_ACTIONS)
        boolean("auto_resume", self.auto_resume)
        object.__setattr__(self, "network_allow", network_rules(self.network_allow, "network_allow"))
        object.__setattr__(self, "network_deny", network_rules(self.network_deny, "network_deny"))
        object.__setattr__(self, "volumes", volumes(self.volumes, "volumes"))
        object.__setattr__(self, "secrets", secrets(self.secrets, "secrets"))
        integer("disk_mb", self.disk_mb, (0, 2147483647))
        self.validate()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StartResult(Model):
    """The answer to `start_sandbox`.

    Attributes:
        id: ID of the sandbox.
    """

    id: str = ""

    def __init__(self, id: str = "") -> None:
        self._hold(id)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StopRequest(Model):
    """What `stop_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
        skip_cleanup: Whether to end the processes of the sandbox but keep what it holds, to be looked at,
            until it is stopped again.
    """

    id: str
    skip_cleanup: bool = False

    def __init__(self, id: str, skip_cleanup: bool = False) -> None:
        self._hold(id, skip_cleanup)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        boolean("skip_cleanup", self.skip_cleanup)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeStopResult(Model):
    """Attributes that several models have."""

    def __init__(self) -> None:
        self._hold()


class StopResult(_LikeStopResult):
    """The answer to `stop_sandbox`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ExecRequest(Model):
    """What `exec_command` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments. The first element is a path, or a name looked up in the sandbox's
            PATH.
        env: Variables that the command has besides the sandbox's own, each NAME=value.
        cwd: Directory in the sandbox to run in, absolute. Empty is the sandbox's own.
        user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. Empty is the
            main process's.
        stdin: Input of the command, at most 8 MiB.
        timeout_ms: Milliseconds after which the command is ended with all that it started. 0 is no limit.
        max_output_bytes: Bytes of each output stream that are kept, at most 33554432. The result tells how
            many were dropped. 0 is the default of 8388608.
    """

    id: str
    command: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    stdin: bytes = b""
    timeout_ms: int = 0
    max_output_bytes: int = 0

    def __init__(
        self,
        id: str,
        command: tuple[str, ...],
        env: tuple[str, ...] = (),
        cwd: str = "",
        user: str = "",
        stdin: bytes = b"",
        timeout_ms: int = 0,
        max_output_bytes: int = 0,
    ) -> None:
        self._hold(id, command, env, cwd, user, stdin, timeout_ms, max_output_bytes)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        object.__setattr__(self, "command", program(self.command, "command"))
        object.__setattr__(self, "env", variables("env", self.env))
        optional_directory("cwd", self.cwd)
        argument("user", self.user)
        object.__setattr__(self, "stdin", content("stdin", self.stdin, 8388608))
        integer("timeout_ms", self.timeout_ms, (0, 99999999000))
        integer("max_output_bytes", self.max_output_bytes, (0, 33554432))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ExecResult(ExecResultBehaviour):
    """What a command printed and how it ended.

    Attributes:
        stdout: Standard output as text; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr: Standard error as text; bytes that are not UTF-8 are replaced by U+FFFD.
        exit_code: Exit status of the command; 128 + N where signal N ended it, 127 where it was not found,
            126 where it could not be run.
        stdout_dropped: Bytes of standard output that were dropped because they exceeded what is kept.
        stderr_dropped: Bytes of standard error that were dropped because they exceeded what is kept.
        stdout_raw: Standard output as it was, where it is not UTF-8; empty where the text says it all.
        stderr_raw: Standard error as it was, where it is not UTF-8; empty where the text says it all.
        signal: The signal that ended the command; 0 where none did.
        timed_out: Whether the command was ended because its time had passed.
        duration_ms: Milliseconds from the start of the command to its end.
        oom_killed: Whether the kernel ended a process of the command because the sandbox's memory was used
            up, as far as the runtime can tell.
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

    def __init__(
        self,
        stdout: str = "",
        stderr: str = "",
        exit_code: int = 0,
        stdout_dropped: int = 0,
        stderr_dropped: int = 0,
        stdout_raw: bytes = b"",
        stderr_raw: bytes = b"",
        signal: int = 0,
        timed_out: bool = False,
        duration_ms: int = 0,
        oom_killed: bool = False,
    ) -> None:
        self._hold(
            stdout,
            stderr,
            exit_code,
            stdout_dropped,
            stderr_dropped,
            stdout_raw,
            stderr_raw,
            signal,
            timed_out,
            duration_ms,
            oom_killed,
        )

    def __post_init__(self) -> None:
        text("stdout", self.stdout)
        text("stderr", self.stderr)
        integer("exit_code", self.exit_code, INT32)
        integer("stdout_dropped", self.stdout_dropped, UINT64)
        integer("stderr_dropped", self.stderr_dropped, UINT64)
        object.__setattr__(self, "stdout_raw", content("stdout_raw", self.stdout_raw, None))
        object.__setattr__(self, "stderr_raw", content("stderr_raw", self.stderr_raw, None))
        integer("signal", self.signal, INT32)
        boolean("timed_out", self.timed_out)
        integer("duration_ms", self.duration_ms, INT64)
        boolean("oom_killed", self.oom_killed)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeStatusRequest(Model):
    """Attributes that several models have."""

    id: str

    def __init__(self, id: str) -> None:
        self._hold(id)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")


class StatusRequest(_LikeStatusRequest):
    """What `get_status` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StatusResult(Model):
    """The answer to `get_status`.

    Attributes:
        id: ID of the sandbox.
        status: State of the sandbox: creating, running, paused, stopped or error.
    """

    id: str = ""
    status: SandboxStatus | Literal[""] = ""

    def __init__(self, id: str = "", status: SandboxStatus | Literal[""] = "") -> None:
        self._hold(id, status)

    def __post_init__(self) -> None:
        text("id", self.id)
        text("status", self.status)


class MetricsRequest(_LikeStatusRequest):
    """What `get_metrics` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class MetricsResult(MetricsResultBehaviour):
    """What a sandbox uses at one moment.

    Attributes:
        memory_usage_bytes: Memory in use, in bytes, without file cache that the kernel can drop at once.
        memory_limit_bytes: Memory limit in bytes; 0 where none is enforced.
        memory_percent: Memory in use as a percentage of the limit; 0 where none is enforced.
        cpu_percent: CPU time used since the reading before (since the start, for the first), as a percentage
            of one core.
        pids_current: Processes and threads in the sandbox.
        net_rx_bytes: Bytes received over the sandbox's network interfaces, loopback left out.
        net_tx_bytes: Bytes sent over the sandbox's network interfaces, loopback left out.
        block_read_bytes: Bytes read from block devices.
        block_write_bytes: Bytes written to block devices.
        disk_used_bytes: Bytes that what it has written takes, where its start gave disk_mb; 0 for all others.
        disk_limit_bytes: Bytes that it may have written, a few per cent less than disk_mb says where its file
            system needs some itself; 0 where that is not limited.
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
    disk_used_bytes: int = 0
    disk_limit_bytes: int = 0

    def __init__(
        self,
        memory_usage_bytes: int = 0,
        memory_limit_bytes: int = 0,
        memory_percent: float = 0.0,
        cpu_percent: float = 0.0,
        pids_current: int = 0,
        net_rx_bytes: int = 0,
        net_tx_bytes: int = 0,
        block_read_bytes: int = 0,
        block_write_bytes: int = 0,
        disk_used_bytes: int = 0,
        disk_limit_bytes: int = 0,
    ) -> None:
        self._hold(
            memory_usage_bytes,
            memory_limit_bytes,
            memory_percent,
            cpu_percent,
            pids_current,
            net_rx_bytes,
            net_tx_bytes,
            block_read_bytes,
            block_write_bytes,
            disk_used_bytes,
            disk_limit_bytes,
        )

    def __post_init__(self) -> None:
        integer("memory_usage_bytes", self.memory_usage_bytes, UINT64)
        integer("memory_limit_bytes", self.memory_limit_bytes, UINT64)
        object.__setattr__(self, "memory_percent", number("memory_percent", self.memory_percent))
        object.__setattr__(self, "cpu_percent", number("cpu_percent", self.cpu_percent))
        integer("pids_current", self.pids_current, UINT64)
        integer("net_rx_bytes", self.net_rx_bytes, UINT64)
        integer("net_tx_bytes", self.net_tx_bytes, UINT64)
        integer("block_read_bytes", self.block_read_bytes, UINT64)
        integer("block_write_bytes", self.block_write_bytes, UINT64)
        integer("disk_used_bytes", self.disk_used_bytes, UINT64)
        integer("disk_limit_bytes", self.disk_limit_bytes, UINT64)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetMetricsHistoryRequest(Model):
    """What `get_metrics_history` asks for.

    Attributes:
        id: ID of the sandbox.
        since_ms: Only samples after this moment, in milliseconds of Unix time. 0 is all that are kept.
        max_points: Most points to answer, 1 to 720; where there are more samples, some are left out evenly,
            but never the last one. 0 is all.
    """

    id: str
    since_ms: int = 0
    max_points: int = 0

    def __init__(self, id: str, since_ms: int = 0, max_points: int = 0) -> None:
        self._hold(id, since_ms, max_points)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        integer("since_ms", self.since_ms, (0, 9223372036854775807))
        integer("max_points", self.max_points, (0, 720))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class MetricsPoint(MetricsResult):
    """What a sandbox used at one moment.

    Attributes:
        memory_usage_bytes: Memory in use, in bytes, without file cache that the kernel can drop at once.
        memory_limit_bytes: Memory limit in bytes; 0 where none is enforced.
        memory_percent: Memory in use as a percentage of the limit; 0 where none is enforced.
        cpu_percent: CPU time used since the point before (since the sample before, for the first), as a
            percentage of one core.
        pids_current: Processes and threads in the sandbox; of gvisor as many as get_metrics counted last.
        net_rx_bytes: Bytes received over the sandbox's network interfaces, loopback left out.
        net_tx_bytes: Bytes sent over the sandbox's network interfaces, loopback left out.
        block_read_bytes: Bytes read from block devices.
        block_write_bytes: Bytes written to block devices.
        disk_used_bytes: Bytes that what it has written takes, where its start gave disk_mb; 0 for all others.
        disk_limit_bytes: Bytes that it may have written, a few per cent less than disk_mb says where its file
            system needs some itself; 0 where that is not limited.
        at: When that was, in seconds of Unix time, to the millisecond.
    """

    at: float = 0.0

    def __init__(
        self,
        memory_usage_bytes: int = 0,
        memory_limit_bytes: int = 0,
        memory_percent: float = 0.0,
        cpu_percent: float = 0.0,
        pids_current: int = 0,
        net_rx_bytes: int = 0,
        net_tx_bytes: int = 0,
        block_read_bytes: int = 0,
        block_write_bytes: int = 0,
        disk_used_bytes: int = 0,
        disk_limit_bytes: int = 0,
        at: float = 0.0,
    ) -> None:
        self._hold(
            memory_usage_bytes,
            memory_limit_bytes,
            memory_percent,
            cpu_percent,
            pids_current,
            net_rx_bytes,
            net_tx_bytes,
            block_read_bytes,
            block_write_bytes,
            disk_used_bytes,
            disk_limit_bytes,
            at,
        )

    def __post_init__(self) -> None:
        MetricsResult.__post_init__(self)
        object.__setattr__(self, "at", number("at", self.at))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetMetricsHistoryResult(Model):
    """The answer to `get_metrics_history`.

    Attributes:
        points: The points, the oldest first.
    """

    points: tuple[MetricsPoint, ...] = ()

    def __init__(self, points: tuple[MetricsPoint, ...] = ()) -> None:
        self._hold(points)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SnapshotRequest(Model):
    """What `snapshot_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
        name: Name that the snapshot can be found by, of the same form as an ID. Empty is no name.
        labels: Labels that the snapshot can be found by, each NAME=value.
    """

    id: str
    name: str = ""
    labels: tuple[str, ...] = ()

    def __init__(self, id: str, name: str = "", labels: tuple[str, ...] = ()) -> None:
        self._hold(id, name, labels)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        optional_name("name", self.name)
        object.__setattr__(self, "labels", variables("labels", self.labels))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SnapshotResult(SnapshotResultBehaviour):
    """A snapshot that was made.

    Attributes:
        snapshot_path: Path of the snapshot in the orchestrator's store.
        mem_file_path: Path of the memory file; empty where memory is not captured.
        id: ID of the snapshot.
        name: Its name; empty for none.
        labels: Its labels, each NAME=value.
        size_bytes: Size of what is kept of it, in bytes.
    """

    snapshot_path: str = ""
    mem_file_path: str = ""
    id: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()
    size_bytes: int = 0

    def __init__(
        self,
        snapshot_path: str = "",
        mem_file_path: str = "",
        id: str = "",
        name: str = "",
        labels: tuple[str, ...] = (),
        size_bytes: int = 0,
    ) -> None:
        self._hold(snapshot_path, mem_file_path, id, name, labels, size_bytes)

    def __post_init__(self) -> None:
        text("snapshot_path", self.snapshot_path)
        text("mem_file_path", self.mem_file_path)
        text("id", self.id)
        text("name", self.name)
        object.__setattr__(self, "labels", texts("labels", self.labels))
        integer("size_bytes", self.size_bytes, UINT64)


class PauseRequest(_LikeStatusRequest):
    """What `pause_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


class PauseResult(_LikeStopResult):
    """The answer to `pause_sandbox`, which says nothing more."""

    __slots__ = ()


class ResumeRequest(_LikeStatusRequest):
    """What `resume_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


class ResumeResult(_LikeStopResult):
    """The answer to `resume_sandbox`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SnapshotInfo(Model):
    """One snapshot in the store.

    Attributes:
        snapshot_path: Path of the snapshot in the orchestrator's store.
        type: Runtime that made it, and the only one that starts from it.
        image: Image that it lies on.
        size_bytes: Size of what is kept of it, in bytes.
        created_at: When it was made, in seconds of Unix time.
        id: ID of the snapshot.
        name: Its name; empty for none.
        labels: Its labels, each NAME=value.
    """

    snapshot_path: str = ""
    type: SandboxType | Literal[""] = ""
    image: str = ""
    size_bytes: int = 0
    created_at: float = 0.0
    id: str = ""
    name: str = ""
    labels: tuple[str, ...] = ()

    def __init__(
        self,
        snapshot_path: str = "",
        type: SandboxType | Literal[""] = "",
        image: str = "",
        size_bytes: int = 0,
        created_at: float = 0.0,
        id: str = "",
        name: str = "",
        labels: tuple[str, ...] = (),
    ) -> None:
        self._hold(snapshot_path, type, image, size_bytes, created_at, id, name, labels)

    def __post_init__(self) -> None:
        text("snapshot_path", self.snapshot_path)
        text("type", self.type)
        text("image", self.image)
        integer("size_bytes", self.size_bytes, UINT64)
        object.__setattr__(self, "created_at", number("created_at", self.created_at))
        text("id", self.id)
        text("name", self.name)
        object.__setattr__(self, "labels", texts("labels", self.labels))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListSnapshotsRequest(Model):
    """What `list_snapshots` asks for.

    Attributes:
        labels: Only snapshots that have each of these labels, NAME=value.
    """

    labels: tuple[str, ...] = ()

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self._hold(labels)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", variables("labels", self.labels))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListSnapshotsResult(Model):
    """The answer to `list_snapshots`.

    Attributes:
        snapshots: The snapshots, the oldest first.
    """

    snapshots: tuple[SnapshotInfo, ...] = ()

    def __init__(self, snapshots: tuple[SnapshotInfo, ...] = ()) -> None:
        self._hold(snapshots)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeRemoveSnapshotRequest(Model):
    """Attributes that several models have."""

    snapshot_path: str

    def __init__(self, snapshot_path: str) -> None:
        self._hold(snapshot_path)

    def __post_init__(self) -> None:
        filled("snapshot_path", self.snapshot_path, 4095)


class RemoveSnapshotRequest(_LikeRemoveSnapshotRequest):
    """What `remove_snapshot` asks for.

    Attributes:
        snapshot_path: Snapshot to remove, by its ID, its name or its path.
    """

    __slots__ = ()


class RemoveSnapshotResult(_LikeStopResult):
    """The answer to `remove_snapshot`, which says nothing more."""

    __slots__ = ()


class ExportSnapshotRequest(_LikeRemoveSnapshotRequest):
    """What `export_snapshot` asks for.

    Attributes:
        snapshot_path: Snapshot to export, by its ID, its name or its path.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeExportSnapshotChunk(Model):
    """Attributes that several models have."""

    data: bytes = b""

    def __init__(self, data: bytes = b"") -> None:
        self._hold(data)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", content("data", self.data, None))


class ExportSnapshotChunk(_LikeExportSnapshotChunk):
    """The answer to `export_snapshot`.

    Attributes:
        data: The next bytes of the file.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ImportSnapshotRequest(Model):
    """What `import_snapshot` asks for.

    Attributes:
        name: Name that the snapshot can be found by, of the same form as an ID. Empty is no name.
        data: The next bytes of the file.
    """

    name: str = ""
    data: bytes = b""

    def __init__(self, name: str = "", data: bytes = b"") -> None:
        self._hold(name, data)

    def __post_init__(self) -> None:
        optional_name("name", self.name)
        object.__setattr__(self, "data", content("data", self.data, None))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeCreateVolumeRequest(Model):
    """Attributes that several models have."""

    name: str

    def __init__(self, name: str) -> None:
        self._hold(name)

    def __post_init__(self) -> None:
        sandbox_id(self.name, "name")


class CreateVolumeRequest(_LikeCreateVolumeRequest):
    """What `create_volume` asks for.

    Attributes:
        name: Name of the volume.
    """

    __slots__ = ()


class CreateVolumeResult(_LikeStopResult):
    """The answer to `create_volume`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class VolumeInfo(Model):
    """What is known of a named volume.

    Attributes:
        name: Name of the volume.
        created_at: When it was made, in seconds of Unix time.
        sandboxes: IDs of the sandboxes that have it.
    """

    name: str = ""
    created_at: float = 0.0
    sandboxes: tuple[str, ...] = ()

    def __init__(self, name: str = "", created_at: float = 0.0, sandboxes: tuple[str, ...] = ()) -> None:
        self._hold(name, created_at, sandboxes)

    def __post_init__(self) -> None:
        text("name", self.name)
        object.__setattr__(self, "created_at", number("created_at", self.created_at))
        object.__setattr__(self, "sandboxes", texts("sandboxes", self.sandboxes))


class ListVolumesRequest(_LikeStopResult):
    """What `list_volumes` asks for."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListVolumesResult(Model):
    """The answer to `list_volumes`.

    Attributes:
        volumes: The volumes, by name.
    """

    volumes: tuple[VolumeInfo, ...] = ()

    def __init__(self, volumes: tuple[VolumeInfo, ...] = ()) -> None:
        self._hold(volumes)


class RemoveVolumeRequest(_LikeCreateVolumeRequest):
    """What `remove_volume` asks for.

    Attributes:
        name: Name of the volume.
    """

    __slots__ = ()


class RemoveVolumeResult(_LikeStopResult):
    """The answer to `remove_volume`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeExecStreamRequest(Model):
    """Attributes that several models have."""

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

    def __init__(
        self,
        id: str,
        command: tuple[str, ...],
        env: tuple[str, ...] = (),
        cwd: str = "",
        user: str = "",
        stdin: bytes = b"",
        timeout_ms: int = 0,
        keep_stdin: bool = False,
        tty: bool = False,
        rows: int = 0,
        columns: int = 0,
    ) -> None:
        self._hold(id, command, env, cwd, user, stdin, timeout_ms, keep_stdin, tty, rows, columns)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        object.__setattr__(self, "command", program(self.command, "command"))
        object.__setattr__(self, "env", variables("env", self.env))
        optional_directory("cwd", self.cwd)
        argument("user", self.user)
        object.__setattr__(self, "stdin", content("stdin", self.stdin, 8388608))
        integer("timeout_ms", self.timeout_ms, (0, 99999999000))
        boolean("keep_stdin", self.keep_stdin)
        boolean("tty", self.tty)
        integer("rows", self.rows, (0, 65535))
        integer("columns", self.columns, (0, 65535))


class ExecStreamRequest(_LikeExecStreamRequest):
    """What `exec_stream` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments. The first element is a path, or a name looked up in the sandbox's
            PATH.
        env: Variables that the command has besides the sandbox's own, each NAME=value.
        cwd: Directory in the sandbox to run in, absolute. Empty is the sandbox's own.
        user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. Empty is the
            main process's.
        stdin: Input of the command, or the beginning of it, at most 8 MiB.
        timeout_ms: Milliseconds after which the command is ended with all that it started. 0 is no limit.
        keep_stdin: Whether more input may come, by write_stdin.
        tty: Whether the command gets a terminal for all of its streams. More input may always come to that.
        rows: Rows of the terminal, 1 to 65535. 0 is 24.
        columns: Columns of the terminal, 1 to 65535. 0 is 80.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ExecFrame(ExecFrameBehaviour):
    """One thing that happened to a process. There is a first and a last one: started and exit.

    Attributes:
        type: What happened: started, stdout or stderr (it printed), keepalive (nothing for a while), end (of
            what was printed so far) or exit.
        process_id: ID of the process.
        data: What was printed.
        offset: Bytes printed before, of both streams together; follow_process goes on from there.
        exit_code: Exit status of the command; 128 + N where signal N ended it, 127 where it was not found,
            126 where it could not be run.
        signal: The signal that ended the command; 0 where none did.
        timed_out: Whether the command was ended because its time had passed.
        duration_ms: Milliseconds from the start of the command to its end.
        oom_killed: Whether the kernel ended a process of the command because the sandbox's memory was used
            up, as far as the runtime can tell.
    """

    type: FrameType | Literal[""] = ""
    process_id: str = ""
    data: bytes = b""
    offset: int = 0
    exit_code: int = 0
    signal: int = 0
    timed_out: bool = False
    duration_ms: int = 0
    oom_killed: bool = False

    def __init__(
        self,
        type: FrameType | Literal[""] = "",
        process_id: str = "",
        data: bytes = b"",
        offset: int = 0,
        exit_code: int = 0,
        signal: int = 0,
        timed_out: bool = False,
        duration_ms: int = 0,
        oom_killed: bool = False,
    ) -> None:
        self._hold(type, process_id, data, offset, exit_code, signal, timed_out, duration_ms, oom_killed)

    def __post_init__(self) -> None:
        text("type", self.type)
        text("process_id", self.process_id)
        object.__setattr__(self, "data", content("data", self.data, None))
        integer("offset", self.offset, UINT64)
        integer("exit_code", self.exit_code, INT32)
        integer("signal", self.signal, INT32)
        boolean("timed_out", self.timed_out)
        integer("duration_ms", self.duration_ms, INT64)
        boolean("oom_killed", self.oom_killed)


class StartProcessRequest(_LikeExecStreamRequest):
    """What `start_process` asks for.

    Attributes:
        id: ID of the sandbox.
        command: Command and its arguments. The first element is a path, or a name looked up in the sandbox's
            PATH.
        env: Variables that the command has besides the sandbox's own, each NAME=value.
        cwd: Directory in the sandbox to run in, absolute. Empty is the sandbox's own.
        user: User to run as: a name, UID or UID:GID; which can be given depends on the runtime. Empty is the
            main process's.
        stdin: Input of the command, or the beginning of it, at most 8 MiB.
        timeout_ms: Milliseconds after which the command is ended with all that it started. 0 is no limit.
        keep_stdin: Whether more input may come, by write_stdin.
        tty: Whether the command gets a terminal for all of its streams. More input may always come to that.
        rows: Rows of the terminal, 1 to 65535. 0 is 24.
        columns: Columns of the terminal, 1 to 65535. 0 is 80.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StartProcessResult(Model):
    """The answer to `start_process`.

    Attributes:
        process_id: ID of the process.
    """

    process_id: str = ""

    def __init__(self, process_id: str = "") -> None:
        self._hold(process_id)

    def __post_init__(self) -> None:
        text("process_id", self.process_id)


class ListProcessesRequest(_LikeStatusRequest):
    """What `list_processes` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ProcessInfo(Model):
    """One process that was begun by exec_stream or start_process.

    Attributes:
        process_id: ID of the process.
        command: Command and its arguments.
        running: Whether it runs.
        attached: Whether it ends with the stream that began it.
        tty: Whether it has a terminal.
        started_at: When it was started, in seconds of Unix time.
        exit_code: Exit status, once it has ended; 128 + N where signal N ended it.
        signal: The signal that ended it; 0 where none did.
        timed_out: Whether it was ended because its time had passed.
        duration_ms: Milliseconds from its start to its end, or to now where it runs.
        oom_killed: Whether the kernel ended a process of the command because the sandbox's memory was used
            up, as far as the runtime can tell.
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

    def __init__(
        self,
        process_id: str = "",
        command: tuple[str, ...] = (),
        running: bool = False,
        attached: bool = False,
        tty: bool = False,
        started_at: float = 0.0,
        exit_code: int = 0,
        signal: int = 0,
        timed_out: bool = False,
        duration_ms: int = 0,
        oom_killed: bool = False,
    ) -> None:
        self._hold(
            process_id,
            command,
            running,
            attached,
            tty,
            started_at,
            exit_code,
            signal,
            timed_out,
            duration_ms,
            oom_killed,
        )

    def __post_init__(self) -> None:
        text("process_id", self.process_id)
        object.__setattr__(self, "command", texts("command", self.command))
        boolean("running", self.running)
        boolean("attached", self.attached)
        boolean("tty", self.tty)
        object.__setattr__(self, "started_at", number("started_at", self.started_at))
        integer("exit_code", self.exit_code, INT32)
        integer("signal", self.signal, INT32)
        boolean("timed_out", self.timed_out)
        integer("duration_ms", self.duration_ms, INT64)
        boolean("oom_killed", self.oom_killed)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListProcessesResult(Model):
    """The answer to `list_processes`.

    Attributes:
        processes: The processes, the oldest first.
    """

    processes: tuple[ProcessInfo, ...] = ()

    def __init__(self, processes: tuple[ProcessInfo, ...] = ()) -> None:
        self._hold(processes)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class WaitProcessRequest(Model):
    """What `wait_process` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
    """

    id: str
    process_id: str

    def __init__(self, id: str, process_id: str) -> None:
        self._hold(id, process_id)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.process_id, "process ID")


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class FollowProcessRequest(Model):
    """What `follow_process` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        offset: Where to begin: bytes printed before, of both streams together. What is not kept any more is
            left out. To go on: offset of the last frame that was seen, and the length of its data.
        no_follow: Whether to end with what has been printed so far, also where the process runs on.
    """

    id: str
    process_id: str
    offset: int = 0
    no_follow: bool = False

    def __init__(self, id: str, process_id: str, offset: int = 0, no_follow: bool = False) -> None:
        self._hold(id, process_id, offset, no_follow)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.process_id, "process ID")
        integer("offset", self.offset, UINT64)
        boolean("no_follow", self.no_follow)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SignalProcessRequest(Model):
    """What `signal_process` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        signal: Number of the signal, 1 to 64.
    """

    id: str
    process_id: str
    signal: int

    def __init__(self, id: str, process_id: str, signal: int) -> None:
        self._hold(id, process_id, signal)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.process_id, "process ID")
        object.__setattr__(self, "signal", signal_number(self.signal, "signal"))


class SignalProcessResult(_LikeStopResult):
    """The answer to `signal_process`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class WriteStdinRequest(Model):
    """What `write_stdin` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        data: What it is to read, at most 8 MiB.
        end: Whether its input ends with that.
    """

    id: str
    process_id: str
    data: bytes = b""
    end: bool = False

    def __init__(self, id: str, process_id: str, data: bytes = b"", end: bool = False) -> None:
        self._hold(id, process_id, data, end)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.process_id, "process ID")
        object.__setattr__(self, "data", content("data", self.data, 8388608))
        boolean("end", self.end)


class WriteStdinResult(_LikeStopResult):
    """The answer to `write_stdin`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ResizeProcessRequest(Model):
    """What `resize_process` asks for.

    Attributes:
        id: ID of the sandbox.
        process_id: ID of the process.
        rows: Rows of the terminal, 1 to 65535.
        columns: Columns of the terminal, 1 to 65535.
    """

    id: str
    process_id: str
    rows: int
    columns: int

    def __init__(self, id: str, process_id: str, rows: int, columns: int) -> None:
        self._hold(id, process_id, rows, columns)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.process_id, "process ID")
        integer("rows", self.rows, (1, 65535))
        integer("columns", self.columns, (1, 65535))


class ResizeProcessResult(_LikeStopResult):
    """The answer to `resize_process`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class RunPythonRequest(Model):
    """What `run_python` asks for.

    Attributes:
        id: ID of the sandbox.
        code: Python code, not empty, at most 8 MiB.
    """

    id: str
    code: str

    def __init__(self, id: str, code: str) -> None:
        self._hold(id, code)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        filled("code", self.code, 8388608)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class RunPythonResult(ExecResult, RunPythonResultBehaviour):
    """What Python code printed and how its interpreter ended.

    Attributes:
        result: What the code printed: standard output, then standard error.
        stdout: Standard output as text; bytes that are not UTF-8 are replaced by U+FFFD.
        stderr: Standard error as text; bytes that are not UTF-8 are replaced by U+FFFD.
        exit_code: Exit status of the interpreter; 128 + N where signal N ended it.
        stdout_dropped: Bytes of standard output that were dropped because they exceeded what is kept.
        stderr_dropped: Bytes of standard error that were dropped because they exceeded what is kept.
        stdout_raw: Standard output as it was, where it is not UTF-8; empty where the text says it all.
        stderr_raw: Standard error as it was, where it is not UTF-8; empty where the text says it all.
        signal: The signal that ended the interpreter; 0 where none did.
        timed_out: Whether the interpreter was ended because its time had passed.
        duration_ms: Milliseconds from the start of the interpreter to its end.
        oom_killed: Whether the kernel ended a process of the code because the sandbox's memory was used up,
            as far as the runtime can tell.
    """

    result: str = ""

    def __init__(
        self,
        stdout: str = "",
        stderr: str = "",
        exit_code: int = 0,
        stdout_dropped: int = 0,
        stderr_dropped: int = 0,
        stdout_raw: bytes = b"",
        stderr_raw: bytes = b"",
        signal: int = 0,
        timed_out: bool = False,
        duration_ms: int = 0,
        oom_killed: bool = False,
        result: str = "",
    ) -> None:
        self._hold(
            stdout,
            stderr,
            exit_code,
            stdout_dropped,
            stderr_dropped,
            stdout_raw,
            stderr_raw,
            signal,
            timed_out,
            duration_ms,
            oom_killed,
            result,
        )

    def __post_init__(self) -> None:
        ExecResult.__post_init__(self)
        text("result", self.result)
        self.validate()


class GetPlatformInfoRequest(_LikeStatusRequest):
    """What `get_platform_info` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetPlatformInfoResult(Model):
    """The answer to `get_platform_info`.

    Attributes:
        info: What was found, as a JSON object: system, node, release, version, machine, distribution and
            cpus.
    """

    info: str = ""

    def __init__(self, info: str = "") -> None:
        self._hold(info)

    def __post_init__(self) -> None:
        text("info", self.info)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class _LikeReadFileRequest(Model):
    """Attributes that several models have."""

    id: str
    path: str

    def __init__(self, id: str, path: str) -> None:
        self._hold(id, path)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("path", self.path)


class ReadFileRequest(_LikeReadFileRequest):
    """What `read_file` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of a file in the sandbox, absolute. Links are followed.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ReadFileResult(Model):
    """The answer to `read_file`.

    Attributes:
        content: What the file holds, at most 8 MiB; download_archive takes files of any size.
    """

    content: bytes = b""

    def __init__(self, content: bytes = b"") -> None:
        self._hold(content)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", content("content", self.content, None))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class WriteFileRequest(Model):
    """What `write_file` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of the file in the sandbox, absolute. A link at its end is replaced, not followed.
        content: What the file is to hold, at most 8 MiB; upload_archive takes files of any size.
        mode: Permissions of the file, at most 4095 (octal 7777). 0 keeps those of the file that is replaced,
            or is octal 644 for a new one. Its owner is kept where whoever writes may.
        parents: Whether to make the directories that the path lacks.
    """

    id: str
    path: str
    content: bytes
    mode: int = 0
    parents: bool = False

    def __init__(self, id: str, path: str, content: bytes, mode: int = 0, parents: bool = False) -> None:
        self._hold(id, path, content, mode, parents)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("path", self.path)
        object.__setattr__(self, "content", content("content", self.content, 8388608))
        integer("mode", self.mode, (0, 4095))
        boolean("parents", self.parents)


class WriteFileResult(_LikeStopResult):
    """The answer to `write_file`, which says nothing more."""

    __slots__ = ()


class StatRequest(_LikeReadFileRequest):
    """What `stat` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path in the sandbox, absolute.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class FileInfo(Model):
    """What is at a path.

    Attributes:
        name: Path where it is, or in a directory's list its name.
        type: Its kind: file, directory, symlink, fifo, socket, char_device or block_device.
        size: Size in bytes.
        mode: Permissions, as a number: octal 644 is 420.
        uid: Number of the user that owns it.
        gid: Number of the group that owns it.
        modified_at: When it was last changed, in seconds of Unix time.
        link_target: Where a link leads; empty for all else.
    """

    name: str = ""
    type: FileType | Literal[""] = ""
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    modified_at: float = 0.0
    link_target: str = ""

    def __init__(
        self,
        name: str = "",
        type: FileType | Literal[""] = "",
        size: int = 0,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        modified_at: float = 0.0,
        link_target: str = "",
    ) -> None:
        self._hold(name, type, size, mode, uid, gid, modified_at, link_target)

    def __post_init__(self) -> None:
        argument("name", self.name)
        text("type", self.type)
        integer("size", self.size, UINT64)
        integer("mode", self.mode, (0, 4095))
        integer("uid", self.uid, UINT32)
        integer("gid", self.gid, UINT32)
        object.__setattr__(self, "modified_at", number("modified_at", self.modified_at))
        argument("link_target", self.link_target)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class StatResult(Model):
    """The answer to `stat`.

    Attributes:
        file: What is at a path.
    """

    file: FileInfo = FileInfo()

    def __init__(self, file: FileInfo = FileInfo()) -> None:
        self._hold(file)


class ListDirRequest(_LikeReadFileRequest):
    """What `list_dir` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of a directory in the sandbox, absolute. Links are followed.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListDirResult(ListDirResultBehaviour):
    """The answer to `list_dir`.

    Attributes:
        entries: What the directory holds, by name.
    """

    entries: tuple[FileInfo, ...] = ()

    def __init__(self, entries: tuple[FileInfo, ...] = ()) -> None:
        self._hold(entries)

    def __post_init__(self) -> None:
        self.validate()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class MakeDirRequest(Model):
    """What `make_dir` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of the directory in the sandbox, absolute.
        mode: Permissions of the directory, at most 4095 (octal 7777). 0 is octal 755.
        parents: Whether to make the directories that the path lacks, and to leave one that is there.
    """

    id: str
    path: str
    mode: int = 0
    parents: bool = False

    def __init__(self, id: str, path: str, mode: int = 0, parents: bool = False) -> None:
        self._hold(id, path, mode, parents)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("path", self.path)
        integer("mode", self.mode, (0, 4095))
        boolean("parents", self.parents)


class MakeDirResult(_LikeStopResult):
    """The answer to `make_dir`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class RemoveRequest(Model):
    """What `remove` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path in the sandbox, absolute.
        recursive: Whether to remove a directory with all that it holds. Otherwise only an empty one is
            removed.
    """

    id: str
    path: str
    recursive: bool = False

    def __init__(self, id: str, path: str, recursive: bool = False) -> None:
        self._hold(id, path, recursive)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("path", self.path)
        boolean("recursive", self.recursive)


class RemoveResult(_LikeStopResult):
    """The answer to `remove`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class MoveRequest(Model):
    """What `move` asks for.

    Attributes:
        id: ID of the sandbox.
        source: Path in the sandbox, absolute.
        target: Its new path in the sandbox, absolute. That is the path of itself, not of the directory to put
            it in.
    """

    id: str
    source: str
    target: str

    def __init__(self, id: str, source: str, target: str) -> None:
        self._hold(id, source, target)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("source", self.source)
        path_in_sandbox("target", self.target)


class MoveResult(_LikeStopResult):
    """The answer to `move`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class UploadArchiveRequest(Model):
    """What `upload_archive` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Directory in the sandbox to unpack into, absolute; made where it is not there.
        data: The next bytes of the archive.
    """

    id: str
    path: str
    data: bytes = b""

    def __init__(self, id: str, path: str, data: bytes = b"") -> None:
        self._hold(id, path, data)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        path_in_sandbox("path", self.path)
        object.__setattr__(self, "data", content("data", self.data, None))


class UploadArchiveResult(_LikeStopResult):
    """The answer to `upload_archive`, which says nothing more."""

    __slots__ = ()


class DownloadArchiveRequest(_LikeReadFileRequest):
    """What `download_archive` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of a file or directory in the sandbox, absolute. A link is followed.
    """

    __slots__ = ()


class DownloadArchiveChunk(_LikeExportSnapshotChunk):
    """The answer to `download_archive`.

    Attributes:
        data: The next bytes of the archive.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class PortInfo(Model):
    """

    Attributes:
        port: TCP port.
        address: IP address in the sandbox that the program listens on; 0.0.0.0 or :: is any.
    """

    port: int = 0
    address: str = ""

    def __init__(self, port: int = 0, address: str = "") -> None:
        self._hold(port, address)

    def __post_init__(self) -> None:
        integer("port", self.port, INT32)
        text("address", self.address)


class ListPortsRequest(_LikeStatusRequest):
    """What `list_ports` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListPortsResult(Model):
    """The answer to `list_ports`.

    Attributes:
        ports: The ports, the lowest first.
    """

    ports: tuple[PortInfo, ...] = ()

    def __init__(self, ports: tuple[PortInfo, ...] = ()) -> None:
        self._hold(ports)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetPortUrlRequest(Model):
    """What `get_port_url` asks for.

    Attributes:
        id: ID of the sandbox.
        port: TCP port on the loopback interface of the sandbox, 1 to 65535.
        ttl_seconds: Seconds after which the URL expires. 0 is 3600.
    """

    id: str
    port: int
    ttl_seconds: float = 0.0

    def __init__(self, id: str, port: int, ttl_seconds: float = 0.0) -> None:
        self._hold(id, port, ttl_seconds)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        integer("port", self.port, (1, 65535))
        object.__setattr__(self, "ttl_seconds", between("ttl_seconds", self.ttl_seconds, 0, 316224000))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetPortUrlResult(Model):
    """The answer to `get_port_url`.

    Attributes:
        url: The URL.
    """

    url: str = ""

    def __init__(self, url: str = "") -> None:
        self._hold(url)

    def __post_init__(self) -> None:
        text("url", self.url)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ConnectPortRequest(Model):
    """What `connect_port` asks for.

    Attributes:
        id: ID of the sandbox.
        port: TCP port on the loopback interface of the sandbox, 1 to 65535.
    """

    id: str
    port: int

    def __init__(self, id: str, port: int) -> None:
        self._hold(id, port)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        integer("port", self.port, (1, 65535))


class ConnectPortChunk(_LikeExportSnapshotChunk):
    """The answer to `connect_port`.

    Attributes:
        data: The next bytes of the records.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SendToPortRequest(Model):
    """What `send_to_port` asks for.

    Attributes:
        id: ID of the sandbox.
        connection_id: ID of the connection.
        end: Whether nothing is sent after that.
        data: The next bytes to send.
    """

    id: str
    connection_id: str
    end: bool = False
    data: bytes = b""

    def __init__(self, id: str, connection_id: str, end: bool = False, data: bytes = b"") -> None:
        self._hold(id, connection_id, end, data)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.connection_id, "connection ID")
        boolean("end", self.end)
        object.__setattr__(self, "data", content("data", self.data, None))


class SendToPortResult(_LikeStopResult):
    """The answer to `send_to_port`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class DisconnectPortRequest(Model):
    """What `disconnect_port` asks for.

    Attributes:
        id: ID of the sandbox.
        connection_id: ID of the connection.
    """

    id: str
    connection_id: str

    def __init__(self, id: str, connection_id: str) -> None:
        self._hold(id, connection_id)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        sandbox_id(self.connection_id, "connection ID")


class DisconnectPortResult(_LikeStopResult):
    """The answer to `disconnect_port`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListSandboxesRequest(Model):
    """What `list_sandboxes` asks for.

    Attributes:
        status: Only sandboxes in this state. Empty is all.
        type: Only sandboxes of this runtime. Empty is all.
        labels: Only sandboxes that have each of these labels, NAME=value.
        page_size: Most sandboxes that a page holds, 1 to 1000. 0 is 100.
        page_token: Where to go on: next_page_token of the page before. Empty is the first page.
    """

    status: SandboxStatus | Literal[""] = ""
    type: SandboxType | Literal[""] = ""
    labels: tuple[str, ...] = ()
    page_size: int = 0
    page_token: str = ""

    def __init__(
        self,
        status: SandboxStatus | Literal[""] = "",
        type: SandboxType | Literal[""] = "",
        labels: tuple[str, ...] = (),
        page_size: int = 0,
        page_token: str = "",
    ) -> None:
        self._hold(status, type, labels, page_size, page_token)

    def __post_init__(self) -> None:
        argument("status", self.status)
        argument("type", self.type)
        object.__setattr__(self, "labels", variables("labels", self.labels))
        integer("page_size", self.page_size, (0, 1000))
        argument("page_token", self.page_token)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SandboxInfo(Model):
    """What is known of a sandbox.

    Attributes:
        id: ID of the sandbox.
        name: Name that its start gave it; empty for none.
        status: State of the sandbox: creating, running, paused, stopped, error or ended.
        type: Runtime that runs it.
        image: Image that it runs.
        command: Main process and its arguments, as its start gave them.
        labels: Labels that its start gave it, each NAME=value.
        memory_mb: Memory limit in MiB.
        cpu_cores: CPU limit in cores.
        network: Network of the sandbox: none, policy or bridge.
        created_at: When it was started, in seconds of Unix time.
        expires_at: When it expires, in seconds of Unix time; 0 for never.
        exit_code: Exit status of its main process, once that has ended by itself.
        pids: Most processes and threads; 0 where that is not limited.
        shm_mb: Size of /dev/shm in MiB; 0 where it has none of its own.
        env: Variables of every process besides the image's, each NAME=value.
        user: User that the main process and commands run as; empty for the runtime's default.
        image_command: Whether its main process is the image's own command.
        ended_at: When it ended, in seconds of Unix time; 0 for a sandbox that is there.
        end_cause: Why it ended; empty for a sandbox that has not.
        idle_timeout: Seconds after which it is idle; 0 for never.
        on_idle: What is done with it once it is idle; empty for nothing.
        auto_resume: Whether a call that uses it resumes it where it is paused.
        network_allow: What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME`` for
            all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports
            80 and 443; port * is every port.
        network_deny: What of that it does not reach, in the same form. Without a port it is every port.
        volumes: Volumes that it has, each SOURCE:TARGET or SOURCE:TARGET:ro.
        disk_mb: Most that it may have written, in MiB; 0 for no limit.
    """

    id: str = ""
    name: str = ""
    status: SandboxStatus | Literal[""] = ""
    type: SandboxType | Literal[""] = ""
    image: str = ""
    command: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    memory_mb: int = 0
    cpu_cores: float = 0.0
    network: NetworkMode | Literal[""] = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    exit_code: int = 0
    pids: int = 0
    shm_mb: int = 0
    env: tuple[str, ...] = ()
    user: str = ""
    image_command: bool = False
    ended_at: float = 0.0
    end_cause: EndCause | Literal[""] = ""
    idle_timeout: float = 0.0
    on_idle: IdleAction | Literal[""] = ""
    auto_resume: bool = False
    network_allow: tuple[str, ...] = ()
    network_deny: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    disk_mb: int = 0

    def __init__(
        self,
        id: str = "",
        name: str = "",
        status: SandboxStatus | Literal[""] = "",
        type: SandboxType | Literal[""] = "",
        image: str = "",
        command: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        memory_mb: int = 0,
        cpu_cores: float = 0.0,
        network: NetworkMode | Literal[""] = "",
        created_at: float = 0.0,
        expires_at: float = 0.0,
        exit_code: int = 0,
        pids: int = 0,
        shm_mb: int = 0,
        env: tuple[str, ...] = (),
        user: str = "",
        image_command: bool = False,
        ended_at: float = 0.0,
        end_cause: EndCause | Literal[""] = "",
        idle_timeout: float = 0.0,
        on_idle: IdleAction | Literal[""] = "",
        auto_resume: bool = False,
        network_allow: tuple[str, ...] = (),
        network_deny: tuple[str, ...] = (),
        volumes: tuple[str, ...] = (),
        disk_mb: int = 0,
    ) -> None:
        self._hold(
            id,
            name,
            status,
            type,
            image,
            command,
            labels,
            memory_mb,
            cpu_cores,
            network,
            created_at,
            expires_at,
            exit_code,
            pids,
            shm_mb,
            env,
            user,
            image_command,
            ended_at,
            end_cause,
            idle_timeout,
            on_idle,
            auto_resume,
            network_allow,
            network_deny,
            volumes,
            disk_mb,
        )

    def __post_init__(self) -> None:
        text("id", self.id)
        text("name", self.name)
        text("status", self.status)
        text("type", self.type)
        text("image", self.image)
        object.__setattr__(self, "command", texts("command", self.command))
        object.__setattr__(self, "labels", texts("labels", self.labels))
        integer("memory_mb", self.memory_mb, INT64)
        object.__setattr__(self, "cpu_cores", number("cpu_cores", self.cpu_cores))
        text("network", self.network)
        object.__setattr__(self, "created_at", number("created_at", self.created_at))
        object.__setattr__(self, "expires_at", number("expires_at", self.expires_at))
        integer("exit_code", self.exit_code, INT32)
        integer("pids", self.pids, INT64)
        integer("shm_mb", self.shm_mb, INT64)
        object.__setattr__(self, "env", texts("env", self.env))
        text("user", self.user)
        boolean("image_command", self.image_command)
        object.__setattr__(self, "ended_at", number("ended_at", self.ended_at))
        text("end_cause", self.end_cause)
        object.__setattr__(self, "idle_timeout", number("idle_timeout", self.idle_timeout))
        text("on_idle", self.on_idle)
        boolean("auto_resume", self.auto_resume)
        object.__setattr__(self, "network_allow", texts("network_allow", self.network_allow))
        object.__setattr__(self, "network_deny", texts("network_deny", self.network_deny))
        object.__setattr__(self, "volumes", texts("volumes", self.volumes))
        integer("disk_mb", self.disk_mb, INT64)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ListSandboxesResult(Model):
    """A page of the sandboxes that there are.

    Attributes:
        sandboxes: The sandboxes, the oldest first.
        next_page_token: What asks for the next page; empty where this is the last.
    """

    sandboxes: tuple[SandboxInfo, ...] = ()
    next_page_token: str = ""

    def __init__(self, sandboxes: tuple[SandboxInfo, ...] = (), next_page_token: str = "") -> None:
        self._hold(sandboxes, next_page_token)

    def __post_init__(self) -> None:
        text("next_page_token", self.next_page_token)


class GetInfoRequest(_LikeStatusRequest):
    """What `get_info` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetInfoResult(Model):
    """The answer to `get_info`.

    Attributes:
        sandbox: What is known of a sandbox.
    """

    sandbox: SandboxInfo = SandboxInfo()

    def __init__(self, sandbox: SandboxInfo = SandboxInfo()) -> None:
        self._hold(sandbox)


class GetLogsRequest(_LikeStatusRequest):
    """What `get_logs` asks for.

    Attributes:
        id: ID of the sandbox.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class GetLogsResult(GetLogsResultBehaviour):
    """The last of what the main process of a sandbox printed.

    Attributes:
        output: The last of what the main process printed, both streams together.
        dropped: Bytes printed before that are not kept any more.
    """

    output: bytes = b""
    dropped: int = 0

    def __init__(self, output: bytes = b"", dropped: int = 0) -> None:
        self._hold(output, dropped)

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", content("output", self.output, None))
        integer("dropped", self.dropped, UINT64)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ForkRequest(Model):
    """What `fork_sandbox` asks for.

    Attributes:
        id: ID of the sandbox.
        count: How many copies to start, 1 to 100.
    """

    id: str
    count: int

    def __init__(self, id: str, count: int) -> None:
        self._hold(id, count)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        integer("count", self.count, (1, 100))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class ForkResult(Model):
    """The answer to `fork_sandbox`.

    Attributes:
        ids: IDs of the copies.
    """

    ids: tuple[str, ...] = ()

    def __init__(self, ids: tuple[str, ...] = ()) -> None:
        self._hold(ids)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", texts("ids", self.ids))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class KeepAliveRequest(Model):
    """What `keep_alive` asks for.

    Attributes:
        id: ID of the sandbox.
        ttl_seconds: Seconds from now after which it expires, above 0.
    """

    id: str
    ttl_seconds: float

    def __init__(self, id: str, ttl_seconds: float) -> None:
        self._hold(id, ttl_seconds)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        object.__setattr__(self, "ttl_seconds", above("ttl_seconds", self.ttl_seconds, 0, 316224000))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class KeepAliveResult(Model):
    """The answer to `keep_alive`.

    Attributes:
        expires_at: When it expires, in seconds of Unix time.
    """

    expires_at: float = 0.0

    def __init__(self, expires_at: float = 0.0) -> None:
        self._hold(expires_at)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expires_at", number("expires_at", self.expires_at))


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class SetNetworkRequest(SetNetworkRequestBehaviour):
    """What `set_network` asks for.

    Attributes:
        id: ID of the sandbox.
        network: Network of the sandbox: none or policy.
        network_allow: What a policy lets the sandbox reach, each HOST or HOST:PORT: a name, ``*.NAME`` for
            all below it, * for all, an address or a network such as 10.1.0.0/16. Without a port it is ports
            80 and 443; port * is every port.
        network_deny: What of that it does not reach, in the same form. Without a port it is every port.
    """

    id: str
    network: NetworkMode | Literal[""]
    network_allow: tuple[str, ...] = ()
    network_deny: tuple[str, ...] = ()

    def __init__(
        self,
        id: str,
        network: NetworkMode | Literal[""],
        network_allow: tuple[str, ...] = (),
        network_deny: tuple[str, ...] = (),
    ) -> None:
        self._hold(id, network, network_allow, network_deny)

    def __post_init__(self) -> None:
        sandbox_id(self.id, "sandbox ID")
        word("network", self.network, NETWORKS)
        object.__setattr__(self, "network_allow", network_rules(self.network_allow, "network_allow"))
        object.__setattr__(self, "network_deny", network_rules(self.network_deny, "network_deny"))
        self.validate()


class SetNetworkResult(_LikeStopResult):
    """The answer to `set_network`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class WatchEventsRequest(Model):
    """What `watch_events` asks for.

    Attributes:
        token: Where to go on: the token of the last event that was seen. Empty is what happens from now on.
    """

    token: str = ""

    def __init__(self, token: str = "") -> None:
        self._hold(token)

    def __post_init__(self) -> None:
        argument("token", self.token)


@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Event(Model):
    """Something that happened to a sandbox.

    Attributes:
        type: What happened: watching (first of all: the token is where this begins), created, running,
            paused, stopped, expiring (soon), expired, idle, out_of_memory, failed, removed, port_opened and
            port_closed (as list_ports found), or keepalive (nothing for a while).
        id: ID of the sandbox; empty for watching and keepalive.
        token: What goes on after this event.
        at: When it happened, in seconds of Unix time.
        detail: More about it, in words.
    """

    type: EventType | Literal[""] = ""
    id: str = ""
    token: str = ""
    at: float = 0.0
    detail: str = ""

    def __init__(
        self,
        type: EventType | Literal[""] = "",
        id: str = "",
        token: str = "",
        at: float = 0.0,
        detail: str = "",
    ) -> None:
        self._hold(type, id, token, at, detail)

    def __post_init__(self) -> None:
        text("type", self.type)
        text("id", self.id)
        text("token", self.token)
        object.__setattr__(self, "at", number("at", self.at))
        text("detail", self.detail)
