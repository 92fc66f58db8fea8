"""What is too large to hold, copied into a sandbox, out of it or printed in it, by processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flash_sandbox import HTTPClient, Sandbox
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

TRANSFER = Path(__file__).parent / "programs" / "transfer.py"
STREAM_OUTPUT = TRANSFER.with_name("stream_output.py")
FORWARD_ALL = TRANSFER.with_name("forward_all.py")
MANY_FORWARDS = TRANSFER.with_name("many_forwards.py")
ECHO = """
import socket, threading
def echo(peer):
    with peer:
        while data := peer.recv(1 << 16):
            peer.sendall(data)
listener = socket.create_server(("127.0.0.1", 8000), backlog=512)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],)).start()
"""
MIB = 1024 * 1024
MOST_GROWTH = 32 * MIB


@pytest.fixture(scope="module")
def size(request: pytest.FixtureRequest) -> int:
    """Tell how many MiB to copy: a GiB where the tests may take long."""
    return 1024 if request.config.getoption("--hypothesis-profile") == "long" else 128


class Served:
    """An orchestrator in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], http: str, grpc: str) -> None:
        self.http = http
        self.grpc = grpc
        self._proc = Path(f"/proc/{process.pid}")

    def run(self, program: Path, kind: str, *arguments: object) -> tuple[str, int]:
        """Run a program with a client of a kind; return what it prints, and by what this has grown."""
        # The highest use of memory is counted from now on (proc(5), clear_refs).
        (self._proc / "clear_refs").write_text("5")
        before = self._resident_bytes("VmRSS")
        address = self.http if "HTTP" in kind else self.grpc
        command = [sys.executable, str(program), kind, address, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout, self._resident_bytes("VmHWM") - before

    def _resident_bytes(self, field: str) -> int:
        """Return a number of its status: VmRSS is that of now, VmHWM the highest."""
        found = re.search(rf"{field}:\s+(\d+) kB", (self._proc / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024


@pytest.fixture(scope="module")
def served(limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    command = [sys.executable, "-m", "flash_sandbox.cli", "serve", "--http-port", "0", "--grpc-port", "0"]
    command += ["--limits", limits, "--state-dir", str(tmp_path_factory.mktemp("state"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            printed = process.stdout.readline() + process.stdout.readline()
            found = re.fullmatch(r"HTTP\s+(\S+)\ngRPC\s+(\S+)\n", printed)
            assert found is not None, printed
            yield Served(process, found[1], found[2])
        finally:
            process.terminate()


def check(what: str, size: int, printed: str, server_growth: int) -> None:
    """Check that all has come as it was sent, and that it took little memory, by what a program prints."""
    figures, digests = printed.splitlines()
    seconds, client_growth = figures.split()
    print(
        f"{what}, {size / float(seconds):.0f} MiB/s,"
        f" client {int(client_growth) / MIB:+.1f} MiB, orchestrator {server_growth / MIB:+.1f} MiB"
    )
    sent, came = digests.split()
    assert sent == came
    assert int(client_growth) < MOST_GROWTH
    assert server_growth < MOST_GROWTH


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient", "AsyncHTTPClient", "AsyncSandboxClient"])
def test_a_large_file_takes_little_memory_at_either_end(
    served: Served, kind: str, size: int, tmp_path: Path
) -> None:
    if kind.startswith("Async") and size < 1024:
        # Its transport is that of the other, but for the threads that read and write.
        size = 64
    with HTTPClient(address=served.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", memory_mb=256)
        client.read_file(sandbox_id, "/etc/passwd")
        printed, server_growth = served.run(TRANSFER, kind, sandbox_id, tmp_path, size)
        client.stop_sandbox(sandbox_id)
    figures, digests = printed.splitlines()
    upload, download, client_growth = figures.split()
    mine, inside, back = digests.split()
    print(
        f"{kind}: {size} MiB, upload {size / float(upload):.0f} MiB/s,"
        f" download {size / float(download):.0f} MiB/s,"
        f" client {int(client_growth) / MIB:+.1f} MiB, orchestrator {server_growth / MIB:+.1f} MiB"
    )
    assert mine == inside == back
    assert int(client_growth) < MOST_GROWTH
    assert server_growth < MOST_GROWTH


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient"])
def test_what_a_command_prints_takes_little_memory_at_either_end(
    served: Served, kind: str, size: int
) -> None:
    with HTTPClient(address=served.http) as client:
        sandbox_id = client.start_sandbox("bubblewrap", memory_mb=256)
        client.exec_command(sandbox_id, ["true"])
        printed, server_growth = served.run(STREAM_OUTPUT, kind, sandbox_id, size)
        client.stop_sandbox(sandbox_id)
    check(f"{kind}: {size} MiB of output", size, printed, server_growth)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    # Half of what goes through: the server sends it back.
    ("kind", "usual_size"),
    [("HTTPClient", 512), ("SandboxClient", 256), ("AsyncHTTPClient", 64), ("AsyncSandboxClient", 64)],
)
def test_what_goes_through_a_forward_takes_little_memory_at_either_end(
    served: Served, kind: str, usual_size: int, size: int
) -> None:
    size = size if size == 1024 else usual_size
    with (
        HTTPClient(address=served.http) as client,
        Sandbox.create(client=client, memory_mb=256) as sandbox,
    ):
        sandbox.commands.start(["python3", "-c", ECHO])
        sandbox.ports.wait(8000)
        printed, server_growth = served.run(FORWARD_ALL, kind, sandbox.id, 8000, size)
    check(f"{kind}: {size} MiB there and back", size, printed, server_growth)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["HTTPClient", "SandboxClient"])
def test_two_hundred_connections_at_a_time_take_little_memory(served: Served, kind: str) -> None:
    with (
        HTTPClient(address=served.http) as client,
        Sandbox.create(client=client, memory_mb=1024) as sandbox,
    ):
        sandbox.commands.start(["python3", "-c", ECHO])
        sandbox.ports.wait(8000)
        printed, server_growth = served.run(MANY_FORWARDS, kind, sandbox.id, 8000, 200)
    client_growth = int(printed)
    print(f"{kind}: client {client_growth / MIB:+.1f} MiB, orchestrator {server_growth / MIB:+.1f} MiB")
    # Of 600 MiB each way: as much as the windows allow, however much goes through.
    assert client_growth < 350 * MIB
    assert server_growth < 350 * MIB
