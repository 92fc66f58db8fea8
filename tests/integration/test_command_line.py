"""The commands of the command line, each a process of its own, over both transports."""

from __future__ import annotations

import base64
import logging
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from command_lines import CommandLine, Terminal, check_json, check_json_lines
from inside import wait_until

from flash_sandbox import HTTPClient, Sandbox, SandboxEndedError, SandboxNotFoundError
from flash_sandbox.orchestrator import Orchestrator, running_orchestrator
from flash_sandbox.orchestrator.runtimes.catalogue import Limits

FOREVER = "while :; do sleep 0.05; done"
Operations = Callable[[], list[str]]


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module", params=["http", "grpc"])
def line(request: pytest.FixtureRequest, orchestrator: Orchestrator) -> CommandLine:
    return CommandLine(request.param, orchestrator)


@pytest.fixture(scope="module")
def orchestrator_with_key(limits: Limits) -> Iterator[Orchestrator]:
    with running_orchestrator(limits=limits, api_key="sesame") as running:
        yield running


@contextmanager
def started(client: HTTPClient, **options: Any) -> Iterator[str]:
    sandbox_id = client.start_sandbox("bubblewrap", memory_mb=64, **options)
    try:
        yield sandbox_id
    finally:
        while True:
            try:
                client.stop_sandbox(sandbox_id)
            except SandboxNotFoundError:
                break


@pytest.fixture(scope="module")
def idle(client: HTTPClient) -> Iterator[str]:
    """One sandbox, named and labelled, for what leaves it as it was."""
    with started(client, name="idle-one", labels={"of": "the-command-line"}) as sandbox_id:
        yield sandbox_id


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(40, 200)
    yield terminal
    terminal.close()


@pytest.fixture
def operations(caplog: pytest.LogCaptureFixture) -> Operations:
    """Tell what the orchestrator has been asked for since the test began."""
    caplog.set_level(logging.INFO, "flash_sandbox.orchestrator")

    def asked() -> list[str]:
        words = [record.getMessage().split() for record in caplog.records]
        return [word.partition("=")[2] for each in words for word in each if word.startswith("operation=")]

    return asked


class TestStartAndStop:
    def test_a_sandbox_is_as_it_was_asked_for(self, line: CommandLine, client: HTTPClient) -> None:
        options = ["--name", "made-1", "-l", "a=1", "-l", "b=", "-m", "77", "--cpus", "0.5", "--ttl", "600"]
        sandbox_id = line.json("start", *options, "--", "sh", "-c", FOREVER)["id"]
        try:
            info = client.get_info(sandbox_id)
            assert (info.name, info.labels, info.memory_mb, info.cpu_cores) == (
                "made-1",
                ("a=1", "b="),
                77,
                0.5,
            )
            assert info.command == ("sh", "-c", FOREVER)
            assert 0 < info.expires_at - time.time() <= 600
        finally:
            assert line.printed("stop", "made-1") == f"{sandbox_id}\n"
        with pytest.raises(SandboxNotFoundError):
            client.get_status(sandbox_id)

    def test_limits_variables_and_user_are_as_they_were_asked_for(
        self, line: CommandLine, client: HTTPClient
    ) -> None:
        options = [
            "-m",
            "64",
            "--pids",
            "50",
            "--shm-mb",
            "3",
            "--disk",
            "32",
            "-e",
            "A=1",
            "--env",
            "B=x=y",
            "-u",
            "root",
        ]
        sandbox_id = line.json("start", *options)["id"]
        try:
            info = client.get_info(sandbox_id)
            assert (info.pids, info.shm_mb, info.disk_mb, info.env) == (50, 3, 32, ("A=1", "B=x=y"))
            assert info.user == "0:0"
            assert line.printed("exec", sandbox_id, "--", "sh", "-c", "echo $A $B") == "1 x=y\n"
            snapshot = line.json("snapshot", sandbox_id)["snapshot_path"]
            again = line.json("restore", snapshot, "-e", "A=2", "--pids", "60")["id"]
            info = client.get_info(again)
            assert (info.memory_mb, info.pids, info.disk_mb, info.env) == (64, 60, 32, ("A=2", "B=x=y"))
            line.printed("stop", again)
            client.remove_snapshot(snapshot)
        finally:
            line.printed("stop", sandbox_id)

    def test_what_is_started_is_told_by_its_id_alone(self, line: CommandLine, client: HTTPClient) -> None:
        sandbox_id = line.printed("start", "-m", "64").strip()
        assert client.get_status(sandbox_id) == "running"
        assert line.json("stop", sandbox_id) == [sandbox_id]

    def test_one_that_is_kept_can_be_looked_at(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client, command=["sh", "-c", f"echo kept; {FOREVER}"]) as sandbox_id:
            wait_until(lambda: bool(client.get_logs(sandbox_id).output), "its output")
            line.printed("stop", "--keep", sandbox_id)
            assert line.json("inspect", sandbox_id)["status"] == "stopped"
            assert line.printed("logs", sandbox_id) == "kept\n"

    def test_those_that_are_there_are_stopped_besides_one_that_is_not(
        self, line: CommandLine, client: HTTPClient
    ) -> None:
        with started(client) as one, started(client) as other:
            done = line.run("stop", one, "no-such-one", other, "--json")
            assert done.returncode == 125
            assert check_json("stop", done.stdout.decode()) == [one, other]
            assert done.stderr.startswith(b"flash-sandbox stop: ")
            assert b"no-such-one" in done.stderr
            assert done.stderr.count(b"\n") == 1

    @pytest.mark.parametrize("arguments", [[], ["--all", "x"]])
    def test_which_ones_must_be_said(self, line: CommandLine, arguments: list[str]) -> None:
        done = line.run("stop", *arguments)
        assert (done.returncode, done.stdout) == (2, b"")

    def test_its_refusal_is_125_and_one_line(self, line: CommandLine) -> None:
        done = line.run("start", "--image", "/no/such/image")
        assert (done.returncode, done.stdout) == (125, b"")
        assert done.stderr.startswith(b"flash-sandbox start: ")
        assert done.stderr.count(b"\n") == 1


