"""How each operation of specs/openapi.yaml is called. Generated; do not edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ROUTES", "Route"]


@dataclass(frozen=True, slots=True)
class Route:
    """How an operation is called.

    Attributes:
        method: HTTP method in capitals.
        path: Path with its parameters in braces, such as ``/sandboxes/{id}``.
        path_params: Names of the parameters in the path, in its order.
        query_params: Names of the parameters in the query.
        has_body: Whether the request carries JSON.
        success_status: Status of a successful answer; 204 where it has no body.
        secured: Whether the API key is needed, where the orchestrator has one.
    """

    method: str
    path: str
    path_params: tuple[str, ...]
    query_params: tuple[str, ...]
    has_body: bool
    success_status: int
    secured: bool


ROUTES: Final[dict[str, Route]] = {
    "start_sandbox": Route(
        method="POST",
        path="/sandboxes",
        path_params=(),
        query_params=(),
        has_body=True,
        success_status=201,
        secured=True,
    ),
    "get_status": Route(
        method="GET",
        path="/sandboxes/{id}",
        path_params=("id",),
        query_params=(),
        has_body=False,
        success_status=200,
        secured=True,
    ),
    "stop_sandbox": Route(
        method="DELETE",
        path="/sandboxes/{id}",
        path_params=("id",),
        query_params=(),
        has_body=False,
        success_status=204,
        secured=True,
    ),
    "exec_command": Route(
        method="POST",
        path="/sandboxes/{id}/exec",
        path_params=("id",),
        query_params=(),
        has_body=True,
        success_status=200,
        secured=True,
    ),
    "get_metrics": Route(
        method="GET",
        path="/sandboxes/{id}/metrics",
        path_params=("id",),
        query_params=(),
        has_body=False,
        success_status=200,
        secured=True,
    ),
    "snapshot_sandbox": Route(
        method="POST",
        path="/sandboxes/{id}/snapshot",
        path_params=("id",),
        query_params=(),
        has_body=False,
        success_status=200,
        secured=True,
    ),
    "resume_sandbox": Route(
        method="POST",
        path="/sandboxes/{id}/resume",
        path_params=("id",),
        query_params=(),
        has_body=False,
        success_status=204,
        secured=True,
    ),
    "list_snapshots": Route(
        method="GET",
        path="/snapshots",
        path_params=(),
        query_params=(),
        has_body=False,
        success_status=200,
        secured=True,
    ),
    "remove_snapshot": Route(
        method="DELETE",
        path="/snapshots",
        path_params=(),
        query_params=("snapshot_path",),
        has_body=False,
        success_status=204,
        secured=True,
    ),
    "get_health": Route(
        method="GET",
        path="/healthz",
        path_params=(),
        query_params=(),
        has_body=False,
        success_status=200,
        secured=False,
    ),
}
"""Every route by operationId."""
