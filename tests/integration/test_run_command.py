"""``flash-sandbox run``: a sandbox for the length of a command, with and without an orchestrator."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from command_lines import CommandLine, Terminal, check_json_lines
from inside import wait_until

from flash_sandbox import HTTPClient, SandboxEndedError
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

MARK = "of=the-run-command"
FSB = (sys.executable, "-W", "error", "-m", "flash_sandbox.cli")


@pytest.fixture(scope="module", params=["http", "grpc"])
def line(request: pytest.FixtureRequest, orchestrator: Orchestrator) -> CommandLine:
    return CommandLine(request.param, orchestrator)


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(31, 97)
    yield terminal
    terminal.close()


def its_own(client: HTTPClient) -> list[str]:
    return [info.id for info in client.list_sandboxes(labels=[MARK]).sandboxes]


class TestWithAnOrchestrator:
    def test_what_it_prints_comes_as_it_happens(self, line: CommandLine, client: HTTPClient) -> None:
        script = "echo begun; echo err >&2; until [ -e /tmp/go ]; do sleep 0.05; done; echo over; exit 7"
        with line.begin("run", "-m", "64", "-l", MARK, "--", "sh", "-c", script) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            (sandbox_id,) = its_own(client)
            info = client.get_info(sandbox_id)
            assert info.memory_mb == 64
            # It goes by itself where the one that runs it is killed.
            assert 0 < info.expires_at - info.created_at <= 61
            # It may end before the command that lets it has.
            with suppress(SandboxEndedError):
                client.exec_command(sandbox_id, "touch /tmp/go")
            assert process.communicate(timeout=30) == (b"over\n", b"err\n")
        assert process.returncode == 7
        assert its_own(client) == []

    def test_as_json_it_tells_what_becomes_of_it(self, line: CommandLine) -> None:
        done = line.run("run", "-m", "64", "--json", "--", "sh", "-c", "printf 'a\\377'; kill -9 $$")
        started, printed, end = check_json_lines("run", done.stdout.decode())
        assert (started["type"], printed["data_base64"]) == ("started", "Yf8=")
        assert (end["exit_code"], end["signal"], end["timed_out"]) == (137, 9, False)
        assert (done.returncode, done.stderr) == (137, b"")

    def test_its_time_ends_it(self, line: CommandLine, client: HTTPClient) -> None:
        words = ["-m", "64", "-l", MARK, "--timeout", "0.5", "--", "sh", "-c", "echo begun; sleep 9601"]
        done = line.run("run", *words)
        assert (done.returncode, done.stdout) == (137, b"begun\n")
        assert done.stderr == b"flash-sandbox run: the command was ended: its 0.5 s were over\n"
        assert its_own(client) == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_it_with_its_sandbox(
        self, line: CommandLine, client: HTTPClient, number: signal.Signals
    ) -> None:
        words = ["-m", "64", "-l", MARK, "--", "sh", "-c", "echo begun; sleep 9602"]
        with line.begin("run", *words) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(number)
            assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 128 + number
        assert its_own(client) == []

    def test_a_terminal_is_its_own(self, line: CommandLine, client: HTTPClient, terminal: Terminal) -> None:
        words = ["-it", "-m", "64", "-l", MARK, "-e", "PS1=prompt> ", "--", "sh"]
        with line.begin_on(terminal, "run", *words) as process:
            terminal.until("prompt> ")
            terminal.type("stty size; exit 5\n")
            terminal.until("31 97\r\n")
            assert process.wait(30) == 5
        assert its_own(client) == []

    def test_ctrl_c_ends_it_also_while_it_is_being_started(
        self, line: CommandLine, terminal: Terminal
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            address = f"127.0.0.1:{server.getsockname()[1]}"
            with line.begin_on(terminal, "run", "-it", "--address", address, "--", "sh") as process:
                # It waits for the answer to its start, which does not come.
                connection, _ = server.accept()
                with connection:
                    assert connection.recv(1)
                    terminal.type("\x03")
                    assert process.wait(30) == 130

    def test_what_cannot_be_started_is_125(self, line: CommandLine) -> None:
        done = line.run("run", "--image", "/no/such/image", "--", "true")
        assert (done.returncode, done.stdout) == (125, b"")
        assert done.stderr.startswith(b"flash-sandbox run: ")

    def test_what_is_not_there_is_127_as_of_any_shell(self, line: CommandLine) -> None:
        assert line.run("run", "-m", "64", "--", "no-such-program").returncode == 127


class TestItsTime:
    """A sandbox whose ``run`` has been killed expires; here within a second and not within a minute."""

    @pytest.fixture
    def hasty(self, orchestrator: Orchestrator) -> CommandLine:
        line = CommandLine("http", orchestrator)
        program = (
            "from flash_sandbox.cli import main\n"
            "from flash_sandbox.command_line import run_commands\n"
            "run_commands._LEASE_SECONDS = 1.2\n"
            "main()\n"
        )
        line.line = [sys.executable, "-W", "error", "-c", program]
        return line

    def test_is_set_anew_as_long_as_it_runs(self, hasty: CommandLine) -> None:
        done = hasty.run("run", "-m", "64", "--", "sh", "-c", "sleep 3; echo there")
        assert (done.returncode, done.stdout) == (0, b"there\n")

    def test_is_over_soon_after_a_kill(self, hasty: CommandLine, client: HTTPClient) -> None:
        words = ["-m", "64", "-l", MARK, "--", "sh", "-c", "echo here; sleep 9605"]
        with hasty.begin("run", *words) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            process.kill()
        wait_until(lambda: its_own(client) == [], "the sandbox to expire")


class Forwarding(BaseHTTPRequestHandler):
    """Passes everything on to an orchestrator but the end of a sandbox, which it answers itself."""

    orchestrator: str
    answer: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name: self.headers[name] for name in ("content-type",) if name in self.headers}
        url = self.orchestrator + self.path
        response = httpx.request(self.command, url, content=body, headers=headers, timeout=60)
        self._send(response.status_code, response.headers.get("content-type", ""), response.content)

    do_GET = do_PUT = do_POST

    def do_DELETE(self) -> None:
        fields = {"detail": "it stays", "reason": "", "request_id": "", "retryable": False}
        self._send(self.answer, "application/json", json.dumps(fields).encode())

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class TestTheEnd:
    @pytest.mark.parametrize(
        ("answer", "code", "said"), [(404, 3, ""), (500, 125, "it stays"), (409, 125, "it stays")]
    )
    def test_a_sandbox_that_cannot_be_stopped_is_told_unless_it_has_gone(
        self, orchestrator: Orchestrator, client: HTTPClient, answer: int, code: int, said: str
    ) -> None:
        handler = type("Own", (Forwarding,), {"orchestrator": orchestrator.http_address, "answer": answer})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                words = ["run", "--address", f"127.0.0.1:{server.server_port}", "-m", "64", "-l", MARK]
                done = subprocess.run(
                    [*FSB, *words, "--", "sh", "-c", "echo out; exit 3"],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=100,
                )
            finally:
                server.shutdown()
                thread.join()
        for sandbox_id in its_own(client):
            client.stop_sandbox(sandbox_id)
        assert (done.returncode, done.stdout) == (code, "out\n"), done.stderr
        assert said in done.stderr
        assert bool(done.stderr) == bool(said)


class Alone:
    """The command line where no orchestrator is named; the usual port is another one here."""

    def __init__(self, port: int, directory: Path) -> None:
        self.directory = directory
        program = (
            "import sys\n"
            "from flash_sandbox import AsyncHTTPClient, HTTPClient\n"
            "for kind in (HTTPClient, AsyncHTTPClient):\n"
            f"    kind.__init__.__defaults__ = ('localhost', {port}, *kind.__init__.__defaults__[2:])\n"
            "from flash_sandbox.cli import main\n"
            "main()\n"
        )
        self.line = [sys.executable, "-W", "error", "-c", program, "run"]
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FLASH_SANDBOX_")
        } | {"TMPDIR": str(directory), "DOCKER_HOST": "unix:///nowhere/docker.sock"}

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.line, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def left(self) -> list[Path]:
        return list(self.directory.glob("flash-sandbox-*"))


@contextmanager
def unused_port() -> Iterator[int]:
    """Hold a port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def port_of_another_server() -> Iterator[int]:
    """Serve what is no orchestrator."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def port_of_another_users_orchestrator() -> Iterator[int]:
    """Serve whoever has a key that was not given."""
    with running_orchestrator(limits="best-effort", api_key="theirs") as running:
        yield int(running.http_address.rpartition(":")[2])


class TestAlone:
    @pytest.mark.parametrize(
        "nobody", [unused_port, port_of_another_server, port_of_another_users_orchestrator]
    )
    def test_it_starts_an_orchestrator_and_leaves_nothing_behind(
        self, nobody, limits: Limits, tmp_path: Path
    ) -> None:
        with nobody() as port:
            alone = Alone(port, tmp_path)
            with alone.begin("-m", "64", "--", "sh", "-c", "echo here; exit 3") as process:
                printed, said = process.communicate(timeout=60)
        assert (process.returncode, printed) == (3, b"here\n"), said
        # Where limits are not enforced it says so, and which orchestrator was passed over, and nothing else.
        passed_over = nobody is port_of_another_users_orchestrator
        assert (b"best-effort" in said) == (limits != "enforce")
        assert (b"asks for a key (--api-key)" in said) == passed_over
        assert said.count(b"\n") == (limits != "enforce") + passed_over
        assert alone.left() == []

    def test_as_json_it_does_not_say_that_it_passed_one_over(self, tmp_path: Path) -> None:
        words = ["--json", "-m", "64", "--", "true"]
        with (
            port_of_another_users_orchestrator() as port,
            Alone(port, tmp_path).begin(*words) as process,
        ):
            printed, said = process.communicate(timeout=60)
        assert check_json_lines("run", printed.decode())[-1]["exit_code"] == 0
        assert b"--api-key" not in said

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_a_signal_leaves_nothing_behind(self, tmp_path: Path, number: signal.Signals) -> None:
        with unused_port() as port:
            alone = Alone(port, tmp_path)
            with alone.begin("-m", "64", "--", "sh", "-c", "echo here; sleep 9603") as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"here\n"
                assert len(alone.left()) == 1
                process.send_signal(number)
                process.communicate(timeout=30)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
        wait_until(lambda: alone.left() == [], "its files to be gone")

    def test_one_that_answers_at_the_usual_place_is_used(
        self, orchestrator: Orchestrator, client: HTTPClient, tmp_path: Path
    ) -> None:
        alone = Alone(int(orchestrator.http_address.rpartition(":")[2]), tmp_path)
        with alone.begin("-m", "64", "-l", MARK, "--", "sh", "-c", "echo here; sleep 9604") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            assert len(its_own(client)) == 1
            assert alone.left() == []
            process.terminate()
            process.communicate(timeout=30)
        assert its_own(client) == []

    def test_one_that_is_named_is_not_replaced(self, tmp_path: Path) -> None:
        with unused_port() as port:
            alone = Alone(port, tmp_path)
            with alone.begin("--address", f"127.0.0.1:{port}", "--", "true") as process:
                printed, said = process.communicate(timeout=60)
        assert (process.returncode, printed) == (125, b"")
        assert str(port).encode() in said
