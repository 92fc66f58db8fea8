"""Every exception that flash_sandbox raises, and the one table that maps failures between transports.

::

    SandboxError
    ├── SandboxHTTPError                  the orchestrator (or a proxy before it) refused or failed
    │   ├── InvalidArgumentError            400  INVALID_ARGUMENT      (also ValueError)
    │   ├── AuthenticationError             401  UNAUTHENTICATED
    │   ├── PermissionDeniedError           403  PERMISSION_DENIED
    │   │   └── SandboxFilePermissionError    403  PERMISSION_DENIED     (also PermissionError)
    │   ├── NotFoundError                   404  NOT_FOUND
    │   │   ├── SandboxNotFoundError          404  NOT_FOUND
    │   │   ├── ProcessNotFoundError          404  NOT_FOUND
    │   │   └── SandboxFileNotFoundError      404  NOT_FOUND             (also FileNotFoundError)
    │   ├── ConflictError                   409  FAILED_PRECONDITION, ALREADY_EXISTS, ABORTED
    │   │   ├── SandboxEndedError             409  FAILED_PRECONDITION   while the command ran
    │   │   └── SandboxFileConflictError      409  FAILED_PRECONDITION   (also OSError)
    │   │       └── SandboxFileExistsError      409  FAILED_PRECONDITION   (also FileExistsError)
    │   ├── PayloadTooLargeError            413  RESOURCE_EXHAUSTED
    │   ├── AtCapacityError                 429  RESOURCE_EXHAUSTED
    │   ├── CancelledByServerError          499  CANCELLED
    │   ├── InternalServerError             500  INTERNAL, UNKNOWN, DATA_LOSS
    │   ├── UnsupportedError                501  UNIMPLEMENTED
    │   │   └── RuntimeUnavailableError     501  UNIMPLEMENTED         the host lacks the runtime
    │   ├── UnavailableError                503  UNAVAILABLE
    │   └── SandboxTimeoutError             504  DEADLINE_EXCEEDED     (also TimeoutError)
    ├── SandboxConnectionError            no answer: refused, cut off, not resolved (also ConnectionError)
    │   └── OutcomeUnknownError             the connection was lost after the request was sent
    ├── CommandFailedError                a command failed whose result was to be checked
    ├── ProtocolError                     an answer that is not one of an orchestrator
    └── ClientClosedError                 the client was closed (also RuntimeError)

The name `SandboxHTTPError` is the published one; it catches what either transport reports.
The gRPC names are those of google.golang.org/grpc/codes; numbers in `GRPC_STATUS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Protocol

__all__ = [
    "AtCapacityError",
    "AuthenticationError",
    "CancelledByServerError",
    "ClientClosedError",
    "CommandFailedError",
    "CommandResult",
    "ConflictError",
    "InternalServerError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "ProcessNotFoundError",
    "ProtocolError",
    "Reason",
    "RuntimeUnavailableError",
    "SandboxConnectionError",
    "SandboxEndedError",
    "SandboxError",
    "SandboxFileConflictError",
    "SandboxFileExistsError",
    "SandboxFileNotFoundError",
    "SandboxFilePermissionError",
    "SandboxHTTPError",
    "SandboxNotFoundError",
    "SandboxTimeoutError",
    "UnavailableError",
    "UnsupportedError",
]

MAX_DETAIL_BYTES: Final = 4096
"""Error text is cut here: 64 KiB of it would end a whole gRPC connection (RFC 9113, header list size)."""

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
    NOT_FOUND = "not_found"
    PROCESS_NOT_FOUND = "process_not_found"
    FILE_NOT_FOUND = "file_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    WRONG_STATE = "wrong_state"
    SANDBOX_ENDED = "sandbox_ended"
    FILE_CONFLICT = "file_conflict"
    FILE_EXISTS = "file_exists"
    ALREADY_EXISTS = "already_exists"
    ABORTED = "aborted"
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


class SandboxError(Exception):
    """Base of every error that flash_sandbox raises. The cause is chained as ``__cause__``.

    Attributes:
        detail: The cause in words.
        reason: The cause as a stable name, one of `Reason` from this orchestrator.
        status_code: HTTP status, also where gRPC carried the error; None where no server reported it.
        grpc_status: Name of the gRPC status, also where HTTP carried it; None where no server reported it.
        retryable: Whether the same call may succeed when it is repeated later.
        request_id: ID of the request, as the orchestrator's log has it; empty where it gave none.
        transport: ``http`` or ``grpc``; None for an error raised before any transport.
        operation: Name of the operation, such as ``exec_command``; None where there was none.
        retry_after: Seconds that the server asks to wait before the next try; None where it does not.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL

    def __init__(
        self,
        detail: str = "",
        *,
        reason: str | None = None,
        status_code: int | None = None,
        grpc_status: str | None = None,
        retryable: bool | None = None,
        request_id: str = "",
        transport: str | None = None,
        operation: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        row = _ROW_OF_REASON.get(reason or self.default_reason)
        self.detail = shorten(detail)
        self.reason: str = str(reason or self.default_reason)
        self.status_code = status_code
        self.grpc_status = grpc_status
        self.retryable = retryable if retryable is not None else bool(row and row.retryable)
        self.request_id = request_id
        self.transport = transport
        self.operation = operation
        self.retry_after = retry_after
        super().__init__(self.detail)

    def __str__(self) -> str:
        text = f"{self.operation}: " if self.operation else ""
        text += self.detail or self.reason
        return f"{text} [request {self.request_id}]" if self.request_id else text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.detail, self.fields()))

    def fields(self) -> dict[str, object]:
        """Return every attribute but `detail` by name."""
        return {name: value for name, value in vars(self).items() if name != "detail"}


