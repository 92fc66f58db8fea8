"""Root file systems from directories and tar files; snapshots and what is started from them."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inside import running
from layouts import busybox

from flash_sandbox import HTTPClient, InvalidArgumentError
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime


@pytest.fixture(scope="module")
def client(orchestrator) -> Iterator[HTTPClient]:
    with HTTPClient(address=orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def images(orchestrator) -> Path:
    """Return the directory from which this orchestrator takes images."""
    return orchestrator.state_dir / "rootfs"


@pytest.fixture(scope="module")
def directory_image(images) -> Path:
    """Make a root file system of the programs that the tests use, with the libraries that they need."""
    root = images / "small"
    for name in ("bin", "etc", "root", "tmp"):
        (root / name).mkdir(parents=True)
    for program in ("sh", "cat", "echo", "ls", "mkdir", "rm", "tail", "touch", "stat", "sleep", "chmod"):
        found = shutil.which(program)
        assert found is not None
        shutil.copy(found, root / "bin" / program)
        for word in subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout.split():
            if word.startswith("/"):
                target = root / word.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, target)
    (root / "etc" / "motd").write_text("a small image\n")
    return root


@pytest.fixture(scope="module")
def tar_image(directory_image, images) -> Path:
    path = images / "small.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(directory_image, arcname=".")
    return path


@pytest.fixture(params=["directory", "tar file"])
def image(request, directory_image, tar_image) -> str:
    return str(directory_image if request.param == "directory" else tar_image)


def shell(client: HTTPClient, sandbox_id: str, script: str) -> str:
    result = client.exec_command(sandbox_id, ["sh", "-c", script])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_sandbox_starts_from_an_image(client, image):
    with running(client, image=image) as sandbox_id:
        assert shell(client, sandbox_id, "cat /etc/motd") == "a small image\n"


def test_root_may_write_to_an_image_and_the_image_stays_as_it_is(client, image, directory_image):
    with running(client, image=image) as sandbox_id:
        shell(
            client, sandbox_id, "echo changed > /etc/motd; touch /etc/new; rm /bin/ls; echo mine > /root/file"
        )
        assert shell(client, sandbox_id, "cat /etc/motd /root/file") == "changed\nmine\n"
    with running(client, image=image) as other:
        seen = shell(client, other, "cat /etc/motd; ls /etc/motd /etc/new /root /bin/ls 2>&1 || true").split(
            "\n"
        )
        assert seen[0] == "a small image"
        assert not {"/etc/new", "file"} & set(seen)
        assert {"/etc/motd", "/bin/ls", "/root:"} <= set(seen)
    assert (directory_image / "etc" / "motd").read_text() == "a small image\n"


def test_the_owner_of_an_images_files_is_root_inside(client, image):
    with running(client, image=image) as sandbox_id:
        assert shell(client, sandbox_id, "stat -c %u:%g /etc/motd /root") == "0:0\n0:0\n"


def test_an_image_outside_the_allowed_directories_is_refused(client, tmp_path):
    for path in ("/", "/etc", str(tmp_path), str(tmp_path / "no-such-thing")):
        with pytest.raises(
            InvalidArgumentError, match="not in a directory that this orchestrator takes images from"
        ):
            client.start_sandbox("bubblewrap", path)


def test_a_link_out_of_the_allowed_directories_is_refused(client, images):
    (images / "link").symlink_to("/etc")
    with pytest.raises(InvalidArgumentError) as caught:
        client.start_sandbox("bubblewrap", str(images / "link"))
    assert caught.value.reason == "image_not_found"


def test_a_name_that_is_no_image_says_what_is_one(client):
    with pytest.raises(InvalidArgumentError, match="an image is 'host', an absolute path"):
        client.start_sandbox("bubblewrap", "Not A Name")


def test_a_registry_that_the_operator_did_not_name_is_refused_and_not_asked(client):
    with pytest.raises(InvalidArgumentError, match="--allow-registry localhost:1") as caught:
        client.start_sandbox("bubblewrap", "localhost:1/image")
    assert caught.value.reason == "image_not_found"


def test_a_tar_file_that_is_none_is_refused(client, images):
    (images / "text.tar").write_text("not a tar file")
    with pytest.raises(InvalidArgumentError, match="cannot unpack"):
        client.start_sandbox("bubblewrap", str(images / "text.tar"))


def test_a_main_process_that_is_not_there_is_named(client, directory_image):
    with pytest.raises(InvalidArgumentError, match="'/bin/nothing' cannot be run: No such file") as caught:
        client.start_sandbox("bubblewrap", str(directory_image), ["/bin/nothing"])
    assert caught.value.reason == "start_failed"


def snapshot_of(client: HTTPClient, script: str, **options: object) -> str:
    with running(client, **options) as sandbox_id:
        shell(client, sandbox_id, script)
        return client.snapshot_sandbox(sandbox_id).snapshot_path


def test_a_snapshot_pauses_and_holds_what_was_written(client):
    with running(client) as sandbox_id:
        shell(client, sandbox_id, "echo before > /root/file")
        snapshot = client.snapshot_sandbox(sandbox_id)
        assert client.get_status(sandbox_id) == "paused"
        client.resume_sandbox(sandbox_id)
        shell(client, sandbox_id, "echo after > /root/file")
        with running(client, image="", snapshot_path=snapshot.snapshot_path) as restored:
            assert shell(client, restored, "cat /root/file") == "before\n"
        assert snapshot.mem_file_path == ""


@pytest.mark.parametrize(
    ("written", "looked_at", "seen"),
    [
        ("rm /etc/hosts", "test -e /etc/hosts || echo gone", "gone\n"),
        ("rm -r /var; mkdir /var; echo new > /var/new", "ls /var", "new\n"),
        ("echo x > /root/f; chmod 000 /root/f", "stat -c '%a %F' /root/f", "0 regular file\n"),
        ("mkdir /root/d; echo x > /root/d/f; chmod 000 /root/d", "chmod 700 /root/d; cat /root/d/f", "x\n"),
        ("chmod 1777 /srv", "stat -c %a /srv", "1777\n"),
        ("ln -s /nowhere /root/link", "readlink /root/link", "/nowhere\n"),
        ("echo x > /root/a; ln /root/a /root/b", "stat -c '%h %i' /root/a /root/b | uniq | wc -l", "1\n"),
        ("mkfifo /root/pipe", "stat -c %F /root/pipe", "fifo\n"),
        ("touch '/root/a\nb'", "ls -b /root", "a\\nb\n"),
        ("touch /root/$(printf '\\377')", "ls -b /root", "\\377\n"),
        ("touch /root/" + "n" * 255, "ls /root | wc -c", "256\n"),
        ("touch -d @1000000000 /root/old", "stat -c %Y /root/old", "1000000000\n"),
        (
            "head -c 3000000 /dev/urandom > /root/r; cksum < /root/r > /root/s",
            "cksum < /root/r | cmp - /root/s",
            "",
        ),
    ],
)
def test_what_was_written_is_there_after_a_restore(client, written, looked_at, seen):
    path = snapshot_of(client, written, image="host")
    with running(client, image="", snapshot_path=path) as restored:
        assert shell(client, restored, looked_at) == seen


@pytest.mark.parametrize(
    "script",
    [
        "ln -s /oldroot{outside} etc",
        "ln -s ../oldroot{outside} etc",
        "mkdir etc; ln -s /oldroot{outside}/made etc/hosts",
    ],
)
def test_no_link_in_a_snapshot_leads_to_the_host(client, images, tmp_path, need, script):
    program = busybox()
    need(
        "busybox",
        None if program else "there is no static busybox (on Debian: apt-get install busybox-static)",
    )
    # An image without /etc: a sandbox can put something else in the place of what it was given.
    image = images / "without-etc"
    (image / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("sh", "mv", "mkdir", "ln", "ls"):
        shutil.copy(str(program), image / "bin" / name)
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    # Pytest keeps others out.
    for directory in tmp_path.parents:
        directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    tmp_path.chmod(0o755)
    snapshot = snapshot_of(client, f"cd /; mv etc saved; {script.format(outside=outside)}", image=str(image))
    with running(client, image="", snapshot_path=snapshot) as restored:
        assert "outside" in shell(client, restored, "ls -l /etc /etc/hosts 2>&1 || true")
    assert list(outside.iterdir()) == []


def test_a_snapshot_is_of_its_image(client, directory_image):
    path = snapshot_of(client, "echo x > /root/file", image=str(directory_image))
    with running(client, image=str(directory_image), snapshot_path=path) as restored:
        assert shell(client, restored, "cat /root/file /etc/motd") == "x\na small image\n"
    with pytest.raises(InvalidArgumentError, match="the snapshot is of image"):
        client.start_sandbox("bubblewrap", "host", snapshot_path=path)


def test_many_sandboxes_start_from_one_snapshot_and_share_nothing(client):
    path = snapshot_of(client, "echo base > /root/file")
    with (
        running(client, image="", snapshot_path=path) as one,
        running(client, image="", snapshot_path=path) as other,
    ):
        shell(client, one, "echo one >> /root/file")
        shell(client, other, "echo other >> /root/file")
        assert shell(client, one, "cat /root/file") == "base\none\n"
        assert shell(client, other, "cat /root/file") == "base\nother\n"


def test_a_snapshot_of_a_busy_sandbox_is_consistent(client):
    with running(client) as sandbox_id:
        shell(
            client,
            sandbox_id,
            "(i=0; while :; do i=$((i+1)); echo $i > /tmp/a; cp /tmp/a /tmp/b; done) > /dev/null 2>&1 &"
            "until [ -e /tmp/b ]; do sleep 0.01; done",
        )
        path = client.snapshot_sandbox(sandbox_id).snapshot_path
    with running(client, image="", snapshot_path=path) as restored:
        shell(client, restored, "test -e /tmp/a")


def test_a_snapshot_is_for_its_owner_alone(client, orchestrator):
    path = Path(snapshot_of(client, "true"))
    assert [file.stat().st_mode & 0o777 for file in path.iterdir()] == [0o600]
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "{store}/../seccomp.bpf",
        "{store}/link.tar",
        "{store}/none.tar",
        "{store}",
        "x.tar",
    ],
)
def test_a_path_that_is_no_snapshot_of_the_store_is_refused(client, orchestrator, path):
    store = orchestrator.state_dir / "snapshots"
    link = store / "link.tar"
    if not link.is_symlink():
        link.symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgumentError) as caught:
        client.start_sandbox("bubblewrap", snapshot_path=path.format(store=store))
    assert caught.value.reason == "snapshot_refused"


def test_a_file_in_the_store_that_is_no_snapshot_is_refused(client, orchestrator):
    path = orchestrator.state_dir / "snapshots" / "text.tar"
    path.write_text("no tar file")
    with pytest.raises(InvalidArgumentError) as caught:
        client.start_sandbox("bubblewrap", snapshot_path=str(path))
    assert caught.value.reason == "snapshot_refused"


def test_nothing_of_a_sandbox_is_left_when_it_is_stopped(client, orchestrator):
    with running(client) as sandbox_id:
        shell(client, sandbox_id, "mkdir -p /a/b/c; chmod 000 /a/b; sleep 3010 > /dev/null 2>&1 &")
    assert not (orchestrator.state_dir / "sandboxes" / sandbox_id).exists()
    groups = [path for path, names, _ in os.walk("/sys/fs/cgroup") if sandbox_id in names]
    assert groups == []


def test_a_directory_is_found_again_by_what_goes_on_from_a_checkpoint(
    client: HTTPClient, directory_image: Path, need: Callable[[str, str | None], None], tmp_path: Path
) -> None:
    found = asyncio.run(GvisorRuntime(tmp_path).check())
    need("gvisor", None if found.available else found.detail)
    with running(client, type="gvisor", image=str(directory_image)) as sandbox_id:
        snapshot = client.snapshot_sandbox(sandbox_id).snapshot_path
        client.resume_sandbox(sandbox_id)
        assert shell(client, sandbox_id, "cat /etc/motd") == "a small image\n"
        with running(client, type="gvisor", image=str(directory_image), snapshot_path=snapshot) as restored:
            assert shell(client, restored, "cat /etc/motd") == "a small image\n"
