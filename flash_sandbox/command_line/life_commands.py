"""``stop``, ``pause``, ``resume``, ``snapshot``, ``fork`` and ``snapshots``: what becomes of a sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import NotFoundError
from ..models import MAX_FORKS, ForkRequest, SnapshotResult, StopRequest
from .connection import PATIENCE_SECONDS, Connection, connected, done_to_each
from .descriptions import field_option
from .names import complete_sandboxes, complete_snapshots, in_sandbox
from .options import Address, ApiKey, AsJson, SandboxId, SandboxIds, Transport
from .output import duration, fields_of, print_json, print_table, size
from .start_commands import find_snapshot

if TYPE_CHECKING:
    from ..clients.sync.api import SandboxAPI

__all__ = ["fork", "pause", "resume", "snapshot", "snapshots_app", "stop"]

snapshots_app = typer.Typer(help="List and remove snapshots.")


MaybeSandboxIds = Annotated[
    list[str] | None,
    typer.Argument(
        help="IDs of the sandboxes, beginnings of IDs, or names.",
        metavar="[ID...]",
        autocompletion=complete_sandboxes,
        show_default=False,
    ),
]


def stop(
    sandbox_ids: MaybeSandboxIds = None,
    every: Annotated[bool, typer.Option("--all", help="Stop every sandbox that there is.")] = False,
    keep: Annotated[
        bool,
        field_option(StopRequest, "skip_cleanup", "--keep"),
    ] = False,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Stop sandboxes, remove what they held, and print the ID of each that was stopped."""
    if bool(sandbox_ids) is every:
        raise typer.BadParameter("give the sandboxes to stop, or --all")

    def end(sandbox_id: str) -> None:
        # What has gone by itself since it was listed is no failure.
        with suppress(*([NotFoundError] if every else [])):
            client.stop_sandbox(sandbox_id, cleanup=not keep, timeout=PATIENCE_SECONDS)

    with connected("stop", Connection(transport, address, api_key)) as client:
        references = sandbox_ids or [info.id for info in client.sandboxes()]
        _each("stop", client, references, end, as_json=as_json)


def pause(
    sandbox_ids: SandboxIds,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Freeze all processes of sandboxes, and print the ID of each that was paused."""
    with connected("pause", Connection(transport, address, api_key)) as client:
        _each("pause", client, sandbox_ids, client.pause_sandbox, as_json=as_json)


def resume(
    sandbox_ids: SandboxIds,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Let paused sandboxes run on, and print the ID of each that does."""
    with connected("resume", Connection(transport, address, api_key)) as client:
        _each("resume", client, sandbox_ids, client.resume_sandbox, as_json=as_json)


def snapshot(
    sandbox_id: SandboxId,
    go_on: Annotated[
        bool,
        typer.Option("--resume", help="Let the sandbox run on afterwards, in place of leaving it paused."),
    ] = False,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Freeze a sandbox, write what it holds to a snapshot, and print the snapshot's path."""

    def make(found: str) -> SnapshotResult:
        made = client.snapshot_sandbox(found, timeout=PATIENCE_SECONDS)
        if go_on:
            client.resume_sandbox(found, timeout=PATIENCE_SECONDS)
        return made

    with connected("snapshot", Connection(transport, address, api_key)) as client:
        made = in_sandbox(client, sandbox_id, make)
        if as_json:
            print_json(fields_of(made))
        else:
            typer.echo(made.snapshot_path)


def fork(
    sandbox_id: SandboxId,
    count: Annotated[int, field_option(ForkRequest, "count", "--count", "-n", min=1, max=MAX_FORKS)] = 1,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Start copies of a sandbox, and print the ID of each."""
    with connected("fork", Connection(transport, address, api_key)) as client:
        ids = in_sandbox(
            client, sandbox_id, lambda found: client.fork_sandbox(found, count, timeout=PATIENCE_SECONDS)
        )
        if as_json:
            print_json({"ids": ids})
        else:
            typer.echo("\n".join(ids))


@snapshots_app.command("ls")
def list_snapshots(
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print paths alone.")] = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List the snapshots that sandboxes can be started from, the oldest first."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:
        found = client.list_snapshots()
        if as_json:
            print_json([fields_of(info) for info in found])
        elif quiet:
            for info in found:
                typer.echo(info.snapshot_path)
        else:
            now = time.time()
            rows = (
                (
                    info.snapshot_path,
                    info.type,
                    info.image,
                    size(info.size_bytes),
                    duration(now - info.created_at),
                )
                for info in found
            )
            print_table(("SNAPSHOT", "TYPE", "IMAGE", "SIZE", "AGE"), rows)


@snapshots_app.command("rm")
def remove_snapshots(
    snapshots: Annotated[
        list[str],
        typer.Argument(
            help="Paths of the snapshots, their last parts, or beginnings of these.",
            metavar="SNAPSHOT...",
            autocompletion=complete_snapshots,
        ),
    ],
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Remove snapshots, and print the path of each; what was started from them goes on."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:

        def remove(reference: str) -> str:
            path = find_snapshot(client, reference).snapshot_path
            client.remove_snapshot(path)
            return path

        done_to_each("snapshots", snapshots, remove, as_json=as_json)


def _each(
    verb: str,
    client: SandboxAPI,
    references: Iterable[str],
    change: Callable[[str], None],
    *,
    as_json: bool,
) -> None:
    """Change each sandbox that is meant."""

    def changed(sandbox_id: str) -> str:
        change(sandbox_id)
        return sandbox_id

    done_to_each(verb, references, lambda reference: in_sandbox(client, reference, changed), as_json=as_json)
