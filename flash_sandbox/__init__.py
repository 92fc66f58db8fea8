"""Run untrusted code in sandboxes: one interface over HTTP and gRPC.

The transports' libraries are loaded when a client of that transport is made, not by this import.
"""

from __future__ import annotations

from .clients.aio.api import AsyncSandboxAPI
from .clients.aio.client import AsyncHTTPClient, AsyncSandboxClient, connect_async
from .clients.aio.commands import AsyncCommands, AsyncProcess
from .clients.aio.files import AsyncFiles
from .clients.aio.sandbox import AsyncSandbox
from .clients.aio.streams import AsyncArchive, AsyncEvents, AsyncExecStream, AsyncFrames
from .clients.sync.api import SandboxAPI
from .clients.sync.client import HTTPClient, SandboxClient, connect
from .clients.sync.commands import Commands, Process
from .clients.sync.files import Files
from .clients.sync.sandbox import Sandbox
from .clients.sync.streams import Archive, Events, ExecStream, Frames
from .errors import (
    AtCapacityError,
    AuthenticationError,
    CancelledByServerError,
    ClientClosedError,
    CommandFailedError,
    CommandResult,
    ConflictError,
    InternalServerError,
    InvalidArgumentError,
    NotFoundError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    PermissionDeniedError,
    ProcessNotFoundError,
    ProtocolError,
    Reason,
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
)
from .models import (
    Event,
    ExecFrame,
    ExecResult,
    FileInfo,
    GetLogsResult,
    ListSandboxesResult,
    MetricsPoint,
    MetricsResult,
    ProcessInfo,
    RunPythonResult,
    SandboxInfo,
    SnapshotInfo,
    SnapshotResult,
)

__all__ = [
    "Archive",
    "AsyncArchive",
    "AsyncCommands",
    "AsyncEvents",
    "AsyncExecStream",
    "AsyncFiles",
    "AsyncFrames",
    "AsyncHTTPClient",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSandboxAPI",
    "AsyncSandboxClient",
    "AtCapacityError",
    "AuthenticationError",
    "CancelledByServerError",
    "ClientClosedError",
    "CommandFailedError",
    "CommandResult",
    "Commands",
    "ConflictError",
    "Event",
    "Events",
    "ExecFrame",
    "ExecResult",
    "ExecStream",
    "FileInfo",
    "Files",
    "Frames",
    "GetLogsResult",
    "HTTPClient",
    "InternalServerError",
    "InvalidArgumentError",
    "ListSandboxesResult",
    "MetricsPoint",
    "MetricsResult",
    "NotFoundError",
    "OutcomeUnknownError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "Process",
    "ProcessInfo",
    "ProcessNotFoundError",
    "ProtocolError",
    "Reason",
    "RunPythonResult",
    "RuntimeUnavailableError",
    "Sandbox",
    "SandboxAPI",
    "SandboxClient",
    "SandboxConnectionError",
    "SandboxEndedError",
    "SandboxError",
    "SandboxFileConflictError",
    "SandboxFileExistsError",
    "SandboxFileNotFoundError",
    "SandboxFilePermissionError",
    "SandboxHTTPError",
    "SandboxInfo",
    "SandboxNotFoundError",
    "SandboxTimeoutError",
    "SnapshotInfo",
    "SnapshotResult",
    "UnavailableError",
    "UnsupportedError",
    "__version__",
    "connect",
    "connect_async",
]

# What a user sees in a traceback is where the user imported it from.
for _name in __all__:
    if _name != "__version__":
        globals()[_name].__module__ = __name__
del _name


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("flash-sandbox")
    except PackageNotFoundError:
        return "0+unknown"
