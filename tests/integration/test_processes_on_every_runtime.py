"""Processes that go on by themselves, whatever runs the sandbox and carries the calls."""

from __future__ import annotations

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import (
    ConflictError,
    ProcessNotFoundError,
    SandboxEndedError,
    SandboxNotFoundError,
    SandboxTimeoutError,
)
from flash_sandbox.models import ExecFrame, ProcessInfo


def text(frames: list[ExecFrame]) -> str:
    return b"".join(frame.data for frame in frames).decode()


def info_of(runtime: Runtime, sandbox_id: str, process_id: str) -> ProcessInfo:
    (found,) = (info for info in runtime.client.list_processes(sandbox_id) if info.process_id == process_id)
    return found


class TestLife:
    def test_it_goes_on_after_the_call(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "sleep 0.5; echo done; exit 3")
        result = runtime.client.wait_process(idle, process)
        assert (result.stdout, result.exit_code, result.signal) == ("done\n", 3, 0)
        assert result.duration_ms >= 500

    def test_it_is_listed_while_it_runs_and_after_its_end(self, runtime: Runtime, idle: str) -> None:
        first = runtime.client.start_process(idle, ["sleep", "9380"])
        second = runtime.client.start_process(idle, ["true"])
        runtime.client.wait_process(idle, second)
        running, ended = info_of(runtime, idle, first), info_of(runtime, idle, second)
        assert (running.running, running.attached, running.tty) == (True, False, False)
        assert running.command == ("sleep", "9380")
        assert (ended.running, ended.exit_code, ended.signal) == (False, 0, 0)
        assert running.started_at <= ended.started_at
        ids = [info.process_id for info in runtime.client.list_processes(idle)]
        assert ids.index(first) < ids.index(second)
        runtime.client.signal_process(idle, first, "KILL")

    def test_an_attached_one_is_listed_while_its_stream_is_open(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["sleep", "9381"]) as stream:
            assert info_of(runtime, idle, stream.process_id).attached
        wait_until(
            lambda: stream.process_id not in [i.process_id for i in runtime.client.list_processes(idle)],
            "it to be forgotten",
        )

    @pytest.mark.parametrize(("name", "number"), [("TERM", 15), ("SIGINT", 2), (9, 9)])
    def test_a_signal_ends_it(self, runtime: Runtime, idle: str, name: str | int, number: int) -> None:
        process = runtime.client.start_process(idle, ["sleep", "9382"])
        wait_until(lambda: runtime.count(idle, "sleep 9382") == 1, "it to run")
        runtime.client.signal_process(idle, process, name)
        result = runtime.client.wait_process(idle, process)
        assert (result.exit_code, result.signal) == (128 + number, number)
        with pytest.raises(ConflictError, match="has ended"):
            runtime.client.signal_process(idle, process, name)

    def test_its_time_is_limited(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "echo begun; setsid sleep 9383 & sleep 9384", limit=1)
        result = runtime.client.wait_process(idle, process)
        assert (result.stdout, result.timed_out, result.exit_code) == ("begun\n", True, 128 + 9)
        assert runtime.count(idle, "sleep 938[34]") == 0

    def test_input_can_be_sent_by_anybody(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, ["cat"], keep_stdin=True)
        runtime.client.write_stdin(idle, process, b"\0\xff")
        runtime.client.write_stdin(idle, process, "end", end=True)
        assert runtime.client.wait_process(idle, process).stdout_bytes == b"\0\xffend"

    def test_a_wait_that_is_given_up_leaves_it_alone(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, ["sleep", "9385"])
        with pytest.raises(SandboxTimeoutError):
            runtime.client.with_options(max_retries=0).wait_process(idle, process, timeout=0.3)
        assert info_of(runtime, idle, process).running
        runtime.client.signal_process(idle, process, "KILL")

    def test_it_ends_with_its_sandbox(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            process = runtime.client.start_process(sandbox_id, "echo on; sleep 9386")
            stream = runtime.client.follow_process(sandbox_id, process)
            next(stream)
            next(stream)
        with pytest.raises(SandboxEndedError, match=sandbox_id):
            list(stream)
        with pytest.raises(SandboxNotFoundError):
            runtime.client.list_processes(sandbox_id)

    def test_one_that_there_is_not_is_told(self, runtime: Runtime, idle: str) -> None:
        with pytest.raises(ProcessNotFoundError, match="no process 1234"):
            runtime.client.wait_process(idle, "1234")

    def test_what_cannot_be_run_is_told_of_by_its_end(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, ["no-such-command"])
        result = runtime.client.wait_process(idle, process)
        assert (result.exit_code, "no-such-command" in result.stderr) == (127, True)


class TestOutput:
    def test_it_is_followed_until_the_end(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "for i in 1 2 3; do echo $i; sleep 0.2; done; exit 4")
        with runtime.client.follow_process(idle, process) as stream:
            frames = list(stream)
        assert text(frames) == "1\n2\n3\n"
        assert ([frames[0].type, frames[-1].type], frames[-1].exit_code) == (["started", "exit"], 4)

    def test_it_is_kept_for_who_comes_later(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "echo out; echo err >&2")
        runtime.client.wait_process(idle, process)
        frames = list(runtime.client.follow_process(idle, process))
        assert {frame.type: frame.text for frame in frames[1:-1]} == {"stdout": "out\n", "stderr": "err\n"}

    def test_reading_goes_on_where_it_was_left_off(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(
            idle, "echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo second"
        )
        with runtime.client.follow_process(idle, process) as stream:
            next(stream)
            frame = next(stream)
        runtime.sh(idle, "touch /tmp/go")
        rest = runtime.client.follow_process(idle, process, offset=frame.offset + len(frame.data))
        assert text(list(rest)) == "second\n"
        runtime.sh(idle, "rm /tmp/go")
        assert text(list(runtime.client.follow_process(idle, process, offset=3))) == "st\nsecond\n"

    def test_what_there_is_can_be_read_without_waiting(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "echo so far; sleep 9387")

        def so_far() -> list[ExecFrame]:
            return list(runtime.client.follow_process(idle, process, follow=False))

        wait_until(lambda: text(so_far()) == "so far\n", "it to print")
        assert so_far()[-1].type == "end"
        runtime.client.signal_process(idle, process, "KILL")

    def test_another_client_reads_it_as_well(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(idle, "echo both; until [ -e /tmp/both ]; do sleep 0.1; done")
        with (
            runtime.another_client() as other,
            runtime.client.follow_process(idle, process) as mine,
            other.follow_process(idle, process) as theirs,
        ):
            for stream in (mine, theirs):
                next(stream)
                assert next(stream).text == "both\n"
            runtime.sh(idle, "touch /tmp/both")
            assert [frame.type for frame in mine] == [frame.type for frame in theirs] == ["exit"]
        runtime.sh(idle, "rm /tmp/both")

    def test_the_last_of_much_is_kept_and_the_rest_counted(self, runtime: Runtime, idle: str) -> None:
        size = 5_000_000
        process = runtime.client.start_process(idle, f"yes 0123456 | head -c {size}; printf end")
        result = runtime.client.wait_process(idle, process)
        kept = len(result.stdout)
        assert kept == 1024 * 1024
        assert (kept + result.stdout_dropped, result.stdout[-3:]) == (size + 3, "end")
        frames = list(runtime.client.follow_process(idle, process))
        assert 0 <= result.stdout_dropped - frames[1].offset < 1024 * 1024
        assert text(frames).endswith(result.stdout)

    def test_it_has_a_terminal_where_that_is_asked(self, runtime: Runtime, idle: str) -> None:
        process = runtime.client.start_process(
            idle, "test -t 0 && echo terminal; read line; echo $line", tty=True
        )
        assert info_of(runtime, idle, process).tty
        runtime.client.write_stdin(idle, process, "typed\n")
        # What is typed is printed at once, before it is read.
        printed = runtime.client.wait_process(idle, process).stdout.split()
        assert sorted(printed) == ["terminal", "typed", "typed"]
