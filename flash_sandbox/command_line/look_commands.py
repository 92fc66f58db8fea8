"""``ps``, ``inspect``, ``logs`` and ``events``: what there is, and what happens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ..errors import NotFoundError
from ..models import (
    Event,
    GetLogsResult,
    ListSandboxesRequest,
    SandboxInfo,
    SandboxStatus,
    SandboxType,
    WatchEventsRequest,
)
from .connection import Connection, complain, connected
from .descriptions import field_option
from .names import in_sandbox
from .options import Address, ApiKey, AsJson, AsJsonLines, Quiet, SandboxId, Transport
from .output import duration, fields_of, moment, payload, print_json, print_table, printable

if TYPE_CHECKING:
    from ..clients.sync.api import SandboxAPI

__all__ = ["events", "inspect", "list_sandboxes", "logs"]

_ENDED: Final = ("stopped", "error")
# What is looked for again where the count of the bytes does not tell what is new.
_OVERLAP: Final = 1024


def list_sandboxes(
    status: Annotated[SandboxStatus | None, field_option(ListSandboxesRequest, "status", "--status")] = None,
    type: Annotated[SandboxType | None, field_option(ListSandboxesRequest, "type", "--type")] = None,
    labels: Annotated[
        list[str] | None,
        field_option(ListSandboxesRequest, "labels", "--label", "-l", metavar="NAME=VALUE"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List sandboxes, the oldest first."""
    with connected("ps", Connection(transport, address, api_key)) as client:
        found = client.sandboxes(status=status, type=type, labels=labels)
        if as_json:
            print_json([fields_of(info) for info in found])
        elif quiet:
            for info in found:
                typer.echo(info.id)
        else:
            now = time.time()
            print_table(
                ("ID", "NAME", "TYPE", "IMAGE", "STATUS", "AGE", "EXPIRES"),
                (_row(info, now) for info in found),
            )


def _row(info: SandboxInfo, now: float) -> tuple[str, ...]:
    expires = f"in {duration(info.expires_at - now)}" if info.expires_at else "never"
    age = duration(now - info.created_at)
    return (info.id, info.name, info.type, info.image, info.status, age, expires)


def inspect(
    sandbox_id: SandboxId,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Tell all that is known of a sandbox."""
    with connected("inspect", Connection(transport, address, api_key)) as client:
        info = in_sandbox(client, sandbox_id, client.get_info)
        if as_json:
            print_json(fields_of(info))
            return
        shown: dict[str, Any] = fields_of(info) | {
            "command": " ".join(info.command),
            "labels": " ".join(info.labels),
            "env": " ".join(info.env),
            "created_at": moment(info.created_at),
            "expires_at": moment(info.expires_at) if info.expires_at else "never",
        }
        print_table(("FIELD", "VALUE"), ((name, str(value)) for name, value in shown.items()))


def logs(
    sandbox_id: SandboxId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what it prints, until it ends.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two looks with -f.", metavar="SECONDS")
    ] = 0.5,
    as_json: AsJsonLines = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Print the last 64 KiB of what the main process of a sandbox has printed, both streams together."""
    with connected("logs", Connection(transport, address, api_key)) as client:
        found = in_sandbox(client, sandbox_id, lambda one: (one, client.get_logs(one)))
        for piece in _followed(client, *found, interval) if follow else [found[1]]:
            if as_json:
                print_json({"dropped": piece.dropped, **payload(piece.output)})
            else:
                if piece.dropped and follow:
                    complain("logs", f"{piece.dropped} bytes are not kept any more")
                sys.stdout.buffer.write(piece.output)
                sys.stdout.buffer.flush()


def _followed(
    client: SandboxAPI, sandbox_id: str, found: GetLogsResult, interval: float
) -> Iterator[GetLogsResult]:
    """Yield what is there, and then what is new, until the sandbox has ended or is gone."""
    yield found
    over = False
    while not over:
        time.sleep(interval)
        try:
            # Asked for before what it has printed, which is complete then.
            over = client.get_status(sandbox_id) in _ENDED
            new = client.get_logs(sandbox_id)
        except NotFoundError:
            return
        piece = _new_part(found, new)
        if piece.output:
            yield piece
        found = new


def _new_part(before: GetLogsResult, now: GetLogsResult) -> GetLogsResult:
    """Return what has come, and how many bytes of it are not kept any more."""
    seen = before.dropped + len(before.output)
    known = seen - now.dropped
    if known < 0:
        return GetLogsResult(now.output, -known)
    if now.output[:known] == before.output[len(before.output) - known :]:
        return GetLogsResult(now.output[known:], 0)
    # Some engines do not count what they drop, and add an end to a line that has none.
    for tail in (before.output, before.output.removesuffix(b"\n")):
        tail = tail[-_OVERLAP:]
        place = now.output.rfind(tail)
        if tail and place >= 0:
            return GetLogsResult(now.output[place + len(tail) :], 0)
    return now


def events(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")
    ] = False,
    since: Annotated[str, field_option(WatchEventsRequest, "token", "--since")] = "",
    as_json: AsJsonLines = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Tell what happens to sandboxes; without -f only what has happened since a token."""
    if not follow and not since:
        raise typer.BadParameter("give -f to wait for what happens, or --since for what has happened")
    with connected("events", Connection(transport, address, api_key)) as client:
        for event in _happening(client, since) if follow else _happened(client, since):
            if event.type == "keepalive":
                continue
            if as_json:
                print_json(fields_of(event))
            else:
                typer.echo(
                    printable(f"{moment(event.at)}  {event.id}  {event.type}  {event.detail}").rstrip()
                )


def _happening(client: SandboxAPI, since: str) -> Iterator[Event]:
    with client.watch_events(since) as stream:
        yield from stream


def _happened(client: SandboxAPI, since: str) -> Iterator[Event]:
    """Yield what has happened up to now: the last event is that at which a stream begins now."""
    with client.watch_events() as now:
        last = now.token
    with client.watch_events(since) as stream:
        while stream.token != last:
            yield next(stream)
