"""Calls about sandboxes that do more than send their arguments."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from ... import models, operations
from ...errors import ProtocolError
from ...models import SandboxInfo, SandboxStatus, SandboxType
from ...options import NOT_GIVEN, NotGiven
from .calls import given
from .stream_calls import AsyncStreamCalls

__all__ = ["AsyncSandboxCalls"]


class AsyncSandboxCalls(AsyncStreamCalls):
    """List sandboxes page by page, and read what they find themselves on."""

    async def sandboxes(
        self,
        *,
        status: SandboxStatus | Literal[""] | None = None,
        type: SandboxType | Literal[""] | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> AsyncIterator[SandboxInfo]:
        """Yield each of the sandboxes that there are, the oldest first, page by page.

        Args:
            status: Only sandboxes in this state. None is all.
            type: Only sandboxes of this runtime. None is all.
            labels: Only sandboxes that have each of these labels, NAME=value. Or a mapping of names to
                values.
            timeout: Seconds for the call of each page; None for no time-out; the client's where it is left
                out.

        Raises:
            InvalidArgumentError: An argument is malformed or out of range.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        options = given(status=status, type=type, labels=labels, page_size=models.MAX_PAGE_SIZE)
        token: str | None = None
        while token != "":
            page = await self.list_sandboxes(page_token=token, timeout=timeout, **options)
            for info in page.sandboxes:
                yield info
            token = page.next_page_token

    async def get_platform_info(
        self, sandbox_id: str, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> dict[str, Any]:
        """Return what the processes in a sandbox find themselves on: system, release, machine and more.

        Args:
            sandbox_id: ID of the sandbox.
            timeout: Seconds for the whole call; None for no time-out; the client's where it is left out.

        Raises:
            SandboxNotFoundError: There is no such sandbox.
            WrongStateError: The sandbox is not running.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.GetPlatformInfoRequest(sandbox_id)
        info = (await self._perform(operations.GET_PLATFORM_INFO, request, timeout)).info
        return _object(info)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError("the platform information is not a JSON object")
    return found
