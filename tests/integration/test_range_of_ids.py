"""The user IDs that sandboxes of an ordinary user have: a range where newuidmap can map one, or one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker_engine
import ordinary_user
import pytest
from conftest import Need
from inside import wait_until
from layouts import busybox, busybox_layer, directory, docker_archive, entry
from served import Serving, serve
from test_serve import processes_with

from flash_sandbox import HTTPClient, UnsupportedError

PROGRAMS = Path(__file__).with_name("programs")
# Leaves files of others, which only they may look at.
OF_OTHERS = "mkdir -p /d/e && touch /d/e/f && chmod 0 /d/e/f && chown -R 1000:65535 /d && chmod 0 /d/e /d"

Command = tuple[list[str], dict[str, str]]


@pytest.fixture(scope="module")
def command(user_with_range: int, need: Need) -> Command:
    """Return what runs Python as the user with a range, and its environment."""
    return _command(user_with_range, need)


def _command(user: int, need: Need) -> Command:
    found = ordinary_user.command(user)
    if isinstance(found, str):
        need("ordinary-user", found)
        pytest.fail(found)
    return found


@pytest.fixture(scope="module")
def home(user_with_range: int) -> Iterator[Path]:
    """A directory of the user with a range."""
    with tempfile.TemporaryDirectory() as directory:
        os.chown(directory, user_with_range, user_with_range)
        yield Path(directory)


def ran(command: Command, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    python, variables = command
    return subprocess.run(
        [*python, *arguments],
        env=variables | environment,
        cwd="/",
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("what", ["layers", "failures", "images"])
def test_files_of_the_range_are_worked_on(
    command: Command, home: Path, user_with_range: int, what: str
) -> None:
    directory = home / what
    directory.mkdir()
    os.chown(directory, user_with_range, user_with_range)
    script = f"import pathlib, range_of_ids; range_of_ids.test_{what}(pathlib.Path({str(directory)!r}))"
    path = f"{command[1]['PYTHONPATH']}:{PROGRAMS}"
    done = ran(command, "-W", "error", "-c", script, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")


class TestImages:
    @pytest.fixture(params=["orchestrator", "orchestrator_with_range"])
    def served(self, request: pytest.FixtureRequest, need: Need) -> Iterator[tuple[HTTPClient, Path]]:
        """Return a client, and a directory from which images are taken."""
        need("busybox", None if busybox() else "there is no static busybox (Debian: busybox-static)")
        need("root", None if os.geteuid() == 0 else "this test does not run as root")
        found = request.getfixturevalue(request.param)
        with HTTPClient(address=found.http_address) as client:
            yield client, found.state_dir / "rootfs"

    def test_owners_are_those_that_the_layers_give(self, served: tuple[HTTPClient, Path]) -> None:
        client, directory_of_images = served
        home, nothing = directory("home/app", 0o700)
        file, content = entry("home/app/file", content=b"1", mode=0o600)
        home.uid = home.gid = file.uid = file.gid = 1000
        archive = directory_of_images / "owners.tar"
        layers = [busybox_layer(), [(home, nothing), (file, content)]]
        docker_archive(archive, layers, {"WorkingDir": "/home/app"})
        script = "pwd; stat -c %u:%g:%a . file /bin/busybox; cat file; echo 2 >> file"
        sandbox_id = client.start_sandbox(type="bubblewrap", image=str(archive))
        for user, expected in (("root", "1"), ("1000:1000", "12\n")):
            result = client.exec_command(sandbox_id, ["sh", "-c", script], user=user)
            seen = f"/home/app\n1000:1000:700\n1000:1000:600\n0:0:755\n{expected}"
            assert (result.exit_code, result.stdout) == (0, seen), result
        client.stop_sandbox(sandbox_id)
        archive.unlink()

    def test_a_directory_of_the_users_own_is_its_roots(self, served: tuple[HTTPClient, Path]) -> None:
        client, directory_of_images = served
        image = directory_of_images / "directory"
        with tarfile.open(fileobj=io.BytesIO(docker_engine.busybox_root())) as tar:
            tar.extractall(image, filter="data")
        owner = directory_of_images.stat().st_uid
        for path in (image, *image.rglob("*")):
            os.chown(path, owner, owner, follow_symlinks=False)
        script = "echo new > /etc/new && chown 33:33 /etc/new && stat -c %u /etc /etc/new && rm /bin/ls"
        sandbox_id = client.start_sandbox(type="bubblewrap", image=str(image))
        result = client.exec_command(sandbox_id, ["sh", "-c", script])
        assert (result.exit_code, result.stdout) == (0, "0\n33\n"), result
        client.stop_sandbox(sandbox_id)
        assert (image / "bin" / "ls").exists()


class TestWithoutACgroup:
    """What the orchestrator does to processes that are not its user's."""

    @pytest.fixture
    def client(self, orchestrator_with_range: Serving) -> Iterator[HTTPClient]:
        with HTTPClient(address=orchestrator_with_range.http) as client:
            yield client

    def test_memory_of_others_is_counted_and_bounded(self, client: HTTPClient) -> None:
        sandbox_id = client.start_sandbox(type="bubblewrap", memory_mb=64)
        script = "import time; kept = bytearray({} << 20); print('had', flush=True); time.sleep(60)"
        command = ["/usr/bin/python3", "-c", script.format(300)]
        result = client.exec_command(sandbox_id, command, user="33", timeout=30)
        assert (result.oom_killed, result.exit_code) == (True, 137), result
        with client.exec_stream(
            sandbox_id, ["/usr/bin/python3", "-c", script.format(30)], user="33"
        ) as stream:
            assert next(frame.data for frame in stream if frame.data) == b"had\n"
            wait_until(
                lambda: client.get_metrics(sandbox_id).memory_usage_bytes > 30 << 20, "it to be counted"
            )
        client.stop_sandbox(sandbox_id)

    def test_processes_of_others_are_paused_and_resumed(self, client: HTTPClient) -> None:
        sandbox_id = client.start_sandbox(type="bubblewrap")
        client.start_process(sandbox_id, ["sh", "-c", "while :; do : 9391; done"], user="33:33")
        wait_until(lambda: processes_with("do : 9391;"), "it to run")
        (pid,) = processes_with("do : 9391;")

        def state() -> str:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

        assert Path(f"/proc/{pid}").stat().st_uid > 65535
        client.pause_sandbox(sandbox_id)
        assert state() == "T"
        client.resume_sandbox(sandbox_id)
        assert state() != "T"
        client.stop_sandbox(sandbox_id)
        assert not Path(f"/proc/{pid}").exists()


