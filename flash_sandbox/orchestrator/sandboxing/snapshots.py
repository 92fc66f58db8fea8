"""Snapshots in the orchestrator's store."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ...errors import InvalidArgumentError, Reason
from . import archive

__all__ = ["Snapshot", "Snapshots"]

_SUFFIX = ".tar"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is open for reading.

    Attributes:
        file: The writable layer as a tar file.
        runtime: The runtime that wrote it.
        image: The image that the layer lies on.
    """

    file: IO[bytes]
    runtime: str
    image: str

    def image_for(self, asked: str) -> str:
        """Return the image to start from, which a start may name again but not change."""
        if asked not in ("", self.image):
            raise _refused(f"the snapshot is of image {self.image!r}, not {asked!r}")
        return self.image


class Snapshots:
    """The directory that holds snapshots, each one file of mode 0600."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        """Make ready: remove what was being written when an orchestrator was killed."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for partial in self._directory.glob("*.partial"):
            partial.unlink()

    def write(self, layer: Path, runtime: str, image: str) -> Path:
        """Write a layer, at rest, as a new snapshot and return its path."""
        path = self._directory / f"{secrets.token_hex(16)}{_SUFFIX}"
        archive.pack_layer(layer, path, {"runtime": runtime, "image": image})
        return path

    @contextmanager
    def reading(self, path: str) -> Iterator[Snapshot | None]:
        """Open the snapshot at a path that a client named; None for no path.

        Raises:
            InvalidArgumentError: If it is not one of this store's.
        """
        if not path:
            yield None
            return
        name = os.path.basename(path)
        # The name alone decides, so that neither ".." nor a link can lead anywhere else.
        if path != str(self._directory / name) or not name.endswith(_SUFFIX):
            raise _refused(f"{path!r} is not a snapshot in this orchestrator's store")
        try:
            descriptor = os.open(
                self._directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError as error:
            raise _refused(f"snapshot {path!r}: {error.strerror}") from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _refused(f"snapshot {path!r} is not a file")
            manifest = archive.read_manifest(file)
            if not {"runtime", "image"} <= manifest.keys():
                raise _refused(f"{path!r} does not say what it is a snapshot of")
            yield Snapshot(file, manifest["runtime"], manifest["image"])


def _refused(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
