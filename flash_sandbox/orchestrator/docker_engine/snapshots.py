"""Snapshots of containers: writable layers as images in the engine, named by entries of the store."""

from __future__ import annotations

import asyncio
import secrets
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...errors import InvalidArgumentError, Reason
from ..sandboxing.snapshots import Snapshots
from .api import Engine, EngineError, EngineMissing
from .commands import completed
from .containers import Labels
from .pull import SNAPSHOT_REPOSITORY

__all__ = ["SnapshotImages"]

_ENTRY: Final = "image"


class SnapshotImages:
    """The snapshots of one runtime.

    Args:
        engine: Keeps the images.
        store: Keeps what names them.
        runtime: Name of the runtime.
    """

    def __init__(self, engine: Engine, store: Snapshots, runtime: str) -> None:
        self._engine = engine
        self._store = store
        self._runtime = runtime

    def open(self) -> None:
        """Make the store ready."""
        self._store.open()

    async def commit(self, container_id: str, image: str, owner: str) -> str:
        """Write what a paused container holds, and return the path in the store.

        Args:
            container_id: The container.
            image: Name of the image that it was started from.
            owner: Who keeps the snapshot.
        """
        tag = secrets.token_hex(16)
        name = f"{SNAPSHOT_REPOSITORY}:{tag}"
        # The container's labels go over to the image, and from there to every container of it.
        labels = {Labels.OWNER: "", Labels.SANDBOX: "", Labels.RUNTIME: "", Labels.SNAPSHOT: owner}
        query = {"container": container_id, "repo": SNAPSHOT_REPOSITORY, "tag": tag, "pause": "false"}
        try:
            committed = await completed(self._engine.call("POST", "/commit", {"Labels": labels}, query=query))
            return await completed(asyncio.to_thread(self._write, str(committed["Id"]), image))
        except BaseException:
            with suppress(EngineError, EngineMissing):
                await completed(self._engine.call("DELETE", f"/images/{name}", query={"force": "true"}))
            raise

    async def find(self, path: str, image: str) -> tuple[str, str]:
        """Return the ID of the image that a snapshot lies in, and the name of the image it was made from.

        Args:
            path: Path that a client named.
            image: Image that it named, too; empty for none.

        Raises:
            InvalidArgumentError: If there is no such snapshot of this runtime, or if it is of another image.
        """
        image_id, original = await asyncio.to_thread(self._read, path, image)
        try:
            await self._engine.call("GET", f"/images/{image_id}/json")
        except EngineError as error:
            if error.status != 404:
                raise
            raise _refused(f"Docker Engine does not have the image of snapshot {path!r} any more") from error
        return image_id, original

    def _write(self, image_id: str, image: str) -> str:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, _ENTRY).write_text(image_id)
            return str(self._store.write(Path(directory), self._runtime, image))

    def _read(self, path: str, image: str) -> tuple[str, str]:
        with self._store.reading(path) as snapshot:
            assert snapshot is not None
            if snapshot.runtime != self._runtime:
                raise _refused(f"{path!r} is a snapshot of the {snapshot.runtime} runtime")
            original = snapshot.image_for(image)
            try:
                with tarfile.open(fileobj=snapshot.file) as tar:
                    entry = tar.extractfile(_ENTRY)
                    assert entry is not None
                    return entry.read().decode(), original
            except (tarfile.TarError, KeyError) as error:
                raise _refused(f"{path!r} names no image") from error


def _refused(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