class TestWhichSandbox:
    def test_a_whole_id_costs_no_call_more(
        self, line: CommandLine, idle: str, operations: Operations
    ) -> None:
        line.json("inspect", idle)
        assert operations() == ["get_info"]

    @pytest.mark.parametrize("reference", ["idle-one", 12])
    def test_a_name_and_the_beginning_of_an_id_are_looked_up(
        self, line: CommandLine, idle: str, operations: Operations, reference: str | int
    ) -> None:
        said = idle[:reference] if isinstance(reference, int) else reference
        assert line.json("inspect", said)["id"] == idle
        assert operations() == ["get_info", "list_sandboxes", "get_info"]

    def test_one_of_several_is_refused_with_the_candidates(
        self, line: CommandLine, client: HTTPClient
    ) -> None:
        made: list[str] = []
        try:
            # Of seventeen hexadecimal digits two are the same.
            while len({sandbox_id[0] for sandbox_id in made}) == len(made):
                made.append(client.start_sandbox("bubblewrap", memory_mb=64))
            one, other = (each for each in made if each[0] == made[-1][0])
            done = line.run("exec", one[0], "--", "true")
        finally:
            for sandbox_id in made:
                client.stop_sandbox(sandbox_id)
        assert done.returncode == 125
        assert one in done.stderr.decode()
        assert other in done.stderr.decode()

    @pytest.mark.parametrize(
        "verb", ["inspect", "logs", "stats", "top", "pause", "resume", "snapshot", "stop"]
    )
    def test_one_that_is_not_there_is_125(self, line: CommandLine, verb: str) -> None:
        done = line.run(verb, "no-such-sandbox")
        assert (done.returncode, done.stdout) == (125, b"")
        assert done.stderr.startswith(f"flash-sandbox {verb}: ".encode())
        assert b"there is no sandbox no-such-sandbox" in done.stderr

    def test_an_orchestrator_that_does_not_answer_is_125(self, line: CommandLine) -> None:
        done = line.run("ps", "--address", "127.0.0.1:1")
        assert (done.returncode, b"127.0.0.1:1" in done.stderr) == (125, True)
        assert b"flash-sandbox serve starts an orchestrator" in done.stderr

    def test_the_key_is_given_or_the_environments(
        self, line: CommandLine, orchestrator_with_key: Orchestrator
    ) -> None:
        transport = line.options[-1]
        keyed = CommandLine(transport, orchestrator_with_key)
        refused = keyed.run("ps")
        assert (refused.returncode, b"key" in refused.stderr) == (125, True)
        assert keyed.json("ps", "--api-key", "sesame") == []
        keyed.environment["FLASH_SANDBOX_API_KEY"] = "sesame"
        assert keyed.json("ps") == []

    def test_the_address_can_tell_the_transport(self, orchestrator: Orchestrator, idle: str) -> None:
        line = CommandLine("grpc", orchestrator)
        line.options = ["--address", f"grpc://{orchestrator.grpc_address}"]
        assert line.json("inspect", idle)["id"] == idle
        done = line.run("ps", "--transport", "http")
        assert (done.returncode, b"contradicts" in done.stderr) == (125, True)


