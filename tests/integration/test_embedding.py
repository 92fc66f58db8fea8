"""`Sandbox.create()` with no client: each program here is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ordinary_user
import pytest
from inside import wait_until

from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

THREE_LINES = """
from flash_sandbox import Sandbox
with Sandbox.create() as s:
    print(s.exec_command("echo hi").stdout)
"""
PID = "from flash_sandbox.embedding import _shared\npid = lambda: _shared._current.process.pid\n"


class Here:
    """Where programs run: what they and their orchestrators leave behind is seen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FLASH_SANDBOX_")
        } | {"TMPDIR": str(directory), "DOCKER_HOST": "unix:///nowhere/docker.sock"}

    def begin(self, program: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program],
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, **environment: str) -> str:
        with self.begin(program, **environment) as process:
            printed, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, ""), said
        return printed

    def left(self) -> list[Path]:
        return list(self.directory.glob("flash-sandbox-*"))


@pytest.fixture
def here(tmp_path: Path, limits: Limits) -> Here:
    if limits != "enforce":
        pytest.skip("what is said of missing limits is on standard error, too")
    return Here(tmp_path)


def is_there(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_three_lines_run_a_command_and_leave_nothing_behind(here: Here) -> None:
    assert here.run(THREE_LINES) == "hi\n\n"
    assert here.left() == []


def test_the_asynchronous_form_does_the_same(here: Here) -> None:
    program = """
import asyncio
from flash_sandbox import AsyncSandbox
async def main():
    async with await AsyncSandbox.create() as s:
        print((await s.exec_command("echo hi")).stdout)
asyncio.run(main())
"""
    assert here.run(program) == "hi\n\n"
    assert here.left() == []


def test_a_sandbox_is_connected_to_and_listed_without_a_client(here: Here) -> None:
    program = """
from flash_sandbox import Sandbox
with Sandbox.create(memory_mb=64) as s:
    again = Sandbox.connect(s.id)
    print(again.run("echo hi").stdout, end="")
    again.close()
    print(s.status(), [each.id for each in Sandbox.list()] == [s.id])
    for each in Sandbox.list(status="running"):
        each.stop()
    print(list(Sandbox.list()))
"""
    assert here.run(program) == "hi\nrunning True\n[]\n"
    assert here.left() == []


def test_it_works_as_an_ordinary_user(need: Callable[[str, str | None], None]) -> None:
    found = ordinary_user.command()
    if isinstance(found, str):
        need("ordinary-user", found)
        return
    command, environment = found
    done = subprocess.run(
        [*command, "-c", THREE_LINES],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "hi\n\n"), done.stderr


def test_the_import_loads_nothing_of_it() -> None:
    program = "import sys, flash_sandbox; print([name for name in sys.modules if name.endswith('embedding')\
 or 'orchestrator' in name or name == 'subprocess'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_threads_share_one(here: Here) -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
from flash_sandbox import Sandbox
def one(_):
    with Sandbox.create(memory_mb=64) as s:
        return str(s._client._transport.address)
with ThreadPoolExecutor(8) as pool:
    print(len(set(pool.map(one, range(8)))))
"""
    assert here.run(program) == "1\n"


def test_a_forked_child_has_its_own_and_takes_nothing_from_its_parent(here: Here) -> None:
    program = """
import os, warnings
from flash_sandbox import Sandbox
warnings.simplefilter("ignore", DeprecationWarning)
def address(s): return str(s._client._transport.address)
with Sandbox.create(memory_mb=64) as s:
    there, here = os.pipe()
    if os.fork() == 0:
        with Sandbox.create(memory_mb=64) as child:
            os.write(here, address(child).encode())
        os._exit(0)
    _, status = os.wait()
    print(status, os.read(there, 100).decode() != address(s), s.exec_command("echo on").stdout)
"""
    assert here.run(program) == "0 True on\n\n"
    wait_until(lambda: here.left() == [], "the files of both to be gone")


def test_a_directory_of_ones_own_is_a_volume(here: Here) -> None:
    program = """
import os
from flash_sandbox import Sandbox
os.mkdir("project")
with Sandbox.create(memory_mb=64, volumes={"/work": "./project"}) as s:
    s.run("echo inside > /work/file", check=True)
with open("project/file") as file:
    print(file.read(), end="")
"""
    assert here.run(f"import os; os.chdir({str(here.directory)!r})" + program) == "inside\n"


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents(here: Here) -> None:
    program = (
        PID
        + """
import os, sys, warnings
from flash_sandbox import Sandbox
warnings.simplefilter("ignore", DeprecationWarning)
Sandbox.create(memory_mb=64)
if os.fork() == 0:
    os.close(1); os.close(2)
    sys.stdin.read()
    os._exit(0)
print(pid(), flush=True)
os.kill(os.getpid(), 9)
"""
    )
    with here.begin(program) as process:
        assert process.stdout is not None
        companion = int(process.stdout.readline())
        process.wait(30)
        # Its child still waits for input.
        wait_until(lambda: not is_there(companion), "the orchestrator to end")
        wait_until(lambda: here.left() == [], "its files to be gone")


def test_a_process_that_is_killed_leaves_nothing_behind(here: Here) -> None:
    program = (
        PID
        + """
import time
from flash_sandbox import Sandbox
Sandbox.create(memory_mb=64)
print(pid(), flush=True)
time.sleep(600)
"""
    )
    with here.begin(program) as process:
        assert process.stdout is not None
        companion = int(process.stdout.readline())
        assert is_there(companion)
        assert len(here.left()) == 1
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    wait_until(lambda: not is_there(companion), "the orchestrator to end")
    wait_until(lambda: here.left() == [], "its files to be gone")


def runs(words: bytes) -> bool:
    """Tell whether any process has these words among its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if words in path.read_bytes().replace(b"\0", b" "):
                return True
    return False


def test_ctrl_c_ends_the_program_and_not_what_cleans_up(here: Here) -> None:
    program = (
        PID
        + """
import sys
from flash_sandbox import Sandbox
try:
    with Sandbox.create(memory_mb=64) as s:
        print(pid(), flush=True)
        s.exec_command("sleep 4731", timeout=None)
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    with here.begin(program) as process:
        assert process.stdout is not None
        companion = int(process.stdout.readline())
        assert os.getpgid(companion) != os.getpgid(process.pid)
        wait_until(lambda: runs(b"sleep 4731"), "the command to run")
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=30)
    assert (process.returncode, printed, said) == (0, "interrupted\n", "")
    assert not is_there(companion)
    assert here.left() == []


def test_one_that_was_killed_is_started_anew(here: Here) -> None:
    program = (
        PID
        + """
import os
from flash_sandbox import Sandbox, SandboxConnectionError
one = Sandbox.create(memory_mb=64)
os.kill(pid(), 9)
try:
    while True:
        one.get_status()
except SandboxConnectionError:
    pass
with Sandbox.create(memory_mb=64) as s:
    print(s.exec_command("echo again").stdout)
one._client.close()
"""
    )
    assert here.run(program) == "again\n\n"


def test_a_sandbox_closes_its_own_client_and_no_other(here: Here, orchestrator: Orchestrator) -> None:
    program = """
from flash_sandbox import ClientClosedError, HTTPClient, Sandbox
with HTTPClient(address="ADDRESS") as client:
    Sandbox.create(client=client, memory_mb=64).stop_sandbox()
    client.list_sandboxes()
s = Sandbox.create(memory_mb=64)
s.stop_sandbox(cleanup=False)
print(s.get_status())
s.stop_sandbox()
try:
    s.get_status()
except ClientClosedError:
    print("closed")
""".replace("ADDRESS", orchestrator.http_address)
    assert here.run(program) == "stopped\nclosed\n"


class TestTheEnvironments:
    @pytest.mark.parametrize(("scheme", "kind"), [("http", "HTTPClient"), ("grpc", "SandboxClient")])
    def test_orchestrator_is_used_where_it_names_one(self, limits: Limits, scheme: str, kind: str) -> None:
        with pytest.MonkeyPatch.context() as patch, running_orchestrator(limits=limits, api_key="k") as there:
            from flash_sandbox import Sandbox

            address = there.http_address if scheme == "http" else f"grpc://{there.grpc_address}"
            patch.setenv("FLASH_SANDBOX_ADDR", address)
            patch.setenv("FLASH_SANDBOX_API_KEY", "k")
            with Sandbox.create(memory_mb=64) as sandbox:
                assert type(sandbox._client).__name__ == kind
                assert sandbox.exec_command("echo there").stdout == "there\n"

    def test_orchestrator_is_not_replaced_where_it_does_not_answer(self, here: Here) -> None:
        program = """
from flash_sandbox import Sandbox, SandboxConnectionError
try:
    Sandbox.create()
except SandboxConnectionError as error:
    print(error.reason)
"""
        assert here.run(program, FLASH_SANDBOX_ADDR="127.0.0.1:1") == "connection_failed\n"


def test_without_the_extra_the_error_says_what_to_install(here: Here, tmp_path: Path) -> None:
    # What a package of that name raises that is not there.
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('no', name='starlette')\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from flash_sandbox import RuntimeUnavailableError, Sandbox
try:
    Sandbox.create()
except RuntimeUnavailableError as error:
    print(error.detail)
"""
    assert here.run(program) == (
        "$FLASH_SANDBOX_ADDR names no orchestrator, and to run one here starlette is missing: "
        "pip install 'flash-sandbox[orchestrator]'\n"
    )
