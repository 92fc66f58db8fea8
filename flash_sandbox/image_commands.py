"""``flash-sandbox image``: what the image store of a state directory holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .orchestrator.images.store import ImageStore

__all__ = ["app"]

app = typer.Typer(
    help="List, get and remove images of the bubblewrap and gvisor runtimes.", no_args_is_help=True
)

StateDir = Annotated[
    Path | None,
    typer.Option(help="The orchestrator's state directory.", show_default="the system's or the user's own"),
]


@app.command("ls")
def list_images(state_dir: StateDir = None) -> None:
    """List the images that are here."""
    from rich.console import Console
    from rich.table import Table

    table = Table("NAME", "DIGEST", "SIZE", "LAST USED", box=None, pad_edge=False, header_style="")
    with _store(state_dir) as store:
        for image in store.list():
            used = "in use" if image.tree.in_use else _age(time.time() - image.tree.last_used)
            digest = image.digest.removeprefix("sha256:")[:12]
            table.add_row(image.name, digest, _size(image.tree.size), used)
    # As wide as it needs to be: what reads it may be a program.
    Console(highlight=False, markup=False, soft_wrap=True, width=10_000).print(table, crop=False)


@app.command("pull")
def pull_image(
    image: Annotated[str, typer.Argument(help="Such as alpine:latest, docker-daemon:NAME or oci:/PATH.")],
    state_dir: StateDir = None,
) -> None:
    """Get an image, also where it is here already, and print its name with its digest."""
    from .orchestrator.images.references import Kind, parse_source

    with _store(state_dir) as store:
        source = parse_source(image)
        if source.kind is Kind.HOST:
            raise typer.BadParameter("'host' is always here")

        async def pull() -> str:
            path = Path(source.path).resolve() if source.path else None
            found = await store.acquire(source, path, refresh=True)
            found.release()
            return f"{found.name} {found.digest}" if found.digest not in found.name else found.name

        typer.echo(asyncio.run(pull()))


@app.command("rm")
def remove_images(
    images: Annotated[list[str], typer.Argument(help="Names, as image ls has them.", metavar="IMAGE...")],
    state_dir: StateDir = None,
) -> None:
    """Remove images that no sandbox uses."""
    from .orchestrator.images.references import parse_source

    with _store(state_dir) as store:
        for image in images:
            if not store.remove(parse_source(image)):
                typer.echo(f"flash-sandbox image: there is no image {image!r}", err=True)
                raise typer.Exit(1)
            typer.echo(image)


@contextmanager
def _store(state_dir: Path | None) -> Iterator[ImageStore]:
    """Open the store; an error is one line, not a traceback."""
    from .errors import SandboxError
    from .orchestrator.images.store import ImageStore
    from .orchestrator.state_dir import default_state_dir

    directory = (state_dir or default_state_dir()).absolute()
    # The operator may use any registry; only starts are bound to those that serve allows.
    store = ImageStore(directory / "images", registries=("*",), report=_print_event)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.open()
        yield store
    except SandboxError as error:
        typer.echo(f"flash-sandbox image: {error.detail}", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"flash-sandbox image: {error}", err=True)
        raise typer.Exit(1) from None


def _print_event(event: str, **fields: object) -> None:
    words = [f"{name}={value}" for name, value in fields.items()]
    typer.echo(" ".join([event, *words]), err=True)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