class TestLooking:
    def test_the_list_tells_each_in_a_row(self, line: CommandLine, idle: str) -> None:
        first, *rows = line.printed("ps").splitlines()
        assert first.split() == ["ID", "NAME", "TYPE", "IMAGE", "STATUS", "AGE", "EXPIRES"]
        (row,) = (row for row in rows if row.startswith(idle))
        assert row.split()[1:5] == ["idle-one", "bubblewrap", "host", "running"]
        assert row.split()[-1] == "never"

    def test_the_list_is_what_the_client_tells(
        self, line: CommandLine, client: HTTPClient, idle: str
    ) -> None:
        (found,) = line.json("ps", "--label", "of=the-command-line")
        assert found["id"] == idle
        assert found["created_at"] == client.get_info(idle).created_at

    def test_it_can_be_of_ids_alone_and_of_some(self, line: CommandLine, idle: str) -> None:
        of = ["--label", "of=the-command-line", "-q"]
        assert line.printed("ps", *of, "--status", "running", "--type", "bubblewrap") == f"{idle}\n"
        assert line.printed("ls", *of, "--status", "paused") == ""

    def test_what_a_name_would_do_to_the_terminal_is_shown_instead(
        self, line: CommandLine, client: HTTPClient
    ) -> None:
        with started(client, labels={"x": "\x1b[31m[red]"}) as sandbox_id:
            assert r"x=\x1b[31m[red]" in line.printed("inspect", sandbox_id)

    def test_all_that_is_known_of_one(self, line: CommandLine, client: HTTPClient, idle: str) -> None:
        info = line.json("inspect", idle)
        assert info["labels"] == ["of=the-command-line"]
        lines = line.printed("inspect", idle).splitlines()
        assert [each.split()[0] for each in lines[1:]] == list(info)

    def test_the_processes_in_one(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client, command=["sleep", "9501"]) as sandbox_id:
            client.start_process(sandbox_id, "sleep 9502 & wait")
            wait_until(
                lambda: "sleep 9502" in [one["command"] for one in line.json("top", sandbox_id)],
                "the process to run",
            )
            processes = {one["command"]: one for one in line.json("top", sandbox_id)}
            main = processes["sleep 9501"]
            assert (main["uid"], main["state"]) == (0, "S")
            # Its supervisor: a process of the agent, which is PID 1.
            assert main["ppid"] > 1
            assert 0 < main["rss_bytes"] < 64 * 1024**2
            assert not [command for command in processes if "cmdline" in command]
            first, *rows = line.printed("top", sandbox_id).splitlines()
            assert first.split()[:3] == ["PID", "PPID", "UID"]
            assert [row for row in rows if row.rstrip().endswith("sleep 9502")]

    def test_the_processes_of_a_paused_one_cannot_be_listed(
        self, line: CommandLine, client: HTTPClient
    ) -> None:
        with started(client) as sandbox_id:
            client.pause_sandbox(sandbox_id)
            done = line.run("top", sandbox_id)
            assert (done.returncode, b"is paused" in done.stderr) == (125, True)


