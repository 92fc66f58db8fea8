"""One image of a registry: what it is, and its layers into the store of blobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import IO, Final, Protocol

from ..archives.bounded_tar import Bounds, refused
from ..linux.locks import exclusive
from .blobs import Blobs
from .credentials import Credentials
from .local import Description, describe
from .manifests import Descriptor, Manifest, parse_manifest
from .references import Reference
from .registry import Registry

__all__ = ["Pull", "Report"]

_AT_ONCE: Final = 3
_MAX_INDEXES: Final = 3
_PROGRESS_PERCENT: Final = 10


class Report(Protocol):
    """Told of what goes on: the name of an event, and its fields."""

    def __call__(self, event: str, **fields: object) -> None:
        """Take note of one event."""


class Pull:
    """Gets one image of a registry.

    Args:
        reference: The image.
        blobs: Where its layers are kept.
        lock: Returns the path of the lock for a digest.
        bounds: What it may take.
        report: Told of what goes on.
    """

    def __init__(
        self, reference: Reference, blobs: Blobs, lock: Callable[[str], Path], bounds: Bounds, report: Report
    ) -> None:
        self._reference = reference
        self._blobs = blobs
        self._lock = lock
        self._bounds = bounds
        self._report = report
        self._credentials = Credentials()
        self._layers: tuple[Descriptor, ...] = ()
        self._received: dict[str, int] = {}
        self._reported = 0

    async def describe(self) -> Description:
        """Return what the image is, from its manifest and its configuration.

        Raises:
            InvalidArgumentError: If there is none, if it is not what its digest says, or not for this host.
            UnavailableError: If the registry does not answer.
        """
        async with Registry(self._reference, self._credentials) as registry:
            digest, manifest = await self._manifest(registry)
            configuration = await registry.document(manifest.config)
        total = sum(layer.size for layer in manifest.layers)
        if total > self._bounds.total_bytes:
            raise refused(f"its layers have {total} bytes, more than {self._bounds.total_bytes}")
        self._layers = manifest.layers
        return describe(digest, manifest, configuration)

    async def _manifest(self, registry: Registry) -> tuple[str, Manifest]:
        selector = self._reference.digest or self._reference.tag
        document = await registry.manifest(selector)
        digest = Descriptor.of(document).digest
        if self._reference.digest not in ("", digest):
            raise refused(
                f"the registry sends a manifest with the digest {digest}, not {self._reference.digest}"
            )
        found = parse_manifest(document)
        for _ in range(_MAX_INDEXES):
            if isinstance(found, Manifest):
                return digest, found
            found = parse_manifest(found.check(await registry.manifest(found.digest)))
        raise refused("its indexes lead only to indexes")

    async def layers(self, stack: ExitStack) -> Sequence[IO[bytes]]:
        """Download what is missing, and open the layers, the lowest first. After `describe`.

        Raises:
            InvalidArgumentError: If one is not there, or is not what its digest says.
            UnavailableError: If the registry does not answer.
        """
        started = time.monotonic()
        total = sum(layer.size for layer in self._layers)
        self._report("image pulling", image=str(self._reference), layers=len(self._layers), bytes=total)
        turns = asyncio.Semaphore(_AT_ONCE)
        async with AsyncExitStack() as exits:
            registry = await exits.enter_async_context(Registry(self._reference, self._credentials))
            tasks = [asyncio.ensure_future(self._layer(layer, registry, turns)) for layer in self._layers]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                files = [
                    stack.enter_context(task.result())
                    for task in tasks
                    if not task.cancelled() and task.exception() is None
                ]
        seconds = round(time.monotonic() - started, 3)
        self._report("image pulled", image=str(self._reference), bytes=total, seconds=seconds)
        return files

    async def _layer(self, layer: Descriptor, registry: Registry, turns: asyncio.Semaphore) -> IO[bytes]:
        """Return a layer, open; several images, also in several processes, wait for one download."""
        async with turns, exclusive(self._lock(layer.digest)):
            file = self._blobs.read(layer)
            if file is None:
                with await asyncio.to_thread(self._blobs.continue_download, layer) as partial:
                    if partial.size:
                        self._report("image layer resumed", digest=layer.digest, bytes=partial.size)
                    await registry.blob(partial, lambda size: self._advanced(layer, size))
                file = self._blobs.read(layer)
            self._advanced(layer, layer.size)
        if file is None:
            raise refused(f"{layer.digest} was removed while it was pulled")
        return file

    def _advanced(self, layer: Descriptor, size: int) -> None:
        self._received[layer.digest] = size
        total = sum(layer.size for layer in self._layers) or 1
        percent = 100 * sum(self._received.values()) // total
        if percent >= self._reported + _PROGRESS_PERCENT:
            self._reported = percent - percent % _PROGRESS_PERCENT
            self._report("image pull progress", image=str(self._reference), percent=self._reported)
