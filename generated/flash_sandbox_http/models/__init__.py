"""Contains all the data models used in inputs/outputs"""

from .error import Error
from .exec_request import ExecRequest
from .exec_response import ExecResponse
from .health_response import HealthResponse
from .list_snapshots_response import ListSnapshotsResponse
from .metrics_response import MetricsResponse
from .snapshot_info import SnapshotInfo
from .snapshot_response import SnapshotResponse
from .start_request import StartRequest
from .start_response import StartResponse
from .status_response import StatusResponse

__all__ = (
    "Error",
    "ExecRequest",
    "ExecResponse",
    "HealthResponse",
    "ListSnapshotsResponse",
    "MetricsResponse",
    "SnapshotInfo",
    "SnapshotResponse",
    "StartRequest",
    "StartResponse",
    "StatusResponse",
)
