"""Snapshots in the orchestrator's store, whatever runtime made them.

A snapshot is one file, or one directory of files, beside a manifest that says what it is and what is in it::

    snapshots/
        key                       what authenticates the manifests, 32 random bytes
        4f0c….tar                 the snapshot; its path is what clients name
        4f0c….tar.json            its manifest: runtime, image, sizes, SHA-256 of each file, HMAC of all that

The manifest comes last: a snapshot without one was never completed. Nothing is read from a snapshot
before its manifest has proved to be of this store and its content to be what the manifest says.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final, cast

from ...errors import InvalidArgumentError, Reason, UnavailableError
from ...models import SandboxType, SnapshotInfo, StartRequest
from ..archives import layers
from ..images.references import is_same_image
from ..linux.file_work import HERE, FileWork
from ..linux.id_range import IdRange
from ..linux.tree_walk import remove_tree

__all__ = ["MOST_LAYERS", "Layer", "Manifest", "Snapshot", "Snapshots"]

_LAYER: Final = ".tar"
_DIRECTORY: Final = ".checkpoint"
_MANIFEST: Final = ".json"
_PARTIAL: Final = ".partial"
_MERGING: Final = ".merging.partial"
_KEY: Final = "key"
_KEY_BYTES: Final = 32
_FORMAT: Final = 1
# Each is a layer to overlayfs, which has a page for the names of all.
MOST_LAYERS: Final = 8
"""Layers of a snapshot; the next one merges them."""

_CHUNK: Final = 1024 * 1024
# The variables of a sandbox are a MiB at most, each byte of them six in JSON.
_MAX_MANIFEST_BYTES: Final = 8 * 1024 * 1024
_KEPT: Final = ("memory_mb", "cpu_cores", "pids", "shm_mb", "network", "ttl_seconds", "env", "user")
_NOTHING: Final = StartRequest()

# What this process is writing now, which no opening of a store may take for left behind.
_being_written: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the layers that a snapshot of files is made of, as a tar file.

    Attributes:
        path: The file, never changed.
        size: Its size in bytes.
        digest: Its SHA-256.
    """

    path: Path
    size: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> Layer:
        """Return what a file is that was just written."""
        with _open(path) as file:
            return cls(path, *_measure(file))

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open it.

        Raises:
            InvalidArgumentError: It is not what it was when it was made.
        """
        with _unchanged(self.path, (self.size, self.digest), str(self.path)) as file:
            yield file


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot is.

    Attributes:
        path: Its path, as clients name it.
        runtime: The runtime that made it, and the only one that can start from it.
        image: The image that it lies on.
        image_digest: Digest of that image; empty where it has none.
        created: When it was made, in seconds since the epoch.
        files: Size in bytes and SHA-256 of each file by its name; the name is empty where there is only one.
        details: What the runtime wrote down for itself.
        start: What the start of the sandbox that it was made of asked for, as far as those that are started
            from it have it, too, by the name of the field.
    """

    path: Path
    runtime: str
    image: str
    image_digest: str = ""
    created: float = 0.0
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> StartRequest:
        """What a start from it asks for where it says nothing."""
        return StartRequest(**self.start)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())

    @property
    def layers(self) -> list[Layer]:
        """Its files as layers, the lowest first."""
        return [
            Layer(_file(self.path, name), size, digest) for name, (size, digest) in sorted(self.files.items())
        ]

    def image_for(self, asked: str) -> str:
        """Return the image to start from, which a start may name again but not change."""
        if asked and not is_same_image(self.image, asked):
            raise _refused(f"the snapshot is of image {self.image!r}, not {asked!r}")
        return self.image

    def require_runtime(self, runtime: str) -> None:
        """Raise InvalidArgumentError where another runtime made it."""
        if self.runtime != runtime:
            raise _refused(f"the snapshot was made by the {self.runtime} runtime, not by {runtime}")

    @property
    def info(self) -> SnapshotInfo:
        """What clients are told of it."""
        return SnapshotInfo(
            str(self.path), cast(SandboxType, self.runtime), self.image, self.size, self.created
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that was verified and is open for reading.

    Attributes:
        manifest: What it is.
        descriptors: The files that were verified, open, by name.
    """

    manifest: Manifest
    descriptors: Mapping[str, IO[bytes]]


class Snapshots:
    """The directory that holds snapshots. Only their owner can read anything in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._readers: Counter[Path] = Counter()
        self._removed: set[Path] = set()

    def open(self) -> None:
        """Make ready: remove what was being written when an orchestrator was killed. Twice does no more."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self._make_key()
        for path in self._directory.iterdir():
            if path.name != _KEY and path not in _being_written and self._is_unfinished(path):
                _remove(path)

    def write(
        self,
        layer: Path,
        runtime: str,
        image: str,
        image_digest: str = "",
        *,
        start: StartRequest = _NOTHING,
        below: Sequence[Layer] = (),
        owners: IdRange | None = None,
        work: FileWork = HERE,
        **details: str,
    ) -> Path:
        """Write a layer, at rest, of a sandbox that was started so, as a new snapshot and return its path.

        Args:
            layer: The upper directory.
            runtime: The runtime that makes it.
            image: The image that all lies on.
            image_digest: Digest of that; empty where it has none.
            start: What the start of the sandbox asked for.
            below: Layers between the image and this one, the lowest first: the snapshot shares them.
            owners: The sandbox's users; None where root is the only one.
            work: Where its files can be read.
            **details: What the runtime writes down for itself.

        Raises:
            UnavailableError: If the disk has not got the room.
        """
        if below and len(below) < MOST_LAYERS:
            writing = self.writing(runtime, image, image_digest, start=start, known=below, **details)
            with writing as (directory, path):
                for number, each in enumerate(below):
                    os.link(each.path, directory / _layer_name(number))
                work.run(layers.pack_layer, layer, directory / _layer_name(len(below)), owners)
            return path
        with self._new(_LAYER) as path:
            if below:
                with ExitStack() as stack:
                    files = [stack.enter_context(each.opened()) for each in below]
                    scratch = path.with_name(path.name + _MERGING)
                    work.run(layers.merge_layers, files, layer, path, scratch, owners)
            else:
                work.run(layers.pack_layer, layer, path, owners)
            manifest = Manifest(path, runtime, image, image_digest, time.time(), details=details)
            self._complete(replace(manifest, start=_kept_of(start)))
        return path

    @contextmanager
    def writing(
        self,
        runtime: str,
        image: str,
        image_digest: str = "",
        *,
        start: StartRequest = _NOTHING,
        known: Sequence[Layer] = (),
        **details: str,
    ) -> Iterator[tuple[Path, Path]]:
        """Make a new snapshot of several files in the block, which is given two directories.

        The first is where the files go, the second the path of the snapshot once the block is left. Where
        the block raises, nothing of it remains. The first files by name may be `known`: they are not read.
        """
        with self._new(_DIRECTORY) as path:
            partial = path.with_name(path.name + _PARTIAL)
            try:
                partial.mkdir(mode=0o700)
                yield partial, path
                for file in partial.iterdir():
                    file.chmod(0o600)
                partial.rename(path)
                manifest = Manifest(path, runtime, image, image_digest, time.time(), details=details)
                self._complete(replace(manifest, start=_kept_of(start)), known)
            finally:
                _remove(partial)

    @contextmanager
    def reading(self, path: str) -> Iterator[Snapshot | None]:
        """Verify and open the snapshot at a path that a client named; None for no path.

        Raises:
            InvalidArgumentError: If it is not one of this store's, or not what it was when it was made.
        """
        if not path:
            yield None
            return
        with ExitStack() as stack:
            stack.enter_context(self._kept(self._place(path)))
            manifest = self._manifest(path)
            present = _names(manifest.path)
            if present != set(manifest.files):
                raise _refused(f"snapshot {path!r} has not the files that its manifest lists")
            files = {
                name: stack.enter_context(_unchanged(_file(manifest.path, name), expected, path))
                for name, expected in manifest.files.items()
            }
            yield Snapshot(manifest, files)

    @asynccontextmanager
    async def using(self, path: str) -> AsyncIterator[Manifest | None]:
        """Keep the snapshot at a path that a client named for the length of the block; None for no path.

        Its files are read, and verified, by whoever opens its `layers`.

        Raises:
            InvalidArgumentError: If it is not one of this store's.
        """
        if not path:
            yield None
            return
        with self._kept(self._place(path)):
            yield await asyncio.to_thread(self._manifest, path)

    @asynccontextmanager
    async def verified(self, path: str) -> AsyncIterator[Snapshot | None]:
        """Do what `reading` does without holding up the event loop while the files are read."""
        with ExitStack() as stack:
            yield await asyncio.to_thread(stack.enter_context, self.reading(path))

    def origin(self, path: str) -> StartRequest:
        """Return what a start from the snapshot at a path asks for where it says nothing.

        Raises:
            InvalidArgumentError: If it is not one of this store's.
        """
        return self._manifest(path).request

    def list(self, runtime: str | None = None) -> list[Manifest]:
        """Return what a runtime, or any, has made, the oldest first; what is not authentic is left out."""
        found = []
        for path in self._directory.glob(f"*{_MANIFEST}"):
            with suppress(InvalidArgumentError):
                found.append(self._manifest(str(path.with_name(path.name.removesuffix(_MANIFEST)))))
        made = (manifest for manifest in found if runtime in (None, manifest.runtime))
        return sorted(made, key=lambda manifest: manifest.created)

    def has_layer(self, digest: str) -> bool:
        """Tell whether a layer with this SHA-256 belongs to any snapshot."""
        return any(digest == layer.digest for manifest in self.list() for layer in manifest.layers)

    def unreadable(self) -> dict[str, str]:
        """Return by path what is wrong with manifests that cannot be read; they and their snapshots stay."""
        found = {}
        for path in self._directory.glob(f"*{_MANIFEST}"):
            try:
                self._manifest(str(path.with_name(path.name.removesuffix(_MANIFEST))))
            except InvalidArgumentError as error:
                found[str(path)] = error.detail
        return found

    def remove(self, path: str, runtime: str) -> Manifest | None:
        """Remove a snapshot and return what it was; None where the runtime has made no such snapshot.

        What was started from it goes on, and so does what is being started from it.
        """
        try:
            manifest = self._manifest(path)
            if manifest.runtime != runtime:
                return None
            # In the order in which it came: without its manifest it is nothing.
            manifest.path.with_name(manifest.path.name + _MANIFEST).unlink()
        except (InvalidArgumentError, FileNotFoundError):
            return None
        with self._lock:
            self._removed.add(manifest.path)
        self._remove_unread(manifest.path)
        return manifest

    @contextmanager
    def _kept(self, path: Path) -> Iterator[None]:
        """Keep what is at `path` in place for the length of the block, also where it is removed meanwhile."""
        with self._lock:
            self._readers[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers[path] -= 1
            self._remove_unread(path)

    def _remove_unread(self, path: Path) -> None:
        with self._lock:
            if self._readers[path] or path not in self._removed:
                return
            self._removed.discard(path)
            del self._readers[path]
        _remove(path)

    @contextmanager
    def _new(self, suffix: str) -> Iterator[Path]:
        path = self._directory / f"{secrets.token_hex(16)}{suffix}"
        mine = {path, *(path.with_name(path.name + suffix) for suffix in (_PARTIAL, _MERGING))}
        _being_written.update(mine)
        try:
            yield path
        except BaseException:
            _remove(path)
            raise
        finally:
            _being_written.difference_update(mine)

    def _complete(self, manifest: Manifest, known: Sequence[Layer] = ()) -> None:
        """Write the manifest of what is in place, after which it is a snapshot."""
        files = {_layer_name(number): (each.size, each.digest) for number, each in enumerate(known)}
        for name in _names(manifest.path) - files.keys():
            with _open(_file(manifest.path, name)) as file:
                os.fsync(file.fileno())
                files[name] = _measure(file)
        fields = {
            "format": _FORMAT,
            "name": manifest.path.name,
            "runtime": manifest.runtime,
            "image": manifest.image,
            "image_digest": manifest.image_digest,
            "created": manifest.created,
            "files": files,
            "details": dict(manifest.details),
            "start": dict(manifest.start),
        }
        target = manifest.path.with_name(manifest.path.name + _MANIFEST)
        _write_private(target, json.dumps(fields | {"hmac": self._authenticate(fields)}, indent=1).encode())

    def _manifest(self, path: str) -> Manifest:
        place = self._place(path)
        try:
            with _open(place.with_name(place.name + _MANIFEST)) as file:
                fields: dict[str, Any] = json.loads(file.read(_MAX_MANIFEST_BYTES))
            claimed = str(fields.pop("hmac"))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _refused(f"the manifest of snapshot {path!r} cannot be read") from error
        authentic = hmac.compare_digest(claimed.encode(), self._authenticate(fields).encode())
        # The name is authenticated, too: one snapshot's manifest is no other's.
        if authentic and fields["format"] != _FORMAT:
            raise _refused(
                f"snapshot {path!r} has the format {fields['format']!r} of another version; this one "
                f"knows {_FORMAT}"
            )
        if not authentic or fields["name"] != place.name:
            raise _refused(f"snapshot {path!r} is not one that this orchestrator made")
        return Manifest(
            path=place,
            runtime=fields["runtime"],
            image=fields["image"],
            image_digest=fields["image_digest"],
            created=fields["created"],
            files={name: (size, digest) for name, (size, digest) in fields["files"].items()},
            details=fields["details"],
            # Older manifests have none.
            start=fields.get("start", {}),
        )

    def _place(self, path: str) -> Path:
        name = os.path.basename(path)
        # The name alone decides, so that neither ".." nor a link can lead anywhere else.
        if path != str(self._directory / name) or not name.endswith((_LAYER, _DIRECTORY)) or "\0" in name:
            raise _refused(f"{path!r} is not a snapshot in this orchestrator's store")
        return self._directory / name

    def _authenticate(self, fields: Mapping[str, Any]) -> str:
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hmac.new((self._directory / _KEY).read_bytes(), text.encode(), hashlib.sha256).hexdigest()

    def _make_key(self) -> None:
        path = self._directory / _KEY
        if not path.exists():
            _write_private(path, secrets.token_bytes(_KEY_BYTES))

    def _is_unfinished(self, path: Path) -> bool:
        if path.name.endswith((_LAYER, _DIRECTORY)):
            return not os.path.lexists(path.with_name(path.name + _MANIFEST))
        if path.name.endswith(_MANIFEST):
            described = path.with_name(path.name.removesuffix(_MANIFEST))
            return not os.path.lexists(described) and str(path) not in self.unreadable()
        return path.name.endswith(_PARTIAL)


def _kept_of(start: StartRequest) -> dict[str, Any]:
    return {name: getattr(start, name) for name in _KEPT}


def _names(path: Path) -> set[str]:
    """Return the names of a snapshot's files; the empty one where it is a file itself."""
    if path.is_dir() and not path.is_symlink():
        return set(os.listdir(path))
    return {""}


def _layer_name(number: int) -> str:
    return f"{number:02}"


def _file(path: Path, name: str) -> Path:
    return path / name if name else path


def _open(path: Path) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"snapshot {str(path)!r}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refused(f"snapshot {str(path)!r} is not a file")
    return os.fdopen(descriptor, "rb")


@contextmanager
def _unchanged(path: Path, expected: tuple[int, str], snapshot: str) -> Iterator[IO[bytes]]:
    """Open a file; raise InvalidArgumentError where its size and SHA-256 are not as expected."""
    with _open(path) as file:
        if _measure(file) != expected:
            raise _refused(f"snapshot {snapshot!r} was changed after it had been made")
        yield file


def _measure(file: IO[bytes]) -> tuple[int, str]:
    """Return size and SHA-256 of a file, leaving it at its start."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    return size, digest.hexdigest()


def _write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 that appears under its name only when it is whole and on the disk."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    _being_written.add(partial)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise UnavailableError(f"cannot write {path.name}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
        _being_written.discard(partial)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def _refused(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.SNAPSHOT_REFUSED)
