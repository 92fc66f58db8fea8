"""What a snapshot is: what its row in the database says of it."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, cast

from ...errors import InvalidArgumentError, Reason
from ...models import SandboxType, SnapshotInfo, StartRequest
from ..images.references import is_same_image

__all__ = [
    "MOST_LAYERS",
    "Layer",
    "Manifest",
    "inherited",
    "layer_name",
    "measure",
    "new_id",
    "open_file",
    "refused",
]

# Each is a layer to overlayfs, which has a page for the names of all.
MOST_LAYERS: Final = 8
"""Layers of a snapshot; the next one merges them."""

_CHUNK: Final = 1024 * 1024
_INHERITED: Final = (
    "memory_mb",
    "cpu_cores",
    "pids",
    "shm_mb",
    "disk_mb",
    "network",
    "ttl_seconds",
    "env",
    "user",
    "volumes",
)
_NOTHING: Final = StartRequest()


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the layers that a snapshot of files is made of, as a tar file.

    Attributes:
        path: The file, never changed.
        size: Its size in bytes.
        digest: Its SHA-256.
    """

    path: Path
    size: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> Layer:
        """Return what a file is that was just written."""
        with open_file(path) as file:
            return cls(path, *measure(file))

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open it.

        Raises:
            InvalidArgumentError: It is not what it was when it was made.
        """
        with open_file(self.path) as file:
            if measure(file) != (self.size, self.digest):
                raise refused(f"snapshot {str(self.path)!r} was changed after it had been made")
            yield file


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is.

    Attributes:
        id: Its ID.
        path: The directory of its files; of one that an older version made, its only file.
        runtime: The runtime that made it, and the only one that can start from it.
        image: The image that it lies on.
        image_digest: Digest of that image; empty where it has none.
        created: When it was made, in seconds of Unix time.
        files: Size in bytes and SHA-256 of each file by its name; the name is empty where `path` is the file.
        details: What the runtime needs to start from it, by names of its own.
        start: What the start of its sandbox asked for, as far as a start from it has that, too.
        bytes_elsewhere: What the runtime keeps of it outside of the store, in bytes.
        name: Its name; empty for none.
        labels: Its labels, each NAME=value.
    """

    id: str
    path: Path
    runtime: str
    image: str
    image_digest: str = ""
    created: float = 0.0
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    start: StartRequest = _NOTHING
    bytes_elsewhere: int = 0
    name: str = ""
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all that is kept of it."""
        return self.bytes_elsewhere + sum(size for size, _ in self.files.values())

    @property
    def layers(self) -> list[Layer]:
        """Its files as layers, the lowest first."""
        return [Layer(self.file(name), size, digest) for name, (size, digest) in sorted(self.files.items())]

    @property
    def info(self) -> SnapshotInfo:
        """What clients are told of it."""
        return SnapshotInfo(
            snapshot_path=str(self.path),
            type=cast(SandboxType, self.runtime),
            image=self.image,
            size_bytes=self.size,
            created_at=self.created,
            id=self.id,
            name=self.name,
            labels=self.labels,
        )

    def file(self, name: str) -> Path:
        """Return where one of its files is."""
        return self.path / name if name else self.path

    def image_for(self, asked: str) -> str:
        """Return the image to start from, which a start may name again but not change."""
        if asked and not is_same_image(self.image, asked):
            raise refused(f"the snapshot is of image {self.image!r}, not {asked!r}")
        return self.image

    def require_runtime(self, runtime: str) -> None:
        """Raise InvalidArgumentError where another runtime made it."""
        if self.runtime != runtime:
            raise refused(f"the snapshot was made by the {self.runtime} runtime, not by {runtime}")


def new_id() -> str:
    """Return the ID of a new snapshot: 80 random bits."""
    return f"snap-{secrets.token_hex(10)}"


def layer_name(number: int) -> str:
    """Return the name of the file of a layer, counted from the lowest."""
    return f"{number:02}"


def inherited(start: StartRequest) -> dict[str, Any]:
    """Return by name what is kept of the start of a sandbox for starts from a snapshot of it."""
    return {name: getattr(start, name) for name in _INHERITED}


def open_file(path: Path) -> IO[bytes]:
    """Open a file of a snapshot, never a link to one; raise InvalidArgumentError where that cannot be."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refused(f"snapshot {str(path)!r}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refused(f"snapshot {str(path)!r} is not a file")
    return os.fdopen(descriptor, "rb")


def measure(file: IO[bytes]) -> tuple[int, str]:
    """Return size and SHA-256 of a file, leaving it at its start."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def refused(detail: str) -> InvalidArgumentError:
    """Return the error of a snapshot that cannot be used."""
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