class TestLogs:
    def test_what_is_no_text_is_told_as_base64(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client, command=["sh", "-c", f"printf 'a\\377'; {FOREVER}"]) as sandbox_id:
            wait_until(lambda: len(client.get_logs(sandbox_id).output) == 2, "its output")
            (told,) = line.json_lines("logs", sandbox_id)
            assert base64.b64decode(told["data_base64"]) == b"a\xff"
            assert line.run("logs", sandbox_id).stdout == b"a\xff"

    def test_following_goes_on_until_the_sandbox_ends(self, line: CommandLine, client: HTTPClient) -> None:
        script = "echo first; until [ -e /tmp/go ]; do sleep 0.05; done; echo last"
        with started(client, command=["sh", "-c", script]) as sandbox_id:
            with line.begin("logs", "-f", "--interval", "0.05", "--json", sandbox_id) as process:
                assert process.stdout is not None
                wait_until(lambda: bool(client.get_logs(sandbox_id).output), "its output")
                before = process.stdout.readline().decode()
                # It may end before the command that lets it has.
                with suppress(SandboxEndedError):
                    client.exec_command(sandbox_id, "touch /tmp/go")
                rest, said = process.communicate(timeout=30)
            told = check_json_lines("logs", before + rest.decode())
            assert "".join(piece["data"] for piece in told) == "first\nlast\n"
            assert (process.returncode, said) == (0, b"")

    def test_following_ends_with_ctrl_c(self, line: CommandLine, client: HTTPClient) -> None:
        with (
            started(client, command=["sh", "-c", f"echo here; {FOREVER}"]) as sandbox_id,
            line.begin("logs", "-f", sandbox_id) as process,
        ):
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            process.send_signal(signal.SIGINT)
            assert (process.communicate(timeout=20)[1], process.returncode) == (b"", 130)


class TestStats:
    def test_once_they_are_what_the_client_tells(self, line: CommandLine, idle: str) -> None:
        (reading,) = line.json_lines("stats", "--no-stream", idle)
        assert (reading["id"], reading["name"]) == (idle, "idle-one")
        assert reading["pids_current"] >= 1

    def test_all_that_run_have_a_row(self, line: CommandLine, client: HTTPClient, idle: str) -> None:
        with started(client) as running, started(client, command=["true"]) as stopped:
            wait_until(lambda: client.get_status(stopped) == "stopped", "its end")
            first, *rows = line.printed("stats", "--no-stream").splitlines()
        assert first.split()[:4] == ["ID", "NAME", "CPU", "MEMORY"]
        shown = {row.split()[0] for row in rows}
        assert {running, idle} <= shown
        assert stopped not in shown

    def test_they_go_on_until_ctrl_c(self, line: CommandLine, idle: str) -> None:
        with line.begin("stats", "--json", "--interval", "0.05", "idle-one") as process:
            assert process.stdout is not None
            told = [process.stdout.readline().decode() for _ in range(3)]
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        readings = check_json_lines("stats", "".join(told))
        assert readings[0]["at"] < readings[1]["at"] < readings[2]["at"]
        assert (process.returncode, said) == (130, b"")

    def test_a_reader_that_goes_away_ends_them(self, line: CommandLine, idle: str) -> None:
        with line.begin("stats", "--json", "--interval", "0.05", idle) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert (process.stderr.read(), process.wait(20)) == (b"", 128 + signal.SIGPIPE)

    def test_on_a_terminal_the_table_is_drawn_anew(
        self, line: CommandLine, idle: str, terminal: Terminal
    ) -> None:
        with line.begin_on(terminal, "stats", "--interval", "0.1", idle) as process:
            terminal.until(f"{idle}.*%")
            terminal.until("\x1b\\[1A(.|\n)*" + idle)
            terminal.type("\x03")
            assert process.wait(20) == 130
            # The cursor is there again.
            terminal.until(r"\x1b\[\?25h")


