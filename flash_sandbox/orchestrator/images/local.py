"""Images that are on this host: OCI layouts, what ``docker save`` writes, tar files of a root file system.

Reading is blocking throughout: for a thread.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

from ...errors import InvalidArgumentError
from ..archives.bounded_tar import Bounds, Readable, refused, refusing
from ..archives.bounded_tar import entries as tar_entries
from ..linux.beneath import open_beneath, open_without_links
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
from .streams import bounded, is_compressed

__all__ = [
    "Description",
    "LocalImage",
    "describe",
    "identity",
    "is_root",
    "open_local",
    "open_path",
    "require_mount_points",
    "require_root",
]

_BLOCK: Final = 1024 * 1024
_MAX_INDEXES: Final = 3
_MAX_MEMBERS: Final = 100_000
_REF_NAME: Final = "org.opencontainers.image.ref.name"
# A tar file with anything else at its top is a root file system.
_OF_AN_ARCHIVE: Final = re.compile(
    r"(?:[0-9a-f]{64}(?:/.*|\.json|\.tar)?|blobs(?:/.*)?|manifest\.json|repositories|oci-layout|index\.json)?"
)
# fmt: off
_OF_A_ROOT: Final = frozenset({
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "nix", "opt",
    "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
})
# fmt: on
_MOUNT_POINTS: Final = ("dev", "proc", "sys")
_INDEX: Final = "index.json"
_MANIFEST: Final = "manifest.json"
_NAMED_AT_MOST: Final = 20
_HEAD_BYTES: Final = 16
# Whatever it is, opening it does not wait.
_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


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
    def __init__(self, descriptor: int, stack: ExitStack) -> None:
        self._descriptor = descriptor
        self._stack = stack

    def open(self, name: str) -> IO[bytes] | None:
        try:
            # A link in it must not lead to what the directory was not named for.
            descriptor = open_beneath(self._descriptor, name, _READING)
        except OSError:
            return None
        file = self._stack.enter_context(os.fdopen(descriptor, "rb"))
        return file if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


class _Archive:
    """What lies in an uncompressed tar file.

    Args:
        file: The tar file.
        places: Where the content of each file begins in it, and its size, by name.
    """

    def __init__(self, file: IO[bytes], places: Mapping[str, tuple[int, int]]) -> None:
        self._file = file
        self._places = places

    def open(self, name: str) -> IO[bytes] | None:
        place = self._places.get(_normal(name))
        return None if place is None else cast(IO[bytes], _Part(self._file, *place))


class _Part:
    """A part of a file, read from its beginning on."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file = file
        self._position = start
        self._end = start + size

    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._position
        data = os.pread(self._file.fileno(), left if size < 0 else min(size, left), self._position)
        self._position += len(data)
        return data


class _Copied:
    """Passes a stream on, and writes what has been read to a file, too."""

    def __init__(self, source: Readable, target: IO[bytes]) -> None:
        self._source = source
        self._target = target

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._target.write(data)
        return data


def identity(path: Path) -> str:
    """Return what tells an image on this host from what it becomes when it is changed.

    Args:
        path: Its real path.

    Raises:
        OSError: If there is none.
    """
    with ExitStack() as stack:
        descriptor = _opened(stack, open_without_links(path, os.O_PATH))
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            # Where there is none, opening it says so.
            with suppress(OSError):
                descriptor = _opened(stack, open_beneath(descriptor, _INDEX, os.O_PATH))
        status = os.fstat(descriptor)
    times = f"{status.st_mtime_ns}:{status.st_ctime_ns}"
    return f"{path}:{status.st_dev}:{status.st_ino}:{status.st_size}:{times}"


def is_root(descriptor: int) -> bool:
    """Tell whether what is open is a directory that becomes a root file system as it is.

    Raises:
        InvalidArgumentError: If it is a directory with neither that nor an image.
        OSError: If it cannot be read.
    """
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode) or _is_layout(descriptor):
        return False
    require_root(descriptor)
    require_mount_points(descriptor)
    return True


def require_mount_points(directory: int) -> None:
    """Refuse a root file system with a link, or a file, where a file system is to be mounted."""
    for name in _MOUNT_POINTS:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                # What mounts there would follow the link while the host is still in view.
                raise refused(f"its /{name} is not a directory")


def require_root(directory: int) -> None:
    """Refuse a directory in which there is something, but no root file system.

    Raises:
        InvalidArgumentError: It says what was found.
    """
    found: list[str] = []
    programs: list[str] = []
    of_an_image: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in _OF_A_ROOT:
                return
            if len(found) < _NAMED_AT_MOST:
                found.append(entry.name)
            if _OF_AN_ARCHIVE.fullmatch(entry.name):
                of_an_image.append(entry.name)
            elif entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mode & 0o111:
                programs.append(entry.name)
    if found and (of_an_image or not programs):
        names = ", ".join(repr(name[:_NAMED_AT_MOST]) for name in sorted(found))
        raise refused(f"it is neither an image nor a root file system: it holds {names}")


def open_local(
    source: Source, descriptor: int, stack: ExitStack, bounds: Bounds, directory: Path
) -> LocalImage:
    """Open an image on this host.

    Args:
        source: What was asked for.
        descriptor: The directory or file where it is, open for reading as long as the stack.
        stack: Keeps its files open.
        bounds: What it may take.
        directory: Where the content of a compressed archive is kept meanwhile.

    Raises:
        InvalidArgumentError: If it is no image, or not for this host.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        return _open_layout(_Directory(descriptor, stack), source.selector)
    if not stat.S_ISREG(mode):
        raise refused("it is neither a directory nor a file")
    file = stack.enter_context(os.fdopen(os.dup(descriptor), "rb"))
    with refusing():
        archive = _as_archive(file, stack, bounds, directory)
        if archive is not None:
            return _open_archive(archive, source.selector)
        if source.kind is not Kind.PATH:
            raise refused("it is not what docker save or an OCI tool writes")
        return _open_plain(file)


def open_path(path: Path) -> int:
    """Open the directory or file at a real path for `open_local`."""
    return open_without_links(path, _READING)


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


def _as_archive(file: IO[bytes], stack: ExitStack, bounds: Bounds, directory: Path) -> _Archive | None:
    """Return a tar file as a set of files, or None where it is a root file system."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    stream, kept = bounded(file, bounds), file
    if is_compressed(head):
        # Without a name, so that nothing of it is left whatever happens.
        kept = stack.enter_context(tempfile.TemporaryFile(dir=directory))  # noqa: SIM115
        stream = _Copied(stream, kept)
    places: dict[str, tuple[int, int]] = {}
    try:
        for count, (_, info) in enumerate(tar_entries(stream)):
            name = _normal(info.name)
            if not _OF_AN_ARCHIVE.fullmatch(name) or count > _MAX_MEMBERS:
                return None
            if info.isreg() and not info.issparse():
                places[name] = (info.offset_data, info.size)
    except InvalidArgumentError:
        # What is wrong with it, unpacking tells.
        return None
    finally:
        file.seek(0)
    kept.flush()
    return _Archive(kept, places) if {_MANIFEST, _INDEX} & places.keys() else None


def _open_archive(files: _Files, selector: str) -> LocalImage:
    document = files.open(_MANIFEST)
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
    index = load_document(_read(_require(files, _INDEX)))
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


def _normal(name: str) -> str:
    """Return a name as all tools write it, which begin with ``./`` or not; empty for the top itself."""
    name = posixpath.normpath(name)
    return "" if name == "." else name


def _is_layout(directory: int) -> bool:
    names = os.listdir(directory)
    return "oci-layout" in names and _INDEX in names


def _opened(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


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
