"""Operations on volumes that outlive sandboxes."""

from __future__ import annotations

from ...errors import ConflictError
from ...models import (
    CreateVolumeRequest,
    CreateVolumeResult,
    ListVolumesRequest,
    ListVolumesResult,
    RemoveVolumeRequest,
    RemoveVolumeResult,
    VolumeInfo,
)
from ...models.volumes import mounted
from ..volumes.named import NamedVolumes
from .base import ServiceCore

__all__ = ["VolumeOperations"]


class VolumeOperations(ServiceCore):
    """Make, list and remove volumes; a part of `SandboxService`."""

    volumes: NamedVolumes

    async def create_volume(self, request: CreateVolumeRequest) -> CreateVolumeResult:
        """Make an empty volume."""
        await self._complete(self.volumes.create(request.name))
        return CreateVolumeResult()

    async def list_volumes(self, request: ListVolumesRequest) -> ListVolumesResult:
        """Tell what is known of each volume, by name."""
        return ListVolumesResult(
            tuple(
                VolumeInfo(volume.name, volume.created_at, self._having(volume.name))
                for volume in self.volumes.listed()
            )
        )

    async def remove_volume(self, request: RemoveVolumeRequest) -> RemoveVolumeResult:
        """Remove a volume that no sandbox has."""
        self.volumes.get(request.name)
        sandboxes = self._having(request.name)
        if sandboxes:
            raise ConflictError(f"volume {request.name} is in use by {', '.join(sandboxes)}")
        await self._complete(self.volumes.remove(request.name))
        return RemoveVolumeResult()

    def _having(self, name: str) -> tuple[str, ...]:
        """Return the IDs of the sandboxes that have a volume."""
        return tuple(
            sandbox.id
            for sandbox in self.registry
            if any(volume.source == name for volume in mounted(sandbox.request.volumes).values())
        )
