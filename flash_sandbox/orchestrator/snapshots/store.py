"""The snapshots of an orchestrator: their rows in its database, and their files.

A snapshot exists from when its row is on the disk until that is removed. Files without a row are of one that
was never completed, or that was removed; the next start of the orchestrator removes them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from ...errors import AlreadyExistsError, SandboxError
from ...models import StartRequest
from ..cancellation import completed
from ..state.database import Database, Statement
from ..state.directory import StateDirError
from .files import SnapshotFiles
from .manifest import Manifest, inherited, refused

__all__ = ["Drop", "Snapshots", "insertion"]

_COLUMNS: Final = (
    "id, name, labels, file, runtime, image, image_digest, created_at, bytes_elsewhere, files, details, start"
)
_INSERT: Final = f"INSERT INTO snapshots ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

Drop = Callable[[Manifest], Coroutine[Any, Any, None]]
"""Removes what is kept of a snapshot that nobody uses any more."""


class Snapshots:
    """Which snapshots there are. For the event loop of the service core.

    Args:
        directory: Where their files are.
        database: Where their rows are; None for nothing that outlives this process.

    Attributes:
        files: Their files.
        unreadable: What older versions have written and this one cannot read, by path. It stays.
    """

    def __init__(self, directory: Path, database: Database | None = None) -> None:
        self.files = SnapshotFiles(directory)
        self.unreadable: dict[Path, str] = {}
        self._database = database or Database()
        self._known: dict[str, Manifest] = {}
        self._used: dict[str, Manifest] = {}
        self._users: Counter[str] = Counter()
        self._removed: dict[str, Drop] = {}
        self._reserved: set[str] = set()

    async def open(self) -> None:
        """Read what there is, and remove what is of none. Called once.

        Raises:
            StateDirError: A row cannot be read.
        """
        self._known = {snapshot.id: snapshot for snapshot in self._read()}
        kept = {snapshot.path for snapshot in self._known.values()}
        for path in self.unreadable:
            kept |= {path, path.with_suffix("")}
        if self.unreadable:
            kept.add(self.files.directory / "key")
        await asyncio.to_thread(self.files.open, kept)

    def _read(self) -> Iterator[Manifest]:
        for row in self._database.read(f"SELECT {_COLUMNS} FROM snapshots"):
            id, name, labels, file, runtime, image, digest, created, elsewhere, files, details, start = row
            try:
                yield Manifest(
                    id=id,
                    path=self.files.directory / file,
                    runtime=runtime,
                    image=image,
                    image_digest=digest,
                    created=created,
                    files={key: (size, sha256) for key, (size, sha256) in json.loads(files).items()},
                    details=json.loads(details),
                    start=StartRequest(**json.loads(start)),
                    bytes_elsewhere=elsewhere,
                    name=name,
                    labels=tuple(json.loads(labels)),
                )
            except (ValueError, TypeError, AttributeError, SandboxError) as error:
                raise StateDirError(
                    f"snapshot {id} in the database cannot be read: {error}; go on with the release that "
                    "used it last"
                ) from error

    def listed(self, labels: Iterable[str] = ()) -> list[Manifest]:
        """Return the snapshots that have all of these labels, the oldest first."""
        wanted = set(labels)
        found = (snapshot for snapshot in self._known.values() if wanted <= set(snapshot.labels))
        return sorted(found, key=lambda snapshot: (snapshot.created, snapshot.id))

    def present(self) -> list[Manifest]:
        """Return the snapshots that there are, and those that are still in use after their removal."""
        return list((self._known | self._used).values())

    def get(self, reference: str) -> Manifest:
        """Return the snapshot that a client means: by its ID, its name or its path.

        Raises:
            InvalidArgumentError: There is none.
        """
        if reference in self._known:
            return self._known[reference]
        for snapshot in self._known.values():
            if reference and reference in (snapshot.name, str(snapshot.path)):
                return snapshot
        raise refused(f"{reference!r} is not a snapshot in this orchestrator's store")

    @contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """Keep a name free for the snapshot that is made in the block; the empty one is any number's.

        Raises:
            AlreadyExistsError: A snapshot has it, or is being made with it.
        """
        for snapshot in self._known.values():
            if name and name in (snapshot.name, snapshot.id):
                raise AlreadyExistsError(f"snapshot {snapshot.id} is named {name!r}")
        if name in self._reserved:
            raise AlreadyExistsError(f"a snapshot is being made with the name {name!r}")
        if name:
            self._reserved.add(name)
        try:
            yield
        finally:
            self._reserved.discard(name)

    async def add(self, snapshot: Manifest) -> None:
        """Add a snapshot whose files are there.

        Raises:
            UnavailableError: The database cannot be written.
        """
        await self._database.write(insertion(snapshot))
        self._known[snapshot.id] = snapshot

    async def remove(self, snapshot: Manifest, drop: Drop) -> None:
        """Remove a snapshot; what is kept of it is dropped once nobody uses it any more."""
        if self._known.pop(snapshot.id, None) is None:
            raise refused(f"snapshot {snapshot.id} was removed")
        # Not to be written is no failure: what is dropped may make the room.
        await self._database.note(("DELETE FROM snapshots WHERE id = ?", (snapshot.id,)))
        if self._users[snapshot.id]:
            self._removed[snapshot.id] = drop
        else:
            await drop(snapshot)

    @asynccontextmanager
    async def using(self, snapshot: Manifest) -> AsyncIterator[None]:
        """Keep what there is of a snapshot for the length of the block, also where it is removed meanwhile.

        Raises:
            InvalidArgumentError: It was removed before.
        """
        if snapshot.id not in self._known and not self._users[snapshot.id]:
            raise refused(f"snapshot {snapshot.id} was removed")
        async with self._use(snapshot):
            yield

    @asynccontextmanager
    async def holding(self, snapshot: Manifest, drop: Drop) -> AsyncIterator[None]:
        """Let a snapshot that no client knows be used in the block, after which it is dropped."""
        self._removed[snapshot.id] = drop
        async with self._use(snapshot):
            yield

    @asynccontextmanager
    async def _use(self, snapshot: Manifest) -> AsyncIterator[None]:
        self._users[snapshot.id] += 1
        self._used[snapshot.id] = snapshot
        try:
            yield
        finally:
            self._users[snapshot.id] -= 1
            if not self._users[snapshot.id]:
                del self._users[snapshot.id]
                drop = self._removed.pop(snapshot.id, None)
                try:
                    if drop is not None:
                        await completed(drop(snapshot))
                finally:
                    del self._used[snapshot.id]


def insertion(snapshot: Manifest, *, unless_there: bool = False) -> Statement:
    """Return what adds the row of a snapshot, or leaves one with its ID as it is."""
    values = (
        snapshot.id,
        snapshot.name,
        json.dumps(snapshot.labels),
        snapshot.path.name,
        snapshot.runtime,
        snapshot.image,
        snapshot.image_digest,
        snapshot.created,
        snapshot.bytes_elsewhere,
        json.dumps(dict(snapshot.files)),
        json.dumps(dict(snapshot.details)),
        json.dumps(inherited(snapshot.start)),
    )
    return (_INSERT.replace("INSERT", "INSERT OR IGNORE") if unless_there else _INSERT, values)
