# Derived from flash_sandbox/clients/aio/sandbox_handle.py by `python -m codegen`; do not edit.
"""What an object that stands for a sandbox has besides its calls: an ID, and a client that may be its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from ...models import SnapshotInfo, SnapshotResult
from ..delegation import Delegate
from .api import SandboxAPI
from .client import connect

__all__ = ["SandboxHandle"]


class SandboxHandle(Delegate):
    """Has the ID of a sandbox, and the client that performs its calls.

    Args:
        client: Performs the calls; it is not closed.
        sandbox_id: ID of the sandbox.
    """

    _client: SandboxAPI
    _ids: tuple[str]
    _owns_client = False
    _is_environments = False

    def __init__(self, client: SandboxAPI, sandbox_id: str) -> None:
        super().__init__(client, sandbox_id)

    @property
    def id(self) -> str:
        """Return the ID of the sandbox."""
        return self._ids[0]

    @classmethod
    def _over(cls, client: SandboxAPI | None, sandbox_id: str = "") -> Self:
        """Return one that uses a client, or else has one of its own."""
        sandbox = cls(connect() if client is None else client, sandbox_id)
        sandbox._owns_client = sandbox._is_environments = client is None
        return sandbox

    @classmethod
    def _started(
        cls,
        client: SandboxAPI | None,
        snapshot: SnapshotResult | SnapshotInfo | str | None,
        **options: Any,
    ) -> Self:
        """Start a sandbox and return it."""
        sandbox = cls._over(client)
        path = snapshot if snapshot is None or isinstance(snapshot, str) else snapshot.snapshot_path
        memory = snapshot.mem_file_path if isinstance(snapshot, SnapshotResult) else None
        try:
            sandbox_id = sandbox._client.start_sandbox(snapshot_path=path, mem_file_path=memory, **options)
        except BaseException:
            sandbox.close()
            raise
        sandbox._ids = (sandbox_id,)
        return sandbox

    @classmethod
    def _listed(cls, client: SandboxAPI | None, **options: Any) -> Iterator[Self]:
        """Yield each of the sandboxes that there are."""
        lister = cls._over(client)
        try:
            for info in lister._client.sandboxes(**options):
                yield cls._over(client, info.id)
        finally:
            lister.close()

    def close(self) -> None:
        """Release the connections of its own client, if it has one. The sandbox goes on."""
        if self._owns_client:
            self._client.close()

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
