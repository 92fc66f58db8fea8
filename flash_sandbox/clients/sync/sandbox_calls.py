# Derived from flash_sandbox/clients/aio/sandbox_calls.py by `python -m codegen`; do not edit.
"""Calls that tell of several sandboxes, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from ... import models, operations
from ...models import SandboxInfo, SandboxStatus, SandboxType
from ...options import NOT_GIVEN, NotGiven
from .calls import given
from .operation_calls import OperationCalls
from .streams import Events, first_of

__all__ = ["SandboxCalls"]


class SandboxCalls(OperationCalls):
    """List sandboxes, and tell what happens to them."""

    def sandboxes(
        self,
        *,
        status: SandboxStatus | Literal[""] | None = None,
        type: SandboxType | Literal[""] | None = None,
        labels: Mapping[str, str] | Sequence[str] | None = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
    ) -> Iterator[SandboxInfo]:
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
            page = self.list_sandboxes(page_token=token, timeout=timeout, **options)
            for info in page.sandboxes:
                yield info
            token = page.next_page_token

    def watch_events(
        self, token: str | None = None, *, timeout: float | NotGiven | None = NOT_GIVEN
    ) -> Events:
        """Tell what happens to sandboxes, as it happens; nothing that happens after this returns is missed.

        Args:
            token: Where to go on: the token of the last event that was seen. None is what happens from now
                on.
            timeout: Seconds for the beginning; None for no time-out; the client's where it is left out.

        Raises:
            EventsMissedError: What happened after `token` is not known any more.
            SandboxError: The call failed; see `flash_sandbox.errors` for the classes.
        """
        request = models.WatchEventsRequest("" if token is None else token)
        events = self._stream(operations.WATCH_EVENTS, request, timeout)
        return Events(events, first_of(events))
