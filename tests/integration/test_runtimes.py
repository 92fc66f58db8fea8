"""One behaviour, whatever runs the sandbox and whatever carries the calls.

Nothing here asks which runtime it is: what a runtime cannot do stands in the capability tables, which decide
what is expected of it.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from every_runtime import Runtime
from inside import wait_until

from flash_sandbox import (
    ConflictError,
    InvalidArgumentError,
    Reason,
    SandboxEndedError,
    SandboxNotFoundError,
    UnsupportedError,
)
from flash_sandbox.orchestrator.guest.output import MAX_OUTPUT_BYTES
from flash_sandbox.orchestrator.runtimes.catalogue import OPTIONS, capabilities

# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT and SETFCAP.
OWN = 0x800404FB
SLEEPERS = "setsid sleep 9341 > /dev/null 2>&1 & (sleep 9342 &) ; sleep 9343"
COUNT_SLEEPERS = (
    "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2> /dev/null "
    "| grep -c '^sleep 934' || true"
)


class TestLifecycle:
    def test_a_sandbox_runs_until_it_is_stopped(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            assert runtime.client.get_status(sandbox_id) == "running"
        with pytest.raises(SandboxNotFoundError):
            runtime.client.get_status(sandbox_id)

    def test_a_main_process_that_ends_stops_it(self, runtime: Runtime) -> None:
        with runtime.sandbox(command=["sh", "-c", "exit 3"]) as sandbox_id:
            wait_until(lambda: runtime.client.get_status(sandbox_id) == "stopped", "the sandbox to stop")
            with pytest.raises(ConflictError, match="stopped"):
                runtime.client.exec_command(sandbox_id, ["true"])

    def test_a_main_process_that_is_not_there_is_told_from_the_start(self, runtime: Runtime) -> None:
        with (
            pytest.raises(InvalidArgumentError, match="/no/such/program") as caught,
            runtime.sandbox(command=["/no/such/program"]),
        ):
            pass
        assert caught.value.reason == Reason.START_FAILED

    def test_an_image_that_is_not_there_is_told(self, runtime: Runtime) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            runtime.client.start_sandbox(runtime.type, "/no/such/image")
        assert caught.value.reason == Reason.IMAGE_NOT_FOUND

    def test_an_option_that_a_runtime_cannot_honour_is_refused(self, runtime: Runtime) -> None:
        for option in set(OPTIONS) - capabilities()[runtime.type].options:
            value: Any = 32 if option in ("pids", "shm_mb", "disk_mb") else "/x"
            with pytest.raises(UnsupportedError, match=option):
                runtime.client.start_sandbox(runtime.type, runtime.image, **{option: value})

    def test_a_network_that_a_runtime_cannot_give_is_refused(self, runtime: Runtime) -> None:
        for network in {"none", "bridge"} - set(capabilities()[runtime.type].networks):
            with pytest.raises(UnsupportedError, match=network):
                runtime.client.start_sandbox(runtime.type, runtime.image, network=network)


class TestExec:
    def test_the_streams_come_apart(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, ["sh", "-c", "echo out; echo err >&2"])
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)

    @pytest.mark.parametrize(
        ("command", "exit_code"),
        [
            (["sh", "-c", "exit 7"], 7),
            (["sh", "-c", "kill -9 $$"], 128 + 9),
            (["no-such-command"], 127),
            (["/etc/passwd"], 126),
        ],
    )
    def test_the_exit_code_tells_how_it_ended(
        self, runtime: Runtime, idle: str, command: list[str], exit_code: int
    ) -> None:
        assert runtime.client.exec_command(idle, command).exit_code == exit_code

    def test_what_could_not_be_run_is_named_on_standard_error(self, runtime: Runtime, idle: str) -> None:
        result = runtime.client.exec_command(idle, ["no-such-command"])
        assert (result.stdout, "no-such-command" in result.stderr) == ("", True)

    def test_output_beyond_the_bound_is_counted(self, runtime: Runtime, idle: str) -> None:
        size = MAX_OUTPUT_BYTES + 12345
        result = runtime.client.exec_command(idle, ["sh", "-c", f"yes | head -c {size}"])
        assert (len(result.stdout), result.stdout_dropped) == (MAX_OUTPUT_BYTES, 12345)

    def test_a_process_that_is_left_behind_does_not_hold_up_the_call(
        self, runtime: Runtime, idle: str
    ) -> None:
        client = runtime.client.with_options(timeout=30.0)
        result = client.exec_command(idle, ["sh", "-c", "sleep 600 & echo $!"])
        runtime.sh(idle, f"kill {result.stdout}")

    def test_commands_run_at_the_same_time(self, runtime: Runtime, idle: str) -> None:
        # Each waits for the other.
        scripts = [
            "mkdir /tmp/a; until [ -d /tmp/b ]; do :; done",
            "mkdir /tmp/b; until [ -d /tmp/a ]; do :; done",
        ]
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda script: runtime.sh(idle, script), scripts)) == ["", ""]
        runtime.sh(idle, "rmdir /tmp/a /tmp/b")

    def test_a_command_whose_time_has_passed_ends_with_all_that_it_started(
        self, runtime: Runtime, idle: str
    ) -> None:
        # Where the machine is so busy that they have not all started by then, it gets more time.
        for seconds in (1.5, 12.0):
            with ThreadPoolExecutor(1) as pool:
                given_up = pool.submit(
                    runtime.client.exec_command, idle, ["sh", "-c", SLEEPERS], timeout=seconds
                )
                have_started = False
                while not (have_started or given_up.done()):
                    have_started = int(runtime.sh(idle, COUNT_SLEEPERS)) == 3
                assert given_up.result().timed_out
            if have_started:
                break
        assert have_started
        wait_until(lambda: int(runtime.sh(idle, COUNT_SLEEPERS)) == 0, "its processes to end")


class TestConfinement:
    @pytest.mark.parametrize(
        ("field", "granted"),
        [("CapInh", 0), ("CapPrm", OWN), ("CapEff", OWN), ("CapBnd", OWN), ("CapAmb", 0)],
    )
    def test_root_has_the_capabilities_for_what_is_its_own_and_no_other(
        self, runtime: Runtime, idle: str, field: str, granted: int
    ) -> None:
        line = runtime.sh(idle, f"grep {field} /proc/self/status || true").split()
        if not line and capabilities()[runtime.type].own_kernel:
            pytest.skip("the sandbox's own kernel knows no such capabilities")
        assert int(line[1], 16) == granted

    def test_privileges_cannot_be_gained(self, runtime: Runtime, idle: str) -> None:
        line = runtime.sh(idle, "grep NoNewPrivs /proc/self/status || true").split()
        if not line and capabilities()[runtime.type].own_kernel:
            pytest.skip("the sandbox's own kernel does not tell")
        assert line[1] == "1"

    def test_the_hosts_system_calls_are_filtered_or_not_reached(self, runtime: Runtime, idle: str) -> None:
        if capabilities()[runtime.type].own_kernel:
            assert runtime.sh(idle, "uname -r").strip() != os.uname().release
        else:
            assert runtime.sh(idle, "grep Seccomp: /proc/self/status").split()[1] == "2"

    def test_there_is_no_network_but_loopback(self, runtime: Runtime, idle: str) -> None:
        lines = runtime.sh(idle, "cat /proc/net/dev").splitlines()[2:]
        assert [line.split(":")[0].strip() for line in lines] == ["lo"]

    @pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/x"])
    def test_the_kernel_cannot_be_written_to(self, runtime: Runtime, idle: str, path: str) -> None:
        assert runtime.client.exec_command(idle, ["sh", "-c", f"echo x > {path}"]).exit_code != 0

    def test_the_hosts_processes_are_not_seen(self, runtime: Runtime, idle: str) -> None:
        assert runtime.sh(idle, "cat /proc/1/cmdline").count("python") == 0

    def test_sandboxes_do_not_share_files(self, runtime: Runtime, idle: str) -> None:
        runtime.sh(idle, "echo mine > /tmp/shared")
        with runtime.sandbox() as other:
            assert runtime.client.exec_command(other, ["cat", "/tmp/shared"]).exit_code != 0


class TestLimits:
    def test_a_memory_hog_is_ended_and_the_others_go_on(self, runtime: Runtime, idle: str, limits) -> None:
        if limits != "enforce":
            pytest.skip("memory is limited for all processes together only where there is a cgroup")
        if capabilities()[runtime.type].memory_ends == "the sandbox":
            pytest.skip("all of the sandbox ends")
        with runtime.sandbox(memory_mb=32) as sandbox_id:
            hog = ["sh", "-c", "head -c 100m /dev/zero | tail | wc -c"]
            # The kernel may choose the main process, too, to end for it.
            with suppress(ConflictError):
                assert runtime.client.exec_command(sandbox_id, hog).stdout.strip() in ("", "0")
            assert runtime.sh(idle, "echo on") == "on\n"

    def test_a_memory_hog_ends_its_whole_sandbox_where_it_is_said_to(self, runtime: Runtime) -> None:
        if capabilities()[runtime.type].memory_ends != "the sandbox":
            pytest.skip("one process ends")
        with runtime.sandbox(memory_mb=96) as sandbox_id:
            hog = ["sh", "-c", "head -c 300m /dev/zero | tail | wc -c"]
            with pytest.raises(SandboxEndedError, match="ended for want of memory while the command ran"):
                runtime.client.exec_command(sandbox_id, hog)
            assert runtime.client.get_status(sandbox_id) == "stopped"
            with pytest.raises(ConflictError, match=r"is stopped: its main process ended with .* memory"):
                runtime.client.exec_command(sandbox_id, hog)

    def test_the_metrics_are_of_this_sandbox(self, runtime: Runtime, limits) -> None:
        if limits != "enforce":
            pytest.skip("there is no memory limit to read where there is no cgroup")
        with runtime.sandbox(memory_mb=100) as sandbox_id:
            metrics = runtime.client.get_metrics(sandbox_id)
            assert metrics.memory_limit_bytes == 100 * 1024 * 1024
            assert 0 < metrics.memory_usage_bytes < metrics.memory_limit_bytes
            assert 1 <= metrics.pids_current < 20

    def test_the_cpu_time_is_what_was_used_since_the_reading_before(self, runtime: Runtime) -> None:
        with runtime.sandbox(cpu_cores=0.5) as sandbox_id:
            runtime.client.get_metrics(sandbox_id)
            runtime.sh(sandbox_id, "(while :; do :; done) > /dev/null 2>&1 & sleep 0.8; kill $!")
            busy = runtime.client.get_metrics(sandbox_id).cpu_percent
            runtime.client.get_metrics(sandbox_id)
            runtime.sh(sandbox_id, "sleep 0.5")
            assert runtime.client.get_metrics(sandbox_id).cpu_percent < busy

    def test_a_cpu_limit_that_the_kernel_cannot_enforce_is_refused(self, runtime: Runtime, limits) -> None:
        if limits != "enforce":
            pytest.skip("without a cgroup no share of a core is enforced")
        with (
            pytest.raises(InvalidArgumentError, match="cpu_cores must be at least"),
            runtime.sandbox(cpu_cores=0.001),
        ):
            pass


class TestPause:
    def test_its_processes_stand_still_until_it_is_resumed(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            process_id = self.started(runtime, sandbox_id, "while :; do echo tick; sleep 0.01; done")
            runtime.client.pause_sandbox(sandbox_id)
            printed = self.settled(runtime, sandbox_id, process_id)
            # A hundred of its steps.
            threading.Event().wait(1.0)
            assert self.printed(runtime, sandbox_id, process_id) == printed
            runtime.client.resume_sandbox(sandbox_id)
            wait_until(
                lambda: self.printed(runtime, sandbox_id, process_id) > printed, "its processes to run on"
            )

    def test_what_was_in_memory_goes_on(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            process_id = self.started(runtime, sandbox_id, "word=kept; echo .; read line; echo $word $line")
            runtime.client.pause_sandbox(sandbox_id)
            runtime.client.resume_sandbox(sandbox_id)
            runtime.client.write_stdin(sandbox_id, process_id, "on\n", end=True)
            assert runtime.client.wait_process(sandbox_id, process_id).stdout == ".\nkept on\n"

    def test_a_paused_sandbox_takes_nothing_but_what_is_said(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            runtime.client.pause_sandbox(sandbox_id)
            for call in (
                lambda: runtime.client.pause_sandbox(sandbox_id),
                lambda: runtime.client.exec_command(sandbox_id, ["true"]),
            ):
                with pytest.raises(ConflictError, match="is paused") as caught:
                    call()
                assert caught.value.reason == Reason.WRONG_STATE
            assert runtime.client.get_metrics(sandbox_id).pids_current >= 1
            assert runtime.client.get_status(sandbox_id) == "paused"

    def test_a_snapshot_can_be_made_of_it(self, runtime: Runtime) -> None:
        with runtime.sandbox() as original:
            runtime.sh(original, "echo kept > /root/file")
            runtime.client.pause_sandbox(original)
            path = runtime.client.snapshot_sandbox(original).snapshot_path
            assert runtime.client.get_status(original) == "paused"
            with runtime.sandbox(snapshot_path=path) as copy:
                assert runtime.sh(copy, "cat /root/file") == "kept\n"

    def test_it_can_be_stopped(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            runtime.client.pause_sandbox(sandbox_id)
        with pytest.raises(SandboxNotFoundError):
            runtime.client.get_status(sandbox_id)

    @staticmethod
    def started(runtime: Runtime, sandbox_id: str, script: str) -> str:
        """Start a script that prints something, and return the process's ID once it has."""
        process_id = runtime.client.start_process(sandbox_id, ["sh", "-c", script], keep_stdin=True)
        with runtime.client.follow_process(sandbox_id, process_id) as frames:
            next(frame for frame in frames if frame.type == "stdout")
        return process_id

    @staticmethod
    def printed(runtime: Runtime, sandbox_id: str, process_id: str) -> int:
        """Return how many bytes a process has printed so far."""
        with runtime.client.follow_process(sandbox_id, process_id, follow=False) as frames:
            return sum(len(frame.data) for frame in frames)

    @classmethod
    def settled(cls, runtime: Runtime, sandbox_id: str, process_id: str) -> int:
        """Return the same once what was on its way has come: twice the same in a row."""
        before, now = -1, cls.printed(runtime, sandbox_id, process_id)
        while before != now:
            threading.Event().wait(0.1)
            before, now = now, cls.printed(runtime, sandbox_id, process_id)
        return now


