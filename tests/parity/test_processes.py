"""Clients among threads, event loops, signals and forked processes."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flash_sandbox
from flash_sandbox import ClientClosedError, SandboxNotFoundError
from flash_sandbox.orchestrator import Orchestrator

SYNC = ["HTTPClient", "SandboxClient"]
ASYNC = ["AsyncHTTPClient", "AsyncSandboxClient"]


def address_for(name: str, orchestrator: Orchestrator) -> str:
    return orchestrator.http_address if "HTTP" in name else orchestrator.grpc_address


def new_client(name: str, orchestrator: Orchestrator) -> Any:
    return getattr(flash_sandbox, name)(address=address_for(name, orchestrator))


def run_script(name: str, orchestrator: Orchestrator, body: str) -> subprocess.CompletedProcess[str]:
    lines = [
        "import os, signal, sys, threading, time",
        "import flash_sandbox",
        f"client = flash_sandbox.{name}(address={address_for(name, orchestrator)!r})",
        body,
    ]
    # The warning of Python 3.12 about threads and fork is about this very thing.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", "\n".join(lines)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", SYNC)
def test_many_threads_share_one_client(name: str, orchestrator: Orchestrator) -> None:
    with new_client(name, orchestrator) as client, ThreadPoolExecutor(32) as pool:
        sandbox_id = client.start_sandbox(memory_mb=64)
        states = list(pool.map(lambda _: client.get_status(sandbox_id), range(320)))
        client.stop_sandbox(sandbox_id)
    assert states == ["running"] * 320


@pytest.mark.parametrize("name", ASYNC)
async def test_many_tasks_share_one_client(name: str, orchestrator: Orchestrator) -> None:
    async with (
        new_client(name, orchestrator) as client,
        await flash_sandbox.AsyncSandbox.create(client=client, memory_mb=64) as sandbox,
    ):
        states = await asyncio.gather(*(sandbox.get_status() for _ in range(300)))
    assert states == ["running"] * 300


@pytest.mark.parametrize("name", SYNC)
async def test_synchronous_client_works_inside_a_running_loop(name: str, orchestrator: Orchestrator) -> None:
    with new_client(name, orchestrator) as client, pytest.raises(SandboxNotFoundError):
        client.get_status("a")


@pytest.mark.parametrize("name", ASYNC)
def test_asynchronous_client_refuses_a_second_loop(name: str, orchestrator: Orchestrator) -> None:
    client = new_client(name, orchestrator)

    async def ask() -> None:
        with pytest.raises(SandboxNotFoundError):
            await client.get_status("a")

    with asyncio.Runner() as first:
        first.run(ask())
        with asyncio.Runner() as second, pytest.raises(ClientClosedError, match="another event loop"):
            second.run(client.get_status("a"))
        first.run(client.close())


@pytest.mark.parametrize("name", ASYNC)
async def test_cancelled_call_is_cancelled_and_nothing_else(name: str, orchestrator: Orchestrator) -> None:
    async with (
        new_client(name, orchestrator) as client,
        await flash_sandbox.AsyncSandbox.create(client=client, memory_mb=64) as sandbox,
    ):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.2):
                await sandbox.exec_command(["sleep", "30"])
        assert not isinstance(caught.value, flash_sandbox.SandboxError)
        assert await sandbox.get_status() == "running"


@pytest.mark.parametrize("name", ASYNC)
async def test_handled_failure_leaves_no_cancellation_behind(name: str, orchestrator: Orchestrator) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kind = getattr(flash_sandbox, name)
    async with server, kind(address=f"127.0.0.1:{port}", max_retries=0) as client:
        with pytest.raises(flash_sandbox.SandboxConnectionError):
            await client.get_status("a")
        with pytest.raises(flash_sandbox.SandboxError):
            await client.get_status("a", timeout=1e-6)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("name", SYNC)
def test_forked_child_works_at_once_and_the_parent_goes_on(name: str, orchestrator: Orchestrator) -> None:
    done = run_script(
        name,
        orchestrator,
        """
