"""What a start asks for is there, on every runtime that can give it, and refused by every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from every_runtime import Runtime
from inside import wait_until
from layouts import busybox, busybox_layer, directory, layout

from flash_sandbox import ConflictError, InvalidArgumentError, Reason, SandboxError, UnsupportedError
from flash_sandbox.orchestrator.runtimes.catalogue import capabilities

ImageOf = Callable[..., str]

SHOW = 'echo "$OWN $BOTH"'
OOM = "head -c 200m /dev/zero | tail | wc -c"


def needs(runtime: Runtime, option: str) -> None:
    if option not in capabilities()[runtime.type].options:
        with pytest.raises(UnsupportedError, match=option):
            runtime.client.start_sandbox(runtime.type, runtime.image, **{option: 32})
        pytest.skip(f"{runtime.type} refuses {option}")


@pytest.fixture(scope="module")
def image_of(
    runtime: Runtime, request: pytest.FixtureRequest, need: Callable[[str, str | None], None]
) -> ImageOf:
    """Return what makes an image with a command of its own: busybox, or one without any program."""
    need("busybox", None if busybox() else "there is no static busybox")

    def make(name: str, *command: str, empty: bool = False) -> str:
        layer = [directory("etc")] if empty else busybox_layer()
        config = {"Cmd": list(command)} if command else {}
        path = runtime.state_dir / "rootfs" / name
        if not path.exists():
            layout(path, [layer], config)
        if runtime.type != "docker":
            return str(path)
        engine = request.getfixturevalue("docker_engine")
        return docker_image(engine, path, name, command)

    return make


def docker_image(engine: object, path: Path, name: str, command: tuple[str, ...]) -> str:
    """Give a layout's only layer to Docker Engine, as an image with that command."""
    (layer,) = [blob for blob in (path / "blobs/sha256").iterdir() if blob.read_bytes()[:2] == b"\x1f\x8b"]
    words = ", ".join(f'"{word}"' for word in command)
    query = {"fromSrc": "-", "repo": name, "tag": "latest"}
    if command:
        query["changes"] = f"CMD [{words}]"
    headers = {"content-type": "application/x-tar"}
    engine.call("POST", "/images/create", params=query, content=layer.read_bytes(), headers=headers)  # type: ignore[attr-defined]
    return f"{name}:latest"


class TestVariables:
    def test_every_process_has_them(self, runtime: Runtime) -> None:
        env = {"OWN": "a=b c", "BOTH": "sandbox's"}
        main = ["sh", "-c", f"{SHOW}; exec sleep 1000"]
        with runtime.sandbox(env=env, command=main) as one:
            client = runtime.client
            wait_until(lambda: client.get_logs(one).output != b"", "the main process to print")
            assert client.get_logs(one).text == "a=b c sandbox's\n"
            assert runtime.sh(one, SHOW) == "a=b c sandbox's\n"
            assert client.exec_command(one, SHOW, env={"BOTH": "its own"}).stdout == "a=b c its own\n"
            with client.exec_stream(one, SHOW, env=["BOTH="]) as stream:
                assert b"".join(frame.data for frame in stream) == b"a=b c \n"
            process = client.start_process(one, SHOW)
            assert client.wait_process(one, process).stdout == "a=b c sandbox's\n"
            assert client.get_info(one).env == ("OWN=a=b c", "BOTH=sandbox's")

    def test_they_win_over_the_images(self, runtime: Runtime, idle: str) -> None:
        before = runtime.sh(idle, "echo $PATH").strip()
        with runtime.sandbox(env={"PATH": f"/own:{before}"}) as one:
            assert runtime.sh(one, "echo $PATH").strip() == f"/own:{before}"

    @pytest.mark.parametrize("env", [{"A=B": "1"}, {"": "1"}, {"A\0": "1"}, ["A"]], ids=repr)
    def test_what_is_none_is_refused(self, runtime: Runtime, idle: str, env: object) -> None:
        for call in (
            lambda: runtime.client.start_sandbox(runtime.type, runtime.image, env=env),
            lambda: runtime.client.exec_command(idle, ["true"], env=env),
            lambda: runtime.client.exec_stream(idle, ["true"], env=env),
            lambda: runtime.client.start_process(idle, ["true"], env=env),
        ):
            with pytest.raises(InvalidArgumentError, match="env"):
                call()


