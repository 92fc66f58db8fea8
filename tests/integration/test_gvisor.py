"""Sandboxes under gVisor's kernel: real ``runsc``, driven by an orchestrator of its own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from inside import running, wait_until
from served import Serving, serve
from test_serve import cgroups_named, processes_with

from flash_sandbox import (
    ConflictError,
    HTTPClient,
    InternalServerError,
    InvalidArgumentError,
    SandboxClient,
    SandboxError,
)
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.gvisor.runsc import choose_platform
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

# Counts in its own memory and answers with the count when its file is removed; writes nothing in between.
COUNTER = "n=0; while :; do n=$((n+1)); if [ -e /ask ]; then echo $n > /count; rm /ask; fi; sleep 0.02; done"


@pytest.fixture(scope="module", autouse=True)
def gvisor(need, tmp_path_factory) -> None:
    found = asyncio.run(GvisorRuntime(tmp_path_factory.mktemp("probe")).check())
    need("gvisor", None if found.available else found.detail)


@pytest.fixture(scope="module")
def orchestrator(gvisor) -> Iterator[Orchestrator]:
    with running_orchestrator() as orchestrator:
        yield orchestrator


@pytest.fixture(scope="module")
def client(orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address, timeout=60) as client:
        yield client


def shell(client: HTTPClient, sandbox_id: str, script: str) -> str:
    result = client.exec_command(sandbox_id, ["sh", "-c", script])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def gvisor_sandbox(client: HTTPClient, **options: object):
    return running(client, type="gvisor", **options)


def count(client: HTTPClient, sandbox_id: str) -> int:
    """Ask the counter in a sandbox how far it is."""
    asked = "rm -f /count; touch /ask; until [ -s /count ]; do sleep 0.01; done; cat /count"
    return int(shell(client, sandbox_id, asked))


def running_commands(client: HTTPClient, sandbox_id: str, pattern: str) -> list[str]:
    """Return the command lines in a sandbox that hold a pattern; one that has ended has none."""
    lines = shell(client, sandbox_id, "cat /proc/[0-9]*/cmdline 2>/dev/null || true")
    return re.findall(f"sleep\x00{pattern}", lines)


def processes(client: HTTPClient, sandbox_id: str) -> int:
    return client.get_metrics(sandbox_id).pids_current


class TestACrashOfTheProgram:
    """``runsc run`` may die of SIGSEGV before it has done anything."""

    @pytest.fixture
    def crashing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> Iterator[HTTPClient]:
        """Return a client of an orchestrator whose program crashes so many times."""
        crashes = tmp_path / "crashes"
        crashes.mkdir()
        for number in range(request.param):
            (crashes / str(number)).touch()
        program = tmp_path / "runsc"
        program.write_text(
            f"""#!/bin/sh
            case " $* " in *" run "*)
                for crash in {crashes}/*; do [ ! -e "$crash" ] || {{ rm "$crash"; kill -SEGV $$; }}; done
            esac
            exec {shutil.which("runsc")} "$@"
            """
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with running_orchestrator() as own, HTTPClient(address=own.http_address, timeout=60) as client:
            yield client

    @pytest.mark.parametrize("crashing", [1], indirect=True)
    def test_is_followed_by_another_try(self, crashing: HTTPClient) -> None:
        with gvisor_sandbox(crashing) as sandbox_id:
            assert shell(crashing, sandbox_id, "echo hi") == "hi\n"

    @pytest.mark.parametrize("crashing", [2], indirect=True)
    def test_is_told_where_it_crashes_again_and_leaves_nothing(self, crashing: HTTPClient) -> None:
        with pytest.raises(InternalServerError, match="ended with 139"):
            crashing.start_sandbox("gvisor")
        assert crashing.list_sandboxes().sandboxes == ()
        with gvisor_sandbox(crashing):
            pass


class TestCommands:
    @pytest.mark.parametrize(
        ("command", "stdout", "exit_code"),
        [
            (["echo", "hi"], "hi\n", 0),
            (["sh", "-c", "exit 7"], "", 7),
            (["sh", "-c", "exit 128"], "", 128),
            (["sh", "-c", "kill -9 $$"], "", 128 + 9),
            (["sh", "-c", "kill -15 $$"], "", 128 + 15),
            (["no-such-program"], "", 127),
            (["/no/such/program"], "", 127),
            (["/etc"], "", 126),
            (["pwd"], "/\n", 0),
            (["printf", "%s|", "-x", "--", "a b", "", "ü"], "-x|--|a b||ü|", 0),
        ],
    )
    def test_exit_statuses_and_output(self, client, command, stdout, exit_code):
        with gvisor_sandbox(client) as sandbox_id:
            result = client.exec_command(sandbox_id, command)
        assert (result.stdout, result.exit_code) == (stdout, exit_code)

    def test_a_user_has_the_groups_and_the_home_of_the_image(self, client):
        script = "id -u; id -G; echo $HOME"
        with gvisor_sandbox(client) as sandbox_id:
            shell(
                client,
                sandbox_id,
                "echo me:x:1000:1001::/home/me: >> /etc/passwd; echo more:x:1002:me >> /etc/group",
            )
            for user, expected in (("me", "1000\n1001 1002\n/home/me\n"), ("", "0\n0\n/root\n")):
                assert client.exec_command(sandbox_id, ["sh", "-c", script], user=user).stdout == expected
            given = client.exec_command(sandbox_id, "echo $HOME", user="me", env={"HOME": "/else"})
            assert given.stdout == "/else\n"

    def test_the_streams_are_apart(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            result = client.exec_command(sandbox_id, ["sh", "-c", "echo out; echo err >&2"])
        assert (result.stdout, result.stderr) == ("out\n", "err\n")

    def test_output_is_bounded_and_what_was_dropped_is_counted(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            result = client.exec_command(sandbox_id, ["head", "-c", "9000000", "/dev/zero"])
        assert len(result.stdout) == 8 * 1024 * 1024
        assert result.stdout_dropped == 9_000_000 - 8 * 1024 * 1024

    def test_a_process_left_behind_does_not_hold_the_call(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            assert client.exec_command(sandbox_id, ["sh", "-c", "sleep 3000 & echo on"]).stdout == "on\n"

    def test_a_time_out_ends_the_command_with_its_children(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            script = "sh -c 'sleep 3001; true' & (sleep 3002 &); setsid sleep 3003 & wait"
            result = client.exec_command(sandbox_id, ["sh", "-c", script], timeout=2)
            assert (result.timed_out, result.exit_code) == (True, 128 + 9)
            wait_until(lambda: running_commands(client, sandbox_id, "300[123]") == [], "their end")
            assert shell(client, sandbox_id, "echo on") == "on\n"

    def test_a_signal_is_told_from_an_exit_status(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            killed = client.exec_command(sandbox_id, ["sh", "-c", "kill -15 $$"])
            exited = client.exec_command(sandbox_id, ["sh", "-c", "exit 143"])
        assert (killed.exit_code, killed.signal) == (143, 15)
        assert (exited.exit_code, exited.signal) == (143, 0)

    def test_a_program_that_never_starts_holds_up_no_other(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            # gVisor's kernel opens what it is to execute, and so waits for a writer.
            shell(client, sandbox_id, "mkfifo -m 755 /never; printf '#!/never' > /script; chmod 755 /script")
            for program in ("/never", "/script"):
                assert client.exec_command(sandbox_id, [program]).exit_code in (126, 128 + 9)
                assert shell(client, sandbox_id, "echo on") == "on\n"

    def test_a_command_has_the_largest_arguments(self, client):
        script = 'echo $#; printf %s "$1" | wc -c; env | grep -c ^V'
        with gvisor_sandbox(client) as sandbox_id:
            env = {f"V{n}": "x" for n in range(1000)}
            arguments = ["x" * 100_000, *("y" for _ in range(1000))]
            result = client.exec_command(sandbox_id, ["sh", "-c", script, "sh", *arguments], env=env)
        assert result.stdout == "1001\n100000\n1000\n"

    def test_commands_run_at_the_same_time(self, orchestrator):
        from flash_sandbox import AsyncHTTPClient

        async def many() -> list[str]:
            async with AsyncHTTPClient(address=orchestrator.http_address, timeout=60) as client:
                sandbox_id = await client.start_sandbox("gvisor", "host")
                calls = (client.exec_command(sandbox_id, ["echo", str(n)]) for n in range(8))
                results = await asyncio.gather(*calls)
                await client.stop_sandbox(sandbox_id)
                return [result.stdout for result in results]

        assert asyncio.run(many()) == [f"{n}\n" for n in range(8)]


class TestConfinement:
    def test_the_kernel_is_gvisors(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            assert shell(client, sandbox_id, "uname -r").strip() != os.uname().release
            assert "gVisor" in shell(client, sandbox_id, "dmesg")

    def test_every_process_of_root_has_the_same_capabilities(self, client):
        script = "grep -h -E 'Cap(Prm|Eff|Bnd)' /proc/1/status /proc/self/status"
        with gvisor_sandbox(client) as sandbox_id:
            sets = {line.split()[1] for line in shell(client, sandbox_id, script).splitlines()}
        # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
        assert sets == {"00000000800404fb"}

    def test_nobody_inside_ends_stops_or_starves_the_agent(self, client):
        script = """
            kill -9 1; kill -STOP 1; kill -TERM 1; prlimit --pid 1 --nofile=0; renice 19 1
            for file in mem fd/3 fd/4; do head -c 1 /proc/1/$file; done
        """
        with gvisor_sandbox(client) as sandbox_id:
            # It becomes another user in the agent's memory.
            assert client.exec_command(sandbox_id, ["id", "-u"], user="nobody").stdout == "65534\n"
            result = client.exec_command(sandbox_id, ["sh", "-c", script])
            assert (result.stdout, result.stderr.count("not permitted")) == ("", 5)
            assert shell(client, sandbox_id, "echo on") == "on\n"

    def test_nobody_inside_leaves_the_cgroup_that_a_kill_ends(self, client):
        script = "mount -t cgroup -o job none /mnt; unshare -Ur --mount --propagation unchanged "
        with gvisor_sandbox(client) as sandbox_id:
            result = client.exec_command(sandbox_id, f"{script} mount -t cgroup -o job none /mnt")
            assert result.exit_code != 0
            assert shell(client, sandbox_id, "grep -c job /proc/mounts || true") == "0\n"

    def test_nothing_of_the_hosts_environment_is_inside(self, client, monkeypatch):
        monkeypatch.setenv("A_SECRET", "told")
        with gvisor_sandbox(client) as sandbox_id:
            assert "A_SECRET" not in shell(client, sandbox_id, "env")

    def test_there_is_no_network_but_loopback(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            assert re.findall(r"(?m)^ *(\w+):", shell(client, sandbox_id, "cat /proc/net/dev")) in (
                [],
                ["lo"],
            )

    def test_the_host_is_not_visible(self, client, orchestrator):
        with gvisor_sandbox(client) as sandbox_id:
            script = f"ls {orchestrator.state_dir} /home/* /var/lib/dpkg 2>/dev/null | wc -l"
            assert shell(client, sandbox_id, script) == "0\n"

    @pytest.mark.parametrize("path", ["/usr/new", "/usr/bin/env"])
    def test_the_hosts_programs_cannot_be_written(self, client, path):
        with gvisor_sandbox(client) as sandbox_id:
            result = client.exec_command(sandbox_id, ["sh", "-c", f"echo x >> {path}"])
        assert "Read-only" in result.stderr or "Permission denied" in result.stderr

    def test_what_one_sandbox_writes_no_other_sees(self, client):
        with gvisor_sandbox(client) as one, gvisor_sandbox(client) as other:
            shell(client, one, "echo mine > /root/file; rm /etc/hosts")
            assert shell(client, other, "echo /root/* /etc/hosts") == "/root/* /etc/hosts\n"


class TestLimits:
    def test_metrics_are_read(self, client):
        with gvisor_sandbox(client, memory_mb=256) as sandbox_id:
            client.get_metrics(sandbox_id)
            shell(client, sandbox_id, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
            metrics = client.get_metrics(sandbox_id)
        assert metrics.memory_limit_bytes == 256 * 1024 * 1024
        assert 0 < metrics.memory_usage_bytes < metrics.memory_limit_bytes
        assert metrics.cpu_percent > 1
        assert metrics.pids_current == 1
        assert (metrics.net_rx_bytes, metrics.net_tx_bytes) == (0, 0)

    def test_the_limits_are_in_the_kernel(self, client):
        with gvisor_sandbox(client, memory_mb=128, cpu_cores=0.5) as sandbox_id:
            found = {}
            for directory in cgroups_named(sandbox_id):
                for file in ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max"):
                    if Path(directory, file).exists():
                        found[file] = Path(directory, file).read_text().split()[0]
        assert str(128 * 1024 * 1024) in found.values()
        assert "50000" in found.values()

    def test_a_memory_hog_ends_its_sandbox_and_no_other(self, client):
        hog = "$x = 'x' x (512 * 1024 * 1024); print length $x"
        with gvisor_sandbox(client, memory_mb=96) as sandbox_id, gvisor_sandbox(client) as other:
            with pytest.raises(ConflictError):
                client.exec_command(sandbox_id, ["perl", "-e", hog])
            assert client.get_status(sandbox_id) == "stopped"
            assert shell(client, other, "echo on") == "on\n"

    def test_what_is_written_to_files_counts(self, client):
        with gvisor_sandbox(client, memory_mb=96) as sandbox_id, pytest.raises(ConflictError):
            client.exec_command(sandbox_id, ["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=300"])

    @pytest.mark.parametrize("kind", [HTTPClient, SandboxClient])
    def test_too_little_memory_for_gvisor_itself_is_refused(self, orchestrator, kind):
        address = orchestrator.http_address if kind is HTTPClient else orchestrator.grpc_address
        with kind(address=address) as client:
            for memory_mb in (1, 23):
                with pytest.raises(InvalidArgumentError, match=f"at least 24: .* not {memory_mb}"):
                    client.start_sandbox("gvisor", "host", memory_mb=memory_mb)

    def test_the_least_memory_does_for_a_program(self, client):
        with gvisor_sandbox(client, memory_mb=24) as sandbox_id:
            assert shell(client, sandbox_id, "echo on") == "on\n"


class TestLife:
    def test_no_zombie_stays_in_an_idle_sandbox(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            shell(client, sandbox_id, "(sleep 0.1 &)")
            wait_until(lambda: processes(client, sandbox_id) == 1, "the orphan to be reaped")

    def test_a_main_process_that_ends_is_noticed(self, client):
        with gvisor_sandbox(client, command=["sh", "-c", "exit 3"]) as sandbox_id:
            wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end of the main process")

    def test_a_main_process_that_is_not_there_is_named(self, client):
        with pytest.raises(InvalidArgumentError, match="'/no/such' cannot be run: No such file") as caught:
            client.start_sandbox("gvisor", "host", ["/no/such"])
        assert caught.value.reason == "start_failed"

    def test_nothing_is_left_when_it_is_stopped(self, client, orchestrator):
        with gvisor_sandbox(client) as sandbox_id:
            assert processes_with(sandbox_id)
        assert_nothing_left(sandbox_id, orchestrator.state_dir)

    def test_nothing_is_left_of_a_start_that_fails(self, client, orchestrator):
        own = orchestrator.state_dir / "gvisor"
        before = sorted(own.rglob("*"))
        with pytest.raises(InvalidArgumentError):
            client.start_sandbox("gvisor", "host", ["/no/such"])
        assert sorted(own.rglob("*")) == before


def assert_nothing_left(sandbox_id: str, state_dir: Path) -> None:
    left = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_with(sandbox_id)}
    assert left == {}
    assert cgroups_named(sandbox_id) == []
    assert sandbox_id not in Path("/proc/self/mountinfo").read_text()
    assert [path for path in (state_dir / "gvisor").rglob("*") if sandbox_id in path.name] == []


class TestSnapshots:
    def test_a_counter_in_memory_goes_on_in_five_restored_sandboxes(self, client):
        with gvisor_sandbox(client, command=["sh", "-c", COUNTER]) as sandbox_id:
            shell(client, sandbox_id, "echo before > /root/before")
            at_least = count(client, sandbox_id)
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with ThreadPoolExecutor(5) as pool:
            starts = [pool.submit(client.start_sandbox, "gvisor", snapshot_path=path) for _ in range(5)]
            restored = [start.result() for start in starts]
            try:
                for number, one in enumerate(restored):
                    script = f"cat /root/before; echo {number} > /root/after-{number}"
                    assert shell(client, one, script) == "before\n"
                first, second = (list(pool.map(partial(count, client), restored)) for _ in range(2))
                assert all(at_least <= one < two for one, two in zip(first, second, strict=True))
                for number, one in enumerate(restored):
                    assert shell(client, one, "echo /root/after-*") == f"/root/after-{number}\n"
            finally:
                list(pool.map(client.stop_sandbox, restored))

    def test_it_stays_paused_without_a_process_and_goes_on_after_resume(self, client):
        with gvisor_sandbox(client, command=["sh", "-c", COUNTER]) as sandbox_id:
            before = count(client, sandbox_id)
            client.snapshot_sandbox(sandbox_id)
            assert client.get_status(sandbox_id) == "paused"
            assert client.get_metrics(sandbox_id).pids_current > 0
            client.resume_sandbox(sandbox_id)
            assert count(client, sandbox_id) > before

    def test_a_paused_sandbox_can_be_snapshot_again(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            shell(client, sandbox_id, "echo kept > /root/file")
            one = client.snapshot_sandbox(sandbox_id).snapshot_path
            two = client.snapshot_sandbox(sandbox_id).snapshot_path
        assert one != two
        with gvisor_sandbox(client, image="", snapshot_path=two) as restored:
            assert shell(client, restored, "cat /root/file") == "kept\n"

    def test_a_restored_sandbox_can_be_snapshot(self, client):
        with gvisor_sandbox(client, command=["sh", "-c", COUNTER]) as sandbox_id:
            before = count(client, sandbox_id)
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with gvisor_sandbox(client, image="", snapshot_path=path) as restored:
            path = client.snapshot_sandbox(restored).snapshot_path
        with gvisor_sandbox(client, image="", snapshot_path=path) as again:
            assert count(client, again) > before

    def test_a_command_goes_on_after_resume(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            script = "echo before; until [ -e /go ]; do sleep 0.01; done; echo after; exit 3"
            with client.exec_stream(sandbox_id, ["sh", "-c", script]) as stream:
                assert next(frame.data for frame in stream if frame.data) == b"before\n"
                client.snapshot_sandbox(sandbox_id)
                client.resume_sandbox(sandbox_id)
                shell(client, sandbox_id, "touch /go")
                assert b"".join(frame.data for frame in stream) == b"after\n"
                assert stream.exit is not None
                assert stream.exit.exit_code == 3

    def test_a_command_goes_on_in_the_copies_and_each_keeps_its_own_output(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            # It prints more than anything on the way holds.
            script = "until [ -e /go ]; do sleep 0.01; done; head -c 3000000 /dev/zero; cat /go > /done"
            process = client.start_process(sandbox_id, ["sh", "-c", script])
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
            client.resume_sandbox(sandbox_id)
            with (
                gvisor_sandbox(client, image="", snapshot_path=path) as one,
                gvisor_sandbox(client, image="", snapshot_path=path) as two,
            ):
                for number, copy in enumerate((one, two, sandbox_id)):
                    shell(client, copy, f"echo {number} > /go.partial; mv /go.partial /go")
                for number, copy in enumerate((one, two, sandbox_id)):
                    printed = shell(client, copy, "until [ -s /done ]; do sleep 0.01; done; cat /done")
                    assert printed == f"{number}\n"
            result = client.wait_process(sandbox_id, process)
            assert len(result.stdout) + result.stdout_dropped == 3_000_000

    def test_the_output_of_the_main_process_is_in_the_copy(self, client):
        with gvisor_sandbox(client, command=["sh", "-c", f"echo begun; {COUNTER}"]) as sandbox_id:
            wait_until(lambda: client.get_logs(sandbox_id).output == b"begun\n", "its output")
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with gvisor_sandbox(client, image="", snapshot_path=path) as restored:
            assert client.get_logs(restored).output == b"begun\n"

    def test_a_process_in_the_background_is_in_the_snapshot(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            shell(client, sandbox_id, "sleep 3000 </dev/null >/dev/null 2>&1 &")
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with gvisor_sandbox(client, image="", snapshot_path=path) as restored:
            assert len(running_commands(client, restored, "3000")) == 1

    def test_a_command_cannot_be_given_to_what_goes_on(self, client):
        with gvisor_sandbox(client) as sandbox_id:
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        with pytest.raises(InvalidArgumentError, match="takes no command"):
            client.start_sandbox("gvisor", command=["true"], snapshot_path=path)

    @pytest.mark.parametrize("change", ["bit", "end", "runtime"])
    def test_a_changed_or_foreign_snapshot_is_refused(self, client, change):
        kind = "bubblewrap" if change == "runtime" else "gvisor"
        with running(client, type=kind) as sandbox_id:
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        if change != "runtime":
            file = Path(path) / "checkpoint.img"
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content if change == "bit" else content[:-1])
        with pytest.raises(InvalidArgumentError) as caught:
            client.start_sandbox("gvisor", snapshot_path=path)
        assert caught.value.reason == "snapshot_refused"


@pytest.fixture
def state_dir(tmp_path) -> Path:
    return tmp_path / "state"


def test_it_works_where_the_caller_ignores_the_end_of_children(state_dir: Path) -> None:
    with ExitStack() as stack:
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            serving = stack.enter_context(serve(state_dir, limits="enforce"))
        finally:
            signal.signal(signal.SIGCHLD, before)
        client = stack.enter_context(HTTPClient(address=serving.http, timeout=60))
        sandbox_id = stack.enter_context(gvisor_sandbox(client))
        assert client.exec_command(sandbox_id, ["false"]).exit_code == 1


@pytest.fixture
def killed_and_followed(
    state_dir,
) -> Iterator[Callable[[Callable[[HTTPClient], str]], tuple[HTTPClient, str]]]:
    """Return what does something with an orchestrator, kills it with SIGKILL, and starts the next one."""
    with ExitStack() as stack:

        def client_of(serving: Serving) -> HTTPClient:
            return stack.enter_context(HTTPClient(address=serving.http, timeout=60))

        def follow(prepare: Callable[[HTTPClient], str]) -> tuple[HTTPClient, str]:
            with serve(state_dir, limits="enforce") as serving:
                sandbox_id = prepare(client_of(serving))
                serving.process.send_signal(signal.SIGKILL)
                serving.process.wait()
            serving = stack.enter_context(serve(state_dir, limits="enforce"))
            return client_of(serving), sandbox_id

        yield follow


class TestAfterAKill:
    def test_a_running_sandbox_goes_on(self, killed_and_followed, state_dir):
        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host", ["sh", "-c", COUNTER])
            shell(client, sandbox_id, "echo kept > /root/file")
            return sandbox_id

        client, sandbox_id = killed_and_followed(prepare)
        assert client.get_status(sandbox_id) == "running"
        assert shell(client, sandbox_id, "cat /root/file /etc/hosts").startswith("kept\n127.0.0.1")
        assert count(client, sandbox_id) > 0
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
        restored = client.start_sandbox("gvisor", snapshot_path=path)
        assert shell(client, restored, "cat /root/file") == "kept\n"
        client.resume_sandbox(sandbox_id)
        assert count(client, sandbox_id) > 0
        for one in (restored, sandbox_id):
            client.stop_sandbox(one)
            assert_nothing_left(one, state_dir)

    def test_output_goes_on_where_it_was(self, killed_and_followed):
        script = "echo begun; until [ -e /go ]; do sleep 0.01; done; seq 100000; exec sleep 600"
        numbers = b"".join(b"%d\n" % number for number in range(1, 100_001))

        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host", ["sh", "-c", script])
            wait_until(lambda: client.get_logs(sandbox_id).output == b"begun\n", "its output")
            # It prints while nobody is there, or is just about to.
            shell(client, sandbox_id, "(sleep 0.5; touch /go) &")
            return sandbox_id

        client, sandbox_id = killed_and_followed(prepare)
        wait_until(lambda: client.get_logs(sandbox_id).output.endswith(b"\n100000\n"), "the rest of it")
        logs = client.get_logs(sandbox_id)
        assert (b"begun\n" + numbers).endswith(logs.output)
        assert logs.dropped + len(logs.output) == len(b"begun\n" + numbers)
        client.stop_sandbox(sandbox_id)

    def test_a_command_runs_on(self, killed_and_followed):
        script = "touch /on; until [ -e /go ]; do sleep 0.01; done; head -c 3000000 /dev/zero; touch /done"

        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host")
            client.start_process(sandbox_id, ["sh", "-c", script])
            shell(client, sandbox_id, "until [ -e /on ]; do sleep 0.01; done")
            return sandbox_id

        client, sandbox_id = killed_and_followed(prepare)
        shell(client, sandbox_id, "touch /go; until [ -e /done ]; do sleep 0.01; done")
        client.stop_sandbox(sandbox_id)

    def test_the_main_process_ends_meanwhile(self, killed_and_followed):
        def prepare(client: HTTPClient) -> str:
            script = "sleep 0.3; echo last; exit 5"
            return client.start_sandbox("gvisor", "host", ["sh", "-c", script])

        client, sandbox_id = killed_and_followed(prepare)
        wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end of the main process")
        assert client.get_logs(sandbox_id).output == b"last\n"
        assert client.get_info(sandbox_id).exit_code == 5
        client.stop_sandbox(sandbox_id)

    def test_a_paused_sandbox_stays_paused(self, killed_and_followed, state_dir):
        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host", ["sh", "-c", COUNTER])
            client.snapshot_sandbox(sandbox_id)
            return sandbox_id

        client, sandbox_id = killed_and_followed(prepare)
        assert client.get_status(sandbox_id) == "paused"
        client.resume_sandbox(sandbox_id)
        assert count(client, sandbox_id) > 0
        client.stop_sandbox(sandbox_id)
        assert_nothing_left(sandbox_id, state_dir)

    def test_the_end_of_an_adopted_sandbox_is_noticed(self, killed_and_followed):
        # It goes on for a while, so that it does not take the command with it that ends it.
        script = "until [ -e /end ]; do sleep 0.05; done; sleep 2"
        client, sandbox_id = killed_and_followed(
            lambda client: client.start_sandbox("gvisor", "host", ["sh", "-c", script])
        )
        shell(client, sandbox_id, "touch /end")
        wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end of the main process")
        client.stop_sandbox(sandbox_id)

    def test_a_sandbox_that_ended_meanwhile_is_removed(self, state_dir):
        with (
            serve(state_dir, limits="enforce") as serving,
            HTTPClient(address=serving.http, timeout=60) as client,
        ):
            sandbox_id = client.start_sandbox("gvisor", "host")
            serving.process.send_signal(signal.SIGKILL)
            serving.process.wait()
        for pid in processes_with(sandbox_id):
            # One may have ended with another.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with serve(state_dir, limits="enforce"):
            assert_nothing_left(sandbox_id, state_dir)

    def test_one_that_ended_before_is_kept_with_what_it_printed(self, killed_and_followed):
        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host", ["sh", "-c", "echo last; exit 5"])
            wait_until(lambda: client.get_status(sandbox_id) == "stopped", "the end of the main process")
            return sandbox_id

        client, sandbox_id = killed_and_followed(prepare)
        assert client.get_status(sandbox_id) == "stopped"
        assert client.get_logs(sandbox_id).output == b"last\n"
        client.stop_sandbox(sandbox_id)

    def test_a_half_made_sandbox_is_removed(self, killed_and_followed, state_dir):
        def prepare(client: HTTPClient) -> str:
            sandbox_id = client.start_sandbox("gvisor", "host")
            (state_dir / "state.db").unlink()
            return sandbox_id

        _, sandbox_id = killed_and_followed(prepare)
        assert_nothing_left(sandbox_id, state_dir)


OWN = "gvisor/sandboxes/*"


@pytest.mark.parametrize(
    ("call", "pattern", "appears"),
    [
        ("start", OWN, True),
        ("start", f"{OWN}/config.json", True),
        ("start", f"{OWN}/pid", True),
        ("snapshot", f"{OWN}/saved.partial", True),
        ("snapshot", f"{OWN}/saved.partial/checkpoint.img", True),
        ("snapshot", f"{OWN}/saved", True),
        ("snapshot", "snapshots/snap-*", True),
        ("resume", f"{OWN}/pid", True),
        ("resume", f"{OWN}/saved", False),
        ("stop", OWN, False),
    ],
)
def test_a_kill_at_any_point_leaves_a_sandbox_whole_or_nothing_of_it(
    killed_and_followed, state_dir, call, pattern, appears
):
    def prepare(client: HTTPClient) -> str:
        sandbox_id = "" if call == "start" else client.start_sandbox("gvisor", "host")
        if call == "resume":
            client.snapshot_sandbox(sandbox_id)
            next(state_dir.glob(f"{OWN}/pid")).unlink()
        calls = {
            "start": lambda: client.start_sandbox("gvisor", "host"),
            "snapshot": lambda: snapshot_again_and_again(client, sandbox_id),
            "resume": lambda: client.resume_sandbox(sandbox_id),
            "stop": lambda: client.stop_sandbox(sandbox_id),
        }
        threading.Thread(target=lambda: suppressed(calls[call]), daemon=True).start()
        deadline = time.monotonic() + 30
        while any(state_dir.glob(pattern)) is not appears:
            assert time.monotonic() < deadline, f"{pattern} did not change"
        return sandbox_id

    before = set(os.listdir("/proc"))
    client, _ = killed_and_followed(prepare)
    left = [path.name for path in state_dir.glob(OWN)]
    if call in ("snapshot", "resume"):
        # Its start was acknowledged.
        assert len(left) == 1
    for sandbox_id in left:
        if client.get_status(sandbox_id) == "paused":
            client.resume_sandbox(sandbox_id)
        assert shell(client, sandbox_id, "echo on") == "on\n"
        client.stop_sandbox(sandbox_id)
        assert_nothing_left(sandbox_id, state_dir)
    if not left:
        found = processes_with(f"{state_dir}/gvisor")
        assert [pid for pid in found if str(pid) not in before] == []
    assert not list((state_dir / "snapshots").glob("*.partial"))


def snapshot_again_and_again(client: HTTPClient, sandbox_id: str) -> None:
    # What is there for a moment only may be missed, once or twice.
    while True:
        client.snapshot_sandbox(sandbox_id)
        client.resume_sandbox(sandbox_id)


def suppressed(call: Callable[[], object]) -> None:
    # The orchestrator is killed under it.
    with suppress(SandboxError):
        call()


@pytest.mark.parametrize(
    ("listed", "platform"),
    [("systrap\nkvm\nptrace\n", "systrap"), ("ptrace\nkvm\n", "ptrace"), ("kvm\n", None), ("", None)],
)
def test_the_platform_is_one_that_the_program_knows(listed, platform):
    assert choose_platform(listed) == platform
