# Generated from specs/ by `python -m codegen`; do not edit.
"""The table of operations: one row each, for both transports, both ends and both colours.

A row's `name` is the facade's method, the service core's method and the OpenAPI operationId;
`rpc` is the gRPC method. Paths and messages follow from the generated layers by these names.
"""

from __future__ import annotations

from typing import Final

from . import models
from .operation import KEEPALIVE, Operation

__all__ = ["KEEPALIVE", "OPERATIONS", "Operation"]

START_SANDBOX: Final = Operation(
    "start_sandbox", "StartSandbox", models.StartRequest, models.StartResult, keyed=True
)
STOP_SANDBOX: Final = Operation("stop_sandbox", "StopSandbox", models.StopRequest, models.StopResult)
EXEC_COMMAND: Final = Operation("exec_command", "ExecCommand", models.ExecRequest, models.ExecResult)
GET_STATUS: Final = Operation(
    "get_status", "GetStatus", models.StatusRequest, models.StatusResult, repeatable=True
)
GET_METRICS: Final = Operation(
    "get_metrics", "GetMetrics", models.MetricsRequest, models.MetricsResult, repeatable=True
)
GET_METRICS_HISTORY: Final = Operation(
    "get_metrics_history",
    "GetMetricsHistory",
    models.GetMetricsHistoryRequest,
    models.GetMetricsHistoryResult,
    repeatable=True,
)
SNAPSHOT_SANDBOX: Final = Operation(
    "snapshot_sandbox", "SnapshotSandbox", models.SnapshotRequest, models.SnapshotResult
)
PAUSE_SANDBOX: Final = Operation("pause_sandbox", "PauseSandbox", models.PauseRequest, models.PauseResult)
RESUME_SANDBOX: Final = Operation(
    "resume_sandbox", "ResumeSandbox", models.ResumeRequest, models.ResumeResult
)
FORK_SANDBOX: Final = Operation("fork_sandbox", "ForkSandbox", models.ForkRequest, models.ForkResult)
LIST_SNAPSHOTS: Final = Operation(
    "list_snapshots",
    "ListSnapshots",
    models.ListSnapshotsRequest,
    models.ListSnapshotsResult,
    repeatable=True,
)
REMOVE_SNAPSHOT: Final = Operation(
    "remove_snapshot", "RemoveSnapshot", models.RemoveSnapshotRequest, models.RemoveSnapshotResult
)
EXPORT_SNAPSHOT: Final = Operation(
    "export_snapshot",
    "ExportSnapshot",
    models.ExportSnapshotRequest,
    models.ExportSnapshotChunk,
    repeatable=True,
    streams="bytes",
)
IMPORT_SNAPSHOT: Final = Operation(
    "import_snapshot", "ImportSnapshot", models.ImportSnapshotRequest, models.SnapshotInfo, streams="request"
)
CREATE_VOLUME: Final = Operation(
    "create_volume", "CreateVolume", models.CreateVolumeRequest, models.CreateVolumeResult
)
LIST_VOLUMES: Final = Operation(
    "list_volumes", "ListVolumes", models.ListVolumesRequest, models.ListVolumesResult, repeatable=True
)
REMOVE_VOLUME: Final = Operation(
    "remove_volume", "RemoveVolume", models.RemoveVolumeRequest, models.RemoveVolumeResult
)
EXEC_STREAM: Final = Operation(
    "exec_stream",
    "ExecStream",
    models.ExecStreamRequest,
    models.ExecFrame,
    streams="response",
    last=frozenset({"exit"}),
)
START_PROCESS: Final = Operation(
    "start_process", "StartProcess", models.StartProcessRequest, models.StartProcessResult
)
LIST_PROCESSES: Final = Operation(
    "list_processes",
    "ListProcesses",
    models.ListProcessesRequest,
    models.ListProcessesResult,
    repeatable=True,
)
WAIT_PROCESS: Final = Operation(
    "wait_process",
    "WaitProcess",
    models.WaitProcessRequest,
    models.ExecResult,
    repeatable=True,
    outlasts=True,
)
FOLLOW_PROCESS: Final = Operation(
    "follow_process",
    "FollowProcess",
    models.FollowProcessRequest,
    models.ExecFrame,
    repeatable=True,
    outlasts=True,
    streams="response",
    last=frozenset({"exit", "end"}),
)
SIGNAL_PROCESS: Final = Operation(
    "signal_process", "SignalProcess", models.SignalProcessRequest, models.SignalProcessResult
)
WRITE_STDIN: Final = Operation("write_stdin", "WriteStdin", models.WriteStdinRequest, models.WriteStdinResult)
RESIZE_PROCESS: Final = Operation(
    "resize_process",
    "ResizeProcess",
    models.ResizeProcessRequest,
    models.ResizeProcessResult,
    repeatable=True,
)
RUN_PYTHON: Final = Operation("run_python", "RunPython", models.RunPythonRequest, models.RunPythonResult)
GET_PLATFORM_INFO: Final = Operation(
    "get_platform_info",
    "GetPlatformInfo",
    models.GetPlatformInfoRequest,
    models.GetPlatformInfoResult,
    repeatable=True,
)
READ_FILE: Final = Operation(
    "read_file", "ReadFile", models.ReadFileRequest, models.ReadFileResult, repeatable=True
)
WRITE_FILE: Final = Operation(
    "write_file", "WriteFile", models.WriteFileRequest, models.WriteFileResult, repeatable=True
)
STAT: Final = Operation("stat", "Stat", models.StatRequest, models.StatResult, repeatable=True)
LIST_DIR: Final = Operation(
    "list_dir", "ListDir", models.ListDirRequest, models.ListDirResult, repeatable=True
)
MAKE_DIR: Final = Operation("make_dir", "MakeDir", models.MakeDirRequest, models.MakeDirResult)
REMOVE: Final = Operation("remove", "Remove", models.RemoveRequest, models.RemoveResult)
MOVE: Final = Operation("move", "Move", models.MoveRequest, models.MoveResult)
UPLOAD_ARCHIVE: Final = Operation(
    "upload_archive",
    "UploadArchive",
    models.UploadArchiveRequest,
    models.UploadArchiveResult,
    streams="request",
)
DOWNLOAD_ARCHIVE: Final = Operation(
    "download_archive",
    "DownloadArchive",
    models.DownloadArchiveRequest,
    models.DownloadArchiveChunk,
    repeatable=True,
    streams="bytes",
)
LIST_PORTS: Final = Operation(
    "list_ports", "ListPorts", models.ListPortsRequest, models.ListPortsResult, repeatable=True
)
GET_PORT_URL: Final = Operation(
    "get_port_url", "GetPortUrl", models.GetPortUrlRequest, models.GetPortUrlResult, repeatable=True
)
CONNECT_PORT: Final = Operation(
    "connect_port", "ConnectPort", models.ConnectPortRequest, models.ConnectPortChunk, streams="bytes"
)
SEND_TO_PORT: Final = Operation(
    "send_to_port", "SendToPort", models.SendToPortRequest, models.SendToPortResult, streams="request"
)
DISCONNECT_PORT: Final = Operation(
    "disconnect_port",
    "DisconnectPort",
    models.DisconnectPortRequest,
    models.DisconnectPortResult,
    repeatable=True,
)
LIST_SANDBOXES: Final = Operation(
    "list_sandboxes",
    "ListSandboxes",
    models.ListSandboxesRequest,
    models.ListSandboxesResult,
    repeatable=True,
)
GET_INFO: Final = Operation(
    "get_info", "GetInfo", models.GetInfoRequest, models.GetInfoResult, repeatable=True
)
GET_LOGS: Final = Operation(
    "get_logs", "GetLogs", models.GetLogsRequest, models.GetLogsResult, repeatable=True
)
KEEP_ALIVE: Final = Operation(
    "keep_alive", "KeepAlive", models.KeepAliveRequest, models.KeepAliveResult, repeatable=True
)
SET_NETWORK: Final = Operation(
    "set_network", "SetNetwork", models.SetNetworkRequest, models.SetNetworkResult, repeatable=True
)
WATCH_EVENTS: Final = Operation(
    "watch_events",
    "WatchEvents",
    models.WatchEventsRequest,
    models.Event,
    repeatable=True,
    outlasts=True,
    streams="response",
)

