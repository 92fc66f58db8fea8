"""What users of other sandboxes complain of, each tried on every runtime over both transports.

The numbers are those of our list of complaints:

1.  A time-out ends the client's wait, but the command runs on in the sandbox.
2.  There is no time-out, or it is heeded only once the command has ended.
3.  A proxy cuts commands that are quiet for long.
4.  Sandboxes are left over, where their user failed half-way.
5.  A restart of the orchestrator loses sandboxes: see `test_expiry_and_events`.
6.  A command runs twice, since a lost answer was asked for again.
7.  Errors do not say whether the sandbox is unknown, or has ended.
8.  Output is cut without a word, fills the host's memory, or blocks the command.
9.  Output that is no UTF-8 is lost or fails the call.
10. A call hangs because a process in the background keeps the pipe.
11. Processes in the background cannot be found again, or end with the connection that began them.
12. Zombies pile up.
13. Many starts at once leave orphans.
14. A call blocks the event loop, or many calls starve a pool of threads.
15. Limits are accepted, but not enforced.
18. What was printed before a time-out is lost.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from every_runtime import Runtime
from inside import wait_until

import flash_sandbox
from flash_sandbox import OutcomeUnknownError, Sandbox, SandboxEndedError, SandboxError, SandboxNotFoundError
from flash_sandbox.orchestrator.doors import streaming
from flash_sandbox.orchestrator.runtimes.catalogue import capabilities


class ImpatientProxy:
    """A TCP proxy that cuts a connection on which the server says nothing for a while.

    Args:
        upstream: ``HOST:PORT`` of the server.
        patience: Seconds that the server may be quiet.
    """

    def __init__(self, upstream: str, patience: float) -> None:
        host, _, port = upstream.removeprefix("http://").rpartition(":")
        self._upstream = (host, int(port))
        self._patience = patience
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run it and yield its address."""
        threading.Thread(target=self._serve, daemon=True).start()
        try:
            yield self.address
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            requests = threading.Thread(target=_copy, args=(client, server), daemon=True)
            requests.start()
            server.settimeout(self._patience)
            _copy(server, client)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            requests.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextmanager
def through_a_proxy(runtime: Runtime, patience: float) -> Iterator[flash_sandbox.SandboxAPI]:
    """Make a client whose connections go through an impatient proxy."""
    with (
        ImpatientProxy(str(runtime.client._transport.address), patience).running() as address,
        type(runtime.client)(address=address) as client,
    ):
        yield client


def test_complaint_1_a_time_out_kills_the_process_in_the_sandbox(runtime: Runtime, idle: str) -> None:
    assert runtime.client.exec_command(idle, "sleep 9390 & (setsid sleep 9391 &); wait", timeout=1).timed_out
    assert runtime.count(idle, "sleep 939") == 0


def test_complaint_2_a_time_out_is_kept_by_a_command_that_ignores_signals(
    runtime: Runtime, idle: str
) -> None:
    began = time.monotonic()
    script = "trap '' TERM INT HUP; while :; do sleep 0.1; done"
    assert runtime.client.exec_command(idle, script, timeout=1).timed_out
    assert 1 <= time.monotonic() - began < 30