class TestCopying:
    def test_a_file_there_and_back(self, line: CommandLine, idle: str, tmp_path: Path) -> None:
        content = bytes(range(256)) * 5000
        (tmp_path / "file").write_bytes(content)
        told = line.json("cp", str(tmp_path / "file"), f"{idle[:12]}:/tmp/copied")
        assert told == {
            "source": str(tmp_path / "file"),
            "target": f"{idle}:/tmp/copied",
            "bytes": len(content),
        }
        assert line.printed("cp", "idle-one:/tmp/copied", str(tmp_path)) == ""
        assert (tmp_path / "copied").read_bytes() == content

    def test_a_directory_and_into_one(
        self, line: CommandLine, client: HTTPClient, idle: str, tmp_path: Path
    ) -> None:
        (tmp_path / "tree" / "below").mkdir(parents=True)
        (tmp_path / "tree" / "below" / "file").write_text("x")
        client.make_dir(idle, "/tmp/taking", parents=True)
        assert line.json("cp", str(tmp_path / "tree"), f"{idle}:/tmp/taking")["target"].endswith(
            "/tmp/taking/tree"
        )
        assert client.read_file(idle, "/tmp/taking/tree/below/file") == b"x"
        line.printed("cp", f"{idle}:/tmp/taking/tree", str(tmp_path / "back"))
        assert (tmp_path / "back" / "below" / "file").read_text() == "x"

    def test_no_more_is_taken_than_is_asked_for(self, line: CommandLine, idle: str, tmp_path: Path) -> None:
        done = line.run("cp", "--max-bytes", "100", f"{idle}:/etc", str(tmp_path / "etc"))
        assert (done.returncode, "max_bytes" in done.stderr.decode()) == (125, True)
        line.printed("cp", "--max-bytes", "100000", f"{idle}:/etc/passwd", str(tmp_path / "passwd"))
        assert (tmp_path / "passwd").exists()

    def test_its_progress_is_shown_on_a_terminal(
        self, line: CommandLine, idle: str, terminal: Terminal, tmp_path: Path
    ) -> None:
        (tmp_path / "large").write_bytes(bytes(20_000_000))
        with line.begin_on(terminal, "cp", str(tmp_path / "large"), f"{idle}:/tmp/large") as process:
            terminal.until(r"large.*20\.0/20\.0 MB")
            assert process.wait(20) == 0

    @pytest.mark.parametrize(
        ("source", "target", "status", "what"),
        [
            ("/etc/passwd", "/tmp/x", 2, "ID:/PATH"),
            ("{id}:/etc/passwd", "{id}:/tmp/x", 2, "ID:/PATH"),
            ("{id}:/no/such", "{tmp}/x", 125, "/no/such"),
            ("/no/such", "{id}:/tmp/x", 125, "/no/such"),
            ("no-such-sandbox:/etc/passwd", "{tmp}/x", 125, "no-such-sandbox"),
        ],
    )
    def test_what_cannot_be_copied_is_told(
        self, line: CommandLine, idle: str, tmp_path: Path, source: str, target: str, status: int, what: str
    ) -> None:
        done = line.run("cp", *(each.format(id=idle, tmp=tmp_path) for each in (source, target)))
        assert (done.returncode, what in done.stderr.decode()) == (status, True)
        assert list(tmp_path.iterdir()) == []


