"""Volumes: directories that a sandbox has from outside, by the directory inside that each is mounted on.

On the wire each is a text, ``SOURCE:TARGET`` or ``SOURCE:TARGET:ro``. The source is the name of a volume, or
an absolute path.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidArgumentError
from .limits import MAX_PATH_BYTES

__all__ = ["MAX_VOLUMES", "Volume", "is_name", "local", "merged", "mounted", "parse_volume", "volumes"]

MAX_VOLUMES: Final = 16
"""Most volumes of one sandbox."""

_READ_ONLY: Final = ":ro"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
# Where every sandbox has file systems of its own.
_TAKEN: Final = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of a sandbox.

    Args:
        source: Name of a volume that the orchestrator keeps, or path of a directory of its host. A path that
            begins with ``.`` or ``~``, or has a ``/`` in it, is looked up from this process.
        read_only: Whether the sandbox may only read it.
    """

    source: str | os.PathLike[str]
    read_only: bool = False


def volumes(value: object, name: str) -> tuple[str, ...]:
    """Check volumes, a mapping of directories inside to sources, or texts ``SOURCE:TARGET[:ro]``.

    Returns:
        Such texts.

    Raises:
        InvalidArgumentError: One is malformed, or two have the same target.
    """
    if isinstance(value, Mapping):
        value = [_text(name, target, source) for target, source in value.items()]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidArgumentError(
            f"{name} must be a mapping or a sequence of str, not {type(value).__name__}"
        )
    found = [parse_volume(text, name) for text in value]
    if len(found) > MAX_VOLUMES:
        raise InvalidArgumentError(f"{name} are at most {MAX_VOLUMES}, not {len(found)}")
    if len({target for target, _ in found}) < len(found):
        raise InvalidArgumentError(f"{name} has one target twice")
    return tuple(_joined(target, volume) for target, volume in found)


def mounted(texts: Sequence[str]) -> dict[str, Volume]:
    """Return checked volumes by the directories inside that they are mounted on, outer ones first."""
    found = dict(map(parse_volume, texts))
    return {target: found[target] for target in sorted(found)}


def merged(texts: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """Return checked volumes, of which those of `more` hold where both have one of the same target."""
    found = mounted(texts) | mounted(more)
    return tuple(_joined(target, found[target]) for target in sorted(found))


def local(text: str) -> str:
    """Return a text ``SOURCE:TARGET[:ro]`` whose source, if relative, is looked up from this process."""
    source, colon, target = text.removesuffix(_READ_ONLY).rpartition(":")
    if not colon:
        return text
    return _joined(target, Volume(_absolute(source), text.endswith(_READ_ONLY)))


def parse_volume(text: object, name: str = "volumes") -> tuple[str, Volume]:
    """Return the target and the volume that a text ``SOURCE:TARGET[:ro]`` tells.

    Raises:
        InvalidArgumentError: It is malformed.
    """
    if not isinstance(text, str):
        raise InvalidArgumentError(f"{name} must be texts, not {type(text).__name__}")
    source, _, target = text.removesuffix(_READ_ONLY).rpartition(":")
    if not source:
        raise InvalidArgumentError(
            f"{name} has {text[:200]!r}, which is not SOURCE:TARGET or SOURCE:TARGET:ro"
        )
    if not is_name(source):
        _require_path(name, source)
    _require_path(name, target)
    if posixpath.normpath(target) != target or target in ("/", "//"):
        raise InvalidArgumentError(
            f"{name} has the target {target[:200]!r}, which is not a plain path below /"
        )
    if any(target == taken or target.startswith(f"{taken}/") for taken in _TAKEN):
        raise InvalidArgumentError(f"nothing is mounted on {target}: every sandbox has its own")
    return target, Volume(source, text.endswith(_READ_ONLY))


def _text(name: str, target: object, given: object) -> str:
    volume = given if isinstance(given, Volume) else Volume(given)  # type: ignore[arg-type]  # checked next
    if not isinstance(target, str) or not isinstance(volume.source, str | os.PathLike):
        raise InvalidArgumentError(f"{name} must map texts to paths or volumes, not {target!r} to {given!r}")
    return _joined(target, Volume(_absolute(volume.source), volume.read_only))


def is_name(source: str | os.PathLike[str]) -> bool:
    """Tell whether a source is the name of a volume, and no path."""
    return isinstance(source, str) and _NAME.fullmatch(source) is not None


def _absolute(source: str | os.PathLike[str]) -> str:
    if is_name(source):
        return os.fspath(source)
    return os.path.abspath(os.path.expanduser(source))


def _joined(target: str, volume: Volume) -> str:
    return f"{volume.source}:{target}{_READ_ONLY if volume.read_only else ''}"


def _require_path(name: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise InvalidArgumentError(f"{name} has {path[:200]!r}, which is not an absolute path")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} holds a lone surrogate, which UTF-8 cannot carry") from None
    if size > MAX_PATH_BYTES:
        raise InvalidArgumentError(f"{name} has a path of more than {MAX_PATH_BYTES} bytes")
