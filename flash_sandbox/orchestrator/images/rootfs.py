"""Where a sandbox's root file system comes from: the host's /usr, a directory, or the image store.

What lies on this host is taken only from below a directory that the operator named, since whoever may
start a sandbox may read all of its image.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ...errors import InvalidArgumentError
from ..archives.supplied import lacking, supply
from ..linux.beneath import is_directory_inside
from ..linux.file_work import HERE, FileWork
from ..linux.tree_walk import remove_tree
from ..linux.user_ids import UserIds
from .host_image import ENVIRONMENT, make_host_image
from .local import is_root, open_path
from .manifests import ImageConfig
from .pulling import Report
from .references import HOST, Kind, Source, not_usable, parse_source
from .store import DEFAULT_MAX_BYTES, DEFAULT_REGISTRIES, ImageStore
from .trees import Lease

__all__ = ["HOST", "Images", "RootFilesystem"]


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """What a sandbox is started from.

    Attributes:
        image: Name of the image, with defaults filled in and, of a registry's, its digest.
        lower: Directory that is shared by all sandboxes of the image and never written to, as a real path.
        is_shared: Whether others than this orchestrator may put something else in its place meanwhile: then
            it is opened by `beneath.open_without_links` alone.
        read_only: Directories of the host that appear in it under the same path, read-only.
        supplied: Names, below /etc, of files that it lacks and is given (see `supplied`).
        digest: Digest of the image; empty where it has none.
        chain: Digest that its unpacked content goes by, for `Images.hold`; empty where it was not unpacked.
        config: How it wants to be run.
        lease: What keeps it where it is, where it may be evicted.
        work: Where its files can be looked at.
    """

    image: str
    lower: Path
    is_shared: bool = field(default=False, kw_only=True)
    read_only: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    digest: str = ""
    chain: str = ""
    config: ImageConfig = field(default_factory=ImageConfig)
    lease: Lease | None = None
    work: FileWork = HERE

    def release(self) -> None:
        """Say that nobody uses it any more. Twice does no more."""
        if self.lease is not None:
            self.lease.release()

    @property
    def identity(self) -> str:
        """What it is, the same for all that are the same."""
        return repr((self.digest, self.chain, str(self.lower), self.config, self.supplied))

    @property
    def working_dir(self) -> str:
        """Directory in which commands start: the image's own, where it is there, else ``/``."""
        path = posixpath.normpath("/" + self.config.working_dir.lstrip("/"))
        for work in (HERE, self.work):
            with suppress(PermissionError):
                return path if work.run(is_directory_inside, self.lower, path) else "/"
        return "/"


class Images:
    """The root file systems that this orchestrator has, made on first use.

    Args:
        directory: Where they are kept.
        roots: Directories below which images of this host are taken.
        registries: Patterns of the registries that images are pulled from; see `ImageStore`.
        max_bytes: What the store may hold besides what is in use.
        user_ids: Whose the files of unpacked images can be; None to find out.
        store: Where the image store is, which several processes may use; None for `directory`.
        report: Told of what goes on.
    """

    def __init__(
        self,
        directory: Path,
        roots: Sequence[Path],
        *,
        store: Path | None = None,
        registries: Sequence[str] = DEFAULT_REGISTRIES,
        max_bytes: int = DEFAULT_MAX_BYTES,
        user_ids: UserIds | None = None,
        report: Report | None = None,
    ) -> None:
        self._directory = directory
        self._user_ids = user_ids or UserIds()
        self._roots = [root.resolve() for root in roots]
        self._store = ImageStore(
            store or directory,
            registries=registries,
            max_bytes=max_bytes,
            user_ids=self._user_ids,
            report=report,
        )
        self._host: RootFilesystem | None = None
        # Runtimes that share it open in threads of their own.
        self._opening = threading.Lock()

    def open(self) -> None:
        """Make ready: remove what was being unpacked when an orchestrator was killed. Twice does no more."""
        with self._opening:
            if self._host is None:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._store.open()
                self._host = self._make_host()

    async def close(self) -> None:
        """Give up what is being pulled."""
        await self._store.close()

    async def resolve(self, image: str) -> RootFilesystem:
        """Return the root file system that an image names, got first where it is not here.

        It stays where it is until its `release` is called.

        Args:
            image: ``host`` or empty; a registry's image; the path of a directory or a tar file on this
                host; or what else `references` lists.

        Raises:
            InvalidArgumentError: If there is no such image, or if it may not be used.
            UnavailableError: If the registry does not answer.
        """
        source = parse_source(image)
        if source.kind is Kind.HOST:
            assert self._host is not None
            return self._host
        path = self._allowed(source) if source.path else None
        if path is not None and source.kind is Kind.PATH:
            root = await asyncio.to_thread(_directory, source, path)
            if root is not None:
                return root
        found = await self._store.acquire(source, path)
        try:
            await asyncio.to_thread(self._supply, found.rootfs)
        except BaseException:
            found.lease.release()
            raise
        return RootFilesystem(
            found.name,
            found.rootfs,
            digest=found.digest,
            chain=found.chain,
            config=found.config,
            lease=found.lease,
            work=self._user_ids.work,
        )

    def _supply(self, rootfs: Path) -> None:
        # Almost always its /etc is root's, and so this user's.
        if not supply(rootfs):
            self._user_ids.work.run(supply, rootfs)

    def hold(self, chain: str) -> Lease | None:
        """Take an unpacked root file system into use again, for a sandbox that outlived an orchestrator.

        Args:
            chain: The `chain` of its `RootFilesystem`.
        """
        return self._store.hold(chain)

    async def layer(self, digest: str, opened: Callable[[], AbstractContextManager[IO[bytes]]]) -> Lease:
        """Return an unpacked layer of a snapshot; see `ImageStore.layer`."""
        return await self._store.layer(digest, opened)

    def remove_layer(self, digest: str) -> bool:
        """Remove an unpacked layer that nobody uses; tell whether it is gone."""
        return self._store.remove_layer(digest)

    def _allowed(self, source: Source) -> Path:
        try:
            path = Path(source.path).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            path = None
        if path is None or not any(path.is_relative_to(root) for root in self._roots):
            # The same words for "is not there", so that nothing is told about the rest of the host.
            allowed = ", ".join(str(root) for root in self._roots)
            raise not_usable(
                source.name, f"it is not in a directory that this orchestrator takes images from ({allowed})"
            )
        return path

    def _make_host(self) -> RootFilesystem:
        lower = self._directory / HOST
        remove_tree(lower)
        shown = make_host_image(lower)
        return RootFilesystem(HOST, lower, shown, config=ImageConfig(env=ENVIRONMENT))


def _directory(source: Source, path: Path) -> RootFilesystem | None:
    """Return the root file system that a directory is; None where it is an image, or a file."""
    try:
        with ExitStack() as stack:
            descriptor = open_path(path)
            stack.callback(os.close, descriptor)
            if not is_root(descriptor):
                return None
            supplied = lacking(Path(f"/proc/self/fd/{descriptor}"))
    except InvalidArgumentError as error:
        raise not_usable(source.name, error.detail) from error
    except OSError as error:
        raise not_usable(source.name, str(error.strerror)) from error
    return RootFilesystem(source.name, path, is_shared=True, supplied=supplied)
