"""Bubblewrap sandboxes beside what the kernel and bwrap alone take for the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from flash_sandbox import (
    AsyncHTTPClient,
    AsyncSandboxAPI,
    AsyncSandboxClient,
    HTTPClient,
    SandboxAPI,
    SandboxClient,
)
from flash_sandbox.orchestrator.runtimes.bubblewrap.bwrap import installed_program

from .measure import Times, Watch, aim_at, measured
from .report import Bars, Report, TimesTable
from .serving import serving

__all__ = ["report", "running_floor"]

FLOOR: Final = "bare bwrap, setns, kill"
AIMS: Final = {"start": 4.0, "exec": 3.0, "stop": None}
_TEXT: Final = """\
The floor of `start` is bwrap with the same namespaces running `true` to its end; of `exec`,
fork, setns, fork, dropping every privilege and execve of `true`; of `stop`, SIGKILL to PID 1
until everything is reaped. The rows of the clients have in addition a request and its answer,
limits and their reading back, a writable layer, the seccomp filter, output, and clean-up."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    with ExitStack() as stack:
        http, grpc, _ = stack.enter_context(serving())
        floor = stack.enter_context(running_floor())
        runner = stack.enter_context(asyncio.Runner())
        rows: dict[str, Callable[[], Times]] = {FLOOR: lambda: {what: floor(what) for what in AIMS}}
        for client in (HTTPClient(address=http), SandboxClient(address=grpc)):
            stack.enter_context(client)
            rows[type(client).__name__] = _sync(client)
        for other in (AsyncHTTPClient(address=http), AsyncSandboxClient(address=grpc)):
            stack.callback(_close, runner, other)
            rows[type(other).__name__] = _async(runner, other)
        # The kernel takes namespaces down in the background: nobody always follows the same.
        table = measured(rows, rounds)
    for what, by_who in table.items():
        aim_at(by_who, FLOOR, AIMS[what])
    plot = Bars.of("bubblewrap", "A bubblewrap sandbox beside bare bwrap", table)
    return Report("Bubblewrap", _TEXT, [TimesTable(table, FLOOR)], plots=[plot])


def _close(runner: asyncio.Runner, client: Any) -> None:
    runner.run(client.close())


def _sync(client: SandboxAPI) -> Callable[[], Times]:
    def once() -> Times:
        watch = Watch()
        sandbox_id = client.start_sandbox("bubblewrap", "host")
        watch("start")
        result = client.exec_command(sandbox_id, ["true"])
        watch("exec")
        client.stop_sandbox(sandbox_id)
        watch("stop")
        assert result.exit_code == 0, result
        return watch.times

    return once


def _async(runner: asyncio.Runner, client: AsyncSandboxAPI) -> Callable[[], Times]:
    async def once() -> Times:
        watch = Watch()
        sandbox_id = await client.start_sandbox("bubblewrap", "host")
        watch("start")
        result = await client.exec_command(sandbox_id, ["true"])
        watch("exec")
        await client.stop_sandbox(sandbox_id)
        watch("stop")
        assert result.exit_code == 0, result
        return watch.times

    return lambda: runner.run(once())


@contextmanager
def running_floor() -> Iterator[Callable[[str], float]]:
    """Run the floor in a bare interpreter and yield what measures it once."""
    program = Path(__file__).with_name("programs") / "floor.py"
    command = [sys.executable, "-I", "-S", str(program), str(installed_program())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def measure(what: str) -> float:
            stdin.write(what + "\n")
            stdin.flush()
            return float(stdout.readline())

        yield measure
        stdin.close()
