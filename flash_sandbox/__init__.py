"""Run untrusted code in sandboxes: one interface over HTTP and gRPC.

The transports' libraries are loaded when a client of that transport is made, not by this import.
"""

from __future__ import annotations

import types

from .clients.aio.api import AsyncSandboxAPI
from .clients.aio.client import AsyncHTTPClient, AsyncSandboxClient, connect_async
from .clients.aio.commands import AsyncCommands, AsyncProcess
from .clients.aio.connections import AsyncPortConnection
from .clients.aio.files import AsyncFiles
from .clients.aio.ports import AsyncPorts
from .clients.aio.sandbox import AsyncSandbox
from .clients.aio.streams import AsyncArchive, AsyncEvents, AsyncExecStream, AsyncFrames
from .clients.async_forwarding import AsyncForward
from .clients.forwarding import Forward
from .clients.sync.api import SandboxAPI
from .clients.sync.client import HTTPClient, SandboxClient, connect
from .clients.sync.commands import Commands, Process
from .clients.sync.connections import PortConnection
from .clients.sync.files import Files
from .clients.sync.ports import Ports
from .clients.sync.sandbox import Sandbox
from .clients.sync.streams import Archive, Events, ExecStream, Frames
from .errors import (
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
    WrongStateError,
)
from .models import (
    DownloadArchiveChunk,
    EndCause,
    Event,
    EventType,
    ExecFrame,
    ExecResult,
    FileInfo,
    FileType,
    FrameType,
    GetLogsResult,
    IdleAction,
    ListSandboxesResult,
    MetricsPoint,
    MetricsResult,
    NetworkMode,
    PortInfo,
    ProcessInfo,
    RunPythonResult,
    SandboxInfo,
    SandboxStatus,
    SandboxType,
    SnapshotInfo,
    SnapshotResult,
    StartType,
    VolumeInfo,
)
from .models.network import Network
from .models.secret import Secret
from .models.volumes import Volume
from .options import NOT_GIVEN, NotGiven, Progress
from .transports.base import AsyncGRPCChannel, AsyncSession, GRPCChannel, Metadata, Session

__all__ = [
    "NOT_GIVEN",
    "AlreadyExistsError",
    "Archive",
    "AsyncArchive",
    "AsyncCommands",
    "AsyncEvents",
    "AsyncExecStream",
    "AsyncFiles",
    "AsyncForward",
    "AsyncFrames",
    "AsyncGRPCChannel",
    "AsyncHTTPClient",
    "AsyncPortConnection",
    "AsyncPorts",
    "AsyncProcess",
    "AsyncSandbox",
    "AsyncSandboxAPI",
    "AsyncSandboxClient",
    "AsyncSession",
    "AtCapacityError",
    "AuthenticationError",
    "CancelledByServerError",
    "ClientClosedError",
    "CommandFailedError",
    "CommandResult",
    "Commands",
    "ConflictError",
    "DownloadArchiveChunk",
    "EndCause",
    "Event",
    "EventType",
    "Events",
    "EventsMissedError",
    "ExecFrame",
    "ExecResult",
    "ExecStream",
    "FileInfo",
    "FileType",
    "Files",
    "Forward",
    "FrameType",
    "Frames",
    "GRPCChannel",
    "GetLogsResult",
    "HTTPClient",
    "IdleAction",
    "InternalServerError",
    "InvalidArgumentError",
    "ListSandboxesResult",
    "Metadata",
    "MetricsPoint",
    "MetricsResult",
    "Network",
    "NetworkMode",
    "NetworkRefusedError",
    "NotFoundError",
    "NotGiven",
    "OriginRefusedError",
    "OutcomeUnknownError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PortClosedError",
    "PortConnection",
    "PortInfo",
    "Ports",
    "Process",
    "ProcessInfo",
    "ProcessNotFoundError",
    "Progress",
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
    "SandboxStatus",
    "SandboxTimeoutError",
    "SandboxType",
    "Secret",
    "Session",
    "SnapshotInfo",
    "SnapshotResult",
    "StartType",
    "UnavailableError",
    "UnsupportedError",
    "Volume",
    "VolumeInfo",
    "WrongStateError",
    "__version__",
    "connect",
    "connect_async",
]

# What a user sees in a traceback is where the user imported it from.
for _value in [globals().get(name) for name in __all__]:
    if isinstance(_value, type | types.FunctionType):
        _value.__module__ = __name__
del _value


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("flash-sandbox")
    except PackageNotFoundError:
        return "0+unknown"
