"""Mixed load for a while, on both transports, with sandboxes killed at random: what fails, and what grows.

Not a part of a whole run: ``python -m benchmarks --only soak`` takes 15 minutes; ``--rounds N``, N of them.
"""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from flash_sandbox import AsyncHTTPClient, AsyncSandboxAPI, AsyncSandboxClient
from flash_sandbox.errors import ConflictError, SandboxEndedError, SandboxError

from .processes import memory_by_kind, tree
from .report import Answer, AnswersTable, Lines, Report
from .serving import Serving, serving

__all__ = ["report"]

_WORKERS: Final = 3
_AT_ONCE: Final = 20
_KILL_SECONDS: Final = 0.5
# Each cycle ends with nothing running, when what is there is counted.
_CYCLE_SECONDS: Final = 30.0
_SHORT_CYCLE_SECONDS: Final = 5.0
_SHORT_CYCLES: Final = 4
# The orchestrator and its launcher.
_AT_REST: Final = 2
# With one thread each, and those that asyncio makes for blocking work when it needs them, and keeps.
_MOST_THREADS: Final = _AT_REST + min(32, (os.cpu_count() or 1) + 4)
_MEMORY_AIM: Final = 5.0
_MIB: Final = 1024 * 1024
_OUTPUT_BYTES: Final = 65536
# What an operation on a sandbox may say whose processes were killed while it went on.
_OF_KILLED: Final = (SandboxEndedError, ConflictError)

_Result = TypeVar("_Result")
_TEXT: Final = f"""\
{2 * _WORKERS} callers, half of them over HTTP and half over gRPC, each with a sandbox at a time;
twice a second the PID 1 of one of them, or its bwrap, is killed from outside. After each cycle, with
nothing running, what the orchestrator, its launcher and the kernel hold for them is counted. What has
grown is the last count less the second."""

Operation = Callable[[AsyncSandboxAPI, str], Awaitable[object]]


def report(rounds: int, short: bool) -> Report:
    """Load an orchestrator for `rounds` minutes, or for some seconds."""
    seconds = _SHORT_CYCLE_SECONDS if short else _CYCLE_SECONDS
    cycles = _SHORT_CYCLES if short else max(round(rounds * 60 / seconds), 3)
    with serving() as server:
        soak = _Soak(server)
        asyncio.run(soak.run(cycles, seconds))
    return _told(soak, short)


class _Soak:
    """One orchestrator under load.

    Attributes:
        calls: How often each operation was done.
        killed: Sandboxes whose PID 1, or the bwrap that waits for it, was killed from outside.
        errors: What failed that should not have.
        counts: After each cycle, with nothing running: how many there are of what, by name.
    """

    def __init__(self, server: Serving) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.killed: set[str] = set()
        self.errors: list[str] = []
        self.counts: list[dict[str, float]] = []
        self._server = server
        # Those that are being started or stopped are not killed: what is said of that is any error.
        self._running: set[str] = set()
        self._began = time.monotonic()

    async def run(self, cycles: int, seconds: float) -> None:
        """Load it in cycles of so many seconds."""
        async with AsyncHTTPClient(address=self._server.http) as client:
            # What is made when it is first needed, and kept: threads, ID maps of users.
            ids = await asyncio.gather(*(_start(client) for _ in range(_AT_ONCE)))
            await asyncio.gather(*(client.stop_sandbox(each) for each in ids))
        for _ in range(cycles):
            await self._cycle(seconds)
            self.counts.append(await self._count())

    async def _cycle(self, seconds: float) -> None:
        """Load it for so many seconds, by clients that are closed then: what they keep open varies."""
        async with (
            AsyncHTTPClient(address=self._server.http) as http,
            AsyncSandboxClient(address=self._server.grpc) as grpc,
        ):
            clients: list[AsyncSandboxAPI] = [http, grpc]
            deadline = time.monotonic() + seconds
            killing = asyncio.create_task(self._kill_until(deadline))
            await asyncio.gather(*(self._work(client, deadline) for client in clients * _WORKERS))
            await killing

    async def _work(self, client: AsyncSandboxAPI, deadline: float) -> None:
        while time.monotonic() < deadline:
            name, sandbox_id = "start", ""
            try:
                sandbox_id = await self._counted(name, _start(client))
                self._running.add(sandbox_id)
                for _ in range(random.randint(1, 8)):
                    name, operation = random.choice(list(_OPERATIONS.items()))
                    await self._counted(name, operation(client, sandbox_id))
            except (SandboxError, AssertionError) as error:
                if not (sandbox_id in self.killed and isinstance(error, _OF_KILLED)):
                    self._note(name, sandbox_id, error)
            finally:
                self._running.discard(sandbox_id)
                if sandbox_id:
                    await self._stop(client, sandbox_id)

    async def _stop(self, client: AsyncSandboxAPI, sandbox_id: str) -> None:
        try:
            await self._counted("stop", client.stop_sandbox(sandbox_id))
        except SandboxError as error:
            self._note("stop", sandbox_id, error)

    async def _counted(self, name: str, call: Awaitable[_Result]) -> _Result:
        self.calls[name] += 1
        return await call

    def _note(self, name: str, sandbox_id: str, error: Exception) -> None:
        was_killed = ", which was killed" if sandbox_id in self.killed else ""
        said = f"{name} on {sandbox_id or 'none'}{was_killed}: {type(error).__name__}: {error}"
        print(said, file=sys.stderr)
        self.errors.append(said)

    async def _kill_until(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            await asyncio.sleep(_KILL_SECONDS)
            found = [each for each in _victims(self._server.pid) if each[1] in self._running]
            if found:
                pid, sandbox_id = random.choice(found)
                self.killed.add(sandbox_id)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _count(self) -> dict[str, float]:
        pid = self._server.pid
        # The kernel takes down in the background what the last stop has left to it, and the orchestrator
        # notices in its turn that the clients have gone.
        for _ in range(50):
            await asyncio.sleep(0.1)
            if len(list(tree(pid))) == _AT_REST:
                break
        processes = list(tree(pid))
        return {
            "minutes": (time.monotonic() - self._began) / 60,
            "memory": sum(memory_by_kind(pid).values()) / _MIB,
            "descriptors": sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in processes),
            "threads": sum(len(list(Path(f"/proc/{each}/task").iterdir())) for each in processes),
            "processes": len(processes),
            "mounts": len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()),
            "cgroups": _cgroups(pid),
            "files": sum(1 for _ in _state_dir(pid).rglob("*")),
        }


