"""``flash-sandbox exec`` as a process of its own, on pipes and on a real terminal, over both transports."""

from __future__ import annotations

import signal
import subprocess
import sys
import termios
from collections.abc import Iterator

import pytest
from command_lines import CommandLine, Terminal, check_json_lines
from inside import wait_until

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator


class Command:
    """``exec`` for one sandbox."""

    def __init__(self, transport: str, orchestrator: Orchestrator, sandbox_id: str) -> None:
        self.sandbox_id = sandbox_id
        self._line = CommandLine(transport, orchestrator)

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return self._line.run("exec", *arguments, stdin=stdin)

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._line.begin("exec", *arguments)

    def begin_on(self, terminal: Terminal, *arguments: str) -> subprocess.Popen[bytes]:
        return self._line.begin_on(terminal, "exec", *arguments)


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def sandbox_id(client: HTTPClient) -> Iterator[str]:
    sandbox_id = client.start_sandbox("bubblewrap", "host")
    yield sandbox_id
    client.stop_sandbox(sandbox_id)


@pytest.fixture(scope="module", params=["http", "grpc"])
def command(request: pytest.FixtureRequest, orchestrator: Orchestrator, sandbox_id: str) -> Command:
    return Command(request.param, orchestrator, sandbox_id)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(31, 97)
    yield terminal
    terminal.close()


def runs(client: HTTPClient, sandbox_id: str, argument: str) -> bool:
    script = "cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '"
    return f"sleep {argument} " in client.exec_command(sandbox_id, script).stdout


class TestPipes:
    @pytest.mark.parametrize(
        ("words", "status"),
        [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137), (["no-such"], 127)],
    )
    def test_the_exit_status_is_the_commands(self, command: Command, words: list[str], status: int) -> None:
        assert command.run(command.sandbox_id, "--", *words).returncode == status

    def test_the_streams_are_apart(self, command: Command) -> None:
        done = command.run(command.sandbox_id, "--", "sh", "-c", "echo out; echo err >&2")
        assert (done.stdout, done.stderr) == (b"out\n", b"err\n")

    def test_as_json_it_tells_what_becomes_of_it(self, command: Command) -> None:
        done = command.run("--json", command.sandbox_id, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        told = check_json_lines("exec", done.stdout.decode())
        assert (told[0]["type"], told[-1]["type"], told[-1]["exit_code"]) == ("started", "exit", 7)
        printed = {(piece["type"], piece["data"]) for piece in told[1:-1]}
        assert printed == {("stdout", "out\n"), ("stderr", "err\n")}
        assert (done.returncode, done.stderr) == (7, b"")

    def test_what_follows_the_id_is_the_commands_own(self, command: Command) -> None:
        done = command.run(command.sandbox_id, "echo", "-n", "-t", "--", "--help")
        assert done.stdout == b"-t -- --help"

    def test_input_passes_bit_for_bit(self, command: Command) -> None:
        content = bytes(range(256)) * 4000
        done = command.run("-i", command.sandbox_id, "--", "cat", stdin=content)
        assert (done.stdout == content, done.returncode) == (True, 0)

    def test_without_being_asked_it_passes_none(self, command: Command) -> None:
        assert command.run(command.sandbox_id, "--", "cat", stdin=b"unseen").stdout == b""

    def test_variables_and_directory(self, command: Command) -> None:
        done = command.run(
            "-e", "A=1 2", "-e", "B=", "-w", "/etc", command.sandbox_id, "--", "sh", "-c", 'echo "$A|$B|$PWD"'
        )
        assert done.stdout == b"1 2||/etc\n"

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [
            (["-u", "nobody-here", "{id}", "true"], b"user"),
            (["-e", "=x", "{id}", "true"], b"env"),
            (["no-such-sandbox", "true"], b"no-such-sandbox"),
            (["-t", "{id}", "true"], b"-t needs a terminal"),
            (["--address", "127.0.0.1:1", "{id}", "true"], b"127.0.0.1:1"),
        ],
    )
    def test_its_own_failure_is_125_and_one_line(
        self, command: Command, arguments: list[str], what: bytes
    ) -> None:
        done = command.run(*[argument.format(id=command.sandbox_id) for argument in arguments])
        assert (done.returncode, done.stdout) == (125, b"")
        assert done.stderr.startswith(b"flash-sandbox exec: ")
        assert what in done.stderr
        assert done.stderr.count(b"\n") == 1

    @pytest.mark.parametrize(
        ("number", "seconds"), [(signal.SIGINT, "9401"), (signal.SIGTERM, "9402"), (signal.SIGHUP, "9403")]
    )
    def test_a_signal_ends_the_command_there(
        self, command: Command, client: HTTPClient, number: signal.Signals, seconds: str
    ) -> None:
        with command.begin(command.sandbox_id, "--", "sleep", seconds) as process:
            wait_until(lambda: runs(client, command.sandbox_id, seconds), "the command to run")
            process.send_signal(number)
            _, said = process.communicate(timeout=20)
        assert (process.returncode, said) == (128 + number, b"")
        wait_until(lambda: not runs(client, command.sandbox_id, seconds), "the command to end")

    def test_a_reader_that_goes_away_ends_the_command_there(
        self, command: Command, client: HTTPClient
    ) -> None:
        script = "sleep 9404 & yes"
        with command.begin(command.sandbox_id, "--", "sh", "-c", script) as process:
            assert process.stdout is not None
            assert process.stdout.read(4) == b"y\ny\n"
            process.stdout.close()
            assert process.wait(20) == 128 + signal.SIGPIPE
        wait_until(lambda: not runs(client, command.sandbox_id, "9404"), "the command to end")


