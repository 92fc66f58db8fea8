"""What the docker runtime makes of the engine's words: streams, references, figures, records."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flash_sandbox import InvalidArgumentError, Reason
from flash_sandbox.models import StartRequest
from flash_sandbox.orchestrator.linux.limits import Limits
from flash_sandbox.orchestrator.runtimes.docker.api import Engine, EngineMissing, EngineVersion
from flash_sandbox.orchestrator.runtimes.docker.attached_agents import AttachedAgent, StdoutFrames
from flash_sandbox.orchestrator.runtimes.docker.containers import (
    Container,
    disk_obstacle,
    refused_limits,
    usage_of_engine,
)
from flash_sandbox.orchestrator.runtimes.docker.pull import checked_name

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=20)


def encoded(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for stream, data in frames)


class TestStreams:
    @given(frames=FRAMES, data=st.data())
    def test_standard_output_is_taken_out_wherever_the_connection_is_cut(
        self, frames: list[tuple[int, bytes]], data: st.DataObject
    ) -> None:
        whole = encoded(frames)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
        parts, found = StdoutFrames(), b""
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            for piece in parts.feed(whole[begin:end]):
                found += piece
        assert found == b"".join(part for stream, part in frames if stream == 1)


class TestReaching:
    async def test_no_proxy_is_used_for_an_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            engine = Engine(f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert await engine.version() == EngineVersion(1, 41)
            await engine.close()

    async def test_no_socket_is_left_open_whenever_it_is_closed(self, tmp_path: Path) -> None:
        answers: set[asyncio.Task[object] | None] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers.add(asyncio.current_task())
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n{}")
            writer.close()

        path = tmp_path / "engine"
        turns, answered = 0, False
        async with await asyncio.start_unix_server(answer, path):
            while not answered:
                engine = Engine(f"unix://{path}")
                await engine.version()
                calls = [asyncio.create_task(engine.call("GET", "/info")) for _ in range(2)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                answered = all(call.done() for call in calls)
                await engine.close()
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                assert all(outcome == {} or isinstance(outcome, EngineMissing) for outcome in outcomes)
                with pytest.raises(EngineMissing, match="closed"):
                    await engine.call("GET", "/info")
                turns += 1
            # A socket of the engine's client that is left open keeps its answer waiting for ever.
            _, waiting = await asyncio.wait({task for task in answers if task}, timeout=5)
            assert not waiting
        assert turns > 3, "it was never closed while it connected"
        gc.collect()

    async def test_no_socket_is_left_open_whenever_a_call_is_given_up(self, tmp_path: Path) -> None:
        arrived: list[asyncio.StreamWriter] = []
        together = 4

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError):
                while not (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /v1.41/together"):
                    writer.write(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n{}")
                arrived.append(writer)
                if len(arrived) == together:
                    for each in arrived:
                        each.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await reader.read()
            writer.close()

        path = tmp_path / "engine"
        engine = Engine(f"unix://{path}")
        turns, given_up = 0, True
        async with await asyncio.start_unix_server(answer, path):
            while given_up:
                await asyncio.gather(*(engine.call("GET", "/together") for _ in range(together)))
                # Whatever was kept for a later call is of no use to it.
                for writer in arrived:
                    with suppress(OSError):
                        writer.write_eof()
                arrived.clear()
                call = asyncio.create_task(engine.call("GET", "/info"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
                given_up = call.cancelled()
                turns += 1
            await engine.close()
        assert turns > 3, "it was never given up while it connected"
        gc.collect()


class TestAttaching:
    async def test_it_can_be_given_up_at_any_moment(self, tmp_path: Path) -> None:
        answers: set[asyncio.Task[object] | None] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            answers.add(asyncio.current_task())
            with suppress(OSError, asyncio.IncompleteReadError):
                is_ping = (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /_ping")
                status = b"200 OK" if is_ping else b"101 UPGRADED"
                writer.write(b"HTTP/1.1 " + status + b"\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n")
                await reader.read()
            writer.close()

        async def attach() -> None:
            agent = AttachedAgent(engine, "1")
            stream = await agent.attach()
            attached.set()
            try:
                await asyncio.Event().wait()
            finally:
                stream.close()
                await agent.close()

        path = tmp_path / "engine"
        engine = Engine(f"unix://{path}")
        async with await asyncio.start_unix_server(answer, path):
            await engine.version()
            turns, attached = 0, asyncio.Event()
            while not attached.is_set():
                attaching = asyncio.create_task(attach())
                for _ in range(turns):
                    await asyncio.sleep(0)
                attaching.cancel()
                done, _ = await asyncio.wait({attaching}, timeout=5)
                assert done, f"it went on after {turns} turns"
                assert attaching.cancelled()
                turns += 1
            await engine.close()
            await asyncio.gather(*filter(None, answers))
        assert turns > 3, "it was never given up while it connected"
        gc.collect()


class TestReferences:
    @pytest.mark.parametrize(
        "image", ["host", "/a/b", "a b", "", "-a", "a\nb", "é", "flash-sandbox/snapshot:1", "x" * 600]
    )
    def test_what_no_start_may_name_is_refused(self, image: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            checked_name(image)
        assert caught.value.reason == Reason.IMAGE_NOT_FOUND


class TestVersions:
    def test_they_are_ordered_by_number(self) -> None:
        assert EngineVersion(1, 9) < EngineVersion(1, 41) < EngineVersion(1, 100) < EngineVersion(2, 0)


class TestFigures:
    def test_of_cgroup_v1(self) -> None:
        usage = usage_of_engine(
            {
                "memory_stats": {
                    "usage": 1000,
                    "limit": 5000,
                    "stats": {"total_inactive_file": 300, "inactive_file": 1},
                },
                "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
                "pids_stats": {"current": 3},
                "networks": {"eth0": {"rx_bytes": 5, "tx_bytes": 6}, "eth1": {"rx_bytes": 1, "tx_bytes": 1}},
                "blkio_stats": {
                    "io_service_bytes_recursive": [
                        {"op": "Read", "value": 10},
                        {"op": "Write", "value": 20},
                        {"op": "Total", "value": 30},
                    ]
                },
            }
        )
        assert (usage.memory_bytes, usage.memory_limit_bytes, usage.cpu_seconds, usage.pids) == (
            700,
            5000,
            2.5,
            3,
        )
        assert (usage.block_read_bytes, usage.block_write_bytes) == (10, 20)
        assert (usage.net_rx_bytes, usage.net_tx_bytes) == (6, 7)

    def test_of_cgroup_v2(self) -> None:
        usage = usage_of_engine(
            {
                "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"inactive_file": 400}},
                "cpu_stats": {"cpu_usage": {"total_usage": 0}},
                "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 10}]},
            }
        )
        assert (usage.memory_bytes, usage.block_read_bytes) == (600, 10)

    def test_of_what_has_ended(self) -> None:
        assert usage_of_engine({"cpu_stats": {}, "blkio_stats": None}).memory_bytes == 0


class TestDisks:
    @pytest.mark.parametrize("driver", ["overlay2", "btrfs", "zfs", "devicemapper"])
    def test_drivers_that_limit_or_refuse_are_left_to_the_engine(self, driver: str) -> None:
        assert disk_obstacle({"Driver": driver, "DriverStatus": [["Backing Filesystem", "xfs"]]}) == ""

    def test_drivers_that_would_ignore_a_limit_are_refused(self) -> None:
        assert "vfs knows no limit" in disk_obstacle({"Driver": "vfs", "DriverStatus": None})
        status = [["driver-type", "io.containerd.snapshotter.v1"]]
        assert "containerd" in disk_obstacle({"Driver": "btrfs", "DriverStatus": status})

    def test_a_limit_that_was_not_granted_is_told(self) -> None:
        asked = replace(container("one"), request=StartRequest(disk_mb=9))
        granted = asked.body()["HostConfig"]
        assert granted["StorageOpt"] == {"size": "9m"}
        assert refused_limits(asked, {"HostConfig": granted}) == []
        assert refused_limits(asked, {"HostConfig": {**granted, "StorageOpt": None}}) == [
            "StorageOpt is None, not {'size': '9m'}"
        ]


def container(sandbox_id: str) -> Container:
    """Return a container that nothing special is asked of."""
    return Container(sandbox_id, "image", StartRequest(), Limits(1, 1.0, 16))


class TestContainers:
    def test_a_host_name_has_at_most_63_characters(self) -> None:
        assert len(container("x" * 100).body()["Hostname"]) == 63

    def test_there_are_no_annotations_unless_asked_for(self) -> None:
        assert not {"Annotations", "Runtime"} & container("x").body()["HostConfig"].keys()
