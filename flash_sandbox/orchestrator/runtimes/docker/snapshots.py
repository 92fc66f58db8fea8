"""Snapshots of containers: writable layers as images in the engine, named by entries of the store."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ....models import StartRequest
from ...cancellation import completed, in_threads
from ...images.references import is_digest
from ...snapshots.manifest import Manifest, refused
from ...snapshots.store import Snapshots
from .api import Engine, EngineError, EngineMissing
from .containers import Labels
from .image_configs import ImageConfigs
from .pull import SNAPSHOT_REPOSITORY
from .snapshot_transfer import ImageDescription, archive, unpack_layers

__all__ = ["SnapshotImages"]

# What a snapshot says for this runtime: ID of the image, and its tag.
_IMAGE: Final = "engine_image"
_TAG: Final = "engine_tag"
_ROOT: Final = "0"
# What its file says of it instead.
_DESCRIPTION: Final = "image"
_CHUNK: Final = 1024 * 1024


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

    @asynccontextmanager
    async def exported(self, snapshot: Manifest) -> AsyncIterator[Manifest]:
        """Give a snapshot with the layers of its image as files, for the length of the block."""
        image_id = await self.image_of(snapshot)
        inspected = await self._engine.call("GET", f"/images/{image_id}/json")
        image = ImageDescription.inspected(inspected, await self._configs.of(image_id))
        files = self._store.files
        with tempfile.TemporaryFile(dir=files.directory) as saved:
            async with self._engine.stream("GET", f"/images/{image_id}/get") as response:
                async for data in response.aiter_raw(_CHUNK):
                    await completed(asyncio.to_thread(saved.write, data))
            make = partial(
                files.make,
                partial(unpack_layers, saved, image.layers),
                self._runtime,
                snapshot.image,
                snapshot.image_digest,
                start=snapshot.start,
                details={_DESCRIPTION: image.as_json()},
            )
            whole = await files.made_by(make)
        try:
            yield replace(whole, labels=snapshot.labels)
        finally:
            await completed(asyncio.to_thread(files.remove, whole))

    async def imported(self, snapshot: Manifest, owner: str) -> Manifest:
        """Load what `exported` gave another orchestrator into the engine, and return what it is here.

        Args:
            snapshot: A stranger's; its files have the digests that it tells.
            owner: Who keeps the snapshot.

        Raises:
            InvalidArgumentError: It is no image.
        """
        if snapshot.details.keys() != {_DESCRIPTION}:
            raise refused(f"the file is of no {self._runtime} snapshot")
        image = ImageDescription.from_json(snapshot.details[_DESCRIPTION])
        await asyncio.to_thread(image.require_files, snapshot)
        tag = secrets.token_hex(16)
        self._made.add(tag)
        try:
            image_id = await self._load(snapshot, image, tag, owner)
            size, size_below = await self._size(image_id), await self._size_below(snapshot, image)
        except BaseException:
            self._made.discard(tag)
            with suppress(EngineError, EngineMissing):
                await completed(self._remove_image(tag))
            raise
        for name in snapshot.files:
            snapshot.file(name).unlink()
        details = {_IMAGE: image_id, _TAG: tag}
        return replace(snapshot, files={}, details=details, bytes_elsewhere=max(size - size_below, 0))

    async def _load(self, snapshot: Manifest, image: ImageDescription, tag: str, owner: str) -> str:
        """Load an image and return its ID, once it is certain that the engine has what was sent."""
        name = f"{SNAPSHOT_REPOSITORY}:{tag}"
        sent = archive(snapshot, image, name, Labels.SNAPSHOT, owner)
        async with (
            aclosing(in_threads(sent)) as chunks,
            self._engine.stream("POST", "/images/load", chunks, query={"quiet": "1"}) as response,
        ):
            told = await response.aread()
        try:
            loaded = await self._engine.call("GET", f"/images/{name}/json")
        except EngineError as error:
            failure = EngineError(500, told[-500:].decode(errors="replace"))
            if failure.lacks_room:
                raise failure from error
            raise refused(f"Docker Engine does not load its image: {failure.message}") from error
        config = await self._configs.of(loaded["Id"])
        if (ImageDescription.inspected(loaded, config)) != image:
            raise refused("Docker Engine has loaded another image than the file holds")
        return str(loaded["Id"])

    async def _size_below(self, snapshot: Manifest, image: ImageDescription) -> int:
        """Return the size of the image that a snapshot lies on; 0 where the engine lacks it."""
        if not is_digest(snapshot.image_digest):
            return 0
        try:
            below = await self._engine.call("GET", f"/images/{snapshot.image_digest}/json")
        except EngineError:
            return 0
        layers = tuple(below["RootFS"]["Layers"])
        return int(below.get("Size") or 0) if layers == image.layers[: len(layers)] else 0

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
