"""Images that are on this host: OCI layouts, what ``docker save`` writes, tar files of a root file system.

Reading is blocking throughout: for a thread.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from ..sandboxing.bounded_tar import refused
from .manifests import (
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImageConfig,
    Manifest,
    chain_id,
    load_document,
    parse_configuration,
    parse_manifest,
)
from .references import Kind, Reference, Source

__all__ = ["Description", "LocalImage", "describe", "is_layout", "open_local"]

_BLOCK: Final = 1024 * 1024
_MAX_INDEXES: Final = 3
_MAX_MEMBERS: Final = 100_000
_REF_NAME: Final = "org.opencontainers.image.ref.name"
# A tar file with anything else at its top is a root file system.
_OF_AN_ARCHIVE: Final = re.compile(
    r"[0-9a-f]{64}(?:/.*|\.json|\.tar)?|blobs(?:/.*)?|manifest\.json|repositories|oci-layout|index\.json"
)


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of an image before its layers are read.

    Attributes:
        digest: Digest of its manifest or, where it has none, of its configuration or its tar file.
        chain: Digest that its unpacked content goes by.
        config: How it wants to be run.
        layers: Digest of each layer as it is stored (empty where nobody says), the lowest first.
        diff_ids: Digest of each layer uncompressed (empty where nobody says).
        is_plain: Whether it is one tar file, in which no name means a deletion and more compressions will do.
    """

    digest: str
    chain: str
    config: ImageConfig
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    is_plain: bool = False


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image whose layers are open for reading, one after the other.

    Attributes:
        description: What it is.
        files: Its layers.
    """

    description: Description
    files: Sequence[IO[bytes]]


class _Files(Protocol):
    """Files by name, in a directory or in a tar file."""

    def open(self, name: str) -> IO[bytes] | None:
        """Open a file; None where there is none."""


class _Directory:
    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path = path.resolve()
        self._stack = stack

    def open(self, name: str) -> IO[bytes] | None:
        path = (self._path / name).resolve()
        # A link in it must not lead to what the directory was not named for.
        if not path.is_relative_to(self._path) or not path.is_file():
            return None
        return self._stack.enter_context(path.open("rb"))


class _Archive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def open(self, name: str) -> IO[bytes] | None:
        try:
            return self._tar.extractfile(name)
        except KeyError:
            return None


def is_layout(directory: Path) -> bool:
    """Tell whether a directory is an OCI image layout."""
    return (directory / "oci-layout").is_file() and (directory / "index.json").is_file()


def open_local(source: Source, path: Path, stack: ExitStack) -> LocalImage:
    """Open an image on this host.

    Args:
        source: What was asked for.
        path: Where it is.
        stack: Keeps its files open.

    Raises:
        InvalidArgumentError: If it is no image, or not for this host.
    """
    try:
        if path.is_dir():
            return _open_layout(_Directory(path, stack), source.selector)
        file = stack.enter_context(path.open("rb"))
        archive = _as_archive(file, stack)
        if archive is not None:
            return _open_archive(archive, source.selector)
        if source.kind is not Kind.PATH:
            raise refused("it is not what docker save or an OCI tool writes")
        return _open_plain(file)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise refused(str(error)) from error


def describe(digest: str, manifest: Manifest, configuration: bytes) -> Description:
    """Return what a manifest and its configuration say together.

    Raises:
        InvalidArgumentError: If they contradict each other, or are for another platform.
    """
    config, diff_ids = parse_configuration(configuration)
    if len(diff_ids) != len(manifest.layers):
        raise refused(f"it has {len(manifest.layers)} layers, and digests for {len(diff_ids)}")
    layers = tuple(layer.digest for layer in manifest.layers)
    return Description(digest, chain_id(diff_ids), config, layers, diff_ids)


def _as_archive(file: IO[bytes], stack: ExitStack) -> _Archive | None:
    """Return a tar file as a set of files, or None where it is a root file system."""
    try:
        tar = stack.enter_context(tarfile.open(fileobj=file, mode="r:*"))  # noqa: SIM115
        found = False
        for count, info in enumerate(tar):
            name = info.name.removeprefix("./").rstrip("/")
            if not _OF_AN_ARCHIVE.fullmatch(name) or count > _MAX_MEMBERS:
                return None
            found = found or name in ("manifest.json", "index.json")
    except (tarfile.TarError, EOFError):
        # What is wrong with it, unpacking tells.
        return None
    finally:
        file.seek(0)
    return _Archive(tar) if found else None


def _open_archive(files: _Files, selector: str) -> LocalImage:
    document = files.open("manifest.json")
    if document is None:
        return _open_layout(files, selector)
    entries: Any = _load_list(_read(document))
    entry = _choose(entries, [_tags(entry) for entry in entries], selector, _same_reference)
    if not isinstance(entry, dict) or not isinstance(entry.get("Layers"), list):
        raise refused("its manifest.json does not list layers")
    configuration = _read(_require(files, entry.get("Config")))
    config, diff_ids = parse_configuration(configuration)
    layers = [_require(files, name) for name in entry["Layers"]]
    if len(diff_ids) != len(layers):
        raise refused(f"it has {len(layers)} layers, and digests for {len(diff_ids)}")
    description = Description(
        Descriptor.of(configuration).digest, chain_id(diff_ids), config, ("",) * len(layers), diff_ids
    )
    return LocalImage(description, layers)


def _open_layout(files: _Files, selector: str) -> LocalImage:
    index = load_document(_read(_require(files, "index.json")))
    entries = index.get("manifests")
    if not isinstance(entries, list):
        raise refused("its index.json lists no manifests")
    names = [[_annotation(entry)] for entry in entries]
    descriptor = Descriptor.parse(_choose(entries, names, selector, str.__eq__))
    for _ in range(_MAX_INDEXES):
        found = parse_manifest(descriptor.check(_read(_blob(files, descriptor))))
        if isinstance(found, Manifest):
            configuration = found.config.check(_read(_blob(files, found.config)))
            description = describe(descriptor.digest, found, configuration)
            return LocalImage(description, [_blob(files, layer) for layer in found.layers])
        descriptor = found
    raise refused("its indexes lead only to indexes")


def _open_plain(file: IO[bytes]) -> LocalImage:
    hashing = hashlib.sha256()
    while block := file.read(_BLOCK):
        hashing.update(block)
    hashed = hashing.hexdigest()
    file.seek(0)
    # Not the name of what layers with this digest would make: here nothing is a deletion.
    chain = hashlib.sha256(f"tar {hashed}".encode()).hexdigest()
    digest = f"sha256:{hashed}"
    return LocalImage(
        Description(digest, f"sha256:{chain}", ImageConfig(), (digest,), ("",), is_plain=True), [file]
    )


def _choose(entries: Any, names: list[list[str]], selector: str, same: Any) -> Any:
    """Return the one entry that is meant."""
    fitting = [
        entry
        for entry, known in zip(entries, names, strict=True)
        if not selector or any(same(name, selector) for name in known)
    ]
    if len(fitting) != 1:
        offered = ", ".join(sorted(name for known in names for name in known if name)[:20]) or "none by name"
        why = "several images, and none is named" if not selector else f"no {selector!r}"
        raise refused(f"it has {why}; it has {offered}")
    return fitting[0]


def _tags(entry: object) -> list[str]:
    tags = entry.get("RepoTags") if isinstance(entry, dict) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _same_reference(one: str, other: str) -> bool:
    return Reference.parse(one) == Reference.parse(other)


def _annotation(entry: object) -> str:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    name = annotations.get(_REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _blob(files: _Files, descriptor: Descriptor) -> IO[bytes]:
    return _require(files, f"blobs/sha256/{descriptor.hex}")


def _require(files: _Files, name: object) -> IO[bytes]:
    file = files.open(name) if isinstance(name, str) and "\0" not in name else None
    if file is None:
        raise refused(f"it has no file {str(name)[:200]!r}")
    return file


def _read(file: IO[bytes]) -> bytes:
    document = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise refused(f"a document in it is larger than {MAX_DOCUMENT_BYTES} bytes")
    return document


def _load_list(document: bytes) -> list[Any]:
    try:
        entries = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise refused(f"not a JSON document: {error}") from error
    if not isinstance(entries, list):
        raise refused("its manifest.json is not a list")
    return entries
