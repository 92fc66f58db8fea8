"""Operations on volumes that outlive sandboxes."""

from __future__ import annotations

from collections import defaultdict

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
        users = self._users()
        return ListVolumesResult(
            tuple(
                VolumeInfo(volume.name, volume.created_at, tuple(users[volume.name]))
                for volume in self.volumes.listed()
            )
        )

    async def remove_volume(self, request: RemoveVolumeRequest) -> RemoveVolumeResult:
        """Remove a volume that no sandbox has."""
        self.volumes.get(request.name)
        sandboxes = self._users()[request.name]
        if sandboxes:
            raise ConflictError(f"volume {request.name} is in use by {', '.join(sandboxes)}")
        await self._complete(self.volumes.remove(request.name))
        return RemoveVolumeResult()

    def _users(self) -> defaultdict[str, list[str]]:
        """Return the IDs of the sandboxes that have each volume, by its name."""
        found = defaultdict[str, list[str]](list)
        for sandbox in self.registry:
            for source in {str(volume.source) for volume in mounted(sandbox.request.volumes).values()}:
                found[source].append(sandbox.id)
        return found
