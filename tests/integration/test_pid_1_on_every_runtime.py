"""Root of a sandbox, with all that it may, cannot reach the agent, which is PID 1 on every runtime."""

from __future__ import annotations

import errno
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from every_runtime import Runtime

from flash_sandbox import SandboxError

SOURCE = Path(__file__).parents[1] / "guest" / "attacker.c"
FILES = ("mem", "task/1/mem", "environ", "fd/3", "fd/4", "fd/5", "fdinfo/3")


@pytest.fixture(scope="module")
def attacker(need, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Compile what makes every system call that names a process."""
    need("cc", None if shutil.which("cc") else "there is no cc")
    built = tmp_path_factory.mktemp("attacker") / "attacker"
    subprocess.run(["cc", "-static", "-o", built, SOURCE], check=True)
    return built.read_bytes()


@pytest.mark.parametrize("numbers", [[], ["32"]], ids=["64", "32"])
def test_no_system_call_reaches_pid_1(
    runtime: Runtime, idle: str, attacker: bytes, numbers: list[str]
) -> None:
    runtime.client.write_file(idle, "/tmp/attacker", attacker)
    runtime.sh(idle, "chmod 755 /tmp/attacker")
    if numbers and runtime.client.exec_command(idle, ["/tmp/attacker"]).exit_code != 0:
        return  # no 32-bit program runs there at all
    result = runtime.client.exec_command(idle, ["/tmp/attacker", "1", *numbers])
    errors = {line.rpartition(": ")[2] for line in result.stdout.splitlines()}
    assert errors == {str(errno.EPERM)}, result
    assert runtime.sh(idle, "echo hi") == "hi\n"


def test_nothing_of_pid_1_can_be_read(runtime: Runtime, idle: str) -> None:
    script = "".join(f"cat /proc/1/{name} < /dev/null 2> /dev/null | head -c 8; " for name in FILES)
    # gVisor lets root read the environment. There is nothing in it.
    assert runtime.sh(idle, script).strip("\0") == ""
    assert runtime.sh(idle, "for n in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/1/fd/$n || :; done") == ""


@pytest.mark.parametrize("number", ["KILL", "STOP", "TERM"])
def test_a_signal_to_all_spares_pid_1(runtime: Runtime, number: str) -> None:
    with runtime.sandbox() as sandbox_id:
        # What holds the command together may be gone, too: then its outcome is unknown, which is an error.
        with suppress(SandboxError):
            result = runtime.client.exec_command(sandbox_id, ["sh", "-c", f"kill -{number} -1; exit 7"])
            assert result.exit_code == 7
        assert runtime.sh(sandbox_id, "echo hi") == "hi\n"
