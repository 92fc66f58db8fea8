"""What lies between an image and writable layers: layers of snapshots, and copies for forks."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ...archives.layer_copy import copy_layer
from ...archives.layers import pack_layer
from ...cancellation import completed
from ...images.rootfs import Images
from ...images.trees import Lease
from ...linux.id_range import IdRange
from ...linux.user_ids import UserIds
from ...snapshots.manifest import Layer, Manifest
from ...snapshots.store import Snapshots
from ...state.trash import Trash

__all__ = ["LowerLayer", "LowerLayers"]

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
        self._bases: dict[str, tuple[LowerLayer, ...]] = {}

    async def add_all(self, snapshot: Manifest, layers: list[LowerLayer]) -> None:
        """Add the layers of a snapshot to those of a sandbox, which are to be released in the end."""
        base = self._bases.get(snapshot.id)
        if base is not None:
            self.keep(base)
            layers += base
        for layer in snapshot.layers:
            layers.append(await self._of_snapshot(layer))

    async def _of_snapshot(self, layer: Layer) -> LowerLayer:
        lease = await self._unpacked(layer)
        try:
            # The snapshot may be removed, and what is made of the sandbox needs the layer as a file.
            directory = self._made()
            own = replace(layer, path=directory / _PACKED)
            os.link(layer.path, own.path)
        except BaseException:
            lease.release()
            raise
        return LowerLayer(directory, lease.rootfs, own, lease)

    async def unpack(self, snapshot: Manifest) -> None:
        """Unpack the layers of a snapshot that is about to be in the store; where that fails, none stays.

        Raises:
            InvalidArgumentError: One is not what it was when it was made, or holds what cannot be unpacked.
        """
        try:
            for layer in snapshot.layers:
                (await self._unpacked(layer)).release()
        except BaseException:
            await self._remove_unused(snapshot.layers)
            raise

    async def _unpacked(self, layer: Layer) -> Lease:
        return await self._images.layer(f"sha256:{layer.digest}", layer.opened)

    async def add_base(
        self, snapshot_id: str, upper: Path, owners: IdRange | None, below: Sequence[LowerLayer]
    ) -> None:
        """Copy the writable layer, at rest, of a sandbox for its forks.

        Args:
            snapshot_id: ID of the snapshot that they start from.
            upper: The writable layer.
            owners: The users of the sandbox; None where root is the only one.
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
        self._bases[snapshot_id] = (*below, copy)

    async def forget(self, snapshot: Manifest) -> None:
        """Remove what no sandbox uses of a snapshot from which nothing starts any more."""
        await self.release(self._bases.pop(snapshot.id, ()))
        await self._remove_unused(snapshot.layers, snapshot)

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
            await self._remove_unused(unused)

    async def _remove_unused(self, layers: Iterable[Layer], removed: Manifest | None = None) -> None:
        """Remove those unpacked layers that belong to no snapshot and to no sandbox any more."""
        others = (snapshot for snapshot in self._snapshots.present() if snapshot != removed)
        needed = {layer.digest for other in others for layer in other.layers}
        for layer in layers:
            if layer.digest not in needed:
                await asyncio.to_thread(self._images.remove_layer, f"sha256:{layer.digest}")

    def _made(self) -> Path:
        directory = self._directory / f"layer-{secrets.token_hex(8)}"
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        return directory
