"""The files in which versions before the database described snapshots: moved into it, once.

Each lies beside its snapshot, ``NAME.json`` for ``NAME``, and is authenticated by the key in the directory.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, Final

from ...errors import SandboxError
from ...models import StartRequest
from ..snapshots.manifest import Manifest
from ..snapshots.store import Snapshots, insertion
from ..state.database import Database

__all__ = ["move_json_manifests"]

_FORMAT: Final = 1
_KEY: Final = "key"
_ID_DIGITS: Final = 20


async def move_json_manifests(snapshots: Snapshots, database: Database) -> None:
    """Move the manifests that can be read; note those that cannot in `snapshots.unreadable`.

    Args:
        snapshots: The snapshots, not opened yet.
        database: Where their rows go.

    Raises:
        UnavailableError: The database cannot be written.
    """
    directory = snapshots.files.directory
    found: dict[Path, Manifest] = {}
    for path in directory.glob("*.json"):
        try:
            found[path] = _read(path, directory / _KEY)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SandboxError) as error:
            snapshots.unreadable[path] = f"it cannot be read: {error}"
    kept = {path: snapshot for path, snapshot in found.items() if snapshot.path.exists()}
    if kept:
        await database.write(*(insertion(snapshot, unless_there=True) for snapshot in kept.values()))
    for path in found:
        path.unlink()
    if not snapshots.unreadable:
        (directory / _KEY).unlink(missing_ok=True)


def _read(path: Path, key: Path) -> Manifest:
    fields: dict[str, Any] = json.loads(path.read_bytes())
    claimed = str(fields.pop("hmac"))
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    authentic = hmac.new(key.read_bytes(), text.encode(), hashlib.sha256).hexdigest()
    # The name is authenticated, too: one snapshot's manifest is no other's.
    if not hmac.compare_digest(claimed.encode(), authentic.encode()) or fields["name"] != path.stem:
        raise ValueError("this orchestrator has not made it")
    if fields["format"] != _FORMAT:
        raise ValueError(f"it has the format {fields['format']!r} of another version")
    details = dict(fields["details"])
    return Manifest(
        id=f"snap-{path.stem[:_ID_DIGITS]}",
        path=path.with_suffix(""),
        runtime=fields["runtime"],
        image=fields["image"],
        image_digest=fields["image_digest"],
        created=fields["created"],
        files={name: (size, digest) for name, (size, digest) in fields["files"].items()},
        # What it is kept elsewhere in bytes, by the name that Docker's manifests had for it.
        bytes_elsewhere=int(details.pop("engine_bytes", 0)),
        details=details,
        # The first ones had none.
        start=StartRequest(**fields.get("start", {})),
    )
