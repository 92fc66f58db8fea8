"""Files of snapshots that say something else than what was exported, with the right sum all the same."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

_FILES = "files/"


def changed(content: bytes, change: Callable[[dict[str, Any], dict[str, bytes]], object]) -> bytes:
    """Return the file of a snapshot whose description and files, by name, `change` has changed in place."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    head = json.loads(members["snapshot.json"])
    files = {name[len(_FILES) :]: data for name, data in members.items() if name.startswith(_FILES)}
    change(head, files)
    made = member("snapshot.json", json.dumps(head).encode())
    made += b"".join(member(_FILES + name, data) for name, data in sorted(files.items()))
    return made + member("sha256", hashlib.sha256(made).hexdigest().encode()) + bytes(1024)


def member(name: str, data: bytes, **fields: Any) -> bytes:
    """Return a member of a tar file, whose header has more fields."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    layout = tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT
    return info.tobuf(layout) + data + bytes(-len(data) % 512)
