"""Sandboxes that were made beforehand: each is handed out once, to a start that asks for the same."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from inside import begin, run_in, wait_until
from layouts import busybox, busybox_layer, entry, tar_bytes
from test_lifecycle import Client, connect

from flash_sandbox import AtCapacityError
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.core.defaults import filled_in
from flash_sandbox.orchestrator.runtimes.bubblewrap.runtime import BubblewrapRuntime
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

WARM = 2
PLAIN = StartRequest(type="bubblewrap", network="none")


@asynccontextmanager
async def warm_runtime(directory: Path, limits: Limits, **options: Any) -> AsyncIterator[BubblewrapRuntime]:
    runtime = BubblewrapRuntime(directory, limits=limits, warm=WARM, **options)
    await runtime.open()
    try:
        await full(runtime)
        yield runtime
    finally:
        await runtime.close()


async def full(runtime: BubblewrapRuntime) -> None:
    await asyncio.to_thread(
        wait_until, lambda: len(runtime._warm) == WARM, "the sandboxes to be made beforehand"
    )


def layers(directory: Path) -> set[str]:
    """Return the IDs under which the sandboxes that there are were made."""
    return {path.name for path in (directory / "sandboxes").iterdir()}


class TestHandingOut:
    async def test_each_is_handed_out_once(self, tmp_path: Path, limits: Limits) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            names = [f"sandbox-{number}" for number in range(2 * WARM)]
            await asyncio.gather(*(begin(runtime, name, PLAIN) for name in names))
            seen = [(await run_in(runtime, name, "readlink", "/proc/self/ns/pid")).stdout for name in names]
            assert len(set(seen)) == len(names)
            # Whoever came too late has one that was made for it.
            assert len(layers(tmp_path) & set(names)) == WARM

    async def test_one_is_handed_out_to_a_start_that_says_the_defaults(
        self, tmp_path: Path, limits: Limits
    ) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            said = filled_in(PLAIN, BubblewrapRuntime.capabilities.options, "none")
            assert said != PLAIN
            await begin(runtime, "one", said)
            # It has the layer that it was made with, under another name.
            assert "one" not in layers(tmp_path)

    async def test_what_was_handed_out_is_replaced(self, tmp_path: Path, limits: Limits) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            before = layers(tmp_path)
            await begin(runtime, "one", PLAIN)
            await full(runtime)
            assert len(layers(tmp_path) - before) == 1

    async def test_it_tells_of_the_end_of_its_main_process(self, tmp_path: Path, limits: Limits) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            guest = await begin(runtime, "one", PLAIN)
            os.kill(runtime._sandbox("one").init, signal.SIGKILL)
            async with asyncio.timeout(10):
                await runtime.wait("one")
                assert await guest.main_exit == 128 + signal.SIGKILL

    @pytest.mark.parametrize(
        "request_",
        [
            StartRequest(network="none", memory_mb=128),
            StartRequest(network="none", cpu_cores=0.5),
            StartRequest(network="none", command=("sleep", "9390")),
            StartRequest(network="none", pids=100),
            StartRequest(network="none", shm_mb=1),
            StartRequest(network="none", env=("A=1",)),
        ],
        ids=lambda request: (
            f"{request.memory_mb}-{request.cpu_cores}-{request.command}-{request.pids}-{request.shm_mb}"
        ),
    )
    async def test_a_start_that_asks_for_something_else_has_its_own(
        self, tmp_path: Path, limits: Limits, request_: StartRequest
    ) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            await begin(runtime, "own", request_)
            assert "own" in layers(tmp_path)

    async def test_one_that_has_ended_is_not_handed_out(self, tmp_path: Path, limits: Limits) -> None:
        async with warm_runtime(tmp_path, limits) as runtime:
            before = layers(tmp_path)
            ended = [sandbox.init for sandbox in runtime._sandboxes.values()]
            for pid in ended:
                os.kill(pid, signal.SIGKILL)
            # The event loop has heard of none of it.
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ended), "them to end")
            await begin(runtime, "one", PLAIN)
            assert (await run_in(runtime, "one", "echo", "alive")).stdout == "alive\n"
            await full(runtime)
            await asyncio.to_thread(wait_until, lambda: not before & layers(tmp_path), "them to be removed")

    async def test_an_image_that_has_changed_is_seen(
        self, tmp_path: Path, limits: Limits, need: Callable[[str, str | None], None]
    ) -> None:
        need("busybox", None if busybox() else "there is no static busybox")
        image = tmp_path / "rootfs" / "small.tar"
        image.parent.mkdir()
        image.write_bytes(tar_bytes([*busybox_layer(), entry("etc/motd", content=b"old")]))
        async with warm_runtime(tmp_path, limits, warm_image=str(image)) as runtime:
            other = image.with_name("other")
            other.write_bytes(tar_bytes([*busybox_layer(), entry("etc/motd", content=b"new")]))
            other.rename(image)
            asked = StartRequest(image=str(image), network="none")
            await begin(runtime, "one", asked)
            assert (await run_in(runtime, "one", "cat", "/etc/motd")).stdout == "new"

    async def test_an_image_that_cannot_be_had_is_told_of_and_holds_nobody_up(
        self, tmp_path: Path, limits: Limits
    ) -> None:
        told: asyncio.Queue[object] = asyncio.Queue()
        runtime = BubblewrapRuntime(
            tmp_path,
            limits=limits,
            warm=WARM,
            warm_image="/nowhere",
            event=lambda name, **fields: told.put_nowait(fields["error"]),
        )
        await runtime.open()
        try:
            assert "/nowhere" in str(await asyncio.wait_for(told.get(), 10))
            await begin(runtime, "own", PLAIN)
        finally:
            await runtime.close()


class TestOverTheWire:
    @pytest.fixture
    def warm(self, tmp_path: Path, limits: Limits) -> Iterator[Orchestrator]:
        with running_orchestrator(state_dir=tmp_path, limits=limits, warm=WARM, max_sandboxes=1) as running:
            yield running

    @pytest.fixture(params=["http", "grpc"])
    def client(self, request: pytest.FixtureRequest, warm: Orchestrator) -> Iterator[Client]:
        with connect(request.param, warm) as connected:
            yield connected

    def test_one_is_as_if_it_were_made_for_its_start(self, client: Client, tmp_path: Path) -> None:
        found: list[str] = []

        def handed_out() -> bool:
            found.append(client.start_sandbox("bubblewrap", name="given", labels={"a": "b"}, ttl_seconds=900))
            if found[-1] not in layers(tmp_path):
                return True
            client.stop_sandbox(found[-1])
            return False

        wait_until(handed_out, "a start to be handed one")
        info = client.get_info(found[-1])
        assert (info.status, info.name, info.labels) == ("running", "given", ("a=b",))
        assert info.expires_at > info.created_at
        assert client.exec_command(info.id, ["hostname"]).stdout == f"{info.id}\n"
        assert client.exec_command(info.id, "echo $HOSTNAME").stdout == f"{info.id}\n"
        assert client.get_metrics(info.id).pids_current >= 1
        client.stop_sandbox(info.id)
        assert client.list_sandboxes().sandboxes == ()

    def test_nobody_sees_those_that_wait(self, client: Client, tmp_path: Path) -> None:
        with client.watch_events() as events:
            wait_until(lambda: len(layers(tmp_path)) >= WARM, "the sandboxes to be made beforehand")
            assert client.list_sandboxes().sandboxes == ()
            one = client.start_sandbox("bubblewrap")
            with pytest.raises(AtCapacityError):
                client.with_options(max_retries=0).start_sandbox("bubblewrap")
            client.stop_sandbox(one)
            seen = [next(events) for _ in range(3)]
        assert [(event.type, event.id) for event in seen] == [
            ("created", one),
            ("running", one),
            ("removed", one),
        ]

    def test_they_end_with_the_orchestrator(self, tmp_path: Path, limits: Limits) -> None:
        with running_orchestrator(state_dir=tmp_path, limits=limits, warm=WARM):
            wait_until(lambda: len(layers(tmp_path)) == WARM, "the sandboxes to be made beforehand")
            made = layers(tmp_path)
        assert not (tmp_path / "sandboxes").exists()
        groups = {name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names}
        assert not made & groups