class TestTheEnd:
    def test_what_a_killed_orchestrator_leaves_of_others_is_removed_by_the_next(
        self, command: Command, home: Path
    ) -> None:
        state = home / "killed"
        python, environment = command
        options = {"limits": "best-effort", "environment": environment, "command": python}
        with serve(state, **options) as serving, HTTPClient(address=serving.http) as client:
            sandbox_id = client.start_sandbox(type="bubblewrap")
            assert client.exec_command(sandbox_id, ["sh", "-c", OF_OTHERS]).exit_code == 0
            serving.process.kill()
            serving.process.wait()
        assert (state / "sandboxes" / sandbox_id / "upper" / "d").is_dir()
        with serve(state, **options) as serving:
            wait_until(lambda: not any((state / "trash").iterdir()), "the leftovers to be removed")
            assert not any((state / "sandboxes").iterdir())
            assert "not removed" not in serving.log.read_text()

    def test_a_temporary_state_directory_is_removed_with_all_in_it(
        self, command: Command, home: Path, user_with_range: int
    ) -> None:
        directory = home / "temporary"
        directory.mkdir()
        os.chown(directory, user_with_range, user_with_range)
        line = ["-m", "flash_sandbox.cli", "run", "--type", "bubblewrap", "--", "sh", "-c", OF_OTHERS]
        done = ran(command, *line, TMPDIR=str(directory), FLASH_SANDBOX_ADDRESS="", XDG_STATE_HOME=str(home))
        assert done.returncode == 0, done.stderr
        wait_until(lambda: os.listdir(directory) == [], "the temporary state directory to be removed")

    def test_stopping_leaves_no_process(self, command: Command, home: Path) -> None:
        python, environment = command
        options = {"limits": "best-effort", "environment": environment, "command": python}
        with serve(home / "stopped", **options) as serving:
            workers = [pid for pid in _children(serving.process.pid) if "file_worker" in _command_line(pid)]
            assert len(workers) == 1
            serving.process.send_signal(signal.SIGTERM)
            assert serving.process.wait(30) == 0
            assert not Path(f"/proc/{workers[0]}").exists()


