"""A snapshot as one file: a tar file with what it is, its files, and the SHA-256 of all that.

The members, in this order::

    snapshot.json     what it is, with the size and SHA-256 of each file
    files/NAME        each file, by name
    sha256            SHA-256 of all bytes before this member, as 64 hexadecimal digits

A file that comes from elsewhere is read as a stream, in bounded memory, and only exactly this is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import InvalidArgumentError, SandboxError
from ...models import SnapshotRequest, StartRequest
from .manifest import Manifest, inherited, layer_name, open_file, refused

__all__ = ["Head", "Receiver", "header", "packed", "padding"]

_HEAD: Final = "snapshot.json"
_FILES: Final = "files/"
_DIGEST: Final = "sha256"
_FORMAT: Final = 1
_BLOCK: Final = 512
_CHUNK: Final = 256 * 1024
# The variables of a sandbox are a MiB at most, each byte of them six in JSON.
_MAX_HEAD_BYTES: Final = 8 * 1024 * 1024
# As many as an image has layers.
_MAX_FILES: Final = 128
_MAX_FILE_BYTES: Final = 2**60
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)

_Reader = Generator[int, bytes, "Head"]


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of the snapshot in it.

    Attributes:
        runtime: The runtime that made it.
        image: The image that it lies on.
        image_digest: Digest of that image; empty where it has none.
        labels: Its labels.
        start: What a start from it asks for where it says nothing.
        details: What the runtime needs to start from it.
        files: Size in bytes and SHA-256 of each file by its name.
    """

    runtime: str
    image: str
    image_digest: str
    labels: tuple[str, ...]
    start: StartRequest
    details: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]


def packed(snapshot: Manifest) -> Iterator[bytes]:
    """Yield a snapshot as one file. Blocking.

    Raises:
        InvalidArgumentError: It is not what it was when it was made.
    """
    whole = hashlib.sha256()
    for data in _members(snapshot):
        whole.update(data)
        yield data
    digest = whole.hexdigest().encode()
    yield header(_DIGEST, len(digest)) + digest + padding(len(digest)) + bytes(2 * _BLOCK)


def _members(snapshot: Manifest) -> Iterator[bytes]:
    # That of an older version may be one file without a name of its own.
    files = {name or layer_name(0): known for name, known in snapshot.files.items()}
    paths = {name or layer_name(0): snapshot.file(name) for name in snapshot.files}
    head = {
        "format": _FORMAT,
        "runtime": snapshot.runtime,
        "image": snapshot.image,
        "image_digest": snapshot.image_digest,
        "labels": snapshot.labels,
        "start": inherited(snapshot.start),
        "details": dict(snapshot.details),
        "files": files,
    }
    text = json.dumps(head).encode()
    yield header(_HEAD, len(text)) + text + padding(len(text))
    for name, (size, digest) in sorted(files.items()):
        yield header(_FILES + name, size)
        yield from _unchanged(paths[name], size, digest)
        yield padding(size)


def _unchanged(path: Path, size: int, digest: str) -> Iterator[bytes]:
    """Yield the content of a file; raise InvalidArgumentError where it is not what it was."""
    found, left = hashlib.sha256(), size
    with open_file(path) as file:
        while left > 0 and (data := file.read(min(_CHUNK, left))):
            found.update(data)
            left -= len(data)
            yield data
        if left or file.read(1) or found.hexdigest() != digest:
            raise refused(f"snapshot {str(path)!r} was changed after it had been made")


