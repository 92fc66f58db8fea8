"""The orchestrator is killed at 25 points in the life of a sandbox and its programs; none is lost."""

from __future__ import annotations

import asyncio
import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import docker_engine as docker
import pytest
from inside import wait_until
from serving import kill, serving

from flash_sandbox import HTTPClient, SandboxError, SandboxNotFoundError
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

Need = Callable[[str, str | None], None]
Check = Callable[[HTTPClient], None]
Step = Callable[[HTTPClient, "Life"], None]

# Lines of eight bytes, so that what belongs at an offset is known.
COUNTER = 'n=0; while :; do n=$((n+1)); printf "%07d\\n" $n; usleep 20000 2> /dev/null || sleep 0.02; done'
MIB = 1024 * 1024


@dataclass
class Life:
    """A sandbox with its programs, and what was acknowledged of them.

    Attributes:
        type: Its runtime.
        image: What it was started from.
        docker_host: Address of the engine; any where none is used.
        sandbox: Its ID.
        counter: The process that prints numbers.
        echo: The process that prints what it is sent.
        typed: What it was sent, as far as that was acknowledged.
        seen: Bytes of the numbers that were read.
        checks: What must hold after the next start of an orchestrator.
    """

    type: str
    image: str
    docker_host: str
    sandbox: str = ""
    counter: str = ""
    echo: str = ""
    typed: bytes = b""
    seen: int = 0
    checks: list[Check] = field(default_factory=list)

    def begin(self, client: HTTPClient) -> None:
        self.sandbox = client.start_sandbox(self.type, self.image)
        self.counter = client.start_process(self.sandbox, ["sh", "-c", COUNTER])
        self.echo = client.start_process(self.sandbox, ["cat"], keep_stdin=True)

    def read_numbers(self, client: HTTPClient) -> None:
        """Fail unless the numbers go on where they were."""
        with client.follow_process(self.sandbox, self.counter, offset=self.seen, follow=False) as frames:
            for frame in frames:
                if frame.data:
                    assert frame.offset == self.seen, "numbers were dropped, and so few are kept"
                    first = frame.offset // 8 + 1
                    last = (frame.offset + len(frame.data)) // 8 + 1
                    expected = b"".join(b"%07d\n" % number for number in range(first, last + 1))
                    assert expected[frame.offset % 8 :].startswith(frame.data)
                    self.seen += len(frame.data)

    def more_numbers(self, client: HTTPClient) -> bool:
        """Tell whether there are more numbers than were read."""
        before = self.seen
        self.read_numbers(client)
        return self.seen > before

    def require(self, client: HTTPClient) -> None:
        """Fail unless everything that was acknowledged is there, and goes on."""
        if client.get_status(self.sandbox) == "paused":
            client.resume_sandbox(self.sandbox)
        assert client.exec_command(self.sandbox, ["echo", "on"]).stdout == "on\n"
        self.read_numbers(client)
        wait_until(lambda: self.more_numbers(client), "the next numbers")
        wait_until(lambda: printed(client, self.sandbox, self.echo).startswith(self.typed), "what was typed")
        # It may have had a line more, of which nobody was told.
        self.typed = printed(client, self.sandbox, self.echo)
        for check in self.checks:
            check(client)
        self.checks.clear()


def printed(client: HTTPClient, sandbox: str, process: str) -> bytes:
    with client.follow_process(sandbox, process, follow=False) as frames:
        return b"".join(frame.data for frame in frames)


def start_process(client: HTTPClient, life: Life) -> None:
    process = client.start_process(life.sandbox, ["sleep", "600"])

    def runs(client: HTTPClient) -> None:
        client.signal_process(life.sandbox, process, "KILL")
        assert client.wait_process(life.sandbox, process).exit_code == 137

    life.checks.append(runs)


def type_to_it(client: HTTPClient, life: Life) -> None:
    for number in range(20):
        line = b"line %d\n" % number
        client.write_stdin(life.sandbox, life.echo, line)
        life.typed += line


def run_a_short_command(client: HTTPClient, life: Life) -> None:
    for _ in range(20):
        client.exec_command(life.sandbox, ["true"])


def run_a_long_command(client: HTTPClient, life: Life) -> None:
    client.exec_command(life.sandbox, ["sleep", "0.2"])


def print_much(client: HTTPClient, life: Life) -> None:
    client.exec_command(life.sandbox, ["head", "-c", str(4 * MIB), "/dev/zero"])


def follow(client: HTTPClient, life: Life) -> None:
    with client.follow_process(life.sandbox, life.counter, offset=life.seen) as frames:
        for _ in range(5):
            next(frames)


