"""How long sandboxes live, through every client."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import Any, cast

import pytest

from flash_sandbox import ConflictError, InvalidArgumentError, SandboxAPI, SandboxNotFoundError


def is_gone(client: SandboxAPI, sandbox_id: str) -> bool:
    with suppress(SandboxNotFoundError):
        client.get_status(sandbox_id)
        return False
    return True


def when_gone(client: SandboxAPI, sandbox_id: str) -> float:
    """Return when a sandbox was first found to be gone."""
    give_up = time.monotonic() + 20
    while not is_gone(client, sandbox_id):
        assert time.monotonic() < give_up, "it does not expire"
        time.sleep(0.01)
    return time.time()


def test_it_is_gone_after_its_time_and_not_before(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=0.5)
    deadline = client.get_info(one).expires_at
    assert deadline <= when_gone(client, one)


def test_keep_alive_prolongs_it_and_tells_until_when(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=0.6)
    before = time.time()
    deadline = client.keep_alive(one, 1.2)
    assert before + 1.2 <= deadline <= time.time() + 1.2
    assert client.get_info(one).expires_at == deadline
    assert deadline <= when_gone(client, one)


def test_keep_alive_shortens_it_too(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=600)
    client.keep_alive(one, 0.3)
    when_gone(client, one)


def test_keep_alive_gives_an_end_to_one_without(client: SandboxAPI, sandbox_id: str) -> None:
    client.keep_alive(sandbox_id, 0.3)
    when_gone(client, sandbox_id)


def test_one_that_is_paused_expires_and_can_be_prolonged(client: SandboxAPI, sandbox_id: str) -> None:
    client.snapshot_sandbox(sandbox_id)
    client.keep_alive(sandbox_id, 600)
    assert client.get_status(sandbox_id) == "paused"
    client.keep_alive(sandbox_id, 0.3)
    when_gone(client, sandbox_id)


def test_one_that_is_kept_after_its_end_expires_and_can_be_prolonged(
    client: SandboxAPI, sandbox_id: str
) -> None:
    client.stop_sandbox(sandbox_id, cleanup=False)
    client.keep_alive(sandbox_id, 600)
    assert client.get_status(sandbox_id) == "stopped"
    client.keep_alive(sandbox_id, 0.3)
    when_gone(client, sandbox_id)


def test_a_command_that_runs_in_it_is_interrupted(client: SandboxAPI) -> None:
    one = client.start_sandbox(memory_mb=64, ttl_seconds=0.5)
    with pytest.raises(ConflictError) as caught:
        client.exec_command(one, ["sleep", "30"])
    assert caught.value.reason == "sandbox_ended"


def test_what_was_prolonged_in_the_last_moment_stays(client: SandboxAPI) -> None:
    # Before and after the deadline, and as near to it as it gets.
    chance = random.Random(4)
    kept = 0
    for _ in range(15):
        one = client.start_sandbox(memory_mb=64, ttl_seconds=0.1)
        moment = client.get_info(one).expires_at + chance.uniform(-0.03, 0.01)
        time.sleep(max(moment - time.time(), 0))
        try:
            client.keep_alive(one, 600)
        except SandboxNotFoundError:
            continue
        kept += 1
        time.sleep(0.1)
        assert client.get_status(one) == "running"
        client.stop_sandbox(one)
    assert kept


def test_one_that_is_unknown_cannot_be_prolonged(client: SandboxAPI) -> None:
    with pytest.raises(SandboxNotFoundError) as caught:
        client.keep_alive("unknown", 1)
    assert caught.value.operation == "keep_alive"


@pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf"), 1e9, "1", True])
def test_a_time_out_of_range_is_refused_before_any_transport(
    client: SandboxAPI, sandbox_id: str, ttl: Any
) -> None:
    for call in (
        lambda: client.keep_alive(sandbox_id, ttl),
        lambda: client.start_sandbox(ttl_seconds=ttl),
    ):
        with pytest.raises(InvalidArgumentError, match="ttl_seconds") as caught:
            call()
        assert caught.value.transport is None


def test_a_time_to_live_cannot_be_none(client: SandboxAPI, sandbox_id: str) -> None:
    with pytest.raises(InvalidArgumentError, match="ttl_seconds"):
        client.keep_alive(sandbox_id, cast(Any, None))