async def _start(client: AsyncSandboxAPI) -> str:
    return await client.start_sandbox("bubblewrap", memory_mb=64)


def _victims(orchestrator: int) -> list[tuple[int, str]]:
    """Return each bwrap and each PID 1, which is its child, with the ID of its sandbox."""
    found = []
    for pid in tree(orchestrator):
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "--hostname" in line:
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                sandbox_id = line[line.index("--hostname") + 1]
                found += [(victim, sandbox_id) for victim in (pid, *map(int, children))]
    return found


def _cgroups(orchestrator: int) -> int:
    """Return how many cgroups there are below the orchestrator's own."""
    owners = [
        os.path.join(path, name)
        for path, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith(f"{orchestrator}.")
    ]
    return sum(len(names) for owner in owners for _, names, _ in os.walk(owner))


def _state_dir(orchestrator: int) -> Path:
    line = Path(f"/proc/{orchestrator}/cmdline").read_text().split("\0")
    return Path(line[line.index("--state-dir") + 1])


async def _exec(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    result = await client.exec_command(sandbox_id, "cat; exit 3", stdin=b"in")
    assert (result.exit_code, result.stdout) == (3, "in"), result


async def _exec_output(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    result = await client.exec_command(sandbox_id, ["head", "-c", str(_OUTPUT_BYTES), "/dev/zero"])
    assert len(result.stdout_bytes) == _OUTPUT_BYTES, result


async def _exec_too_long(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    result = await client.exec_command(sandbox_id, "sleep 60 & sleep 60", timeout=0.2)
    assert result.timed_out, result


async def _stream(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    async with await client.exec_stream(sandbox_id, "while :; do echo line; done") as stream:
        async for _ in stream:
            # Leaving ends the command.
            break


async def _process(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    process = await client.start_process(sandbox_id, ["sleep", "60"])
    await client.signal_process(sandbox_id, process, "TERM")
    result = await client.wait_process(sandbox_id, process)
    assert result.signal == signal.SIGTERM, result


async def _file(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    content = os.urandom(1000)
    await client.write_file(sandbox_id, "/tmp/file", content)
    assert await client.read_file(sandbox_id, "/tmp/file") == content


async def _snapshot(client: AsyncSandboxAPI, sandbox_id: str) -> None:
    snapshot = await client.snapshot_sandbox(sandbox_id)
    try:
        await client.resume_sandbox(sandbox_id)
        copy = await client.start_sandbox("bubblewrap", snapshot_path=snapshot.snapshot_path, memory_mb=64)
        try:
            await _exec(client, copy)
        finally:
            await client.stop_sandbox(copy)
    finally:
        await client.remove_snapshot(snapshot.snapshot_path)


_OPERATIONS: Final[dict[str, Operation]] = {
    "get_status": lambda client, sandbox_id: client.get_status(sandbox_id),
    "get_metrics": lambda client, sandbox_id: client.get_metrics(sandbox_id),
    "get_logs": lambda client, sandbox_id: client.get_logs(sandbox_id),
    "list_sandboxes": lambda client, _: client.list_sandboxes(page_size=10),
    "keep_alive": lambda client, sandbox_id: client.keep_alive(sandbox_id, 600),
    "exec": _exec,
    "exec with output": _exec_output,
    "exec that times out": _exec_too_long,
    "exec_stream that is left": _stream,
    "process": _process,
    "file": _file,
    "snapshot and restore": _snapshot,
}


def _told(soak: _Soak, short: bool) -> Report:
    # The first cycle loads modules, fills caches and makes threads.
    first, last = soak.counts[1], soak.counts[-1]
    middle = soak.counts[len(soak.counts) // 2]
    allowed = {"threads": _MOST_THREADS}
    question = f"soak of {last['minutes']:.2g} minutes"
    answers = [Answer(question, "errors that were not injected", len(soak.errors), 0)]
    answers += [
        Answer(question, f"growth: {name}", max(last[name] - max(first[name], allowed.get(name, 0)), 0), 0)
        for name in ("descriptors", "threads", "processes", "mounts", "cgroups", "files")
    ]
    if not short:
        # By the middle the ring of events is full.
        growth = 100 * (last["memory"] / middle["memory"] - 1)
        answers.append(Answer(question, "growth: memory in the second half", growth, _MEMORY_AIM, "%"))
    calls = ", ".join(f"{name} {count:,}" for name, count in sorted(soak.calls.items()))
    lines = {
        name: [(count["minutes"], count[name]) for count in soak.counts]
        for name in ("memory", "descriptors", "threads")
    }
    lines["memory (MiB)"] = lines.pop("memory")
    return Report(
        "Soak",
        f"{_TEXT}\n\n{sum(soak.calls.values()):,} calls: {calls}; {len(soak.killed):,} sandboxes killed.",
        [AnswersTable(answers)],
        answers,
        [Lines("soak", "What there is with nothing running", "minutes", "", lines)],
    )
