"""Directories of the host that a sandbox has, on every runtime."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from every_runtime import Runtime

import flash_sandbox
from flash_sandbox import Volume

pytestmark = pytest.mark.parametrize(
    "engine_orchestrator",
    ["bubblewrap", "bubblewrap with a range", "bubblewrap with one ID", "docker", "gvisor"],
    indirect=True,
    scope="session",
)

OWNER = (1234, 1235)
"""Neither root, nor any user of a sandbox."""


@pytest.fixture
def project(runtime: Runtime, volume_root: Path) -> Iterator[Path]:
    """Return a directory of somebody else's, or of the ordinary user whose orchestrator it is."""
    user = os.stat(runtime.state_dir).st_uid
    owner = (user, os.stat(runtime.state_dir).st_gid) if user else OWNER
    with tempfile.TemporaryDirectory(dir=volume_root) as directory:
        path = Path(directory)
        (path / "file").write_text("from outside")
        for each in (path, path / "file"):
            if os.geteuid() == 0:
                os.chown(each, *owner)
        yield path


def mounts_of(directory: Path) -> list[str]:
    """Return the mounts of this host that show a directory."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if directory.name in line]


def test_both_sides_see_what_the_other_writes(runtime: Runtime, project: Path) -> None:
    with runtime.sandbox(volumes={"/work/project": project}) as sandbox_id:
        assert runtime.sh(sandbox_id, "cat /work/project/file") == "from outside"
        runtime.sh(sandbox_id, "mkdir /work/project/made && echo inside > /work/project/made/file")
        assert (project / "made/file").read_text() == "inside\n"
        (project / "later").write_text("later")
        assert runtime.client.read_file(sandbox_id, "/work/project/later") == b"later"
        assert mounts_of(project) == []
    assert (project / "made/file").read_text() == "inside\n"


def test_its_owner_is_root_inside_and_owns_what_root_makes(runtime: Runtime, project: Path) -> None:
    script = "my @s = lstat('/work/file'); print qq($s[4]:$s[5]); open(my $f, '>', '/work/new') or die $!"
    with runtime.sandbox(volumes={"/work": project}) as sandbox_id:
        result = runtime.client.exec_command(sandbox_id, [*runtime.perl(sandbox_id), "-e", script])
    assert (result.stdout, result.exit_code) == ("0:0", 0), result
    made, owner = os.stat(project / "new"), os.stat(project)
    assert (made.st_uid, made.st_gid) == (owner.st_uid, owner.st_gid)


def test_a_read_only_one_is_not_written_to(runtime: Runtime, project: Path) -> None:
    with runtime.sandbox(volumes={"/work": Volume(project, read_only=True)}) as sandbox_id:
        script = "cat /work/file; touch /work/new || touch /work/file || rm /work/file"
        result = runtime.client.exec_command(sandbox_id, ["sh", "-c", script])
        assert (result.stdout, result.exit_code != 0) == ("from outside", True), result
        assert runtime.client.get_info(sandbox_id).volumes == (f"{project}:/work:ro",)
    assert sorted(os.listdir(project)) == ["file"]


def test_one_may_be_mounted_within_another(runtime: Runtime, project: Path) -> None:
    (project / "inner").mkdir()
    with tempfile.TemporaryDirectory(dir=project.parent) as other:
        os.chmod(other, 0o755)
        Path(other, "file").write_text("other")
        wanted = {"/work/inner": Volume(other, read_only=True), "/work": project}
        with runtime.sandbox(volumes=wanted) as sandbox_id:
            assert runtime.sh(sandbox_id, "cat /work/file /work/inner/file") == "from outsideother"


def test_other_sandboxes_see_nothing_of_it(runtime: Runtime, project: Path) -> None:
    with runtime.sandbox(volumes={"/work/here": project}), runtime.sandbox() as other:
        assert runtime.sh(other, "test -e /work || echo nothing") == "nothing\n"


def test_a_snapshot_holds_none_of_it_and_a_copy_has_the_same(runtime: Runtime, project: Path) -> None:
    client = runtime.client
    with runtime.sandbox(volumes={"/work": project}) as sandbox_id:
        runtime.sh(sandbox_id, "echo one > /work/shared; echo own > /root/own")
        (fork,) = client.fork_sandbox(sandbox_id)
        try:
            assert runtime.sh(fork, "cat /work/shared /root/own; echo two > /work/shared") == "one\nown\n"
        finally:
            client.stop_sandbox(fork)
        assert runtime.sh(sandbox_id, "cat /work/shared") == "two\n"
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
        client.resume_sandbox(sandbox_id)
        assert runtime.sh(sandbox_id, "cat /work/shared") == "two\n"
    (project / "shared").write_text("three")
    with runtime.sandbox(snapshot_path=path) as sandbox_id:
        assert runtime.sh(sandbox_id, "cat /work/shared /root/own") == "threeown\n"
    client.remove_snapshot(path)


@pytest.mark.parametrize(
    "source",
    [
        lambda project: "/etc",
        lambda project: project.parent.parent,
        lambda project: project / "link",
        lambda project: project.parent / "read-only",
    ],
    ids=["elsewhere", "above", "a link that leads out", "read-only"],
)
def test_what_the_operator_does_not_allow_is_refused(
    runtime: Runtime, project: Path, source: Callable[[Path], Path]
) -> None:
    (project / "link").symlink_to("/etc")
    with (
        pytest.raises(flash_sandbox.PermissionDeniedError),
        runtime.sandbox(volumes={"/work": source(project)}),
    ):
        pass


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_what_is_no_directory_is_refused(runtime: Runtime, project: Path, name: str) -> None:
    refused = pytest.raises(flash_sandbox.InvalidArgumentError, match=name)
    with refused, runtime.sandbox(volumes={"/work": project / name}):
        pass


def test_what_its_owner_may_not_do_the_sandbox_may_not(runtime: Runtime, project: Path) -> None:
    """Files of others are nobody's there: not even root of the sandbox gives them away or reads them."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of others")
    if runtime.type == "docker":
        pytest.skip("root of a container is this host's, whom the kernel lets have what nobody there owns")
    (project / "secret").write_text("secret")
    os.chmod(project / "secret", 0o600)
    os.chown(project / "secret", 4321, 4321)
    with runtime.sandbox(volumes={"/work": project}) as sandbox_id:
        script = "cat /work/secret; chown 0:0 /work/secret; chmod 666 /work/secret; cat /work/secret"
        result = runtime.client.exec_command(sandbox_id, ["sh", "-c", script])
        assert (result.stdout, result.exit_code != 0) == ("", True), result
    status = os.stat(project / "secret")
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4321, 4321, 0o600)
