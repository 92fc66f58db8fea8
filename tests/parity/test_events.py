"""Following what happens to sandboxes, through every client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from following import following

from flash_sandbox import ConflictError, InvalidArgumentError, SandboxAPI, UnavailableError
from flash_sandbox.models import Event
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.core.events import EventLog
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.state.database import Database

Connect = Callable[..., SandboxAPI]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


class TestWhatIsTold:
    def test_the_life_of_a_sandbox(self, client: SandboxAPI) -> None:
        began = time.time()
        with following(client) as events:
            one = client.start_sandbox(memory_mb=64)
            client.snapshot_sandbox(one)
            client.resume_sandbox(one)
            client.pause_sandbox(one)
            client.resume_sandbox(one)
            client.stop_sandbox(one)
            found = events.of(one, "removed")
        assert types(found) == ["created", *["running", "paused"] * 2, "running", "removed"]
        moments = [event.at for event in found]
        assert began <= moments[0]
        assert moments == sorted(moments)
        assert moments[-1] <= time.time()

    def test_the_end_of_a_main_process_and_its_exit_code(self, client: SandboxAPI) -> None:
        with following(client) as events:
            one = client.start_sandbox(memory_mb=64, command=["sh", "-c", "exit 7"])
            found = events.of(one, "stopped")
            assert types(found) == ["created", "running", "stopped"]
            assert found[-1].detail == "exit code 7"
            client.stop_sandbox(one)

    def test_an_end_after_which_it_is_kept(self, client: SandboxAPI) -> None:
        with following(client) as events:
            one = client.start_sandbox(memory_mb=64)
            client.stop_sandbox(one, cleanup=False)
            client.stop_sandbox(one)
            assert types(events.of(one, "removed")) == ["created", "running", "stopped", "removed"]

    def test_a_start_that_fails_and_why(self, client: SandboxAPI) -> None:
        with following(client) as events:
            with pytest.raises(InvalidArgumentError):
                client.start_sandbox(memory_mb=64, command=["/no/such/program"])
            created = events.next()
            found = [created, *events.of(created.id, "failed")]
        assert types(found) == ["created", "failed"]
        assert "/no/such/program" in found[-1].detail

    def test_that_a_sandbox_has_expired(self, client: SandboxAPI) -> None:
        with following(client) as events:
            one = client.start_sandbox(memory_mb=64, ttl_seconds=0.3)
            assert types(events.of(one, "removed")) == ["created", "running", "expired", "removed"]

    def test_that_the_memory_did_not_do(self, client: SandboxAPI, limits: Limits) -> None:
        if limits != "enforce":
            pytest.skip("without a cgroup the kernel refuses memory, and ends nothing for it")
        with following(client) as events:
            one = client.start_sandbox(memory_mb=32, command=["tail", "/dev/zero"])
            found = events.of(one, "stopped")
            assert types(found)[-2:] == ["out_of_memory", "stopped"]
            assert (found[-2].detail, found[-1].detail) == (
                "a process was ended: the limit is 32 MiB",
                "exit code 137",
            )
            client.stop_sandbox(one)

    def test_that_the_memory_did_not_do_for_a_process_that_nobody_waits_for(
        self, client: SandboxAPI, limits: Limits
    ) -> None:
        if limits != "enforce":
            pytest.skip("without a cgroup the kernel refuses memory, and ends nothing for it")
        with following(client) as events:
            one = client.start_sandbox(memory_mb=32)
            client.exec_command(one, ["sh", "-c", "tail /dev/zero > /dev/null 2>&1 &"])
            events.of(one, "out_of_memory")
            client.stop_sandbox(one)


class TestGoingOn:
    def test_nothing_is_missed_and_nothing_told_twice(self, client: SandboxAPI) -> None:
        with following(client) as events:
            one = client.start_sandbox(memory_mb=64)
            first = events.of(one, "created")
            token = events.token
            assert token == first[-1].token
        client.snapshot_sandbox(one)
        with following(client, token) as events:
            second = events.of(one, "paused")
            client.resume_sandbox(one)
            second += events.of(one, "running")
        client.stop_sandbox(one)
        assert types(second) == ["running", "paused", "running"]
        with following(client, events.token) as events:
            assert types(events.of(one, "removed")) == ["removed"]

    def test_a_stream_of_which_nothing_was_read_has_a_token(self, client: SandboxAPI) -> None:
        with following(client) as events:
            token = events.token
        one = client.start_sandbox(memory_mb=64)
        with following(client, token) as events:
            assert types(events.of(one, "running")) == ["created", "running"]
        client.stop_sandbox(one)

    @pytest.mark.parametrize("token", ["x", "0" * 16 + "-", "-1", "\u20ac", "G" * 16 + "-1", "a" * 3000])
    def test_a_malformed_token_is_refused(self, client: SandboxAPI, token: str) -> None:
        with pytest.raises(InvalidArgumentError, match="no token of an event") as caught:
            client.watch_events(token)
        assert (caught.value.status_code, caught.value.operation) == (400, "watch_events")

    def test_a_token_of_another_orchestrator_says_that_some_may_be_missed(self, client: SandboxAPI) -> None:
        with pytest.raises(ConflictError, match="events may have been missed") as caught:
            client.watch_events("0" * 16 + "-1")
        error = caught.value
        assert (error.reason, error.status_code, error.grpc_status) == ("events_missed", 409, "ABORTED")
        assert not error.retryable

    def test_a_token_that_is_not_given_out_yet_does_too(self, client: SandboxAPI) -> None:
        with following(client) as events:
            life = events.token.partition("-")[0]
        with pytest.raises(ConflictError, match="events may have been missed"):
            client.watch_events(f"{life}-99999999")


def test_the_end_of_an_orchestrator_is_told_at_once_and_not_waited_for(
    kind: str, connect: Connect, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a call in flight is given.
    monkeypatch.setattr("flash_sandbox.orchestrator.embedded._GRACE_SECONDS", 60.0)
    running = running_orchestrator(limits=limits)
    orchestrator = running.__enter__()
    try:
        address = orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address
        client = connect(address, max_retries=0)
        with following(client) as events:
            began = time.monotonic()
            running.__exit__(None, None, None)
            assert time.monotonic() - began < 30
            with pytest.raises(UnavailableError, match="shutting down"):
                events.next()
    finally:
        with suppress(RuntimeError):
            running.__exit__(None, None, None)


class TestLog:
    """The log itself, of three events."""

    async def test_one_that_reads_slowly_is_told_that_it_has_missed_some(self) -> None:
        log = EventLog(Database(), 3)
        async with aclosing(log.watch("")) as slow, aclosing(log.watch("")) as quick:
            for events in (slow, quick):
                assert (await anext(events)).type == "watching"
            for number in range(5):
                log.add("created", f"s{number}")
                assert (await anext(quick)).id == f"s{number}"
            with pytest.raises(ConflictError, match="only the last 3 events are kept"):
                await anext(slow)

    async def test_what_is_still_kept_is_told(self) -> None:
        log = EventLog(Database(), 3)
        async with aclosing(log.watch("")) as events:
            await anext(events)
            for number in range(3):
                log.add("created", f"s{number}")
            assert [(await anext(events)).id for _ in range(3)] == ["s0", "s1", "s2"]

    async def test_a_token_that_is_too_old_is_refused(self) -> None:
        log = EventLog(Database(), 3)
        tokens = []
        async with aclosing(log.watch("")) as events:
            tokens.append((await anext(events)).token)
            for number in range(4):
                log.add("created", f"s{number}")
                tokens.append((await anext(events)).token)
        async with aclosing(log.watch(tokens[1])) as events:
            assert [(await anext(events)).id for _ in range(4)] == ["", "s1", "s2", "s3"]
        async with aclosing(log.watch(tokens[0])) as events:
            with pytest.raises(ConflictError, match="only the last 3 events are kept"):
                await anext(events)

    async def test_the_first_frame_comes_though_nothing_happens(self) -> None:
        log = EventLog(Database())
        log.add("created", "before")
        async with aclosing(log.watch("")) as events:
            first = await anext(events)
            assert (first.type, first.id) == ("watching", "")
            waiting: asyncio.Future[Any] = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            assert not waiting.done()
            log.add("created", "after")
            assert (await waiting).id == "after"

    async def test_all_who_watch_are_told_the_same(self) -> None:
        log = EventLog(Database())

        async def read() -> list[str]:
            async with aclosing(log.watch("")) as events:
                return [(await anext(events)).id for _ in range(101)]

        readers = [asyncio.create_task(read()) for _ in range(10)]
        await asyncio.sleep(0)
        for number in range(100):
            log.add("created", f"s{number}")
            if number % 7 == 0:
                await asyncio.sleep(0)
        expected = ["", *(f"s{number}" for number in range(100))]
        assert await asyncio.gather(*readers) == [expected] * 10


def test_an_orchestrator_has_a_life_of_its_own(limits: Limits, connect: Connect, kind: str) -> None:
    def address(orchestrator: Orchestrator) -> str:
        return orchestrator.http_address if "HTTP" in kind else orchestrator.grpc_address

    with running_orchestrator(limits=limits) as one, following(connect(address(one))) as events:
        token = events.token
    with running_orchestrator(limits=limits) as other, pytest.raises(ConflictError, match="missed"):
        connect(address(other)).watch_events(token)
