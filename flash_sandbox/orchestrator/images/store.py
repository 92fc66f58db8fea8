"""The image store: whatever an image's name means, as an unpacked root file system that stays while in use.

What it holds goes by digests and is verified against them; several processes may use one store at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Final

from ...errors import InternalServerError, InvalidArgumentError
from ..archives.bounded_tar import Bounds
from ..archives.layers import unpack_layer
from ..cancellation import completed
from ..linux.locks import exclusive, try_lock
from ..linux.user_ids import UserIds
from .blobs import Blobs
from .engine import Engine
from .local import Description, identity, open_local, open_path
from .manifests import ImageConfig
from .pulling import Pull, Report
from .records import Record, Records
from .references import Kind, Source, is_same_image, not_usable
from .trees import Lease, Tree, Trees
from .unpacking import unpack

__all__ = ["DEFAULT_MAX_BYTES", "DEFAULT_REGISTRIES", "Image", "ImageStore", "StoredImage"]

DEFAULT_MAX_BYTES: Final = 20 * 1024**3
"""What the store holds at most, besides what is in use."""

DEFAULT_REGISTRIES: Final = ("docker.io",)
"""Where a start may pull from, unless the operator names others."""

_TRIES: Final = 5

_Opener = Callable[[ExitStack], Awaitable[Sequence[IO[bytes]]]]


@dataclass(frozen=True, slots=True)
class Image:
    """An image in use: its root file system stays until it is released.

    Attributes:
        name: Its name, with defaults filled in and, of a registry's image, its digest.
        digest: Digest of its manifest or, where it has none, of its configuration or its tar file.
        chain: Digest that its content goes by: what `ImageStore.hold` takes.
        rootfs: Directory of its content; never to be written to.
        config: How it wants to be run.
        lease: What keeps it there.
    """

    name: str
    digest: str
    chain: str
    rootfs: Path
    config: ImageConfig
    lease: Lease

    def release(self) -> None:
        """Let it be evicted. Twice does no more."""
        self.lease.release()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that the store holds.

    Attributes:
        name: Its name, with defaults filled in.
        digest: Its digest.
        tree: What was unpacked from it.
    """

    name: str
    digest: str
    tree: Tree


