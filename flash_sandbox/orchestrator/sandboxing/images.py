"""Where a sandbox's root file system comes from: the host's /usr, a directory or a tar file.

A directory or a tar file is taken only from below a directory that the operator named, since whoever may
start a sandbox may read all of its image.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import InvalidArgumentError, Reason
from ..images.streams import unpack_stream
from . import archive
from .extraction import Bounds, Extraction

__all__ = ["HOST", "Images", "RootFilesystem"]

HOST: Final = "host"
"""Name of the image that is the host's own /usr, read-only, with an /etc of its own."""

_SYSTEM_DIRECTORIES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EMPTY_DIRECTORIES: Final = (
    "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var",
    "var/cache", "var/lib", "var/log", "var/tmp",
)  # fmt: skip
_PRIVATE: Final = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_ETC: Final = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
}
# What programs of /usr look up there and what tells nothing about the host but its packages.
_COPIED_FROM_ETC: Final = (
    "alternatives",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "os-release",
    "debian_version",
)

_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """What a sandbox is started from.

    Attributes:
        image: Name of the image, with defaults filled in.
        lower: Directory that is shared by all sandboxes of the image and never written to.
        read_only: Directories of the host that appear in it under the same path, read-only.
    """

    image: str
    lower: Path
    read_only: tuple[str, ...] = ()


class Images:
    """The root file systems that this orchestrator has, made on first use."""

    def __init__(self, directory: Path, roots: Sequence[Path]) -> None:
        self._directory = directory
        self._roots = [root.resolve() for root in roots]
        self._unpacking: dict[str, asyncio.Task[Path]] = {}
        self._host: RootFilesystem | None = None

    def open(self) -> None:
        """Make ready: remove what was being unpacked when an orchestrator was killed."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for partial in self._directory.glob("*.partial"):
            archive.remove_tree(partial)
        self._host = self._make_host()

    async def resolve(self, image: str) -> RootFilesystem:
        """Return the root file system that an image names.

        Args:
            image: ``host`` or empty, or the path of a directory or a tar file on this host.

        Raises:
            InvalidArgumentError: If there is no such image, or if it may not be used.
        """
        if image in ("", HOST):
            assert self._host is not None
            return self._host
        if not image.startswith("/"):
            raise _not_found(
                f"image {image!r}: bubblewrap starts from 'host', or from the absolute path of a directory "
                "or a tar file on the orchestrator's host"
            )
        path = self._allowed(image)
        if path.is_dir():
            return RootFilesystem(image, path)
        return RootFilesystem(image, await self._unpacked(path))

    def _allowed(self, image: str) -> Path:
        try:
            path = Path(image).resolve(strict=True)
        except (OSError, RuntimeError):
            path = None
        allowed = ", ".join(str(root) for root in self._roots)
        if path is None or not any(path.is_relative_to(root) for root in self._roots):
            # The same words for "is not there", so that nothing is told about the rest of the host.
            raise _not_found(
                f"image {image!r} is not in a directory that this orchestrator takes images from ({allowed})"
            )
        return path

    async def _unpacked(self, path: Path) -> Path:
        """Return the directory of a tar file's content; starts at the same time share one unpacking."""
        try:
            status = path.stat()
        except OSError as error:
            raise _not_found(f"image {str(path)!r}: {error.strerror}") from error
        identity = f"{path}\0{status.st_dev}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"
        key = hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]
        target = self._directory / f"tar-{key}"
        if target.is_dir():
            return target
        task = self._unpacking.get(key)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(_unpack, path, target))
            self._unpacking[key] = task
            task.add_done_callback(lambda _: self._unpacking.pop(key, None))
        # A start that is given up does not stop the others.
        return await asyncio.shield(task)

    def _make_host(self) -> RootFilesystem:
        lower = self._directory / HOST
        archive.remove_tree(lower)
        lower.mkdir(mode=0o755)
        for name in _EMPTY_DIRECTORIES:
            (lower / name).mkdir()
            (lower / name).chmod(_PRIVATE.get(name, 0o755))
        read_only = ["/usr"]
        for name in _SYSTEM_DIRECTORIES:
            original = Path("/") / name
            if original.is_symlink():
                (lower / name).symlink_to(os.readlink(original))
            elif original.is_dir():
                (lower / name).mkdir()
                read_only.append(str(original))
        for name, text in _ETC.items():
            (lower / "etc" / name).write_text(text)
        for name in _COPIED_FROM_ETC:
            _copy(Path("/etc") / name, lower / "etc" / name)
        return RootFilesystem(HOST, lower, tuple(read_only))


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.exists():
        shutil.copy(source, target)


def _unpack(path: Path, target: Path) -> Path:
    partial = target.with_name(target.name + ".partial")
    archive.remove_tree(partial)
    partial.mkdir(mode=0o755)
    try:
        with path.open("rb") as file:
            extraction = Extraction(partial, bounds=_BOUNDS)
            unpack_stream(extraction, file, _BOUNDS, any_compression=True)
            extraction.finish()
        partial.rename(target)
    except OSError as error:
        archive.remove_tree(partial)
        raise _not_found(f"image {str(path)!r}: {error.strerror}") from error
    except BaseException:
        archive.remove_tree(partial)
        raise
    return target


def _not_found(detail: str) -> InvalidArgumentError:
    return InvalidArgumentError(detail, reason=Reason.IMAGE_NOT_FOUND)
