"""Every exception that flash_sandbox raises, and the one table that maps failures between transports.

::

    SandboxError
    ├── SandboxHTTPError                  the orchestrator (or a proxy before it) refused or failed
    │   ├── InvalidArgumentError            400  INVALID_ARGUMENT      (also ValueError)
    │   ├── AuthenticationError             401  UNAUTHENTICATED
    │   ├── PermissionDeniedError           403  PERMISSION_DENIED
    │   │   ├── NetworkRefusedError           403  PERMISSION_DENIED     the operator or the host forbids it
    │   │   ├── OriginRefusedError            403  PERMISSION_DENIED     a web page of another origin
    │   │   └── SandboxFilePermissionError    403  PERMISSION_DENIED     (also PermissionError)
    │   ├── NotFoundError                   404  NOT_FOUND
    │   │   ├── SandboxNotFoundError          404  NOT_FOUND
    │   │   ├── ProcessNotFoundError          404  NOT_FOUND
    │   │   └── SandboxFileNotFoundError      404  NOT_FOUND             (also FileNotFoundError)
    │   ├── ConflictError                   409  FAILED_PRECONDITION, ALREADY_EXISTS, ABORTED
    │   │   ├── WrongStateError               409  FAILED_PRECONDITION
    │   │   ├── AlreadyExistsError            409  ALREADY_EXISTS        a name or an idempotency key
    │   │   ├── EventsMissedError             409  ABORTED
    │   │   ├── SandboxEndedError             409  FAILED_PRECONDITION   while the command ran
    │   │   ├── PortClosedError               409  FAILED_PRECONDITION   nothing listens, or no longer
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

`PermissionDeniedError`, `NotFoundError` and `ConflictError` themselves are for answers that do not say what.
The name `SandboxHTTPError` is the published one; it catches what either transport reports.
The gRPC names are those of google.golang.org/grpc/codes; numbers in `GRPC_STATUS`.
"""

from __future__ import annotations

from .classes import (
    MAX_DETAIL_BYTES,
    AlreadyExistsError,
    AtCapacityError,
    AuthenticationError,
    CancelledByServerError,
    ClientClosedError,
    CommandFailedError,
    CommandResult,
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
    SandboxHTTPError,
    SandboxNotFoundError,
    SandboxTimeoutError,
    UnavailableError,
    UnsupportedError,
    WrongStateError,
    shorten,
)
from .reasons import GRPC_STATUS, Reason, reason_of_grpc_status, reason_of_status_code
from .table import TABLE, Row, error_for, statuses_of

__all__ = [
    "GRPC_STATUS",
    "MAX_DETAIL_BYTES",
    "TABLE",
    "AlreadyExistsError",
    "AtCapacityError",
    "AuthenticationError",
    "CancelledByServerError",
    "ClientClosedError",
    "CommandFailedError",
    "CommandResult",
    "ConflictError",
    "EventsMissedError",
    "InternalServerError",
    "InvalidArgumentError",
    "NetworkRefusedError",
    "NotFoundError",
    "OriginRefusedError",
    "OutcomeUnknownError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PortClosedError",
    "ProcessNotFoundError",
    "ProtocolError",
    "Reason",
    "Row",
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
    "WrongStateError",
    "error_for",
    "reason_of_grpc_status",
    "reason_of_status_code",
    "shorten",
    "statuses_of",
]
