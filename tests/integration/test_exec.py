"""Exec tells the truth: output, exit status, and no process left behind when nobody waits for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from inside import IDLE, running, wait_until

from flash_sandbox import AsyncHTTPClient, AsyncSandboxClient, HTTPClient


@pytest.fixture(scope="module")
def client(orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox_id(client) -> Iterator[str]:
    with running(client) as sandbox_id:
        yield sandbox_id


def sleepers(client: HTTPClient, sandbox_id: str, seconds: str) -> list[str]:
    shown = client.exec_command(
        sandbox_id, ["sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"]
    )
    return [line for line in shown.stdout.splitlines() if line.strip() == f"sleep {seconds}"]


def test_both_streams_and_the_exit_status_come_back(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)


def test_arguments_reach_the_command_as_they_are(client, sandbox_id):
    arguments = ["", " ", "two words", "new\nline", "'", '"', "\\", "$HOME", "*", "naïve", "\U0001f600"]
    result = client.exec_command(
        sandbox_id, ["sh", "-c", 'for a; do printf "%s|" "$a"; done', "sh", *arguments]
    )
    assert result.stdout.split("|")[:-1] == arguments


def test_a_command_that_a_signal_ends_reports_it(client, sandbox_id):
    assert client.exec_command(sandbox_id, ["sh", "-c", "kill -TERM $$"]).exit_code == 128 + 15


def test_a_signal_is_not_lost_however_early_it_comes(client, sandbox_id):
    for _ in range(30):
        process = client.start_process(sandbox_id, ["sleep", "9391"])
        client.signal_process(sandbox_id, process, "TERM")
        assert client.wait_process(sandbox_id, process, timeout=10).signal == signal.SIGTERM


def test_a_command_that_is_not_there_is_127(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["no-such-command"])
    assert (result.exit_code, "no-such-command" in result.stderr) == (127, True)


def test_a_command_that_cannot_be_run_is_126(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["/etc/passwd"])
    assert (result.exit_code, result.stderr) == (126, "flash-sandbox: /etc/passwd: Permission denied\n")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nowhere:/etc/passwd:/a:/b", 0, "found in b"),
        ("/nowhere:/a", 126, "flash-sandbox: tool: Permission denied"),
        ("/a:/nowhere:/etc/passwd", 126, "flash-sandbox: tool: Permission denied"),
        ("/nowhere:/etc/passwd", 127, "flash-sandbox: tool: No such file or directory"),
        ("/etc/passwd:/nowhere", 127, "flash-sandbox: tool: No such file or directory"),
        # Of an empty name: where it starts.
        ("/nowhere:", 0, "found in c"),
    ],
)
def test_a_command_is_looked_for_where_path_says(client, sandbox_id, path, status, said):
    script = (
        "mkdir -p /a /b /c; touch /a/tool; "
        "for d in b c; do printf '#!/bin/sh\\necho found in '$d > /$d/tool; chmod +x /$d/tool; done"
    )
    assert client.exec_command(sandbox_id, script).exit_code == 0
    result = client.exec_command(sandbox_id, ["tool"], env={"PATH": path}, cwd="/c")
    assert (result.exit_code, (result.stdout + result.stderr).strip()) == (status, said)


def test_a_command_is_told_that_its_directory_is_not_there(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["true"], cwd="/missing")
    assert (result.exit_code, result.stderr) == (126, "flash-sandbox: /missing: No such file or directory\n")


def test_arguments_and_environment_of_any_text_come_through(client, sandbox_id):
    words = ["", "é ☃", "a\nb", "x" * 100_000, "'\"$*"]
    environment = {"TEXT": "☃=\n=", "EMPTY": ""}
    script = 'printf "%s\\0" "$@" "$TEXT" "${EMPTY-unset}"'
    result = client.exec_command(sandbox_id, ["sh", "-c", script, "sh", *words], env=environment)
    assert result.stdout.split("\0") == [*words, "☃=\n=", "", ""]


def test_a_command_line_that_the_kernel_does_not_take_is_126(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["true", *["x"] * 400_000])
    assert (result.exit_code, result.stderr) == (126, "flash-sandbox: true: Argument list too long\n")


def test_bytes_that_are_no_text_are_replaced(client, sandbox_id):
    assert client.exec_command(sandbox_id, ["printf", "a\\377b\\000c"]).stdout == "a\ufffdb\0c"


def test_output_beyond_what_is_kept_is_counted(client, sandbox_id):
    kept, more = 8 * 1024 * 1024, 12345
    result = client.exec_command(sandbox_id, ["sh", "-c", f"yes | head -c {kept + more}; echo err >&2"])
    assert (len(result.stdout), result.stdout_dropped) == (kept, more)
    assert (result.stderr, result.stderr_dropped) == ("err\n", 0)


def test_standard_input_is_empty(client, sandbox_id):
    assert client.exec_command(sandbox_id, ["cat"]).exit_code == 0


def test_a_child_that_keeps_the_pipe_does_not_hold_the_call(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["sh", "-c", "sleep 3001 & echo started"], timeout=20)
    assert result.stdout == "started\n"
    assert sleepers(client, sandbox_id, "3001") == ["sleep 3001 "]


def test_orphans_are_reaped(client, sandbox_id):
    client.exec_command(sandbox_id, ["sh", "-c", "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done"])

    def zombies() -> str:
        return client.exec_command(sandbox_id, ["sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status"]).stdout

    wait_until(lambda: not zombies(), "PID 1 to reap orphans")


def test_commands_run_at_the_same_time(client, sandbox_id, orchestrator):
    async def both() -> list[str]:
        async with AsyncHTTPClient(address=orchestrator.http_address) as one:
            first = asyncio.create_task(
                one.exec_command(
                    sandbox_id, ["sh", "-c", "while ! [ -e /tmp/go ]; do sleep 0.01; done; echo first"]
                )
            )
            second = await one.exec_command(sandbox_id, ["sh", "-c", "touch /tmp/go; echo second"])
            return [(await first).stdout, second.stdout]

    assert asyncio.run(both()) == ["first\n", "second\n"]


@pytest.mark.parametrize("kind", [AsyncHTTPClient, AsyncSandboxClient])
@pytest.mark.parametrize("how", ["plain", "in a session of its own", "double fork"])
def test_a_command_whose_caller_times_out_is_ended_with_all_its_children(
    client, sandbox_id, orchestrator, kind, how
):
    seconds = {"plain": "3002", "in a session of its own": "3003", "double fork": "3004"}[how]
    script = {
        "plain": f"sleep {seconds} & sleep {seconds}",
        "in a session of its own": f"setsid sleep {seconds} & setsid sleep {seconds}",
        "double fork": f"(setsid sleep {seconds} &) ; sleep {seconds}",
    }[how]
    address = orchestrator.http_address if kind is AsyncHTTPClient else orchestrator.grpc_address

    async def call() -> None:
        async with kind(address=address) as one:
            running = asyncio.create_task(one.exec_command(sandbox_id, ["sh", "-c", script], timeout=5))
            while len(await asyncio.to_thread(sleepers, client, sandbox_id, seconds)) < 2:
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(call())
    wait_until(lambda: not sleepers(client, sandbox_id, seconds), "the children to be ended")


def test_a_command_whose_time_has_passed_is_ended(client, sandbox_id):
    result = client.exec_command(sandbox_id, ["sleep", "3005"], timeout=0.3)
    assert (result.timed_out, result.exit_code) == (True, 128 + 9)
    wait_until(lambda: not sleepers(client, sandbox_id, "3005"), "the command to be ended")


def test_a_sandbox_without_a_command_stays_until_it_is_stopped(client):
    with running(client) as sandbox_id:
        assert client.get_status(sandbox_id) == "running"


def test_a_sandbox_whose_main_process_ends_is_stopped(client):
    with running(client, command=["true"]) as sandbox_id:
        wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the main process to end")


def test_a_main_process_in_the_background_of_a_shell_goes_on(client):
    with running(client, command=["sh", "-c", f"sleep 3006 & {IDLE}"]) as sandbox_id:
        wait_until(lambda: sleepers(client, sandbox_id, "3006"), "the shell to start it")
