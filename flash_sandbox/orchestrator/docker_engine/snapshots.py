"""Snapshots of containers: writable layers as images in the engine, named by entries of the store."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Final

from ...errors import InvalidArgumentError, Reason
from ..sandboxing.snapshots import Snapshots
from .api import Engine, EngineError, EngineMissing
from .commands import completed
from .containers import Labels
from .lifecycle import image_config
from .pull import SNAPSHOT_REPOSITORY

__all__ = ["SnapshotImages"]

# What a manifest says for this runtime: ID of the image, and its tag.
_IMAGE: Final = "engine_image"
_TAG: Final = "engine_tag"
# A lone shell: a sandbox of such an image idles.
_NO_COMMAND: Final = ("sh",)


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
        self._being_written: set[str] = set()

    def open(self) -> None:
        """Make the store ready."""
        self._store.open()

    async def commit(self, container_id: str, image: str, image_digest: str, owner: str) -> str:
        """Write what a paused container holds, and return the path in the store.

        Args:
            container_id: The container.
            image: Name of the image that it was started from.
            image_digest: ID of that image in the engine.
            owner: Who keeps the snapshot.
        """
        tag = secrets.token_hex(16)
        # The container's labels go over to the image, and from there to every container of it.
        labels = {Labels.OWNER: "", Labels.SANDBOX: "", Labels.RUNTIME: "", Labels.SNAPSHOT: owner}
        # So does its command, where the image's own is to come back: to the engine none is "the same".
        config = await image_config(self._engine, image_digest)
        body = {
            "Labels": labels,
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.cmd or _NO_COMMAND),
        }
        query = {"container": container_id, "repo": SNAPSHOT_REPOSITORY, "tag": tag, "pause": "false"}
        self._being_written.add(tag)
        try:
            committed = await completed(self._engine.call("POST", "/commit", body, query=query))
            details = {_IMAGE: str(committed["Id"]), _TAG: tag}
            return await completed(asyncio.to_thread(self._write, image, image_digest, details))
        except BaseException:
            with suppress(EngineError, EngineMissing):
                await completed(self._remove_image(tag))
            raise
        finally:
            self._being_written.discard(tag)

    async def find(self, path: str, image: str) -> tuple[str, str]:
        """Return the ID of the image that a snapshot lies in, and the name of the image it was made from.

        Args:
            path: Path that a client named.
            image: Image that it named, too; empty for none.

        Raises:
            InvalidArgumentError: If there is no such snapshot of this runtime, or if it is of another image.
        """
        async with self._store.verified(path) as snapshot:
            assert snapshot is not None
            snapshot.require_runtime(self._runtime)
            original, image_id = snapshot.image_for(image), snapshot.manifest.details[_IMAGE]
        try:
            await self._engine.call("GET", f"/images/{image_id}/json")
        except EngineError as error:
            if error.status != 404:
                raise
            raise _refused(f"Docker Engine does not have the image of snapshot {path!r} any more") from error
        return image_id, original

    async def collect(self, owner: str) -> None:
        """Remove the images of snapshots that are not in the store: removed there, or never completed."""
        filters = json.dumps({"label": [f"{Labels.SNAPSHOT}={owner}"]})
        listed = await self._engine.call("GET", "/images/json", query={"filters": filters})
        kept = {manifest.details.get(_TAG, "") for manifest in await asyncio.to_thread(self._store.list)}
        for name in (name for image in listed for name in image.get("RepoTags") or ()):
            repository, _, tag = name.rpartition(":")
            if repository == SNAPSHOT_REPOSITORY and tag not in kept | self._being_written:
                await self._remove_image(tag)

    async def _remove_image(self, tag: str) -> None:
        path = f"/images/{SNAPSHOT_REPOSITORY}:{tag}"
        # By force: sandboxes that were started from it go on.
        await self._engine.call("DELETE", path, query={"force": "true"})

    def _write(self, image: str, image_digest: str, details: dict[str, str]) -> str:
        with self._store.writing(self._runtime, image, image_digest, **details) as (_, path):
            # The engine has the files; the manifest alone says all.
            pass
        return str(path)


def _refused(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
