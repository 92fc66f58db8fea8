"""Contains all the data models used in inputs/outputs"""

from .error import Error
from .exec_request import ExecRequest
from .exec_response import ExecResponse
from .health_response import HealthResponse
from .metrics_response import MetricsResponse
from .snapshot_response import SnapshotResponse
from .start_request import StartRequest
from .start_response import StartResponse
from .status_response import StatusResponse

__all__ = (
    "Error",
    "ExecRequest",
    "ExecResponse",
    "HealthResponse",
    "MetricsResponse",
    "SnapshotResponse",
    "StartRequest",
    "StartResponse",
    "StatusResponse",
)
