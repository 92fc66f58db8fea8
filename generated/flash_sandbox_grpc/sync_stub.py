"""The synchronous stub, derived from the asynchronous one; for ``grpc.Channel`` and what has its methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from .sandbox import (
    ConnectPortChunk,
    ConnectPortRequest,
    CreateVolumeRequest,
    CreateVolumeResponse,
    DisconnectPortRequest,
    DisconnectPortResponse,
    DownloadArchiveChunk,
    DownloadArchiveRequest,
    Event,
    ExecFrame,
    ExecRequest,
    ExecResponse,
    ExecStreamRequest,
    ExportSnapshotChunk,
    ExportSnapshotRequest,
    FollowProcessRequest,
    ForkRequest,
    ForkResponse,
    GetInfoRequest,
    GetInfoResponse,
    GetLogsRequest,
    GetLogsResponse,
    GetMetricsHistoryRequest,
    GetMetricsHistoryResponse,
    GetPlatformInfoRequest,
    GetPlatformInfoResponse,
    GetPortUrlRequest,
    GetPortUrlResponse,
    ImportSnapshotRequest,
    KeepAliveRequest,
    KeepAliveResponse,
    ListDirRequest,
    ListDirResponse,
    ListPortsRequest,
    ListPortsResponse,
    ListProcessesRequest,
    ListProcessesResponse,
    ListSandboxesRequest,
    ListSandboxesResponse,
    ListSnapshotsRequest,
    ListSnapshotsResponse,
    ListVolumesRequest,
    ListVolumesResponse,
    MakeDirRequest,
    MakeDirResponse,
    MetricsRequest,
    MetricsResponse,
    MoveRequest,
    MoveResponse,
    PauseRequest,
    PauseResponse,
    ReadFileRequest,
    ReadFileResponse,
    RemoveRequest,
    RemoveResponse,
    RemoveSnapshotRequest,
    RemoveSnapshotResponse,
    RemoveVolumeRequest,
    RemoveVolumeResponse,
    ResizeProcessRequest,
    ResizeProcessResponse,
    ResumeRequest,
    ResumeResponse,
    RunPythonRequest,
    RunPythonResponse,
    SendToPortRequest,
    SendToPortResponse,
    SetNetworkRequest,
    SetNetworkResponse,
    SignalProcessRequest,
    SignalProcessResponse,
    SnapshotInfo,
    SnapshotRequest,
    SnapshotResponse,
    StartProcessRequest,
    StartProcessResponse,
    StartRequest,
    StartResponse,
    StatRequest,
    StatResponse,
    StatusRequest,
    StatusResponse,
    StopRequest,
    StopResponse,
    UploadArchiveRequest,
    UploadArchiveResponse,
    WaitProcessRequest,
    WatchEventsRequest,
    WriteFileRequest,
    WriteFileResponse,
    WriteStdinRequest,
    WriteStdinResponse,
)

__all__ = ("Channel", "Metadata", "Parse", "Serialize", "SandboxServiceSyncStub")

Metadata = Sequence[tuple[str, str | bytes]]
Parse = Callable[[bytes], Any]
Serialize = Callable[[Any], bytes]


class Channel(Protocol):
    """Makes calls. ``grpc.Channel`` is one, and so is ``grpc.aio.Channel``, whose answers are awaited."""

    def stream_unary(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call, given its messages, `timeout` and `metadata`."""
        ...

    def unary_stream(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call, given its message, `timeout` and `metadata`."""
        ...

    def unary_unary(
        self, method: str, request_serializer: Serialize, response_deserializer: Parse
    ) -> Callable[..., Any]:
        """Return a function that makes a call, given its message, `timeout` and `metadata`."""
        ...


def _parsed(message_class: Any, data: bytes) -> Any:
    return message_class.parse(data)


class SandboxServiceSyncStub:
    """
    Start, use and stop sandboxes.

    Args:
        channel: Makes the calls.
        serialize: Writes a message.
        parse: Reads a message, given its class.
        prefix: Goes before the path of each method, for a proxy that routes by paths.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        serialize: Serialize = bytes,
        parse: Callable[[Any, bytes], Any] = _parsed,
        prefix: str = "",
    ) -> None:
        self._channel = channel
        self._serialize = serialize
        self._parse = parse
        self._prefix = prefix

    def start_sandbox(
        self, message: StartRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> StartResponse:
        """
        Start a sandbox and return its ID once its main process runs.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/StartSandbox",
            self._serialize,
            partial(self._parse, StartResponse),
        )
        answered: StartResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def stop_sandbox(
        self, message: StopRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> StopResponse:
        """
        Stop a sandbox, end all of its processes and remove what it held; its ID is unknown afterwards.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/StopSandbox",
            self._serialize,
            partial(self._parse, StopResponse),
        )
        answered: StopResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def exec_command(
        self, message: ExecRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ExecResponse:
        """
        Run a command in a running sandbox and return what it printed and how it ended.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ExecCommand",
            self._serialize,
            partial(self._parse, ExecResponse),
        )
        answered: ExecResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_status(
        self, message: StatusRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> StatusResponse:
        """
        Return the state of a sandbox: creating, running, paused, stopped or error.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetStatus",
            self._serialize,
            partial(self._parse, StatusResponse),
        )
        answered: StatusResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_metrics(
        self, message: MetricsRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> MetricsResponse:
        """
        Return what a sandbox uses at this moment.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetMetrics",
            self._serialize,
            partial(self._parse, MetricsResponse),
        )
        answered: MetricsResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_metrics_history(
        self,
        message: GetMetricsHistoryRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> GetMetricsHistoryResponse:
        """
        Return what a sandbox has used in the last hour, as the orchestrator sampled it, the oldest first.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetMetricsHistory",
            self._serialize,
            partial(self._parse, GetMetricsHistoryResponse),
        )
        answered: GetMetricsHistoryResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def snapshot_sandbox(
        self, message: SnapshotRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> SnapshotResponse:
        """
        Freeze a sandbox and write what it holds to a snapshot; the sandbox stays paused.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/SnapshotSandbox",
            self._serialize,
            partial(self._parse, SnapshotResponse),
        )
        answered: SnapshotResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def pause_sandbox(
        self, message: PauseRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> PauseResponse:
        """
        Freeze every process of a running sandbox; resume_sandbox lets them run on.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/PauseSandbox",
            self._serialize,
            partial(self._parse, PauseResponse),
        )
        answered: PauseResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def resume_sandbox(
        self, message: ResumeRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ResumeResponse:
        """
        Let a paused sandbox run on.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ResumeSandbox",
            self._serialize,
            partial(self._parse, ResumeResponse),
        )
        answered: ResumeResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def fork_sandbox(
        self, message: ForkRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ForkResponse:
        """
        Start copies of a sandbox with its files, limits, variables and labels, and return their IDs.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ForkSandbox",
            self._serialize,
            partial(self._parse, ForkResponse),
        )
        answered: ForkResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_snapshots(
        self, message: ListSnapshotsRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListSnapshotsResponse:
        """
        Return what is known of each snapshot in the orchestrator's store, the oldest first.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListSnapshots",
            self._serialize,
            partial(self._parse, ListSnapshotsResponse),
        )
        answered: ListSnapshotsResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def remove_snapshot(
        self,
        message: RemoveSnapshotRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> RemoveSnapshotResponse:
        """
        Remove a snapshot from the orchestrator's store. What was started from it goes on.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/RemoveSnapshot",
            self._serialize,
            partial(self._parse, RemoveSnapshotResponse),
        )
        answered: RemoveSnapshotResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def export_snapshot(
        self,
        message: ExportSnapshotRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> Iterator[ExportSnapshotChunk]:
        """
        Return a snapshot as one file, with its SHA-256 in it, which import_snapshot takes.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/ExportSnapshot",
            self._serialize,
            partial(self._parse, ExportSnapshotChunk),
        )
        answered: Iterator[ExportSnapshotChunk] = call(message, timeout=timeout, metadata=metadata)
        return answered

    def import_snapshot(
        self,
        messages: Iterable[ImportSnapshotRequest],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> SnapshotInfo:
        """
        Add a snapshot that export_snapshot has returned as a file. It has the labels that it had.
        """
        call = self._channel.stream_unary(
            self._prefix + "/sandbox.SandboxService/ImportSnapshot",
            self._serialize,
            partial(self._parse, SnapshotInfo),
        )
        answered: SnapshotInfo = call(messages, timeout=timeout, metadata=metadata)
        return answered

    def create_volume(
        self, message: CreateVolumeRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> CreateVolumeResponse:
        """
        Make a volume, an empty directory that outlives sandboxes and is mounted by its name.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/CreateVolume",
            self._serialize,
            partial(self._parse, CreateVolumeResponse),
        )
        answered: CreateVolumeResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_volumes(
        self, message: ListVolumesRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListVolumesResponse:
        """
        Return what is known of each named volume, by name.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListVolumes",
            self._serialize,
            partial(self._parse, ListVolumesResponse),
        )
        answered: ListVolumesResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def remove_volume(
        self, message: RemoveVolumeRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> RemoveVolumeResponse:
        """
        Remove a named volume with all that it holds. Refused while a sandbox has it.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/RemoveVolume",
            self._serialize,
            partial(self._parse, RemoveVolumeResponse),
        )
        answered: RemoveVolumeResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def exec_stream(
        self, message: ExecStreamRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> Iterator[ExecFrame]:
        """
        Run a command in a running sandbox and tell what it prints as it happens.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/ExecStream",
            self._serialize,
            partial(self._parse, ExecFrame),
        )
        answered: Iterator[ExecFrame] = call(message, timeout=timeout, metadata=metadata)
        return answered

    def start_process(
        self, message: StartProcessRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> StartProcessResponse:
        """
        Start a command in a running sandbox that goes on by itself, and return its process ID.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/StartProcess",
            self._serialize,
            partial(self._parse, StartProcessResponse),
        )
        answered: StartProcessResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_processes(
        self, message: ListProcessesRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListProcessesResponse:
        """
        Return the processes that exec_stream and start_process began in a sandbox, the oldest first.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListProcesses",
            self._serialize,
            partial(self._parse, ListProcessesResponse),
        )
        answered: ListProcessesResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def wait_process(
        self, message: WaitProcessRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ExecResponse:
        """
        Wait until a process has ended, and return what is kept of its output and how it ended.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/WaitProcess",
            self._serialize,
            partial(self._parse, ExecResponse),
        )
        answered: ExecResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def follow_process(
        self, message: FollowProcessRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> Iterator[ExecFrame]:
        """
        Tell what is kept of a process's output, and what it prints from then on until it ends.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/FollowProcess",
            self._serialize,
            partial(self._parse, ExecFrame),
        )
        answered: Iterator[ExecFrame] = call(message, timeout=timeout, metadata=metadata)
        return answered

    def signal_process(
        self, message: SignalProcessRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> SignalProcessResponse:
        """
        Send a signal to the first process of a command; KILL ends it with all that it started.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/SignalProcess",
            self._serialize,
            partial(self._parse, SignalProcessResponse),
        )
        answered: SignalProcessResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def write_stdin(
        self, message: WriteStdinRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> WriteStdinResponse:
        """
        Send input to a process, and return once it has read most of what was sent before.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/WriteStdin",
            self._serialize,
            partial(self._parse, WriteStdinResponse),
        )
        answered: WriteStdinResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def resize_process(
        self, message: ResizeProcessRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ResizeProcessResponse:
        """
        Change the size of a process's terminal.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ResizeProcess",
            self._serialize,
            partial(self._parse, ResizeProcessResponse),
        )
        answered: ResizeProcessResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def run_python(
        self, message: RunPythonRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> RunPythonResponse:
        """
        Run Python code by the interpreter in a sandbox, and return what it printed and how it ended.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/RunPython",
            self._serialize,
            partial(self._parse, RunPythonResponse),
        )
        answered: RunPythonResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_platform_info(
        self,
        message: GetPlatformInfoRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> GetPlatformInfoResponse:
        """
        Return what the processes in a sandbox find themselves on: system, release, machine and more.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetPlatformInfo",
            self._serialize,
            partial(self._parse, GetPlatformInfoResponse),
        )
        answered: GetPlatformInfoResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def read_file(
        self, message: ReadFileRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ReadFileResponse:
        """
        Return what a file in a sandbox holds, at most 8 MiB; download_archive takes files of any size.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ReadFile",
            self._serialize,
            partial(self._parse, ReadFileResponse),
        )
        answered: ReadFileResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def write_file(
        self, message: WriteFileRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> WriteFileResponse:
        """
        Write a file in a sandbox, at once: who reads it meanwhile reads the old content or the new one.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/WriteFile",
            self._serialize,
            partial(self._parse, WriteFileResponse),
        )
        answered: WriteFileResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def stat(
        self, message: StatRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> StatResponse:
        """
        Return what is at a path in a sandbox; of a link the link itself.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/Stat", self._serialize, partial(self._parse, StatResponse)
        )
        answered: StatResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_dir(
        self, message: ListDirRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListDirResponse:
        """
        Return what a directory in a sandbox holds, by name.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListDir",
            self._serialize,
            partial(self._parse, ListDirResponse),
        )
        answered: ListDirResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def make_dir(
        self, message: MakeDirRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> MakeDirResponse:
        """
        Make a directory in a sandbox.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/MakeDir",
            self._serialize,
            partial(self._parse, MakeDirResponse),
        )
        answered: MakeDirResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def remove(
        self, message: RemoveRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> RemoveResponse:
        """
        Remove a file, a link (not what it leads to) or a directory in a sandbox.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/Remove",
            self._serialize,
            partial(self._parse, RemoveResponse),
        )
        answered: RemoveResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def move(
        self, message: MoveRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> MoveResponse:
        """
        Give a file, a link or a directory in a sandbox another path. A file that is there is replaced.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/Move", self._serialize, partial(self._parse, MoveResponse)
        )
        answered: MoveResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def upload_archive(
        self,
        messages: Iterable[UploadArchiveRequest],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> UploadArchiveResponse:
        """
        Unpack a tar archive into a directory of a sandbox, as it comes.
        """
        call = self._channel.stream_unary(
            self._prefix + "/sandbox.SandboxService/UploadArchive",
            self._serialize,
            partial(self._parse, UploadArchiveResponse),
        )
        answered: UploadArchiveResponse = call(messages, timeout=timeout, metadata=metadata)
        return answered

    def download_archive(
        self,
        message: DownloadArchiveRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> Iterator[DownloadArchiveChunk]:
        """
        Pack a file or directory of a sandbox into a tar archive, and return its bytes as they come.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/DownloadArchive",
            self._serialize,
            partial(self._parse, DownloadArchiveChunk),
        )
        answered: Iterator[DownloadArchiveChunk] = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_ports(
        self, message: ListPortsRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListPortsResponse:
        """
        Return the TCP ports that programs in a sandbox listen on, the lowest first.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListPorts",
            self._serialize,
            partial(self._parse, ListPortsResponse),
        )
        answered: ListPortsResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_port_url(
        self, message: GetPortUrlRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> GetPortUrlResponse:
        """
        Return a URL by which whoever has it reaches a port of a sandbox over HTTP, until it expires.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetPortUrl",
            self._serialize,
            partial(self._parse, GetPortUrlResponse),
        )
        answered: GetPortUrlResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def connect_port(
        self, message: ConnectPortRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> Iterator[ConnectPortChunk]:
        """
        Connect to a TCP port that a program in a sandbox listens on, and answer what that sends until both sides are closed.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/ConnectPort",
            self._serialize,
            partial(self._parse, ConnectPortChunk),
        )
        answered: Iterator[ConnectPortChunk] = call(message, timeout=timeout, metadata=metadata)
        return answered

    def send_to_port(
        self,
        messages: Iterable[SendToPortRequest],
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> SendToPortResponse:
        """
        Send bytes over a connection that connect_port has made.
        """
        call = self._channel.stream_unary(
            self._prefix + "/sandbox.SandboxService/SendToPort",
            self._serialize,
            partial(self._parse, SendToPortResponse),
        )
        answered: SendToPortResponse = call(messages, timeout=timeout, metadata=metadata)
        return answered

    def disconnect_port(
        self,
        message: DisconnectPortRequest,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
    ) -> DisconnectPortResponse:
        """
        End a connection that connect_port has made, if it is still there.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/DisconnectPort",
            self._serialize,
            partial(self._parse, DisconnectPortResponse),
        )
        answered: DisconnectPortResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def list_sandboxes(
        self, message: ListSandboxesRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> ListSandboxesResponse:
        """
        Return a page of the sandboxes that there are, the oldest first.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/ListSandboxes",
            self._serialize,
            partial(self._parse, ListSandboxesResponse),
        )
        answered: ListSandboxesResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_info(
        self, message: GetInfoRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> GetInfoResponse:
        """
        Return what is known of a sandbox: its image, limits, labels, and when it expires.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetInfo",
            self._serialize,
            partial(self._parse, GetInfoResponse),
        )
        answered: GetInfoResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def get_logs(
        self, message: GetLogsRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> GetLogsResponse:
        """
        Return the last of what the main process of a sandbox has printed.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/GetLogs",
            self._serialize,
            partial(self._parse, GetLogsResponse),
        )
        answered: GetLogsResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def keep_alive(
        self, message: KeepAliveRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> KeepAliveResponse:
        """
        Have a sandbox expire so many seconds from now, and return when, in seconds of Unix time.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/KeepAlive",
            self._serialize,
            partial(self._parse, KeepAliveResponse),
        )
        answered: KeepAliveResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def set_network(
        self, message: SetNetworkRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> SetNetworkResponse:
        """
        Change what a running sandbox may reach. Connections to anything else end.
        """
        call = self._channel.unary_unary(
            self._prefix + "/sandbox.SandboxService/SetNetwork",
            self._serialize,
            partial(self._parse, SetNetworkResponse),
        )
        answered: SetNetworkResponse = call(message, timeout=timeout, metadata=metadata)
        return answered

    def watch_events(
        self, message: WatchEventsRequest, *, timeout: float | None = None, metadata: Metadata | None = None
    ) -> Iterator[Event]:
        """
        Tell what happens to sandboxes, as it happens; nothing that happens after this returns is missed.
        """
        call = self._channel.unary_stream(
            self._prefix + "/sandbox.SandboxService/WatchEvents", self._serialize, partial(self._parse, Event)
        )
        answered: Iterator[Event] = call(message, timeout=timeout, metadata=metadata)
        return answered
