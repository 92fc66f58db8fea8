"""Snapshots of containers: writable layers as images in the engine, named by entries of the store."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from ....models import StartRequest
from ...cancellation import completed
from ...snapshots.manifest import Manifest, refused
from ...snapshots.store import Snapshots
from .api import Engine, EngineError, EngineMissing
from .containers import Labels
from .image_configs import ImageConfigs
from .pull import SNAPSHOT_REPOSITORY

__all__ = ["SnapshotImages"]

# What a snapshot says for this runtime: ID of the image, and its tag.
_IMAGE: Final = "engine_image"
_TAG: Final = "engine_tag"
_ROOT: Final = "0"


class SnapshotImages:
    """The snapshots of one runtime.

    Args:
        engine: Keeps the images.
        configs: Knows how they want to be run.
        store: Keeps what names them.
        runtime: Name of the runtime.
    """

    def __init__(self, engine: Engine, configs: ImageConfigs, store: Snapshots, runtime: str) -> None:
        self._engine = engine
        self._configs = configs
        self._store = store
        self._runtime = runtime
        # Not all of them are in the store yet, and one that is removed there stays while it is used.
        self._made: set[str] = set()
        self._committing = 0

    async def commit(
        self, container_id: str, start: StartRequest, image: str, image_digest: str, owner: str
    ) -> Manifest:
        """Write what a paused container holds as a snapshot.

        Args:
            container_id: The container.
            start: What the start of its sandbox asked for.
            image: Name of the image that it was started from.
            image_digest: ID of that image in the engine.
            owner: Who keeps the snapshot.
        """
        tag = secrets.token_hex(16)
        # The container's labels go over to the image, and from there to every container of it.
        labels = {Labels.OWNER: "", Labels.SANDBOX: "", Labels.RUNTIME: "", Labels.SNAPSHOT: owner}
        # So do its command and user, which are the agent's: to the engine none is "the same".
        config = await self._configs.of(image_digest)
        body = {
            "Labels": labels,
            "Entrypoint": list(config.entrypoint),
            "Cmd": list(config.cmd),
            "User": config.user or _ROOT,
        }
        query = {"container": container_id, "repo": SNAPSHOT_REPOSITORY, "tag": tag, "pause": "false"}
        self._made.add(tag)
        self._committing += 1
        try:
            committed = await completed(self._engine.call("POST", "/commit", body, query=query))
            size, size_below = await asyncio.gather(self._size(committed["Id"]), self._size(image_digest))
            make = partial(self._store.files.make, _nothing, self._runtime, image, image_digest, start=start)
            details = {_IMAGE: str(committed["Id"]), _TAG: tag}
            make = partial(make, details=details, bytes_elsewhere=max(size - size_below, 0))
            return await self._store.files.made_by(make)
        except BaseException:
            self._made.discard(tag)
            with suppress(EngineError, EngineMissing):
                await completed(self._remove_image(tag))
            raise
        finally:
            self._committing -= 1

    async def image_of(self, snapshot: Manifest) -> str:
        """Return the ID of the image that a snapshot lies in.

        Raises:
            InvalidArgumentError: The engine does not have it any more.
        """
        try:
            await self._engine.call("GET", f"/images/{snapshot.details[_IMAGE]}/json")
        except EngineError as error:
            if error.status != 404:
                raise
            raise refused(
                f"Docker Engine does not have the image of snapshot {snapshot.id} any more"
            ) from error
        return snapshot.details[_IMAGE]

    async def remove(self, snapshot: Manifest) -> None:
        """Remove the image of a snapshot."""
        self._made.discard(snapshot.details[_TAG])
        await completed(self._remove_image(snapshot.details[_TAG]))

    async def collect(self, owner: str) -> None:
        """Remove the images of snapshots that are not in the store: removed there, or never completed.

        None is removed where the store has a snapshot that cannot be read: it may be of any of them.
        """
        if self._store.unreadable:
            return
        kept = {snapshot.details.get(_TAG, "") for snapshot in self._store.present()} | self._made
        for name in (name for image in await self._list(owner) for name in image.get("RepoTags") or ()):
            repository, _, tag = name.rpartition(":")
            if repository == SNAPSHOT_REPOSITORY and tag not in kept:
                await self._remove_image(tag)
        # One that is being committed has no name yet.
        if not self._committing:
            for image in await self._list(owner, dangling=["true"]):
                await self._remove_unused(str(image["Id"]))

    async def let_go(self, image_id: str) -> None:
        """Remove the image of a container that is gone, where its snapshot was removed before."""
        with suppress(EngineError):
            inspected = await self._engine.call("GET", f"/images/{image_id}/json")
            if not inspected.get("RepoTags"):
                await self._remove_unused(image_id)

    async def _remove_unused(self, image_id: str) -> None:
        # The engine refuses where a container, or an image above it, needs it; it goes with the last of them.
        with suppress(EngineError):
            await self._engine.call("DELETE", f"/images/{image_id}")

    async def _list(self, owner: str, **filters: list[str]) -> list[dict[str, Any]]:
        text = json.dumps({"label": [f"{Labels.SNAPSHOT}={owner}"], **filters})
        listed: list[dict[str, Any]] = await self._engine.call("GET", "/images/json", query={"filters": text})
        return listed

    async def _remove_image(self, tag: str) -> None:
        path = f"/images/{SNAPSHOT_REPOSITORY}:{tag}"
        # By force: sandboxes that were started from it go on.
        await self._engine.call("DELETE", path, query={"force": "true"})

    async def _size(self, image: str) -> int:
        return int((await self._engine.call("GET", f"/images/{image}/json")).get("Size") or 0)


def _nothing(directory: Path) -> None:
    """Write no files: the engine has them."""
