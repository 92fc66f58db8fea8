"""Snapshots of containers as files: the layers of an image and our own description of it.

What the engine saves is spooled to the disk, and its layers are found by the digests that the engine tells.
What the engine loads is an archive of our own: the layers, checked before, and a configuration with no more
than what a sandbox needs. A stranger's file names no image.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from ....errors import InternalServerError, InvalidArgumentError, SandboxError
from ...archives.bounded_tar import Bounds, Readable, entries, refusing
from ...images.manifests import ImageConfig
from ...images.references import is_digest
from ...images.streams import bounded, is_compressed
from ...snapshots.manifest import Manifest, open_file, refused
from ...snapshots.transfer import header, padding

__all__ = ["ImageDescription", "archive", "unpack_layers"]

_CHUNK: Final = 1024 * 1024
_BLOCK: Final = 512
_HEAD_BYTES: Final = 16
# Images repeat layers without content; the engine unpacks each of them.
_REPEATED_BYTES: Final = 16 * 1024 * 1024
_ANY_SIZE: Final = Bounds(total_bytes=2**60)
_ARCHITECTURE: Final = re.compile(r"[a-z0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """What a snapshot's file says of its image.

    Attributes:
        architecture: The machine it is for, in the words of OCI.
        layers: SHA-256 of each layer, uncompressed, the lowest first.
        config: How it wants to be run.
    """

    architecture: str
    layers: tuple[str, ...]
    config: ImageConfig

    @classmethod
    def inspected(cls, image: Mapping[str, Any], config: ImageConfig) -> Self:
        """Return what the engine says of an image."""
        return cls(str(image["Architecture"]), tuple(image["RootFS"]["Layers"]), config)

    def as_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a stranger's description.

        Raises:
            InvalidArgumentError: It is none.
        """
        try:
            fields = json.loads(text)
            config = ImageConfig.from_json(fields["config"])
            made = cls(fields["architecture"], tuple(fields["layers"]), config)
            if not _ARCHITECTURE.fullmatch(made.architecture):
                raise ValueError("its architecture is none")
            if not made.layers or not all(map(is_digest, made.layers)):
                raise ValueError("its layers are none")
        except (ValueError, TypeError, LookupError, RecursionError, SandboxError) as error:
            raise refused(f"the description of its image cannot be read: {error}") from error
        return made

    @property
    def files(self) -> set[str]:
        """Names of the files of its layers, which are their digests."""
        return {_file_name(layer) for layer in self.layers}

    def require_files(self, snapshot: Manifest) -> None:
        """Raise InvalidArgumentError unless the files are these layers, none of which expands.

        The engine would unpack what expands until its disk is full: a compressed layer, of which it learns
        the digest only then, a sparse file, and a layer that is named again and again.
        """
        if snapshot.files.keys() != self.files:
            raise refused("the file has other layers than its image")
        sizes = {name: size for name, (size, _) in snapshot.files.items()}
        repeated = sum(sizes[_file_name(layer)] for layer in self.layers) - sum(sizes.values())
        if repeated > _REPEATED_BYTES:
            raise refused("its image repeats layers that are large")
        for name, (size, digest) in snapshot.files.items():
            with open_file(snapshot.file(name)) as file:
                if name != digest or is_compressed(file.read(_HEAD_BYTES)):
                    raise refused(f"layer {name} is not what its digest says")
                file.seek(0)
                if _unpacked_size(file) > size:
                    raise refused(f"layer {name} holds more than it is long")


def unpack_layers(saved: IO[bytes], layers: Collection[str], directory: Path) -> None:
    """Write the layers in what `docker save` wrote into a directory, uncompressed, each under its digest.

    The engine keeps some of them compressed, and the places of layers in an archive depend on its version.
    Blocking.

    Raises:
        InternalServerError: A layer is missing.
    """
    wanted = set(layers)
    saved.seek(0)
    for number, (tar, member) in enumerate(entries(saved)):
        if not member.isreg():
            continue
        partial = directory / f"member-{number}"
        digest = _write(cast(IO[bytes], tar.extractfile(member)), partial)
        # What a layer begins with is up to the sandbox: one that seems to be compressed may be none.
        if digest not in layers:
            digest = _decompress(partial)
        if digest in wanted:
            partial.rename(directory / _file_name(digest))
            wanted.remove(digest)
        else:
            partial.unlink()
    if wanted:
        raise InternalServerError(f"Docker Engine saved the image without layer {min(wanted)}")


def _decompress(path: Path) -> str:
    """Decompress a file in its place, and return its digest; nothing where it is not compressed."""
    plain = path.with_suffix(".plain")
    try:
        with path.open("rb") as file, refusing():
            if not is_compressed(file.read(_HEAD_BYTES)):
                return ""
            file.seek(0)
            digest = _write(bounded(file, _ANY_SIZE), plain)
    except InvalidArgumentError:
        plain.unlink(missing_ok=True)
        return ""
    plain.rename(path)
    return digest


def _write(content: Readable, path: Path) -> str:
    found = hashlib.sha256()
    with path.open("xb") as file:
        while data := content.read(_CHUNK):
            found.update(data)
            file.write(data)
    return f"sha256:{found.hexdigest()}"


def _unpacked_size(layer: IO[bytes]) -> int:
    """Return the size of all files of a layer, with the holes of sparse ones."""
    try:
        return sum(member.size for _, member in entries(layer) if member.isreg())
    except InvalidArgumentError as error:
        raise refused(f"a layer cannot be read: {error.detail}") from error


def _file_name(layer: str) -> str:
    return layer.removeprefix("sha256:")


def archive(
    snapshot: Manifest, image: ImageDescription, name: str, label: str, owner: str
) -> Iterator[bytes]:
    """Yield an archive for the engine to load, in which one image has one name. Blocking.

    Args:
        snapshot: Has the layers as files.
        image: What the image is.
        name: The image's only name.
        label: Name of its only label.
        owner: Value of that.
    """
    configuration = {
        "architecture": image.architecture,
        "os": "linux",
        "config": {
            "Env": list(image.config.env),
            "Entrypoint": list(image.config.entrypoint) or None,
            "Cmd": list(image.config.cmd) or None,
            "WorkingDir": image.config.working_dir,
            "User": image.config.user,
            "Labels": {label: owner},
        },
        "rootfs": {"type": "layers", "diff_ids": list(image.layers)},
    }
    text = json.dumps(configuration).encode()
    config_name = f"{hashlib.sha256(text).hexdigest()}.json"
    paths = [f"{_file_name(layer)}.tar" for layer in image.layers]
    entry = {"Config": config_name, "RepoTags": [name], "Layers": paths}
    for file_name in sorted(image.files):
        size, _ = snapshot.files[file_name]
        with open_file(snapshot.file(file_name)) as file:
            yield header(f"{file_name}.tar", size)
            yield from iter(lambda: file.read(_CHUNK), b"")
            yield padding(size)
    for member, content in ((config_name, text), ("manifest.json", json.dumps([entry]).encode())):
        yield header(member, len(content)) + content + padding(len(content))
    yield bytes(2 * _BLOCK)