class TestUser:
    def test_everything_runs_as_it_unless_a_command_names_another(self, runtime: Runtime) -> None:
        if capabilities()[runtime.type].users == "root":
            pytest.skip("there is no other than root")
        main = ["sh", "-c", "id -u; id -g; exec sleep 1000"]
        with runtime.sandbox(user="1000:1001", command=main) as one:
            client = runtime.client
            wait_until(lambda: client.get_logs(one).output.count(b"\n") == 2, "the main process to print")
            assert client.get_logs(one).text == "1000\n1001\n"
            assert runtime.sh(one, "id -u; id -g") == "1000\n1001\n"
            with client.exec_stream(one, "id -u") as stream:
                assert b"".join(frame.data for frame in stream) == b"1000\n"
            process = client.start_process(one, "id -u")
            assert client.wait_process(one, process).stdout == "1000\n"
            assert client.exec_command(one, "id -u", user="root").stdout == "0\n"
            assert client.get_info(one).user == "1000:1001"

    def test_one_that_the_runtime_does_not_know_is_refused(self, runtime: Runtime) -> None:
        user = {"root": "1000", "any": "no user"}[capabilities()[runtime.type].users]
        with pytest.raises(UnsupportedError, match=user):
            runtime.client.start_sandbox(runtime.type, runtime.image, user=user)

    @pytest.mark.parametrize("user", ["nobody-here", "0:nobody-here", "4294967295", "0:99999999999"])
    def test_a_user_whom_there_is_not_is_refused(self, runtime: Runtime, user: str) -> None:
        with pytest.raises((InvalidArgumentError, UnsupportedError), match="user"):
            runtime.client.start_sandbox(runtime.type, runtime.image, user=user)
        with (
            runtime.sandbox() as one,
            pytest.raises((InvalidArgumentError, UnsupportedError), match="user"),
        ):
            runtime.client.exec_command(one, "id", user=user)


class TestProcesses:
    def test_no_more_of_them_are_made(self, runtime: Runtime) -> None:
        needs(runtime, "pids")
        with runtime.sandbox(pids=40) as one:
            assert runtime.client.get_info(one).pids == 40
            script = "i=0; while [ $i -lt 60 ]; do sleep 60 & i=$((i+1)); done; wait"
            runtime.client.start_process(one, ["sh", "-c", script])
            # A shell whose fork fails ends; what it has started stays.
            wait_until(lambda: 30 <= runtime.client.get_metrics(one).pids_current <= 40, "the limit")

    def test_more_of_them_than_the_default_are_made(self, runtime: Runtime) -> None:
        needs(runtime, "pids")
        with runtime.sandbox(pids=700) as one:
            script = "i=0; while [ $i -lt 600 ]; do sleep 60 & i=$((i+1)); done; wait"
            runtime.client.start_process(one, ["sh", "-c", script])
            wait_until(lambda: runtime.client.get_metrics(one).pids_current > 600, "all of them")


class TestSharedMemory:
    def test_it_has_the_size_that_was_asked_for(self, runtime: Runtime, idle: str) -> None:
        needs(runtime, "shm_mb")
        df = "df -m /dev/shm | tail -n 1 | awk '{print $2}'"
        assert runtime.sh(idle, df) == "64\n"
        with runtime.sandbox(shm_mb=5) as one:
            assert runtime.client.get_info(one).shm_mb == 5
            assert runtime.sh(one, df) == "5\n"
            full = runtime.client.exec_command(one, "head -c 8m /dev/zero > /dev/shm/a; wc -c < /dev/shm/a")
            assert full.stdout == f"{5 * 2**20}\n"


class TestMainProcess:
    def test_without_a_command_it_idles_whatever_the_image_says(
        self, runtime: Runtime, image_of: ImageOf
    ) -> None:
        with runtime.sandbox(image=image_of("ends", "/bin/sh", "-c", "exit 7")) as one:
            assert runtime.sh(one, "echo here") == "here\n"
            assert runtime.client.get_status(one) == "running"

    def test_in_an_image_without_any_program_it_idles_too(self, runtime: Runtime, image_of: ImageOf) -> None:
        with runtime.sandbox(image=image_of("empty", empty=True)) as one:
            assert runtime.client.exec_command(one, ["true"]).exit_code == 127
            assert runtime.client.get_status(one) == "running"

    def test_the_images_own_is_run_where_it_is_asked_for(self, runtime: Runtime, image_of: ImageOf) -> None:
        image = image_of("stays", "/bin/sh", "-c", "echo begun; exec sleep 1000")
        with runtime.sandbox(image=image, image_command=True) as one:
            wait_until(lambda: runtime.client.get_logs(one).text == "begun\n", "the image's own command")
            info = runtime.client.get_info(one)
            assert (info.command, info.image_command) == ((), True)

    def test_an_image_that_has_none_is_refused_then(self, runtime: Runtime, image_of: ImageOf) -> None:
        with pytest.raises(InvalidArgumentError, match="no command of its own") as caught:
            runtime.client.start_sandbox(runtime.type, image_of("none"), image_command=True)
        assert caught.value.reason == Reason.START_FAILED

    @pytest.mark.parametrize(
        ("status", "words"), [(3, "exit status 3;"), (137, r"exit status 137 \(SIGKILL\);")]
    )
    def test_a_conflict_tells_how_it_ended(self, runtime: Runtime, status: int, words: str) -> None:
        with runtime.sandbox(command=["sh", "-c", f"exit {status}"]) as one:
            wait_until(lambda: runtime.client.get_status(one) == "stopped", "the sandbox to stop")
            for call in (
                lambda: runtime.client.exec_command(one, ["true"]),
                lambda: runtime.client.start_process(one, ["true"]),
                lambda: runtime.client.pause_sandbox(one),
            ):
                with pytest.raises(ConflictError, match=f"is stopped: its main process ended with {words}"):
                    call()


