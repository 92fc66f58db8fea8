"""``stats`` and ``top``: what sandboxes use, and what runs in one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import ConflictError, NotFoundError
from ..models import MetricsResult, SandboxInfo
from .connection import Connection, Failure, connected
from .names import complete_sandboxes, in_sandbox
from .options import Address, ApiKey, AsJson, AsJsonLines, SandboxId, Transport
from .output import fields_of, make_table, print_json, print_table, size

if TYPE_CHECKING:
    from rich.table import Table

    from ..clients.sync.api import SandboxAPI

__all__ = ["stats", "top"]

_MEASURED: Final = ("running", "paused")
_HEADERS: Final = (
    "ID",
    "NAME",
    "CPU",
    "MEMORY",
    "LIMIT",
    "MEM %",
    "PIDS",
    "NET RX / TX",
    "DISK READ / WRITTEN",
    "DISK USED / LIMIT",
)


@dataclass(frozen=True, slots=True)
class _Reading:
    info: SandboxInfo
    metrics: MetricsResult


def stats(
    sandbox_ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="IDs of the sandboxes, beginnings of IDs, or names.",
            metavar="[ID...]",
            autocompletion=complete_sandboxes,
            show_default="all that run or are paused",
        ),
    ] = None,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Measure once, and end.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.05, help="Seconds between two measurements.", metavar="SECONDS")
    ] = 1.0,
    as_json: AsJsonLines = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """Show what sandboxes use, anew all the time until Ctrl-C.

    CPU is a percentage of one core, since the measurement before; the first time since the start.
    """
    with connected("stats", Connection(transport, address, api_key)) as client:
        wanted = [in_sandbox(client, each, client.get_info).id for each in sandbox_ids or []]
        rounds = _rounds(client, wanted, once=no_stream, interval=interval)
        if as_json:
            for readings in rounds:
                at = time.time()
                for each in readings:
                    named = {"at": at, "id": each.info.id, "name": each.info.name}
                    print_json(named | fields_of(each.metrics))
        elif no_stream or not sys.stdout.isatty():
            for readings in rounds:
                print_table(_HEADERS, map(_row, readings))
        else:
            _show_live(rounds)


def _rounds(
    client: SandboxAPI, wanted: list[str], *, once: bool, interval: float
) -> Iterator[list[_Reading]]:
    while True:
        found = [client.get_info(each) for each in wanted] if wanted else client.sandboxes()
        readings = []
        for info in found:
            if wanted or info.status in _MEASURED:
                try:
                    readings.append(_Reading(info, client.get_metrics(info.id)))
                except (NotFoundError, ConflictError):
                    # One that has ended since it was listed.
                    if wanted:
                        raise
        yield readings
        if once:
            return
        time.sleep(interval)


def _show_live(rounds: Iterable[list[_Reading]]) -> None:
    from rich.live import Live

    def table(readings: list[_Reading]) -> Table:
        return make_table(_HEADERS, map(_row, readings))

    with Live(table([]), auto_refresh=False) as live:
        for readings in rounds:
            live.update(table(readings), refresh=True)


def _row(reading: _Reading) -> tuple[str, ...]:
    used = reading.metrics
    limit = used.memory_limit_bytes
    return (
        reading.info.id,
        reading.info.name,
        f"{used.cpu_percent:.1f} %",
        size(used.memory_usage_bytes),
        size(limit) if limit else "-",
        f"{used.memory_percent:.1f} %" if limit else "-",
        str(used.pids_current),
        f"{size(used.net_rx_bytes)} / {size(used.net_tx_bytes)}",
        f"{size(used.block_read_bytes)} / {size(used.block_write_bytes)}",
        f"{size(used.disk_used_bytes)} / {size(used.disk_limit_bytes)}" if used.disk_limit_bytes else "-",
    )


# For each process a line: its numbers, and what it runs. Any shell can do it; it leaves itself out.
_LIST_PROCESSES: Final = r"""
for dir in /proc/[0-9]*; do
  pid=${dir#/proc/}
  [ "$pid" = $$ ] && continue
  { read -r stat < "$dir/stat"; } 2> /dev/null || continue
  name=${stat#*\(}; name=${name%\)*}
  set -- ${stat##*\) }
  [ "$2" = $$ ] && continue
  uid=0 rss=0
  while read -r key value more; do
    case $key in Uid:) uid=$value;; VmRSS:) rss=$value;; esac
  done 2> /dev/null < "$dir/status"
  line=$(tr '\0\n\t' '   ' 2> /dev/null < "$dir/cmdline")
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$pid" "$2" "$uid" "$1" "$((${12} + ${13}))" "$rss" "${line:-[$name]}"
done
"""
# USER_HZ, in which Linux tells CPU times to programs (times(2)).
_TICKS_PER_SECOND: Final = 100


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    ppid: int
    uid: int
    state: str
    cpu_seconds: float
    rss_bytes: int
    command: str


def top(
    sandbox_id: SandboxId,
    as_json: AsJson = False,
    transport: Transport = None,
    address: Address = "",
    api_key: ApiKey = None,
) -> None:
    """List the processes in a sandbox, by a command in it: it must run, and have a shell and tr."""
    with connected("top", Connection(transport, address, api_key)) as client:
        done = in_sandbox(
            client, sandbox_id, lambda found: client.exec_command(found, ["/bin/sh", "-c", _LIST_PROCESSES])
        )
        if done.exit_code:
            raise Failure(done.stderr.strip() or f"the list ended with the status {done.exit_code}")
        processes = [_process(line) for line in done.stdout.splitlines()]
        processes.sort(key=lambda process: process.pid)
        if as_json:
            print_json([fields_of(process) for process in processes])
            return
        print_table(
            ("PID", "PPID", "UID", "STATE", "CPU TIME", "MEMORY", "COMMAND"),
            (
                (
                    str(one.pid),
                    str(one.ppid),
                    str(one.uid),
                    one.state,
                    f"{one.cpu_seconds:.2f} s",
                    size(one.rss_bytes),
                    one.command,
                )
                for one in processes
            ),
        )


def _process(line: str) -> _Process:
    try:
        pid, ppid, uid, state, ticks, kibibytes, command = line.split("\t", 6)
        return _Process(
            int(pid),
            int(ppid),
            int(uid),
            state,
            int(ticks) / _TICKS_PER_SECOND,
            int(kibibytes) * 1024,
            command.strip(),
        )
    except ValueError:
        raise Failure(f"what runs there does not list its processes: {line!r}") from None
