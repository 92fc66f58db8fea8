"""What root of a sandbox may do to the sandbox's own files and users, as root of a container may."""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest
from every_runtime import Runtime
from inside import wait_until

pytestmark = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "docker", "gvisor"],
    indirect=True,
    scope="session",
)

# As Debian numbers them: www-data, shadow and nobody.
OTHERS = [33, 42, 65534]


def owners(runtime: Runtime, sandbox_id: str, *paths: str) -> list[str]:
    """Return user, group and mode of files; not by stat(1), which needs more than Debian's runsc has."""
    program = r'for (@ARGV) { my @s = lstat; printf "%d:%d:%o\n", $s[4], $s[5], $s[2] & 07777 }'
    result = runtime.client.exec_command(sandbox_id, [*runtime.perl(sandbox_id), "-e", program, *paths])
    assert result.exit_code == 0, result
    return result.stdout.split()


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


@pytest.mark.parametrize("number", [1, *OTHERS])
def test_another_user_has_no_capability_and_no_file_of_roots(
    runtime: Runtime, idle: str, number: int
) -> None:
    runtime.sh(idle, "echo secret > /tmp/of-root && chmod 600 /tmp/of-root")
    script = "id -u; id -g; grep CapEff /proc/self/status; cat /tmp/of-root 2> /dev/null || echo denied"
    result = runtime.client.exec_command(idle, ["sh", "-c", script], user=f"{number}:{number}")
    assert result.stdout.split() == [str(number), str(number), "CapEff:", "0" * 16, "denied"]


def test_the_main_process_is_another_user(runtime: Runtime) -> None:
    script = "id -u > /tmp/user; exec sleep 1000"
    with runtime.sandbox(command=["sh", "-c", script], user="33:33") as sandbox_id:
        runtime.wait_for(sandbox_id, "test -s /tmp/user", "the main process to run")
        assert runtime.sh(sandbox_id, "cat /tmp/user; id -u; id -g") == "33\n33\n33\n"


@pytest.mark.parametrize("number", OTHERS)
def test_root_gives_files_away_and_still_reads_and_removes_them(
    runtime: Runtime, idle: str, number: int
) -> None:
    path = f"/tmp/of-{number}"
    script = f"mkdir {path} && echo content > {path}/file && chmod 600 {path}/file && chmod 700 {path}"
    runtime.sh(idle, f"{script} && chown -R {number}:{number} {path}")
    assert owners(runtime, idle, path, f"{path}/file") == [f"{number}:{number}:{mode}" for mode in (700, 600)]
    assert runtime.sh(idle, f"cat {path}/file") == "content\n"
    runtime.sh(idle, f"rm -r {path}")


def test_owners_of_an_archive_are_kept(runtime: Runtime, idle: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in OTHERS:
            entry = tarfile.TarInfo(f"of-{number}")
            entry.uid, entry.gid, entry.mode = number, number, 0o600
            tar.addfile(entry)
    runtime.sh(idle, "mkdir /tmp/archive")
    runtime.client.write_file(idle, "/tmp/archive.tar", file.getvalue())
    runtime.sh(idle, "tar -xpf /tmp/archive.tar -C /tmp/archive")
    seen = owners(runtime, idle, *(f"/tmp/archive/of-{number}" for number in OTHERS))
    assert seen == [f"{number}:{number}:600" for number in OTHERS]


def test_root_ends_processes_of_others(runtime: Runtime, idle: str) -> None:
    process = runtime.client.start_process(idle, ["sleep", "9390"], user="33:33")
    wait_until(lambda: runtime.count(idle, "sleep 9390") == 1, "it to run")
    find = "grep -lz '^9390' /proc/[0-9]*/cmdline 2> /dev/null | cut -d / -f 3"
    runtime.sh(idle, f"kill -KILL $({find})")
    assert runtime.client.wait_process(idle, process).exit_code == 128 + 9


def test_no_device_is_made(runtime: Runtime, idle: str) -> None:
    if runtime.type == "gvisor":
        pytest.skip("devices there are gVisor's own")
    result = runtime.client.exec_command(idle, ["sh", "-c", "mknod /tmp/device c 1 3"])
    assert (result.exit_code, "not permitted" in result.stderr) == (1, True), result


def test_a_snapshot_keeps_owners(runtime: Runtime) -> None:
    paths = [f"/root/of-{number}" for number in OTHERS]
    names = " ".join(paths)
    with runtime.sandbox() as sandbox_id:
        runtime.sh(sandbox_id, f"touch {names} && chmod 600 {names} && mkdir /root/directory")
        for number in OTHERS:
            runtime.sh(sandbox_id, f"chown {number}:{number} /root/of-{number}")
        runtime.sh(sandbox_id, "chown 33:42 /root/directory && chmod 2770 /root/directory")
        path = runtime.client.snapshot_sandbox(sandbox_id).snapshot_path
    with runtime.sandbox(snapshot_path=path) as sandbox_id:
        seen = owners(runtime, sandbox_id, *paths, "/root/directory")
        assert seen == [*(f"{number}:{number}:600" for number in OTHERS), "33:42:2770"]
    runtime.client.remove_snapshot(path)


def test_nothing_is_left_of_a_sandbox_with_files_of_others(runtime: Runtime) -> None:
    if runtime.type != "bubblewrap":
        pytest.skip("its engine keeps the files")
    script = "mkdir -p d/e && touch d/e/f && chmod 0 d/e/f && chown -R 1000:1000 d && chmod 0 d/e d"
    with runtime.sandbox() as sandbox_id:
        runtime.sh(sandbox_id, f"cd /tmp && {script}")
        layer = runtime.state_dir / "sandboxes" / sandbox_id
        assert layer.exists()
    assert not layer.exists()
    trash = runtime.state_dir / "trash"
    wait_until(lambda: not any(trash.iterdir()), "the sandbox's files to be removed")


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
