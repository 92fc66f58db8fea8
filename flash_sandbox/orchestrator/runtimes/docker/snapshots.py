"""Snapshots of containers: writable layers as images in the engine, named by entries of the store."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from ....errors import InvalidArgumentError, Reason
from ....models import SnapshotInfo, StartRequest
from ...cancellation import completed
from ...snapshots.store import Snapshots
from .api import Engine, EngineError, EngineMissing
from .containers import Labels
from .image_configs import ImageConfigs
from .pull import SNAPSHOT_REPOSITORY

__all__ = ["SnapshotImages"]

# What a manifest says for this runtime: ID of the image, its tag, and the bytes it adds to the one below.
_IMAGE: Final = "engine_image"
_TAG: Final = "engine_tag"
_BYTES: Final = "engine_bytes"
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
        self._being_written: set[str] = set()
        self._in_use: Counter[str] = Counter()
        self._removed: set[str] = set()

    def open(self) -> None:
        """Make the store ready."""
        self._store.open()

    async def origin(self, path: str) -> StartRequest:
        """Return what a start from a snapshot asks for where it says nothing."""
        return await asyncio.to_thread(self._store.origin, path)

    async def commit(
        self, container_id: str, start: StartRequest, image: str, image_digest: str, owner: str
    ) -> str:
        """Write what a paused container holds, and return the path in the store.

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
        self._being_written.add(tag)
        try:
            committed = await completed(self._engine.call("POST", "/commit", body, query=query))
            size, size_below = await asyncio.gather(self._size(committed["Id"]), self._size(image_digest))
            details = {_IMAGE: str(committed["Id"]), _TAG: tag, _BYTES: str(max(size - size_below, 0))}
            return await completed(asyncio.to_thread(self._write, start, image, image_digest, details))
        except BaseException:
            with suppress(EngineError, EngineMissing):
                await completed(self._remove_image(tag))
            raise
        finally:
            self._being_written.discard(tag)

    @asynccontextmanager
    async def using(self, path: str, image: str) -> AsyncIterator[tuple[str, str]]:
        """Give the ID of the image that a snapshot lies in, and the name of the image it was made from.

        The engine keeps the image for the length of the block.

        Args:
            path: Path that a client named.
            image: Image that it named, too; empty for none.

        Raises:
            InvalidArgumentError: If there is no such snapshot of this runtime, or if it is of another image.
        """
        async with self._store.verified(path) as snapshot:
            assert snapshot is not None
            manifest = snapshot.manifest
            manifest.require_runtime(self._runtime)
            original, details = manifest.image_for(image), manifest.details
        tag = details[_TAG]
        self._in_use[tag] += 1
        try:
            await self._require_image(path, details[_IMAGE])
            yield details[_IMAGE], original
        except InvalidArgumentError as error:
            # It was being removed before it was in use.
            if error.reason != Reason.IMAGE_NOT_FOUND:
                raise
            raise _refused(_without_image(path)) from error
        finally:
            self._in_use[tag] -= 1
            if not self._in_use[tag] and tag in self._removed:
                self._removed.discard(tag)
                with suppress(EngineError, EngineMissing):
                    await completed(self._remove_image(tag))

    async def known(self) -> list[SnapshotInfo]:
        """Tell what is known of each snapshot; its size is what the engine keeps besides the image below."""
        return [
            replace(manifest.info, size_bytes=manifest.size + int(manifest.details.get(_BYTES, 0)))
            for manifest in await asyncio.to_thread(self._store.list, self._runtime)
        ]

    async def remove(self, path: str) -> bool:
        """Remove a snapshot and its image; tell whether it was one of this runtime.

        An image that a start uses stays for as long.
        """
        manifest = await asyncio.to_thread(self._store.remove, path, self._runtime)
        if manifest is None:
            return False
        tag = manifest.details[_TAG]
        if self._in_use[tag]:
            self._removed.add(tag)
        else:
            await completed(self._remove_image(tag))
        return True

    async def collect(self, owner: str) -> None:
        """Remove the images of snapshots that are not in the store: removed there, or never completed.

        None is removed where the store has a manifest that cannot be read: it may be of any of them.
        """
        if await asyncio.to_thread(self._store.unreadable):
            return
        kept = {manifest.details.get(_TAG, "") for manifest in await asyncio.to_thread(self._store.list)}
        for name in (name for image in await self._list(owner) for name in image.get("RepoTags") or ()):
            repository, _, tag = name.rpartition(":")
            if repository == SNAPSHOT_REPOSITORY and tag not in kept | self._being_written:
                await self._remove_image(tag)
        unnamed = await self._list(owner, dangling=["true"])
        # One that is being committed has no name yet.
        for image in unnamed if not self._being_written else ():
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

    async def _require_image(self, path: str, image_id: str) -> None:
        try:
            await self._engine.call("GET", f"/images/{image_id}/json")
        except EngineError as error:
            if error.status != 404:
                raise
            raise _refused(_without_image(path)) from error

    def _write(self, start: StartRequest, image: str, image_digest: str, details: dict[str, str]) -> str:
        writing = self._store.writing(self._runtime, image, image_digest, start=start, known=(), **details)
        with writing as (_, path):
            # The engine has the files; the manifest alone says all.
            pass
        return str(path)


def _without_image(path: str) -> str:
    return f"Docker Engine does not have the image of snapshot {path!r} any more"


def _refused(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
