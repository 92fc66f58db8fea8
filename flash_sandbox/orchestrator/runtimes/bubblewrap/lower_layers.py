"""What lies between an image and writable layers: layers of snapshots, and copies for forks."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ....models import StartRequest
from ...archives.layer_copy import copy_layer
from ...archives.layers import pack_layer
from ...cancellation import completed
from ...images.rootfs import Images
from ...images.trees import Lease
from ...linux.id_range import IdRange
from ...linux.user_ids import UserIds
from ...snapshots.store import Layer, Snapshots
from ...state.trash import Trash

__all__ = ["ForkBase", "LowerLayer", "LowerLayers"]

_PACKED: Final = "packed.tar"
_TREE: Final = "tree"


@dataclass(slots=True, eq=False)
class LowerLayer:
    """One layer, which never changes.

    Attributes:
        directory: What is removed once nobody uses the layer.
        tree: Where it is unpacked.
        packed: The layer as a file in `directory`; None as long as no snapshot has needed it.
        lease: Keeps `tree` in the image store; None where `tree` is in `directory`.
        users: How many sandboxes and bases of forks use it.
    """

    directory: Path
    tree: Path
    packed: Layer | None = None
    lease: Lease | None = None
    users: int = 1


@dataclass(frozen=True, slots=True)
class ForkBase:
    """What forks of a sandbox start from.

    Attributes:
        image: The image of the sandbox.
        start: What its start asked for.
        layers: The layers over the image, the lowest first.
    """

    image: str
    start: StartRequest
    layers: tuple[LowerLayer, ...]


class LowerLayers:
    """The layers that running sandboxes use.

    Args:
        directory: Where what belongs to them is kept while they are used.
        images: Has the layers of snapshots unpacked.
        snapshots: The store of snapshots.
        user_ids: Whose files are in them.
        trash: Where they end.
    """

    def __init__(
        self, directory: Path, images: Images, snapshots: Snapshots, user_ids: UserIds, trash: Trash
    ) -> None:
        self._directory = directory
        self._images = images
        self._snapshots = snapshots
        self._user_ids = user_ids
        self._trash = trash
        self._bases: dict[str, ForkBase] = {}

    async def of_snapshot(self, layer: Layer) -> LowerLayer:
        """Return a layer of a snapshot, to be released in the end."""
        lease = await self._images.layer(f"sha256:{layer.digest}", layer.opened)
        try:
            # The snapshot may be removed, and what is made of the sandbox needs the layer as a file.
            directory = self._made()
            own = replace(layer, path=directory / _PACKED)
            os.link(layer.path, own.path)
        except BaseException:
            lease.release()
            raise
        return LowerLayer(directory, lease.rootfs, own, lease)

    async def add_base(
        self,
        upper: Path,
        owners: IdRange | None,
        image: str,
        start: StartRequest,
        below: Sequence[LowerLayer],
    ) -> str:
        """Copy the writable layer, at rest, of a sandbox for its forks, and return the name of their base.

        Args:
            upper: The writable layer.
            owners: The users of the sandbox; None where root is the only one.
            image: Its image.
            start: What its start asked for.
            below: The layers below the writable one, which the forks share, too.
        """
        self.keep(below)
        copying = asyncio.ensure_future(asyncio.to_thread(self._copied, upper, owners))
        try:
            copy = await completed(copying)
        except BaseException:
            await self.release(below)
            if not copying.cancelled() and copying.exception() is None:
                self._trash.throw_away(copying.result().directory)
            raise
        self._bases[str(copy.directory)] = ForkBase(image, start, (*below, copy))
        return str(copy.directory)

    def base(self, name: str) -> ForkBase | None:
        """Return what forks start from by its name; None for any other name."""
        return self._bases.get(name)

    async def remove_base(self, name: str) -> bool:
        """Let no more forks start from a base; tell whether there was one of that name."""
        base = self._bases.pop(name, None)
        if base is not None:
            await self.release(base.layers)
        return base is not None

    def _copied(self, upper: Path, owners: IdRange | None) -> LowerLayer:
        directory = self._made()
        tree = directory / _TREE
        try:
            tree.mkdir()
            tree.chmod(0o755)
            self._user_ids.work.run(copy_layer, upper, tree, owners, self._user_ids.of_images)
        except BaseException:
            self._trash.throw_away(directory)
            raise
        return LowerLayer(directory, tree)

    def as_file(self, layer: LowerLayer) -> Layer:
        """Return a layer as a file, which is written when the first snapshot needs it. Blocking."""
        if layer.packed is None:
            path = layer.directory / f"{secrets.token_hex(4)}.tar"
            self._user_ids.work.run(pack_layer, layer.tree, path, self._user_ids.of_images)
            layer.packed = Layer.of(path)
        return layer.packed

    def keep(self, layers: Iterable[LowerLayer]) -> None:
        """Say that layers have one more user."""
        for layer in layers:
            layer.users += 1

    async def release(self, layers: Iterable[LowerLayer]) -> None:
        """Say that layers have one user less; what nobody uses any more is removed."""
        unused = []
        for layer in layers:
            layer.users -= 1
            if layer.users:
                continue
            if layer.packed is not None:
                unused.append(layer.packed)
            self._trash.throw_away(layer.directory)
            if layer.lease is not None:
                layer.lease.release()
        if unused:
            await asyncio.to_thread(self.remove_unused, unused)

    def remove_unused(self, layers: Iterable[Layer]) -> None:
        """Remove those unpacked layers that belong to no snapshot and to no sandbox any more. Blocking."""
        for layer in layers:
            if not self._snapshots.has_layer(layer.digest):
                self._images.remove_layer(f"sha256:{layer.digest}")

    def _made(self) -> Path:
        directory = self._directory / f"layer-{secrets.token_hex(8)}"
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        return directory
