"""Files that every runtime supplies, in images that lack them, and what image ``host`` shows of the host."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker_engine
import pytest
from every_runtime import Runtime


@pytest.fixture(scope="module", params=["directory", "tar file", "exported"])
def image(request: pytest.FixtureRequest, runtime: Runtime) -> Iterator[str]:
    """An image with a shell and without /etc/hosts: the engine's, a directory, an archive.

    What ``docker export`` writes has an empty file in the place of each that the engine supplied.
    """
    if runtime.type == "docker":
        if request.param != "directory":
            pytest.skip("docker has its images from the engine alone")
        yield runtime.image
        return
    content = io.BytesIO(docker_engine.busybox_root())
    if request.param == "exported":
        with tarfile.open(fileobj=content, mode="a") as tar:
            for name in ("hosts", "hostname", "resolv.conf"):
                tar.addfile(tarfile.TarInfo(f"etc/{name}"))
    path = runtime.state_dir / "rootfs" / f"without-hosts-{request.param.replace(' ', '-')}"
    if request.param == "directory":
        content.seek(0)
        with tarfile.open(fileobj=content) as tar:
            tar.extractall(path, filter="fully_trusted")
        (path / "mnt").mkdir()
    else:
        path.write_bytes(content.getvalue())
    yield str(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def test_localhost_is_found_in_an_image_without_hosts(runtime, image):
    with runtime.sandbox(image=image) as sandbox_id:
        # Nothing listens there: what counts is that the name is known.
        said = runtime.client.exec_command(sandbox_id, ["sh", "-c", "telnet localhost 9 < /dev/null"]).stderr
    assert "can't connect to remote host (127.0.0.1)" in said


def test_names_are_the_sandboxs_own_and_no_name_server_is_the_hosts(runtime, image):
    with runtime.sandbox(image=image) as sandbox_id:
        hosts = runtime.sh(sandbox_id, "cat /etc/hosts")
        servers = runtime.sh(sandbox_id, "grep nameserver /etc/resolv.conf || true").split()
        if not Path(image).is_dir():
            assert runtime.sh(sandbox_id, "cat /etc/hostname").strip() == sandbox_id
            assert "/proc" in runtime.sh(sandbox_id, "cat /etc/mtab")
    assert "::1\tlocalhost" in hosts
    assert servers in ([], ["nameserver", "127.0.0.1"])


def test_a_sandbox_may_write_its_own_hosts(runtime, image):
    if Path(image).is_dir():
        pytest.skip("a directory of the operator's is given these files read-only")
    with runtime.sandbox(image=image) as sandbox_id:
        runtime.sh(sandbox_id, "echo 127.0.0.1 more >> /etc/hosts")
        assert "more" in runtime.sh(sandbox_id, "cat /etc/hosts")
    with runtime.sandbox(image=image) as sandbox_id:
        assert "more" not in runtime.sh(sandbox_id, "cat /etc/hosts")


HARMLESS = """
import os, ssl, shutil
assert len(ssl.create_default_context().get_ca_certs()) > 10
assert os.path.exists("/etc/services") and os.path.exists("/etc/os-release")
assert shutil.which("python"), os.environ["PATH"]
"""


@pytest.fixture
def host(runtime: Runtime) -> Iterator[str]:
    if runtime.image != "host":
        pytest.skip("docker has no image 'host'")
    with runtime.sandbox() as sandbox_id:
        yield sandbox_id


def test_image_host_has_certificates_services_and_python(runtime, host):
    result = runtime.client.exec_command(host, ["python3", "-c", HARMLESS])
    assert result.exit_code == 0, result.stderr


def test_image_host_has_a_name_for_every_number_and_users_of_its_own(runtime, host):
    assert runtime.sh(host, "getent services http; getent passwd nobody").split()[0] == "http"
    assert "root:x:0:0" in runtime.sh(host, "getent passwd root")


def test_image_host_has_a_place_for_programs_that_npm_installs(runtime, host):
    script = """
        cd "$NPM_CONFIG_PREFIX" && mkdir -p lib/node_modules
        echo "echo done" > bin/installed && chmod +x bin/installed && installed
    """
    assert runtime.sh(host, script) == "done\n"


def test_image_host_shows_nothing_that_not_everybody_may_read(runtime, host):
    """What the host denies to others is neither there nor was copied."""
    closed = [
        path.relative_to("/etc")
        for path in Path("/etc").rglob("*")
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o004
    ]
    there = set(runtime.sh(host, "cd /etc; find . -type f").split())
    own = {"./shadow", "./gshadow"}
    assert {f"./{path}" for path in closed} & there <= own
    assert "$" not in runtime.sh(host, "cat /etc/shadow")
