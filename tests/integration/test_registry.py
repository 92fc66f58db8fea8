"""Images of a real registry: authentication, digests, platforms, resumed and shared downloads."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_lines import check_json
from inside import running
from layouts import (
    OCI_INDEX,
    Blobs,
    busybox_layer,
    directory,
    docker_archive,
    entry,
    put_image,
    sha256,
    write_layout,
)
from registries import (
    PASSWORD,
    CuttingProxy,
    Registry,
    auth_document,
    basic_registry,
    missing,
    token_registry,
)

from flash_sandbox import HTTPClient, InvalidArgumentError, UnavailableError
from flash_sandbox.orchestrator import running_orchestrator
from flash_sandbox.orchestrator.images import registry as registry_client
from flash_sandbox.orchestrator.images.credentials import AUTH_VARIABLE
from flash_sandbox.orchestrator.images.references import parse_source
from flash_sandbox.orchestrator.images.store import Image, ImageStore
from flash_sandbox.orchestrator.runtimes.gvisor.runtime import GvisorRuntime

LARGE = os.urandom(3 * 1024 * 1024)
CONFIG = {
    "Env": ["GREETING=from the image", "PATH=/bin"],
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo $GREETING > /work/started; pwd >> /work/started; exec sleep 1000"],
    "WorkingDir": "/work",
}


@pytest.fixture(scope="module")
def image_layout(tmp_path_factory, need) -> Path:
    """Make an image of several layers with whiteouts, for this platform and for another."""
    need("registry", missing())
    path = tmp_path_factory.mktemp("layout")
    blobs = Blobs(path)
    layers = [
        [*busybox_layer(), entry("etc/motd", content=b"old"), entry("gone/f"), entry("kept/old")],
        [entry("etc/motd", content=b"new\n"), entry(".wh.gone")],
        [directory("kept"), entry("kept/.wh..wh..opq"), entry("kept/new", content=b"x")],
        [entry("large", content=LARGE)],
    ]
    manifests = [
        put_image(blobs, [[entry("f")]], architecture="mips64"),
        put_image(blobs, layers, CONFIG),
    ]
    index = blobs.put_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}, OCI_INDEX)
    return write_layout(path, latest=index)


@pytest.fixture(scope="module")
def large_layer(image_layout) -> str:
    """Return the digest of the image's largest layer."""
    return "sha256:" + max((image_layout / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size).name


@pytest.fixture(scope="module", params=["basic", "token"])
def registry(request, tmp_path_factory, image_layout) -> Iterator[Registry]:
    """Run a registry with either kind of authentication, which has the image."""
    run = {"basic": basic_registry, "token": token_registry}[request.param]
    with run(tmp_path_factory.mktemp(request.param)) as registry:
        registry.push(image_layout, "team/image:1")
        yield registry


# For what does not depend on the kind of authentication.
one_registry = pytest.mark.parametrize("registry", ["token"], indirect=True)


@pytest.fixture
def login(registry, monkeypatch) -> None:
    monkeypatch.setenv(AUTH_VARIABLE, auth_document(registry.name))


@pytest.fixture
def own_registry(tmp_path, image_layout, monkeypatch) -> Iterator[Registry]:
    """Run a registry that a test may do harm to, and log in there."""
    with basic_registry(tmp_path / "registry") as registry:
        registry.push(image_layout, "team/image:1")
        monkeypatch.setenv(AUTH_VARIABLE, auth_document(registry.name))
        yield registry


def opened(path: Path, **options) -> ImageStore:
    store = ImageStore(path, registries=("127.0.0.1:*",), **options)
    store.open()
    return store


async def acquire(store: ImageStore, name: str, *, refresh: bool = False) -> Image:
    return await store.acquire(parse_source(name), refresh=refresh)


@contextmanager
def serving(limits, **options) -> Iterator[HTTPClient]:
    with (
        running_orchestrator(limits=limits, registries=["127.0.0.1:*"], **options) as orchestrator,
        HTTPClient(address=orchestrator.http_address) as client,
    ):
        yield client


def shell(client: HTTPClient, sandbox_id: str, script: str) -> str:
    result = client.exec_command(sandbox_id, ["sh", "-c", script])
    assert result.exit_code == 0, result.stderr
    return result.stdout


# What is pulled


@pytest.mark.usefixtures("login")
async def test_layers_are_applied_and_the_platform_is_chosen(registry, tmp_path):
    image = await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image:1")
    root = image.rootfs
    assert (root / "etc" / "motd").read_text() == "new\n"
    assert not (root / "gone").exists()
    assert sorted(os.listdir(root / "kept")) == ["new"]
    assert (root / "large").read_bytes() == LARGE
    assert image.config.environment["GREETING"] == "from the image"


@pytest.fixture(params=["bubblewrap", "gvisor"])
def runtime(request, need, tmp_path) -> str:
    """Name a runtime that takes its images from the store."""
    if request.param == "gvisor":
        found = asyncio.run(GvisorRuntime(tmp_path / "gvisor").check())
        need("gvisor", None if found.available else found.detail)
    return request.param


@one_registry
@pytest.mark.usefixtures("login")
def test_a_sandbox_runs_as_the_image_says(registry, limits, runtime):
    with (
        serving(limits) as client,
        running(
            client, type=runtime, image=f"{registry.name}/team/image:1", image_command=True
        ) as sandbox_id,
    ):
        assert shell(client, sandbox_id, "echo $GREETING; pwd") == "from the image\n/work\n"
        started = "until test $(cat /work/started | wc -l) = 2; do :; done; cat /work/started"
        assert shell(client, sandbox_id, started) == "from the image\n/work\n"


def test_an_image_of_a_lone_shell_stays_for_commands(own_registry, tmp_path, limits):
    descriptor = put_image(Blobs(tmp_path / "layout"), [busybox_layer()], {"Cmd": ["/bin/sh"]})
    name = own_registry.push(write_layout(tmp_path / "layout", latest=descriptor), "shell:1")
    with serving(limits) as client, running(client, image=name) as sandbox_id:
        assert shell(client, sandbox_id, "echo works") == "works\n"
        assert client.get_status(sandbox_id) == "running"


@one_registry
@pytest.mark.usefixtures("login")
def test_a_command_that_is_asked_for_is_run_instead_of_the_images(registry, limits):
    with (
        serving(limits) as client,
        running(client, image=f"{registry.name}/team/image:1", command=["/bin/sleep", "1000"]) as sandbox_id,
    ):
        assert client.exec_command(sandbox_id, ["test", "-e", "/work/started"]).exit_code == 1


def test_the_environment_of_an_image_does_not_reach_the_program_that_makes_the_sandbox(
    tmp_path, limits, need
):
    need("registry", missing())
    # Whoever that program runs as can write here; where the loader heeds LD_DEBUG_OUTPUT, it does.
    with tempfile.TemporaryDirectory() as seen:
        os.chmod(seen, 0o777)
        config = {"Env": ["LD_DEBUG=libs", f"LD_DEBUG_OUTPUT={seen}/loader", "GREETING=hello"]}
        path = docker_archive(tmp_path / "image.tar", [busybox_layer()], config)
        with (
            serving(limits, image_roots=[tmp_path]) as client,
            running(client, image=str(path)) as sandbox_id,
        ):
            assert shell(client, sandbox_id, "echo $GREETING $LD_DEBUG") == "hello libs\n"
        assert os.listdir(seen) == []


@one_registry
@pytest.mark.usefixtures("login")
def test_a_snapshot_goes_on_from_the_image_it_was_made_of(registry, limits):
    name = f"{registry.name}/team/image:1"
    with serving(limits) as client:
        with running(client, image=name) as sandbox_id:
            shell(client, sandbox_id, "echo written > /work/file")
            path = client.snapshot_sandbox(sandbox_id).snapshot_path
        for asked in ("", name):
            with running(client, image=asked, snapshot_path=path) as restored:
                assert shell(client, restored, "cat file; cat /etc/motd") == "written\nnew\n"


@pytest.mark.usefixtures("login")
async def test_what_a_tag_means_changes_only_when_it_is_pulled_again(own_registry, tmp_path):
    store, name = opened(tmp_path / "store"), f"{own_registry.name}/team/moving:1"
    digests = []
    for number in (1, 2):
        path = tmp_path / f"layout{number}"
        descriptor = put_image(Blobs(path), [[entry("f", content=str(number).encode())]])
        digests.append(descriptor["digest"])
        own_registry.push(write_layout(path, latest=descriptor), "team/moving:1")
        assert (await acquire(store, name)).digest == digests[0]
    image = await acquire(store, name, refresh=True)
    assert (image.digest, (image.rootfs / "f").read_text()) == (digests[1], "2")


# Digests


@one_registry
@pytest.mark.usefixtures("login")
async def test_an_image_can_be_named_by_its_digest(registry, tmp_path):
    store = opened(tmp_path / "store")
    by_tag = await acquire(store, f"{registry.name}/team/image:1")
    by_digest = await acquire(opened(tmp_path / "other"), f"{registry.name}/team/image@{by_tag.digest}")
    assert by_digest.digest == by_tag.digest
    assert by_tag.name == f"{registry.name}/team/image:1@{by_tag.digest}"


@one_registry
@pytest.mark.usefixtures("login")
async def test_a_digest_that_the_registry_lacks_is_refused(registry, tmp_path):
    with pytest.raises(InvalidArgumentError, match="has no such image"):
        await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image@{sha256(b'')}")


async def test_a_layer_with_a_wrong_digest_is_refused_and_not_kept(own_registry, tmp_path, large_layer):
    stored = own_registry.stored(large_layer)
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    store = opened(tmp_path / "store")
    with pytest.raises(InvalidArgumentError, match=f"not {large_layer}"):
        await acquire(store, f"{own_registry.name}/team/image:1")
    assert store.list() == []
    assert large_layer.removeprefix("sha256:") not in [path.name for path in (tmp_path / "store").rglob("*")]


async def test_a_layer_that_is_larger_than_it_should_be_is_refused(own_registry, tmp_path, large_layer):
    with own_registry.stored(large_layer).open("ab") as stored:
        stored.write(b"more")
    with pytest.raises(InvalidArgumentError, match="is larger than"):
        await acquire(opened(tmp_path / "store"), f"{own_registry.name}/team/image:1")


async def test_a_manifest_with_a_wrong_digest_is_refused(own_registry, tmp_path):
    image = await acquire(opened(tmp_path / "store"), f"{own_registry.name}/team/image:1")
    stored = own_registry.stored(image.digest)
    index = json.loads(stored.read_text())
    index["manifests"].reverse()
    stored.write_text(json.dumps(index))
    # docker-registry itself refuses to serve it by digest; by tag it does not look.
    with pytest.raises((InvalidArgumentError, UnavailableError)):
        await acquire(opened(tmp_path / "other"), f"{own_registry.name}/team/image@{image.digest}")


# Downloads


async def test_a_download_whose_connection_is_cut_goes_on_where_it_ended(own_registry, tmp_path, large_layer):
    proxy = CuttingProxy(own_registry.port, cut_after=1024 * 1024, cuts_left=2)
    with proxy.running() as port:
        os.environ[AUTH_VARIABLE] = auth_document(f"127.0.0.1:{port}")
        image = await acquire(opened(tmp_path / "store"), f"127.0.0.1:{port}/team/image:1")
    assert (image.rootfs / "large").read_bytes() == LARGE
    answers = own_registry.requests(f"/v2/team/image/blobs/{large_layer}")
    assert proxy.cuts == 2
    assert [status for status, _ in answers][-1] == 206


async def test_a_download_that_was_given_up_is_resumed_by_another_process(
    own_registry, tmp_path, large_layer
):
    proxy = CuttingProxy(own_registry.port, cut_after=1024 * 1024, cuts_left=1000)
    events: list[str] = []
    with proxy.running() as port:
        os.environ[AUTH_VARIABLE] = auth_document(f"127.0.0.1:{port}")
        name = f"127.0.0.1:{port}/team/image:1"
        pulling = subprocess.Popen(
            [sys.executable, "-m", "flash_sandbox.cli", "image", "pull", name, "--state-dir", str(tmp_path)],
            stderr=subprocess.DEVNULL,
        )
        partial = tmp_path / "images/blobs/partial" / large_layer.removeprefix("sha256:")
        while not (partial.exists() and partial.stat().st_size > 500_000):
            assert pulling.poll() is None
        pulling.kill()
        pulling.wait()
        proxy.cuts_left = 0
        store = opened(tmp_path / "images", report=lambda event, **_: events.append(event))
        image = await acquire(store, name)
    assert (image.rootfs / "large").read_bytes() == LARGE
    assert "image layer resumed" in events


@one_registry
def test_ten_concurrent_starts_pull_once(registry, login, limits, large_layer):
    before = len(registry.requests(f"/v2/team/image/blobs/{large_layer}"))
    with serving(limits) as client, ThreadPoolExecutor(10) as pool:
        name = f"{registry.name}/team/image:1"
        ids = list(pool.map(lambda _: client.start_sandbox("bubblewrap", name), range(10)))
        list(pool.map(client.stop_sandbox, ids))
    answers = registry.requests(f"/v2/team/image/blobs/{large_layer}")[before:]
    assert [status for status, _ in answers] == [200]


@one_registry
@pytest.mark.usefixtures("login")
def test_two_processes_pull_once(registry, tmp_path, large_layer):
    before = len(registry.requests(f"/v2/team/image/blobs/{large_layer}"))
    command = [sys.executable, "-m", "flash_sandbox.cli", "image", "pull", f"{registry.name}/team/image:1"]
    command += ["--state-dir", str(tmp_path)]
    pulling = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in pulling] == [0, 0]
    assert len(registry.requests(f"/v2/team/image/blobs/{large_layer}")[before:]) == 1


