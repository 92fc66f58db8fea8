"""What generates what: a plain list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import calls, derive_interfaces, derive_sync, facade, layers, objects
from .guest_header import guest_header
from .tools import ToolError

__all__ = ["PRODUCERS", "Producer", "produce"]


@dataclass(frozen=True, slots=True)
class Producer:
    """Something that generates files.

    Attributes:
        make: Given the root of the repository, returns the content of each file by its path under it.
        folders: Folders that hold what it makes and nothing else.
    """

    make: Callable[[Path], dict[Path, bytes]]
    folders: tuple[Path, ...] = ()


def _clients(root: Path) -> dict[Path, bytes]:
    try:
        texts = calls.derive(root)
        texts |= derive_interfaces.derive(root, texts)
        texts |= objects.derive(root, texts[derive_interfaces.API])
        texts |= derive_sync.derive(root, texts)
        return {path: text.encode() for path, text in texts.items()}
    except ValueError as error:
        raise ToolError(f"the clients cannot be derived: {error}") from error


PRODUCERS: Final = (
    Producer(layers.http_layer, folders=(layers.HTTP,)),
    Producer(layers.grpc_layer, folders=(layers.GRPC,)),
    Producer(layers.guest_layer, folders=(layers.GUEST,)),
    Producer(guest_header),
    Producer(_clients, folders=tuple(derive_sync.FOLDERS.values())),
    Producer(facade.tables),
)


def produce(root: Path) -> dict[Path, bytes]:
    """Return everything that is generated from what lies under `root`, by path under it."""
    files: dict[Path, bytes] = {}
    for producer in PRODUCERS:
        files |= producer.make(root)
    return files
