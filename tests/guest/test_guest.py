"""The guest of a sandbox: its main process, commands beside it, and other streams to the same agent."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from agents import sandbox_command

from flash_sandbox.errors import ConflictError, InvalidArgumentError, SandboxEndedError
from flash_sandbox.models import ExecResult
from flash_sandbox.orchestrator.guest.guest import Defaults, Guest
from flash_sandbox.orchestrator.guest.programs import Execution, Program
from flash_sandbox.orchestrator.guest.streams import AgentStream

DEFAULTS = Defaults({"PATH": "/usr/bin:/bin", "A": "default"}, "/usr")


class Sandbox:
    """A sandbox whose agent reads and writes named pipes, which a host may open again and again."""

    def __init__(self, agent: Path, directory: Path) -> None:
        self.opened = 0
        self._pipes = [directory / "to-agent", directory / "from-agent"]
        theirs = []
        for pipe in self._pipes:
            os.mkfifo(pipe)
            theirs.append(os.open(pipe, os.O_RDWR))
        self.process = subprocess.Popen(
            [*sandbox_command(agent), "--stdio"], stdin=theirs[0], stdout=theirs[1]
        )
        for descriptor in theirs:
            os.close(descriptor)

    async def connect(self) -> AgentStream:
        self.opened += 1
        read = os.open(self._pipes[1], os.O_RDONLY | os.O_NONBLOCK)
        return AgentStream(read, os.open(self._pipes[0], os.O_WRONLY | os.O_NONBLOCK), may_break=True)


@asynccontextmanager
async def sandbox(agent: Path, directory: Path) -> AsyncIterator[Sandbox]:
    running = Sandbox(agent, directory)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@asynccontextmanager
async def opened(running: Sandbox) -> AsyncIterator[Guest]:
    guest = Guest("one", running.connect, DEFAULTS, no_kills, reconnects=True)
    try:
        await guest.open()
        yield guest
    finally:
        await guest.close()


async def no_kills() -> int:
    return 0


async def run(guest: Guest, *command: str, stdin: bytes = b"", **options: object) -> ExecResult:
    async with guest.run(Program(command, **options), stdin=stdin) as execution:  # type: ignore[arg-type]
        return await execution.result(1_000_000)


async def test_programs_have_the_defaults_unless_a_call_says_otherwise(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        assert (await run(guest, "sh", "-c", "echo $A; pwd")).stdout == "default\n/usr\n"
        given = await run(guest, "sh", "-c", "echo $A; pwd", env=("A=given",), cwd="/etc")
        assert (given.stdout, given.exit_code) == ("given\n/etc\n", 0)


async def test_input_output_and_the_end(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        result = await run(guest, "sh", "-c", "cat; echo no >&2; exit 7", stdin=b"b" * 500_000)
        assert result.stdout_bytes == b"b" * 500_000
        assert (result.stderr, result.exit_code, result.signal) == ("no\n", 7, 0)


@pytest.mark.parametrize(
    ("control", "signal"),
    [(Execution.kill, 9), (lambda execution: execution.signal(15), 15)],
    ids=["kill", "signal"],
)
async def test_a_program_is_controlled(
    agent: Path, tmp_path: Path, control: Callable[[Execution], None], signal: int
) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        async with guest.run(Program(("sh", "-c", "echo; exec sleep 600"))) as execution:
            async for _ in execution.output():
                control(execution)
            end = await execution.exit()
        assert (end.exit_code, end.signal) == (128 + signal, signal)


async def test_a_program_whose_time_is_over_ends_with_all_that_it_started(
    agent: Path, tmp_path: Path
) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        program = Program(("sh", "-c", "setsid sleep 4716 & sleep 4716"))
        async with guest.run(program, timeout=0.1) as execution:
            result = await execution.result(100)
        assert (result.signal, result.timed_out) == (9, True)
        assert (await run(guest, "pgrep", "-fc", "^sleep 4716")).stdout == "0\n"


async def test_a_program_that_is_left_ends(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        async with guest.run(Program(("sh", "-c", "sleep 4717"))):
            pass
        assert (await run(guest, "pgrep", "-fc", "^sleep 4717")).stdout == "0\n"


async def test_input_is_written_while_it_runs_and_arrives_in_order(agent: Path, tmp_path: Path) -> None:
    async with (
        sandbox(agent, tmp_path) as running,
        opened(running) as guest,
        guest.run(Program(("cat",)), stdin=b"a" * 400_000, keep_stdin=True) as execution,
    ):
        reading = asyncio.create_task(execution.result(1_000_000))
        await execution.write(b"b")
        await execution.write(b"c", end=True)
        assert (await reading).stdout == "a" * 400_000 + "bc"
        with pytest.raises(ConflictError):
            await execution.write(b"d")


async def test_a_user_that_the_sandbox_does_not_have_is_refused(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        with pytest.raises(InvalidArgumentError, match="user"):
            await run(guest, "true", user="no-such-user")


async def test_the_main_process_ends_and_leaves_its_last_output(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        await guest.start_main(("sh", "-c", "seq 100000; echo last; exit 5"))
        assert await guest.main_exit == 5
        log = guest.logs()
        assert log.output.endswith(b"100000\nlast\n")
        assert (len(log.output), log.dropped > 0) == (64 * 1024, True)


@pytest.mark.parametrize("command", [("/no/such",), ("/etc/passwd",), ("no-such",)])
async def test_a_main_process_that_cannot_be_run_is_refused(
    agent: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        with pytest.raises(InvalidArgumentError, match=f"'{command[0]}' cannot be run: (No such|Permission)"):
            await guest.start_main(command)
        await guest.start_main(("sh", "-c", "exit 127"))
        assert await guest.main_exit == 127


async def test_a_program_goes_on_over_another_stream(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        script = "echo before; read a; echo $a; read a; echo $a"
        async with guest.run(Program(("sh", "-c", script)), keep_stdin=True) as execution:
            output = aiter(execution.output())
            assert (await anext(output)).data == b"before\n"
            await execution.write(b"one\n")
            assert (await anext(output)).data == b"one\n"
            await guest.hold()
            writing = asyncio.create_task(execution.write(b"two\n"))
            await asyncio.sleep(0)
            await guest.open()
            await writing
            assert [piece.data async for piece in output] == [b"two\n"]
            assert (await execution.exit()).exit_code == 0
        assert running.opened == 2


async def test_the_next_host_goes_on_with_what_runs(agent: Path, tmp_path: Path) -> None:
    async with sandbox(agent, tmp_path) as running:
        async with AsyncExitStack() as stack:
            before = await stack.enter_async_context(opened(running))
            await before.start_main(
                ("sh", "-c", "echo begun; while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 3")
            )
            while b"begun" not in before.logs().output:
                await asyncio.sleep(0.01)
            # What nobody reads any more must not hold it up, and nobody writes what it reads.
            script = "echo; cat; head -c 5000000 /dev/zero; touch /tmp/left"
            left = await stack.enter_async_context(before.run(Program(("sh", "-c", script)), keep_stdin=True))
            assert (await anext(aiter(left.output()))).data == b"\n"
            # As if the host had been killed: nobody tells the agent.
            before.channel.close()
        async with opened(running) as after:
            await run(after, "touch", "/tmp/go")
            assert await after.main_exit == 3
            assert after.logs().output == b"begun\n"
            while (await run(after, "test", "-e", "/tmp/left")).exit_code != 0:
                pass


@pytest.mark.parametrize("same", [True, False], ids=["the same host", "the next host"])
async def test_output_that_nobody_takes_is_dropped_and_counted(
    agent: Path, tmp_path: Path, same: bool
) -> None:
    async with sandbox(agent, tmp_path) as running, opened(running) as guest:
        script = (
            "echo begun; read go < /tmp/go; seq 500000; echo > /tmp/done; read go < /tmp/go; echo end; exit 3"
        )
        await run(guest, "mkfifo", "/tmp/go", "/tmp/done")
        await guest.start_main(("sh", "-c", script))
        await run(guest, "sh", "-c", "(read done < /tmp/done; echo > /tmp/go) & echo > /tmp/go")
        await guest.hold()
        if same:
            await guest.open()
            assert await guest.main_exit == 3
            log = guest.logs()
        else:
            async with opened(running) as after:
                assert await after.main_exit == 3
                log = after.logs()
        whole = b"begun\n" + b"".join(b"%d\n" % number for number in range(1, 500_001)) + b"end\n"
        assert whole.endswith(log.output)
        assert len(log.output) + log.dropped == len(whole)


async def test_an_agent_that_dies_ends_what_waits_for_it(agent: Path, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [*sandbox_command(agent), "--inherited", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
    theirs.close()

    async def connect() -> AgentStream:
        descriptor = ours.detach()
        return AgentStream(descriptor, descriptor)

    guest = Guest("one", connect, DEFAULTS, no_kills)
    await guest.open()
    await guest.start_main(("sleep", "600"))
    running = asyncio.create_task(run(guest, "sleep", "600"))
    while (await run(guest, "pgrep", "-c", "sleep")).stdout != "2\n":
        pass
    process.kill()
    with pytest.raises(SandboxEndedError):
        await running
    assert await guest.main_exit == 137
    await guest.close()
    process.wait()
