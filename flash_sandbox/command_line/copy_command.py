"""``cp``: files between this machine and a sandbox."""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SandboxFileNotFoundError
from ..options import Progress
from .connection import Connection, connected
from .names import complete_sandboxes, in_sandbox
from .options import Address, ApiKey, AsJson, Transport
from .output import print_json

if TYPE_CHECKING:
    from ..clients.sync.api import SandboxAPI

__all__ = ["copy"]


@dataclass(frozen=True, slots=True)
class _Place:
    """A path in a sandbox."""

    sandbox: str
    path: str

    @classmethod
    def parse(cls, text: str) -> _Place | None:
        """Return the place that a text names; None where it is a path of this machine."""
        sandbox, colon, path = text.partition(":")
        return cls(sandbox, path) if colon and sandbox and "/" not in sandbox else None


@dataclass(slots=True)
class _Count:
    """How much has been copied."""

    done: int = 0


def _complete_places(ctx: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    # A path of this machine is completed by the shell.
    if not set(incomplete) & set("./:"):
        for name, what in complete_sandboxes(ctx, incomplete):
            yield f"{name}:", what


def copy(
    source: Annotated[
        str,
        typer.Argument(
            help="File or directory to copy: a path, or ID:/PATH in a sandbox.",
            metavar="SOURCE",
            autocompletion=_complete_places,
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            help="Where to: a path, or ID:/PATH in a sandbox. Into it, where it is a directory.",
            metavar="TARGET",
            autocompletion=_complete_places,
        ),
    ],
    max_bytes: Annotated[
        int | None,
        typer.Option(min=0, help="Most bytes that may come out of a sandbox.", show_default="no bound"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Copy a file, or a directory with all that it holds, into a sandbox or out of one.

    A target that is a directory, or ends with a slash, takes the copy into itself under the name of the
    source; any other path becomes the copy's own.
    """
    here, there = _Place.parse(source), _Place.parse(target)
    if (here is None) is (there is None):
        raise typer.BadParameter("one of the two must be ID:/PATH, and the other a path of this machine")
    with connected("cp", Connection(transport, address, api_key)) as client:
        if there is not None:
            copied = in_sandbox(
                client, there.sandbox, _upload(client, Path(source), there.path, quiet, as_json)
            )
        else:
            assert here is not None
            download = _download(client, here.path, target, max_bytes, quiet, as_json)
            copied = in_sandbox(client, here.sandbox, download)
        if as_json:
            print_json(copied)


def _upload(
    client: SandboxAPI, source: Path, target: str, quiet: bool, as_json: bool
) -> Callable[[str], dict[str, str | int]]:
    def upload(sandbox_id: str) -> dict[str, str | int]:
        path = target
        if path.endswith("/") or _is_directory(client, sandbox_id, path):
            path = posixpath.join(path, source.resolve().name)
        with _progress(source.resolve().name, shown=not (quiet or as_json)) as (progress, count):
            client.upload(sandbox_id, source, path, progress=progress)
        return {"source": str(source), "target": f"{sandbox_id}:{path}", "bytes": count.done}

    return upload


def _download(
    client: SandboxAPI, source: str, target: str, max_bytes: int | None, quiet: bool, as_json: bool
) -> Callable[[str], dict[str, str | int]]:
    def download(sandbox_id: str) -> dict[str, str | int]:
        path, name = Path(target), posixpath.basename(posixpath.normpath(source))
        if target.endswith(os.sep) or path.is_dir():
            path /= name
        with _progress(name, shown=not (quiet or as_json)) as (progress, count):
            client.download(sandbox_id, source, path, progress=progress, max_bytes=max_bytes)
        return {"source": f"{sandbox_id}:{source}", "target": str(path), "bytes": count.done}

    return download


def _is_directory(client: SandboxAPI, sandbox_id: str, path: str) -> bool:
    try:
        found = client.stat(sandbox_id, path)
    except SandboxFileNotFoundError:
        return False
    return found.type == "directory"


@contextmanager
def _progress(what: str, *, shown: bool) -> Iterator[tuple[Progress, _Count]]:
    """Give what counts the bytes, and shows them on standard error where that is a terminal."""
    count = _Count()

    def counted(done: int, total: int | None) -> None:
        count.done = done

    if not shown or not sys.stderr.isatty():
        yield counted, count
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(escape(what), total=None)

        def update(done: int, total: int | None) -> None:
            counted(done, total)
            bar.update(task, completed=done, total=total)

        yield update, count
        bar.update(task, completed=count.done, total=count.done)
