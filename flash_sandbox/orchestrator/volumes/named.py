"""Volumes that outlive sandboxes: directories below the state directory, which rows of the database name."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...errors import AlreadyExistsError, NotFoundError
from ..linux.user_ids import remove_any_tree
from ..state.database import Database

__all__ = ["NamedVolume", "NamedVolumes"]

_REMOVED: Final = ".removed"
_INSERT: Final = "INSERT INTO volumes (name, directory, created_at) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume.

    Attributes:
        name: Its name.
        path: Its directory.
        created_at: When it was made, in seconds of Unix time.
    """

    name: str
    path: Path
    created_at: float


class NamedVolumes:
    """Which volumes there are. For the event loop of the service core.

    Args:
        directory: Where their directories are.
        database: Where their rows are.
    """

    def __init__(self, directory: Path, database: Database) -> None:
        self._directory = directory
        self._database = database
        self._known: dict[str, NamedVolume] = {}

    async def open(self) -> None:
        """Read what there is, and remove what was being removed. Called once."""
        for name, directory, created_at in self._database.read(
            "SELECT name, directory, created_at FROM volumes"
        ):
            self._known[name] = NamedVolume(name, self._directory / directory, created_at)
        for leftover in self._directory.glob(f"*{_REMOVED}"):
            await asyncio.to_thread(remove_any_tree, leftover)

    def listed(self) -> list[NamedVolume]:
        """Return the volumes, by name."""
        return [self._known[name] for name in sorted(self._known)]

    def get(self, name: str) -> NamedVolume:
        """Return a volume.

        Raises:
            NotFoundError: There is none of this name.
        """
        if name not in self._known:
            raise NotFoundError(f"there is no volume {name}")
        return self._known[name]

    async def create(self, name: str) -> None:
        """Make a volume.

        Raises:
            AlreadyExistsError: There is one of this name.
        """
        if name in self._known:
            raise AlreadyExistsError(f"there is a volume {name}")
        volume = NamedVolume(name, self._directory / secrets.token_hex(8), time.time())
        self._known[name] = volume
        try:
            volume.path.mkdir(parents=True)
            # Its root looks into it; the directory above keeps everybody else out.
            volume.path.chmod(0o755)
            volume.path.parent.chmod(0o700)
            await self._database.write((_INSERT, (name, volume.path.name, volume.created_at)))
        except BaseException:
            del self._known[name]
            raise

    async def remove(self, name: str) -> None:
        """Remove a volume that no sandbox has, with all that it holds.

        Raises:
            NotFoundError: There is none of this name.
        """
        volume = self.get(name)
        del self._known[name]
        try:
            await self._database.write(("DELETE FROM volumes WHERE name = ?", (name,)))
        except BaseException:
            self._known[name] = volume
            raise
        removed = volume.path.rename(volume.path.with_suffix(_REMOVED))
        await asyncio.to_thread(remove_any_tree, removed)