class Receiver:
    """Takes a file piece by piece and writes the files of its snapshot. Blocking.

    Args:
        directory: Where they are written.
        admit: Called with what the file says of the snapshot before any file of it is written.
    """

    def __init__(self, directory: Path, admit: Callable[[Head], object]) -> None:
        self._whole = hashlib.sha256()
        self._reader: _Reader = _reading(directory, self._whole.copy, admit)
        self._waiting = bytearray()
        self._head: Head | None = None
        self._wanted = next(self._reader)

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            InvalidArgumentError: They are no part of a snapshot.
        """
        self._waiting += data
        while self._head is None and len(self._waiting) >= self._wanted:
            piece = bytes(self._waiting[: self._wanted])
            del self._waiting[: self._wanted]
            self._whole.update(piece)
            try:
                self._wanted = self._reader.send(piece)
            except StopIteration as end:
                self._head = end.value
        if self._head is not None and self._waiting:
            raise _damaged("it goes on after its end")

    def finish(self) -> Head:
        """Return what the file says of the snapshot, all of which has come.

        Raises:
            InvalidArgumentError: Something is missing.
        """
        self._reader.close()
        if self._head is None:
            raise _damaged("it ends too early")
        return self._head


def _reading(directory: Path, whole: Callable[[], Any], admit: Callable[[Head], object]) -> _Reader:
    """Read a file, in pieces of the sizes that are yielded; `whole` returns the hash of those that came."""
    size = _size_of((yield _BLOCK), _HEAD)
    if size > _MAX_HEAD_BYTES:
        raise _damaged("its description is too long")
    head = _parsed((yield size))
    yield from _skipping(size)
    admit(head)
    for name, (size, digest) in sorted(head.files.items()):
        if _size_of((yield _BLOCK), _FILES + name) != size:
            raise _damaged(f"{name} has another size")
        yield from _writing(directory / name, size, digest)
        yield from _skipping(size)
    expected = whole().hexdigest().encode()
    size = _size_of((yield _BLOCK), _DIGEST)
    if size != len(expected) or (yield size) != expected:
        raise _damaged("its SHA-256 is another one")
    yield from _skipping(size)
    if any((yield 2 * _BLOCK)):
        raise _damaged("it goes on after its end")
    return head


def _writing(path: Path, size: int, digest: str) -> Generator[int, bytes, None]:
    found, left = hashlib.sha256(), size
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while left:
            data = yield min(left, _CHUNK)
            found.update(data)
            file.write(data)
            left -= len(data)
        file.flush()
        os.fsync(file.fileno())
    if found.hexdigest() != digest:
        raise _damaged(f"the SHA-256 of {path.name} is another one")


def _skipping(size: int) -> Generator[int, bytes, None]:
    if any((yield len(padding(size)))):
        raise _damaged("there is something between its members")


def _parsed(text: bytes) -> Head:
    try:
        fields = json.loads(text)
        if fields.pop("format") != _FORMAT:
            raise _damaged("it is of another version")
        start = fields.pop("start")
        files = {name: (size, digest) for name, (size, digest) in fields.pop("files").items()}
        labels = SnapshotRequest("imported", labels=fields.pop("labels")).labels
        asked = StartRequest(**{name: start[name] for name in inherited(StartRequest())})
        head = Head(**fields, start=asked, labels=labels, files=files)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SandboxError) as error:
        raise _damaged(f"its description cannot be read: {error}") from error
    texts = (head.runtime, head.image, head.image_digest)
    if not all(isinstance(each, str) and len(each) < 4096 and "\0" not in each for each in texts):
        raise _damaged("its description is none")
    if not isinstance(head.details, dict) or not all(isinstance(each, str) for each in head.details.values()):
        raise _damaged("its description is none")
    if not 0 < len(files) <= _MAX_FILES or not all(_is_file(name, *file) for name, file in files.items()):
        raise _damaged("its list of files is none")
    return head


def _is_file(name: str, size: object, digest: object) -> bool:
    is_size = type(size) is int and 0 <= size <= _MAX_FILE_BYTES
    is_digest = isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
    return is_size and is_digest and _NAME.fullmatch(name) is not None


def header(name: str, size: int) -> bytes:
    """Return what comes before a file of a tar file."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


def _size_of(header: bytes, name: str) -> int:
    """Return the size of the file that must come next."""
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise _damaged(f"{name} does not come where it must: {error}") from error
    if member.name != name or member.type != tarfile.REGTYPE or not 0 <= member.size <= _MAX_FILE_BYTES:
        raise _damaged(f"{name} does not come where it must")
    return member.size


def padding(size: int) -> bytes:
    """Return what comes behind a file of this size."""
    return bytes(-size % _BLOCK)


def _damaged(why: str) -> InvalidArgumentError:
    return refused(f"the file is no snapshot that was exported: {why}")