class SandboxHTTPError(SandboxError):
    """Report that the orchestrator, or a proxy before it, refused or failed, over either transport."""


class InvalidArgumentError(SandboxHTTPError, ValueError):
    """Refuse a value that is malformed or out of range, at the client or at the orchestrator (400)."""

    default_reason = Reason.INVALID_ARGUMENT


class AuthenticationError(SandboxHTTPError):
    """Report that the API key is missing or wrong (401)."""

    default_reason = Reason.UNAUTHENTICATED


class PermissionDeniedError(SandboxHTTPError):
    """Report that this caller may not do this (403).

    Its reason is ``network_refused`` where a start asks for a network that the operator forbids.
    """

    default_reason = Reason.PERMISSION_DENIED


class SandboxFilePermissionError(PermissionDeniedError, PermissionError):
    """Report that what runs in the sandbox may not use this file (403)."""

    default_reason = Reason.FILE_DENIED


class NotFoundError(SandboxHTTPError):
    """Report that something is not there; the base of the classes that say what (404)."""

    default_reason = Reason.NOT_FOUND


class SandboxNotFoundError(NotFoundError):
    """Report that there is no such sandbox, or that it was stopped (404)."""


class ProcessNotFoundError(NotFoundError):
    """Report that the sandbox has no such process (404)."""

    default_reason = Reason.PROCESS_NOT_FOUND


class SandboxFileNotFoundError(NotFoundError, FileNotFoundError):
    """Report that the sandbox has no such file or directory (404)."""

    default_reason = Reason.FILE_NOT_FOUND


class ConflictError(SandboxHTTPError):
    """Report that the sandbox, or a file in it, is in a state in which this cannot be done (409)."""

    default_reason = Reason.WRONG_STATE


class SandboxEndedError(ConflictError):
    """Report that the sandbox ended, or was stopped, while the command ran (409)."""

    default_reason = Reason.SANDBOX_ENDED


class SandboxFileConflictError(ConflictError, OSError):
    """Report that a file in the sandbox is not of the kind or in the state that this needs (409)."""

    default_reason = Reason.FILE_CONFLICT


class SandboxFileExistsError(SandboxFileConflictError, FileExistsError):
    """Report that there is a file or directory already (409)."""

    default_reason = Reason.FILE_EXISTS


class PayloadTooLargeError(SandboxHTTPError):
    """Refuse a message that is larger than either transport takes (413)."""

    default_reason = Reason.TOO_LARGE


class AtCapacityError(SandboxHTTPError):
    """Report that the orchestrator has as much to do as it may (429)."""

    default_reason = Reason.AT_CAPACITY


class CancelledByServerError(SandboxHTTPError):
    """Report that the orchestrator gave up the call, for example because it is shutting down (499)."""

    default_reason = Reason.CANCELLED


