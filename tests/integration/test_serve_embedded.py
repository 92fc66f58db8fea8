"""The orchestrator inside this process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from flash_sandbox import AsyncHTTPClient, AsyncSandboxClient, HTTPClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.bubblewrap import bwrap
from flash_sandbox.orchestrator.runtimes.catalogue import Limits
from flash_sandbox.orchestrator.state import directory
from flash_sandbox.orchestrator.state.directory import StateDirError


async def test_both_front_doors_show_the_same_sandboxes(limits: Limits) -> None:
    async with (
        Orchestrator(limits=limits) as orchestrator,
        AsyncHTTPClient(address=orchestrator.http_address) as http,
        AsyncSandboxClient(address=orchestrator.grpc_address) as grpc,
    ):
        assert await grpc.get_status(await http.start_sandbox(type="bubblewrap")) == "running"


async def test_two_run_side_by_side(limits: Limits) -> None:
    async with Orchestrator(limits=limits) as first:
        async with Orchestrator(limits=limits):
            pass
        async with AsyncHTTPClient(address=first.http_address) as client:
            assert await client.start_sandbox(type="bubblewrap")


async def test_a_state_directory_may_be_where_sandboxes_are_put_together(
    limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bwrap, "_BASES", (str(tmp_path), *bwrap._BASES))
    async with (
        Orchestrator(limits=limits, state_dir=tmp_path / "state") as orchestrator,
        AsyncHTTPClient(address=orchestrator.http_address) as client,
    ):
        sandbox_id = await client.start_sandbox(type="bubblewrap")
        assert (await client.exec_command(sandbox_id, ["true"])).exit_code == 0


async def test_a_temporary_state_directory_is_removed(limits: Limits) -> None:
    async with Orchestrator(limits=limits) as orchestrator:
        state_dir = orchestrator.state_dir
        assert state_dir is not None
        assert state_dir.is_dir()
    assert not state_dir.exists()


async def test_a_second_stop_does_no_harm(limits: Limits) -> None:
    async with Orchestrator(limits=limits) as orchestrator:
        await orchestrator.close()
        await orchestrator.close()


async def test_a_stop_does_not_wait_for_idle_connections(limits: Limits) -> None:
    async with asyncio.timeout(30), Orchestrator(limits=limits) as orchestrator:
        http = AsyncHTTPClient(address=orchestrator.http_address)
        grpc = AsyncSandboxClient(address=orchestrator.grpc_address)
        await grpc.stop_sandbox(await http.start_sandbox(type="bubblewrap"))
        async with asyncio.timeout(2):
            await orchestrator.close()
        await http.close()
        await grpc.close()


async def test_a_port_that_is_taken_leaves_nothing_open(limits: Limits, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            async with Orchestrator(limits=limits, grpc_port=port, state_dir=tmp_path):
                pass
    async with Orchestrator(limits=limits, grpc_port=port, state_dir=tmp_path) as orchestrator:
        assert orchestrator.grpc_address == f"127.0.0.1:{port}"


async def test_a_state_directory_in_use_is_refused(
    limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_LOCK_SECONDS", 0.1)
    async with Orchestrator(limits=limits, state_dir=tmp_path):
        with pytest.raises(StateDirError, match="another orchestrator uses"):
            async with Orchestrator(limits=limits, state_dir=tmp_path):
                pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_listening_beyond_loopback_needs_a_key(host: str, limits: Limits) -> None:
    with pytest.raises(ValueError, match="set an API key"):
        async with Orchestrator(host=host, limits=limits):
            pass


async def test_an_ipv6_address_is_given_in_brackets(limits: Limits) -> None:
    async with (
        Orchestrator(host="::1", limits=limits) as orchestrator,
        httpx.AsyncClient(base_url=orchestrator.http_address) as client,
    ):
        assert orchestrator.grpc_address.startswith("[::1]:")
        assert (await client.get("/healthz")).status_code == 200


def test_it_runs_in_a_thread_of_its_own(limits: Limits) -> None:
    with (
        running_orchestrator(limits=limits) as orchestrator,
        HTTPClient(address=orchestrator.http_address) as client,
    ):
        assert client.get_status(client.start_sandbox(type="bubblewrap")) == "running"


def test_a_failed_start_in_a_thread_is_raised_here() -> None:
    with pytest.raises(ValueError, match="set an API key"), running_orchestrator(host="0.0.0.0"):
        pass
