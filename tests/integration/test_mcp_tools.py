"""Every tool of the MCP server, called and cancelled by the SDK's own client, over both transports."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp_clients import KINDS, answer, complaint, connected, served, stdio

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator

TOOLS = {
    *("create_sandbox", "list_sandboxes", "get_sandbox", "stop_sandbox", "fork_sandbox"),
    *("snapshot_sandbox", "list_snapshots", "remove_snapshot"),
    *("run_command", "run_python", "start_process", "list_processes"),
    *("read_process", "write_process", "kill_process"),
    *("read_file", "write_file", "edit_file", "list_files", "search_files"),
}
MANY_BYTES = 100_000_000
PRINTS_MUCH = f"yes 0123456 | head -c {MANY_BYTES}"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def api(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@asynccontextmanager
async def sandbox(
    kind: str, orchestrator: Orchestrator, memory_mb: int = 128
) -> AsyncIterator[tuple[Client, str]]:
    """Connect, and have a sandbox until the end."""
    async with connected(kind, orchestrator.http_address) as client:
        sandbox_id = (await answer(client, "create_sandbox", memory_mb=memory_mb))["id"]
        try:
            yield client, sandbox_id
        finally:
            await answer(client, "stop_sandbox", sandbox_id=sandbox_id)


async def test_every_tool_says_what_it_does_and_takes(kind: str, orchestrator: Orchestrator) -> None:
    async with connected(kind, orchestrator.http_address) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools.keys() == TOOLS
    for name, tool in tools.items():
        assert re.match(r"[A-Z][^\n]*\.(\n|$)", tool.description or ""), name
        assert tool.output_schema is not None
        for argument, schema in tool.input_schema["properties"].items():
            assert schema["description"].endswith("."), f"{name}: {argument}"


async def test_every_tool_does_what_it_says(kind: str, orchestrator: Orchestrator) -> None:
    called = set()
    async with connected(kind, orchestrator.http_address) as client:

        async def call(tool: str, **arguments: Any) -> Any:
            called.add(tool)
            return await answer(client, tool, **arguments)

        made = await call("create_sandbox", memory_mb=128, cpu_cores=0.5, env={"A": "b"}, name=f"mcp-{kind}")
        one = {"sandbox_id": made["id"]}
        assert (made["status"], made["memory_mb"], made["name"]) == ("running", 128, f"mcp-{kind}")
        assert made["id"] in [each["id"] for each in (await call("list_sandboxes"))["sandboxes"]]
        assert await call("get_sandbox", **one) == made

        ended = await call(
            "run_command", **one, command="echo $A $B; pwd >&2; exit 3", cwd="/tmp", env={"B": "c"}
        )
        assert (ended["stdout"], ended["stderr"], ended["exit_code"]) == ("b c\n", "/tmp\n", 3)
        ended = await call("run_command", **one, command=["cat"], stdin="typed")
        assert ended["stdout"] == "typed"
        ended = await call("run_command", **one, command="echo begun; sleep 60", timeout_seconds=1)
        assert (ended["stdout"], ended["timed_out"]) == ("begun\n", True)
        ended = await call("run_python", **one, code="print(6 * 7)")
        assert (ended["stdout"], ended["exit_code"]) == ("42\n", 0)

        await call("write_file", **one, path="/tmp/new/a.txt", content="one\ntwo\nthree\n")
        assert await call("read_file", **one, path="/tmp/new/a.txt") == "one\ntwo\nthree\n"
        part = await call("read_file", **one, path="/tmp/new/a.txt", first_line=2, max_lines=1)
        assert part == "two\n[... 1 more lines, from first_line=3 on]\n"
        await call("edit_file", **one, path="/tmp/new/a.txt", old="two", new="2")
        assert await call("search_files", **one, path="/tmp", pattern="^[0-9]$") == "/tmp/new/a.txt:2:2\n"
        assert await call("search_files", **one, path="/tmp", name="*.txt") == "/tmp/new/a.txt\n"
        assert await call("search_files", **one, path="/tmp", name="*.md") == "nothing was found"
        assert await call("list_files", **one, path="/tmp/new") == {
            "entries": [{"name": "a.txt", "type": "file", "size": 12}],
            "left_out": 0,
        }

        program = one | {"process_id": (await call("start_process", **one, command=["cat"]))["process_id"]}
        await call("write_process", **program, text="hello\n")
        read = {"stdout": "", "next_offset": 0}
        while not read["stdout"]:
            read = await call("read_process", **program, wait_seconds=0.1)
        assert (read["stdout"], read["running"], read["next_offset"]) == ("hello\n", True, 6)
        (listed,) = await call("list_processes", **one)
        assert (listed["command"], listed["running"]) == (["cat"], True)
        await call("kill_process", **program)
        read = await call("read_process", **program, offset=6, wait_seconds=30)
        assert (read["stdout"], read["running"], read["exit_code"]) == ("", False, 137)

        saved = (await call("snapshot_sandbox", **one))["snapshot_path"]
        assert saved in [each["snapshot_path"] for each in await call("list_snapshots")]
        copies = [(await call("create_sandbox", snapshot=saved))["id"]]
        copies += await call("fork_sandbox", **one, count=2)
        for copy in copies:
            text = await call("read_file", sandbox_id=copy, path="/tmp/new/a.txt")
            assert text == "one\n2\nthree\n"
        await call("remove_snapshot", snapshot_path=saved)
        for each in (made["id"], *copies):
            await call("stop_sandbox", sandbox_id=each)
        left = [each["id"] for each in (await call("list_sandboxes"))["sandboxes"]]
        assert not {made["id"], *copies} & {*left}
    assert called == TOOLS


@asynccontextmanager
async def silence() -> AsyncIterator[tuple[str, set[asyncio.StreamWriter]]]:
    """Listen where nobody answers; give the address, and the calls that wait."""
    waiting: set[asyncio.StreamWriter] = set()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.add(writer)
        try:
            while await reader.read(65536):
                pass
        finally:
            waiting.discard(writer)
            writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", waiting


ARGUMENTS = {
    "sandbox_id": "0123456789abcdef",
    "process_id": "0123456789abcdef",
    "command": "true",
    "code": "pass",
    "path": "/tmp/a",
    "content": "",
    "old": "a",
    "new": "b",
    "snapshot_path": "/a",
}


async def until(condition: Any, what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_tool_can_be_cancelled(kind: str) -> None:
    async with (
        silence() as (address, waiting),
        served(address) as url,
        connected(kind, address, url=url) as client,
    ):
        for tool in (await client.list_tools()).tools:
            needed = {name: ARGUMENTS[name] for name in tool.input_schema.get("required", ())}
            calling = asyncio.create_task(client.call_tool(tool.name, needed, read_timeout_seconds=0.5))
            await until(lambda: waiting, f"{tool.name} calls")
            with pytest.raises(MCPError, match="timed out"):
                await calling
            await until(lambda: not waiting, f"{tool.name} gives its call up")
        # It goes on.
        assert (await client.list_tools()).tools


async def test_cancelling_a_call_ends_its_command(
    kind: str, orchestrator: Orchestrator, api: HTTPClient
) -> None:
    async with sandbox(kind, orchestrator) as (client, sandbox_id):
        with pytest.raises(MCPError, match="timed out"):
            await client.call_tool(
                "run_command", {"sandbox_id": sandbox_id, "command": "sleep 9604"}, read_timeout_seconds=1
            )

        def running() -> bool:
            return any(process.running for process in api.list_processes(sandbox_id))

        await until(lambda: not running(), "the command ends")
        ended = await answer(client, "run_command", sandbox_id=sandbox_id, command="ps -A -o args= || ps")
        assert "9604" not in ended["stdout"]


async def test_a_command_reports_progress(kind: str, orchestrator: Orchestrator) -> None:
    told: list[tuple[float, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with sandbox(kind, orchestrator) as (client, sandbox_id):
        script = "echo one; echo two; sleep 2.5"
        await client.call_tool(
            "run_command", {"sandbox_id": sandbox_id, "command": script}, progress_callback=tell
        )
    assert len(told) >= 2
    assert sorted(told) == told
    assert {message for _, message in told} == {"two"}


@pytest.mark.parametrize(
    ("kind", "tool"),
    [*((kind, "run_command") for kind in KINDS), ("stdio", "run_python"), ("http", "read_process")],
)
async def test_output_of_100_mb_fits_an_answer(kind: str, tool: str, orchestrator: Orchestrator) -> None:
    async with sandbox(kind, orchestrator, memory_mb=512) as (client, sandbox_id):
        arguments: dict[str, Any] = {"sandbox_id": sandbox_id}
        if tool == "run_command":
            arguments |= {"command": PRINTS_MUCH}
        elif tool == "run_python":
            arguments |= {"code": f"print('0123456\\n' * {MANY_BYTES // 8}, end='')"}
        else:
            begun = await answer(client, "start_process", sandbox_id=sandbox_id, command=PRINTS_MUCH)
            arguments |= {"process_id": begun["process_id"], "wait_seconds": 100}
        result = await client.call_tool(tool, arguments)
        told = result.structured_content
        assert told is not None
        assert (told["exit_code"], told["timed_out"]) == (0, False)
        if tool == "run_command":
            # Of others the orchestrator keeps the end alone.
            assert told["stdout"].startswith("0123456\n0123456\n")
        assert told["stdout"].endswith("0123456\n0123456\n")
        shown = sum(map(len, re.split(r"\n\[\.\.\. \d+ bytes left out \.\.\.\]\n", told["stdout"])))
        assert shown + told["stdout_left_out"] + told.get("dropped", 0) == MANY_BYTES
        assert 1024 < shown <= 32 * 1024
        assert len(result.model_dump_json()) < 256 * 1024


async def test_it_needs_little_memory_for_much_output(orchestrator: Orchestrator, tmp_path: Any) -> None:
    note = tmp_path / "most"
    program = (
        "import atexit, pathlib, re, sys\n"
        "def note():\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        f"    pathlib.Path({str(note)!r}).write_text(re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
        "atexit.register(note)\n"
        "from flash_sandbox.cli import main\n"
        "sys.argv[1:] = ['mcp']\n"
        "main()\n"
    )
    async with Client(stdio(orchestrator.http_address, ("-W", "error", "-c", program))) as client:
        sandbox_id = (await answer(client, "create_sandbox", memory_mb=128))["id"]
        for _ in range(2):
            await answer(client, "run_command", sandbox_id=sandbox_id, command=PRINTS_MUCH)
    await until(note.exists, "it ends")
    # In KiB, of this program and not of the one that has forked it. The SDK alone takes 90 MiB.
    assert int(note.read_text()) < 200 * 1024


async def test_calls_run_at_the_same_time(kind: str, orchestrator: Orchestrator) -> None:
    async with sandbox(kind, orchestrator) as (client, sandbox_id):
        # Each waits for all.
        script = "touch /tmp/{0}; until [ $(ls /tmp/[0-9]* | wc -l) = 12 ]; do sleep 0.05; done; echo {0}"
        ended = await asyncio.gather(
            *(
                answer(client, "run_command", sandbox_id=sandbox_id, command=script.format(number))
                for number in range(12)
            )
        )
        assert [each["stdout"] for each in ended] == [f"{number}\n" for number in range(12)]

        await answer(client, "write_file", sandbox_id=sandbox_id, path="/tmp/list", content="end\n")
        await asyncio.gather(
            *(
                answer(
                    client,
                    "edit_file",
                    sandbox_id=sandbox_id,
                    path="/tmp/list",
                    old="end\n",
                    new=f"{number}\nend\n",
                )
                for number in range(12)
            )
        )
        lines = (await answer(client, "read_file", sandbox_id=sandbox_id, path="/tmp/list")).split()
        assert sorted(lines[:-1], key=int) == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_sandbox", {"sandbox_id": "nobody"}, "sandbox_not_found: .* nobody.*Next: .*list_sandboxes"),
        ("create_sandbox", {"snapshot": "/nowhere"}, "snapshot_refused: .*Next: .*list_snapshots"),
        ("run_command", {"command": []}, "invalid_argument: .*Next: Correct"),
        ("run_command", {"command": "true", "cwd": "relative"}, "invalid_argument: .*Next: Correct"),
        ("read_process", {"process_id": "nothing"}, "process_not_found: .*Next: Call list_processes"),
        ("read_file", {"path": "/nowhere"}, "file_not_found: .*Next: Call list_files"),
        ("read_file", {"path": "/bin/true"}, "no text in UTF-8, but [0-9]+ bytes. Next: .*run_command"),
        ("list_files", {"path": "/bin/true"}, "file_conflict: .*Next: Call list_files"),
        ("edit_file", {"path": "/etc/passwd", "old": "nowhere", "new": ""}, "does not have.*Next: read_file"),
        (
            "edit_file",
            {"path": "/etc/passwd", "old": ":", "new": ""},
            "[0-9]+ times. Next: .*more of the text",
        ),
        ("search_files", {"path": "-delete"}, "is not absolute"),
        ("run_command", {"command": "true", "timeout_seconds": 0}, "timeout_seconds\n.*greater than 0"),
    ],
)
async def test_a_failure_has_its_reason_and_the_next_step(
    tool: str, arguments: dict[str, Any], said: str, orchestrator: Orchestrator
) -> None:
    async with sandbox("http", orchestrator) as (client, sandbox_id):
        if tool != "create_sandbox":
            arguments = {"sandbox_id": sandbox_id} | arguments
        text = await complaint(client, tool, **arguments)
    assert re.search(said, text, re.DOTALL), text
    assert "Traceback" not in text


async def test_an_orchestrator_that_is_not_there_is_told_of() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with connected("stdio", f"http://127.0.0.1:{held.getsockname()[1]}") as client:
            text = await complaint(client, "list_sandboxes")
    assert re.search(r"connection_failed: .*Next: Ask the user whether the orchestrator runs", text)


async def test_a_long_file_is_read_in_parts(orchestrator: Orchestrator) -> None:
    async with sandbox("http", orchestrator) as (client, sandbox_id):
        lines = [f"{number} {'x' * 90}\n" for number in range(3000)]
        one = {"sandbox_id": sandbox_id, "path": "/tmp/long"}
        await answer(client, "write_file", **one, content="".join(lines))
        text, first = "", 1
        while True:
            part = await answer(client, "read_file", **one, first_line=first)
            assert len(part) < 33 * 1024
            text += re.sub(r"\[\.\.\. .*\]\n$", "", part)
            more = re.search(r"first_line=(\d+) on\]\n$", part)
            if more is None:
                break
            first = int(more[1])
        assert text == "".join(lines)
        await answer(client, "write_file", **one, content="y" * 100_000 + "\nend\n")
        part = await answer(client, "read_file", **one)
        assert "bytes left out" in part
        assert part.endswith("[... 1 more lines, from first_line=2 on]\n")


async def test_what_is_answered_is_json(orchestrator: Orchestrator) -> None:
    """Bytes that are no text are shown as such."""
    async with sandbox("http", orchestrator) as (client, sandbox_id):
        ended = await answer(client, "run_command", sandbox_id=sandbox_id, command=r"printf 'a\377\000b'")
    assert ended["stdout"] == "a��b"
    assert json.loads(json.dumps(ended)) == ended