class InternalServerError(SandboxHTTPError):
    """Report that the orchestrator failed; its log has the cause under the request ID (500)."""

    default_reason = Reason.INTERNAL


class UnsupportedError(SandboxHTTPError):
    """Refuse what this orchestrator or this runtime cannot do (501)."""

    default_reason = Reason.UNSUPPORTED


class RuntimeUnavailableError(UnsupportedError):
    """Refuse a runtime that the orchestrator's host lacks; the detail says what is missing (501)."""

    default_reason = Reason.RUNTIME_UNAVAILABLE


class UnavailableError(SandboxHTTPError):
    """Report that the orchestrator cannot answer now but may do so later (503)."""

    default_reason = Reason.UNAVAILABLE


class SandboxTimeoutError(SandboxHTTPError, TimeoutError):
    """Report that the time-out passed before the answer came (504). What was asked may have been done."""

    default_reason = Reason.DEADLINE_EXCEEDED


class SandboxConnectionError(SandboxError, ConnectionError):
    """Report that no connection could be made, or that it broke; nothing is known to have been done."""

    default_reason = Reason.CONNECTION_FAILED


class OutcomeUnknownError(SandboxConnectionError):
    """Report that the answer was lost after the request was sent: it may or may not have been done."""

    default_reason = Reason.OUTCOME_UNKNOWN


class ProtocolError(SandboxError):
    """Report an answer that no orchestrator gives: not JSON, cut short, of a wrong type."""

    default_reason = Reason.BAD_RESPONSE


class CommandResult(Protocol):
    """What a command printed and how it ended: the part of `ExecResult` that errors know."""

    @property
    def stdout(self) -> str:
        """Return standard output as text."""
        ...

    @property
    def stderr(self) -> str:
        """Return standard error as text."""
        ...

    @property
    def exit_code(self) -> int:
        """Return the exit status."""
        ...

    @property
    def signal(self) -> int:
        """Return the signal that ended it; 0 where none did."""
        ...

    @property
    def timed_out(self) -> bool:
        """Tell whether it was ended because its time had passed."""
        ...


class CommandFailedError(SandboxError):
    """Report a command that did not end with status 0, from `ExecResult.check`.

    Attributes:
        result: What it printed and how it ended, an `ExecResult`.
    """

    default_reason = Reason.COMMAND_FAILED
    result: CommandResult | None = None