class ImageStore:
    """The images that are here, and the way to get others.

    Args:
        directory: Where they are kept.
        registries: Patterns of the registries that may be pulled from: ``docker.io``, ``localhost:5000``,
            ``*.example.com``, ``ghcr.io/owner/*``, ``*``; ``docker-daemon`` for the local Docker Engine.
        bounds: What one image may take.
        max_bytes: What all may take together; the least recently used ones are evicted beyond it.
        user_ids: Whose the files of unpacked images can be; None to find out.
        report: Told of what goes on, as the name of an event and its fields.
    """

    def __init__(
        self,
        directory: Path,
        *,
        registries: Sequence[str] = DEFAULT_REGISTRIES,
        bounds: Bounds | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        user_ids: UserIds | None = None,
        report: Report | None = None,
    ) -> None:
        self._registries = tuple(registries)
        self._bounds = bounds or Bounds()
        self._max_bytes = max_bytes
        self._report: Report = report or _report_nothing
        self._blobs = Blobs(directory / "blobs")
        self._user_ids = user_ids or UserIds()
        self._trees = Trees(directory / "trees", self._user_ids)
        self._records = Records(directory / "records")
        self._locks = directory / "locks"
        self._obtaining: dict[str, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Make ready, and remove what somebody who was killed left half-made. Twice does no more."""
        self._locks.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._user_ids.open()
        for part in (self._blobs, self._trees, self._records):
            part.open()
        for path in self._records.unreadable():
            self._report("image record not usable", path=path)
        for chain in self._trees.unfinished():
            lock = self._lock("tree", chain)
            if (descriptor := try_lock(lock)) is not None:
                self._trees.remove_unfinished(chain)
                lock.unlink()
                os.close(descriptor)

    async def close(self) -> None:
        """Give up what is being pulled; it goes on from there another time."""
        tasks = list(self._obtaining.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Use

    async def acquire(self, source: Source, path: Path | None = None, *, refresh: bool = False) -> Image:
        """Take an image into use, and get it first where it is not here.

        Starts of the same image at the same time share one pull, which goes on when a start is given up.

        Args:
            source: What was asked for.
            path: Where it is, for an image of this host: its real path, without links.
            refresh: Whether to ask where it comes from, also where it is here already.

        Raises:
            InvalidArgumentError: If there is no such image, or if it is damaged, hostile or not allowed.
            UnavailableError: If the registry, or the engine, does not answer, or the disk is full.
        """
        for _ in range(_TRIES):
            identity = await self._identity(source, path)
            record = self._record(source)
            if record is not None and record.identity == identity and not refresh:
                lease = self._trees.lease(record.chain)
                if lease is not None:
                    return _image(record, lease)
            self._require_allowed(source)
            await self._obtain_once(source, path, identity, refresh=refresh)
            refresh = False
        raise InternalServerError(f"image {source.name!r} is evicted faster than it can be used")

    def hold(self, chain: str) -> Lease | None:
        """Take an unpacked root file system into use again by its digest; None where it is gone."""
        return self._trees.lease(chain)

    def _require_allowed(self, source: Source) -> None:
        reference = source.reference
        if reference is not None:
            names = [reference.registry, f"{reference.registry}/{reference.repository}"]
        elif source.kind is Kind.DOCKER_DAEMON:
            names = [Kind.DOCKER_DAEMON]
        else:
            return
        if not any(fnmatchcase(name, pattern) for name in names for pattern in self._registries):
            allowed = ", ".join(self._registries) or "none"
            raise not_usable(
                source.name,
                f"this orchestrator does not pull from {names[0]} (but from: {allowed}); its operator may "
                f"allow it with --allow-registry {names[0]}, or get it with flash-sandbox image pull",
            )

    async def _identity(self, source: Source, path: Path | None) -> str:
        if source.kind is Kind.DOCKER_DAEMON:
            self._require_allowed(source)
            async with Engine(source.selector) as engine:
                return await engine.image_id()
        if path is None:
            return ""
        try:
            return await asyncio.to_thread(identity, path)
        except OSError as error:
            raise not_usable(source.name, str(error.strerror)) from error

    # Getting

    async def _obtain_once(self, source: Source, path: Path | None, identity: str, *, refresh: bool) -> None:
        task = self._obtaining.get(source.name)
        if task is None:
            task = asyncio.create_task(self._obtain(source, path, identity, refresh=refresh))
            self._obtaining[source.name] = task
            task.add_done_callback(partial(self._obtained, source.name))
        # A start that is given up does not stop the others.
        await asyncio.shield(task)

    def _obtained(self, name: str, task: asyncio.Task[None]) -> None:
        self._obtaining.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Here, because whoever asked for it may be gone.
            self._report("image refused", image=name, detail=str(error))

    async def _obtain(self, source: Source, path: Path | None, identity: str, *, refresh: bool) -> None:
        async with exclusive(self._lock("name", source.name)):
            if not refresh and self._is_here(source, identity):
                # Another process was faster.
                return
            try:
                with ExitStack() as stack:
                    description, opener = await self._find(source, path, stack)
                    lease = await self._unpacked(source, description, opener, stack)
            except InvalidArgumentError as error:
                if source.name in error.detail:
                    raise
                raise not_usable(source.name, error.detail) from error
            except OSError as error:
                raise not_usable(source.name, str(error.strerror or error)) from error
            one = description
            self._records.put(Record(source.name, identity, one.digest, one.chain, one.layers, one.config))
            try:
                await asyncio.to_thread(self.evict)
            finally:
                lease.release()

    def _record(self, source: Source) -> Record | None:
        record = self._records.get(source.name)
        if record is None and source.reference is not None and source.reference.digest:
            # What was pulled by its tag is here by its digest, too.
            fitting = (other for other in self._records.list() if is_same_image(other.pinned, source.name))
            record = next(fitting, None)
        return record

    def _is_here(self, source: Source, identity: str) -> bool:
        record = self._record(source)
        lease = self._trees.lease(record.chain) if record and record.identity == identity else None
        if lease is not None:
            lease.release()
        return lease is not None

    async def _find(self, source: Source, path: Path | None, stack: ExitStack) -> tuple[Description, _Opener]:
        if source.reference is not None:
            pull = Pull(
                source.reference, self._blobs, partial(self._lock, "blob"), self._bounds, self._report
            )
            return await pull.describe(), pull.layers
        if source.kind is Kind.DOCKER_DAEMON:
            descriptor = await self._export(source)
        else:
            assert path is not None
            descriptor = open_path(path)
        stack.callback(os.close, descriptor)
        opening = asyncio.to_thread(open_local, source, descriptor, stack, self._bounds, self._locks)
        image = await completed(opening)

        async def opened(_: ExitStack) -> Sequence[IO[bytes]]:
            return image.files

        return image.description, opened

    async def _export(self, source: Source) -> int:
        """Write an image of the Docker Engine to a file and return a descriptor of it."""
        # Without a name, so that nothing of it is left whatever happens.
        with tempfile.TemporaryFile(dir=self._locks) as file:
            async with Engine(source.selector) as engine:
                await engine.export(file, self._bounds.total_bytes)
            file.flush()
            return os.dup(file.fileno())

    async def _unpacked(
        self, source: Source, description: Description, opener: _Opener, stack: ExitStack
    ) -> Lease:
        ids = self._user_ids
        async with exclusive(self._lock("tree", description.chain)):
            lease = self._trees.lease(description.chain)
            if lease is not None:
                return lease
            files = await opener(stack)
            self._report("image unpacking", image=source.name, digest=description.digest)

            def fill(tree: Path) -> int:
                return ids.work.run(unpack, tree, description, files, self._bounds, ids.of_images)

            lease = await self._made(description.chain, fill)
        self._report("image ready", image=source.name, digest=description.digest)
        return lease

    async def _made(self, chain: str, fill: Callable[[Path], int]) -> Lease:
        making = asyncio.ensure_future(asyncio.to_thread(self._trees.make, chain, fill))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and the lock is not to be given up before it ends.
            await asyncio.wait({making})
            if making.exception() is None:
                making.result().release()
            raise

    async def layer(self, digest: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]) -> Lease:
        """Return an unpacked layer, which goes by its digest and is unpacked once. It stays until released.

        Args:
            digest: Digest of the layer as `pack_layer` wrote it.
            opened: Opens it, where it is not here yet, as what it is to be.
        """
        ids = self._user_ids

        def fill(tree: Path) -> int:
            with opened() as file:
                return ids.work.run(unpack_layer, file, tree, ids.of_images)

        async with exclusive(self._lock("tree", digest)):
            if (lease := self._trees.lease(digest)) is not None:
                return lease
            lease = await self._made(digest, fill)
        try:
            await asyncio.to_thread(self.evict)
        except BaseException:
            lease.release()
            raise
        return lease

    def remove_layer(self, digest: str) -> bool:
        """Remove an unpacked layer that nobody uses; tell whether it is gone."""
        return self._trees.remove(digest)

    # Keeping

    def list(self) -> list[StoredImage]:
        """Return the images that are here, by name."""
        trees = {tree.chain: tree for tree in self._trees.list()}
        return [
            StoredImage(record.name, record.digest, trees[record.chain])
            for record in self._records.list()
            if record.chain in trees
        ]

    def remove(self, source: Source) -> bool:
        """Remove an image, with what no other one has in common with it; tell whether there was one.

        Raises:
            InvalidArgumentError: If it is in use.
        """
        record = self._records.get(source.name)
        if record is None:
            return False
        others = [other for other in self._records.list() if other.name != record.name]
        if all(other.chain != record.chain for other in others) and not self._trees.remove(record.chain):
            raise not_usable(source.name, "a sandbox uses it")
        self._records.remove(record.name)
        kept = {layer for other in others for layer in other.layers}
        for layer in record.layers:
            if layer and layer not in kept:
                self._blobs.remove(layer)
        return True

    def evict(self) -> None:
        """Remove what was unused for longest, and nothing in use, until the store is small enough."""
        trees = [(tree.last_used, tree.size, partial(self._evict_tree, tree)) for tree in self._trees.list()]
        blobs = [(used, size, partial(_unlink, path)) for used, size, path in self._blobs.sizes()]
        items = [*trees, *blobs]
        excess = sum(size for _, size, _ in items) - self._max_bytes
        for _, size, remove in sorted(items, key=lambda item: item[0]):
            if excess <= 0:
                return
            if remove():
                excess -= size

    def _evict_tree(self, tree: Tree) -> bool:
        if not self._trees.remove(tree.chain):
            return False
        for record in self._records.list():
            if record.chain == tree.chain:
                self._records.remove(record.name)
                self._report("image evicted", image=record.name, bytes=tree.size)
        return True

    def _lock(self, kind: str, name: str) -> Path:
        return self._locks / f"{kind}-{hashlib.sha256(os.fsencode(name)).hexdigest()}"


def _image(record: Record, lease: Lease) -> Image:
    return Image(record.pinned, record.digest, record.chain, lease.rootfs, record.config, lease)


def _unlink(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


def _report_nothing(event: str, **fields: object) -> None:
    """Tell nobody."""
