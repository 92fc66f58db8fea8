"""A program may trace what it has started; PID 1, what enters a sandbox, and other sandboxes nobody can."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_runtime import Runtime
from inside import running, wait_until

from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import Orchestrator
from flash_sandbox.orchestrator.linux import privileges

# Numbers on x86_64 and AArch64.
X86_64 = os.uname().machine == "x86_64"
PTRACE = 101 if X86_64 else 117
PROCESS_VM_READV = 310 if X86_64 else 270
PROCESS_VM_WRITEV = 311 if X86_64 else 271
WAIT4 = 61 if X86_64 else 260

# What strace and AddressSanitizer do: a child asks to be traced and stops; its memory is read.
TRACE = f"""
$secret = "secret!!";
$word = " " x 8;
$child = fork // die;
if (!$child) {{ syscall({PTRACE}, 0, 0, 0, 0); kill 19, $$; exit 7 }}
$status = pack("i", 0);
syscall({WAIT4}, $child, $status, 2, 0);
print "stopped: ", (unpack("i", $status) & 0xff) == 0x7f ? 1 : 0, "\\n";
syscall({PTRACE}, 2, $child, unpack("J", pack("p", $secret)), $word);
print "read: $word\\n";
syscall({PTRACE}, 7, $child, 0, 0);
waitpid($child, 0);
print "ended: ", $? >> 8, "\\n";
"""
TRACED = "stopped: 1\nread: secret!!\nended: 7\n"

# Every way to get hold of a process (ARGV), and what each of them answers.
TAKE_HOLD = f"""
$pid = $ARGV[0] + 0;
$buffer = "x" x 8;
$place = pack("JJ", unpack("J", pack("p", $buffer)), 8);
sub tried {{ print "$_[0]: ", $_[1] == -1 ? $! + 0 : 0, "\\n" }}
tried("attach", syscall({PTRACE}, 16, $pid, 0, 0));
tried("seize", syscall({PTRACE}, 0x4206, $pid, 0, 0));
tried("read", syscall({PROCESS_VM_READV}, $pid, $place, 1, $place, 1, 0));
tried("write", syscall({PROCESS_VM_WRITEV}, $pid, $place, 1, $place, 1, 0));
for my $path ("/proc/$pid/mem", "/proc/$pid/task/$pid/mem") {{
    print "$path: ", open(my $file, "+<", $path) ? "open" : "closed", "\\n";
}}
"""
CLOSED = ["/proc/1/mem: closed", "/proc/1/task/1/mem: closed"]

# Seizes each process that appears, stops it, and tells of those that are not confined.
LURK = f"""
$| = 1;
while (!-e "/tmp/enough") {{
    opendir(my $processes, "/proc");
    for my $pid (grep {{ /^\\d+$/ && !$seen{{$_}} && $_ != $$ }} readdir $processes) {{
        next if syscall({PTRACE}, 0x4206, $pid + 0, 0, 0) != 0;
        $seen{{$pid}} = 1;
        syscall({PTRACE}, 0x4207, $pid + 0, 0, 0);
        waitpid($pid, 0x40000000);
        if (open(my $status, "<", "/proc/$pid/status")) {{
            local $/;
            $text = <$status>;
            $held = hex(($text =~ /^CapPrm:\\s+(\\w+)/m)[0]) & ~{privileges.MASK};
            print "unconfined: $text" if $held || $text =~ /^Seccomp:\\s+0/m || $text =~ /^NoNewPrivs:\\s+0/m;
        }}
        syscall({PTRACE}, 17, $pid + 0, 0, 0);
        print "seized\\n";
    }}
}}
"""


def test_a_program_may_trace_what_it_has_started(runtime: Runtime, idle: str) -> None:
    result = runtime.client.exec_command(idle, [*runtime.perl(idle), "-e", TRACE])
    assert (result.stdout, result.stderr) == (TRACED, "")


@pytest.fixture(scope="module")
def client(orchestrator: Orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


def test_strace_works(client: HTTPClient, need) -> None:
    need("strace", None if shutil.which("strace") else "there is no strace")
    with running(client) as sandbox_id:
        result = client.exec_command(sandbox_id, ["strace", "-f", "-o", "/tmp/calls", "sh", "-c", "true"])
        assert result.exit_code == 0, result.stderr
        assert "execve(" in client.exec_command(sandbox_id, ["cat", "/tmp/calls"]).stdout


@pytest.mark.parametrize("main", ["", "sleep 1000"], ids=["idle", "a command"])
def test_nobody_gets_hold_of_pid_1(client: HTTPClient, main: str) -> None:
    with running(client, command=main.split()) as sandbox_id:
        found = client.exec_command(sandbox_id, ["perl", "-e", TAKE_HOLD, "1"]).stdout.splitlines()
    refused = [f"{way}: {errno.EPERM}" for way in ("attach", "seize", "read", "write")]
    assert found == [*refused, *CLOSED]


def test_nobody_gets_hold_of_another_sandboxs_process(client: HTTPClient) -> None:
    with running(client) as one, running(client) as other:
        start = f"sleep 1000.{int(other, 16) % 10**9}"
        client.exec_command(other, ["sh", "-c", f"{start} > /dev/null 2>&1 &"])
        pid = next(
            path.parent.name
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.read_bytes() == start.replace(" ", "\0").encode() + b"\0"
        )
        found = client.exec_command(one, ["perl", "-e", TAKE_HOLD, pid]).stdout.splitlines()
    assert found == [f"{way}: {errno.ESRCH}" for way in ("attach", "seize", "read", "write")] + [
        f"/proc/{pid}/mem: closed",
        f"/proc/{pid}/task/{pid}/mem: closed",
    ]


def test_what_enters_a_sandbox_can_be_traced_once_it_is_confined(client: HTTPClient) -> None:
    with running(client) as sandbox_id:
        lurk = 'perl -e "$LURK" > /tmp/found 2>&1 &'
        client.exec_command(sandbox_id, ["sh", "-c", lurk], env={"LURK": LURK})

        def found() -> str:
            return client.exec_command(sandbox_id, ["cat", "/tmp/found"]).stdout

        wait_until(lambda: found().count("seized") >= 10, "processes to be seized")
        client.exec_command(sandbox_id, ["touch", "/tmp/enough"])
        assert "unconfined" not in found()
