"""``stop``, ``pause``, ``resume``, ``snapshot``, ``fork`` and ``snapshots``: what becomes of a sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import NotFoundError
from ..models import (
    MAX_FORKS,
    ForkRequest,
    ImportSnapshotRequest,
    ListSnapshotsRequest,
    SnapshotRequest,
    SnapshotResult,
    StopRequest,
)
from .connection import PATIENCE_SECONDS, Connection, connected, done_to_each
from .descriptions import field_option
from .names import complete_sandboxes, complete_snapshots, in_sandbox, snapshot_id
from .options import (
    Address,
    Allow,
    ApiKey,
    AsJson,
    Deny,
    NetworkName,
    SandboxId,
    SandboxIds,
    Snapshot,
    Transport,
    network_of,
)
from .output import duration, fields_of, print_json, print_table, size
from .start_commands import find_snapshot

if TYPE_CHECKING:
    from ..clients.sync.api import SandboxAPI

__all__ = ["fork", "network", "pause", "resume", "snapshot", "snapshots_app", "stop"]

snapshots_app = typer.Typer(help="List, remove, export and import snapshots.")


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


def network(
    sandbox_ids: SandboxIds,
    network: NetworkName = None,
    network_allow: Allow = None,
    network_deny: Deny = None,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Change what running sandboxes may reach, and print the ID of each."""
    mode = network_of(network, network_allow, network_deny)
    if mode is None:
        raise typer.BadParameter("say what they may reach, by --allow and --deny, or --network none")

    def change(sandbox_id: str) -> None:
        client.set_network(
            sandbox_id, mode, network_allow=network_allow, network_deny=network_deny, timeout=PATIENCE_SECONDS
        )

    with connected("network", Connection(transport, address, api_key)) as client:
        _each("network", client, sandbox_ids, change, as_json=as_json)


def snapshot(
    sandbox_id: SandboxId,
    go_on: Annotated[
        bool,
        typer.Option("--resume", help="Let the sandbox run on afterwards, in place of leaving it paused."),
    ] = False,
    name: Annotated[str, field_option(SnapshotRequest, "name", "--name")] = "",
    labels: Annotated[list[str] | None, field_option(SnapshotRequest, "labels", "--label", "-l")] = None,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Freeze a sandbox, write what it holds to a snapshot, and print the snapshot's ID."""

    def make(found: str) -> SnapshotResult:
        made = client.snapshot_sandbox(found, name=name, labels=labels, timeout=PATIENCE_SECONDS)
        if go_on:
            client.resume_sandbox(found, timeout=PATIENCE_SECONDS)
        return made

    with connected("snapshot", Connection(transport, address, api_key)) as client:
        made = in_sandbox(client, sandbox_id, make)
        if as_json:
            print_json(fields_of(made))
        else:
            typer.echo(snapshot_id(made))


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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print IDs alone.")] = False,
    labels: Annotated[list[str] | None, field_option(ListSnapshotsRequest, "labels", "--label", "-l")] = None,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List the snapshots that sandboxes can be started from, the oldest first."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:
        found = client.list_snapshots(labels=labels)
        if as_json:
            print_json([fields_of(info) for info in found])
        elif quiet:
            for info in found:
                typer.echo(snapshot_id(info))
        else:
            now = time.time()
            rows = (
                (
                    snapshot_id(info),
                    info.name,
                    info.type,
                    info.image,
                    size(info.size_bytes),
                    duration(now - info.created_at),
                    " ".join(info.labels),
                )
                for info in found
            )
            print_table(("SNAPSHOT", "NAME", "TYPE", "IMAGE", "SIZE", "AGE", "LABELS"), rows)


@snapshots_app.command("rm")
def remove_snapshots(
    snapshots: Annotated[
        list[str],
        typer.Argument(
            help="Names of the snapshots, their IDs, beginnings of these, or their paths.",
            metavar="SNAPSHOT...",
            autocompletion=complete_snapshots,
        ),
    ],
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Remove snapshots, and print the ID of each; what was started from them goes on."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:

        def remove(reference: str) -> str:
            found = find_snapshot(client, reference)
            client.remove_snapshot(found.snapshot_path)
            return snapshot_id(found)

        done_to_each("snapshots", snapshots, remove, as_json=as_json)


@snapshots_app.command("export")
def export_snapshot(
    snapshot: Snapshot,
    file: Annotated[Path, typer.Argument(help="File to write; one that is there is replaced.")],
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Write a snapshot to a file, and print the file's SHA-256."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:
        found = find_snapshot(client, snapshot)
        digest = client.export_snapshot(found.snapshot_path, file, timeout=PATIENCE_SECONDS)
        if as_json:
            print_json({"file": str(file), "sha256": digest})
        else:
            typer.echo(digest)


@snapshots_app.command("import")
def import_snapshot(
    file: Annotated[Path, typer.Argument(help="File that snapshots export has written.")],
    name: Annotated[str, field_option(ImportSnapshotRequest, "name", "--name")] = "",
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Add the snapshot in a file, and print its ID."""
    with connected("snapshots", Connection(transport, address, api_key)) as client:
        added = client.import_snapshot(file, name=name, timeout=PATIENCE_SECONDS)
        if as_json:
            print_json(fields_of(added))
        else:
            typer.echo(snapshot_id(added))


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
