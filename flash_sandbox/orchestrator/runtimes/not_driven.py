"""What the runtimes have in common that this release finds on a host, but does not drive."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from ...errors import RuntimeUnavailableError, SandboxNotFoundError, UnsupportedError
from ...models import ExecResult, MetricsResult, SnapshotResult, StartRequest
from .base import Availability, Register, Started

__all__ = ["Missing", "UndrivenRuntime"]


class Missing(Exception):
    """The host lacks a runtime.

    Args:
        detail: What is missing.
        remedy: The one thing to do.
    """

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


class UndrivenRuntime:
    """A runtime that is looked for on the host, and that starts nothing."""

    name = ""

    async def find(self) -> str:
        """Return what was found on the host; raise `Missing` where there is nothing."""
        raise NotImplementedError

    async def check(self) -> Availability:
        """Tell what the host has; sandboxes can be started in no case."""
        try:
            found = await self.find()
        except Missing as missing:
            return Availability(self.name, False, missing.detail, missing.remedy)
        return Availability(
            self.name, False, self._not_driven(found), "use the bubblewrap runtime until then"
        )

    async def open(self) -> None:
        """Do nothing: there is nothing to make ready."""

    async def adopt(self, register: Register) -> None:
        """Do nothing: there is nothing that could have outlived anything."""

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def start(
        self,
        sandbox_id: str,
        request: StartRequest,
        on_exit: Callable[[int], None],
        *,
        idempotency_key: str = "",
    ) -> Started:
        """Refuse: with what is missing and how to get it, or because this release drives no such runtime."""
        try:
            found = await self.find()
        except Missing as missing:
            raise RuntimeUnavailableError(f"{missing.detail}; {missing.remedy}") from None
        raise UnsupportedError(self._not_driven(found))

    async def exec(self, sandbox_id: str, command: tuple[str, ...]) -> ExecResult:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    async def metrics(self, sandbox_id: str) -> MetricsResult:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    async def pause(self, sandbox_id: str) -> None:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    async def resume(self, sandbox_id: str) -> None:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    async def snapshot(self, sandbox_id: str) -> SnapshotResult:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    async def stop(self, sandbox_id: str) -> None:
        """Refuse: there is no such sandbox."""
        self._no_sandbox(sandbox_id)

    def _not_driven(self, found: str) -> str:
        return f"found {found}, but this release cannot drive the {self.name} runtime yet"

    def _no_sandbox(self, sandbox_id: str) -> NoReturn:
        raise SandboxNotFoundError(f"there is no {self.name} sandbox {sandbox_id}")
