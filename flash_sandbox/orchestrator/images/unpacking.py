"""The layers of an image as one root file system. In a module of its own, which is quickly loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..archives.bounded_tar import Bounds
from ..archives.extraction import Extraction, Whiteouts
from ..linux.id_range import IdRange
from .local import Description, require_mount_points, require_root
from .streams import unpack_stream

__all__ = ["unpack"]


def unpack(
    tree: Path, description: Description, files: Sequence[IO[bytes]], bounds: Bounds, owners: IdRange | None
) -> int:
    """Fill an empty directory with an image, and return the bytes of its files.

    Args:
        tree: The directory.
        description: What is known of the image.
        files: Its layers, the lowest first.
        bounds: What it may take.
        owners: What the users and groups of its files are here; None where all are the caller.

    Raises:
        InvalidArgumentError: If it is damaged, hostile, or no root file system.
        UnavailableError: If the disk is full.
    """
    whiteouts = Whiteouts.NAMES if description.is_plain else Whiteouts.APPLY
    extraction = Extraction(tree, owners=owners, whiteouts=whiteouts, follow_links=True, bounds=bounds)
    for file, digest, diff_id in zip(files, description.layers, description.diff_ids, strict=True):
        unpack_stream(
            extraction, file, bounds, digest=digest, diff_id=diff_id, any_compression=description.is_plain
        )
    extraction.finish()
    directory = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if description.is_plain:
            require_root(directory)
        require_mount_points(directory)
    finally:
        os.close(directory)
    return extraction.total_bytes
