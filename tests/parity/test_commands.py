"""What every client can have a command do, on a live orchestrator: one body for all four."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from seen_inside import until_gone

from flash_sandbox import (
    CommandFailedError,
    ConflictError,
    ExecFrame,
    InvalidArgumentError,
    ProcessNotFoundError,
    SandboxAPI,
    SandboxEndedError,
    SandboxNotFoundError,
)

Connect = Callable[..., SandboxAPI]

BINARY = bytes(range(256)) * 3


def shell(client: SandboxAPI, sandbox_id: str, script: str) -> str:
    """Run a script and return what it printed."""
    return client.exec_command(sandbox_id, script).check().stdout


def printed(frames: list[ExecFrame], stream: str = "stdout") -> bytes:
    """Put together what came of one stream."""
    return b"".join(frame.data for frame in frames if frame.type == stream)


class TestExec:
    def test_text_is_run_by_the_shell(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert client.exec_command(sandbox_id, "echo $((6 * 7)) | cat").stdout == "42\n"

    def test_variables_are_added_to_the_sandboxs_own(self, client: SandboxAPI, sandbox_id: str) -> None:
        own = set(shell(client, sandbox_id, "env").splitlines())
        given = client.exec_command(sandbox_id, ["env"], env={"A": "1 2", "B": "\u20ac=", "HOME": "/x"})
        added = {line for line in given.stdout.splitlines() if not line.startswith(("PWD=", "_=", "OLDPWD="))}
        assert {"A=1 2", "B=\u20ac=", "HOME=/x"} <= added
        assert {line for line in own if line.startswith(("PATH=", "HOSTNAME="))} <= added

    def test_directory_is_where_it_runs(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert client.exec_command(sandbox_id, ["pwd"], cwd="/usr").stdout == "/usr\n"

    def test_directory_that_is_not_there_is_named(self, client: SandboxAPI, sandbox_id: str) -> None:
        result = client.exec_command(sandbox_id, ["pwd"], cwd="/no/where")
        assert (result.exit_code, "/no/where" in result.stderr) == (126, True)

    def test_input_reaches_it_to_the_last_bit(self, client: SandboxAPI, sandbox_id: str) -> None:
        result = client.exec_command(sandbox_id, ["cat"], stdin=BINARY)
        assert result.stdout_bytes == BINARY
        assert result.stdout == BINARY.decode("utf-8", "replace")

    def test_text_is_input_too(self, client: SandboxAPI, sandbox_id: str) -> None:
        result = client.exec_command(sandbox_id, ["cat"], stdin="\u20ac")
        assert (result.stdout, result.stdout_bytes) == ("\u20ac", "\u20ac".encode())

    def test_much_input_reaches_it(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert (
            client.exec_command(sandbox_id, ["wc", "-c"], stdin=b"x" * 8 * 1024 * 1024).stdout == "8388608\n"
        )

    def test_input_that_it_does_not_read_is_dropped(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert client.exec_command(sandbox_id, ["true"], stdin=b"x" * 1_000_000).ok

    def test_without_input_it_reads_the_end(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert client.exec_command(sandbox_id, ["cat"]).stdout == ""

    def test_signal_that_ended_it_is_told(self, client: SandboxAPI, sandbox_id: str) -> None:
        result = client.exec_command(sandbox_id, "kill -TERM $$")
        assert (result.signal, result.exit_code, result.timed_out, result.ok) == (15, 143, False, False)

    def test_output_beyond_what_is_kept_is_counted(self, client: SandboxAPI, sandbox_id: str) -> None:
        script = "head -c 1000 /dev/zero; head -c 30 /dev/zero >&2"
        result = client.exec_command(sandbox_id, script, max_output_bytes=100)
        assert (len(result.stdout_bytes), result.stdout_dropped) == (100, 900)
        assert (len(result.stderr_bytes), result.stderr_dropped) == (30, 0)

    def test_time_that_it_took_is_told(self, client: SandboxAPI, sandbox_id: str) -> None:
        assert 200 <= client.exec_command(sandbox_id, ["sleep", "0.2"]).duration_ms < 20_000

    def test_failure_is_raised_with_the_output_where_it_is_checked(
        self, client: SandboxAPI, sandbox_id: str
    ) -> None:
        assert client.exec_command(sandbox_id, ["true"]).check().ok
        result = client.exec_command(sandbox_id, "echo why >&2; exit 3")
        with pytest.raises(CommandFailedError, match="exit status 3: why") as caught:
            result.check()
        assert caught.value.result == result

    def test_user_that_the_sandbox_does_not_have_is_refused(
        self, client: SandboxAPI, sandbox_id: str
    ) -> None:
        assert client.exec_command(sandbox_id, ["id", "-u"], user="root").stdout == "0\n"
        with pytest.raises(InvalidArgumentError, match="user"):
            client.exec_command(sandbox_id, ["id"], user="nobody-of-that-name")

    @pytest.mark.parametrize(
        "options",
        [
            {"env": {"A": "a\0"}},
            {"env": {"": "x"}},
            {"env": ["A"]},
            {"env": "A=1"},
            {"cwd": "relative"},
            {"user": "a\0"},
            {"stdin": 1},
            {"stdin": b"x" * (8 * 1024 * 1024 + 1)},
            {"max_output_bytes": -1},
            {"max_output_bytes": 2**25 + 1},
        ],
    )
    def test_malformed_option_is_refused_before_anything_is_sent(
        self, client: SandboxAPI, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            client.exec_command("a", ["true"], **options)
        assert caught.value.transport is None

    def test_sandbox_that_ends_meanwhile_is_an_error_of_its_own(
        self, client: SandboxAPI, sandbox_id: str
    ) -> None:
        process_id = client.start_process(sandbox_id, ["sleep", "30"])
        with client.exec_stream(sandbox_id, ["sleep", "30"]) as stream:
            client.stop_sandbox(sandbox_id)
            with pytest.raises(SandboxEndedError):
                list(stream)
        with pytest.raises(SandboxNotFoundError):
            client.wait_process(sandbox_id, process_id)


class TestStream:
    def test_frames_tell_the_whole_story_in_order(self, client: SandboxAPI, sandbox_id: str) -> None:
        script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; exit 4"
        with client.exec_stream(sandbox_id, script) as stream:
            frames = list(stream)
        assert [frame.type for frame in frames] == ["started", "stdout", "stderr", "stdout", "exit"]
        assert [frame.text for frame in frames] == ["", "one\n", "two\n", "three\n", ""]
        assert [frame.offset for frame in frames] == [0, 0, 4, 8, 14]
        assert stream.exit == frames[-1]
        assert (frames[-1].exit_code, frames[-1].signal, frames[-1].timed_out) == (4, 0, False)
        assert {frame.process_id for frame in frames} == {stream.process_id}

    def test_output_comes_while_it_runs(self, client: SandboxAPI, sandbox_id: str) -> None:
        with client.exec_stream(sandbox_id, "echo first; sleep 30") as stream:
            frames = iter(stream)
            assert [next(frames).type, next(frames).text] == ["started", "first\n"]

    def test_every_byte_comes(self, client: SandboxAPI, sandbox_id: str) -> None:
        client.exec_command(sandbox_id, "cat > /tmp/bytes", stdin=BINARY)
        with client.exec_stream(sandbox_id, "cat /tmp/bytes; cat /tmp/bytes >&2") as stream:
            frames = list(stream)
        assert printed(frames) == printed(frames, "stderr") == BINARY

    def test_input_can_be_written_while_it_runs(self, client: SandboxAPI, sandbox_id: str) -> None:
        script = "while read -r line; do echo got $line; done; echo end"
        with client.exec_stream(sandbox_id, script, stdin="a\n", keep_stdin=True) as stream:
            frames = iter(stream)
            assert [next(frames).type, next(frames).text] == ["started", "got a\n"]
            stream.send_stdin("b\n")
            assert next(frames).text == "got b\n"
            stream.send_stdin(b"c\n", end=True)
            assert printed(list(frames)) == b"got c\nend\n"
            with pytest.raises((ConflictError, ProcessNotFoundError)):
                stream.send_stdin("d\n")

    def test_leaving_it_ends_the_command(self, client: SandboxAPI, sandbox_id: str) -> None:
        with client.exec_stream(sandbox_id, "setsid sleep 7301 & echo begun; sleep 7302") as stream:
            frames = iter(stream)
            assert [next(frames).type, next(frames).type] == ["started", "stdout"]
        until_gone(client, sandbox_id, "sleep 730")
        deadline = time.monotonic() + 30
        while client.list_processes(sandbox_id):
            assert time.monotonic() < deadline, "it is still known"
            time.sleep(0.01)

    def test_reader_that_stops_stops_the_writer(self, client: SandboxAPI, sandbox_id: str) -> None:
        count = "i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/written"
        script = f"i=0; while :; do head -c 65536 /dev/zero; {count}; done"
        with client.exec_stream(sandbox_id, script) as stream:
            assert next(iter(stream)).type == "started"
            before, written = -1, 0
            while written != before:
                time.sleep(0.3)
                before, written = written, int(shell(client, sandbox_id, "cat /tmp/written || echo 0"))
            # What the kernel, the transport and this client take ahead.
            assert written * 65536 < 16 * 1024 * 1024

    def test_signal_can_be_sent(self, client: SandboxAPI, sandbox_id: str) -> None:
        script = "trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done"
        with client.exec_stream(sandbox_id, script) as stream:
            frames = iter(stream)
            assert [next(frames).type, next(frames).text] == ["started", "ready\n"]
            stream.signal("USR1")
            rest = list(frames)
        assert (printed(rest), rest[-1].exit_code) == (b"caught\n", 7)

    def test_time_limit_ends_it(self, client: SandboxAPI, sandbox_id: str) -> None:
        with client.exec_stream(sandbox_id, "echo begun; sleep 30", limit=0.5) as stream:
            last = list(stream)[-1]
        assert (last.type, last.timed_out, last.signal) == ("exit", True, 9)

    def test_terminal_is_one(self, client: SandboxAPI, sandbox_id: str) -> None:
        with client.exec_stream(sandbox_id, ["/bin/sh"], tty=True, rows=31, columns=91) as stream:
            stream.send_stdin("stty -echo; test -t 0 && test -t 1 && stty size\n")
            seen = b""
            for frame in stream:
                seen += frame.data
                if b"31 91" in seen:
                    stream.resize(41, 101)
                    stream.send_stdin("stty size\n")
                    seen = b""
                if b"41 101" in seen:
                    stream.send_stdin("exit 5\n")
                    seen = b""
        assert stream.exit is not None
        assert stream.exit.exit_code == 5

    def test_terminal_sends_interrupts(self, client: SandboxAPI, sandbox_id: str) -> None:
        # No shell: one that has just begun a command ends after it, as if it had been told then.
        printed = b""
        with client.exec_stream(sandbox_id, ["cat"], tty=True) as stream:
            stream.send_stdin(b"ready\n")
            for frame in stream:
                printed += frame.data
                # Once by the terminal, once by the command.
                if frame.data and printed == b"ready\r\nready\r\n":
                    stream.send_stdin(b"\x03")
        assert stream.exit is not None
        assert stream.exit.signal == 2

    def test_failure_before_it_begins_is_raised_at_once(self, client: SandboxAPI) -> None:
        with pytest.raises(SandboxNotFoundError) as caught:
            client.exec_stream("nowhere", ["true"])
        assert caught.value.operation == "exec_stream"


class TestProcesses:
    def test_process_goes_on_by_itself_and_is_found_by_another_client(
        self, connect: Connect, address: str, client: SandboxAPI, sandbox_id: str
    ) -> None:
        process_id = client.start_process(sandbox_id, "echo begun; sleep 0.3; echo done; exit 6")
        other = connect(address)
        (info,) = other.list_processes(sandbox_id)
        assert (info.process_id, info.running, info.attached, info.tty) == (process_id, True, False, False)
        result = other.wait_process(sandbox_id, process_id)
        assert (result.stdout, result.exit_code) == ("begun\ndone\n", 6)
        (info,) = client.list_processes(sandbox_id)
        assert (info.running, info.exit_code, info.duration_ms >= 300) == (False, 6, True)

    def test_output_is_followed_from_where_it_was_left(self, client: SandboxAPI, sandbox_id: str) -> None:
        script = "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done"
        process_id = client.start_process(sandbox_id, script)
        with client.follow_process(sandbox_id, process_id) as stream:
            frames = iter(stream)
            assert [next(frames).type, next(frames).text] == ["started", "line 1\n"]
        with client.follow_process(sandbox_id, process_id, offset=7) as stream:
            rest = list(stream)
        assert printed(rest) == b"".join(b"line %d\n" % number for number in range(2, 6))
        assert rest[-1].type == "exit"

    def test_output_so_far_can_be_read(self, client: SandboxAPI, sandbox_id: str) -> None:
        process_id = client.start_process(sandbox_id, "echo so far; sleep 30")
        seen = b""
        while seen != b"so far\n":
            with client.follow_process(sandbox_id, process_id, follow=False) as stream:
                frames = list(stream)
            seen = printed(frames)
            assert frames[-1].type == "end"
        assert stream.exit is None

    def test_last_of_much_output_is_kept(self, client: SandboxAPI, sandbox_id: str) -> None:
        process_id = client.start_process(sandbox_id, "head -c 3000000 /dev/zero; echo end")
        result = client.wait_process(sandbox_id, process_id)
        assert result.stdout.endswith("end\n")
        assert len(result.stdout_bytes) + result.stdout_dropped == 3_000_004
        with client.follow_process(sandbox_id, process_id) as stream:
            frames = list(stream)
        assert frames[1].offset <= result.stdout_dropped
        assert frames[-1].offset == 3_000_004

    def test_input_signal_and_kill(self, client: SandboxAPI, sandbox_id: str) -> None:
        process_id = client.start_process(sandbox_id, ["cat"], keep_stdin=True)
        client.write_stdin(sandbox_id, process_id, "one\n")
        client.write_stdin(sandbox_id, process_id, b"two\n", end=True)
        assert client.wait_process(sandbox_id, process_id).stdout == "one\ntwo\n"
        process_id = client.start_process(sandbox_id, "setsid sleep 7401 & sleep 7402")
        client.signal_process(sandbox_id, process_id, "KILL")
        result = client.wait_process(sandbox_id, process_id)
        assert (result.signal, result.timed_out) == (9, False)
        until_gone(client, sandbox_id, "sleep 740")
        with pytest.raises(ConflictError, match="has ended"):
            client.signal_process(sandbox_id, process_id)

    @pytest.mark.parametrize("signal", [0, 65, "NONE", 1.5, True])
    def test_signal_that_is_none_is_refused(self, client: SandboxAPI, signal: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            client.signal_process("a", "b", signal)

    def test_process_that_is_not_there_is_not_found(self, client: SandboxAPI, sandbox_id: str) -> None:
        with pytest.raises(ProcessNotFoundError, match="there is no process nothing"):
            client.wait_process(sandbox_id, "nothing")
        with pytest.raises(ProcessNotFoundError, match="there is no process nothing"):
            client.follow_process(sandbox_id, "nothing")

    def test_process_without_a_terminal_has_no_size(self, client: SandboxAPI, sandbox_id: str) -> None:
        process_id = client.start_process(sandbox_id, ["sleep", "30"])
        with pytest.raises(InvalidArgumentError, match="no terminal"):
            client.resize_process(sandbox_id, process_id, 1, 1)


def test_platform_is_told(client: SandboxAPI, sandbox_id: str) -> None:
    info = client.get_platform_info(sandbox_id)
    assert (info["system"], info["node"]) == ("Linux", sandbox_id)
    assert int(info["cpus"]) >= 1
