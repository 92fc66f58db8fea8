"""``fsb volume``: the volumes that an orchestrator keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from .connection import Connection, connected, done_to_each
from .options import Address, ApiKey, AsJson, Transport
from .output import duration, fields_of, print_json, print_table

__all__ = ["app"]

app = typer.Typer(help="Make, list and remove volumes, which outlive sandboxes.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(help="Names of volumes.", metavar="NAME...")]


@app.command("create")
def create_volumes(
    names: Names,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Make empty volumes, and print the name of each that was made."""
    with connected("volume create", Connection(transport, address, api_key)) as client:
        done_to_each("volume create", names, _named(client.create_volume), as_json=as_json)


@app.command("ls")
def list_volumes(
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print names alone.")] = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List the volumes, and the sandboxes that have them."""
    with connected("volume ls", Connection(transport, address, api_key)) as client:
        found = client.list_volumes()
        if as_json:
            print_json([fields_of(info) for info in found])
        elif quiet:
            for info in found:
                typer.echo(info.name)
        else:
            now = time.time()
            rows = ((info.name, duration(now - info.created_at), " ".join(info.sandboxes)) for info in found)
            print_table(("NAME", "AGE", "SANDBOXES"), rows)


@app.command("rm")
def remove_volumes(
    names: Names,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Remove volumes with all that they hold, and print the name of each that was removed."""
    with connected("volume rm", Connection(transport, address, api_key)) as client:
        done_to_each("volume rm", names, _named(client.remove_volume), as_json=as_json)


def _named(change: Callable[[str], None]) -> Callable[[str], str]:
    """Return what does something to a volume, and returns its name."""

    def changed(name: str) -> str:
        change(name)
        return name

    return changed