@one_registry
@pytest.mark.usefixtures("login")
def test_progress_is_in_the_log(registry, limits, caplog):
    with (
        caplog.at_level(logging.INFO, logger="flash_sandbox.orchestrator"),
        serving(limits) as client,
        running(client, image=f"{registry.name}/team/image:1"),
    ):
        pass
    text = caplog.text
    for event in ("image pulling", "image pull progress", "percent=100", "image pulled", "image ready"):
        assert event in text, event


# What is refused


async def test_without_a_login_access_is_denied(registry, tmp_path, monkeypatch):
    monkeypatch.setenv(AUTH_VARIABLE, "{}")
    with pytest.raises(InvalidArgumentError, match="denies access"):
        await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image:1")


async def test_with_a_wrong_password_access_is_denied_and_the_password_not_told(
    registry, tmp_path, monkeypatch
):
    monkeypatch.setenv(AUTH_VARIABLE, auth_document(registry.name, password=PASSWORD + "!"))
    with pytest.raises(InvalidArgumentError, match="denies access") as caught:
        await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image:1")
    assert PASSWORD not in str(caught.value)


async def test_a_login_is_found_where_docker_keeps_it(registry, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(auth_document(registry.name))
    monkeypatch.delenv(AUTH_VARIABLE, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert (await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image:1")).digest


@one_registry
@pytest.mark.usefixtures("login")
async def test_an_image_that_is_not_there_is_named(registry, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"team/image:none.*has no such image"):
        await acquire(opened(tmp_path / "store"), f"{registry.name}/team/image:none")


async def test_a_registry_that_does_not_answer_may_be_asked_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(registry_client, "_PAUSE_SECONDS", 0.001)
    with pytest.raises(UnavailableError) as caught:
        await acquire(opened(tmp_path / "store"), "127.0.0.1:1/image")
    assert caught.value.retryable


# The command line


def image_command(state_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flash_sandbox.cli", "image", *words, "--state-dir", str(state_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@one_registry
@pytest.mark.usefixtures("login")
def test_images_are_pulled_listed_and_removed(registry, tmp_path):
    name = f"{registry.name}/team/image:1"
    pulled = image_command(tmp_path, "pull", name)
    assert pulled.stdout.startswith(f"{name}@sha256:")
    assert "image pull progress" in pulled.stderr
    assert name in image_command(tmp_path, "ls").stdout
    assert image_command(tmp_path, "ls", "-q").stdout == f"{name}\n"
    (listed,) = check_json("image ls", image_command(tmp_path, "ls", "--json").stdout)
    again = check_json("image pull", image_command(tmp_path, "pull", "--json", name).stdout)
    assert (again["digest"], listed["in_use"]) == (listed["digest"], False)
    assert check_json("image rm", image_command(tmp_path, "rm", "--json", name).stdout) == [name]
    assert name not in image_command(tmp_path, "ls").stdout
    left = [path for path in (tmp_path / "images").rglob("*") if not path.is_dir()]
    assert left == []


@one_registry
@pytest.mark.usefixtures("login")
def test_what_the_operator_pulled_may_be_started_and_is_not_removed_while_it_is_in_use(
    registry, tmp_path, limits
):
    name = f"{registry.name}/team/image:1"
    assert image_command(tmp_path, "pull", name).returncode == 0
    with (
        running_orchestrator(limits=limits, state_dir=tmp_path, registries=[]) as orchestrator,
        HTTPClient(address=orchestrator.http_address) as client,
        running(client, image=name),
    ):
        assert "in use" in image_command(tmp_path, "ls").stdout
        removed = image_command(tmp_path, "rm", name)
        assert (removed.returncode, "a sandbox uses it" in removed.stderr) == (125, True)
    assert image_command(tmp_path, "rm", name).returncode == 0


@pytest.mark.parametrize(
    "words", [("rm", "no/such:image"), ("pull", "Not A Name"), ("pull", "/no/such/file")]
)
def test_an_error_is_one_line(tmp_path, words):
    result = image_command(tmp_path, *words)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("image refused")]
    assert (result.returncode, len(lines)) == (125, 1)
