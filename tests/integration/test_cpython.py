"""CPython's own tests of processes, files and users pass in a sandbox as they do on the host."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flash_sandbox import HTTPClient

TESTS = ("test_subprocess", "test_posix", "test_os")
# An outcome may stand in a later line than the name, behind the first line of a docstring.
_OUTCOME = re.compile(r"^(test\w* \([\w.]+\))(?:\n[^\n]*)? \.\.\. (ok|skipped)", re.MULTILINE)
SECONDS = 280
# They give a file to user 2**31, whom no range of 65,536 has.
BEYOND_THE_RANGE = {
    f"test_{name} (test.test_posix.PosixTester.test_{name})" for name in ("chown", "fchown", "lchown")
}


@pytest.fixture(scope="module")
def command(need: Callable[[str, str | None], None]) -> list[str]:
    """Return the command that runs the tests, by the system's Python."""
    found = sorted(Path("/usr/lib").glob("python3.*/test/test_subprocess.py"))
    need("python-tests", None if found else "CPython's tests are not here (Debian: libpython3.11-testsuite)")
    return [f"/usr/bin/{found[-1].parents[1].name}", "-m", "test", "-v", *TESTS]


@pytest.fixture(scope="module")
def passed_on_host(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return what passes on the host."""
    directory = tmp_path_factory.mktemp("cpython")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(directory), "LANG": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return passed(done.stdout)


def passed(output: str) -> set[str]:
    return {name for name, outcome in _OUTCOME.findall(output) if outcome == "ok"}


@pytest.mark.timeout(2 * SECONDS + 20)
@pytest.mark.parametrize("whose", ["orchestrator", "orchestrator_with_range"])
def test_what_passes_on_the_host_passes_inside(
    request: pytest.FixtureRequest, command: list[str], passed_on_host: set[str], whose: str
) -> None:
    address = request.getfixturevalue(whose).http_address
    with HTTPClient(address=address, timeout=SECONDS) as client:
        sandbox_id = client.start_sandbox(type="bubblewrap", image="host", memory_mb=2048, cpu_cores=2)
        result = client.exec_command(sandbox_id, command, cwd="/tmp", timeout=SECONDS)
        client.stop_sandbox(sandbox_id)
    failed = set(re.findall(r"^(?:FAIL|ERROR): (test\w* \([\w.]+\))", result.stdout, re.MULTILINE))
    assert failed == BEYOND_THE_RANGE
    assert len(passed_on_host) > 600
    assert passed_on_host - passed(result.stdout) == BEYOND_THE_RANGE