sandbox_id = client.start_sandbox(memory_mb=64)
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        status = client.get_status(sandbox_id)
        client.close()
        os._exit(0 if status == "running" else 1)
    children.append(pid)
    assert client.get_status(sandbox_id) == "running"
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
client.stop_sandbox(sandbox_id)
client.close()
print(codes)
""",
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 0]\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("name", SYNC)
def test_forked_child_that_exits_in_the_usual_way_does_not_hang(
    name: str, orchestrator: Orchestrator
) -> None:
    done = run_script(
        name,
        orchestrator,
        """
sandbox_id = client.start_sandbox(memory_mb=64)
pid = os.fork()
if pid == 0:
    client.get_status(sandbox_id)
    sys.exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
client.stop_sandbox(sandbox_id)
client.close()
print(code)
""",
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("name", SYNC)
def test_interpreter_exits_cleanly_with_a_client_that_was_left_open(
    name: str, orchestrator: Orchestrator
) -> None:
    done = run_script(
        name,
        orchestrator,
        "try: client.get_status('a')\nexcept flash_sandbox.SandboxNotFoundError: print('asked')",
    )
    assert (done.stdout, done.stderr, done.returncode) == ("asked\n", "", 0)


@pytest.mark.parametrize("name", SYNC)
def test_interpreter_exits_cleanly_where_warnings_are_errors(name: str, orchestrator: Orchestrator) -> None:
    script = f"""
import flash_sandbox
client = flash_sandbox.{name}(address={address_for(name, orchestrator)!r})
try:
    client.get_status("a")
except flash_sandbox.SandboxNotFoundError:
    print("asked")
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("asked\n", "", 0)


@pytest.mark.parametrize("name", SYNC)
def test_interrupt_ends_the_call_and_the_command(name: str, orchestrator: Orchestrator) -> None:
    done = run_script(
        name,
        orchestrator,
        """
# A process that a shell starts in the background is started with SIGINT ignored, and hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
other = client.with_options(timeout=10)
sandbox_id = client.start_sandbox(memory_mb=64)
def running():
    return "sleep\\x004711\\x00" in other.exec_command(sandbox_id, "cat /proc/[0-9]*/cmdline").stdout
def interrupt():
    while not running():
        pass
    os.kill(os.getpid(), signal.SIGINT)
thread = threading.Thread(target=interrupt)
thread.start()
try:
    client.exec_command(sandbox_id, ["sleep", "4711"])
except KeyboardInterrupt:
    print("interrupted")
thread.join()
deadline = time.monotonic() + 10
while running():
    assert time.monotonic() < deadline, "the command runs on"
client.stop_sandbox(sandbox_id)
client.close()
""",
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("name", SYNC)
def test_interrupt_ends_a_stream_and_its_command(name: str, orchestrator: Orchestrator) -> None:
    done = run_script(
        name,
        orchestrator,
        """
signal.signal(signal.SIGINT, signal.default_int_handler)
sandbox_id = client.start_sandbox(memory_mb=64)
def running():
    return "sleep\\x004712\\x00" in client.exec_command(sandbox_id, "cat /proc/[0-9]*/cmdline").stdout
try:
    with client.exec_stream(sandbox_id, "echo on; exec sleep 4712") as stream:
        next(stream)
        next(stream)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        next(stream)
except KeyboardInterrupt:
    print("interrupted")
deadline = time.monotonic() + 10
while running():
    assert time.monotonic() < deadline, "the command runs on"
client.stop_sandbox(sandbox_id)
client.close()
""",
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.parametrize("name", SYNC)
def test_client_that_was_not_closed_is_told_of(name: str, orchestrator: Orchestrator) -> None:
    def use() -> None:
        with pytest.raises(SandboxNotFoundError):
            new_client(name, orchestrator).get_status("a")
        gc.collect()

    gc.collect()
    with pytest.warns(ResourceWarning, match="unclosed client"):
        use()


@pytest.mark.parametrize("name", ["HTTPClient", "SandboxClient", *ASYNC])
def test_client_that_was_never_used_needs_no_close(name: str, orchestrator: Orchestrator) -> None:
    # Warnings are errors here.
    new_client(name, orchestrator)
    gc.collect()


@pytest.mark.parametrize("name", ["HTTPClient", "SandboxClient"])
async def test_synchronous_client_works_in_the_thread_of_a_running_loop(
    name: str, orchestrator: Orchestrator
) -> None:
    with new_client(name, orchestrator) as client, pytest.raises(flash_sandbox.SandboxNotFoundError):
        client.get_status("a")