def test_complaint_3_a_proxy_does_not_cut_a_command_that_is_quiet(
    runtime: Runtime, idle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_QUIET_SECONDS", 0.2)
    with through_a_proxy(runtime, 1.0) as client, client.exec_stream(idle, "sleep 3; echo on") as stream:
        assert [frame.type for frame in stream] == ["started", "stdout", "exit"]


def test_complaint_4_a_failure_of_the_user_leaves_no_sandbox(runtime: Runtime) -> None:
    sandbox = Sandbox.create(client=runtime.client, type=runtime.type, image=runtime.image)

    def use() -> None:
        with sandbox:
            sandbox.exec_command(["true"])
            raise LookupError

    with pytest.raises(LookupError):
        use()
    with pytest.raises(SandboxNotFoundError):
        runtime.client.get_status(sandbox.id)


def test_complaint_6_a_command_whose_answer_was_lost_is_not_run_again(runtime: Runtime, idle: str) -> None:
    script = "echo run >> /tmp/runs; sleep 2"
    with through_a_proxy(runtime, 0.5) as client, pytest.raises(OutcomeUnknownError):
        client.exec_command(idle, script)
    # Time enough for another attempt.
    time.sleep(1)
    assert runtime.sh(idle, "cat /tmp/runs; rm /tmp/runs") == "run\n"


def test_complaint_7_an_unknown_sandbox_is_told_from_one_that_ended(runtime: Runtime) -> None:
    with ThreadPoolExecutor(1) as pool:
        with runtime.sandbox() as sandbox_id:
            command = pool.submit(runtime.client.exec_command, sandbox_id, "touch /tmp/on; sleep 9392")
            runtime.wait_for(sandbox_id, "test -e /tmp/on", "the command to run")
        with pytest.raises(SandboxEndedError, match=f"sandbox {sandbox_id} was stopped while"):
            command.result()
    with pytest.raises(SandboxNotFoundError, match=f"no sandbox {sandbox_id}"):
        runtime.client.exec_command(sandbox_id, ["true"])


def test_complaint_8_much_output_on_both_streams_neither_blocks_nor_is_cut_silently(
    runtime: Runtime, idle: str
) -> None:
    script = "(yes out | head -c 1000000) & yes err | head -c 9000000 >&2; wait"
    result = runtime.client.exec_command(idle, script, timeout=60)
    assert (len(result.stdout_bytes), result.stdout_dropped) == (1_000_000, 0)
    assert len(result.stderr_bytes) + result.stderr_dropped == 9_000_000
    assert result.stderr_dropped == 9_000_000 - 8 * 1024 * 1024


def test_complaint_9_bytes_survive(runtime: Runtime, idle: str) -> None:
    content = bytes(range(256)) * 100
    result = runtime.client.exec_command(idle, "tee /dev/stderr", stdin=content)
    assert (result.stdout_bytes, result.stderr_bytes) == (content, content)
    assert "\ufffd" in result.stdout


def test_complaint_10_a_child_that_keeps_the_pipe_does_not_hang_the_call(runtime: Runtime, idle: str) -> None:
    began = time.monotonic()
    result = runtime.client.exec_command(idle, "sleep 9393 & echo $!")
    assert time.monotonic() - began < 30
    # It is there: its ID was printed, and it runs.
    runtime.sh(idle, f"kill {result.stdout}")


def test_complaint_11_a_process_outlives_the_connection_and_is_found_again(
    runtime: Runtime, idle: str
) -> None:
    with runtime.another_client() as first:
        process = first.start_process(idle, "echo begun; until [ -e /tmp/on ]; do sleep 0.1; done; echo end")
        with first.follow_process(idle, process) as stream:
            assert [next(stream).type, next(stream).text] == ["started", "begun\n"]
    found = [info.process_id for info in runtime.client.list_processes(idle) if info.running]
    assert process in found
    runtime.sh(idle, "touch /tmp/on")
    assert runtime.client.wait_process(idle, process).stdout == "begun\nend\n"
    runtime.sh(idle, "rm /tmp/on")


def test_complaint_12_zombies_are_reaped(runtime: Runtime) -> None:
    with runtime.sandbox() as sandbox_id:
        runtime.sh(sandbox_id, "for i in 1 2 3 4 5 6; do (sleep 0.05 &); done")

        def zombies() -> str:
            # Those of the shell that looks are none.
            return runtime.sh(sandbox_id, "grep -l '^State:.Z' /proc/[0-9]*/status 2> /dev/null || true")

        wait_until(lambda: runtime.count(sandbox_id, "sleep") == 0, "the orphans to end")
        wait_until(lambda: not zombies(), "them to be reaped")


def test_complaint_13_many_starts_at_once_leave_no_orphan(runtime: Runtime) -> None:
    def live(_: int) -> str:
        with runtime.sandbox(memory_mb=64) as sandbox_id:
            assert runtime.sh(sandbox_id, "echo on") == "on\n"
        return sandbox_id

    with ThreadPoolExecutor(6) as pool:
        ids = list(pool.map(live, range(6)))
    assert len(set(ids)) == 6
    for sandbox_id in ids:
        with pytest.raises(SandboxNotFoundError):
            runtime.client.get_status(sandbox_id)


def test_complaint_14_many_commands_wait_for_each_other_in_one_event_loop(runtime: Runtime) -> None:
    number = 12
    # Each goes on when all of them run, and somebody has noticed.
    script = "touch /tmp/on-$N; read line < /tmp/gate"
    kind = getattr(flash_sandbox, f"Async{type(runtime.client).__name__}")

    async def run_all(sandbox_id: str) -> None:
        async with kind(address=str(runtime.client._transport.address), timeout=60) as client:
            calls = [
                asyncio.create_task(client.exec_command(sandbox_id, script, env={"N": str(index)}))
                for index in range(number)
            ]
            while not (await client.exec_command(sandbox_id, f"test -e /tmp/on-{number - 1}")).ok:
                await asyncio.sleep(0.1)
            # A call that held the loop would keep this one, which lets all of them go on, from being made.
            script_of_gate = "exec 3<> /tmp/gate; " + "echo >&3; " * number + "sleep 1"
            gate = asyncio.create_task(client.exec_command(sandbox_id, script_of_gate))
            assert all(result.ok for result in await asyncio.gather(*calls, gate))

    with runtime.sandbox(memory_mb=512) as sandbox_id:
        runtime.sh(sandbox_id, "mkfifo /tmp/gate")
        asyncio.run(run_all(sandbox_id))


def test_complaint_15_limits_are_what_the_kernel_enforces(runtime: Runtime, idle: str, limits) -> None:
    if limits != "enforce":
        pytest.skip("memory is limited for all processes together only where there is a cgroup")
    with runtime.sandbox(memory_mb=96) as sandbox_id:
        assert runtime.client.get_metrics(sandbox_id).memory_limit_bytes == 96 * 1024 * 1024
        with suppress(SandboxError):
            hog = runtime.client.exec_command(sandbox_id, "head -c 300m /dev/zero | tail | wc -c", timeout=60)
            assert hog.stdout.strip() in ("", "0")
        ended = runtime.client.get_status(sandbox_id) == "stopped"
        assert (
            not ended or capabilities()[runtime.type].memory_ends == "the sandbox" or runtime.type == "docker"
        )
    assert runtime.sh(idle, "echo on") == "on\n"


def test_complaint_15_a_bomb_of_processes_stays_within_its_sandbox(runtime: Runtime, idle: str) -> None:
    with runtime.sandbox(memory_mb=256) as sandbox_id:
        bomb = "i=0; while [ $i -lt 2000 ]; do sleep 9394 & i=$((i+1)); done; echo all"
        with suppress(SandboxError):
            result = runtime.client.exec_command(sandbox_id, bomb, timeout=20)
            assert result.stdout == ""
        assert runtime.sh(idle, "echo on") == "on\n"


def test_complaint_18_what_was_printed_before_a_time_out_comes_back(runtime: Runtime, idle: str) -> None:
    result = runtime.client.exec_command(idle, "yes | head -c 100000; echo err >&2; sleep 9395", timeout=2)
    assert (result.timed_out, len(result.stdout), result.stderr[:4]) == (True, 100_000, "err\n")
