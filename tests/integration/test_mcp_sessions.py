"""Who may use the MCP server, and what ends with a session."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from inside import wait_until
from mcp_clients import FSB_MCP, SESSIONS, answer, connected, served

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


def there(client: HTTPClient) -> set[str]:
    return {info.id for info in client.sandboxes()}


@pytest.mark.parametrize("kind", SESSIONS)
async def test_sandboxes_end_with_the_session_unless_kept(
    kind: str, orchestrator: Orchestrator, client: HTTPClient
) -> None:
    async with connected(kind, orchestrator.http_address) as mcp:
        kept = (await answer(mcp, "create_sandbox", memory_mb=64, keep=True))["id"]
        ended = [(await answer(mcp, "create_sandbox", memory_mb=64))["id"]]
        ended += await answer(mcp, "fork_sandbox", sandbox_id=kept)
        kept_copy = (await answer(mcp, "fork_sandbox", sandbox_id=kept, keep=True))[0]
        assert {kept, kept_copy, *ended} <= there(client)
    wait_until(lambda: not there(client) & {*ended}, "they end with the session")
    assert {kept, kept_copy} <= there(client)
    for each in (kept, kept_copy):
        client.stop_sandbox(each)


async def test_without_a_session_they_end_when_they_are_idle(
    orchestrator: Orchestrator, client: HTTPClient
) -> None:
    async with connected("http", orchestrator.http_address) as mcp:
        made = (await answer(mcp, "create_sandbox", memory_mb=64))["id"]
        kept = (await answer(mcp, "create_sandbox", memory_mb=64, keep=True))["id"]
    assert client.get_info(made).idle_timeout == 1800
    assert client.get_info(kept).idle_timeout == 0
    for each in (made, kept):
        client.stop_sandbox(each)


async def started_in_a_session(http: httpx.AsyncClient, url: str) -> tuple[dict[str, str], str]:
    """Open a session and start a sandbox in it; return the session's headers and the sandbox's ID."""
    opened = await http.post(url, json=INITIALIZE, headers=ACCEPT)
    session = ACCEPT | {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
    await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    asked = {"name": "create_sandbox", "arguments": {"memory_mb": 64}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked}
    answered = await http.post(url, json=call, headers=session, timeout=60)
    (data,) = [line for line in answered.text.splitlines() if line.startswith("data: {")]
    return session, json.loads(data.removeprefix("data: "))["result"]["structuredContent"]["id"]


async def test_sessions_end_with_the_server(orchestrator: Orchestrator, client: HTTPClient) -> None:
    async with served(orchestrator.http_address) as url, httpx.AsyncClient() as http:
        _, made = await started_in_a_session(http, url)
        assert made in there(client)
    assert made not in there(client)


async def test_an_idle_session_ends(orchestrator: Orchestrator, client: HTTPClient) -> None:
    begun = asyncio.get_running_loop().time()
    async with served(orchestrator.http_address, idle_seconds=1.5) as url, httpx.AsyncClient() as http:
        session, made = await started_in_a_session(http, url)
        assert made in there(client)
        # Use keeps it.
        listing = {"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {}}
        for _ in range(4):
            await asyncio.sleep(0.5)
            assert (await http.post(url, json=listing, headers=session)).status_code == 200
        assert made in there(client)
        async with asyncio.timeout(30):
            while made in await asyncio.to_thread(there, client):
                await asyncio.sleep(0.05)
        assert (await http.post(url, json=listing, headers=session)).status_code == 404
    assert asyncio.get_running_loop().time() - begun > 3.5


async def test_a_sandbox_that_is_started_as_the_session_ends_ends_too(
    orchestrator: Orchestrator, client: HTTPClient
) -> None:
    before = there(client)
    async with connected("http-legacy", orchestrator.http_address) as mcp:
        starting = asyncio.create_task(mcp.call_tool("create_sandbox", {"memory_mb": 64}))
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    wait_until(lambda: there(client) <= before, "it ends")


class TestByHTTP:
    def test_it_asks_for_the_key(self) -> None:
        with running_orchestrator(limits="best-effort", api_key="secret") as running:
            url = f"{running.http_address}/mcp"
            for headers in ({}, {"Authorization": "Bearer wrong"}):
                for method in ("POST", "GET", "DELETE"):
                    refused = httpx.request(method, url, headers=headers | ACCEPT)
                    assert refused.status_code == 401
                    assert refused.json()["reason"] == "unauthenticated"
                    assert refused.headers["www-authenticate"] == "Bearer"
            let_in = httpx.post(url, json=INITIALIZE, headers={"Authorization": "Bearer secret"} | ACCEPT)
            assert let_in.status_code == 200
            assert let_in.headers["x-request-id"]

    @pytest.mark.parametrize("kind", ["http", "http-legacy"])
    async def test_its_tools_carry_the_key(self, kind: str, limits: Limits) -> None:
        running = running_orchestrator(limits=limits, api_key="secret")
        orchestrator = await asyncio.to_thread(running.__enter__)
        try:
            async with connected(kind, orchestrator.http_address, api_key="secret") as mcp:
                made = (await answer(mcp, "create_sandbox", memory_mb=64))["id"]
                ended = await answer(mcp, "run_command", sandbox_id=made, command="echo in")
                assert ended["stdout"] == "in\n"
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://elsewhere.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "rebound.example"},
        ],
    )
    def test_a_web_page_of_elsewhere_may_not_call_it(
        self, orchestrator: Orchestrator, headers: dict[str, str]
    ) -> None:
        refused = httpx.post(f"{orchestrator.http_address}/mcp", json=INITIALIZE, headers=headers | ACCEPT)
        assert refused.status_code == 403
        assert refused.json()["reason"] == "origin_refused"

    def test_a_method_that_it_does_not_know_is_refused(self, orchestrator: Orchestrator) -> None:
        refused = httpx.put(f"{orchestrator.http_address}/mcp", json={})
        assert refused.status_code == 405
        assert refused.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"

    def test_without_the_extra_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with running_orchestrator(limits="best-effort") as running:
            find = importlib.util.find_spec
            monkeypatch.setattr(
                importlib.util, "find_spec", lambda name, *rest: None if name == "mcp" else find(name, *rest)
            )
            refused = httpx.post(f"{running.http_address}/mcp", json=INITIALIZE, headers=ACCEPT)
        assert refused.status_code == 404
        assert "pip install 'flash-sandbox[mcp]'" in refused.json()["detail"]

    def test_an_orchestrator_ends_while_clients_listen(self, limits: Limits) -> None:
        with ExitStack() as stack:
            running = running_orchestrator(limits=limits)
            url = f"{running.__enter__().http_address}/mcp"
            http = stack.enter_context(httpx.Client(headers=ACCEPT, timeout=60))
            http.headers["Mcp-Session-Id"] = http.post(url, json=INITIALIZE).headers["mcp-session-id"]
            events = stack.enter_context(http.stream("GET", url))
            assert events.status_code == 200
            running.__exit__(None, None, None)
            # Its end comes, and no error before.
            assert b"".join(events.iter_bytes()).replace(b": ping", b"").strip() == b""


def begin_in(process: subprocess.Popen[bytes]) -> None:
    """Open a session of a process, and start a sandbox in it."""
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {"name": "create_sandbox", "arguments": {"memory_mb": 64}}
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": asked}
    begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    for message in (INITIALIZE, begun, call):
        process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    for answered in range(1, 3):
        assert json.loads(process.stdout.readline())["id"] == answered


class TestByStandardStreams:
    def test_standard_output_has_nothing_but_the_protocol(self, tmp_path: Path) -> None:
        """With an orchestrator of its own, which ends with it."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            program = (
                "from flash_sandbox import AsyncHTTPClient, HTTPClient\n"
                "for kind in (HTTPClient, AsyncHTTPClient):\n"
                "    left = kind.__init__.__defaults__[2:]\n"
                f"    kind.__init__.__defaults__ = ('localhost', {held.getsockname()[1]}, *left)\n"
                "from flash_sandbox.cli import main\n"
                "main()\n"
            )
            environment = {
                name: value for name, value in os.environ.items() if not name.startswith("FLASH_SANDBOX_")
            } | {"TMPDIR": str(tmp_path), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
            calls = [
                {"method": "tools/list", "params": {}},
                {"method": "tools/call", "params": {"name": "create_sandbox", "arguments": {}}},
                {"method": "tools/call", "params": {"name": "get_sandbox", "arguments": {"sandbox_id": "x"}}},
                {"method": "tools/call", "params": {"name": "no_such_tool", "arguments": {}}},
                {"method": "no/such/method", "params": {}},
            ]
            with subprocess.Popen(
                [sys.executable, "-W", "error", "-c", program, "mcp"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None

                def say(message: dict[str, Any] | str) -> None:
                    text = message if isinstance(message, str) else json.dumps(message)
                    process.stdin.write(f"{text}\n")
                    process.stdin.flush()

                answers = []
                say(INITIALIZE)
                answers.append(json.loads(process.stdout.readline()))
                say("this is no JSON")
                say({"jsonrpc": "2.0", "method": "notifications/initialized"})
                for number, call in enumerate(calls, 2):
                    say({"jsonrpc": "2.0", "id": number} | call)
                    while (answered := json.loads(process.stdout.readline())).get("id") != number:
                        assert answered["jsonrpc"] == "2.0"
                    answers.append(answered)
                assert list(tmp_path.glob("flash-sandbox-*"))
                rest, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert rest == ""
        assert all(answered["jsonrpc"] == "2.0" for answered in answers)
        assert answers[2]["result"]["structuredContent"]["status"] == "running"
        assert answers[3]["result"]["isError"] is True
        assert "error" in answers[5]
        assert not list(tmp_path.glob("flash-sandbox-*"))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_ends_it_and_its_sandboxes(
        self, number: signal.Signals, orchestrator: Orchestrator, client: HTTPClient
    ) -> None:
        before = there(client)
        with subprocess.Popen(
            [sys.executable, *FSB_MCP],
            env=os.environ | {"FLASH_SANDBOX_ADDR": orchestrator.http_address},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            begin_in(process)
            assert there(client) - before
            process.send_signal(number)
            assert process.wait(30) == 128 + number
        assert there(client) <= before

    def test_without_the_extra_it_says_what_to_install(self, orchestrator: Orchestrator) -> None:
        program = "import sys\nsys.modules['mcp'] = None\nfrom flash_sandbox.cli import main\nmain()\n"
        done = subprocess.run(
            [sys.executable, "-c", program, "mcp"],
            env=os.environ | {"FLASH_SANDBOX_ADDR": orchestrator.http_address},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr == ("flash-sandbox mcp: mcp is not installed: pip install 'flash-sandbox[mcp]'\n")
