"""What is asked and answered of the files in a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .bases import Empty
from .checks import UINT64, argument, boolean, content, integer, number, refuse, sandbox_id, text

__all__ = [
    "MAX_PATH_BYTES",
    "DownloadArchiveChunk",
    "DownloadArchiveRequest",
    "FileInfo",
    "ListDirRequest",
    "ListDirResult",
    "MakeDirRequest",
    "MakeDirResult",
    "MoveRequest",
    "MoveResult",
    "ReadFileRequest",
    "ReadFileResult",
    "RemoveRequest",
    "RemoveResult",
    "StatRequest",
    "StatResult",
    "UploadArchiveRequest",
    "UploadArchiveResult",
    "WriteFileRequest",
    "WriteFileResult",
    "path_in_sandbox",
]

# The longest path that Linux takes (PATH_MAX, path_resolution(7)), without its NUL.
MAX_PATH_BYTES: Final = 4095
_MODES: Final = (0, 0o7777)
_UINT32: Final = (0, 2**32 - 1)


def path_in_sandbox(name: str, value: object) -> str:
    """Return an absolute path in a sandbox; raise InvalidArgumentError for what is none."""
    path = argument(name, value)
    if not path.startswith("/"):
        raise refuse(f"{name} must be an absolute path, not {path[:200]!r}")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise refuse(f"{name} is longer than {MAX_PATH_BYTES} bytes")
    return path


@dataclass(frozen=True, slots=True)
class _OnePath:
    id: str
    path: str

    def __post_init__(self) -> None:
        sandbox_id(self.id)
        path_in_sandbox("path", self.path)


class ReadFileRequest(_OnePath):
    """What `read_file` asks for: the ID of the sandbox and the path of the file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ReadFileResult:
    """The answer to `read_file`: what the file holds."""

    content: bytes = b""

    def __post_init__(self) -> None:
        content("content", self.content, limit=None)


@dataclass(frozen=True, slots=True)
class WriteFileRequest(_OnePath):
    """What `write_file` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of the file in the sandbox, absolute.
        content: What the file is to hold, at most 8 MiB; a text is written as UTF-8.
        mode: Permissions of the file, 0 to 0o7777; 0 keeps those of the file that is replaced, or is 0o644
            for a new one. Its owner is kept where whoever writes may.
        parents: Whether to make the directories that the path lacks.
    """

    content: bytes = b""
    mode: int = 0
    parents: bool = False

    def __post_init__(self) -> None:
        _OnePath.__post_init__(self)
        object.__setattr__(self, "content", content("content", self.content))
        integer("mode", self.mode, _MODES)
        boolean("parents", self.parents)


class WriteFileResult(Empty):
    """The answer to `write_file`, which says nothing more."""

    __slots__ = ()


class StatRequest(_OnePath):
    """What `stat` asks for: the ID of the sandbox and the path."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is at a path in a sandbox.

    Attributes:
        name: Path where it is, or in a directory's list its name.
        type: ``file``, ``directory``, ``symlink``, ``fifo``, ``socket``, ``char_device`` or ``block_device``.
        size: Size in bytes.
        mode: Permissions, such as 0o644.
        uid: Number of the user that owns it.
        gid: Number of the group that owns it.
        modified_at: When it was last changed, in seconds of Unix time.
        link_target: Where a link leads; empty for all else.
    """

    name: str = ""
    type: str = ""
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    modified_at: float = 0.0
    link_target: str = ""

    def __post_init__(self) -> None:
        text("type", self.type)
        for name in ("name", "link_target"):
            argument(name, getattr(self, name))
        integer("size", self.size, UINT64)
        integer("mode", self.mode, _MODES)
        integer("uid", self.uid, _UINT32)
        integer("gid", self.gid, _UINT32)
        object.__setattr__(self, "modified_at", number("modified_at", self.modified_at))


@dataclass(frozen=True, slots=True)
class StatResult:
    """The answer to `stat`: what is there."""

    file: FileInfo = FileInfo()


class ListDirRequest(_OnePath):
    """What `list_dir` asks for: the ID of the sandbox and the path of the directory."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ListDirResult:
    """The answer to `list_dir`: what the directory holds, by name, none of which leads out of it."""

    entries: tuple[FileInfo, ...] = ()

    def __post_init__(self) -> None:
        for entry in self.entries:
            # Whoever joins it to a path must stay in the directory; it is the sandbox's word.
            if entry.name in ("", ".", "..") or "/" in entry.name:
                raise refuse(f"{entry.name[:200]!r} is no name of a file in a directory")


@dataclass(frozen=True, slots=True)
class MakeDirRequest(_OnePath):
    """What `make_dir` asks for.

    Attributes:
        id: ID of the sandbox.
        path: Path of the directory in the sandbox, absolute.
        mode: Permissions of the directory, 0 to 0o7777; 0 is 0o755.
        parents: Whether to make the directories that the path lacks, and to leave one that is there.
    """

    mode: int = 0
    parents: bool = False

    def __post_init__(self) -> None:
        _OnePath.__post_init__(self)
        integer("mode", self.mode, _MODES)
        boolean("parents", self.parents)


class MakeDirResult(Empty):
    """The answer to `make_dir`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RemoveRequest(_OnePath):
    """What `remove` asks for: a path, and whether a directory goes with all that it holds."""

    recursive: bool = False

    def __post_init__(self) -> None:
        _OnePath.__post_init__(self)
        boolean("recursive", self.recursive)


class RemoveResult(Empty):
    """The answer to `remove`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """What `move` asks for.

    Attributes:
        id: ID of the sandbox.
        source: Path in the sandbox, absolute.
        target: Its new path in the sandbox, absolute.
    """

    id: str
    source: str
    target: str

    def __post_init__(self) -> None:
        sandbox_id(self.id)
        path_in_sandbox("source", self.source)
        path_in_sandbox("target", self.target)


class MoveResult(Empty):
    """The answer to `move`, which says nothing more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class UploadArchiveRequest(_OnePath):
    """What `upload_archive` asks for: a directory in the sandbox. The archive itself comes as a stream.

    Attributes:
        id: ID of the sandbox.
        path: Directory to unpack into, absolute.
        data: Bytes of the archive.
    """

    data: bytes = b""

    def __post_init__(self) -> None:
        _OnePath.__post_init__(self)
        content("data", self.data, limit=None)


class UploadArchiveResult(Empty):
    """The answer to `upload_archive`, which says nothing more."""

    __slots__ = ()


class DownloadArchiveRequest(_OnePath):
    """What `download_archive` asks for: the ID of the sandbox, and the path of a file or directory."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DownloadArchiveChunk:
    """The next bytes of an archive."""

    data: bytes = b""

    def __post_init__(self) -> None:
        content("data", self.data, limit=None)