class TestTerminal:
    def test_a_shell_is_used_as_if_it_ran_here(
        self, command: Command, client: HTTPClient, terminal: Terminal
    ) -> None:
        before = termios.tcgetattr(terminal.theirs)
        shell = ["-it", "-e", "PS1=prompt> ", command.sandbox_id, "--", "sh"]
        with command.begin_on(terminal, *shell) as process:
            terminal.until("prompt> ")
            assert termios.tcgetattr(terminal.theirs) != before
            terminal.type("stty size; echo $TERM; tty\n")
            terminal.until("31 97\r\nvt220\r\n/dev/pts/")
            terminal.until("prompt> ")
            terminal.resize(20, 50)
            terminal.type("sleep 0.5; stty size\n")
            terminal.until("\r\n20 50\r\n")
            terminal.type("sleep 9405\n")
            wait_until(lambda: runs(client, command.sandbox_id, "9405"), "the program to run")
            # It ends the program there, and neither the shell nor what runs here.
            terminal.type("\x03")
            terminal.until(r"\^C\s+prompt> ")
            terminal.type("echo status $?; exit 9\n")
            terminal.until("\r\nstatus 130\r\n")
            assert process.wait(20) == 9
        assert termios.tcgetattr(terminal.theirs) == before

    def test_the_terminal_is_itself_again_after_a_signal(
        self, command: Command, client: HTTPClient, terminal: Terminal
    ) -> None:
        before = termios.tcgetattr(terminal.theirs)
        with command.begin_on(terminal, "-it", command.sandbox_id, "--", "sleep", "9406") as process:
            wait_until(lambda: runs(client, command.sandbox_id, "9406"), "the command to run")
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.theirs) == before
        wait_until(lambda: not runs(client, command.sandbox_id, "9406"), "the command to end")

    def test_without_its_input_it_is_ended_by_ctrl_c(
        self, command: Command, client: HTTPClient, terminal: Terminal
    ) -> None:
        with command.begin_on(terminal, "-t", command.sandbox_id, "--", "sleep", "9407") as process:
            wait_until(lambda: runs(client, command.sandbox_id, "9407"), "the command to run")
            terminal.type("\x03")
            assert process.wait(20) == 128 + signal.SIGINT
        wait_until(lambda: not runs(client, command.sandbox_id, "9407"), "the command to end")


def test_the_client_half_needs_no_terminal_of_this_system() -> None:
    program = "import sys; sys.modules['termios'] = None; import flash_sandbox.command_line.execution"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)
