"""Contains all the data models used in inputs/outputs"""

from .connect_port_request import ConnectPortRequest
from .create_volume_request import CreateVolumeRequest
from .error import Error
from .event import Event
from .exec_frame import ExecFrame
from .exec_request import ExecRequest
from .exec_response import ExecResponse
from .exec_stream_request import ExecStreamRequest
from .file_info import FileInfo
from .fork_request import ForkRequest
from .fork_response import ForkResponse
from .get_info_response import GetInfoResponse
from .get_logs_response import GetLogsResponse
from .get_metrics_history_response import GetMetricsHistoryResponse
from .get_platform_info_response import GetPlatformInfoResponse
from .get_port_url_request import GetPortUrlRequest
from .get_port_url_response import GetPortUrlResponse
from .health_response import HealthResponse
from .keep_alive_request import KeepAliveRequest
from .keep_alive_response import KeepAliveResponse
from .list_dir_response import ListDirResponse
from .list_ports_response import ListPortsResponse
from .list_processes_response import ListProcessesResponse
from .list_sandboxes_response import ListSandboxesResponse
from .list_snapshots_response import ListSnapshotsResponse
from .list_volumes_response import ListVolumesResponse
from .make_dir_request import MakeDirRequest
from .metrics_point import MetricsPoint
from .metrics_request import MetricsRequest
from .metrics_response import MetricsResponse
from .move_request import MoveRequest
from .port_info import PortInfo
from .process_info import ProcessInfo
from .read_file_response import ReadFileResponse
from .remove_request import RemoveRequest
from .remove_snapshot_request import RemoveSnapshotRequest
from .resize_process_request import ResizeProcessRequest
from .resume_request import ResumeRequest
from .run_python_request import RunPythonRequest
from .run_python_response import RunPythonResponse
from .sandbox_info import SandboxInfo
from .set_network_request import SetNetworkRequest
from .signal_process_request import SignalProcessRequest
from .snapshot_info import SnapshotInfo
from .snapshot_request import SnapshotRequest
from .snapshot_response import SnapshotResponse
from .start_process_request import StartProcessRequest
from .start_process_response import StartProcessResponse
from .start_request import StartRequest
from .start_response import StartResponse
from .stat_response import StatResponse
from .status_request import StatusRequest
from .status_response import StatusResponse
from .stop_request import StopRequest
from .volume_info import VolumeInfo
from .write_file_request import WriteFileRequest
from .write_stdin_request import WriteStdinRequest

__all__ = (
    "ConnectPortRequest",
    "CreateVolumeRequest",
    "Error",
    "Event",
    "ExecFrame",
    "ExecRequest",
    "ExecResponse",
    "ExecStreamRequest",
    "FileInfo",
    "ForkRequest",
    "ForkResponse",
    "GetInfoResponse",
    "GetLogsResponse",
    "GetMetricsHistoryResponse",
    "GetPlatformInfoResponse",
    "GetPortUrlRequest",
    "GetPortUrlResponse",
    "HealthResponse",
    "KeepAliveRequest",
    "KeepAliveResponse",
    "ListDirResponse",
    "ListPortsResponse",
    "ListProcessesResponse",
    "ListSandboxesResponse",
    "ListSnapshotsResponse",
    "ListVolumesResponse",
    "MakeDirRequest",
    "MetricsPoint",
    "MetricsRequest",
    "MetricsResponse",
    "MoveRequest",
    "PortInfo",
    "ProcessInfo",
    "ReadFileResponse",
    "RemoveRequest",
    "RemoveSnapshotRequest",
    "ResizeProcessRequest",
    "ResumeRequest",
    "RunPythonRequest",
    "RunPythonResponse",
    "SandboxInfo",
    "SetNetworkRequest",
    "SignalProcessRequest",
    "SnapshotInfo",
    "SnapshotRequest",
    "SnapshotResponse",
    "StartProcessRequest",
    "StartProcessResponse",
    "StartRequest",
    "StartResponse",
    "StatResponse",
    "StatusRequest",
    "StatusResponse",
    "StopRequest",
    "VolumeInfo",
    "WriteFileRequest",
    "WriteStdinRequest",
)
