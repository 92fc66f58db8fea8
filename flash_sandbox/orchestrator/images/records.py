"""What the store knows by name: which unpacked root file system an image is, and how it wants to be run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ...errors import SandboxError
from .manifests import ImageConfig
from .references import parse_source

__all__ = ["Record", "Records"]

_WRITING_SECONDS: Final = 60
_BEING_WRITTEN: Final = re.compile(r"\.[0-9a-f]{8}")
_UNREADABLE: Final = ".unreadable"


@dataclass(frozen=True, slots=True)
class Record:
    """An image that the store has.

    Attributes:
        name: Its name, with defaults filled in.
        identity: What tells whether what the name stands for has changed; empty where nothing can.
        digest: Digest of its manifest or, where it has none, of its configuration or its tar file.
        chain: Digest that its unpacked content goes by.
        layers: Digests of its layers as they are stored.
        config: How it wants to be run.
    """

    name: str
    identity: str
    digest: str
    chain: str
    layers: tuple[str, ...]
    config: ImageConfig

    @property
    def pinned(self) -> str:
        """The name that means this content for ever, where there is one."""
        source = parse_source(self.name)
        return self.name if source.reference is None else str(source.reference.pinned(self.digest))

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {
            "name": self.name,
            "identity": self.identity,
            "digest": self.digest,
            "chain": self.chain,
            "layers": self.layers,
            "config": self.config.as_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `as_json` returned."""
        config = ImageConfig.from_json(value["config"])
        texts = [str(value[key]) for key in ("name", "identity", "digest", "chain")]
        return cls(texts[0], texts[1], texts[2], texts[3], tuple(map(str, value["layers"])), config)


class Records:
    """The directory of records, one file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self) -> None:
        """Make ready, and remove what somebody who was killed was writing."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            with suppress(FileNotFoundError):
                if (
                    _BEING_WRITTEN.fullmatch(path.suffix)
                    and time.time() - path.stat().st_mtime > _WRITING_SECONDS
                ):
                    path.unlink()

    def get(self, name: str) -> Record | None:
        """Return the record of a name; None where there is none that can be read."""
        return _load(self._path(name))

    def list(self) -> list[Record]:
        """Return all records, by name."""
        found = (_load(path) for path in self._directory.glob("*.json"))
        return sorted((record for record in found if record is not None), key=lambda record: record.name)

    def unreadable(self) -> Sequence[str]:
        """Return the paths of records that cannot be read: another version may have written them."""
        return [str(path) for path in self._directory.glob("*.json") if _load(path) is None]

    def put(self, record: Record) -> None:
        """Write a record in place of the one of that name; one that cannot be read is kept beside it."""
        path = self._path(record.name)
        if path.exists() and _load(path) is None:
            path.rename(path.with_suffix(_UNREADABLE))
        new = path.with_suffix(f".{secrets.token_hex(4)}")
        new.write_text(json.dumps(record.as_json()))
        os.replace(new, path)

    def remove(self, name: str) -> None:
        """Remove a record; nothing where there is none."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._directory / f"{hashlib.sha256(os.fsencode(name)).hexdigest()}.json"


def _load(path: Path) -> Record | None:
    try:
        return Record.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, SandboxError):
        # Written by another version, or cut by a power failure: the image is got anew.
        return None
