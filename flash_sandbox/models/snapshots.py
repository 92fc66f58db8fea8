"""What is asked and answered of the snapshots in the orchestrator's store."""

from __future__ import annotations

from dataclasses import dataclass

from .bases import Empty
from .checks import UINT64, argument, integer, number, refuse, text
from .files import MAX_PATH_BYTES

__all__ = [
    "ListSnapshotsRequest",
    "ListSnapshotsResult",
    "RemoveSnapshotRequest",
    "RemoveSnapshotResult",
    "SnapshotInfo",
]


class ListSnapshotsRequest(Empty):
    """What `list_snapshots` asks for, which is everything."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What is known of a snapshot.

    Attributes:
        snapshot_path: Path in the orchestrator's store; `start_sandbox` and `remove_snapshot` take it.
        type: Runtime that made it, and the only one that starts from it.
        image: Image that it lies on.
        size_bytes: Size of its files in the store; what an engine keeps of it is not counted.
        created_at: When it was made, in seconds of Unix time.
    """

    snapshot_path: str = ""
    type: str = ""
    image: str = ""
    size_bytes: int = 0
    created_at: float = 0.0

    def __post_init__(self) -> None:
        for name in ("snapshot_path", "type", "image"):
            text(name, getattr(self, name))
        integer("size_bytes", self.size_bytes, UINT64)
        object.__setattr__(self, "created_at", number("created_at", self.created_at))


@dataclass(frozen=True, slots=True)
class ListSnapshotsResult:
    """The answer to `list_snapshots`: the snapshots, the oldest first."""

    snapshots: tuple[SnapshotInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveSnapshotRequest:
    """What `remove_snapshot` asks for: the path of the snapshot."""

    snapshot_path: str

    def __post_init__(self) -> None:
        path = argument("snapshot_path", self.snapshot_path)
        if not 1 <= len(path.encode()) <= MAX_PATH_BYTES:
            raise refuse(f"snapshot_path must be 1 to {MAX_PATH_BYTES} bytes")


class RemoveSnapshotResult(Empty):
    """The answer to `remove_snapshot`, which says nothing more."""

    __slots__ = ()
