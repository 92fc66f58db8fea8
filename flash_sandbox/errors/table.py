"""The one table that maps failures between transports, and the error that an answer tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .classes import (
    AlreadyExistsError,
    AtCapacityError,
    AuthenticationError,
    CancelledByServerError,
    ClientClosedError,
    CommandFailedError,
    ConflictError,
    EventsMissedError,
    InternalServerError,
    InvalidArgumentError,
    NetworkRefusedError,
    NotFoundError,
    OriginRefusedError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PortClosedError,
    ProcessNotFoundError,
    ProtocolError,
    RuntimeUnavailableError,
    SandboxConnectionError,
    SandboxEndedError,
    SandboxError,
    SandboxFileConflictError,
    SandboxFileExistsError,
    SandboxFileNotFoundError,
    SandboxFilePermissionError,
    SandboxNotFoundError,
    SandboxTimeoutError,
    UnavailableError,
    UnsupportedError,
    WrongStateError,
)
from .reasons import RETRYABLE, Reason, reason_of_grpc_status, reason_of_status_code

__all__ = ["TABLE", "Row", "error_for", "statuses_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the same failure as every side names it."""

    reason: Reason
    status_code: int | None
    grpc_status: str | None
    error: type[SandboxError]

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed when it is repeated later."""
        return self.reason in RETRYABLE


TABLE: Final[tuple[Row, ...]] = (
    Row(Reason.INVALID_ARGUMENT, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.UNKNOWN_RUNTIME, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.IMAGE_NOT_FOUND, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.SNAPSHOT_REFUSED, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.START_FAILED, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.UNAUTHENTICATED, 401, "UNAUTHENTICATED", AuthenticationError),
    Row(Reason.PERMISSION_DENIED, 403, "PERMISSION_DENIED", PermissionDeniedError),
    Row(Reason.FILE_DENIED, 403, "PERMISSION_DENIED", SandboxFilePermissionError),
    Row(Reason.NETWORK_REFUSED, 403, "PERMISSION_DENIED", NetworkRefusedError),
    Row(Reason.ORIGIN_REFUSED, 403, "PERMISSION_DENIED", OriginRefusedError),
    Row(Reason.NOT_FOUND, 404, "NOT_FOUND", NotFoundError),
    Row(Reason.SANDBOX_NOT_FOUND, 404, "NOT_FOUND", SandboxNotFoundError),
    Row(Reason.PROCESS_NOT_FOUND, 404, "NOT_FOUND", ProcessNotFoundError),
    Row(Reason.FILE_NOT_FOUND, 404, "NOT_FOUND", SandboxFileNotFoundError),
    Row(Reason.METHOD_NOT_ALLOWED, 405, "UNIMPLEMENTED", UnsupportedError),
    Row(Reason.CONFLICT, 409, "FAILED_PRECONDITION", ConflictError),
    Row(Reason.WRONG_STATE, 409, "FAILED_PRECONDITION", WrongStateError),
    Row(Reason.SANDBOX_ENDED, 409, "FAILED_PRECONDITION", SandboxEndedError),
    Row(Reason.PORT_CLOSED, 409, "FAILED_PRECONDITION", PortClosedError),
    Row(Reason.FILE_CONFLICT, 409, "FAILED_PRECONDITION", SandboxFileConflictError),
    Row(Reason.FILE_EXISTS, 409, "FAILED_PRECONDITION", SandboxFileExistsError),
    Row(Reason.ALREADY_EXISTS, 409, "ALREADY_EXISTS", AlreadyExistsError),
    Row(Reason.ABORTED, 409, "ABORTED", ConflictError),
    Row(Reason.EVENTS_MISSED, 409, "ABORTED", EventsMissedError),
    Row(Reason.TOO_LARGE, 413, "RESOURCE_EXHAUSTED", PayloadTooLargeError),
    Row(Reason.AT_CAPACITY, 429, "RESOURCE_EXHAUSTED", AtCapacityError),
    Row(Reason.CANCELLED, 499, "CANCELLED", CancelledByServerError),
    Row(Reason.INTERNAL, 500, "INTERNAL", InternalServerError),
    Row(Reason.UNSUPPORTED, 501, "UNIMPLEMENTED", UnsupportedError),
    Row(Reason.RUNTIME_UNAVAILABLE, 501, "UNIMPLEMENTED", RuntimeUnavailableError),
    Row(Reason.UNAVAILABLE, 503, "UNAVAILABLE", UnavailableError),
    Row(Reason.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED", SandboxTimeoutError),
    Row(Reason.CONNECTION_FAILED, None, None, SandboxConnectionError),
    Row(Reason.OUTCOME_UNKNOWN, None, None, OutcomeUnknownError),
    Row(Reason.BAD_RESPONSE, None, None, ProtocolError),
    Row(Reason.CLIENT_CLOSED, None, None, ClientClosedError),
    Row(Reason.COMMAND_FAILED, None, None, CommandFailedError),
)
"""The table. A reason stands in it once; a test proves that it is complete."""

_ROW_OF_REASON: Final[dict[str, Row]] = {row.reason: row for row in TABLE}


def statuses_of(error: SandboxError) -> tuple[int | None, str | None]:
    """Return the HTTP and gRPC status that a server gives an error; None where only clients raise it."""
    row = _ROW_OF_REASON.get(error.reason)
    if row is None:
        return error.status_code, error.grpc_status
    return row.status_code, row.grpc_status


def error_for(
    reason: str,
    detail: str,
    *,
    status_code: int | None = None,
    grpc_status: str | None = None,
    retryable: bool | None = None,
    request_id: str = "",
    transport: str | None = None,
    operation: str | None = None,
    retry_after: float | None = None,
) -> SandboxError:
    """Make the error that the table names for `reason`. It has a status where a server reported one.

    A reason that the table does not know (a newer orchestrator's) falls back to the class of the
    status that came with it, and keeps its name. So does one that only a client can find, such as a
    lost connection: an answer cannot say that there was none.
    """
    row = _ROW_OF_REASON.get(reason)
    if row is not None and row.status_code is None and (status_code is not None or grpc_status is not None):
        row = None
    if row is None and status_code is not None:
        row = _ROW_OF_REASON[reason_of_status_code(status_code)]
    elif row is None and grpc_status is not None:
        row = _ROW_OF_REASON[reason_of_grpc_status(grpc_status)]
    elif row is None:
        row = _ROW_OF_REASON[Reason.INTERNAL]
    if status_code is not None or grpc_status is not None:
        # The other transport's name for the status follows from the row.
        status_code = row.status_code if status_code is None else status_code
        grpc_status = row.grpc_status if grpc_status is None else grpc_status
    return row.error(
        detail,
        reason=reason,
        status_code=status_code,
        grpc_status=grpc_status,
        retryable=row.retryable if retryable is None else retryable,
        request_id=request_id,
        transport=transport,
        operation=operation,
        retry_after=retry_after,
    )