OPERATIONS: Final = (
    START_SANDBOX,
    STOP_SANDBOX,
    EXEC_COMMAND,
    GET_STATUS,
    GET_METRICS,
    GET_METRICS_HISTORY,
    SNAPSHOT_SANDBOX,
    PAUSE_SANDBOX,
    RESUME_SANDBOX,
    FORK_SANDBOX,
    LIST_SNAPSHOTS,
    REMOVE_SNAPSHOT,
    EXPORT_SNAPSHOT,
    IMPORT_SNAPSHOT,
    CREATE_VOLUME,
    LIST_VOLUMES,
    REMOVE_VOLUME,
    EXEC_STREAM,
    START_PROCESS,
    LIST_PROCESSES,
    WAIT_PROCESS,
    FOLLOW_PROCESS,
    SIGNAL_PROCESS,
    WRITE_STDIN,
    RESIZE_PROCESS,
    RUN_PYTHON,
    GET_PLATFORM_INFO,
    READ_FILE,
    WRITE_FILE,
    STAT,
    LIST_DIR,
    MAKE_DIR,
    REMOVE,
    MOVE,
    UPLOAD_ARCHIVE,
    DOWNLOAD_ARCHIVE,
    LIST_PORTS,
    GET_PORT_URL,
    CONNECT_PORT,
    SEND_TO_PORT,
    DISCONNECT_PORT,
    LIST_SANDBOXES,
    GET_INFO,
    GET_LOGS,
    KEEP_ALIVE,
    SET_NETWORK,
    WATCH_EVENTS,
)
"""Every operation, in the order of the specs."""
