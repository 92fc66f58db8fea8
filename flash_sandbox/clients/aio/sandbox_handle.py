"""What an object that stands for a sandbox has besides its calls: an ID, and a client that may be its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

from ...models import SnapshotInfo, SnapshotResult
from ..delegation import Delegate
from .api import AsyncSandboxAPI
from .client import connect_async

__all__ = ["AsyncSandboxHandle"]


class AsyncSandboxHandle(Delegate):
    """Has the ID of a sandbox, and the client that performs its calls.

    Args:
        client: Performs the calls; it is not closed.
        sandbox_id: ID of the sandbox.
    """

    _client: AsyncSandboxAPI
    _ids: tuple[str]
    _owns_client = False
    _is_environments = False

    def __init__(self, client: AsyncSandboxAPI, sandbox_id: str) -> None:
        super().__init__(client, sandbox_id)

    @property
    def id(self) -> str:
        """Return the ID of the sandbox."""
        return self._ids[0]

    @classmethod
    async def _over(cls, client: AsyncSandboxAPI | None, sandbox_id: str = "") -> Self:
        """Return one that uses a client, or else has one of its own."""
        sandbox = cls(await connect_async() if client is None else client, sandbox_id)
        sandbox._owns_client = sandbox._is_environments = client is None
        return sandbox

    @classmethod
    async def _started(
        cls,
        client: AsyncSandboxAPI | None,
        snapshot: SnapshotResult | SnapshotInfo | str | None,
        **options: Any,
    ) -> Self:
        """Start a sandbox and return it."""
        sandbox = await cls._over(client)
        path = snapshot if snapshot is None or isinstance(snapshot, str) else snapshot.snapshot_path
        memory = snapshot.mem_file_path if isinstance(snapshot, SnapshotResult) else None
        try:
            sandbox_id = await sandbox._client.start_sandbox(
                snapshot_path=path, mem_file_path=memory, **options
            )
        except BaseException:
            await sandbox.close()
            raise
        sandbox._ids = (sandbox_id,)
        return sandbox

    @classmethod
    async def _listed(cls, client: AsyncSandboxAPI | None, **options: Any) -> AsyncIterator[Self]:
        """Yield each of the sandboxes that there are."""
        lister = await cls._over(client)
        try:
            async for info in lister._client.sandboxes(**options):
                yield await cls._over(client, info.id)
        finally:
            await lister.close()

    async def close(self) -> None:
        """Release the connections of its own client, if it has one. The sandbox goes on."""
        if self._owns_client:
            await self._client.close()

    def __copy__(self) -> Self:
        # Its client stays this one's, which closes it.
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), _owns_client=False)
        return copied

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        # What is unpickled has a client of its own, shared with no other sandbox.
        return vars(self) | {
            "_client": self._client.with_options(),
            "_owns_client": True,
            "_is_environments": False,
        }
