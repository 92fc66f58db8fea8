"""Where volumes can be mounted in a sandbox: where nothing that others have made leads elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from pathlib import Path

from ....errors import InvalidArgumentError

__all__ = ["require_mount_points"]


def require_mount_points(trees: Sequence[Path], read_only: Collection[str], targets: Collection[str]) -> None:
    """Raise InvalidArgumentError where a volume cannot be mounted.

    Args:
        trees: What the sandbox is made of: its image, and layers over it.
        read_only: Directories inside that come from the host, in which no mount point can be made.
        targets: Where the volumes are to be mounted.
    """
    for target in targets:
        inside = next((path for path in read_only if target.startswith(f"{path}/")), None)
        if inside is not None:
            raise InvalidArgumentError(f"no volume can be mounted on {target}: {inside} is the host's there")
        for tree in trees:
            _require_directories(tree, target)


def _require_directories(tree: Path, target: str) -> None:
    """Raise InvalidArgumentError where a part of a path is there, and no directory."""
    path = tree
    for part in target.split("/")[1:]:
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            place = path.relative_to(tree)
            raise InvalidArgumentError(
                f"no volume can be mounted on {target}: the image's /{place} is no directory"
            )
