"""Many forks of a sandbox with a large package use it at the same time, and share its files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator

INSTALLED = "/opt/packages"
IMPORTS = "import numpy, sys; print(numpy.arange(100).sum()); sys.stdout.flush(); sys.stdin.read()"


@pytest.fixture(scope="module")
def numpy(tmp_path_factory: pytest.TempPathFactory, need: Callable[[str, str | None], None]) -> Path:
    """Return a directory with numpy for the Python that sandboxes of the image ``host`` have."""
    python = Path("/usr/bin/python3")
    need("debian", None if python.exists() else "there is no /usr/bin/python3")
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
    ).stdout.strip()
    target = tmp_path_factory.mktemp("packages")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", version, "--target", str(target), "numpy"]
    done = subprocess.run(command, capture_output=True, text=True)
    need("pypi", None if done.returncode == 0 else f"numpy cannot be installed: {done.stderr[-500:]}")
    return target


@pytest.fixture
def many(request: pytest.FixtureRequest) -> int:
    return 100 if request.config.getoption("--hypothesis-profile") == "long" else 10


@pytest.fixture
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address, timeout=300) as client:
        yield client


def disk_usage(path: Path) -> int:
    """Return the KiB that a tree takes, each file once."""
    done = subprocess.run(["du", "-sk", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def proportional_memory(pid: int) -> int:
    """Return the KiB of a process, of what it shares its part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@pytest.mark.timeout(900)
def test_forks_import_numpy_at_the_same_time_and_share_its_files(
    orchestrator: Orchestrator,
    client: HTTPClient,
    numpy: Path,
    many: int,
    record_property: Callable[..., None],
) -> None:
    prepared = client.start_sandbox("bubblewrap", "host", memory_mb=256)
    client.upload(prepared, numpy, INSTALLED)
    before = disk_usage(orchestrator.state_dir)
    forks: list[str] = []
    try:
        forks = client.fork_sandbox(prepared, many)
        with ThreadPoolExecutor(8) as pool:

            def begin(fork: str) -> str:
                return client.start_process(
                    fork, ["python3", "-c", IMPORTS], env={"PYTHONPATH": INSTALLED}, keep_stdin=True
                )

            processes = list(pool.map(begin, forks))

            def printed(fork: str, process: str) -> str:
                with client.follow_process(fork, process) as frames:
                    return next(frame.data for frame in frames if frame.data).decode()

            assert set(pool.map(printed, forks, processes)) == {"4950\n"}
            # All of them run now.
            found = [
                int(path.parent.name)
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if IMPORTS.encode() in path.read_bytes()
            ]
            memory = sum(map(proportional_memory, found))
            size = disk_usage(numpy)
            grown = disk_usage(orchestrator.state_dir) - before
            record_property("numpy in forks", f"{many}: {memory // 1024} MiB, {grown // 1024} MiB on disk")
            assert len(found) >= many
            assert grown < 1.2 * size + 100 * many

            def end(fork: str, process: str) -> int:
                client.write_stdin(fork, process, end=True)
                return client.wait_process(fork, process, timeout=300).exit_code

            assert set(pool.map(end, forks, processes)) == {0}
    finally:
        for sandbox in (*forks, prepared):
            client.stop_sandbox(sandbox)
