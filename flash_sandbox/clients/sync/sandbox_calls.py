# Derived from flash_sandbox/clients/aio/sandbox_calls.py by `python -m codegen`; do not edit.
"""Calls about sandboxes that do more than send their arguments."""

from __future__ import annotations

import json
from typing import Any

from ... import models, operations
from ...errors import ProtocolError
from ...options import NOT_GIVEN, NotGiven
from .stream_calls import StreamCalls

__all__ = ["SandboxCalls"]


class SandboxCalls(StreamCalls):
    """Read what sandboxes find themselves on."""

    def get_platform_info(
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
        info = (self._perform(operations.GET_PLATFORM_INFO, request, timeout)).info
        return _object(info)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError("the platform information is not a JSON object")
    return found
