"""Why a call failed: stable names, and those that a status alone tells."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

__all__ = ["GRPC_STATUS", "RETRYABLE", "Reason", "reason_of_grpc_status", "reason_of_status_code"]

GRPC_STATUS: Final = {
    "OK": 0,
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""Name and number of each gRPC status (https://grpc.github.io/grpc/core/md_doc_statuscodes.html)."""


class Reason(StrEnum):
    """Why a call failed, as a stable name: the `reason` of an error."""

    INVALID_ARGUMENT = "invalid_argument"
    UNKNOWN_RUNTIME = "unknown_runtime"
    IMAGE_NOT_FOUND = "image_not_found"
    SNAPSHOT_REFUSED = "snapshot_refused"
    START_FAILED = "start_failed"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    FILE_DENIED = "file_denied"
    NETWORK_REFUSED = "network_refused"
    ORIGIN_REFUSED = "origin_refused"
    NOT_FOUND = "not_found"
    SANDBOX_NOT_FOUND = "sandbox_not_found"
    PROCESS_NOT_FOUND = "process_not_found"
    FILE_NOT_FOUND = "file_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    WRONG_STATE = "wrong_state"
    SANDBOX_ENDED = "sandbox_ended"
    PORT_CLOSED = "port_closed"
    FILE_CONFLICT = "file_conflict"
    FILE_EXISTS = "file_exists"
    ALREADY_EXISTS = "already_exists"
    ABORTED = "aborted"
    EVENTS_MISSED = "events_missed"
    TOO_LARGE = "too_large"
    AT_CAPACITY = "at_capacity"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    UNSUPPORTED = "unsupported"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CONNECTION_FAILED = "connection_failed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    BAD_RESPONSE = "bad_response"
    CLIENT_CLOSED = "client_closed"
    COMMAND_FAILED = "command_failed"


RETRYABLE: Final[frozenset[str]] = frozenset(
    {
        Reason.ABORTED,
        Reason.EVENTS_MISSED,
        Reason.AT_CAPACITY,
        Reason.UNAVAILABLE,
        Reason.CONNECTION_FAILED,
    }
)
"""Reasons after which the same call may succeed when it is repeated later."""

_REASON_OF_STATUS_CODE: Final[dict[int, Reason]] = {
    400: Reason.INVALID_ARGUMENT,
    401: Reason.UNAUTHENTICATED,
    403: Reason.PERMISSION_DENIED,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    408: Reason.DEADLINE_EXCEEDED,
    409: Reason.CONFLICT,
    413: Reason.TOO_LARGE,
    422: Reason.INVALID_ARGUMENT,
    429: Reason.AT_CAPACITY,
    499: Reason.CANCELLED,
    501: Reason.UNSUPPORTED,
    502: Reason.UNAVAILABLE,
    503: Reason.UNAVAILABLE,
    504: Reason.DEADLINE_EXCEEDED,
}

_REASON_OF_GRPC_STATUS: Final[dict[str, Reason]] = {
    "CANCELLED": Reason.CANCELLED,
    "UNKNOWN": Reason.INTERNAL,
    "INVALID_ARGUMENT": Reason.INVALID_ARGUMENT,
    "DEADLINE_EXCEEDED": Reason.DEADLINE_EXCEEDED,
    "NOT_FOUND": Reason.NOT_FOUND,
    "ALREADY_EXISTS": Reason.ALREADY_EXISTS,
    "PERMISSION_DENIED": Reason.PERMISSION_DENIED,
    "RESOURCE_EXHAUSTED": Reason.AT_CAPACITY,
    "FAILED_PRECONDITION": Reason.CONFLICT,
    "ABORTED": Reason.ABORTED,
    "OUT_OF_RANGE": Reason.INVALID_ARGUMENT,
    "UNIMPLEMENTED": Reason.UNSUPPORTED,
    "INTERNAL": Reason.INTERNAL,
    "UNAVAILABLE": Reason.UNAVAILABLE,
    "DATA_LOSS": Reason.INTERNAL,
    "UNAUTHENTICATED": Reason.UNAUTHENTICATED,
}


# What orchestrators of 0.1.0 answer has no reason; a server or a proxy at a wrong URL names no sandbox.
_A_SANDBOX: Final = re.compile(r"\bsandbox\b", re.IGNORECASE)


def reason_of_status_code(status_code: int, detail: str = "") -> Reason:
    """Return the reason that an HTTP status and a text tell, of an answer without our error body."""
    known = _REASON_OF_STATUS_CODE.get(status_code)
    if known is Reason.NOT_FOUND and _A_SANDBOX.search(detail):
        return Reason.SANDBOX_NOT_FOUND
    if known is not None:
        return known
    return Reason.INVALID_ARGUMENT if 400 <= status_code < 500 else Reason.INTERNAL


def reason_of_grpc_status(grpc_status: str, message: str = "") -> Reason:
    """Return the reason that a gRPC status and a message tell, of an answer without our status details."""
    if grpc_status == "NOT_FOUND" and _A_SANDBOX.search(message):
        return Reason.SANDBOX_NOT_FOUND
    return _REASON_OF_GRPC_STATUS.get(grpc_status, Reason.INTERNAL)