def signal(client: HTTPClient, life: Life) -> None:
    process = client.start_process(life.sandbox, ["sleep", "600"])
    client.signal_process(life.sandbox, process, "TERM")

    def has_ended(client: HTTPClient) -> None:
        assert client.wait_process(life.sandbox, process, timeout=30).exit_code == 143

    life.checks.append(has_ended)


def write_a_file(client: HTTPClient, life: Life) -> None:
    def is_one_of_them(client: HTTPClient) -> None:
        content = client.read_file(life.sandbox, "/tmp/file")
        assert content == content[:1] * MIB

    for number in range(10):
        client.write_file(life.sandbox, "/tmp/file", f"{number}".encode() * MIB)
        life.checks[:] = [is_one_of_them]


def upload(client: HTTPClient, life: Life) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number in range(50):
            member = tarfile.TarInfo(f"file-{number}")
            member.size = 1000
            archive.addfile(member, io.BytesIO(bytes(1000)))
    client.upload_archive(life.sandbox, "/tmp/uploaded", [packed.getvalue()])

    def is_there(client: HTTPClient) -> None:
        assert client.stat(life.sandbox, "/tmp/uploaded/file-49").size == 1000

    life.checks.append(is_there)


def pause_and_resume(client: HTTPClient, life: Life) -> None:
    client.pause_sandbox(life.sandbox)
    client.resume_sandbox(life.sandbox)


def snapshot(client: HTTPClient, life: Life) -> None:
    path = client.snapshot_sandbox(life.sandbox).snapshot_path

    def is_kept(client: HTTPClient) -> None:
        assert path in {known.snapshot_path for known in client.list_snapshots()}
        client.remove_snapshot(path)

    life.checks.append(is_kept)


def start_another(client: HTTPClient, life: Life) -> None:
    other = client.start_sandbox(life.type, life.image)
    life.checks.append(lambda client: client.stop_sandbox(other))


def stop_another(client: HTTPClient, life: Life) -> None:
    other = client.start_sandbox(life.type, life.image)
    client.stop_sandbox(other)

    def is_gone(client: HTTPClient) -> None:
        with pytest.raises(SandboxNotFoundError):
            client.get_status(other)

    life.checks.append(is_gone)


STEPS = (
    start_process, type_to_it, run_a_short_command, run_a_long_command, print_much, follow, signal,
    write_a_file, upload, pause_and_resume, snapshot, start_another,
)  # fmt: skip
# Each once it is under way, and once it was acknowledged.
POINTS = [*((step, moment) for step in STEPS for moment in ("during", "after")), (stop_another, "after")]


@pytest.fixture(params=["docker", "gvisor"])
def life(request: pytest.FixtureRequest, need: Need, tmp_path: Path) -> Life:
    if request.param == "docker":
        return Life("docker", docker.IMAGE, request.getfixturevalue("docker_engine").host)
    found = asyncio.run(GvisorRuntime(tmp_path / "probe").check())
    need("gvisor", None if found.available else found.detail)
    return Life("gvisor", "host", "unix:///nowhere")


@contextmanager
def orchestrator(state_dir: Path, life: Life) -> Iterator[tuple[Popen[str], HTTPClient]]:
    with (
        serving(state_dir, life.docker_host) as (process, address),
        HTTPClient(address=address, timeout=60, max_retries=0) as client,
    ):
        yield process, client


def attempt(step: Step, client: HTTPClient, life: Life, failures: list[BaseException]) -> None:
    """Do a step, under which the orchestrator may be killed."""
    try:
        step(client, life)
    except BaseException as error:
        failures.append(error)


@pytest.mark.timeout(600)
def test_neither_a_sandbox_nor_a_program_is_lost(life: Life, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    assert len(POINTS) == 25
    for number, (step, moment) in enumerate(POINTS):
        with orchestrator(state_dir, life) as (process, client):
            if number == 0:
                life.begin(client)
            life.require(client)
            failures: list[BaseException] = []
            thread = threading.Thread(target=attempt, args=(step, client, life, failures))
            thread.start()
            if moment == "during":
                time.sleep(number % 7 * 0.005)
                kill(process)
                thread.join()
                assert all(isinstance(failure, SandboxError) for failure in failures), failures
            else:
                thread.join()
                kill(process)
                assert not failures, (step, failures)
    with orchestrator(state_dir, life) as (_, client):
        life.require(client)
        client.stop_sandbox(life.sandbox)
        for left in client.list_sandboxes().sandboxes:
            client.stop_sandbox(left.id)
        assert client.list_sandboxes().sandboxes == ()
