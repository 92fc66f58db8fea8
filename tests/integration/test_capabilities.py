"""No process of a sandbox has a capability that reaches beyond it, whoever the orchestrator runs as."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from every_runtime import Runtime

from flash_sandbox.errors import InternalServerError
from flash_sandbox.orchestrator.linux import privileges

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# NET_ADMIN, NET_RAW, IPC_LOCK, IPC_OWNER, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_NICE,
# SYS_RESOURCE, SYS_TIME, MKNOD, SYSLOG, PERFMON and BPF (linux/capability.h).
DANGEROUS = (12, 13, 14, 15, 16, 17, 19, 21, 22, 23, 24, 25, 27, 34, 38, 39)

# Shows what the first processes of sandboxes have, and what commands in them have.
PROGRAM = """
import sys
from flash_sandbox import HTTPClient
from flash_sandbox.orchestrator import running_orchestrator

SHOW = "grep -E '^(Cap|NoNew)' /proc/self/status; grep -E '^(Cap|NoNew)' /proc/1/status"
MAIN = f"({SHOW}) > /part; mv /part /out; exec sleep 1000"
with running_orchestrator(limits="best-effort") as it, HTTPClient(address=it.http_address) as client:
    for main in ([], ["sh", "-c", MAIN]):
        sandbox_id = client.start_sandbox("bubblewrap", "host", command=main)
        print(client.exec_command(sandbox_id, ["sh", "-c", SHOW]).stdout)
        if main:
            script = "until [ -e /out ]; do sleep 0.01; done; cat /out"
            print(client.exec_command(sandbox_id, ["sh", "-c", script]).stdout)
        client.stop_sandbox(sandbox_id)
"""


def capabilities(status: str) -> list[int]:
    """Return the sets of capabilities in a process's status."""
    lines = [line.split() for line in status.splitlines()]
    return [int(line[1], 16) for line in lines if line and line[0].rstrip(":") in SETS]


@pytest.mark.parametrize("process", ["self", "1"])
def test_no_capability_reaches_beyond_the_sandbox(runtime: Runtime, idle: str, process: str) -> None:
    found = capabilities(runtime.sh(idle, f"cat /proc/{process}/status"))
    # gVisor knows no ambient ones.
    assert len(found) >= len(SETS) - 1
    assert [capability for capability in DANGEROUS if any(each >> capability & 1 for each in found)] == []


def test_nor_where_the_orchestrator_is_root_with_no_other_user() -> None:
    # As in a rootless container.
    command = ["unshare", "--map-root-user", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    # Of six processes.
    found = capabilities(done.stdout)
    assert len(found) == len(SETS) * 6
    assert set(found) <= {0, privileges.MASK}
    assert done.stdout.count("NoNewPrivs:\t1") == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel lets nobody but root drop groups")
def test_no_process_is_in_a_group_of_its_orchestrator() -> None:
    program = PROGRAM.replace("Cap|", "Groups|Cap|")
    command = ["setpriv", "--groups", "4242,4243", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    groups = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("Groups:")]
    # Of six processes.
    assert groups == [[]] * 6


@pytest.mark.parametrize(
    ("options", "told"), [([], "a way to gain privileges"), (["setpriv", "--no-new-privs"], "")]
)
def test_what_a_process_still_holds_is_told(options: list[str], told: str) -> None:
    with subprocess.Popen([*options, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # What answers is the program itself, not what is about to become it.
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert privileges.still_held(process.pid, kept=-1) == told
        process.stdin.close()
    assert privileges.still_held(process.pid) == ""


def test_a_sandbox_that_would_hold_more_is_not_started(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime.type == "gvisor":
        pytest.skip("its processes are those of another kernel")
    # What makes the sandbox gives it one capability too many.
    monkeypatch.setattr(privileges, "NAMES", (*privileges.NAMES, "CAP_NET_RAW"))
    monkeypatch.setattr(privileges, "CAPABILITIES", privileges.CAPABILITIES | {"NET_RAW": 13})
    with (
        pytest.raises(InternalServerError, match="was not started: its processes would have Cap"),
        runtime.sandbox(),
    ):
        pass
