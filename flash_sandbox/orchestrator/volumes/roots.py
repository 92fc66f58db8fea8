"""The volumes that sandboxes may have: named ones, and directories of this host that the operator allows.

Each is opened once, and what was opened is mounted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from ...models.volumes import Volume, is_name, mounted
from ..linux.beneath import open_beneath
from ..linux.id_range import IDS
from .named import NamedVolumes

__all__ = ["NO_VOLUMES", "OpenVolume", "VolumeRoots"]

_READ_ONLY: Final = ":ro"
_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_EVERYWHERE: Final = Path("/")


@dataclass(frozen=True, slots=True)
class OpenVolume:
    """A directory that is open for a sandbox.

    Attributes:
        descriptor: Descriptor of the directory: what is mounted, whatever its name means by then.
        target: Where it is mounted in the sandbox.
        read_only: Whether the sandbox may only read it.
        is_named: Whether it is a volume of the orchestrator's own, in which owners are users of sandboxes; of
            another directory only its owner is one, their root.
    """

    descriptor: int
    target: str
    read_only: bool
    is_named: bool = False

    def owners(self, first: int) -> str:
        """Return whom its owners are in a mount for ``agent --launch``, where a sandbox's root is `first`."""
        return f"{first}:{IDS}" if self.is_named else str(first)

    @property
    def path(self) -> str:
        """Real path of the directory now."""
        return os.readlink(f"/proc/self/fd/{self.descriptor}")


@dataclass(frozen=True, slots=True)
class _Root:
    path: Path
    read_only: bool
    descriptor: int


class VolumeRoots:
    """What the operator lets sandboxes have.

    Args:
        allowed: Directories, each ``DIR`` or ``DIR:ro``, at or below which volumes may be. ``/`` stands for
            every directory that this process can open.
        own: Directories of the orchestrator's own, which no other directory may hold or be in.
        named: The volumes that have names; None for none.

    Raises:
        OSError: One of `allowed` cannot be opened.
    """

    def __init__(
        self,
        allowed: Sequence[str] = (),
        own: Sequence[Path] = (),
        named: NamedVolumes | None = None,
    ) -> None:
        self._named = named
        self._own = tuple(Path(os.path.realpath(path)) for path in own)
        self._roots: list[_Root] = []
        for text in allowed:
            path = os.path.realpath(text.removesuffix(_READ_ONLY))
            self._roots.append(_Root(Path(path), text.endswith(_READ_ONLY), os.open(path, _FLAGS)))
        # The innermost first: what it says holds.
        self._roots.sort(key=lambda root: len(root.path.parts), reverse=True)

    def close(self) -> None:
        """Let go of the directories. Idempotent."""
        while self._roots:
            os.close(self._roots.pop().descriptor)

    @contextmanager
    def opened(self, volumes: Sequence[str]) -> Iterator[tuple[OpenVolume, ...]]:
        """Open the volumes of a start, for the length of the block, outer targets first.

        Raises:
            PermissionDeniedError: The operator does not allow one.
            InvalidArgumentError: One cannot be opened.
            NotFoundError: There is none of a name.
        """
        with ExitStack() as stack:
            found = []
            for target, volume in mounted(volumes).items():
                named = is_name(volume.source)
                descriptor = self._open_named(str(volume.source)) if named else self._open(volume)
                stack.callback(os.close, descriptor)
                found.append(OpenVolume(descriptor, target, volume.read_only, named))
            yield tuple(found)

    def _open_named(self, name: str) -> int:
        if self._named is None:
            raise NotFoundError(f"there is no volume {name}")
        return os.open(self._named.get(name).path, _FLAGS)

    def _open(self, volume: Volume) -> int:
        source = Path(os.path.realpath(volume.source))
        root = self._allowing(source, volume)
        try:
            if root.path == _EVERYWHERE:
                descriptor = os.open(source, _FLAGS)
            else:
                descriptor = open_beneath(root.descriptor, str(source.relative_to(root.path)), _FLAGS)
        except OSError as error:
            raise InvalidArgumentError(f"volume {volume.source}: {error.strerror}") from error
        try:
            # What was opened counts, not what its name meant before.
            self._allowing(Path(os.readlink(f"/proc/self/fd/{descriptor}")), volume)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _allowing(self, source: Path, volume: Volume) -> _Root:
        """Return the root that allows a volume whose real path is `source`."""
        root = next((root for root in self._roots if source.is_relative_to(root.path)), None)
        if root is None:
            raise PermissionDeniedError(
                f"this orchestrator gives no sandbox {volume.source}; "
                "its operator may allow it with --volume-root"
            )
        if root.read_only and not volume.read_only:
            raise PermissionDeniedError(
                f"sandboxes may only read {volume.source}: ask for it read-only (SOURCE:TARGET:ro)"
            )
        if any(source.is_relative_to(own) or own.is_relative_to(source) for own in self._own):
            raise PermissionDeniedError(f"{volume.source} holds files of the orchestrator's own")
        return root


NO_VOLUMES: Final = VolumeRoots()
"""Allows none."""
