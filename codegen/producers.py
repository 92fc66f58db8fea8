"""What generates what: a plain list."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import layers

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


def _sync_clients(root: Path) -> dict[Path, bytes]:
    derive: Callable[[Path], dict[Path, str]] = importlib.import_module("codegen.derive_sync").derive
    return {path: text.encode() for path, text in derive(root).items()}


PRODUCERS: Final = (
    Producer(layers.http_layer, folders=(layers.HTTP,)),
    Producer(layers.grpc_layer, folders=(layers.GRPC,)),
    *((Producer(_sync_clients),) if Path(__file__).with_name("derive_sync.py").is_file() else ()),
)


def produce(root: Path) -> dict[Path, bytes]:
    """Return everything that is generated from what lies under `root`, by path under it."""
    files: dict[Path, bytes] = {}
    for producer in PRODUCERS:
        files |= producer.make(root)
    return files
