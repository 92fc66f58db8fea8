"""Commands that are followed as they run, whatever runs the sandbox and carries the calls."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import (
    ConflictError,
    InvalidArgumentError,
    ProcessNotFoundError,
    SandboxEndedError,
    SandboxNotFoundError,
)
from flash_sandbox.models import ExecFrame

MIB = 1024 * 1024


def printed(frames: list[ExecFrame], stream: str = "stdout") -> bytes:
    return b"".join(frame.data for frame in frames if frame.type == stream)


class Reader:
    """Reads a stream piece by piece, for as long as a test needs."""

    def __init__(self, stream) -> None:
        self.stream = stream
        self.text = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read until what was printed since the last call matches, and forget that."""
        while (found := re.search(pattern, self.text)) is None:
            frame = next(self.stream)
            assert frame.type != "exit", f"the command ended before it printed {pattern!r}: {self.text!r}"
            self.text += frame.text
        self.text = self.text[found.end() :]
        return found


class TestFrames:
    def test_the_first_tells_the_start_and_the_last_the_end(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "echo out; sleep 0.2; echo err >&2; exit 3") as stream:
            frames = list(stream)
        assert [frame.type for frame in frames] == ["started", "stdout", "stderr", "exit"]
        assert {frame.process_id for frame in frames} == {stream.process_id}
        assert (frames[-1].exit_code, frames[-1].signal, frames[-1].timed_out) == (3, 0, False)
        assert frames[-1].duration_ms >= 200
        assert stream.exit == frames[-1]

    def test_they_come_in_order_and_with_their_offsets(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(
            idle, "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done"
        ) as stream:
            frames = list(stream)
        assert printed(frames).split() == [str(number).encode() for number in range(1, 3001)]
        position = 0
        for frame in frames[1:]:
            assert frame.offset == position
            position += len(frame.data)

    def test_they_come_as_it_happens(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "echo now; sleep 60") as stream:
            began = time.monotonic()
            Reader(stream).until("now")
            assert time.monotonic() - began < 10

    def test_bytes_come_bit_for_bit(self, runtime: Runtime, idle: str) -> None:
        content = bytes(range(256)) * 1000
        with runtime.client.exec_stream(idle, ["cat"], stdin=content) as stream:
            assert printed(list(stream)) == content

    def test_a_command_that_is_not_there_ends_with_127(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["no-such-command"]) as stream:
            frames = list(stream)
        assert frames[-1].exit_code == 127
        assert b"no-such-command" in printed(frames, "stderr")

    def test_a_time_out_ends_it_and_is_told_in_the_last(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "echo out; setsid sleep 9360 & sleep 9361", limit=1) as stream:
            frames = list(stream)
        assert (printed(frames), frames[-1].timed_out, frames[-1].exit_code) == (b"out\n", True, 128 + 9)
        assert runtime.count(idle, "sleep 936") == 0

    def test_a_sandbox_that_does_not_run_it_is_told_at_once(self, runtime: Runtime) -> None:
        with pytest.raises(SandboxNotFoundError):
            runtime.client.exec_stream("no-such-sandbox", ["true"])

    def test_a_sandbox_that_is_stopped_meanwhile_is_an_error(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            stream = runtime.client.exec_stream(sandbox_id, "echo on; sleep 9362")
            Reader(stream).until("on")
        with pytest.raises(SandboxEndedError, match=sandbox_id):
            list(stream)


class TestInput:
    def test_it_is_written_while_the_command_runs(self, runtime: Runtime, idle: str) -> None:
        script = "while read line; do echo got $line; done; echo end"
        with runtime.client.exec_stream(idle, script, stdin="first\n", keep_stdin=True) as stream:
            reader = Reader(stream)
            reader.until("got first\n")
            stream.send_stdin("second\n")
            reader.until("got second\n")
            stream.send_stdin(b"last\n", end=True)
            reader.until("got last\nend\n")
            assert [frame.exit_code for frame in stream] == [0]

    def test_it_is_bit_for_bit(self, runtime: Runtime, idle: str) -> None:
        content = bytes(range(256)) * 2000
        with (
            runtime.client.exec_stream(idle, ["cat"], keep_stdin=True) as stream,
            ThreadPoolExecutor(1) as pool,
        ):
            frames = pool.submit(list, stream)
            for start in range(0, len(content), 100_000):
                stream.send_stdin(content[start : start + 100_000])
            stream.send_stdin(end=True)
            assert printed(frames.result()) == content

    def test_none_is_taken_where_none_was_kept_open(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["sleep", "60"]) as stream, pytest.raises(ConflictError):
            stream.send_stdin("too late")

    def test_none_is_taken_after_the_end(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["true"], keep_stdin=True) as stream:
            list(stream)
            with pytest.raises((ConflictError, ProcessNotFoundError)):
                stream.send_stdin("too late")


class TestEarlyEnd:
    def test_leaving_the_stream_ends_the_command_with_all_that_it_started(
        self, runtime: Runtime, idle: str
    ) -> None:
        with runtime.client.exec_stream(idle, "setsid sleep 9363 & echo on; sleep 9364") as stream:
            Reader(stream).until("on")
            wait_until(lambda: runtime.count(idle, "sleep 936") == 2, "its processes to start")
        wait_until(lambda: runtime.count(idle, "sleep 936") == 0, "its processes to end")

    def test_leaving_one_that_floods_ends_it(self, runtime: Runtime, idle: str) -> None:
        for _ in range(3):
            with runtime.client.exec_stream(idle, ["yes", "flood"]) as stream:
                next(stream)
                next(stream)
        wait_until(lambda: runtime.count(idle, "yes flood") == 0, "the flood to end")


class TestBackpressure:
    def test_a_reader_that_stops_stops_the_writer(self, runtime: Runtime, idle: str) -> None:
        # Tells how many blocks of 64 KiB it could write.
        script = (
            "rm -f /tmp/blocks; head -c 65536 /dev/zero > /tmp/block; i=0; "
            "while :; do cat /tmp/block; i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/blocks; done"
        )
        with runtime.client.exec_stream(idle, script) as stream:
            next(stream)
            assert self.stands_still(lambda: runtime.sh(idle, "cat /tmp/blocks || echo 0").strip()) < 8 * 16
            # It goes on as soon as somebody reads.
            read = 0
            while read < 12 * MIB:
                read += len(next(stream).data)

    @staticmethod
    def stands_still(count: Callable[[], str]) -> int:
        """Return the count, once it has not changed for a while."""
        last, since = "", time.monotonic()
        while time.monotonic() - since < 1:
            if (now := count()) != last:
                last, since = now, time.monotonic()
        return int(last)


class TestTerminal:
    def test_all_three_streams_are_one(self, runtime: Runtime, idle: str) -> None:
        script = "for n in 0 1 2; do test -t $n && echo $n; done; echo err >&2"
        with runtime.client.exec_stream(idle, script, tty=True) as stream:
            frames = list(stream)
        assert printed(frames) == b"0\r\n1\r\n2\r\nerr\r\n"

    def test_it_has_the_size_that_was_asked_for_and_can_be_resized(self, runtime: Runtime, idle: str) -> None:
        script = (
            "test \"$(stty size)\" = '31 97' && echo first; "
            "until [ \"$(stty size)\" = '13 41' ]; do sleep 0.05; done; echo second"
        )
        with runtime.client.exec_stream(idle, script, tty=True, rows=31, columns=97) as stream:
            reader = Reader(stream)
            reader.until("first\r\n")
            stream.resize(13, 41)
            reader.until("second\r\n")

    def test_it_has_its_size_from_the_first_instruction(self, runtime: Runtime, idle: str) -> None:
        sizes = []
        for _ in range(12):
            with runtime.client.exec_stream(idle, ["stty", "size"], tty=True, rows=31, columns=97) as stream:
                sizes.append(printed(list(stream)))
        assert sizes == [b"31 97\r\n"] * 12

    def test_a_first_size_is_no_change_of_it(self, runtime: Runtime, idle: str) -> None:
        script = "trap 'echo changed' WINCH; echo on; sleep 0.3; echo off"
        with runtime.client.exec_stream(idle, script, tty=True, rows=31, columns=97) as stream:
            assert printed(list(stream)) == b"on\r\noff\r\n"

    def test_a_program_that_is_not_there_is_told(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["no-such-program"], tty=True) as stream:
            list(stream)
        assert stream.exit is not None
        assert stream.exit.exit_code == 127

    def test_a_resize_is_heard_of(self, runtime: Runtime, idle: str) -> None:
        script = "trap 'echo changed' WINCH; echo on; while :; do sleep 0.05; done"
        with runtime.client.exec_stream(idle, script, tty=True) as stream:
            reader = Reader(stream)
            reader.until("on\r\n")
            stream.resize(20, 30)
            reader.until("changed\r\n")

    def test_a_shell_can_be_used(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["sh"], env={"PS1": "prompt> "}, tty=True) as stream:
            reader = Reader(stream)
            reader.until("prompt> ")
            stream.send_stdin("echo $((6 * 7))\n")
            reader.until("42\r\n.*prompt> ")
            stream.send_stdin("sleep 9365\n")
            wait_until(lambda: runtime.count(idle, "sleep 9365") == 1, "the program to run")
            # Ctrl-C ends the program, not the shell.
            stream.send_stdin("\x03")
            reader.until("prompt> ")
            stream.send_stdin("echo status $?\n")
            reader.until("status 130\r\n")
            stream.send_stdin("exit 7\n")
            assert list(stream)[-1].exit_code == 7
        assert runtime.count(idle, "sleep 9365") == 0

    def test_its_kind_is_told(self, runtime: Runtime, idle: str) -> None:
        for env, kind in (({}, b"xterm-256color\r\n"), ({"TERM": "vt100"}, b"vt100\r\n")):
            with runtime.client.exec_stream(idle, "echo $TERM", env=env, tty=True) as stream:
                assert printed(list(stream)) == kind

    def test_the_end_of_input_can_be_typed(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, ["cat"], tty=True) as stream:
            stream.send_stdin("line\n")
            Reader(stream).until("line\r\nline\r\n")
            stream.send_stdin(end=True)
            # On gVisor's terminals no read ends without a byte. So the agent sends SIGHUP.
            expected = 128 + signal.SIGHUP if runtime.type == "gvisor" else 0
            assert list(stream)[-1].exit_code == expected

    def test_leaving_it_ends_what_runs_in_it(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "setsid sleep 9366 & echo on; sleep 9367", tty=True) as stream:
            Reader(stream).until("on")
        wait_until(lambda: runtime.count(idle, "sleep 936") == 0, "its processes to end")

    def test_without_one_there_is_none_to_resize(self, runtime: Runtime, idle: str) -> None:
        with (
            runtime.client.exec_stream(idle, ["sleep", "60"]) as stream,
            pytest.raises(InvalidArgumentError, match="no terminal"),
        ):
            stream.resize(10, 10)


class TestSignals:
    def test_one_that_is_caught(self, runtime: Runtime, idle: str) -> None:
        script = "trap 'echo caught; exit 3' USR1; echo on; while :; do sleep 0.05; done"
        with runtime.client.exec_stream(idle, script) as stream:
            reader = Reader(stream)
            reader.until("on")
            stream.signal("USR1")
            reader.until("caught")
            assert list(stream)[-1].exit_code == 3

    def test_one_that_ends_it_is_told(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "echo on; exec sleep 9368") as stream:
            Reader(stream).until("on")
            stream.signal("SIGTERM")
            last = list(stream)[-1]
        assert (last.exit_code, last.signal, last.timed_out) == (128 + 15, 15, False)

    def test_kill_ends_all_that_it_started(self, runtime: Runtime, idle: str) -> None:
        with runtime.client.exec_stream(idle, "setsid sleep 9369 & echo on; sleep 9370") as stream:
            Reader(stream).until("on")
            stream.signal("KILL")
            last = list(stream)[-1]
        assert (last.exit_code, last.signal) == (128 + 9, 9)
        wait_until(lambda: runtime.count(idle, "sleep 93[67]") == 0, "its processes to end")
