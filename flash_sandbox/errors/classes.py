"""The classes of errors; the tree of them is in `flash_sandbox.errors`."""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from .reasons import RETRYABLE, Reason

__all__ = [
    "MAX_DETAIL_BYTES",
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
    "shorten",
]

MAX_DETAIL_BYTES: Final = 4096
"""Error text is cut here: 64 KiB of it would end a whole gRPC connection (RFC 9113, header list size)."""


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
        self.detail = shorten(detail)
        self.reason: str = str(reason or self.default_reason)
        self.status_code = status_code
        self.grpc_status = grpc_status
        self.retryable = retryable if retryable is not None else self.reason in RETRYABLE
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
    """Report that something is not allowed; the base of the classes that say what (403)."""

    default_reason = Reason.PERMISSION_DENIED


class NetworkRefusedError(PermissionDeniedError):
    """Refuse a network that the operator, or the host, lets no sandbox have (403)."""

    default_reason = Reason.NETWORK_REFUSED


class OriginRefusedError(PermissionDeniedError):
    """Refuse what a web page of another origin may have sent (403)."""

    default_reason = Reason.ORIGIN_REFUSED


class SandboxFilePermissionError(PermissionDeniedError, PermissionError):
    """Report that what runs in the sandbox may not use this file (403)."""

    default_reason = Reason.FILE_DENIED


class NotFoundError(SandboxHTTPError):
    """Report that something is not there; the base of the classes that say what (404)."""

    default_reason = Reason.NOT_FOUND


class SandboxNotFoundError(NotFoundError):
    """Report that there is no such sandbox, or that it was stopped (404)."""

    default_reason = Reason.SANDBOX_NOT_FOUND


class ProcessNotFoundError(NotFoundError):
    """Report that the sandbox has no such process (404)."""

    default_reason = Reason.PROCESS_NOT_FOUND


class SandboxFileNotFoundError(NotFoundError, FileNotFoundError):
    """Report that the sandbox has no such file or directory (404)."""

    default_reason = Reason.FILE_NOT_FOUND


class ConflictError(SandboxHTTPError):
    """Report that something is in the way; the base of the classes that say what (409)."""

    default_reason = Reason.CONFLICT


class WrongStateError(ConflictError):
    """Report that the sandbox, or a process in it, is in a state in which this cannot be done (409)."""

    default_reason = Reason.WRONG_STATE


class AlreadyExistsError(ConflictError):
    """Report that another sandbox has this name or this idempotency key (409)."""

    default_reason = Reason.ALREADY_EXISTS


class EventsMissedError(ConflictError):
    """Report that events may have been missed since a token: list the sandboxes, and watch anew (409)."""

    default_reason = Reason.EVENTS_MISSED


class SandboxEndedError(ConflictError):
    """Report that the sandbox ended, or was stopped, while the command ran (409)."""

    default_reason = Reason.SANDBOX_ENDED


class PortClosedError(ConflictError):
    """Report that nothing in the sandbox listens on the port, or that the connection to it ended (409)."""

    default_reason = Reason.PORT_CLOSED


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
