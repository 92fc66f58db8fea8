"""By operation: the request that goes on with a stream after a piece of it."""

from __future__ import annotations

from dataclasses import replace

from ..models import Event, ExecFrame, FollowProcessRequest, WatchEventsRequest

__all__ = ["follow_process", "watch_events"]


def follow_process(request: FollowProcessRequest, frame: ExecFrame) -> FollowProcessRequest:
    """Return the request for what a process prints after a frame."""
    return replace(request, offset=frame.offset + len(frame.data)) if frame.data else request


def watch_events(request: WatchEventsRequest, event: Event) -> WatchEventsRequest:
    """Return the request for what happens after an event."""
    return replace(request, token=event.token or request.token)
