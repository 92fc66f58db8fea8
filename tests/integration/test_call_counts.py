"""A warm call takes no more of what is not time than it did when the figures were committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from benchmarks.counts import BOUNDS, CLIENTS, OPERATIONS, committed, counted, lacks_strace, system_calls
from benchmarks.serving import Serving, serving
from flash_sandbox import HTTPClient


class Target(NamedTuple):
    server: Serving
    sandbox_id: str


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Serve in a process of its own, so that what the server takes is not counted."""
    with serving() as server, HTTPClient(address=server.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        yield Target(server, sandbox_id)
        client.stop_sandbox(sandbox_id)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_calls_and_allocations_are_within_their_bounds(target: Target, client: str, operation: str) -> None:
    found = counted(*target, client, operation)
    assert found["calls"] > 0
    assert found["peak_bytes"] > 0
    assert beyond(found, client, operation) == {}


def test_system_calls_are_within_their_bound(
    target: Target, client: str, operation: str, need: Callable[[str, str | None], None]
) -> None:
    need("strace", lacks_strace())
    found = {"syscalls": system_calls(*target, client, operation)}
    assert found["syscalls"] > 0
    assert beyond(found, client, operation) == {}


def beyond(found: dict[str, int], client: str, operation: str) -> dict[str, tuple[int, int]]:
    """Return each figure that is more than it may be, beside the committed one.

    Those of another minor version of Python tell nothing about this one's: without any, nothing is beyond.
    """
    figures = committed()
    if figures is None:
        return {}
    before = figures[client][operation]
    return {
        name: (value, before[name]) for name, value in found.items() if value > before[name] * BOUNDS[name]
    }
