"""Images for tests: OCI layouts and docker-save archives of layers that a test writes down."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = tuple[tarfile.TarInfo, bytes]
Layer = Sequence[Entry]

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def entry(
    name: str,
    kind: bytes = tarfile.REGTYPE,
    content: bytes = b"",
    link: str = "",
    mode: int = 0o644,
    **pax: str,
) -> Entry:
    """Return one entry of a tar file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(content)
    info.pax_headers = pax
    return info, content


def directory(name: str, mode: int = 0o755) -> Entry:
    return entry(name, tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, link=target)


def tar_bytes(layer: Layer) -> bytes:
    """Return a tar file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in layer:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def busybox() -> Path | None:
    """Return a statically linked busybox, which alone is a small system; None where there is none."""
    found = shutil.which("busybox")
    if found is None:
        return None
    # A program with an interpreter is not static: the ELF program header PT_INTERP names it.
    return None if b"/ld-linux" in Path(found).read_bytes() else Path(found)


def busybox_layer() -> list[Entry]:
    """Return a root file system in which a shell and the usual programs run."""
    program = busybox()
    assert program is not None
    names = ("sh", "cat", "echo", "env", "ls", "pwd", "sleep", "stat", "tail", "test", "touch", "rm", "wc")
    return [
        *(directory(name) for name in ("bin", "etc", "root", "work")),
        entry("bin/busybox", content=program.read_bytes(), mode=0o755),
        *(link(f"bin/{name}", "busybox") for name in names),
    ]


@dataclass
class Blobs:
    """The blobs of a layout, and how documents point to them."""

    path: Path
    sizes: dict[str, int] = field(default_factory=dict)

    def put(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = sha256(data)
        directory = self.path / "blobs" / "sha256"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / digest.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def put_json(self, value: object, media_type: str, **more: Any) -> dict[str, Any]:
        return self.put(json.dumps(value).encode(), media_type, **more)


def put_image(
    blobs: Blobs,
    layers: Sequence[Layer],
    config: dict[str, Any] | None = None,
    *,
    architecture: str = ARCHITECTURE,
    diff_ids: Sequence[str] | None = None,
    compress: Callable[[bytes], bytes] = lambda tar: gzip.compress(tar, 1, mtime=0),
) -> dict[str, Any]:
    """Write one image and return the descriptor of its manifest."""
    tars = [tar_bytes(layer) for layer in layers]
    configuration = {
        "architecture": architecture,
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids or [sha256(tar) for tar in tars]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blobs.put_json(configuration, OCI_CONFIG),
        "layers": [blobs.put(compress(tar), OCI_LAYER) for tar in tars],
    }
    described = {"os": "linux", "architecture": architecture}
    return blobs.put_json(manifest, OCI_MANIFEST, platform=described)


def write_layout(path: Path, **images: dict[str, Any]) -> Path:
    """Write what makes a directory with blobs an OCI layout; images are descriptors by tag."""
    name = "org.opencontainers.image.ref.name"
    manifests = [{**descriptor, "annotations": {name: tag}} for tag, descriptor in images.items()]
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (path / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
    )
    return path


def layout(path: Path, layers: Sequence[Layer], config: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write an OCI layout with one image, tagged ``latest``."""
    return write_layout(path, latest=put_image(Blobs(path), layers, config, **options))


def docker_archive(path: Path, layers: Sequence[Layer], config: dict[str, Any] | None = None) -> Path:
    """Write what ``docker save`` does, with the one tag ``test:latest``."""
    tars = [tar_bytes(layer) for layer in layers]
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
        }
    ).encode()
    names = [f"{hashlib.sha256(tar).hexdigest()}/layer.tar" for tar in tars]
    config_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": ["test:latest"], "Layers": names}]).encode()
    files = [*zip(names, tars, strict=True), (config_name, configuration), ("manifest.json", manifest)]
    path.write_bytes(tar_bytes([entry(name, content=content) for name, content in files]))
    return path
