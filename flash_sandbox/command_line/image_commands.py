"""``flash-sandbox image``: what the image store of a state directory holds, for the operator of this host.

No orchestrator is asked: the operator may use any registry, and starts what lies in the store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .connection import Failure, done_to_each, reporting
from .options import AsJson
from .output import duration, print_json, print_table, size

if TYPE_CHECKING:
    from ..orchestrator.images.store import Image, ImageStore, StoredImage

__all__ = ["app"]

app = typer.Typer(
    help="List, get and remove images of the bubblewrap and gvisor runtimes, in this host's own store.",
    no_args_is_help=True,
)

StateDir = Annotated[
    Path | None,
    typer.Option(help="The orchestrator's state directory.", show_default="the system's or the user's own"),
]
QuietNames = Annotated[bool, typer.Option("--quiet", "-q", help="Print names alone.")]


@app.command("ls")
def list_images(as_json: AsJson = False, quiet: QuietNames = False, state_dir: StateDir = None) -> None:
    """List the images that are here."""
    with _store(state_dir) as store:
        images = store.list()
    if as_json:
        print_json([_described(image) for image in images])
    elif quiet:
        for image in images:
            typer.echo(image.name)
    else:
        now = time.time()
        rows = (
            (
                image.name,
                image.digest.removeprefix("sha256:")[:12],
                size(image.tree.size),
                "in use" if image.tree.in_use else f"{duration(now - image.tree.last_used)} ago",
            )
            for image in images
        )
        print_table(("NAME", "DIGEST", "SIZE", "LAST USED"), rows)


def _described(image: StoredImage) -> dict[str, str | int | float | bool]:
    return {
        "name": image.name,
        "digest": image.digest,
        "size_bytes": image.tree.size,
        "in_use": image.tree.in_use,
        "last_used_at": image.tree.last_used,
    }


@app.command("pull")
def pull_image(
    image: Annotated[str, typer.Argument(help="Such as alpine:latest, docker-daemon:NAME or oci:/PATH.")],
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> None:
    """Get an image, also where it is here already, and print its name with its digest."""
    from ..orchestrator.images.references import Kind, parse_source

    with _store(state_dir) as store:
        source = parse_source(image)
        if source.kind is Kind.HOST:
            raise typer.BadParameter("'host' is always here")

        async def pull() -> Image:
            path = Path(source.path).resolve() if source.path else None
            found = await store.acquire(source, path, refresh=True)
            found.release()
            return found

        found = asyncio.run(pull())
        if as_json:
            print_json({"name": found.name, "digest": found.digest})
        else:
            typer.echo(found.name if found.digest in found.name else f"{found.name} {found.digest}")


@app.command("rm")
def remove_images(
    images: Annotated[list[str], typer.Argument(help="Names, as image ls has them.", metavar="IMAGE...")],
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> None:
    """Remove images that no sandbox uses, and print the name of each."""
    from ..orchestrator.images.references import parse_source

    with _store(state_dir) as store:

        def remove(image: str) -> str:
            if not store.remove(parse_source(image)):
                raise Failure(f"there is no image {image!r}")
            return image

        done_to_each("image", images, remove, as_json=as_json)


@contextmanager
def _store(state_dir: Path | None) -> Iterator[ImageStore]:
    """Open the store; an error is one line, not a traceback."""
    from ..orchestrator.images.store import ImageStore
    from ..orchestrator.linux.user_ids import UserIds
    from ..orchestrator.state.directory import default_state_dir

    directory = (state_dir or default_state_dir()).absolute()
    # The operator may use any registry; only starts are bound to those that serve allows.
    with reporting("image"), closing(UserIds()) as ids:
        store = ImageStore(directory / "images", registries=("*",), user_ids=ids, report=_print_event)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        store.open()
        yield store


def _print_event(event: str, **fields: object) -> None:
    words = [f"{name}={value}" for name, value in fields.items()]
    typer.echo(" ".join([event, *words]), err=True)