class TestWantOfMemory:
    @pytest.fixture(autouse=True)
    def _limited(self, runtime: Runtime, limits: str) -> None:
        if capabilities()[runtime.type].memory_ends != "a process":
            pytest.skip("all of the sandbox ends")
        if limits != "enforce" and runtime.type == "bubblewrap":
            pytest.skip("without a cgroup memory is sampled, and what is quick may be missed")

    def test_it_is_told_in_every_result(self, runtime: Runtime) -> None:
        with runtime.sandbox(memory_mb=64) as one:
            client = runtime.client
            assert client.exec_command(one, OOM).oom_killed
            with client.exec_stream(one, OOM) as stream:
                assert list(stream)[-1].oom_killed
            process = client.start_process(one, OOM)
            assert client.wait_process(one, process).oom_killed
            assert [info.oom_killed for info in client.list_processes(one)] == [True]
            with client.follow_process(one, process) as frames:
                assert list(frames)[-1].oom_killed

    def test_what_ended_otherwise_does_not_tell_it(self, runtime: Runtime) -> None:
        with runtime.sandbox(memory_mb=64) as one:
            client = runtime.client
            assert not client.exec_command(one, "kill -9 $$").oom_killed
            assert client.exec_command(one, OOM).oom_killed
            assert not client.exec_command(one, "kill -9 $$").oom_killed
            assert not client.exec_command(one, ["true"]).oom_killed

    def test_of_two_commands_only_one_tells_it(self, runtime: Runtime) -> None:
        with runtime.sandbox(memory_mb=64) as one:
            client = runtime.client
            other = client.start_process(one, ["cat"], keep_stdin=True)
            killed = client.exec_command(one, ["sh", "-c", f"{OOM}; exit 137"])
            client.write_stdin(one, other, end=True)
            assert (killed.oom_killed, client.wait_process(one, other).oom_killed) == (True, False)


class TestSnapshots:
    def test_one_that_cannot_be_written_leaves_the_sandbox_running(self, runtime: Runtime) -> None:
        store = runtime.state_dir / "snapshots"
        aside = store.with_name("snapshots-aside")
        with runtime.sandbox() as one:
            store.rename(aside)
            store.touch()
            try:
                with pytest.raises(SandboxError):
                    runtime.client.snapshot_sandbox(one)
            finally:
                store.unlink()
                aside.rename(store)
            assert runtime.client.get_status(one) == "running"
            # In a frozen one it would hang.
            assert runtime.client.exec_command(one, "echo on", timeout=60).stdout == "on\n"

    def test_what_is_started_from_one_has_what_it_had(self, runtime: Runtime) -> None:
        able = capabilities()[runtime.type]
        asked: dict[str, object] = {"memory_mb": 80, "cpu_cores": 0.5, "ttl_seconds": 300}
        asked |= {
            option: value for option, value in {"pids": 99, "shm_mb": 7}.items() if option in able.options
        }
        user = "" if able.users == "root" else "1000:1001"
        with runtime.sandbox(**asked, env={"A": "1", "B": "2"}, user=user) as one:
            path = runtime.client.snapshot_sandbox(one).snapshot_path
            before = runtime.client.get_info(one)
        again = runtime.client.start_sandbox(runtime.type, snapshot_path=path, env={"B": "own"})
        info = runtime.client.get_info(again)
        script = "echo $A $B; id -u; test ! -e /proc/self/nothing"
        printed = runtime.sh(again, script)
        runtime.client.stop_sandbox(again)
        for name in ("image", "memory_mb", "cpu_cores", "pids", "shm_mb", "network", "user"):
            assert getattr(info, name) == getattr(before, name), name
        assert info.env == ("A=1", "B=own")
        assert 290 < info.expires_at - info.created_at < 310
        assert printed == f"1 own\n{1000 if user else 0}\n"
        with runtime.sandbox(snapshot_path=path, memory_mb=96, cpu_cores=0.25, ttl_seconds=600) as other:
            info = runtime.client.get_info(other)
            assert (info.memory_mb, info.cpu_cores, info.env) == (96, 0.25, ("A=1", "B=2"))
            assert info.expires_at - info.created_at > 400
        runtime.client.remove_snapshot(path)
