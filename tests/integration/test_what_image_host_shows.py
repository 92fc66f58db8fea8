"""Of the host, image ``host`` shows what any of its users could read, whichever runtime shows it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from docker_engine import BUSYBOX
from every_runtime import Runtime

# Whose each file is, and who may read it. Group 4 is adm on Debian, which reads the logs.
PRIVATE = {
    "of-root": (0, 0, 0o600),
    "of-roots-group": (0, 0, 0o640),
    "of-a-group": (0, 4, 0o640),
    "of-another-user": (1000, 1000, 0o600),
    "of-nobody": (65534, 65534, 0o600),
    "without-mode": (0, 0, 0o000),
}
SECRET = "only for some eyes"


@pytest.fixture(scope="module", autouse=True)
def _only_where_there_is_a_host_image(runtime: Runtime) -> None:
    if runtime.image != "host":
        pytest.skip("Docker Engine has no image that shows the host")


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Make files below /usr that not everybody may read, and one that everybody may."""
    if os.geteuid() != 0:
        pytest.skip("only root can put files below /usr")
    path = Path("/usr/share") / f"flash-sandbox-test-{uuid4().hex}"
    path.mkdir(mode=0o755)
    try:
        for name, (user, group, mode) in {**PRIVATE, "of-everybody": (0, 0, 0o644)}.items():
            (path / name).write_text(SECRET)
            os.chown(path / name, user, group)
            (path / name).chmod(mode)
        (path / "closed").mkdir(mode=0o700)
        (path / "closed/open").write_text(SECRET)
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def in_a_group() -> Iterator[None]:
    """Let the orchestrator be a member of the group, as root of many systems is."""
    before = os.getgroups()
    os.setgroups([*before, 4])
    yield
    os.setgroups(before)


@pytest.mark.usefixtures("in_a_group")
def test_a_file_that_an_ordinary_user_cannot_read_cannot_be_read_inside(
    runtime: Runtime, directory: Path
) -> None:
    paths = [str(directory / name) for name in (*PRIVATE, "closed/open")]
    with runtime.sandbox() as sandbox_id:
        results = {path: runtime.client.exec_command(sandbox_id, ["cat", path]) for path in paths}
        assert {path: result.stdout for path, result in results.items()} == dict.fromkeys(paths, "")
        assert all(result.exit_code == 1 for result in results.values())
        assert runtime.client.exec_command(sandbox_id, ["ls", str(directory / "closed")]).stdout == ""
        assert runtime.sh(sandbox_id, f"cat {directory}/of-everybody") == SECRET


def test_a_file_that_is_closed_or_made_while_the_sandbox_runs_cannot_be_read_either(
    runtime: Runtime, directory: Path
) -> None:
    made, closed = directory / "made", directory / "shut"
    made.unlink(missing_ok=True)
    closed.write_text(SECRET)
    closed.chmod(0o644)
    with runtime.sandbox() as sandbox_id:
        # What a program has opened it may read on, here as anywhere; so this one is only looked at.
        assert runtime.sh(sandbox_id, f"test -r {closed} && echo open") == "open\n"
        made.touch(mode=0o600)
        made.write_text(SECRET)
        closed.chmod(0o600)
        for path in (made, closed):
            assert runtime.client.exec_command(sandbox_id, ["sh", "-c", f"cat < {path}"]).stdout == ""


def test_what_belongs_to_the_sandbox_is_roots(runtime: Runtime) -> None:
    with runtime.sandbox() as sandbox_id:
        script = "test -O / && test -O /root && echo on > /root/file && cat /root/file && mkdir /opt/mine"
        assert runtime.sh(sandbox_id, script) == "on\n"


def test_a_private_file_of_an_image_is_its_roots_to_read(runtime: Runtime, directory: Path) -> None:
    if runtime.type != "gvisor":
        pytest.skip("told in the table of runtimes")
    root = runtime.state_dir / "rootfs" / uuid4().hex
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in ("sh", "cat", "sleep"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "key").write_text(SECRET)
    (root / "key").chmod(0o600)
    sandbox_id = runtime.client.start_sandbox(runtime.type, str(root), memory_mb=128)
    try:
        assert runtime.sh(sandbox_id, "cat /key") == SECRET
    finally:
        runtime.client.stop_sandbox(sandbox_id)
