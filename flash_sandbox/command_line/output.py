"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from ..display import printable, size

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.table import Table

__all__ = [
    "duration",
    "fields_of",
    "make_table",
    "moment",
    "payload",
    "print_json",
    "print_table",
    "printable",
    "size",
]


def fields_of(model: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a model, by name."""
    return asdict(model)


def payload(data: bytes) -> dict[str, str]:
    """Return bytes as JSON can hold them: as ``data`` where they are UTF-8, else as ``data_base64``."""
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, at once."""
    typer.echo(json.dumps(value))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as it needs to be: what reads it may be a program."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=10_000)
    console.print(make_table(headers, rows), crop=False)


def make_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of texts, which cannot command the terminal, whatever they hold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, header_style="")
    # What a row is of, which is to be copied, is not cut where a terminal is narrow.
    table.columns[0].no_wrap = True
    table.columns[0].overflow = "ignore"
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def moment(seconds: float) -> str:
    """Return a moment of Unix time as this machine's clock on the wall shows it; ``-`` for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "-"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit of which there are two or more."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
