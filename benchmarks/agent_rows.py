"""What the guest agent does, beside calls that need no agent, and beside docker-py with as many in flight."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from flash_sandbox import (
    AsyncHTTPClient,
    AsyncSandboxAPI,
    AsyncSandboxClient,
    HTTPClient,
    SandboxAPI,
    SandboxClient,
)

from .docker_rows import PEER, peer_start
from .engines import IMAGE, running_engine
from .measure import Table, Times, aim_at, measured
from .report import Answer, Bars, RatesTable, Report, TimesTable
from .serving import Serving, serving

__all__ = ["report"]

IN_FLIGHT: Final = 64
_AIM_FILES: Final = 1.5
_AIM_RATE: Final = 20.0
_FLOOR: Final = "get_status"
_COMMANDS: Final = "commands"
_INSIDE: Final = "/tmp/file"
_CONTENT: Final = bytes(1024)
_CALLS: Final = 50
_TEXT: Final = f"""\
`read_file` and `write_file` of 1 KiB in an embedded sandbox, {_CALLS} a round, beside `{_FLOOR}` by the same
client, for which no agent is asked.

`{_COMMANDS}` are runs of `true` in one sandbox, {IN_FLIGHT} in flight: by the asynchronous clients in an
embedded one, by {PEER} with {IN_FLIGHT} threads in a container."""


def report(rounds: int, short: bool) -> Report:
    """Measure `rounds` times."""
    with serving() as server:
        files = _small_files(server, rounds, 2 if short else _CALLS)
        rates = _many_commands(server, rounds, short)
    answers = [
        Answer.slowest("1 KiB files", files, _FLOOR, files, _AIM_FILES),
        Answer.lowest_rate(
            f"commands in one sandbox, {IN_FLIGHT} in flight", rates[_COMMANDS], PEER, _AIM_RATE
        ),
    ]
    return Report(
        "The guest agent",
        _TEXT,
        [TimesTable(files, _FLOOR), RatesTable(rates, PEER, 1, "commands/s")],
        answers,
        [Bars.of("agent-files", "Small files beside get_status", files)],
    )


def _small_files(server: Serving, rounds: int, calls: int) -> Table:
    with HTTPClient(address=server.http) as http, SandboxClient(address=server.grpc) as grpc:
        sandbox = http.start_sandbox("bubblewrap", "host")
        http.write_file(sandbox, _INSIDE, _CONTENT)
        clients: dict[str, SandboxAPI] = {"HTTPClient": http, "SandboxClient": grpc}
        operations: dict[str, Callable[[SandboxAPI], object]] = {
            _FLOOR: lambda client: client.get_status(sandbox),
            "read_file": lambda client: client.read_file(sandbox, _INSIDE),
            "write_file": lambda client: client.write_file(sandbox, _INSIDE, _CONTENT),
        }

        def timed(operation: Callable[[SandboxAPI], object]) -> dict[str, list[float]]:
            return {name: _times(operation, client, calls) for name, client in clients.items()}

        table = measured({who: partial(timed, operation) for who, operation in operations.items()}, rounds)
        http.stop_sandbox(sandbox)
    for by_who in table.values():
        aim_at(by_who, _FLOOR, _AIM_FILES)
    return table


def _times(operation: Callable[[SandboxAPI], object], client: SandboxAPI, calls: int) -> list[float]:
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        operation(client)
        found.append(time.perf_counter() - began)
    return found


def _many_commands(server: Serving, rounds: int, short: bool) -> Table:
    docker: Any = importlib.import_module("docker")
    with ExitStack() as stack:
        engine = stack.enter_context(running_engine())
        runner = stack.enter_context(asyncio.Runner())
        peer = docker.DockerClient(base_url=engine.host, max_pool_size=IN_FLIGHT)
        stack.callback(peer.close)
        container = peer_start(peer, IMAGE)
        stack.callback(container.remove, force=True, v=True)
        threads = stack.enter_context(ThreadPoolExecutor(IN_FLIGHT))
        http = stack.enter_context(HTTPClient(address=server.http))
        sandbox = http.start_sandbox("bubblewrap", "host")
        stack.callback(http.stop_sandbox, sandbox)
        clients: tuple[AsyncSandboxAPI, ...] = (
            AsyncHTTPClient(address=server.http),
            AsyncSandboxClient(address=server.grpc),
        )
        # As many as are done in about a second.
        ours, theirs = (IN_FLIGHT, 4) if short else (8 * IN_FLIGHT, IN_FLIGHT)

        def peer_round() -> Times:
            began = time.perf_counter()
            results = list(threads.map(lambda _: container.exec_run(["true"], demux=True), range(theirs)))
            assert all(result.exit_code == 0 for result in results)
            return {_COMMANDS: (time.perf_counter() - began) / theirs}

        rows: dict[str, Callable[[], Times]] = {PEER: peer_round}
        for client in clients:
            stack.callback(_close, runner, client)
            rows[type(client).__name__] = partial(_our_round, runner, client, sandbox, ours)
        table = measured(rows, min(rounds, 10))
    aim_at(table[_COMMANDS], PEER, _AIM_RATE)
    return table


def _close(runner: asyncio.Runner, client: AsyncSandboxAPI) -> None:
    runner.run(client.close())


def _our_round(runner: asyncio.Runner, client: AsyncSandboxAPI, sandbox: str, commands: int) -> Times:
    return {_COMMANDS: runner.run(_seconds_each(client, sandbox, commands))}


async def _seconds_each(client: AsyncSandboxAPI, sandbox: str, commands: int) -> float:
    async def run(number: int) -> None:
        for _ in range(number):
            assert (await client.exec_command(sandbox, ["true"])).exit_code == 0

    began = time.perf_counter()
    await asyncio.gather(*(run(commands // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    return (time.perf_counter() - began) / commands