def _children(pid: int) -> list[int]:
    # Each of a thread.
    listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in listed for word in text.split()]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


class TestOneID:
    @pytest.fixture
    def client(self, orchestrator_with_one_id: Serving) -> Iterator[HTTPClient]:
        with HTTPClient(address=orchestrator_with_one_id.http) as client:
            yield client

    def test_another_user_than_root_is_refused_with_what_is_missing(self, client: HTTPClient) -> None:
        missing = r"no user but root here: .*(newuidmap|/etc/subuid)"
        for user in ("33", "nobody", "0:33"):
            with pytest.raises(UnsupportedError, match=missing):
                client.start_sandbox(type="bubblewrap", user=user)
        sandbox_id = client.start_sandbox(type="bubblewrap", user="root")
        with pytest.raises(UnsupportedError, match=missing):
            client.exec_command(sandbox_id, ["id"], user="33")
        with pytest.raises(UnsupportedError, match=missing):
            client.start_process(sandbox_id, ["id"], user="33")
        assert client.exec_command(sandbox_id, ["id", "-u"], user="0").stdout == "0\n"
        client.stop_sandbox(sandbox_id)

    def test_files_seem_to_change_owners_and_nothing_else_seems_to_be_done(self, client: HTTPClient) -> None:
        script = "import os; os.chown('/nowhere', 33, 33); print(os.stat('/tmp').st_uid)"
        sandbox_id = client.start_sandbox(type="bubblewrap")
        assert client.exec_command(sandbox_id, ["/usr/bin/python3", "-c", script]).stdout == "0\n"
        for call in ("setgroups([])", "setuid(33)", "setgid(33)", "setresuid(33, 33, 33)", "seteuid(33)"):
            script = f"import os; os.{call}"
            result = client.exec_command(sandbox_id, ["/usr/bin/python3", "-c", script])
            assert result.exit_code == 1, call
        client.stop_sandbox(sandbox_id)


class TestDoctor:
    """It says which of the ways this host uses."""

    def test_of_root(self, need: Need) -> None:
        need("root", None if os.geteuid() == 0 else "this test does not run as root")
        line = [sys.executable, "-m", "flash_sandbox.cli", "doctor"]
        done = subprocess.run(line, capture_output=True, encoding="utf-8", check=False, timeout=60)
        assert "users: range of IDs (root)" in done.stdout.splitlines()[0]

    def test_of_a_user_with_a_range(self, command: Command) -> None:
        first, *_ = ran(command, "-m", "flash_sandbox.cli", "doctor").stdout.splitlines()
        assert "users: range of IDs (newuidmap)" in first

    def test_of_a_user_whose_range_cannot_be_mapped(self, command: Command) -> None:
        (*become, python), environment = command
        unprivileged = [*become, "setpriv", "--no-new-privs", "--", python]
        first, *rest = ran(
            (unprivileged, environment), "-m", "flash_sandbox.cli", "doctor"
        ).stdout.splitlines()
        assert "users: one ID" in first
        assert any("no user but root: newuidmap refuses: " in line for line in rest)

    def test_of_a_user_with_one_id(self, need: Need) -> None:
        done = ran(_command(ordinary_user.NOBODY, need), "-m", "flash_sandbox.cli", "doctor")
        first, *rest = done.stdout.splitlines()
        assert "users: one ID" in first
        assert any(
            ("no user but root: " in line and "newuidmap" in line) or "subuid" in line for line in rest
        )
