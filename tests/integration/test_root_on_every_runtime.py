"""What root of a sandbox may do to the sandbox's own files and users, as root of a container may."""

from __future__ import annotations

import os
import stat

import pytest
from every_runtime import Runtime


@pytest.mark.parametrize("mode", ["000", "400", "200"])
def test_root_reads_and_writes_files_of_any_mode(runtime: Runtime, idle: str, mode: str) -> None:
    path = f"/tmp/file-{mode}"
    script = f"echo one > {path} && chmod {mode} {path} && echo two >> {path} && cat {path} && rm {path}"
    assert runtime.sh(idle, script) == "one\ntwo\n"


@pytest.mark.parametrize("mode", ["000", "555"])
def test_root_writes_to_a_directory_of_any_mode(runtime: Runtime, idle: str, mode: str) -> None:
    path = f"/tmp/directory-{mode}"
    runtime.sh(idle, f"mkdir {path} && chmod {mode} {path} && echo in > {path}/file && cat {path}/file")


def test_a_tree_with_a_directory_that_denies_writing_is_uploaded(
    runtime: Runtime, idle: str, tmp_path
) -> None:
    directory = tmp_path / "tree" / "closed"
    directory.mkdir(parents=True)
    (directory / "file").write_text("content")
    directory.chmod(0o555)
    # Twice: the second time what is written to is the closed directory of the first.
    for _ in range(2):
        runtime.client.upload(idle, tmp_path / "tree", "/tmp/uploaded")
    assert runtime.sh(idle, "cat /tmp/uploaded/closed/file") == "content"
    assert runtime.client.stat(idle, "/tmp/uploaded/closed").mode == 0o555


def test_a_file_is_written_into_a_directory_that_denies_writing(runtime: Runtime, idle: str) -> None:
    runtime.sh(idle, "mkdir -p /tmp/read-only && chmod 555 /tmp/read-only")
    runtime.client.write_file(idle, "/tmp/read-only/file", b"content")
    assert runtime.client.read_file(idle, "/tmp/read-only/file") == b"content"


def test_root_listens_on_a_low_port(runtime: Runtime, idle: str) -> None:
    if runtime.image == "host":
        listen = "use IO::Socket::INET; IO::Socket::INET->new(LocalPort => 81, Listen => 1) or die $!"
        command = ["perl", "-e", listen]
    else:
        command = ["httpd", "-p", "81", "-h", "/tmp"]
    result = runtime.client.exec_command(idle, command)
    assert result.exit_code == 0, result


@pytest.mark.parametrize("number", [1, 33, 65534])
def test_another_user_has_no_capability_and_no_file_of_roots(
    runtime: Runtime, idle: str, number: int
) -> None:
    if runtime.type == "bubblewrap":
        pytest.skip("there is one user ID")
    runtime.sh(idle, "echo secret > /tmp/of-root && chmod 600 /tmp/of-root")
    script = "grep CapEff /proc/self/status; cat /tmp/of-root 2> /dev/null || echo denied"
    result = runtime.client.exec_command(idle, ["sh", "-c", script], user=f"{number}:{number}")
    assert result.stdout.split() == ["CapEff:", "0" * 16, "denied"]


def test_root_cannot_reach_the_hosts_null_device(runtime: Runtime) -> None:
    """Not even where what it is given to read from is one: a mode that hurts nobody would show it."""
    attack = "for file in /dev/null /dev/stdin /proc/[0-9]*/fd/*; do chmod 1666 $file; done 2> /tmp/said"
    before = os.stat(os.devnull)
    try:
        with runtime.sandbox(command=["sh", "-c", f"{attack}; exec sleep 1000"]) as sandbox_id:
            for _ in range(2):
                runtime.client.exec_command(sandbox_id, ["sh", "-c", attack])
        assert os.stat(os.devnull).st_mode == before.st_mode
    finally:
        if os.geteuid() == 0:
            os.chmod(os.devnull, stat.S_IMODE(before.st_mode))