class ClientClosedError(SandboxError, RuntimeError):
    """Refuse a call on a client that was closed."""

    default_reason = Reason.CLIENT_CLOSED


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the same failure as every side names it."""

    reason: Reason
    status_code: int | None
    grpc_status: str | None
    error: type[SandboxError]
    retryable: bool = False


TABLE: Final[tuple[Row, ...]] = (
    Row(Reason.INVALID_ARGUMENT, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.UNKNOWN_RUNTIME, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.IMAGE_NOT_FOUND, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.SNAPSHOT_REFUSED, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.START_FAILED, 400, "INVALID_ARGUMENT", InvalidArgumentError),
    Row(Reason.UNAUTHENTICATED, 401, "UNAUTHENTICATED", AuthenticationError),
    Row(Reason.PERMISSION_DENIED, 403, "PERMISSION_DENIED", PermissionDeniedError),
    Row(Reason.FILE_DENIED, 403, "PERMISSION_DENIED", SandboxFilePermissionError),
    Row(Reason.NETWORK_REFUSED, 403, "PERMISSION_DENIED", PermissionDeniedError),
    Row(Reason.NOT_FOUND, 404, "NOT_FOUND", SandboxNotFoundError),
    Row(Reason.PROCESS_NOT_FOUND, 404, "NOT_FOUND", ProcessNotFoundError),
    Row(Reason.FILE_NOT_FOUND, 404, "NOT_FOUND", SandboxFileNotFoundError),
    Row(Reason.METHOD_NOT_ALLOWED, 405, "UNIMPLEMENTED", UnsupportedError),
    Row(Reason.WRONG_STATE, 409, "FAILED_PRECONDITION", ConflictError),
    Row(Reason.SANDBOX_ENDED, 409, "FAILED_PRECONDITION", SandboxEndedError),
    Row(Reason.FILE_CONFLICT, 409, "FAILED_PRECONDITION", SandboxFileConflictError),
    Row(Reason.FILE_EXISTS, 409, "FAILED_PRECONDITION", SandboxFileExistsError),
    Row(Reason.ALREADY_EXISTS, 409, "ALREADY_EXISTS", ConflictError),
    Row(Reason.ABORTED, 409, "ABORTED", ConflictError, retryable=True),
    Row(Reason.TOO_LARGE, 413, "RESOURCE_EXHAUSTED", PayloadTooLargeError),
    Row(Reason.AT_CAPACITY, 429, "RESOURCE_EXHAUSTED", AtCapacityError, retryable=True),
    Row(Reason.CANCELLED, 499, "CANCELLED", CancelledByServerError),
    Row(Reason.INTERNAL, 500, "INTERNAL", InternalServerError),
    Row(Reason.UNSUPPORTED, 501, "UNIMPLEMENTED", UnsupportedError),
    Row(Reason.RUNTIME_UNAVAILABLE, 501, "UNIMPLEMENTED", RuntimeUnavailableError),
    Row(Reason.UNAVAILABLE, 503, "UNAVAILABLE", UnavailableError, retryable=True),
    Row(Reason.DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED", SandboxTimeoutError),
    Row(Reason.CONNECTION_FAILED, None, None, SandboxConnectionError, retryable=True),
    Row(Reason.OUTCOME_UNKNOWN, None, None, OutcomeUnknownError),
    Row(Reason.BAD_RESPONSE, None, None, ProtocolError),
    Row(Reason.CLIENT_CLOSED, None, None, ClientClosedError),
    Row(Reason.COMMAND_FAILED, None, None, CommandFailedError),
)
"""The table. A reason stands in it once; a test proves that it is complete."""

_ROW_OF_REASON: Final[dict[str, Row]] = {row.reason: row for row in TABLE}

_REASON_OF_STATUS_CODE: Final[dict[int, Reason]] = {
    400: Reason.INVALID_ARGUMENT,
    401: Reason.UNAUTHENTICATED,
    403: Reason.PERMISSION_DENIED,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD_NOT_ALLOWED,
    408: Reason.DEADLINE_EXCEEDED,
    409: Reason.WRONG_STATE,
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
    "FAILED_PRECONDITION": Reason.WRONG_STATE,
    "ABORTED": Reason.ABORTED,
    "OUT_OF_RANGE": Reason.INVALID_ARGUMENT,
    "UNIMPLEMENTED": Reason.UNSUPPORTED,
    "INTERNAL": Reason.INTERNAL,
    "UNAVAILABLE": Reason.UNAVAILABLE,
    "DATA_LOSS": Reason.INTERNAL,
    "UNAUTHENTICATED": Reason.UNAUTHENTICATED,
}


def statuses_of(error: SandboxError) -> tuple[int | None, str | None]:
    """Return the HTTP and gRPC status that a server gives an error; None where only clients raise it."""
    row = _ROW_OF_REASON.get(error.reason)
    if row is None:
        return error.status_code, error.grpc_status
    return row.status_code, row.grpc_status


def reason_of_status_code(status_code: int) -> Reason:
    """Return the reason that an HTTP status alone tells, for an answer without our error body."""
    known = _REASON_OF_STATUS_CODE.get(status_code)
    if known is not None:
        return known
    return Reason.INVALID_ARGUMENT if 400 <= status_code < 500 else Reason.INTERNAL


def reason_of_grpc_status(grpc_status: str) -> Reason:
    """Return the reason that a gRPC status alone tells, for an answer without our status details."""
    return _REASON_OF_GRPC_STATUS.get(grpc_status, Reason.INTERNAL)


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


def shorten(detail: str, limit: int = MAX_DETAIL_BYTES) -> str:
    """Cut `detail` to at most `limit` bytes of UTF-8 and say so, or return it as it is."""
    if len(detail) * 4 <= limit:
        return detail
    encoded = detail.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return detail
    note = f" … [{len(encoded)} bytes in all]"
    return encoded[: limit - len(note.encode())].decode("utf-8", "ignore") + note


def _rebuild(kind: type[SandboxError], detail: str, fields: dict[str, object]) -> SandboxError:
    error = kind(detail)
    for name, value in fields.items():
        setattr(error, name, value)
    return error
