"""Programs below the guest agent: how they start, what they are given, what they print, and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import flash_sandbox_guest as guest
import pytest
from agents import WINDOW, Host, running_agent
from hypothesis import given, settings
from hypothesis import strategies as st

Need = Callable[[str, str | None], None]


def test_a_program_prints_to_two_streams_and_ends(host: Host) -> None:
    result = host.sh("echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert result.pid > 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_no_exit_status(host: Host, number: signal.Signals) -> None:
    killed = host.sh(f"kill -{int(number)} $$").ended
    exited = host.sh(f"exit {128 + number}").ended
    assert (killed.status, killed.signal) == (128 + number, number)
    assert (exited.status, exited.signal) == (128 + number, 0)


def test_what_is_not_there_and_what_is_no_program(host: Host) -> None:
    missing = host.run("no-such-program")
    assert (missing.status, missing.ended.not_run) == (127, guest.NotRun.PROGRAM)
    itself = host.run("sh", "-c", "exit 127")
    assert (itself.status, itself.ended.not_run) == (127, guest.NotRun.UNSPECIFIED)
    assert host.run("/no/such/program").status == 127
    refused = host.run("/etc/passwd")
    assert (refused.status, refused.stderr) == (126, b"flash-sandbox: /etc/passwd: Permission denied\n")
    assert host.run("").status == 127


def test_a_program_is_looked_up_as_a_shell_would(host: Host) -> None:
    assert host.run("true", path="/no/where:/etc/passwd:/usr/bin").status == 0
    assert host.run("true", path="/etc").status == 127
    # The first that may not be run counts, where there is no other.
    assert host.run("passwd", path="/etc").status == 126


def test_a_program_has_its_environment_and_directory_alone(host: Host) -> None:
    env = [b"A=1=2", b"HOME=/home", b"PATH=/usr/bin", b"X=\xff", "ü=ß".encode()]
    assert sorted(host.run("env", env=env).stdout.splitlines()) == env
    assert host.run("pwd", cwd=b"/usr/lib").stdout == b"/usr/lib\n"
    assert host.run("pwd").stdout == b"/\n"
    nowhere = host.run("true", cwd=b"/no/where")
    assert (nowhere.status, nowhere.ended.not_run) == (126, guest.NotRun.DIRECTORY)


def test_a_program_inherits_nothing_of_the_agents(host: Host) -> None:
    result = host.sh("ls /proc/self/fd; grep -E 'SigBlk|SigIgn' /proc/self/status", stdin=b"")
    # `ls` has the directory open as 3.
    assert result.stdout.split() == [b"0", b"1", b"2", b"3", b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]
    session = host.run("sh", "-c", "cut -d' ' -f6 /proc/$$/stat; echo $$").stdout.split()
    assert session[0] == session[1]


def test_arguments_may_be_as_long_as_the_kernel_takes(host: Host) -> None:
    result = host.run("sh", "-c", 'printf %s "$*" | wc -c', "sh", *["x" * 100_000] * 18)
    assert int(result.stdout) == 18 * 100_000 + 17


def test_limits_of_resources(host: Host) -> None:
    limits = [guest.ResourceLimit(resource=7, value=40)]
    assert host.sh("ulimit -n", limits=limits).stdout == b"40\n"


# Input and output


@given(st.binary(max_size=1_000_000))
@settings(max_examples=10)
def test_input_comes_back_as_output(agent: Path, data: bytes) -> None:
    with running_agent(agent) as host:
        assert host.run("cat", stdin=data).stdout == data


def test_without_input_there_is_an_end_of_it(host: Host) -> None:
    assert host.run("cat").status == 0


def test_a_program_that_nobody_reads_waits_and_holds_up_no_other(host: Host) -> None:
    task = host.start("yes")
    while host.tasks[task].received < WINDOW:
        host.take(acknowledge=False)
    host.ping()
    assert host.tasks[task].received == WINDOW
    assert host.run("echo", "hi").stdout == b"hi\n"
    host.acknowledge(task)
    while host.tasks[task].received < 2 * WINDOW:
        host.take(acknowledge=False)
    host.send(task, kill=guest.Kill())
    host.acknowledge(task)
    assert host.finish(task).ended.signal == signal.SIGKILL


def test_more_input_than_was_allowed_ends_the_program(host: Host) -> None:
    task = host.start("sleep", "600", takes_input=True)
    for _ in range(WINDOW // 65536 + 3):
        host.send(task, input=guest.Input(data=bytes(65536)))
    assert host.finish(task).ended.signal == signal.SIGKILL
    host.ping()


def test_a_program_that_takes_no_input_does_not_hold_up_others(host: Host) -> None:
    task = host.start("sleep", "600", takes_input=True)
    host.write(task, bytes(WINDOW))
    assert host.run("cat", stdin=bytes(WINDOW)).stdout == bytes(WINDOW)
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL


def test_a_child_that_keeps_the_output_open_is_not_waited_for(host: Host) -> None:
    result = host.sh("sleep 600 & echo done")
    assert (result.status, result.stdout) == (0, b"done\n")
    while host.sh("pgrep -xc sleep").stdout != b"1\n":
        pass


def test_what_was_printed_before_the_end_is_whole(host: Host) -> None:
    # What is left behind prints on; what the program has printed comes first and whole.
    result = host.sh("head -c 60000 /dev/zero; (while :; do echo more; done) &")
    assert result.stdout.startswith(bytes(60_000))


def test_output_byte_by_byte_is_whole(host: Host) -> None:
    script = "import os\nfor n in range(20000): os.write(1 + n % 7 // 6, b'%d' % (n % 10))"
    result = host.run("python3", "-c", script)
    digits = "".join(str(n % 10) for n in range(20000))
    assert result.stdout.decode() == "".join(each for n, each in enumerate(digits) if n % 7 != 6)
    assert result.stderr.decode() == "".join(each for n, each in enumerate(digits) if n % 7 == 6)


def test_many_programs_at_once(host: Host) -> None:
    started = [
        host.start("sh", "-c", f"head -c {number * 1000} /dev/zero; exit {number}") for number in range(64)
    ]
    for number, task in enumerate(started):
        result = host.finish(task)
        assert (result.status, len(result.stdout)) == (number, number * 1000)


# Terminals


def test_a_terminal_has_its_size_from_the_first_instruction(host: Host) -> None:
    for _ in range(20):
        result = host.run("stty", "size", terminal=guest.Terminal(rows=37, columns=111))
        assert result.stdout == b"37 111\r\n"


def test_a_terminal_is_a_controlling_one_and_takes_its_keys(host: Host) -> None:
    task = host.start("sh", "-c", "tty; cat", terminal=guest.Terminal(rows=24, columns=80), takes_input=True)
    host.wait_for_output(task, b"/dev/pts/")
    host.write(task, b"hello\r")
    host.wait_for_output(task, b"hello\r\nhello\r\n")
    host.send(task, resize=guest.Resize(rows=50, columns=132))
    host.write(task, b"\x03")
    assert host.finish(task).ended.signal == signal.SIGINT


def test_a_terminal_that_is_resized_says_so(host: Host) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    task = host.start("bash", "-c", script, terminal=guest.Terminal(rows=24, columns=80))
    host.wait_for_output(task, b"ready")
    host.send(task, resize=guest.Resize(rows=50, columns=132))
    assert host.finish(task).stdout.endswith(b"50 132\r\n")


def test_the_end_of_input_reaches_a_terminal(host: Host) -> None:
    terminal = guest.Terminal(rows=24, columns=80)
    result = host.run("cat", stdin=b"line\n", terminal=terminal)
    assert result.status == 0


# The end


def test_a_kill_reaches_what_a_program_has_hidden(host: Host) -> None:
    hide = "setsid sh -c '(setsid sleep 4711 &) & sleep 4711' & echo hidden; sleep 4711"
    task = host.start("sh", "-c", hide)
    host.wait_for_output(task, b"hidden")
    # Once it prints, it is what it will be called by.
    other = host.start("sh", "-c", "echo other; sleep 600")
    host.wait_for_output(other, b"other")
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL
    while host.sh("pgrep -fc '^sleep 4711'").stdout != b"0\n":
        pass
    assert host.sh("pgrep -fc '^sh -c echo other'").stdout == b"1\n"
    host.send(other, kill=guest.Kill())
    host.finish(other)


def test_a_kill_ends_what_forks_on(host: Host) -> None:
    # Eight processes, each of which goes on in a child with a session of its own, and so on without end.
    go_on = 'setsid sh -c "$0" "$0" & exit'
    script = """echo go; for n in 1 2 3 4 5 6 7 8; do setsid sh -c 'eval "$0"' "$0" & done; sleep 4712"""
    task = host.start("sh", "-c", script, go_on)
    host.wait_for_output(task, b"go")
    host.send(task, kill=guest.Kill())
    assert host.finish(task).ended.signal == signal.SIGKILL
    while int(host.sh("ls -d /proc/[0-9]* | wc -l").stdout) > 10:
        pass


def test_a_kill_lets_what_stood_still_stand_still(host: Host) -> None:
    stopped = host.start("sleep", "600")
    running = host.start("sleep", "601")
    victim = host.start("sleep", "602")
    for task in (stopped, running, victim):
        while not host.tasks[task].pid:
            host.take()
    host.send(stopped, signal=guest.Signal(number=signal.SIGSTOP))
    pid = host.tasks[stopped].pid
    while host.run("cut", "-d ", "-f3", f"/proc/{pid}/stat").stdout != b"T\n":
        pass
    host.send(victim, kill=guest.Kill())
    host.finish(victim)
    assert host.run("cut", "-d ", "-f3", f"/proc/{pid}/stat").stdout == b"T\n"
    # It runs for a moment before it sleeps again.
    while host.run("cut", "-d ", "-f3", f"/proc/{host.tasks[running].pid}/stat").stdout != b"S\n":
        pass


def test_a_signal_reaches_the_first_process(host: Host) -> None:
    task = host.start("sh", "-c", "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done")
    host.wait_for_output(task, b"ready")
    host.send(task, signal=guest.Signal(number=signal.SIGUSR1))
    result = host.finish(task)
    assert (result.status, result.stdout) == (5, b"ready\ncaught\n")


# The agent itself


def test_the_agent_reaps_what_is_left_behind(host: Host) -> None:
    host.sh("(sleep 0.01 &) ; (sleep 0.01 &); setsid sleep 0.01 &")
    while host.sh("grep -c ^Pid /proc/[0-9]*/status | wc -l; pgrep -c sleep").stdout.split()[-1] != b"0":
        pass
    assert b"Z" not in host.sh("cut -d' ' -f3 /proc/[0-9]*/stat").stdout.split()


def test_home_is_the_users_unless_it_is_given(agent: Path, need: Need) -> None:
    need("root", None if os.geteuid() == 0 else "only root has other users")
    with running_agent(agent, users=True) as host:
        assert host.sh("echo $HOME").stdout == b"/root\n"
        assert host.sh("echo $HOME", user=b"nobody").stdout == b"/nonexistent\n"
        assert host.sh("echo $HOME", user=b"12345").stdout == b"/\n"
        assert host.sh("echo $HOME", env=[b"PATH=/usr/bin:/bin", b"HOME=/given"]).stdout == b"/given\n"


def test_users_of_the_image(agent: Path, need: Need) -> None:
    need("root", None if os.geteuid() == 0 else "only root has other users")
    with running_agent(agent, users=True) as host:
        assert host.run("id", user=b"nobody").stdout.startswith(b"uid=65534(nobody) gid=65534(nogroup)")
        assert host.run("id", "-u", user=b"12345").stdout == b"12345\n"
        assert host.run("id", "-g", user=b"nobody:users").stdout == b"100\n"
        assert host.run("id", "-G", user=b"1:2").stdout == b"2\n"
        refused = host.run("id", user=b"nobody-of-that-name")
        assert (refused.status, b"no user" in refused.stderr) == (126, True)
        assert refused.ended.not_run == guest.NotRun.USER


def test_what_starts_while_another_one_is_ended_goes_on(host: Host) -> None:
    # Everything stands still for a moment, also what is inside a fork just then.
    for _ in range(200):
        ended = host.start("sleep", "60")
        others = [host.start("true") for _ in range(3)]
        host.send(ended, kill=guest.Kill())
        assert [host.finish(other).status for other in others] == [0, 0, 0]
        assert host.finish(ended).ended.signal == signal.SIGKILL
