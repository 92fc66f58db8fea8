"""What is asked of a command and what is told of it, whatever runs the sandbox and carries the calls.

Nothing here asks which runtime it is: what a runtime cannot do stands in the capability tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import (
    CommandFailedError,
    InvalidArgumentError,
    Reason,
    SandboxEndedError,
    UnsupportedError,
)
from flash_sandbox.models import DEFAULT_MAX_OUTPUT_BYTES, RunPythonResult

EVERY_BYTE = bytes(range(256)) * 17


class TestOptions:
    def test_variables_come_beside_the_sandboxs_own(self, runtime: Runtime, idle: str) -> None:
        env = {"ONE": "a b", "EMPTY": "", "LONG": "x" * 10_000, "PATH": "/bin:/usr/bin", "TWO": "ü=1"}
        script = 'printf "%s|" "$ONE" "$EMPTY" "${#LONG}" "$PATH" "$TWO" "${HOME:+home}"'
        result = runtime.client.exec_command(idle, script, env=env)
        assert result.stdout == "a b||10000|/bin:/usr/bin|ü=1|home|"

    def test_variables_may_be_texts(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, "echo $A", env=["A=b=c"]).stdout == "b=c\n"

    def test_the_hosts_variables_do_not_leak(
        self, runtime: Runtime, idle: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_SECRET_OF_THE_HOST", "told")
        assert "A_SECRET" not in runtime.client.exec_command(idle, ["env"]).stdout

    def test_a_directory_can_be_chosen(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, ["pwd"], cwd="/etc").stdout == "/etc\n"

    def test_a_directory_that_is_not_there_is_named(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, ["echo", "on"], cwd="/no/such/directory")
        assert (result.exit_code, result.stdout) == (126, "")
        assert "/no/such/directory: " in result.stderr
        assert "no such file or directory" in result.stderr.lower()

    @pytest.mark.parametrize("cwd", ["/etc/passwd", "/etc/passwd/", "/etc/passwd/below", "/proc/1/cmdline"])
    def test_a_working_directory_that_is_a_file_is_told_and_nothing_runs(
        self, runtime: Runtime, idle: str, cwd: str
    ) -> None:
        result = runtime.client.exec_command(idle, ["echo", "on"], cwd=cwd)
        assert (result.exit_code, result.stdout) == (126, "")
        assert f"{cwd}: not a directory" in result.stderr.lower()

    @pytest.mark.parametrize(("cwd", "said"), [("/", "/"), ("/tmp/", "/tmp"), ("/tmp//../etc/", "/etc")])
    def test_a_working_directory_may_be_written_in_any_way(
        self, runtime: Runtime, idle: str, cwd: str, said: str
    ) -> None:
        assert (
            runtime.client.exec_command(idle, ["sh", "-c", "pwd -P; pwd"], cwd=cwd).stdout == f"{said}\n" * 2
        )

    def test_a_variable_that_no_program_can_be_given_is_refused(self, runtime: Runtime, idle: str) -> None:
        # 128 KiB with its name and its end are the most that Linux takes (execve(2)).
        longest = "x" * (128 * 1024 - len("A=") - 1)
        script = 'echo "${#A}"'
        result = runtime.client.exec_command(idle, ["sh", "-c", script], env={"A": longest})
        assert result.stdout == f"{len(longest)}\n"
        with pytest.raises(InvalidArgumentError, match="a variable of env is longer than 131071 bytes"):
            runtime.client.exec_command(idle, ["true"], env={"A": longest + "x"})
        with pytest.raises(InvalidArgumentError, match="a variable of env is longer than 131071 bytes"):
            runtime.client.start_sandbox(runtime.type, runtime.image, env={"A": longest + "x"})

    @pytest.mark.parametrize("user", ["", "root", "0", "0:0"])
    def test_root_can_be_named_everywhere(self, runtime: Runtime, idle: str, user: str) -> None:
        assert runtime.client.exec_command(idle, "id -u; id -g", user=user).stdout == "0\n0\n"

    def test_it_runs_as_another_user(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, "id -u; id -g", user="12:34").stdout == "12\n34\n"

    def test_a_name_of_a_user_is_never_taken_for_another(self, runtime: Runtime, idle: str) -> None:
        with pytest.raises((UnsupportedError, InvalidArgumentError), match="user"):
            runtime.client.exec_command(idle, ["id"], user="no-such-user")

    def test_a_text_is_run_by_the_shell(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, "echo $((6 * 7)) | cat; exit 5").exit_code == 5


class TestInput:
    def test_bytes_arrive_bit_for_bit_and_come_back(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, ["cat"], stdin=EVERY_BYTE).stdout_bytes == EVERY_BYTE

    def test_a_text_is_sent_as_utf_8(self, runtime: Runtime, idle: str) -> None:
        assert (
            runtime.client.exec_command(idle, ["cat"], stdin="naïve \U0001f600").stdout == "naïve \U0001f600"
        )

    def test_as_much_as_is_allowed_arrives(self, runtime: Runtime, idle: str) -> None:
        content = EVERY_BYTE * (7 * 1024 * 1024 // len(EVERY_BYTE))
        assert runtime.client.exec_command(idle, ["cat"], stdin=content).stdout_bytes == content

    def test_what_nobody_reads_does_not_hold_the_call(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "exec <&-; exit 3", stdin=b"x" * 1_000_000, timeout=20)
        assert (result.exit_code, result.timed_out) == (3, False)

    def test_without_any_it_is_empty(self, runtime: Runtime, idle: str) -> None:
        assert runtime.client.exec_command(idle, ["cat"]).stdout_bytes == b""


class TestResult:
    def test_what_is_no_text_is_replaced_in_text_and_kept_in_bytes(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "printf 'a\\377\\000b' >&2; printf '\\303'")
        assert (result.stdout, result.stdout_bytes) == ("\ufffd", b"\xc3")
        assert (result.stderr, result.stderr_bytes) == ("a\ufffd\0b", b"a\xff\0b")

    def test_each_stream_is_bounded_and_what_was_dropped_is_counted(
        self, runtime: Runtime, idle: str
    ) -> None:
        script = "yes | head -c 100000; yes | head -c 3000 >&2"
        result = runtime.client.exec_command(idle, script, max_output_bytes=2000)
        assert (len(result.stdout), result.stdout_dropped) == (2000, 98_000)
        assert (len(result.stderr), result.stderr_dropped) == (2000, 1000)

    def test_more_can_be_kept_than_usually(self, runtime: Runtime, idle: str) -> None:
        size = 20 * 1024 * 1024
        result = runtime.client.exec_command(idle, f"yes | head -c {size}", max_output_bytes=size)
        assert (len(result.stdout), result.stdout_dropped) == (size, 0)

    def test_a_signal_is_told(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "kill -9 $$")
        assert (result.exit_code, result.signal, result.timed_out) == (128 + 9, 9, False)

    def test_a_status_that_looks_like_a_signal_is_none(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "exit 143")
        assert (result.exit_code, result.signal) == (128 + 15, 0)

    def test_the_time_that_it_took_is_told(self, runtime: Runtime, idle: str) -> None:
        began = time.monotonic()
        duration = runtime.client.exec_command(idle, ["sleep", "0.5"]).duration_ms
        assert 500 <= duration <= (time.monotonic() - began) * 1000

    def test_success_is_ok_and_checked(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, ["true"])
        assert result.ok
        assert result.check() is result

    def test_failure_is_raised_with_what_was_printed(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "echo because >&2; exit 4")
        with pytest.raises(CommandFailedError, match="exit status 4: because") as caught:
            result.check()
        assert (result.ok, caught.value.result) == (False, result)


class TestTimeOut:
    def test_what_was_printed_until_then_comes_back(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "echo out; echo err >&2; sleep 9350", timeout=1)
        assert (result.stdout, result.stderr.splitlines()[0]) == ("out\n", "err")
        assert (result.timed_out, result.exit_code, result.signal, result.ok) == (True, 128 + 9, 9, False)
        assert result.duration_ms >= 1000

    def test_all_that_it_started_is_ended(self, runtime: Runtime, idle: str) -> None:
        script = "setsid sleep 9351 > /dev/null 2>&1 & (setsid sleep 9352 &); sleep 9353 & sleep 9354"
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(runtime.client.exec_command, idle, script, timeout=4)
            wait_until(lambda: runtime.count(idle, "sleep 935") == 4, "its processes to start")
            assert command.result().timed_out
        assert runtime.count(idle, "sleep 935") == 0

    def test_another_command_goes_on(self, runtime: Runtime, idle: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(runtime.client.exec_command, idle, "sleep 2.5; echo whole")
            assert runtime.client.exec_command(idle, "sleep 9355", timeout=0.5).timed_out
            assert other.result().stdout == "whole\n"

    def test_a_command_in_time_is_not_touched(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, "echo in time", timeout=20)
        assert (result.stdout, result.timed_out, result.exit_code) == ("in time\n", False, 0)


class TestEnd:
    def test_a_process_that_keeps_the_pipe_holds_the_call_no_longer_than_a_grace(
        self, runtime: Runtime, idle: str
    ) -> None:
        began = time.monotonic()
        result = runtime.client.exec_command(idle, "sleep 9356 & echo $!")
        assert time.monotonic() - began < 30
        assert runtime.count(idle, "sleep 9356") == 1
        runtime.sh(idle, f"kill {result.stdout}")

    def test_a_sandbox_that_is_stopped_under_a_command_is_told(self, runtime: Runtime) -> None:
        with ThreadPoolExecutor(1) as pool:
            with runtime.sandbox() as sandbox_id:
                command = pool.submit(runtime.client.exec_command, sandbox_id, "touch /tmp/on; sleep 9357")
                runtime.wait_for(sandbox_id, "test -e /tmp/on", "the command to run")
            with pytest.raises(SandboxEndedError, match=sandbox_id) as caught:
                command.result()
        assert caught.value.reason == Reason.SANDBOX_ENDED

    def test_a_sandbox_whose_main_process_ends_under_a_command_is_told(self, runtime: Runtime) -> None:
        main = ["sh", "-c", "until [ -e /tmp/on ]; do sleep 0.1; done"]
        with (
            runtime.sandbox(command=main) as sandbox_id,
            pytest.raises(SandboxEndedError, match=sandbox_id),
        ):
            runtime.client.exec_command(sandbox_id, "touch /tmp/on; sleep 9358", timeout=30)


class TestDroppedOutput:
    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_bytes_of_a_process_beyond_what_is_kept_are_counted(
        self, runtime: Runtime, idle: str, stream: str
    ) -> None:
        redirect = ">&2" if stream == "stderr" else ""
        script = f"head -c {3 * 2**20} /dev/zero {redirect}"
        result = runtime.client.wait_process(idle, runtime.client.start_process(idle, script), timeout=60)
        kept = {"stdout": result.stdout_bytes, "stderr": result.stderr_bytes}
        dropped = {"stdout": result.stdout_dropped, "stderr": result.stderr_dropped}
        assert len(kept[stream]) + dropped[stream] == 3 * 2**20
        assert dropped[stream] > 2**20
        del kept[stream], dropped[stream]
        assert ([*kept.values()], [*dropped.values()]) == ([b""], [0])


class TestPython:
    @pytest.fixture
    def run(self, runtime: Runtime, idle: str) -> Callable[[str], RunPythonResult]:
        """Return what runs code; skip where there is no interpreter."""
        if not runtime.client.exec_command(idle, "command -v python3 || command -v python").ok:
            with pytest.raises(UnsupportedError, match="no Python interpreter"):
                runtime.client.run_python(idle, "pass")
            pytest.skip("there is no interpreter")
        return lambda code: runtime.client.run_python(idle, code)

    def test_what_code_prints_comes_apart_and_together(self, run: Callable[[str], RunPythonResult]) -> None:
        result = run("import sys\nprint('é' * 3)\nprint(sys.argv[1:], file=sys.stderr)")
        assert (result.stdout, result.stderr, result.exit_code) == ("ééé\n", "[]\n", 0)
        assert result.result == str(result) == "ééé\n[]\n"
        assert result.check() is result

    @pytest.mark.parametrize(
        ("code", "exit_code", "signal"),
        [
            ("raise SystemExit(3)", 3, 0),
            ("raise ValueError('no')", 1, 0),
            ("print(", 1, 0),
            ("import os; os.kill(os.getpid(), 11)", 139, 11),
        ],
    )
    def test_how_code_ended_is_told(
        self, run: Callable[[str], RunPythonResult], code: str, exit_code: int, signal: int
    ) -> None:
        result = run(code)
        assert (result.exit_code, result.signal, result.ok) == (exit_code, signal, False)
        with pytest.raises(CommandFailedError) as caught:
            result.check()
        assert caught.value.result is result

    def test_bytes_of_code_that_are_no_text_are_kept(self, run: Callable[[str], RunPythonResult]) -> None:
        result = run("import os; os.write(1, b'\\xff'); os.write(2, b'\\xfe')")
        assert (result.stdout_bytes, result.stderr_bytes) == (b"\xff", b"\xfe")
        assert result.result == "\ufffd\ufffd"

    def test_output_of_code_beyond_what_is_kept_is_counted(
        self, run: Callable[[str], RunPythonResult]
    ) -> None:
        result = run(f"import sys; sys.stderr.write('x' * ({DEFAULT_MAX_OUTPUT_BYTES} + 5))")
        assert (len(result.stderr), result.stderr_dropped) == (DEFAULT_MAX_OUTPUT_BYTES, 5)

    def test_the_platform_is_what_the_processes_find(self, runtime: Runtime, idle: str) -> None:
        info = runtime.client.get_platform_info(idle)
        assert info["system"] == "Linux"
        assert info["release"] == runtime.sh(idle, "uname -r").strip()
        assert info["node"] == runtime.sh(idle, "uname -n").strip()
        assert int(info["cpus"]) >= 1
