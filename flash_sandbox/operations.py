"""The table of operations: one row each, for both transports, both ends and both colours.

A row's `name` is the facade's method, the service core's method and the OpenAPI operationId;
`rpc` is the gRPC method. Paths and messages follow from the generated layers by these names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from . import models

__all__ = ["OPERATIONS", "Operation"]

Req = TypeVar("Req")
Res = TypeVar("Res")


@dataclass(frozen=True, slots=True)
class Operation(Generic[Req, Res]):
    """One operation.

    Attributes:
        name: Name in the facade, the service core and the OpenAPI document.
        rpc: Name of the gRPC method.
        request: Model of what is asked.
        result: Model of what is answered.
        repeatable: Whether asking twice does no more than asking once, so that a lost answer is asked again.
        keyed: Whether a call carries an idempotency key, by which the orchestrator knows it again.
    """

    name: str
    rpc: str
    request: type[Req]
    result: type[Res]
    repeatable: bool = False
    keyed: bool = False


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
SNAPSHOT_SANDBOX: Final = Operation(
    "snapshot_sandbox", "SnapshotSandbox", models.SnapshotRequest, models.SnapshotResult
)
RESUME_SANDBOX: Final = Operation(
    "resume_sandbox", "ResumeSandbox", models.ResumeRequest, models.ResumeResult
)
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

OPERATIONS: Final = (
    START_SANDBOX,
    STOP_SANDBOX,
    EXEC_COMMAND,
    GET_STATUS,
    GET_METRICS,
    SNAPSHOT_SANDBOX,
    RESUME_SANDBOX,
    LIST_SNAPSHOTS,
    REMOVE_SNAPSHOT,
)
"""Every operation, in the order of the specs."""