class TestPortForward:
    def test_it_leads_to_a_server_until_it_is_ended(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client, name="serving") as sandbox_id:
            client.start_process(sandbox_id, ["python3", "-m", "http.server", "8000"])
            Sandbox(client, sandbox_id).ports.wait(8000)
            assert line.json("ports", "serving") == [{"port": 8000, "address": "0.0.0.0"}]
            assert "8000  0.0.0.0" in line.printed("ports", "serving")
            command = [*line.line, "port-forward", *line.options, "--json", "serving", "0:8000"]
            with subprocess.Popen(
                command, env=line.environment, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                told = check_json("port-forward", process.stdout.readline())
                with urllib.request.urlopen(f"http://{told['address']}/") as answer:
                    assert answer.status == 200
                assert (told["id"], told["port"]) == (sandbox_id, 8000)
                process.terminate()
            assert process.returncode == 0

    def test_what_is_no_port_is_refused(self, line: CommandLine, idle: str) -> None:
        assert b"is no PORT" in line.run("port-forward", idle, "http").stderr
        assert b"port must be" in line.run("port-forward", idle, "0:65536").stderr


class TestPausing:
    def test_it_stands_still_until_it_is_resumed(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client, name="still") as one, started(client) as other:
            assert line.json("pause", "still", other) == [one, other]
            assert [client.get_status(each) for each in (one, other)] == ["paused", "paused"]
            again = line.run("pause", one)
            assert (again.returncode, b"is paused" in again.stderr) == (125, True)
            assert line.json("resume", one, other) == [one, other]
            assert line.printed("pause", one) == f"{one}\n"
            assert line.printed("resume", one) == f"{one}\n"
            assert client.get_status(one) == "running"


class TestNetwork:
    def test_it_changes_what_a_running_one_may_reach(self, line: CommandLine, client: HTTPClient) -> None:
        with started(client) as one:
            assert line.json("network", one, "--allow", "a.test", "--deny", "b.test:22") == [one]
            info = client.get_info(one)
            asked = ("policy", ("a.test",), ("b.test:22",))
            assert (info.network, info.network_allow, info.network_deny) == asked
            assert line.printed("network", one, "--network", "none") == f"{one}\n"
            assert client.get_info(one).network == "none"
            done = line.run("network", one)
        assert (done.returncode, b"--allow" in done.stderr) == (2, True)


class TestSnapshots:
    def test_from_making_one_to_removing_it(
        self, line: CommandLine, client: HTTPClient, tmp_path: Path
    ) -> None:
        with started(client) as original:
            client.write_file(original, "/root/file", "kept")
            one = line.json("snapshot", original)["id"]
            assert client.get_status(original) == "paused"
            client.resume_sandbox(original)
            named = ("--name", "base", "--label", "of=line", "-l", "by=test")
            other = line.printed("snapshot", "--resume", original, *named).strip()
            assert client.get_status(original) == "running"
            again = line.run("snapshot", original, "--name", "base")
            assert (again.returncode, b"is named 'base'" in again.stderr) == (125, True)
        listed = {each["id"]: each for each in line.json("snapshots ls")}
        assert (listed[one]["type"], listed[one]["image"]) == ("bubblewrap", "host")
        assert (listed[other]["name"], listed[other]["labels"]) == ("base", ["of=line", "by=test"])
        assert {one, other} <= set(line.printed("snapshots ls", "-q").splitlines())
        assert line.printed("snapshots ls", "-q", "-l", "of=line") == f"{other}\n"
        assert one in line.printed("snapshots ls")
        for reference in (one[:20], one, listed[one]["snapshot_path"], "base"):
            copy = line.json("restore", reference, "--name", "copy-1", "-m", "64")["id"]
            assert client.read_file(copy, "/root/file") == b"kept"
            assert client.get_info(copy).name == "copy-1"
            client.stop_sandbox(copy)
        file = tmp_path / "exported"
        assert (
            line.json("snapshots export", "base", str(file))["sha256"]
            == sha256(file.read_bytes()).hexdigest()
        )
        added = line.json("snapshots import", str(file), "--name", "again")
        assert (added["name"], added["labels"]) == ("again", ["of=line", "by=test"])
        assert line.json("snapshots rm", "again") == [added["id"]]
        assert line.json("snapshots rm", one, "base") == [one, other]
        gone = line.run("restore", "base")
        assert (gone.returncode, b"there is no snapshot" in gone.stderr) == (125, True)


class TestVolumes:
    def test_from_making_one_to_removing_it(self, line: CommandLine, client: HTTPClient) -> None:
        name = f"of-the-line-{id(line)}"
        assert line.json("volume create", name) == [name]
        again = line.run("volume create", name)
        assert (again.returncode, b"there is a volume" in again.stderr) == (125, True)
        with started(client, volumes={"/data": name}) as sandbox_id:
            (listed,) = [each for each in line.json("volume ls") if each["name"] == name]
            assert listed["sandboxes"] == [sandbox_id]
            assert sandbox_id in line.printed("volume ls")
            assert line.json("inspect", sandbox_id)["volumes"] == [f"{name}:/data"]
            refused = line.run("volume rm", name)
            assert (refused.returncode, b"is in use" in refused.stderr) == (125, True)
        assert name in line.printed("volume ls", "-q").splitlines()
        assert line.json("volume rm", name) == [name]


class TestEvents:
    def test_what_has_happened_since_a_token(self, line: CommandLine, client: HTTPClient) -> None:
        with client.watch_events() as now:
            token = now.token
        with started(client) as sandbox_id:
            client.pause_sandbox(sandbox_id)
        told = line.json_lines("events", "--since", token)
        assert [event["type"] for event in told if event["id"] == sandbox_id] == [
            "created",
            "running",
            "paused",
            "removed",
        ]
        assert line.printed("events", "--since", told[-1]["token"]) == ""
        first = line.printed("events", "--since", token).splitlines()[0]
        assert first.endswith(f"{sandbox_id}  created")

    def test_what_happens_until_ctrl_c(self, line: CommandLine, client: HTTPClient) -> None:
        with client.watch_events() as now:
            token = now.token
        with line.begin("events", "-f", "--since", token, "--json") as process:
            assert process.stdout is not None
            with started(client) as sandbox_id:
                (created,) = check_json_lines("events", process.stdout.readline().decode())
            assert (created["type"], created["id"]) == ("created", sandbox_id)
            process.send_signal(signal.SIGINT)
            assert (process.communicate(timeout=20)[1], process.returncode) == (b"", 130)

    @pytest.mark.parametrize(
        ("arguments", "status"), [([], 2), (["--since", "x"], 125), (["--since", f"{'0' * 16}-1"], 125)]
    )
    def test_a_token_must_be_one_and_known(
        self, line: CommandLine, arguments: list[str], status: int
    ) -> None:
        assert line.run("events", *arguments).returncode == status
