"""Files of Docker snapshots from strangers: what does not fit is refused, and the engine keeps none."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker_engine import IMAGE, DockerEngine
from snapshot_tars import changed, member

from flash_sandbox import HTTPClient, InvalidArgumentError

Files = dict[str, bytes]
Change = Callable[[dict[str, Any], dict[str, Any], Files], object]

GIB = 2**30
# What tells of a sparse file that has one block, at its start ("Storing Sparse Files", GNU tar's manual).
HOLES = {
    "0.0": {"GNU.sparse.numblocks": "1", "GNU.sparse.offset": "0", "GNU.sparse.numbytes": "512"},
    "0.1": {"GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,512"},
}


@pytest.fixture(scope="module")
def client(docker_orchestrator: Any) -> Iterator[HTTPClient]:
    with HTTPClient(address=docker_orchestrator.http_address) as client:
        yield client


@pytest.fixture(scope="module")
def exported(client: HTTPClient, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("exported") / "file"
    sandbox = client.start_sandbox("docker", IMAGE)
    client.exec_command(sandbox, ["sh", "-c", "echo kept > /file"]).check()
    snapshot = client.snapshot_sandbox(sandbox)
    client.export_snapshot(snapshot.id, file)
    client.stop_sandbox(sandbox)
    client.remove_snapshot(snapshot.id)
    return file.read_bytes()


def of_image(content: bytes, change: Change) -> bytes:
    """Return the file with another description of its image, or other layers."""

    def change_all(head: dict[str, Any], files: Files) -> None:
        image = json.loads(head["details"]["image"])
        change(head, image, files)
        head["details"]["image"] = json.dumps(image)
        head["files"] = {name: [len(data), digest(data)] for name, data in files.items()}

    return changed(content, change_all)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def replaced(image: dict[str, Any], files: Files, data: bytes) -> None:
    """Put another layer in the place of the last."""
    files.pop(image["layers"].pop().removeprefix("sha256:"))
    files[digest(data)] = data
    image["layers"].append(f"sha256:{digest(data)}")


def repeat(image: dict[str, Any], files: Files) -> None:
    """Name one layer so often that it would take a GiB."""
    replaced(image, files, member("large", bytes(10 * 2**20)) + bytes(1024))
    image["layers"] += image["layers"][-1:] * 100


def no_layer() -> bytes:
    """Return a tar file that no engine unpacks: a file lies in another file."""
    return member("file", b"x") + member("file/below", b"x") + bytes(1024)


def images(engine: DockerEngine) -> dict[str, list[str]]:
    listed = engine.call("GET", "/images/json", params={"all": "true"})
    return {image["Id"]: sorted(image["RepoTags"] or ()) for image in listed}


def test_a_strangers_file_names_no_image_of_the_engine(
    client: HTTPClient, docker_engine: DockerEngine, exported: bytes, tmp_path: Path
) -> None:
    def change(head: dict[str, Any], image: dict[str, Any], files: Files) -> None:
        head["image"] = IMAGE
        image.update(RepoTags=[IMAGE], repo_tags=[IMAGE], Labels={"of": "a stranger"})
        image["config"].update(Labels={"of": "a stranger"}, Healthcheck={"Test": ["CMD", "/file"]})

    before = images(docker_engine)
    (tmp_path / "file").write_bytes(of_image(exported, change))
    added = client.import_snapshot(tmp_path / "file")
    (new,) = images(docker_engine).keys() - before.keys()
    (name,) = images(docker_engine)[new]
    assert name.startswith("flash-sandbox/snapshot:")
    assert {key: value for key, value in images(docker_engine).items() if key != new} == before
    config = docker_engine.call("GET", f"/images/{new}/json")["Config"]
    assert (list(config["Labels"]), config.get("Healthcheck")) == (["flash-sandbox.snapshot"], None)
    client.remove_snapshot(added.id)
    assert images(docker_engine) == before


def test_a_microvms_is_imported_too(client: HTTPClient, docker_engine: DockerEngine, tmp_path: Path) -> None:
    before = images(docker_engine)
    sandbox = client.start_sandbox("firecracker", IMAGE)
    client.exec_command(sandbox, ["sh", "-c", "echo kept > /file"]).check()
    snapshot = client.snapshot_sandbox(sandbox)
    client.stop_sandbox(sandbox)
    client.export_snapshot(snapshot.id, tmp_path / "file")
    client.remove_snapshot(snapshot.id)
    added = client.import_snapshot(tmp_path / "file")
    copy = client.start_sandbox("firecracker", snapshot_path=added.id)
    assert client.exec_command(copy, ["cat", "/file"]).stdout == "kept\n"
    client.stop_sandbox(copy)
    client.remove_snapshot(added.id)
    assert images(docker_engine) == before


def hostile() -> Iterator[tuple[str, Change, str]]:
    yield (
        "another runtime's",
        lambda head, image, files: head["details"].update(more=""),
        "no docker snapshot",
    )
    yield "no layers", lambda head, image, files: image.update(layers=[]), "cannot be read"
    yield "no list", lambda head, image, files: image.update(layers=1), "cannot be read"
    yield "a name", lambda head, image, files: image["layers"].append("../../etc"), "cannot be read"
    yield "no architecture", lambda head, image, files: image.pop("architecture"), "cannot be read"
    yield "a text", lambda head, image, files: image.update(architecture="x y"), "cannot be read"
    yield "no config", lambda head, image, files: image.update(config=[]), "cannot be read"
    yield "words", lambda head, image, files: image["config"].update(env=[1]), "cannot be read"
    yield "a layer less", lambda head, image, files: image["layers"].pop(), "other layers"
    yield "a file more", lambda head, image, files: files.update({"0" * 64: b"x"}), "other layers"
    yield "a digest", lambda head, image, files: files.update(dict.fromkeys(files, b"x")), "its digest says"
    yield (
        "a compressed layer",
        lambda head, image, files: replaced(image, files, gzip.compress(bytes(10240))),
        "its digest says",
    )
    yield "no tar", lambda head, image, files: replaced(image, files, b"no tar" * 1000), "cannot be read"
    yield (
        "a layer again and again",
        lambda head, image, files: repeat(image, files),
        "repeats layers",
    )
    for version, fields in HOLES.items():
        layer = member("hole", bytes(512), pax_headers={**fields, "GNU.sparse.size": str(GIB)})
        yield (
            f"a hole, {version}",
            lambda head, image, files, layer=layer: replaced(image, files, layer + bytes(1024)),
            "holds more",
        )
    yield (
        "no layer",
        lambda head, image, files: replaced(image, files, no_layer()),
        "does not load",
    )


@pytest.mark.parametrize(("change", "why"), [pytest.param(*rest, id=name) for name, *rest in hostile()])
def test_what_is_no_image_is_refused_and_leaves_nothing(
    client: HTTPClient, docker_engine: DockerEngine, exported: bytes, tmp_path: Path, change: Change, why: str
) -> None:
    before, known = images(docker_engine), client.list_snapshots()
    (tmp_path / "file").write_bytes(of_image(exported, change))
    with pytest.raises(InvalidArgumentError, match=why) as caught:
        client.import_snapshot(tmp_path / "file")
    assert caught.value.reason == "snapshot_refused"
    assert (images(docker_engine), client.list_snapshots()) == (before, known)
