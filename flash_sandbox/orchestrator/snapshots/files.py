"""The files of snapshots: one directory each, never changed once it is there."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ...errors import UnavailableError
from ...models import StartRequest
from ..archives import layers
from ..cancellation import completed, in_threads
from ..linux.file_work import HERE, FileWork
from ..linux.id_range import IdRange
from ..linux.tree_walk import remove_tree
from .manifest import (
    MOST_LAYERS,
    Layer,
    Manifest,
    inherited,
    layer_name,
    measure,
    new_id,
    open_file,
    refused,
)
from .transfer import Head, Receiver, packed

__all__ = ["SnapshotFiles"]

_PARTIAL: Final = ".partial"
_NOTHING: Final = StartRequest()


class SnapshotFiles:
    """The directory that holds the files of snapshots. Only their owner can read anything in it.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def open(self, kept: Collection[Path]) -> None:
        """Make ready, and remove what is not `kept`: a killed orchestrator was writing or removing it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        for path in set(self.directory.iterdir()) - set(kept):
            _remove(path)

    def write(
        self,
        layer: Path,
        runtime: str,
        image: str,
        image_digest: str = "",
        *,
        start: StartRequest = _NOTHING,
        below: Sequence[Layer] = (),
        owners: IdRange | None = None,
        work: FileWork = HERE,
    ) -> Manifest:
        """Write a layer, at rest, of a sandbox as a new snapshot.

        Args:
            layer: The upper directory.
            runtime: The runtime that makes it.
            image: The image that all lies on.
            image_digest: Digest of that; empty where it has none.
            start: What the start of the sandbox asked for.
            below: Layers between the image and this one, the lowest first: the snapshot shares them.
            owners: The sandbox's users; None where root is the only one.
            work: Where its files can be read.

        Raises:
            UnavailableError: If the disk has not got the room.
        """
        merges = len(below) >= MOST_LAYERS
        known = () if merges else below

        def fill(directory: Path) -> None:
            for number, each in enumerate(known):
                os.link(each.path, directory / layer_name(number))
            target = directory / layer_name(len(known))
            if not merges:
                work.run(layers.pack_layer, layer, target, owners)
                return
            with ExitStack() as stack:
                files = [stack.enter_context(each.opened()) for each in below]
                work.run(layers.merge_layers, files, layer, target, directory / "merging", owners)

        return self.make(fill, runtime, image, image_digest, start=start, known=known)

    def make(
        self,
        fill: Callable[[Path], None],
        runtime: str,
        image: str,
        image_digest: str = "",
        *,
        start: StartRequest = _NOTHING,
        known: Sequence[Layer] = (),
        details: Mapping[str, str] = MappingProxyType({}),
        bytes_elsewhere: int = 0,
    ) -> Manifest:
        """Make a new snapshot of the files that `fill` writes into a directory; leave nothing if that fails.

        The first files by name may be `known`: they are not read.

        Raises:
            UnavailableError: If the disk has not got the room.
        """
        made = self.described(runtime, image, image_digest, start=start)
        with self._new(made) as directory:
            fill(directory)
            files = {layer_name(number): (each.size, each.digest) for number, each in enumerate(known)}
            for file in directory.iterdir():
                if file.name not in files:
                    file.chmod(0o600)
                    files[file.name] = _on_disk(file)
        return replace(made, files=files, details=dict(details), bytes_elsewhere=bytes_elsewhere)

    @contextmanager
    def _new(self, made: Manifest) -> Iterator[Path]:
        """Give a directory for the files of a new snapshot, which is in its place once the block is left."""
        partial = made.path.with_name(made.path.name + _PARTIAL)
        try:
            partial.mkdir(mode=0o700, parents=True)
            yield partial
            partial.rename(made.path)
            _sync(self.directory)
        except BaseException as error:
            _remove(partial)
            _remove(made.path)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UnavailableError(f"the snapshot cannot be written: {error.strerror}") from error
            raise

    async def exported(self, snapshot: Manifest) -> AsyncGenerator[bytes]:
        """Yield a snapshot as one file.

        Raises:
            InvalidArgumentError: It is not what it was when it was made.
        """
        async with aclosing(in_threads(packed(snapshot))) as pieces:
            async for piece in pieces:
                yield piece

    async def imported(self, chunks: AsyncIterator[bytes], admit: Callable[[Head], object]) -> Manifest:
        """Take a snapshot that comes as one file; leave nothing where that is not all of one.

        Args:
            chunks: The bytes of the file.
            admit: Called with what the file says of the snapshot before any file of it is written.

        Raises:
            InvalidArgumentError: The file is damaged, or no snapshot.
            UnavailableError: The disk has not got the room.
        """
        made = self.described("", "")
        with self._new(made) as directory:
            receiver = Receiver(directory, admit)
            async for data in chunks:
                await completed(asyncio.to_thread(receiver.feed, data))
            head = receiver.finish()
        return replace(
            made,
            runtime=head.runtime,
            image=head.image,
            image_digest=head.image_digest,
            labels=head.labels,
            start=head.start,
            details=head.details,
            files=head.files,
        )

    def described(
        self, runtime: str, image: str, image_digest: str = "", *, start: StartRequest = _NOTHING
    ) -> Manifest:
        """Return what a new snapshot is before it has any file."""
        snapshot_id = new_id()
        return Manifest(
            snapshot_id,
            self.directory / snapshot_id,
            runtime,
            image,
            image_digest,
            time.time(),
            start=StartRequest(**inherited(start)),
        )

    async def made_by(self, make: Callable[[], Manifest]) -> Manifest:
        """Call what makes a snapshot, in a thread; where the caller is cancelled, remove what it has made."""
        making = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            return await completed(making)
        except asyncio.CancelledError:
            if not making.cancelled() and making.exception() is None:
                await completed(asyncio.to_thread(self.remove, making.result()))
            raise

    @contextmanager
    def reading(self, snapshot: Manifest) -> Iterator[None]:
        """Verify the files of a snapshot.

        Raises:
            InvalidArgumentError: They are not what they were when it was made.
        """
        if _names(snapshot.path) != set(snapshot.files):
            raise refused(f"snapshot {snapshot.id} has not the files that it was made with")
        with ExitStack() as stack:
            for layer in snapshot.layers:
                stack.enter_context(layer.opened())
            yield

    @asynccontextmanager
    async def verified(self, snapshot: Manifest) -> AsyncIterator[None]:
        """Do what `reading` does without holding up the event loop while the files are read."""
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, self.reading(snapshot))
            yield

    def remove(self, snapshot: Manifest) -> None:
        """Remove the files of a snapshot."""
        _remove(snapshot.path)


def _names(path: Path) -> set[str]:
    """Return the names of a snapshot's files; the empty one where it is a file itself."""
    if path.is_dir() and not path.is_symlink():
        return set(os.listdir(path))
    return {""}


def _on_disk(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file that has reached the disk."""
    with open_file(path) as file:
        os.fsync(file.fileno())
        return measure(file)


def _sync(directory: Path) -> None:
    """Have the names in a directory reach the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)