class TestSnapshot:
    def test_files_come_back_in_sandboxes_of_their_own(self, runtime: Runtime) -> None:
        with runtime.sandbox() as original:
            runtime.sh(original, "echo before > /root/file")
            path = runtime.client.snapshot_sandbox(original).snapshot_path
            runtime.client.resume_sandbox(original)
            runtime.sh(original, "echo after > /root/file")
            with runtime.sandbox(snapshot_path=path) as first, runtime.sandbox(snapshot_path=path) as second:
                runtime.sh(first, "echo first > /root/file")
                assert runtime.sh(second, "cat /root/file") == "before\n"

    def test_it_leaves_the_sandbox_paused(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            runtime.client.snapshot_sandbox(sandbox_id)
            assert runtime.client.get_status(sandbox_id) == "paused"
            with pytest.raises(ConflictError, match="paused"):
                runtime.client.exec_command(sandbox_id, ["true"])
            runtime.client.resume_sandbox(sandbox_id)
            assert runtime.sh(sandbox_id, "echo on") == "on\n"

    def test_a_paused_sandbox_can_be_stopped(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            runtime.client.snapshot_sandbox(sandbox_id)

    def test_one_of_another_image_is_refused(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            path = runtime.client.snapshot_sandbox(sandbox_id).snapshot_path
        with pytest.raises(InvalidArgumentError) as caught:
            runtime.client.start_sandbox(runtime.type, "another:image", snapshot_path=path)
        assert caught.value.reason == Reason.SNAPSHOT_REFUSED

    def test_one_whose_file_was_changed_is_refused(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            path = runtime.client.snapshot_sandbox(sandbox_id).snapshot_path
        files = sorted(Path(path).iterdir())
        if not files:
            pytest.skip("the engine has its files")
        with files[0].open("ab") as file:
            file.write(b"more")
        with pytest.raises(InvalidArgumentError) as caught:
            runtime.client.start_sandbox(runtime.type, snapshot_path=path)
        assert caught.value.reason == Reason.SNAPSHOT_REFUSED

    def test_one_outside_of_the_store_is_refused(self, runtime: Runtime) -> None:
        for path in ("/etc/passwd", f"{runtime.state_dir}/snapshots/../snapshots/key"):
            with pytest.raises(InvalidArgumentError) as caught:
                runtime.client.start_sandbox(runtime.type, snapshot_path=path)
            assert caught.value.reason == Reason.SNAPSHOT_REFUSED

    def test_it_is_listed_until_it_is_removed(self, runtime: Runtime) -> None:
        with runtime.sandbox() as sandbox_id:
            runtime.sh(sandbox_id, "head -c 100000 /dev/urandom > /root/file")
            path = runtime.client.snapshot_sandbox(sandbox_id).snapshot_path
        (info,) = (info for info in runtime.client.list_snapshots() if info.snapshot_path == path)
        assert (info.type, info.image) == (runtime.type, runtime.image)
        assert info.size_bytes >= 100_000
        with runtime.sandbox(snapshot_path=path) as copy:
            runtime.client.remove_snapshot(path)
            assert runtime.sh(copy, "wc -c < /root/file").strip() == "100000"
        assert path not in [info.snapshot_path for info in runtime.client.list_snapshots()]
        with pytest.raises(InvalidArgumentError) as caught:
            runtime.client.remove_snapshot(path)
        assert caught.value.reason == Reason.SNAPSHOT_REFUSED

    def test_removing_it_does_not_break_a_start_from_it(self, runtime: Runtime) -> None:
        with runtime.sandbox() as original, ThreadPoolExecutor(1) as pool:
            runtime.sh(original, "head -c 20000000 /dev/urandom > /root/file")
            # Later and later in the start, until it has looked before.
            for number in range(40):
                path = runtime.client.snapshot_sandbox(original).snapshot_path
                start = pool.submit(runtime.client.start_sandbox, runtime.type, snapshot_path=path)
                wait([start], timeout=0.05 * number)
                runtime.client.remove_snapshot(path)
                if start.exception() is None:
                    break
                assert getattr(start.exception(), "reason", "") == Reason.SNAPSHOT_REFUSED
            copy = start.result()
            assert runtime.sh(copy, "wc -c < /root/file").strip() == "20000000"
            runtime.client.stop_sandbox(copy)
